// Tiles of chains, and estimates of them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// Without those that were never near the best of a measured chain.
std::vector<ChainTile> tiles_of(const Chain& chain, const Device& d) {
  std::vector<ChainTile> tiles;
  if (d.sm < 80) return tiles;
  for (const int64_t columns : {6, 8, 14, 16, 30}) {
    if (columns > 8 && columns / 2 > chain.width) continue;
    for (const int64_t y : {1, 2}) {
      if (y > 1 && 4 * y >= chain.height) continue;
      for (const int64_t x : {1, 2, 3, 4, 5, 8}) {
        for (const auto& [n, k] :
             {std::pair(1, 1), {2, 1}, {4, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 6}, {2, 2}, {2, 4}}) {
          const int64_t warps = y * x * n * k;
          if (columns % (2 * x) && chain.project) continue;
          if (warps > 16 || (n * k > 1 && !chain.project) ||
              (chain.project && chain.channels % (8 * n)))
            continue;
          for (const int64_t chunk : {16, 32, 48, 64, 96, 128, 192}) {
            if (chain.expanded % chunk || chunk % (2 * kMatrixDepth * k)) continue;
            if (chunk == 16 && (chain.expanded % 32 == 0 || chain.expanded % 48 == 0)) continue;
            ChainTile t{.columns = columns,
                        .warps_y = y,
                        .warps_x = x,
                        .warps_n = n,
                        .warps_k = k,
                        .chunk = chunk};
            if (!chain.expand) {
              tiles.push_back(t);
              continue;
            }
            const int64_t across = ceil_div(chain.region(columns), kMatrixGroups);
            for (const int64_t expand_n : {1, 2, 3, 4, 6}) {
              if ((chunk / 8) % expand_n || across * expand_n > warps ||
                  warps % (across * expand_n))
                continue;
              t.expand_n = expand_n;
              t.expand_y = warps / (across * expand_n);
              if (t.expand_y > 6) continue;
              for (const int64_t rows : {2, 4}) {
                t.expand_rows = rows;
                if (rows / 2 * (chunk / 8 / expand_n) <= 12) tiles.push_back(t);
              }
            }
          }
        }
      }
    }
  }
  return tiles;
}

// Cycles on an H100, fitted to 1,800 kernels of 28 chains (strict, the same kernel again and again). A block takes what its warps
// wait for, and what its work occupies of the multiprocessor, where the resident blocks take turns.
namespace cycles {
constexpr double start = 1900;  // a launch
constexpr double copy =
    270;  // waiting: a round of copying the input to the block's memory, a trip to memory
constexpr double project =
    670;  // a step of the projection: reads, the depthwise sum, the first instruction
constexpr double barrier = 190;           // a chunk, and two rounds of the expansion
constexpr double sum = 5, sum_busy = 10;  // an instruction for one warp, with making its operands;
                                          // and of a multiprocessor's quarter
constexpr double vector = 8, vector_busy = 5;  // of 4 floats a thread, read or written
constexpr double term_busy = 1.15;             // a multiply-add of the depthwise sum
constexpr double copy_busy = 8;  // 32 vectors of the input, of the whole multiprocessor
}  // namespace cycles

// What a thread needs of registers, as a share of what it can have; beyond 1 it spills.
struct Registers {
  double needed, limit;
  double over() const { return std::max(0.0, needed / limit - 1); }
};

double cycles_of(const Chain& chain, const ChainTile& c, const Device& d) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const bool expand = chain.expand.has_value(), project = chain.project.has_value();
  const int64_t rows = kMatrixGroups * c.warps_y, step = c.expand_rows * c.expand_y;
  const int64_t rounds = ceil_div(chain.region(rows), step);  // of the expansion
  const int64_t high = expand ? rounds * step : chain.region(rows);
  const int64_t wide = expand ? ceil_div(chain.region(c.columns), kMatrixGroups) * kMatrixGroups
                              : chain.region(c.columns);

  const int64_t banks = banks_of(d.storage), vector = vector_of(d.storage);
  const auto padded = [&](int64_t channels, int64_t depth) {
    return channels + floor_mod(depth - channels, banks);
  };
  const int64_t depth = depth_for(chain.input_channels, d), project_depth = depth_for(c.chunk / c.warps_k, d);
  // Of a row of the tile: what is expanded, as chain.cpp pads it, and the input.
  const int64_t expanded = wide * (c.chunk + vector), input = wide * (expand ? padded(chain.input_channels, depth) : padded(c.chunk, project_depth));
  const int64_t row = input + (expand ? padded(expanded, project_depth) : 0);
  const int64_t partial = c.warps_k > 1 ? rows * c.columns * c.warps_k * chain.channels : 0;
  const int64_t bytes = size_of(d.storage) * high * row + 4 * partial;
  if (bytes > d.block_bytes) return std::numeric_limits<double>::infinity();

  // Tiles of an instruction that a warp has sums of, and points of a thread.
  const int64_t across = project ? chain.channels / 8 / c.warps_n : 0,
                points = project ? c.columns / c.warps_x : 0;
  const double project_tiles = real(points * across) / 2;
  const int64_t expand_across = expand ? c.chunk / 8 / c.expand_n : 0;
  const double expand_tiles = real(c.expand_rows * expand_across) / 2;
  // Without a projection, the depthwise convolution's own threads have rows of a column.
  const int64_t column_threads = c.columns * (c.chunk / vector);
  const int64_t own_rows =
      std::max<int64_t>(1, rows / std::max<int64_t>(1, c.threads() / column_threads));
  const int64_t threads =
      project ? c.threads()
              : std::max(c.threads(),
                         32 * ceil_div(ceil_div(rows, own_rows) * column_threads, int64_t{32}));
  const double warps = real(c.threads()) / 32, depthwise_warps = real(threads) / 32;
  const Registers registers{.needed = 67 + 6 * project_tiles +
                                      std::max(2.1 * real(points), 4 * expand_tiles),
                            .limit = std::min(255.0, std::floor(65536 / real(threads) / 8) * 8)};
  if (registers.over() > 0.3) return std::numeric_limits<double>::infinity();

  // Of a warp and a block's whole work.
  const int64_t chunks = project ? chain.expanded / c.chunk : 1;
  const int64_t copied = expand ? chain.input_channels : c.chunk,
                vectors = std::min<int64_t>(c.threads(), copied / vector);
  const double fills = real(expand ? 1 : chunks);
  const double copies =
      fills * real(high * ceil_div(wide, std::max<int64_t>(1, c.threads() / vectors)) *
                   ceil_div(copied / vector, vectors));
  const double expand_steps = expand ? real(chunks * rounds * (chain.input_channels / depth)) : 0;
  const double project_steps =
      project ? real(chunks * c.chunk / (project_depth * c.warps_k)) : 0;
  const double sums = d.products * (expand_steps * expand_tiles * real(depth / kMatrixDepth) +
                                    project_steps * project_tiles * real(project_depth / kMatrixDepth));
  const double tile_vectors = real(rows * c.columns * chain.channels) / 128 / warps;
  const double reads =
      expand_steps * real(c.expand_rows + expand_across) + project_steps * real(across);
  const double window_reads =
      real(chain.window * (chain.region(project ? points : own_rows) + chain.window));
  const double depthwise_times = project ? project_steps : 1;
  const double depthwise_reads = depthwise_times * window_reads;
  const double terms =
      depthwise_times * real(vector) * real((project ? points : own_rows) * chain.window * chain.window);
  double writes = c.warps_k > 1 ? tile_vectors * real(c.warps_k + 1) : 0;
  if (expand) writes += real(chunks * rounds * c.expand_rows * expand_across) / 2;
  const double out = project ? tile_vectors : real(own_rows);

  const double spilled = 1 + 2.1 * registers.over();
  const double waits = cycles::copy * copies + cycles::project * (project ? project_steps : 1) +
                       cycles::barrier * real(chunks) * (1 + (expand ? real(rounds) / 2 : 0)) +
                       spilled * (cycles::sum * sums + cycles::vector * (reads + depthwise_reads)) +
                       cycles::vector * (writes + out);
  const double quarter =
      warps * (cycles::sum_busy * sums + cycles::vector_busy * (reads + writes)) +
      depthwise_warps * (cycles::vector_busy * (depthwise_reads + out) + cycles::term_busy * terms);
  const double busy =
      spilled * quarter / 4 + cycles::copy_busy * fills * real(high * wide * copied) / 128;

  const double held =
      real(threads) * 8 * std::ceil(std::min(registers.needed, registers.limit) / 8);
  const double resident =
      std::max(1.0, std::min({std::floor(228.0 * 1024 / real(bytes + 1024)),
                              std::floor(65536 / held), std::floor(2048 / real(threads)), 32.0}));
  const double blocks = real(ceil_div(chain.height, rows) * ceil_div(chain.width, c.columns) *
                             (chain.expanded / c.chunk / chunks));
  const double on_one = std::ceil(blocks / d.multiprocessors);
  return cycles::start + std::ceil(on_one / resident) * waits + on_one * busy;
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
  return from_the_best(tiles_of(*chain, d),
                       [&](const ChainTile& t) { return cycles_of(*chain, t, d); });
}

bool chain_pays(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return false;
  // Of a kernel more, which the estimate of products is without. Pairs are left as they were measured: where both neighbours of a
  // depthwise convolution would join it, the one before it is the better one, which no pair knows.
  const double launch = chain->expand && chain->project ? 1900 : 0;
  const auto product = [&](const std::optional<Link>& l) {
    return l ? launch + matrix_cycles(s, l->roles, d) : 0.0;
  };
  const double expand = product(chain->expand), project = product(chain->project);
  const double points = static_cast<double>(chain->height * chain->width * chain->expanded);
  constexpr double per_term = 0.0018;  // as measured on an H100, of points a thread
  const double depthwise =
      1500 + points * static_cast<double>(chain->window * chain->window) * per_term;
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
