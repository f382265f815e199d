#include "detections.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr float kStride = 4;  // input pixels a cell

Face face_at(const Maps& maps, int row, int column) {
  const size_t cells = static_cast<size_t>(maps.rows) * maps.columns;
  const size_t cell = static_cast<size_t>(row) * maps.columns + column;
  const float height = std::exp(maps.scale[cell]) * kStride;
  const float width = std::exp(maps.scale[cells + cell]) * kStride;
  const float y = (row + maps.offset[cell] + 0.5f) * kStride - height / 2;
  const float x = (column + maps.offset[cells + cell] + 0.5f) * kStride - width / 2;
  const float bottom = maps.rows * kStride, right = maps.columns * kStride;
  Face face{};
  face.x1 = std::clamp(x, 0.0f, right);
  face.y1 = std::clamp(y, 0.0f, bottom);
  face.x2 = std::min(face.x1 + width, right);
  face.y2 = std::min(face.y1 + height, bottom);
  face.score = maps.heat[cell];
  for (size_t i = 0; i < face.landmarks.size(); ++i) {
    face.landmarks[i] = {face.x1 + maps.landmarks[(2 * i + 1) * cells + cell] * width,
                         face.y1 + maps.landmarks[2 * i * cells + cell] * height};
  }
  return face;
}

float area(const Face& face) { return (face.x2 - face.x1) * (face.y2 - face.y1); }

// Area of the intersection over area of the union.
float overlap_of(const Face& a, const Face& b) {
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  return width * height / (area(a) + area(b) - width * height);
}

}  // namespace

std::vector<Face> faces_of(const Maps& maps, float threshold, float overlap) {
  std::vector<Face> candidates;
  for (int row = 0; row < maps.rows; ++row) {
    for (int column = 0; column < maps.columns; ++column) {
      if (maps.heat[static_cast<size_t>(row) * maps.columns + column] > threshold) {
        candidates.push_back(face_at(maps, row, column));
      }
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Face& a, const Face& b) { return a.score > b.score; });
  std::vector<Face> kept;
  for (const Face& face : candidates) {
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Face& better) {
      return overlap_of(face, better) > overlap;
    });
    if (!covered) kept.push_back(face);
  }
  return kept;
}
