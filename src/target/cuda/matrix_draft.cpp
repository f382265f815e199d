// Tiles of matrix instructions, the cheapest first by an estimate.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

std::vector<MatrixTile> tiles_of(const Schedule& s, const Roles& r, const Operands& operands,
                                 const Device& d) {
  std::vector<MatrixTile> tiles;
  const Stage& o = s.group()[r.out];
  const int64_t n = o.axes[r.vector].extent, k = s.group()[r.acc].raxes[operands.reduce].extent;
  const int64_t eights = ceil_div(n, int64_t{8}), taps = points(s.group()[r.acc].raxes) / k;
  for (const int64_t rows : {1, 2, 4}) {
    for (int64_t columns = 1; columns <= 10; ++columns) {
      for (const int64_t warps_n : {1, 2, 4}) {
        const int64_t wide = columns * warps_n, computed = ceil_div(eights, wide) * wide;
        if (n < 8 || 4 * computed > 5 * eights) continue;  // what is computed for nothing
        for (const int64_t warps_m : {1, 2, 4, 8}) {
          for (const int64_t warps_k : {1, 2, 4, 8, 16}) {
            const int64_t warps = warps_m * warps_n * warps_k;
            if (warps < 2 || warps > (warps_k > 1 ? 16 : 8) || k % (kMatrixDepth * warps_k))
              continue;
            const int64_t steps = k / warps_k / depth_for(k / warps_k, d);
            constexpr int64_t most_ahead = 4, most_at_once = 12;
            for (int64_t ahead = 0; ahead <= std::min(steps, most_at_once); ++ahead)
              if ((ahead == 0 || (steps % ahead == 0 && taps * steps > 1 && (ahead <= most_ahead || taps * steps == ahead))) && (operands.phases() == 1 || (ahead == 0 && warps_k == 1 && columns <= 2)))
                tiles.push_back({rows, columns, warps_m, warps_n, warps_k, ahead});
          }
        }
      }
    }
  }
  return tiles;
}

// Constants of the estimate, in cycles, fitted to 2,100 candidates of 56 products that an H100 measured (all three precisions): of
// those of a product its choice is 4% slower than the fastest, 14% at most; 5% where the product was not among those fitted to.
constexpr double kInstruction = 10.5;                // 16 x 8 x 8 products
constexpr double kIteration = 15;
constexpr double kLatency = 310, kUnrolled = 1.3;    // of loads; the part of it that NVRTC hides by unrolling a loop
constexpr double kLoad = 3, kLoadDepth = 0.26;       // a multiprocessor's time for one, and for what a thread has of each f32 of its depth
constexpr double kPoints = 1.8, kRows = 2;           // where its groups of threads read lines of their own: points, weights in rows
constexpr double kWaiting = 0.82;                    // what loads make each other wait, of that time
constexpr double kGuard = 16;                        // of a load's guard
constexpr double kStore = 4;                         // of a multiprocessor for 16 x 8 results
constexpr double kWave = 900;                        // of blocks that follow others
constexpr double kParts = 1.6;                       // of bytes stored in parts of lines
constexpr double kPhase = 200;                       // of blocks whose threads have several phases
constexpr double kSecondLevel = 4500;                // bytes per cycle

// Registers of a thread: sums, and operands at hand or on their way; `at_once`: all of these.
double registers_of(const MatrixTile& t, const Device& d, int64_t depth, int64_t phases, bool at_once) {
  const double operands = static_cast<double>((4 * t.rows + 2 * t.columns * phases) * depth / kMatrixDepth *
                                              size_of(d.storage)) / 4,
               split = d.products > 1 ? 16 : 0;
  return 17 + split + static_cast<double>(4 * t.rows * t.columns * phases) +
         operands * static_cast<double>(std::max<int64_t>(1, (at_once ? 1 : 2) * t.ahead));
}

// Of data in the block's memory: instructions that start a copy of 16 bytes and make its place; cycles of a multiprocessor for
// a barrier; a fragment's way from there.
constexpr double kCopy = 50, kBarrier = 200, kNear = 120;

// Registers of a thread for what else is read of its results' points, all of it asked for at once; more than there are: half as fast.
bool holds_others(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d) {
  constexpr int64_t most = 64;
  const int64_t results = 16 * t.rows * t.warps_m * 8 * t.columns * t.warps_n / t.threads();
  return !reads_others(s.group(), r) || results * size_of(d.storage) / 4 <= most;
}

// What follows the sums of a tile: a warp's instructions, whose one operand is at hand, and the other one's loads, of all warps that
// are present.
double following_cycles(const MatrixTile& t, const Following& f, double present, const Device& d) {
  if (f.columns == 0) return 0;
  const double loads = real(f.columns * f.steps * f.passes), work = kInstruction * d.products * real(t.rows) * loads;
  const double share = real(size_of(d.storage)) / 4, loading = present * loads * (kLoad + kLoadDepth * real(kMatrixDepth) * share);
  return real(f.passes) * kLatency + std::max({work, present / 4 * work, loading});
}

// Both operands in the block's memory: the time of a chunk is that of what is busiest, a multiprocessor's instructions, its memory, or its
// share of the second-level cache, or else what a block's warps wait for. Fitted to 1,100 tiles of 42 products that an H200 measured: of a
// product's choice 10% is lost on average.
namespace pipelined {
constexpr double matrix = 17.4;                      // of a quarter: an instruction of 16 x 8 x 16 halves, or 8 deep of floats
constexpr double turn = 145;                         // a barrier, and the way to the first instruction behind it
constexpr double chain = 44;                         // from an instruction to one that adds to its sums
constexpr double fetch = 600;                        // from a copy's start to its end
constexpr double fetched = 52, block_memory = 78;    // bytes per cycle of a multiprocessor
constexpr double loop = 40, copying = 3.5;           // instructions around a chunk, and for a copy
constexpr double start = 420, wave = 1210, store = 28;
constexpr double margin = 1.2;                       // large maps of few channels take up to 1.5 times their estimate
}  // namespace pipelined

double pipelined_cycles_of(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d, const Following& f) {
  const Stage &o = s.group()[r.out], &acc = s.group()[r.acc];
  const auto staged = staged_operands(s, acc, r, operands, t, d);
  if (!staged) return std::numeric_limits<double>::infinity();
  constexpr double most_registers = 200, around = 48;
  const bool halves = d.halves();
  const double tiles = real(t.rows * t.columns), fragments = real((2 * t.rows + t.columns) * depth_for(t.staged, d)) * real(size_of(d.storage)) / 16;
  const double following = real(t.rows * f.columns);
  const double registers = around + (d.products > 1 ? 16 : 0) + 4 * (tiles + following) + fragments, warps = real(t.threads()) / 32;
  const double memory = std::max(block_bytes(t), real(staged->bytes));
  if (registers > most_registers || registers * warps * 32 > 65536 || memory > real(d.block_bytes)) return std::numeric_limits<double>::infinity();
  const double blocks = blocks_for(o, r, operands, t);
  const double resident = std::max(1.0, std::floor(std::min({16.0, 65536 / (registers * warps * 32), 64 / warps, real(227 << 10) / (memory + 1024)})));
  const double rounds = blocks / (resident * d.multiprocessors), waves = std::max(1.0, 0.5 * (std::ceil(rounds) + rounds));
  const double together = std::min(std::ceil(blocks / d.multiprocessors), resident), of_quarter = together * warps / 4;

  const int64_t k = acc.raxes[operands.reduce].extent;
  const double chunks = real(k / t.staged), steps = real(points(acc.raxes)) / chunks / (halves ? 16 : 8);
  const double copied = real(staged->data.copied + staged->weights->copied), pieces = copied / 16 / real(t.threads());
  const double matrix = steps * tiles * pipelined::matrix * d.products;
  const double splitting = d.products > 1 ? 3 : halves ? 0 : 1;  // of a register of an operand
  const double work = steps * (tiles * d.products + real(t.rows) * (1 + 4 * splitting) + real(t.columns) / 2 * (1 + (d.products > 1 ? 4 * splitting : 0)) +
                               (d.products > 1 ? 8 * tiles : 0)) + pipelined::copying * pieces + pipelined::loop;
  const double reads = warps * steps * 32 * real(16 * t.rows + 8 * t.columns);  // rows of 32 bytes a step
  const double chunk = std::max({pipelined::turn + std::max({matrix, work, steps * pipelined::chain * d.products}), of_quarter * matrix, of_quarter * work, together * (reads + copied) / pipelined::block_memory,
                                 together * copied / pipelined::fetched, chunks > 1 ? pipelined::fetch / real(std::min(t.stages, k / t.staged) - 1) : 0});
  const double stored = f.columns ? following * real(f.passes) : tiles;
  const double wave = pipelined::fetch + chunks * chunk + pipelined::wave + pipelined::store * stored * of_quarter * 4 + following_cycles(t, f, of_quarter * 4, d);
  const double share = real(size_of(d.storage)) / 4;
  const double bytes = 4 * share * real(points(o.axes)) * ((f.columns ? 0 : through_block(t) ? 1 : kParts) + real(k) / real(o.axes[r.vector].extent)) + kParts * f.stored;
  return pipelined::margin * (pipelined::start + std::max({waves * wave, bytes / kMemory, blocks * chunks * copied / kSecondLevel}));
}

double cycles_of(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t,
                 const Device& d, const Following& f = {}) {
  if (!holds_others(s, r, t, d)) return std::numeric_limits<double>::infinity();
  if (t.warpgroups) return f.columns ? std::numeric_limits<double>::infinity() : warpgroup_cycles(s, r, operands, t, d);
  if (t.weights) return pipelined_cycles_of(s, r, operands, t, d, f);
  if (t.staged && t.ahead) {
    // Weights alone are fetched ahead: behind the same tile that does not, until it is measured.
    constexpr double behind = 1.01;
    MatrixTile without = t;
    without.ahead = 0;
    return behind * cycles_of(s, r, operands, without, d, f);
  }
  const Stage &o = s.group()[r.out], &acc = s.group()[r.acc];
  const int64_t x = o.axes[*r.tile].extent, channels = o.axes[r.vector].extent,
                high = 2 * t.rows * t.warps_m;
  const double blocks = blocks_for(o, r, operands, t);
  double all = 1;
  const int64_t phases = operands.phases();
  for (const Axis& k : acc.raxes) all *= real(k.extent);
  const double inner = real(acc.raxes[operands.reduce].extent),
               steps = all / real(kMatrixDepth * t.warps_k);
  const int64_t depth = depth_for(t.staged ? t.staged : acc.raxes[operands.reduce].extent / t.warps_k, d);
  const bool at_once = t.ahead > 0 && steps == real(t.ahead * depth / kMatrixDepth);
  // How many blocks a multiprocessor holds.
  const auto staged = staged_operands(s, acc, r, operands, t, d);
  if (t.staged && !staged) return std::numeric_limits<double>::infinity();
  const double memory = std::max(block_bytes(t), staged ? real(staged->bytes) : 0);
  const double warps = real(t.threads()) / 32, tiles = real(t.rows * t.columns * phases), following = real(t.rows * f.columns),
               registers = registers_of(t, d, depth, phases, at_once) + 4 * following;
  if (registers > 215 || registers * warps * 32 > 65536 || memory > real(d.block_bytes))
    return std::numeric_limits<double>::infinity();
  const double resident =
      std::max(1.0, std::floor(std::min({16.0, 65536 / (registers * warps * 32), 64 / warps,
                                         real(227 << 10) / (memory + 1024)})));
  const double rounds = blocks / (resident * d.multiprocessors),
               waves = std::max(1.0, 0.5 * (std::ceil(rounds) + rounds));
  const double present = std::min(std::ceil(blocks / d.multiprocessors), resident) * warps;
  // A step of a warp; loads are waited for once an iteration; those of a multiprocessor's quarter
  // take turns.
  const double deep = real(depth / kMatrixDepth),
               together = deep * real(std::max<int64_t>(1, t.ahead));
  const double share = real(size_of(d.storage)) / 4;  // of an f32's bytes
  const bool whole = channels % (8 * t.columns * t.warps_n) == 0;  // else weights lie in rows, guarded
  const bool guarded = all > inner || x % (operands.image ? 8 * operands.column_phases : 8 * high * operands.column_phases) ||
                       (operands.image && o.axes[r.outer.back()].extent % (high * operands.row_phases));
  const double of_points = real(2 * t.rows), of_channels = real(t.columns * phases);  // loads
  const double guards = kGuard * ((guarded && !staged ? of_points : 0) + (whole ? 0 : of_channels)) / deep;
  const double work = tiles * kInstruction * d.products + guards + kIteration / together;
  const double loads = present * (kPoints * of_points + (whole ? 1 : kRows) * of_channels) / deep * (kLoad + kLoadDepth * real(depth) * share);
  const double latency = (staged ? kNear : kLatency) / together + kWaiting * loads;
  const double alone = at_once ? latency + work : t.ahead ? std::max(latency, work) : latency / kUnrolled + work;
  const double step = std::max({alone, present / 4 * work, loads});
  // Chunks: their copies, which all warps of a quarter take turns to start, and a barrier each; the first is waited for.
  const double chunks = staged ? inner / real(t.staged) : 0;
  const double copying = staged ? chunks * (present / warps / 4 * kCopy * real(staged->data.copied) / 16 / 32 + kBarrier) + kLatency : 0;
  // Blocks read from the second-level cache, points of filters but once or twice. What is stored in
  // parts of lines takes longer.
  const double read =
      4 * share * (real(8 * t.columns * t.warps_n * phases) * all + real(8 * high) * std::min(all, 1.7 * inner));
  const double bytes = 4 * share * real(points(o.axes)) * ((f.columns ? 0 : through_block(t) ? 1 : kParts) + inner / real(channels)) + kParts * f.stored;
  // Few registers leave more to be overlapped.
  const double overlap = std::clamp(0.4 + registers / 125, 0.6, 1.4);
  const double stored = f.columns ? following * real(f.passes) : tiles;
  const double wave = (steps * step + copying) * overlap + kWave + (phases > 1 ? kPhase : 0) + kStore * stored * present + following_cycles(t, f, present, d);
  return kKernelCycles + std::max({waves * wave, bytes / kMemory, blocks * read / kSecondLevel});
}

// Flattened reductions, whose operands come one by one: counted in instructions of a multiprocessor's quarter.
std::vector<MatrixTile> flat_tiles(const Schedule& s, const Roles& r) {
  const int64_t eights = ceil_div(s.group()[r.out].axes[r.vector].extent, int64_t{8});
  std::vector<MatrixTile> tiles;
  for (const int64_t rows : {1, 2, 4}) {
    for (int64_t columns = 1; columns <= 8; ++columns) {
      for (const int64_t warps_n : {1, 2, 4}) {
        const int64_t wide = columns * warps_n, computed = ceil_div(eights, wide) * wide;
        if (4 * computed > 5 * eights) continue;
        for (const int64_t warps_m : {1, 2, 4})
          if (warps_m * warps_n > 1) tiles.push_back({rows, columns, warps_m, warps_n});
      }
    }
  }
  return tiles;
}

double flat_cycles_of(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d) {
  const Stage &o = s.group()[r.out], &acc = s.group()[r.acc];
  const double blocks = blocks_for(o, r, operands, t);
  constexpr double sums = 24, operands_held = 24, most = 168, warps_wanted = 8;  // of a multiprocessor, to hide what loads take
  const double warps = real(t.threads()) / 32, tiles = real(t.rows * t.columns), registers = sums + operands_held + 4 * tiles;
  if (registers > most || block_bytes(t) > real(d.block_bytes)) return std::numeric_limits<double>::infinity();
  // A step: values of both operands with their guards, and parted where products are; instructions.
  const double value = 5 + (d.products > 1 ? 3 : 0), instruction = (d.halves() ? 4 : 6) * real(d.products);
  const double steps = real(points(acc.raxes)) / real(kMatrixDepth);
  const double step = std::max(value * real(4 * t.rows + 2 * t.columns) + tiles * (real(d.products) + (d.products > 1 ? 8 : 0)), tiles * instruction);
  constexpr double begin = 150;  // what a warp does before and after, besides what it stores
  const double warp = begin + steps * step + tiles * (through_block(t) ? 20 : 12);
  const double resident = std::max(1.0, std::floor(std::min({16.0, 65536 / (registers * warps * 32), real(227 << 10) / (block_bytes(t) + 1024)})));
  const double rounds = blocks / (resident * d.multiprocessors), waves = std::max(1.0, 0.5 * (std::ceil(rounds) + rounds));
  const double present = std::min(std::ceil(blocks / d.multiprocessors), resident) * warps;
  return waves * warp * std::max(warps_wanted, present) / 4;
}

}  // namespace

// Of the sums on their way through the block's memory.
double block_bytes(const MatrixTile& t) {
  return through_block(t) ? static_cast<double>(4 * t.warps_k * 16 * t.rows * t.warps_m *
                                                (8 * t.columns * t.warps_n + 4))
                          : 0;
}

double blocks_for(const Stage& o, const Roles& r, const Operands& operands, const MatrixTile& t) {
  const int64_t x = o.axes[*r.tile].extent, high = 2 * t.rows * t.warps_m;
  double blocks = real(ceil_div(o.axes[r.vector].extent, 8 * t.columns * t.warps_n));
  for (const uint32_t a : r.outer) blocks *= real(o.axes[a].extent);
  if (!operands.image) return blocks * real(ceil_div(x, 8 * high * operands.column_phases));
  const int64_t y = o.axes[r.outer.back()].extent;
  return blocks / real(y) * real(ceil_div(y, high * operands.row_phases) * ceil_div(x, 8 * operands.column_phases));
}

std::vector<MatrixTile> matrix_tiles(const Schedule& s, const Roles& r, const Device& d) {
  const auto operands =
      d.sm < 80 || !r.tile || r.grouped ? std::nullopt : operands_of(s, s.group()[r.acc], r);
  if (!operands) return {};
  if (operands->lanes)
    return from_the_best(flat_tiles(s, r), [&](const MatrixTile& t) { return flat_cycles_of(s, r, *operands, t, d); });
  return from_the_best(tiles_of(s, r, *operands, d),
                       [&](const MatrixTile& t) { return cycles_of(s, r, *operands, t, d); });
}

std::vector<MatrixTile> staged_tiles(const Schedule& s, const Roles& r, const Device& d) {
  const auto operands =
      d.sm < 80 || !r.tile || r.grouped ? std::nullopt : operands_of(s, s.group()[r.acc], r);
  if (!operands || s.group()[r.acc].raxes.empty()) return {};
  constexpr int64_t least_step = 32;  // bytes that a warp loads tiles of
  const int64_t k = s.group()[r.acc].raxes[operands->reduce].extent;
  std::vector<MatrixTile> tiles;
  for (MatrixTile t : tiles_of(s, r, *operands, d)) {
    if (t.warps_k > 1) continue;
    for (const int64_t chunk : {16, 24, 32, 48, 64}) {
      t.staged = chunk;
      // Weights of a whole chunk ahead, or none.
      if (k % chunk == 0 && (t.ahead == 0 || chunk == t.ahead * depth_for(chunk, d))) tiles.push_back(t);
    }
    const int64_t step = depth_for(k, d);
    if (t.ahead > 0 || t.warps_m * t.warps_n < 4 || step * size_of(d.storage) < least_step) continue;
    t.weights = true;
    for (const int64_t steps : {1, 2, 3, 4, 6, 8}) {
      t.staged = steps * step;
      for (t.stages = 2; t.stages <= 6; t.stages += t.stages < 4 ? 1 : 2)
        if (k % t.staged == 0 && (t.stages == 2 || t.stages <= k / t.staged)) tiles.push_back(t);
    }
  }
  return from_the_best(tiles,
                       [&](const MatrixTile& t) { return cycles_of(s, r, *operands, t, d); });
}

double matrix_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const std::vector<MatrixTile> tiles = matrix_tiles(s, r, d);
  return tiles.empty() ? std::numeric_limits<double>::infinity() : matrix_cycles(s, r, tiles[0], d);
}

double matrix_cycles(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d, const Following& f) {
  const auto operands = operands_of(s, s.group()[r.acc], r);
  return operands && !operands->lanes ? cycles_of(s, r, *operands, t, d, f) : std::numeric_limits<double>::infinity();
}

double matrix_cycles(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d) {
  const auto operands = operands_of(s, s.group()[r.acc], r);
  if (!operands) return std::numeric_limits<double>::infinity();
  return operands->lanes ? flat_cycles_of(s, r, *operands, t, d) : cycles_of(s, r, *operands, t, d);
}

double matrix_cycles(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d) {
  return cycles_of(s, r, operands, t, d);
}

double product_alone(const Schedule& s, const Roles& r, const Device& d) {
  double best = matrix_cycles(s, r, d);
  for (const auto& tiles : {staged_tiles(s, r, d), warpgroup_tiles(s, r, d)})
    if (!tiles.empty()) best = std::min(best, matrix_cycles(s, r, tiles[0], d));
  if (const auto tiles = split_tiles(s, r, d); !tiles.empty()) best = std::min(best, tiles[0].cycles);
  return best;
}

}  // namespace burnish::cuda_target
