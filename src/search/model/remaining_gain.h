// From scores to seconds: what the model's order promises of candidates that were not measured.
#pragma once

#include <span>

namespace burnish::search {

// Share of the best measured time of a task that its best unmeasured candidate is expected to save:
// 0 to 1, 0 when the scores say nothing about the times yet (fewer than 8 measured, or no fall of
// times with scores).
//
// A rank model's scores have no unit. Within one task they are given one: the line through (score,
// log time) of the faster half of what was measured, which the best unmeasured score is read from;
// the promise counts by the share of the times' variance that the line explains.
double remaining_gain(std::span<const float> measured_scores,
                      std::span<const double> measured_seconds,
                      std::span<const float> unmeasured_scores);

}  // namespace burnish::search
