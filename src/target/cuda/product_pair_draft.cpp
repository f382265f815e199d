// Tiles of pairs of products, and when they pay.
#include <algorithm>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/product_pair.h"

namespace burnish::cuda_target {

namespace {

double cycles_of(const Schedule& s, const Pair& p, const PairTile& x, const Device& d) {
  const Stage& o = s.group()[p.second.roles.out];
  const Following f{.columns = x.columns, .steps = p.between / kMatrixDepth, .passes = passes_of(p, x), .stored = static_cast<double>(points(o.axes) * size_of(o.dtype))};
  constexpr double ahead = 0.99;  // of a tile whose second weights are waited for: until it is measured
  return (x.kept ? ahead : 1) * matrix_cycles(s, p.first.roles, x.first, d, f);
}

std::vector<PairTile> tiles_of(const Schedule& s, const Pair& p, const Device& d) {
  constexpr int64_t most_sums = 48, fewest = 4;  // of a thread, by fours; columns at once where those are not all
  constexpr int64_t most_kept = 16 << 10;        // bytes
  const auto operands = operands_of(s, s.group()[p.first.roles.acc], p.first.roles);
  const int64_t k = s.group()[p.first.roles.acc].raxes[operands->reduce].extent, eights = ceil_div(p.channels, int64_t{8});
  const int64_t steps = k / depth_for(k, d);
  const Roles& r = p.first.roles;
  const int64_t high = operands->image ? s.group()[r.out].axes[r.outer.back()].extent : ceil_div(s.group()[r.out].axes[*r.tile].extent, kMatrixGroups);
  std::vector<PairTile> tiles;
  const auto add = [&](const MatrixTile& t) {
    for (const int64_t passes : {1, 2, 4, 8}) {
      const int64_t columns = eights / passes;
      if (passes > 1 && (eights % passes || columns < fewest)) break;
      if (t.rows * (t.columns + columns) > most_sums) continue;
      tiles.push_back({t, columns});
      // Threads wait for copies anyway.
      if (t.staged && p.between * p.channels * size_of(d.storage) <= most_kept) tiles.push_back({t, columns, true});
    }
  };
  for (const int64_t rows : {1, 2, 4}) {
    for (const int64_t warps : {2, 4, 8}) {
      if ((warps - 1) * kMatrixPairs * rows >= high) break;  // warps without points
      MatrixTile t{.rows = rows, .columns = p.between / 8, .warps_m = warps, .warps_n = 1};
      for (const int64_t ahead : {0, 1, 2}) {
        t.ahead = ahead;
        if (ahead == 0 || steps % ahead == 0) add(t);
      }
      for (const int64_t chunk : {8, 16, 24, 32, 48, 64}) {
        if (k % chunk) continue;
        t.staged = chunk;
        for (const int64_t ahead : {int64_t{0}, chunk / depth_for(chunk, d)}) {
          t.ahead = ahead;
          add(t);
        }
      }
      if (warps < 4) continue;
      t.ahead = 0;
      t.weights = true;
      for (const int64_t steps_at_once : {1, 2, 3, 4, 6, 8}) {
        t.staged = steps_at_once * depth_for(k, d);
        for (t.stages = 2; t.stages <= 4; ++t.stages)
          if (k % t.staged == 0 && (t.stages == 2 || t.stages <= k / t.staged)) add(t);
      }
    }
  }
  return tiles;
}

int64_t longest(const std::vector<Axis>& axes) { return std::ranges::max_element(axes, {}, &Axis::extent)->extent; }

std::vector<PairTile> best_tiles(const Schedule& s, const Pair& p, const Device& d) {
  return from_the_best(tiles_of(s, p, d), [&](const PairTile& x) { return cycles_of(s, p, x, d); });
}

}  // namespace

std::vector<PairTile> pair_tiles(const Schedule& s, const Device& d) {
  const auto pair = pair_of(s, d);
  return pair ? best_tiles(s, *pair, d) : std::vector<PairTile>{};
}

std::optional<double> pair_cycles(const Schedule& s, const Device& d) {
  const auto pair = pair_of(s, d);
  if (!pair) return std::nullopt;
  const auto tiles = best_tiles(s, *pair, d);
  constexpr double unmeasured = 1.1;  // other ways' estimates were fitted
  return tiles.empty() ? std::numeric_limits<double>::infinity() : unmeasured * cycles_of(s, *pair, tiles[0], d);
}

bool pair_pays(const Schedule& s, const Device& d) {
  const auto pair = pair_of(s, d);
  if (!pair) return false;
  // What a 1x1 product expands is for the depthwise convolution behind to take up (chain_pays).
  const bool expands = pair->channels > pair->between, window = points(s.group()[pair->first.roles.acc].raxes) > longest(s.group()[pair->first.roles.acc].raxes);
  if (expands && !window) return false;
  const auto together = pair_cycles(s, d);
  return together && *together < product_alone(s, pair->first.roles, d) + product_alone(s, pair->second.roles, d);
}

}  // namespace burnish::cuda_target
