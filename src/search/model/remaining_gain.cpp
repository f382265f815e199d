#include "search/model/remaining_gain.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"

namespace burnish::search {

double remaining_gain(std::span<const float> measured_scores,
                      std::span<const double> measured_seconds,
                      std::span<const float> unmeasured_scores) {
  check(measured_scores.size() == measured_seconds.size(), "{} scores for {} times",
        measured_scores.size(), measured_seconds.size());
  constexpr size_t least = 8;
  std::vector<std::pair<double, double>> points;  // log time, score
  for (size_t i = 0; i < measured_scores.size(); ++i) {
    const double t = measured_seconds[i];
    if (std::isfinite(t) && t > 0 && std::isfinite(measured_scores[i]))
      points.emplace_back(std::log(t), measured_scores[i]);
  }
  if (points.size() < least) return 0;
  std::sort(points.begin(), points.end());
  const double best = points[0].first;
  points.resize(std::max(least, points.size() / 2));

  double score = 0, time = 0;
  for (const auto& [t, s] : points) {
    time += t;
    score += s;
  }
  time /= static_cast<double>(points.size());
  score /= static_cast<double>(points.size());
  double ss = 0, st = 0, tt = 0;
  for (const auto& [t, s] : points) {
    ss += (s - score) * (s - score);
    st += (s - score) * (t - time);
    tt += (t - time) * (t - time);
  }
  if (!(ss > 0) || !(tt > 0) || st >= 0) return 0;
  float most = -INFINITY;
  for (float s : unmeasured_scores) most = std::isfinite(s) ? std::max(most, s) : most;
  if (!std::isfinite(most)) return 0;
  const double expected = time + st / ss * (most - score);
  const double explained = st * st / (ss * tt);
  return std::clamp(explained * (1 - std::exp(expected - best)), 0.0, 1.0);
}

}  // namespace burnish::search
