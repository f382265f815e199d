// Tiles of chains, and estimates of them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

std::vector<ChainTile> tiles_of(const Chain& chain, const Device& d) {
  std::vector<ChainTile> tiles;
  if (d.sm < 80) return tiles;
  for (const int64_t columns : {6, 8, 14, 16, 22, 30, 32}) {
    if (columns > 8 && columns / 2 > chain.width) continue;
    for (const int64_t y : {1, 2, 4}) {
      if (y > 1 && 4 * y >= chain.height) continue;
      for (const int64_t x : {1, 2, 3, 4, 5, 7, 8}) {
        for (const auto& [n, k] : {std::pair(1, 1), {2, 1}, {4, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 6}, {2, 2}, {2, 4}}) {
          const int64_t warps = y * x * n * k;
          if (columns % (2 * x) && chain.project) continue;
          if (warps > 16 || (n * k > 1 && !chain.project) || (chain.project && chain.channels % (8 * n))) continue;
          for (const int64_t chunk : {16, 32, 48, 64, 96, 128, 192}) {
            if (chain.expanded % chunk || chunk % (2 * kMatrixDepth * k)) continue;
            ChainTile t{.columns = columns, .warps_y = y, .warps_x = x, .warps_n = n, .warps_k = k, .chunk = chunk};
            if (!chain.expand) {
              tiles.push_back(t);
              continue;
            }
            const int64_t across = ceil_div(chain.region(columns), kMatrixGroups);
            for (const int64_t expand_n : {1, 2, 3, 4, 6}) {
              if ((chunk / 8) % expand_n || across * expand_n > warps || warps % (across * expand_n)) continue;
              t.expand_n = expand_n;
              t.expand_y = warps / (across * expand_n);
              for (const int64_t rows : {2, 4}) {
                t.expand_rows = rows;
                if (rows / 2 * (chunk / 8 / expand_n) <= 16) tiles.push_back(t);
              }
            }
          }
        }
      }
    }
  }
  return tiles;
}

double cycles_of(const Chain& chain, const ChainTile& c, const Device& d) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const int64_t rows = kMatrixGroups * c.warps_y, warps = c.threads() / 32;
  const int64_t step = c.expand_rows * c.expand_y;
  const int64_t high = chain.expand ? ceil_div(chain.region(rows), step) * step : chain.region(rows);
  const int64_t wide = chain.expand ? ceil_div(chain.region(c.columns), kMatrixGroups) * kMatrixGroups : chain.region(c.columns);
  const int64_t pad = floor_mod(2 * kMatrixDepth - chain.input_channels, 32);
  const int64_t image = high * wide * (c.chunk + 4);
  const int64_t partial = c.warps_k > 1 ? rows * c.columns * c.warps_k * chain.channels : 0;
  const int64_t bytes = 4 * (image + partial + (chain.expand ? high * wide * (chain.input_channels + pad) : 0));
  if (bytes > d.block_bytes) return std::numeric_limits<double>::infinity();
  const int64_t n_tiles = chain.project ? chain.channels / 8 / c.warps_n : 0;
  const int64_t p_tiles = chain.project ? c.columns / c.warps_x / 2 * n_tiles : 0;
  const int64_t registers = 4 * p_tiles + 4 * (c.expand_rows / 2) * (c.chunk / 8 / c.expand_n) / (chain.project ? 2 : 1) + 110;
  if (p_tiles > 40) return std::numeric_limits<double>::infinity();
  const int64_t chunks = chain.project ? chain.expanded / c.chunk : 1;
  const double blocks = real(ceil_div(chain.height, rows) * ceil_div(chain.width, c.columns) * (chain.expanded / c.chunk / chunks));
  // Of a block and chunk, in cycles of a whole multiprocessor.
  const double points = real(rows * c.columns);
  const double expand = chain.expand ? real(high * wide * c.chunk) * real(chain.input_channels) / 1024 : 0;
  const double product = chain.project ? points * real(c.chunk) * real(chain.channels) / 1024 : 0;
  const double tensor = (expand + product) * 6.2 * d.products / 4;
  const double depthwise = points * real(c.chunk * chain.window * chain.window * c.warps_n) / 128;
  const double reads = real(rows * chain.region(c.columns) * chain.window * c.chunk * c.warps_n) * 4 / 128 +
                       (chain.expand ? real(high * wide * c.expand_n) * real(chain.input_channels) * 4 / 128 : 0);
  const double finish = real(high * wide * c.chunk) * 6 / 128;
  const double busy = 2 * (tensor + 1.3 * depthwise + reads + finish);  // about half of what units could do, as measured
  const double fill = chain.expand ? real(high * wide * chain.input_channels) * 4 / 64 : 0;
  const double latency = 6000.0 + busy * 4 / std::min(4.0, real(warps));
  const double block_busy = real(chunks) * busy + fill + points * real(chain.channels) / 64, block_latency = real(chunks) * latency + 2500 + fill;
  const double resident = std::max(1.0, std::min({std::floor(228.0 * 1024 / real(bytes + 1024)), std::floor(65536.0 / real(32 * warps * std::min<int64_t>(2048 / warps, registers))), 16.0}));
  const double on_one = std::ceil(blocks / d.multiprocessors);
  const double full = std::floor(on_one / resident), rest = on_one - full * resident;
  return 1500 + full * std::max(resident * block_busy, block_latency) + (rest > 0 ? std::max(rest * block_busy, block_latency) : 0);
}

double best_cycles(const Chain& c, const Device& d) {
  double best = std::numeric_limits<double>::infinity();
  for (const ChainTile& t : tiles_of(c, d)) best = std::min(best, cycles_of(c, t, d));
  return best;
}

}  // namespace

std::vector<ChainTile> chain_tiles(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return {};
  return from_the_best(tiles_of(*chain, d), [&](const ChainTile& t) { return cycles_of(*chain, t, d); });
}

bool chain_pays(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return false;
  const auto product = [&](const std::optional<Link>& l) { return l ? matrix_cycles(s, l->roles, d) : 0.0; };
  const double expand = product(chain->expand), project = product(chain->project);
  const double points = static_cast<double>(chain->height * chain->width * chain->expanded);
  constexpr double per_term = 0.0026;  // as measured on an H100, of a point a thread
  const double depthwise = 1500 + points * static_cast<double>(chain->window * chain->window) * per_term;
  double apart = expand + depthwise + project;
  if (chain->expand && chain->project) {
    Chain first = *chain, second = *chain;
    first.project.reset();
    second.expand.reset();
    apart = std::min({apart, best_cycles(first, d) + project, expand + best_cycles(second, d)});
  }
  return best_cycles(*chain, d) < apart;
}

}  // namespace burnish::cuda_target
