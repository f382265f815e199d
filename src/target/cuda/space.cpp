// From a group's stages to blocks and threads: what is cheap is inlined; a product of matrices, or a convolution, becomes
// tiles in registers; any other stage gives each point, or a vector of them, to a thread.
#include "target/cuda/space.h"

#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

// The first of these tiles, the best ones, that lowers.
template <class Tile, class Apply> bool first_of(const std::vector<Tile>& tiles, const Apply& apply) {
  constexpr size_t tried = 20;
  const auto end = tiles.begin() + static_cast<ptrdiff_t>(std::min(tried, tiles.size()));
  return std::any_of(tiles.begin(), end, apply);
}

}  // namespace

bool prefers_one_kernel(const StageGroup& g, const Device& d) {
  Schedule s(g);
  inline_cheap(s);
  return chain_pays(s, d);
}

Schedule default_schedule(const StageGroup& g, const Device& d) {
  Schedule s(g);
  inline_cheap(s);
  std::vector<std::string> stages;
  for (const Stage& x : s.group().stages)
    if (x.is_compute()) stages.push_back(x.name);
  if (first_of(chain_tiles(s, d), [&](const ChainTile& t) { return by_chain(s, t, d); })) return s;
  if (stages.size() <= 2) {
    if (const auto roles = roles_of(s, s.group().outputs.back())) {
      const Stage& acc = s.group()[roles->acc];
      for (const int64_t vector : {4, 2, 1})
        if (by_lanes(s, *roles, vector, d)) return s;
      const auto matrix = [&](const MatrixTile& t) { return by_matrix(s, *roles, t, d); };
      const auto by_shares = [&] { return first_of(shares(s.group()[roles->out], d), [&](const Share& x) { return finished_by_points(s, *roles, x); }); };
      // Of a short sum the block's threads share too little to bring it to the block's memory.
      constexpr int64_t short_sum = 64;
      if (first_of(matrix_tiles(s, *roles, d), matrix)) return s;
      if (points(acc.raxes) <= short_sum && by_shares()) return s;
      if (by_tile(s, *roles) || by_shares()) return s;
    }
  }
  for (const std::string& name : stages) {
    const Stage x = s.group()[*s.group().named(name)];
    first_of(x.is_reduction() ? shares(x, d) : std::vector<Share>{{4}, {1}}, [&](const Share& share) { return by_points(s, name, share); });
  }
  return s;
}

}  // namespace burnish::cuda_target
