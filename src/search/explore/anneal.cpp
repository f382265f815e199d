#include "search/explore/anneal.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double any_value = 0.35,
                 crossover = 0.15;  // of the moves; the others go one step along a knob
constexpr double taken = 0.3;       // of the knobs, by crossover
constexpr double hot = 0.5;         // first temperature, in spreads of the first scores

// Scores of distinct points, and the order in which they came.
class Memo {
 public:
  Memo(const Scores& scores) : scores_(scores) {}

  std::vector<double> operator()(const std::vector<uint64_t>& points) {
    std::vector<uint64_t> fresh;
    for (const uint64_t p : points) {
      if (known_.try_emplace(p, -infinity).second) fresh.push_back(p);
    }
    const std::vector<double> found = scores_(fresh);
    for (size_t i = 0; i < fresh.size(); ++i) {
      known_[fresh[i]] = found[i];
      if (found[i] > -infinity) met_.push_back({fresh[i], found[i]});
    }
    std::vector<double> all;
    for (const uint64_t p : points) all.push_back(known_[p]);
    return all;
  }
  size_t scored() const { return known_.size(); }
  std::vector<Scored> met() { return std::move(met_); }

 private:
  const Scores& scores_;
  std::unordered_map<uint64_t, double> known_;
  std::vector<Scored> met_;
};

uint64_t neighbour(const Lattice& lattice, Rng& rng, const std::vector<uint64_t>& chains,
                   size_t chain) {
  const uint64_t p = chains[chain];
  const size_t knob = lattice.choices()[rng.below(lattice.choices().size())];
  const uint64_t values = lattice.values(knob), value = lattice.value(p, knob);
  const double kind = rng.unit();
  if (kind < crossover) {
    const uint64_t other = chains[rng.below(chains.size())];
    uint64_t child = p;
    for (const size_t k : lattice.choices()) {
      if (rng.chance(taken)) child = lattice.with(child, k, lattice.value(other, k));
    }
    if (child != p) return child;
  }
  if (kind < crossover + any_value)
    return lattice.with(p, knob, (value + 1 + rng.below(values - 1)) % values);
  const bool up = value == 0 || (value + 1 < values && rng.chance(0.5));
  return lattice.with(p, knob, up ? value + 1 : value - 1);
}

// Between the tenth and the ninetieth percentile.
double spread_of(std::vector<double> scores) {
  std::erase(scores, -infinity);
  if (scores.size() < 2) return 1;
  std::sort(scores.begin(), scores.end());
  return scores[scores.size() * 9 / 10] - scores[scores.size() / 10];
}

}  // namespace

std::vector<Scored> anneal(const Lattice& lattice, Rng& rng, std::vector<uint64_t> chains,
                           size_t budget, const Scores& scores) {
  Memo memo(scores);
  if (chains.empty() || lattice.choices().empty()) {
    memo(chains);
    return memo.met();
  }
  std::vector<double> at = memo(chains);
  const double first = hot * spread_of(at);
  // Steps that come back to scored points cost nothing but time: allow as many again.
  const size_t steps = 2 * budget / chains.size();
  for (size_t step = 0; step < steps && memo.scored() < budget; ++step) {
    const double progress =
        std::max(static_cast<double>(step) / static_cast<double>(steps),
                 static_cast<double>(memo.scored()) / static_cast<double>(budget));
    const double temperature = first * (1 - progress);
    std::vector<uint64_t> moved;
    for (size_t i = 0; i < chains.size(); ++i) moved.push_back(neighbour(lattice, rng, chains, i));
    const std::vector<double> there = memo(moved);
    for (size_t i = 0; i < chains.size(); ++i) {
      const double slack =
          temperature * rng.exponential();  // Metropolis: u < exp(change / temperature)
      if (there[i] >= at[i] || there[i] >= at[i] - slack) {
        chains[i] = moved[i];
        at[i] = there[i];
      }
    }
  }
  return memo.met();
}

}  // namespace burnish::search
