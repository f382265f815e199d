#include "search/scheduler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace burnish::search {

namespace {

// What another batch wins when nothing is known of a task, as a share of its time: this much after
// the first batch, falling with their number, since the best of ever more trials improves ever more
// slowly.
constexpr double optimism = 0.1;
// Each batch counts this share of the one after it.
constexpr double decay = 0.7;
// The prior counts as so many batches.
constexpr double prior_weight = 0.5;
// Part of what the model promises that a batch delivers; half of it after each batch that delivered
// nothing.
constexpr double trust = 0.3;
constexpr double nothing = 0.002;

bool positive(double x) { return x > 0 && x < std::numeric_limits<double>::infinity(); }

double seconds_of(const Progress& p) {
  if (positive(p.best_seconds)) return p.best_seconds;
  return positive(p.default_seconds) ? p.default_seconds : 0;
}

double weighted(const Progress& p) { return positive(p.weight) ? p.weight * seconds_of(p) : 0; }

bool nothing_left(const Progress& p) {
  return p.exhausted || (p.points > 0 && p.trials >= p.points);
}

}  // namespace

double expected_gain(const Progress& p) {
  if (nothing_left(p)) return 0;
  // By history: shares that batches won, the first against the default, later ones counting more,
  // and the prior.
  const auto batches = static_cast<double>(std::max<size_t>(1, p.history.size()));
  double sum = prior_weight * optimism / batches, weights = prior_weight;
  double before = p.default_seconds, w = std::pow(decay, batches - 1), believed = trust;
  for (const double after : p.history) {
    if (positive(before) && positive(after)) {
      const double won = std::clamp((before - after) / before, 0.0, 1.0);
      sum += w * won;
      weights += w;
      believed = won > nothing ? trust : believed / 2;
    }
    before = after;
    w /= decay;
  }
  const double by_history = sum / weights;
  const double promised = p.predicted_gain > 0 ? believed * std::min(p.predicted_gain, 1.0) : 0;
  const double left =
      p.points > 0 ? 1 - static_cast<double>(p.trials) / static_cast<double>(p.points) : 1;
  return weighted(p) * std::max(by_history, promised) * std::clamp(left, 0.0, 1.0);
}

std::vector<size_t> next_tasks(std::span<const Progress> tasks, double least_gain, size_t most) {
  double total = 0;
  std::vector<std::pair<double, size_t>> first, next;  // to begin with, by weight; to go on with, by gain
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Progress& p = tasks[i];
    total += weighted(p);
    if (nothing_left(p)) continue;
    // Of unknown time: before all that are known, since it may be the heaviest.
    if (p.history.empty()) first.emplace_back(seconds_of(p) > 0 ? weighted(p) : std::numeric_limits<double>::infinity(), i);
    else next.emplace_back(expected_gain(p), i);
  }
  std::erase_if(next, [&](const auto& n) { return !(n.first > least_gain * total); });
  std::vector<size_t> chosen;
  for (auto* tier : {&first, &next}) {
    std::ranges::stable_sort(*tier, std::greater{}, &std::pair<double, size_t>::first);
    for (const auto& [worth, i] : *tier) {
      if (chosen.size() < most) chosen.push_back(i);
    }
  }
  return chosen;
}

}  // namespace burnish::search
