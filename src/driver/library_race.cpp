#include "driver/library_race.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "base/parallel.h"
#include "search/statistics.h"

namespace burnish {

using search::median;

std::vector<std::string>
LibraryRace::build(const std::vector<std::function<std::string()>>& libraries) {
  std::vector<std::string> paths(libraries.size());
  parallel_for(libraries.size(), 2, [&](size_t i) {
    paths[i] = (folder_.path / fmt::format("{}-{}.so", built_, i)).string();
    write_file(paths[i], libraries[i]());
  });
  ++built_;
  return paths;
}

search::Comparison LibraryRace::compare(const std::vector<std::string>& paths, double seconds,
                                        bool steps) {
  auto c = search::compare_libraries(paths, threads_, seconds, steps, options_);
  if (!c) fail_user("comparing the model with its default schedules failed: {}", c.reason());
  return std::move(*c);
}

double most_deviation(const Target& t) {
  constexpr double exact = 1e-2, short_factors = 0.3 / 0x1p-11;  // of what a factor loses
  const double lost = t.machine().factor_epsilon;
  return lost > 0 ? short_factors * lost : exact;
}

Speedup speedup_of(const std::vector<double>& before, const std::vector<double>& after) {
  std::vector<double> ratios, deviations;
  for (size_t i = 0; i < std::min(before.size(), after.size()); ++i)
    ratios.push_back(before[i] / after[i]);
  if (ratios.empty()) return {};
  Speedup s{.ratio = median(ratios)};
  for (double r : ratios) deviations.push_back(std::abs(r - s.ratio));
  // A median's standard error by the median deviation of neighbours in time, which drift alike.
  s.noise =
      1.96 * 1.2533 * 1.4826 * median(deviations) / std::sqrt(static_cast<double>(ratios.size()));
  return s;
}

}  // namespace burnish
