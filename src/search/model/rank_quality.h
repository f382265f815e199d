// How well an order of candidates agrees with what was measured.
#pragma once

#include <cstddef>
#include <span>

namespace burnish::search {

// Of one task; averages over tasks are the caller's. Candidates without a finite positive time
// count as slower than all others and as equals among themselves. Ties in `scores` are broken
// against the predictor.
struct RankQuality {
  size_t candidates = 0;
  // Share of pairs with times that differ by more than `noise` of the shorter which the scores
  // order as the times do; a tie in the scores counts half. 0.5 is chance. 1 when there is no such
  // pair.
  double pairwise = 1;
  // Share of the truly fastest k among the k with the highest scores: k / candidates is chance.
  double recall = 1;
  // Is the fastest of all among the k with the highest scores?
  bool found_best = true;
  // Time of the fastest of all / time of the fastest of the k with the highest scores: what a
  // search that measures only these loses. 0 when none of these runs.
  double best_of_top = 1;
};

// scores: higher is predicted faster; seconds: one for each, infinite for failures. k is at most
// the number of candidates.
RankQuality rank_quality(std::span<const float> scores, std::span<const double> seconds,
                         size_t k = 8, double noise = 0.0);

}  // namespace burnish::search
