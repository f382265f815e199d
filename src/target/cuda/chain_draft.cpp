// Tiles of chains, and estimates of them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

int64_t blocks_of(const Chain& chain, const ChainTile& c) {
  const int64_t tiles = ceil_div(chain.height, kMatrixGroups * c.warps_y) * ceil_div(chain.width, c.columns);
  return tiles * (chain.project ? c.splits : chain.expanded / c.chunk);
}

// The tile; with weights in the block's memory; and where it leaves multiprocessors idle, the same in parts of the expanded channels.
void add(std::vector<ChainTile>& tiles, const Chain& chain, ChainTile t, const Device& d) {
  tiles.push_back(t);
  if (!chain.project) return;
  for (const int64_t w : {1, 2}) {
    t.weights = w;
    tiles.push_back(t);
  }
  t.weights = 0;
  const bool clusters = d.sm >= clusters_from;
  const int64_t most = clusters ? most_of_a_cluster : 16, most_blocks = d.multiprocessors * (clusters ? 2 : 1);
  const int64_t chunks = chain.expanded / t.chunk;
  for (t.splits = 2; t.splits <= std::min(most, chunks); ++t.splits)
    if (chunks % t.splits == 0 && blocks_of(chain, t) <= most_blocks && (!clusters || chain.channels % (2 * t.splits) == 0)) tiles.push_back(t);
}

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
              add(tiles, chain, t, d);
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
                if (rows / 2 * (chunk / 8 / expand_n) <= 12) add(tiles, chain, t, d);
              }
            }
          }
        }
      }
    }
  }
  return tiles;
}

// Cycles on an H100 of a kernel that runs again and again, fitted to 509 kernels of eight chains, strict and TF32 (of the
// first five the best is within 5%), and before to 1,800 of 28. A block takes what its warps wait for, and what its work occupies of
// the multiprocessor, where the resident blocks take turns.
namespace cycles {
constexpr double start = 1900;                // a launch
constexpr double trip = 600, copy = 44;       // waiting: for the input, and to ask for a round of it
constexpr double project = 700;               // a step of the projection: reads, the depthwise sum, the first instruction
constexpr double barrier = 170;               // a chunk, and two rounds of the expansion
constexpr double sum = 5, sum_busy = 9;       // an instruction for one warp, with making its operands; and of a multiprocessor's quarter
constexpr double vector = 7, vector_busy = 5.2;  // of 4 floats a thread, read or written
constexpr double term_busy = 1.4;             // a multiply-add of the depthwise sum
constexpr double copy_busy = 9;               // 32 vectors of the input, of the whole multiprocessor
constexpr double little = 3200;               // the least that a kernel takes within a network
constexpr double through_memory = 1.2;        // so much longer it takes there where it reads what fills the caches
constexpr double value = 0.4;                 // of an image, read alone, as a share of a vector; assumed
constexpr double ask = 60;                    // of a step of the projection, for weights from memory; assumed, not measured
constexpr double bytes = 3200;                // of the second-level cache, in one
constexpr double meeting = 1200;              // of a cluster's blocks, and reads of what they have just written
constexpr double stored = 1000;               // bytes of an image's convolution, in one
constexpr double unmeasured = 1.2;            // kernels of parts have to be better by that
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
  // What a step of the expansion sums, all of it, and how often in all; the image's values for a tile.
  const int64_t depth = chain.first ? kMatrixDepth : depth_for(chain.input_channels, d), summed = chain.first ? chain.first->terms : chain.input_channels;
  int64_t image = chain.first ? 1 : 0;
  if (chain.first)
    for (const int64_t n : chain.first->region(high, wide)) image *= n;
  const int64_t project_depth = depth_for(c.chunk / c.warps_k, d);
  // Of a row of the tile: what is expanded, as chain.cpp pads it, and the input.
  const int64_t expanded = wide * (c.chunk + vector), input = chain.first ? 0 : expand ? wide * padded(chain.input_channels, depth) : padded(wide * c.chunk, project_depth);
  const int64_t row = input + (expand ? padded(expanded, project_depth) : 0);
  const int64_t partial = c.warps_k > 1 ? rows * c.columns * c.warps_k * chain.channels : 0;
  // Weights that are there for the whole kernel: of the depthwise convolution with its bias, of the projection.
  const int64_t kept = c.weights == 0 ? 0 : chain.expanded * (4 + size_of(d.storage) * (chain.window * chain.window + (c.weights > 1 ? chain.channels : 0)));
  const int64_t bytes = size_of(d.storage) * high * row + 4 * (partial + image) + kept;
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
  const int64_t chunks = project ? chain.expanded / c.chunk / c.splits : 1;
  const int64_t copied = chain.first ? 0 : expand ? chain.input_channels : c.chunk, vectors = std::clamp<int64_t>(copied / vector, 1, c.threads()),
                columns_at_once = std::min(c.threads() / vectors, wide), rows_at_once = c.threads() / (vectors * columns_at_once);
  const double fills = real(expand ? 1 : chunks);
  const double copies = real(ceil_div(high, rows_at_once) * ceil_div(wide, columns_at_once) * ceil_div(copied / vector, vectors));
  const double expand_steps = expand ? real(chunks * rounds * (summed / depth)) : 0;
  const double project_steps =
      project ? real(chunks * c.chunk / (project_depth * c.warps_k)) : 0;
  const double sums = d.products * (expand_steps * expand_tiles * real(depth / kMatrixDepth) +
                                    project_steps * project_tiles * real(project_depth / kMatrixDepth));
  const double tile_vectors = real(rows * c.columns * chain.channels) / 128 / warps;
  const double reads =
      expand_steps * real(c.expand_rows + expand_across) * (chain.first ? 2 * cycles::value : 1) + project_steps * real(across);
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
  const double waits = fills * (cycles::trip + cycles::copy * copies) + cycles::copy * std::ceil(real(image) / 4 / real(c.threads())) + cycles::copy * std::ceil(real(kept) / 16 / real(c.threads())) +
                       (cycles::project - cycles::ask * real(c.weights)) * (project ? project_steps : 1) +
                       cycles::barrier * real(chunks) * (1 + (expand ? real(rounds) / 2 : 0)) +
                       spilled * (cycles::sum * sums + cycles::vector * (reads + depthwise_reads)) +
                       cycles::vector * (writes + out);
  const double quarter =
      warps * (cycles::sum_busy * sums + cycles::vector_busy * (reads + writes)) +
      depthwise_warps * (cycles::vector_busy * (depthwise_reads + out) + cycles::term_busy * terms);
  const double busy =
      spilled * quarter / 4 + cycles::copy_busy * (fills * real(high * wide * copied) + real(image)) / 128;

  const double held =
      real(threads) * 8 * std::ceil(std::min(registers.needed, registers.limit) / 8);
  const double resident =
      std::max(1.0, std::min({std::floor(228.0 * 1024 / real(bytes + 1024)),
                              std::floor(65536 / held), std::floor(2048 / real(threads)), 32.0}));
  const double on_one = std::ceil(real(blocks_of(chain, c)) / d.multiprocessors);
  // Blocks that meet, or a kernel that adds up parts; and what goes through memory.
  const double parts = 4 * real(chain.height * chain.width * chain.channels * c.splits);
  const double adding = c.splits > 1 ? (d.sm >= clusters_from ? cycles::meeting : cycles::little) + 2 * parts / cycles::bytes : 0;
  const double sure = c.splits > 1 ? cycles::unmeasured : 1;
  return sure * (cycles::start + std::ceil(on_one / resident) * waits + on_one * busy + adding);
}

// What a chain takes within a network with its best tile.
double best_cycles(const Chain& c, const Device& d) {
  double best = std::numeric_limits<double>::infinity();
  for (const ChainTile& t : tiles_of(c, d)) best = std::min(best, cycles_of(c, t, d));
  return best * (c.expand ? 1 : cycles::through_memory);
}

// The same of a product, and of a depthwise convolution of so many terms, by points; both as measured inside CenterFace and MobileNetV2.
// A convolution of few channels takes what its instructions do, and what it stores.
double product_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const double cycles = matrix_cycles(s, r, d);
  if (std::isfinite(cycles)) return 1.4 * cycles;
  const auto stored = static_cast<double>(points(s.group()[r.out].axes) * size_of(d.storage));
  return cycles::little + 0.9 * window_cycles(s, r, d) + stored / cycles::stored;
}
double depthwise_cycles(double terms) { return cycles::little + 0.0009 * terms; }

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
  const auto product = [&](const std::optional<Link>& l) { return l ? product_cycles(s, l->roles, d) : 0.0; };
  const double expand = product(chain->expand), project = product(chain->project);
  const double depthwise = depthwise_cycles(static_cast<double>(chain->height * chain->width * chain->expanded * chain->window * chain->window));
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

double network_cycles(const Schedule& s, const Device& d) {
  const StageGroup& g = s.group();
  if (const auto chain = chain_of(s)) return best_cycles(*chain, d);
  const auto roles = g.outputs.size() == 1 ? roles_of(s, g.outputs[0]) : std::nullopt;
  if (!roles || !g[roles->acc].is_reduction()) return 0;
  const Stage& acc = g[roles->acc];
  const double cycles = roles->broadcast ? product_cycles(s, *roles, d) : depthwise_cycles(static_cast<double>(points(acc.axes) * points(acc.raxes)));
  return std::isfinite(cycles) ? cycles : 0;
}

}  // namespace burnish::cuda_target
