// The solver against every assignment of small random programmes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "passes/graph/pbqp.h"

namespace burnish {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

struct Random {
  std::mt19937 engine;
  size_t below(size_t n) { return engine() % n; }
  std::vector<double> costs(size_t n, bool forbidding) {
    std::vector<double> out(n);
    for (double& c : out)
      c = forbidding && below(6) == 0 ? infinite : static_cast<double>(below(100));
    out[below(n)] = static_cast<double>(below(100));
    return out;
  }
};

struct Programme {
  Pbqp pbqp;
  std::vector<std::vector<double>> costs;

  explicit Programme(Random& r, size_t nodes, bool forbidding) {
    for (size_t n = 0; n < nodes; ++n) {
      costs.push_back(r.costs(1 + r.below(3), forbidding));
      pbqp.add_node(costs.back());
    }
  }
  void join(Random& r, size_t a, size_t b, bool forbidding) {
    pbqp.add_edge(a, b, r.costs(costs[a].size() * costs[b].size(), forbidding));
  }
  double least() const {
    std::vector<size_t> choice(costs.size(), 0);
    for (double best = infinite;;) {
      best = std::min(best, pbqp.cost(choice));
      size_t n = 0;
      while (n < choice.size() && ++choice[n] == costs[n].size()) choice[n++] = 0;
      if (n == choice.size()) return best;
    }
  }
};

TEST(Pbqp, TreesCyclesAndLaddersAreSolvedExactly) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Random r{std::mt19937(seed)};
    const bool forbidding = seed % 2 == 0;
    const size_t nodes = 2 + r.below(6);
    Programme p(r, nodes, forbidding);
    for (size_t n = 1; n < nodes; ++n) p.join(r, seed % 3 == 0 ? r.below(n) : n - 1, n, forbidding);
    if (seed % 3 == 1 && nodes > 2) p.join(r, nodes - 1, 0, forbidding);
    if (seed % 3 == 2) {
      for (size_t n = 2; n < nodes; ++n) p.join(r, n, n - 2, forbidding);
    }
    EXPECT_EQ(p.pbqp.cost(p.pbqp.solve()), p.least());
  }
}

TEST(Pbqp, DenseProgrammesAreNoWorseThanEachNodesBest) {
  double found = 0, best = 0;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Random r{std::mt19937(seed)};
    Programme p(r, 7, false);
    for (size_t a = 0; a < 7; ++a) {
      for (size_t b = 0; b < a; ++b) p.join(r, b, a, false);
    }
    std::vector<size_t> alone;
    for (const auto& c : p.costs)
      alone.push_back(static_cast<size_t>(std::ranges::min_element(c) - c.begin()));
    const std::vector<size_t> choice = p.pbqp.solve();
    EXPECT_LE(p.pbqp.cost(choice), p.pbqp.cost(alone));
    EXPECT_EQ(choice, p.pbqp.solve());
    found += p.pbqp.cost(choice), best += p.least();
  }
  EXPECT_LT(found, 1.1 * best);
}

}  // namespace
}  // namespace burnish
