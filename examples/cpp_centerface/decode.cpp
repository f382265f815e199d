#include "decode.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr float cell = 4;  // pixels

float area(const Face& f) { return std::max(0.f, f.x2 - f.x1) * std::max(0.f, f.y2 - f.y1); }

float intersection_over_union(const Face& a, const Face& b) {
  float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  float common = width * height;
  return common / (area(a) + area(b) - common);
}

}  // namespace

std::vector<Face> decode(const Maps& m, float threshold, float overlap) {
  std::vector<Face> candidates;
  const int plane = m.height * m.width;
  for (int y = 0; y < m.height; ++y) {
    for (int x = 0; x < m.width; ++x) {
      const int at = y * m.width + x;
      if (m.heatmap[at] <= threshold) continue;
      const float height = std::exp(m.scale[at]) * cell, width = std::exp(m.scale[plane + at]) * cell;
      const float center_y = (y + m.offset[at] + 0.5f) * cell;
      const float center_x = (x + m.offset[plane + at] + 0.5f) * cell;
      const float right = m.width * cell, bottom = m.height * cell;
      Face f;
      f.score = m.heatmap[at];
      f.x1 = std::clamp(center_x - width / 2, 0.f, right);
      f.y1 = std::clamp(center_y - height / 2, 0.f, bottom);
      f.x2 = std::min(f.x1 + width, right);
      f.y2 = std::min(f.y1 + height, bottom);
      for (int i = 0; i < 5; ++i) {
        f.landmarks[i] = {f.x1 + m.landmarks[(2 * i + 1) * plane + at] * width,
                          f.y1 + m.landmarks[2 * i * plane + at] * height};
      }
      candidates.push_back(f);
    }
  }
  // Non-maximum suppression: the best first; what overlaps a kept one is the same face.
  std::sort(candidates.begin(), candidates.end(), [](const Face& a, const Face& b) { return a.score > b.score; });
  std::vector<Face> kept;
  for (const Face& f : candidates) {
    bool taken = std::any_of(kept.begin(), kept.end(),
                             [&](const Face& k) { return intersection_over_union(k, f) > overlap; });
    if (!taken) kept.push_back(f);
  }
  return kept;
}
