// Parallel simulated annealing over the points of a lattice, with crossover between the chains.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "search/explore/lattice.h"
#include "search/explore/rng.h"

namespace burnish::search {

struct Scored {
  uint64_t point;
  double score;  // higher is better
};

// Higher is better; -infinity: illegal.
using Scores = std::function<std::vector<double>(const std::vector<uint64_t>&)>;

// Walks from `starts` (one chain each) and returns every legal point it met with its score, in the
// order met. Scores at most about `budget` distinct points.
std::vector<Scored> anneal(const Lattice& lattice, Rng& rng, std::vector<uint64_t> starts,
                           size_t budget, const Scores& scores);

}  // namespace burnish::search
