#include "search/model/rank_quality.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace burnish::search {

RankQuality rank_quality(std::span<const float> scores, std::span<const double> seconds, size_t k,
                         double noise) {
  check(scores.size() == seconds.size(), "{} scores for {} times", scores.size(), seconds.size());
  RankQuality q;
  const size_t n = scores.size();
  q.candidates = n;
  k = std::min(k, n);
  if (k == 0) return q;
  constexpr double never = std::numeric_limits<double>::infinity();
  std::vector<double> time(seconds.begin(), seconds.end());
  for (double& t : time) {
    if (!std::isfinite(t) || t <= 0) t = never;
  }
  // A score that is no number says nothing good.
  std::vector<double> score(scores.begin(), scores.end());
  for (double& s : score) {
    if (std::isnan(s)) s = -never;
  }

  double right = 0;
  uint64_t pairs = 0;
  for (size_t a = 0; a < n; ++a) {
    for (size_t b = 0; b < n; ++b) {
      if (!(time[a] < time[b]) || time[b] <= time[a] * (1 + noise)) continue;
      ++pairs;
      right += score[a] > score[b] ? 1 : score[a] == score[b] ? 0.5 : 0;
    }
  }
  if (pairs > 0) q.pairwise = right / static_cast<double>(pairs);

  std::vector<size_t> predicted(n);
  std::iota(predicted.begin(), predicted.end(), size_t{0});
  std::sort(predicted.begin(), predicted.end(), [&](size_t a, size_t b) {
    if (score[a] != score[b]) return score[a] > score[b];
    if (time[a] != time[b]) return time[a] > time[b];
    return a < b;
  });
  predicted.resize(k);
  std::vector<double> sorted = time;
  std::sort(sorted.begin(), sorted.end());
  // The k fastest, ties with the k-th included; but only what runs can be a hit.
  const double limit = sorted[k - 1];
  const auto running =
      std::count_if(time.begin(), time.end(), [&](double t) { return t < never && t <= limit; });
  const auto wanted = std::min<size_t>(k, static_cast<size_t>(running));
  const auto hits =
      static_cast<size_t>(std::count_if(predicted.begin(), predicted.end(), [&](size_t i) {
        return time[i] < never && time[i] <= limit;
      }));
  if (wanted > 0)
    q.recall = static_cast<double>(std::min(hits, wanted)) / static_cast<double>(wanted);
  double found = never;
  for (size_t i : predicted) found = std::min(found, time[i]);
  if (sorted[0] < never) {
    q.found_best = found == sorted[0];
    q.best_of_top = found < never ? sorted[0] / found : 0;
  }
  return q;
}

}  // namespace burnish::search
