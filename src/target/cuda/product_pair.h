// Private to cuda: a product and the 1x1 product behind it, as one kernel.
#pragma once

#include <optional>

#include "target/cuda/chain.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

struct Pair {
  Link first, second;  // the second's roles are those of the first, whatever its order in memory
  int64_t between = 0, channels = 0;  // of the first sum and of the second
  bool planes = false;  // the second's points are stored as rows: they are the columns of its instructions, and its channels the rows
};

std::optional<Pair> pair_of(const Schedule& s, const Device& d);
// Channels of the second product that a warp has at once, and how often.
int64_t wide(const Pair& p, const PairTile& x);
int64_t passes_of(const Pair& p, const PairTile& x);

}  // namespace burnish::cuda_target
