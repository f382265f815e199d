// Tiles of chains, and when they pay.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "loop/matrix_sum.h"
#include "loop/thread_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// The tile; with weights in the block's memory; and where it leaves multiprocessors idle, the same in parts of the expanded channels.
void add(std::vector<ChainTile>& tiles, const Chain& chain, ChainTile t, const Device& d) {
  tiles.push_back(t);
  for (const int64_t w : {1, 2}) {
    t.weights = w;
    tiles.push_back(t);
  }
  t.weights = 0;
  const bool clusters = d.sm >= clusters_from;
  const int64_t most = clusters ? c_like::kMostOfACluster : 16, most_blocks = d.multiprocessors * (clusters ? 2 : 1);
  const int64_t chunks = chain.expanded / t.chunk;
  for (t.splits = 2; t.splits <= std::min(most, chunks); ++t.splits)
    if (chunks % t.splits == 0 && blocks_of(chain, t) <= most_blocks && (!clusters || chain.channels % (2 * t.splits) == 0)) tiles.push_back(t);
}

// The tile with all that its warps may have of the expansion, as far as that comes out even; itself where there is none.
std::vector<ChainTile> expansions_of(const Chain& chain, ChainTile t) {
  if (!chain.expand) return {t};
  std::vector<ChainTile> tiles;
  const int64_t across = ceil_div(chain.region(t.columns), kMatrixGroups), eights = t.chunk / 8, warps = t.threads() / kWarp;
  for (const int64_t n : {1, 2, 3, 4, 6}) {
    if (eights % n || warps % (across * n)) continue;
    t.expand_n = n;
    t.expand_y = warps / (across * n);
    if (t.expand_y > 6) continue;
    for (const int64_t at_once : {2, 4}) {
      t.expand_rows = at_once;
      if (at_once / 2 * (eights / n) <= 12) tiles.push_back(t);
    }
  }
  return tiles;
}

// Of chains that end with the depthwise convolution: any rectangle of few rows, of which all tiles have no more than some points too many.
std::vector<ChainTile> depthwise_tiles(const Chain& chain) {
  constexpr double most_computed = 1.5;  // of the points that there are, with the halo in whole instructions
  std::vector<ChainTile> tiles;
  const auto covered = [](int64_t extent, int64_t tile) { return ceil_div(extent, tile) * tile; };
  for (const int64_t high : {4, 7, 8, 14, 16}) {
    for (const int64_t columns : {4, 6, 7, 8, 12, 14, 16, 28, 30}) {
      const double computed = static_cast<double>(covered(chain.height, high) * covered(chain.width, columns)) / static_cast<double>(chain.height * chain.width);
      if (computed > most_computed) continue;
      for (int64_t chunk = 16; chunk <= std::min<int64_t>(chain.expanded, 192); chunk += 8) {
        if (chain.expanded % chunk) continue;
        for (const int64_t warps : {2, 3, 4, 6, 8, 9, 10, 12, 16})
          std::ranges::copy(expansions_of(chain, {.columns = columns, .warps_x = warps, .chunk = chunk, .tall = high}), std::back_inserter(tiles));
      }
    }
  }
  return tiles;
}

// Without those that were never near the best of a measured chain.
std::vector<ChainTile> tiles_of(const Chain& chain, const Device& d) {
  constexpr int64_t most_sums = 256;  // of a row of a thread with two, times 4
  std::vector<ChainTile> tiles;
  if (d.sm < 80) return tiles;
  if (!chain.project) return depthwise_tiles(chain);
  // All channels at once, too, where they are few: threads meet less often.
  std::vector<int64_t> chunks = {16, 32, 48, 64, 96, 128, 192};
  if (chain.expand && chain.expanded < chunks.back() && std::ranges::find(chunks, chain.expanded) == chunks.end())
    chunks.push_back(chain.expanded);
  for (const auto& [rows, columns] : {std::pair(1, 6), {1, 8}, {1, 14}, {1, 16}, {1, 30}, {2, 3}, {2, 6}, {2, 7}, {2, 14}}) {
    if (columns > 8 && columns / 2 > chain.width) continue;
    for (const int64_t y : {1, 2}) {
      if (rows * y > 1 && 4 * rows * y >= chain.height) continue;
      for (const int64_t x : {1, 2, 3, 4, 5, 8}) {
        for (const auto& [n, k] :
             {std::pair(1, 1), {2, 1}, {4, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 6}, {2, 2}, {2, 4}}) {
          const int64_t warps = y * x * n * k;
          if (columns % (rows > 1 ? x : 2 * x)) continue;
          if (rows > 1 && (n > 1 || columns < 2 * x || columns / x * chain.channels > most_sums)) continue;
          if (warps > 16 || chain.channels % (8 * n)) continue;
          for (const int64_t chunk : chunks) {
            if (chain.expanded % chunk || chunk % (2 * kMatrixDepth * k)) continue;
            if (chunk == 16 && (chain.expanded % 32 == 0 || chain.expanded % 48 == 0)) continue;
            const ChainTile tile{.columns = columns,
                                 .warps_y = y,
                                 .warps_x = x,
                                 .warps_n = n,
                                 .warps_k = k,
                                 .chunk = chunk,
                                 .rows = rows};
            for (const ChainTile& t : expansions_of(chain, tile)) add(tiles, chain, t, d);
          }
        }
      }
    }
  }
  if (chain.expand) std::ranges::copy(register_tiles(chain, d), std::back_inserter(tiles));
  return tiles;
}

// What a chain takes within a network with its best tile. Of tiles in registers the best one's estimate is too low by more than others'.
double best_cycles(const Chain& c, const Device& d) {
  const double of_registers = d.products > 1 ? 1 : 1.1;
  double best = std::numeric_limits<double>::infinity();
  for (const ChainTile& t : tiles_of(c, d)) best = std::min(best, (t.in_registers() ? of_registers : 1) * chain_cycles(c, t, d));
  return best;
}

constexpr double kWithinNetwork = 1.4;  // of an estimate of products by themselves

// The same of a product, and of a depthwise convolution of so many terms, by points; both as measured inside CenterFace and MobileNetV2.
// A convolution of few channels takes what its instructions do, and what it stores.
double product_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const double cycles = matrix_cycles(s, r, d);
  if (std::isfinite(cycles)) return kWithinNetwork * cycles;
  constexpr double little = 3200, bytes_of_cycle = 1000;
  const auto stored = static_cast<double>(points(s.group()[r.out].axes) * size_of(d.storage));
  return little + 0.9 * window_cycles(s, r, d) + stored / bytes_of_cycle;
}
double depthwise_cycles(double terms) { return 3000 + 0.0006 * terms; }

}  // namespace

std::vector<ChainTile> chain_tiles(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return {};
  return from_the_best(tiles_of(*chain, d),
                       [&](const ChainTile& t) { return chain_cycles(*chain, t, d); });
}

bool chain_pays(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return false;
  const auto product = [&](const std::optional<Link>& l) { return l ? product_cycles(s, *roles_of(s, l->roles.out), d) : 0.0; };
  const double expand = product(chain->expand), project = product(chain->project);
  const double depthwise = depthwise_cycles(static_cast<double>(chain->images * chain->height * chain->width * chain->expanded * chain->window * chain->window));
  double apart = expand + depthwise + project;
  if (chain->expand && chain->project) {
    Chain first = *chain, second = *chain;
    first.project.reset();
    second.expand.reset();
    apart = std::min({apart, best_cycles(first, d) + project, expand + best_cycles(second, d)});
  }
  constexpr double near = 1.3;  // not the best by estimate: searches may find that it is
  return best_cycles(*chain, d) < near * apart;
}

bool scales_operand(const Schedule& s, const Device& d) {
  const StageGroup& g = s.group();
  const auto roles = g.outputs.size() == 1 ? roles_of(s, g.outputs[0]) : std::nullopt;
  // Nothing is computed but the sum and what finishes it: scaled by what is loaded.
  return roles && std::ranges::count_if(g.stages, &Stage::is_compute) <= (roles->acc == roles->out ? 1 : 2) && is_product(g[roles->acc]) && std::ranges::any_of(g[roles->acc].body.children(), is_scaled) && std::isfinite(matrix_cycles(s, *roles, d));
}

double network_cycles(const Schedule& s, const Device& d) {
  const StageGroup& g = s.group();
  if (const auto chain = chain_of(s)) return best_cycles(*chain, d);
  if (const auto pair = pair_cycles(s, d)) return kWithinNetwork * *pair;
  if (const auto added = added_cycles(s, d)) return kWithinNetwork * *added;
  if (const auto attention = attention_cycles(s, d)) return kWithinNetwork * *attention;
  if (const auto squeeze = squeeze_cycles(s, d)) return *squeeze;
  constexpr double kernel = 2400;  // whatever it does
  if (std::ranges::none_of(g.stages, &Stage::is_reduction)) return kernel;
  const auto roles = g.outputs.size() == 1 ? roles_of(s, g.outputs[0]) : std::nullopt;
  if (!roles || !g[roles->acc].is_reduction()) return 0;
  const Stage& acc = g[roles->acc];
  const double cycles = roles->broadcast ? product_cycles(s, *roles, d) : depthwise_cycles(static_cast<double>(points(acc.axes) * points(acc.raxes)));
  return std::isfinite(cycles) ? cycles : 0;
}

}  // namespace burnish::cuda_target
