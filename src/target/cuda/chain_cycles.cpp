// What a chain's kernel takes, by estimate. A block waits for what follows one another, while the
// memory of its multiprocessor and the slots for instructions are shared with the blocks beside it:
// the three are added up as powers, since each hides in part behind the others.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// Cycles on an H100 of a kernel that runs again and again. Of chains with a projection they are fitted to 1,800 kernels of CenterFace in
// three precisions: of 9 chains in TF32 the first choice takes 1.06 times the best measured. `copy` is a little below what was fitted: the
// copies measured made their addresses anew each. `far` is the difference between such kernels and the same inside of networks.
struct Cycles {
  double start = 870;               // a launch
  double instruction = 1.6;         // of the kernel's code, the first time
  double trip = 670, copy = 64;     // waiting: for the input, and to ask for a round of it
  double chunk = 610;               // barriers
  double step = 10, weights = 520;  // of the projection; with weights from memory
  double sum = 1, exact_sum = 29.5;  // an instruction; the three of a product of f32
  double round = 0, value = 0, finish = 0;  // of the expansion's rows; of a thread's sum; of the work on it beyond a bias and ReLU
  double weight = 26, term = 0.19, out = 8.4;  // a vector of weights, a multiply-add of the depthwise sum, a vector stored
  double wavefront = 1.1, weight_wavefront = 0.29;  // of a multiprocessor's memory: 128 bytes that lie in different banks
  double copy_wavefront = 0.49;
  double value_slots = 2.8, finish_slots = 1, access = 7.1, copy_slots = 9.6;  // of a quarter: an expanded value, a read or a write of vectors
  double step_slots = 320, term_slots = 0.72, exact_slots = 21.5;
  double begin = 575, begin_slots = 294;  // of a warp, for an image's filters and the places of their terms; counted
  double power = 1.7;
  double last_wave = 0.4;       // so much of a wave of blocks that is not full counts as if it were
  double two_rows = 1.16;       // kernels whose threads have two rows take so many times as long as the rest says
  double kept_weights = 36;     // registers of the expansion's weights that stay over all rows
  double asked_at_once = 100;   // registers of weights that are asked for together
  double far = 850;             // weights that f32 tensors of a network have pushed out of the second-level cache
  double unmeasured = 1.2;      // kernels of parts, and of few blocks, have to be better by that
};
constexpr Cycles kProjecting;
// Of chains without one: 1,700 kernels of EfficientNet and CenterFace on an H200, 8% off on average; of 38 chains in three precisions the first
// choice takes 1.05 times the best measured.
constexpr Cycles kStoring = {.start = 1220,
                             .instruction = 1.02,
                             .trip = 732,
                             .copy = 26,
                             .chunk = 749,
                             .sum = 1.87,
                             .exact_sum = 30.9,
                             .round = 126,
                             .value = 6.83,
                             .finish = 0.594,
                             .weight = 24.8,
                             .term = 0.176,
                             .out = 7.25,
                             .wavefront = 0.529,
                             .weight_wavefront = 0.241,
                             .copy_wavefront = 0.601,
                             .value_slots = 9.9,
                             .finish_slots = 0.928,
                             .access = 8.51,
                             .copy_slots = 6.38,
                             .term_slots = 0.443,
                             .exact_slots = 22.7,
                             .power = 1.84,
                             .last_wave = 0.767,
                             .far = 166};

double real(int64_t n) { return static_cast<double>(n); }

// What a thread needs of registers, as a share of what it can have; beyond 1 it spills.
struct Registers {
  double needed, limit;
  double over() const { return std::max(0.0, needed / limit - 1); }
};

}  // namespace

int64_t blocks_of(const Chain& chain, const ChainTile& c) {
  const int64_t tiles =
      chain.images * ceil_div(chain.height, c.high()) * ceil_div(chain.width, c.columns);
  return tiles * (chain.project ? c.splits : chain.expanded / c.chunk);
}

double chain_cycles(const Chain& chain, const ChainTile& c, const Device& d) {
  if (c.in_registers()) return register_cycles(chain, c, d);
  constexpr double infinite = std::numeric_limits<double>::infinity();
  const bool expand = chain.expand.has_value(), project = chain.project.has_value();
  const Cycles& cycles = project ? kProjecting : kStoring;
  const int64_t rows = c.high(), step = c.expand_rows * c.expand_y;
  const int64_t rounds = ceil_div(chain.region(rows), step);  // of the expansion
  const int64_t high = expand ? rounds * step : chain.region(rows);
  const int64_t wide = expand ? ceil_div(chain.region(c.columns), kMatrixGroups) * kMatrixGroups
                              : chain.region(c.columns);

  // A block's memory; pitches of a column and of a row are those of chain.cpp.
  const int64_t vector = vector_of(d.storage), size = size_of(d.storage);
  const auto padded = [&](int64_t channels, int64_t depth, int64_t apart = 1) {
    return channels + bank_padding(channels, depth, d.storage, apart);
  };
  // What a step of the expansion sums, and all of it; the image's values for a tile, which are read
  // one by one, or its points with all their channels.
  const bool points_of_image = chain.first && d.halves();
  const int64_t summed = points_of_image ? chain.first->filled
                         : chain.first   ? chain.first->terms
                                         : chain.input_channels;
  const int64_t image = chain.first ? chain.first->values(high, wide, points_of_image) : 0,
                image_bytes = image * (points_of_image ? size : 4);
  const int64_t depth = chain.first ? instruction_depth(d) : depth_for(chain.input_channels, d),
                project_depth = depth_for(c.chunk / c.warps_k, d);
  const Banks banked = banks_for(chain, c, d.storage, project_depth);
  const int64_t column = c.chunk + banked.pad;  // of what the depthwise convolution reads
  const int64_t row = padded(chain.region(c.columns) * column, project_depth, chain.stride * c.rows);
  const int64_t input =
      expand && !chain.first
          ? wide * (d.halves()
                        ? chain.input_channels + piece_padding(chain.input_channels, d.storage)
                        : padded(chain.input_channels, depth))
          : 0;
  const int64_t partial = c.warps_k > 1 ? rows * c.columns * c.warps_k * chain.channels : 0;
  // Weights that are there for the whole kernel: of the depthwise convolution with its bias, of the
  // projection.
  const int64_t window = chain.window * chain.window;
  const int64_t kept =
      c.weights == 0
          ? 0
          : chain.expanded * (4 + size * (window + (c.weights > 1 ? chain.channels : 0)));
  // What warps have summed lies over all but the input, which a residual may be (c_like/block_memory).
  const int64_t bytes =
      size * high * input + std::max(size * chain.region(rows) * row + image_bytes + kept, 4 * partial);
  if (bytes > d.block_bytes) return infinite;

  // Tiles of an instruction that a warp has sums of, and points of a thread.
  const int64_t across = project ? chain.channels / 8 / c.warps_n : 0,
                points = project ? c.columns / c.warps_x : 0;
  const double project_tiles = real(c.rows * points * across) / 2;
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
  // Of two rows, both parts of the numbers of exact products take more (196 registers instead of 150, 202 instead of 153).
  const double parts_of_rows = c.rows > 1 && d.products > 1 ? 48 : 0;
  const Registers registers{.needed = 67 + parts_of_rows + 6 * project_tiles +
                                      std::max(2.1 * real(points), 4 * expand_tiles),
                            .limit = std::min(255.0, 8 * std::floor(64 / std::ceil(real(threads) / 128)))};
  if (registers.over() > 0.3) return infinite;

  // Of a warp and a block's whole work: the input,
  const int64_t chunks = project ? chain.expanded / c.chunk / c.splits : 1,
                fills = expand ? 1 : chunks;
  const int64_t copied = chain.first ? 0
                         : expand    ? chain.input_channels
                                     : c.chunk,
                vectors = std::clamp<int64_t>(copied / vector, 1, c.threads()),
                columns_at_once = std::min(c.threads() / vectors, wide),
                rows_at_once = c.threads() / (vectors * columns_at_once);
  const double copies = real(fills * ceil_div(high, rows_at_once) *
                             ceil_div(wide, columns_at_once) * ceil_div(copied / vector, vectors)) +
                        std::ceil(real(kept) / 16 / real(c.threads())) +
                        std::ceil(real(image) / 4 / real(c.threads()));
  // the expansion,
  const int64_t all_rounds = expand ? chunks * rounds : 0, deep = expand ? summed / depth : 0;
  const double expand_sums =
      real(all_rounds * deep * ceil_div(depth, instruction_depth(d))) * expand_tiles;
  const double values = real(all_rounds * c.expand_rows * expand_across * 2),
               inputs = real(all_rounds * deep * c.expand_rows * (chain.first && !points_of_image ? 2 : 1));
  const double weight_registers = real(expand_across * summed * size) / 16;
  const bool weights_stay = weight_registers <= cycles.kept_weights;
  const double expand_weights =
      real((weights_stay ? std::min(chunks, all_rounds) : all_rounds) * deep * expand_across);
  const int64_t stored = stored_at_once(expand_across, d.storage);
  const double stores = values / real(stored);
  // the depthwise sums, which are the projection's operand or are stored,
  const int64_t steps = project ? chunks * c.chunk / (project_depth * c.warps_k) : 1;
  const int64_t own_points = project ? points : own_rows,
                own_channels = project ? project_depth / kMatrixLanes : vector;
  const double pairs = d.half_sums() ? 2 : 1;
  const double window_reads = real(steps * chain.region(c.rows) * chain.region(own_points)),
               window_weights = real(steps * window);
  const double terms = real(steps * own_channels * c.rows * own_points * window) / pairs;
  // and the projection with what goes out.
  const double project_sums =
      project ? real(steps * ceil_div(project_depth, instruction_depth(d))) * project_tiles : 0;
  const double project_weights = real(steps * across);
  const double out = project ? real(rows * c.columns * chain.channels) / real(32 * vector) / warps *
                                   (c.warps_k > 1 ? real(2 + 2 * c.warps_k) : 1)
                             : real(own_rows);
  const double sums = expand_sums + project_sums;
  const bool exact = d.products > 1;

  // On a thread's sums, beyond what a bias and ReLU take.
  const auto work_of = [](const std::optional<Link>& l) { return l ? real(std::max<int64_t>(0, l->finish - 2)) : 0; };
  const double expand_work = values * work_of(chain.expand), depthwise_work = real(steps * own_channels * c.rows * own_points) * work_of(chain.depthwise);
  const double input_turns =
      chain.first ? 2 : real(kMatrixGroups * depth * size) / 128;
  const double spilled = 1 + 2.1 * registers.over();
  const double waits =
      (chain.first ? cycles.begin : 0) + cycles.trip * real(fills) + cycles.copy * copies +
      cycles.chunk * real(chunks) + cycles.round * real(all_rounds) +
      cycles.value * values + cycles.finish * (expand_work + depthwise_work) +
      (cycles.step + (project && c.weights == 0 ? cycles.weights : 0)) * real(steps) +
      spilled * ((exact ? cycles.exact_sum : cycles.sum) * sums +
                 cycles.weight * (expand_weights + project_weights * (c.weights > 1 ? 0.3 : 1)) +
                 cycles.term * terms) +
      cycles.out * out;
  const double turns = cycles.copy_wavefront * real(fills * high * wide * copied * size) / 128 +
                       spilled * warps *
                           (cycles.wavefront * (inputs * input_turns + stores * banked.store) +
                            cycles.weight_wavefront * 4 * (expand_weights + project_weights)) +
                       depthwise_warps * cycles.wavefront *
                           (window_reads * banked.window + window_weights + 4 * out);
  const double slots =
      (chain.first && !points_of_image ? warps * cycles.begin_slots : 0) +
      spilled * (warps * ((exact ? cycles.exact_slots : 1) * sums + cycles.value_slots * values +
                          cycles.access * (inputs + expand_weights + project_weights + stores) +
                          cycles.copy_slots * copies + out + cycles.finish_slots * expand_work) +
                 depthwise_warps * (cycles.finish_slots * depthwise_work + cycles.term_slots * terms +
                                    cycles.access * (window_reads + window_weights) +
                                    cycles.step_slots * real(steps)));
  // Of the kernel's code, what is not in loops over steps.
  const double per_sum = exact ? 4 : 1;
  const bool whole_depth = summed * size <= 256;
  const double code =
      expand_tiles *
          (per_sum * real(ceil_div(depth, instruction_depth(d)) * (whole_depth ? deep : 1)) + 20) +
      real(c.rows * own_points * window * own_channels) / pairs +
      project_tiles * (per_sum * real(ceil_div(project_depth, instruction_depth(d))) + 8);

  // The first blocks, all of them at once, wait for weights each time that they ask for some, but
  // for the first, when they wait for data.
  const double asked =
      real(std::min(chunks, all_rounds) * (weight_registers <= cycles.asked_at_once ? 1 : deep)) +
      (project ? real(c.weights == 0 ? steps : 1) : 0);
  const double first = cycles.instruction * code +
                       (d.halves() ? 0 : cycles.far * std::max(0.0, asked - 1));

  // A quarter of a multiprocessor has registers for so many warps of its own.
  const double held = 8 * std::ceil(std::min(registers.needed, registers.limit) / 8),
               fitting = 4 * std::floor(16384 / (32 * held));
  const double resident =
      std::max(1.0, std::min({std::floor(228.0 * 1024 / real(bytes + 1024)),
                              std::floor(fitting / std::ceil(depthwise_warps)),
                              std::floor(2048 / real(threads)), 32.0}));
  // Clusters stand in groups of about 16 multiprocessors, which they do not always fill.
  const double grouped = c.splits <= 2 || d.sm < clusters_from ? 1 : c.splits == 4 ? 0.85 : 0.7;
  const double blocks = real(blocks_of(chain, c)) / (grouped * d.multiprocessors),
               on_one = std::ceil(blocks);
  const double waves =
      std::lerp(std::max(1.0, blocks / resident), std::ceil(on_one / resident), cycles.last_wave);
  const auto raised = [&](double x) { return std::pow(x, cycles.power); };
  const double work =
      std::pow(raised(waves * waits) + raised(on_one * turns) + raised(on_one * slots / 4),
               1 / cycles.power);
  // Blocks that meet, or a kernel that adds up parts; and what goes through memory.
  constexpr double meeting = 1200, kernel = 3200,
                   bytes_of_cycle = 3200;  // of the second-level cache
  const double parts = 4 * real(chain.images * chain.height * chain.width * chain.channels * c.splits);
  const double adding =
      c.splits > 1 ? (d.sm >= clusters_from ? meeting : kernel) + 2 * parts / bytes_of_cycle : 0;
  return (c.splits > 1 || blocks < 0.5 ? cycles.unmeasured : 1) * (c.rows > 1 ? cycles.two_rows : 1) *
         (cycles.start + first + work + adding);
}

}  // namespace burnish::cuda_target
