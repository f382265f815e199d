// Figures about repeats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "search/task.h"

namespace burnish::search {

// The middle one, or the mean of the two in the middle; 0 of none.
inline double median(std::vector<double> v) {
  if (v.empty()) return 0;
  const auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return v.size() % 2 == 1 ? *middle : (*std::max_element(v.begin(), middle) + *middle) / 2;
}

// Of at least one repeat.
inline Timing timing_of(const std::vector<double>& seconds) {
  Timing t{.median = median(seconds),
           .mad = 0,
           .min = *std::ranges::min_element(seconds),
           .repeats = static_cast<int>(seconds.size())};
  std::vector<double> off;
  for (const double s : seconds) off.push_back(std::abs(s - t.median));
  t.mad = median(std::move(off));
  return t;
}

}  // namespace burnish::search
