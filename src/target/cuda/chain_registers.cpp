// Chains whose expanded values stay in registers: instructions leave sums just where those of the
// projection want their operand, a thread's channels among them. A warp has 16 rows of what is
// expanded, a pair of them to each group of threads, and all columns of the tile; so a window's
// columns are the thread's own, and of its rows the last ones are those of the threads behind,
// which it is given. The last groups have no rows of the output: theirs are halo of the others.
//
// Nothing is shared by the block's warps but the input and, in the end, the sums: each has channels
// of its own, and none waits for another.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kRows = kMatrixGroups * kMatrixPairs;  // of what is expanded, a warp

// Groups of threads that have rows of the output.
int64_t groups_of(const Chain& chain) {
  return kMatrixGroups - ceil_div(chain.window - chain.stride, kMatrixPairs);
}

}  // namespace

bool fits_registers(const Chain& chain, const ChainTile& c) {
  return c.in_registers() && c.groups > 0 && chain.expand && !chain.first && chain.project &&
         c.warps_y * c.warps_x * c.warps_n == 1 && c.rows * chain.stride == kMatrixPairs &&
         c.chunk % (c.warps_k * kMatrixDepth) == 0 && c.groups == groups_of(chain);
}

bool expand_in_registers(Schedule& t, const Chain& chain, const Expansion& e, const Projection& at,
                         const std::string& out, const ChainTile& c, const Device& d) {
  const Roles& r = e.roles;
  Layout image = image_of(r);
  image.push_back({r.vector});
  std::string serial;
  for (const std::string& stage : {e.out, e.acc}) {
    t.pack(stage, image);
    const Stage self = t.group()[*t.group().named(stage)];
    const auto axis = [&](uint32_t i) { return self.axes[i].name; };
    auto [ys, y] = t.split(stage, axis(r.outer[0]), kRows, Tail::Whole);
    auto [group, rows] = t.split(stage, y, kMatrixPairs, Tail::Whole);
    auto [warp, within] = t.split(stage, axis(r.vector), kMatrixDepth * e.columns, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * e.columns, Tail::Whole);
    WarpLoops w{.outside = names(self.axes, r.unit),
                .bound = {warp, group, lane},
                .points = rows,
                .channels = own,
                .tiles = axis(*r.tile)};
    w.outside.push_back(ys);
    if (stage == e.out) {
      store_by_warps(t, stage, w, r.vector, e.columns);
      serial = ys;
    } else {
      sum_by_warps(t, stage, w, *std::ranges::find(self.raxes, e.k, &Axis::name), e.k, e.depth);
    }
  }
  t.compute_at(e.out, at.reader, at.chunk);
  t.guard_halo(e.out);
  t.set_scope(e.out, Scope::Warp);
  t.compute_at(e.acc, e.out, serial);
  t.guard_halo(e.acc);
  t.set_scope(e.acc, Scope::Register);
  const int64_t across = chain.region(c.columns);
  // Every chunk reads all of it: rounded once.
  const bool round = d.products == 1;
  return cached(t, e.input, round || c.splits > 1 ? e.acc : "", out, at.block, chain.input_channels,
                e.depth, kMatrixPairs, across, kRows, c.threads(), e.depths,
                round ? std::optional(DType::TF32) : std::nullopt) &&
         !t.failure();
}

std::vector<ChainTile> register_tiles(const Chain& chain, const Device& d) {
  std::vector<ChainTile> tiles;
  for (int64_t columns = 2; columns <= 8; ++columns) {
    // A warp alone has too long a way.
    for (const int64_t warps : {2, 3, 4, 6, 8, 12}) {
      for (const int64_t instructions : {1, 2, 4}) {
        if (instructions > 2 && !d.halves()) continue;
        for (const int64_t weights : {0, 1, 2}) {
          const ChainTile t{.columns = columns,
                            .warps_k = warps,
                            .chunk = warps * kMatrixDepth * instructions,
                            .weights = weights,
                            .rows = kMatrixPairs / chain.stride,
                            .groups = groups_of(chain)};
          if (chain.expanded % t.chunk == 0 && t.rows * columns % kMatrixPairs == 0 &&
              fits_registers(chain, t))
            tiles.push_back(t);
        }
      }
    }
  }
  return tiles;
}

namespace {

// Cycles; instructions; by what they wait and slots are multiplied.
struct Costs {
  double start, copied, iteration, far, waiting, issue, memory;
  double part, sum;                // what follows, of a value or of a tile of sums
  double power = 4, stored = 0.4;  // and of a value that is stored
  double operand = 1, product = 1, value = 1, sums = 1;  // instructions of a tile of 16 by 8
};
// Fitted to 165 tiles of 6 chains that an H200 measured: 7% off on average.
constexpr Costs kRounded = {.start = 3900,
                            .copied = 1.3,
                            .iteration = 400,
                            .far = 135,
                            .waiting = 2.56,
                            .issue = 0.54,
                            .memory = 1.1,
                            .part = 9.5,
                            .sum = 5.8};
// The same of 133 tiles of 5 chains in fp16.
constexpr Costs kHalves = {.start = 2990,
                           .copied = 3.44,
                           .iteration = 410,
                           .far = 45,
                           .waiting = 2.47,
                           .issue = 0.53,
                           .memory = 1.2,
                           .part = 11.9,
                           .sum = 4.8};
// Guessed: what a number's parts take, beside the same of an earlier fit.
constexpr Costs kExact = {.start = 4090,
                          .copied = 10.8,
                          .iteration = 34,
                          .far = 0,
                          .waiting = 1.59,
                          .issue = 0.8,
                          .memory = 0,
                          .part = 41,
                          .sum = 12,
                          .power = 2.8,
                          .stored = 4.7,
                          .operand = 2,
                          .product = 28,
                          .value = 2.5,
                          .sums = 4};

}  // namespace

// What a warp waits for, slots for instructions, and the block's memory, of which the longest
// decides.
double register_cycles(const Chain& chain, const ChainTile& c, const Device& d) {
  constexpr double infinite = std::numeric_limits<double>::infinity(), most_registers = 185;
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const bool exact = d.products > 1;
  const int64_t size = size_of(d.storage);
  const Costs& k = exact ? kExact : size == 2 ? kHalves : kRounded;
  const double word = real(size) / 4;  // registers and banks of an element
  const int64_t across = chain.region(c.columns),
                steps = ceil_div(chain.input_channels, kMatrixDepth);
  const int64_t halo = chain.window - chain.stride, window = chain.window * chain.window,
                n = c.chunk / (c.warps_k * kMatrixDepth),  // instructions that share an operand
      own = 2 * n * c.rows * c.columns;                    // values of a thread
  const int64_t sums = c.rows * c.columns / 2 * (chain.channels / 8);  // tiles of an instruction
  // A thread's: sums, expanded values with those of others, a window's weights, operands.
  const double registers = 38 + real(4 * sums) +
                           word * real(n * (across * (4 + 2 * halo) + 2 * window + 2 * steps)) +
                           (exact ? 24 : 0);
  const int64_t input = kRows * across * (chain.input_channels + 16 / size) * size;  // bytes
  const int64_t kept =
      c.weights == 0
          ? 0
          : chain.expanded * (4 + size * (window + (c.weights > 1 ? chain.channels : 0)));
  const int64_t partial = c.warps_k > 1 ? 4 * c.high() * c.columns * c.warps_k * chain.channels : 0;
  const double bytes = real(input + std::max(kept, partial)), warps = real(c.warps_k);
  if (registers > most_registers || bytes > real(d.block_bytes) || (exact && n > 1))
    return infinite;
  // Of a chunk, a warp's: instructions, and turns of the block's memory, which also exchanges
  // registers.
  const double chunk =
      real(across) * (word * real(steps) * (k.operand + real(n) * k.product) +
                      real(n) * (4 * k.value + word * real(2 * halo))) +
      (d.half_sums() ? word : 1) * real(own * (window + 4)) + word * k.sums * real(n * sums) +
      word * real(n * (window + steps + chain.channels / 8)) * (c.weights ? 1 : 1.5) + 20;
  const double turns =
      word * real(across * (4 * steps + 4 * n * halo) + n * (window + 1) * (c.weights ? 2 : 1) +
                  (c.weights > 1 ? 2 * n * chain.channels / 8 : 0));
  const double chunks = real(chain.expanded / c.chunk / c.splits),
               copies = k.copied * real(input + kept) / 16 / (32 * warps);
  const double out = real(c.high() * c.columns * chain.channels) / 4 / (32 * warps) *
                         (k.stored + (c.warps_k > 1 ? k.part * warps : 0)) +
                     k.sum * real(sums);
  const double waits =
      copies + chunks * (k.iteration + (c.weights ? 0 : k.far) + k.waiting * chunk) + 2 * out;
  const double held = 8 * std::ceil(std::max(registers, 64.0) / 8);
  const double resident =
      std::max(1.0, std::min({std::floor(228.0 * 1024 / (bytes + 1024)),
                              std::floor(std::floor(65536 / (32 * held)) / warps), 32.0}));
  const double blocks = real(blocks_of(chain, c)) / d.multiprocessors,
               all = std::ceil(blocks) * warps;
  return k.start +
         std::pow(std::pow(std::max(1.0, blocks / resident) * waits, k.power) +
                      std::pow(all * (copies + chunks * chunk + out) / 4 / k.issue, k.power) +
                      std::pow(all * (copies + chunks * turns + out) * k.memory, k.power),
                  1 / k.power);
}

}  // namespace burnish::cuda_target
