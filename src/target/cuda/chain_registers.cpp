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

bool fits_registers(const Chain& chain, const ChainTile& c, const Device& d) {
  return c.in_registers() && c.groups > 0 && d.storage == DType::F32 && chain.expand &&
         chain.project && c.warps_y * c.warps_x * c.warps_n == 1 &&
         c.rows * chain.stride == kMatrixPairs && c.chunk == c.warps_k * kMatrixDepth &&
         c.groups == groups_of(chain);
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
    auto [warp, within] = t.split(stage, axis(r.vector), kMatrixDepth, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs, Tail::Whole);
    WarpLoops w{.outside = names(self.axes, r.unit),
                .bound = {warp, group, lane},
                .points = rows,
                .channels = own,
                .tiles = axis(*r.tile)};
    w.outside.push_back(ys);
    if (stage == e.out) {
      store_by_warps(t, stage, w, r.vector, 1);
      serial = ys;
    } else if (chain.first) {
      sum_window(t, stage, w, self.axes[r.vector].var, 1, d);
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
  if (chain.first) {
    window_in_block(t, e.input, e.acc, out, at.block, chain, kRows, across, c);
  } else {
    // Every chunk reads all of it: rounded once.
    const bool round = d.products == 1;
    cached(t, e.input, round || c.splits > 1 ? e.acc : "", out, at.block, chain.input_channels,
           e.depth, kMatrixPairs, across, kRows, c.threads(), Depths::Neighbours,
           round ? std::optional(DType::TF32) : std::nullopt);
  }
  return !t.failure();
}

std::vector<ChainTile> register_tiles(const Chain& chain, const Device& d) {
  std::vector<ChainTile> tiles;
  for (int64_t columns = 2; columns <= 8; ++columns) {
    // A warp alone has too long a way.
    for (const int64_t warps : {2, 3, 4, 6, 8, 12}) {
      for (const int64_t weights : {0, 1, 2}) {
        const ChainTile t{.columns = columns,
                          .warps_k = warps,
                          .chunk = warps * kMatrixDepth,
                          .weights = weights,
                          .rows = kMatrixPairs / chain.stride,
                          .groups = groups_of(chain)};
        if (chain.expanded % t.chunk == 0 && t.rows * columns % kMatrixPairs == 0 &&
            fits_registers(chain, t, d))
          tiles.push_back(t);
      }
    }
  }
  return tiles;
}

// What a warp waits for, and slots for instructions, of which the longer decides. Fitted to 250
// tiles of 9 chains in TF32 that an H200 measured: 8% off on average.
double register_cycles(const Chain& chain, const ChainTile& c, const Device& d) {
  constexpr double infinite = std::numeric_limits<double>::infinity(), most_registers = 185;
  constexpr double start = 4090, copied = 10.8, iteration = 34, issue = 0.8, waiting = 1.59,
                   power = 2.8;
  constexpr double product = 13, exact_product = 30, value = 2.5, term = 1, weight = 1,
                   stored = 4.7, part = 41, sum = 12;
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const bool exact = d.products > 1;
  const int64_t summed = chain.first ? chain.first->terms : chain.input_channels,
                across = chain.region(c.columns), steps = ceil_div(summed, kMatrixDepth);
  const int64_t halo = chain.window - chain.stride, window = chain.window * chain.window,
                own = 2 * c.rows * c.columns;                          // values of a thread
  const int64_t sums = c.rows * c.columns / 2 * (chain.channels / 8);  // tiles of an instruction
  // A thread's: sums, expanded values with those of others, a window's weights, operands.
  const double registers =
      38 + real(4 * sums + across * (4 + 2 * halo) + 2 * window + 2 * steps) + (exact ? 24 : 0);
  int64_t input = kRows * across * (chain.input_channels + 4);
  if (chain.first) {
    input = 1;
    for (const int64_t n : chain.first->region(kRows, across)) input *= n;
  }
  const int64_t kept =
      c.weights == 0 ? 0 : chain.expanded * (1 + window + (c.weights > 1 ? chain.channels : 0));
  const int64_t partial = c.warps_k > 1 ? c.high() * c.columns * c.warps_k * chain.channels : 0;
  const double bytes = 4 * real(input + std::max(kept, partial)), warps = real(c.warps_k);
  if (registers > most_registers || bytes > real(d.block_bytes)) return infinite;
  const double chunk =
      real(across) *
          (real(steps) * (exact ? exact_product : product) + 4 * value + real(2 * halo)) +
      real(own) * (term * real(window) + 4) + (exact ? 4 : 1) * real(sums) +
      weight * real(window + steps + chain.channels / 8) * (c.weights ? 1 : 1.5) + 20;
  const double chunks = real(chain.expanded / c.chunk / c.splits),
               copies = copied * real(input + kept) / 4 / (32 * warps);
  const double out = real(c.high() * c.columns * chain.channels) / 4 / (32 * warps) *
                         (stored + (c.warps_k > 1 ? part * warps : 0)) +
                     sum * real(sums);
  const double waits = copies + chunks * (iteration + waiting * chunk) + 2 * out,
               slots = copies + chunks * chunk + out;
  const double held = 8 * std::ceil(std::max(registers, 64.0) / 8);
  const double resident =
      std::max(1.0, std::min({std::floor(228.0 * 1024 / (bytes + 1024)),
                              std::floor(std::floor(65536 / (32 * held)) / warps), 32.0}));
  const double blocks = real(blocks_of(chain, c)) / d.multiprocessors;
  return start + std::pow(std::pow(std::max(1.0, blocks / resident) * waits, power) +
                              std::pow(std::ceil(blocks) * warps * slots / 4 / issue, power),
                          1 / power);
}

}  // namespace burnish::cuda_target
