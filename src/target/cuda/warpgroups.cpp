// Tiles of instructions of four warps, whose operands are rows of a swizzle in the block's memory, and an estimate: they take as long as
// what the block's memory moves for them. Fitted to 488 tiles of 26 products of halves and floats that an H200 measured: of those of a
// product its choice is 5% slower than the fastest, 20% at most.
#include <algorithm>
#include <cmath>
#include <limits>

#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

constexpr double kColumns = 4.1;       // of a multiprocessor: of each eight columns of an instruction, with operands at hand
constexpr double kBlockMemory = 123;   // bytes per cycle of a multiprocessor
constexpr double kHalfLines = 1.11;    // rows of 64 bytes instead of 128
constexpr double kRounding = 2.13;     // of floats that are rounded there: of what reading and writing take
constexpr double kCopying = 1.8;       // of a warp, for copies of 16 bytes
constexpr double kWaiting = 286;       // of a chunk, where one is on its way
constexpr double kStart = 3100, kWave = 1590, kStore = 29.2, kOthers = 1.08, kSecondLevel = 4500;
// Cycles of what other tiles' estimates were fitted to, and how much these are too low of what is beyond.
constexpr double kSmall = 12000, kOthersLow = 0.15;

}  // namespace

// What else is read of each result's point, besides constants.
bool reads_others(const StageGroup& g, const Roles& r) {
  bool found = false;
  for (const Expr& e : expressions(g[r.out]))
    visit(e, [&](const Expr& x) { found |= r.out != r.acc && x.kind() == ExprKind::Load && g[x.from()].kind == StageKind::Input; });
  return found;
}

std::vector<MatrixTile> warpgroup_tiles(const Schedule& s, const Roles& r, const Device& d) {
  const auto operands = d.sm != kWarpgroupsOn || d.products > 1 || !r.tile || r.grouped ? std::nullopt : operands_of(s, s.group()[r.acc], r);
  if (!operands || s.group()[r.acc].raxes.empty()) return {};
  std::vector<MatrixTile> tiles;
  const int64_t n = s.group()[r.out].axes[r.vector].extent, k = s.group()[r.acc].raxes[operands->reduce].extent;
  for (const int64_t warps_n : {1, 2, 4}) {
    for (int64_t columns = 2; columns <= 32; ++columns) {
      if (n % (8 * columns * warps_n)) continue;
      for (const int64_t warps_m : {4, 8, 16}) {
        if (warps_m * warps_n > 16) continue;
        for (const int64_t row : {64, 128}) {  // of 32 bytes: slower, whatever else
          MatrixTile t{.rows = 1, .columns = columns, .warps_m = warps_m, .warps_n = warps_n, .staged = row / size_of(d.storage), .weights = true, .warpgroups = true};
          for (t.stages = 2; t.stages <= 6; t.stages += t.stages < 4 ? 1 : 2)
            if (k % t.staged == 0 && (t.stages == 2 || t.stages <= k / t.staged)) tiles.push_back(t);
        }
      }
    }
  }
  return from_the_best(tiles, [&](const MatrixTile& t) { return matrix_cycles(s, r, *operands, t, d); });
}

double warpgroup_cycles(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d) {
  const Stage &o = s.group()[r.out], &acc = s.group()[r.acc];
  const auto staged = staged_operands(s, acc, r, operands, t, d);
  if (!staged || !staged->weights) return std::numeric_limits<double>::infinity();
  constexpr double around = 48, most_registers = 200;
  const double registers = around + real(4 * t.columns), warps = real(t.threads()) / 32, memory = std::max(block_bytes(t), real(staged->bytes));
  const bool others = reads_others(s.group(), r);
  if (registers > most_registers || registers * warps * 32 > 65536 || memory > real(d.block_bytes))
    return std::numeric_limits<double>::infinity();
  const double blocks = blocks_for(o, r, operands, t);
  const double resident = std::max(1.0, std::floor(std::min({16.0, 65536 / (registers * warps * 32), 64 / warps, real(227 << 10) / (memory + 1024)})));
  const double rounds = blocks / (resident * d.multiprocessors), waves = std::max(1.0, 0.5 * (std::ceil(rounds) + rounds));
  const double together = std::min(std::ceil(blocks / d.multiprocessors), resident);
  const int64_t k = acc.raxes[operands.reduce].extent;
  const double chunks = real(k / t.staged), groups = warps / 4, instructions = groups * real(points(acc.raxes)) / chunks / real(instruction_depth(d));
  const double data = real(staged->data.copied), copied = data + real(staged->weights->copied), slots = real(std::min(t.stages, k / t.staged));
  constexpr double rows = 64, step = 32;  // an instruction's, and bytes of each
  const double moved = instructions * step * (rows + 8 * real(t.columns)) + copied + (staged->rounds ? 2 * kRounding * data : 0);
  const double matrix = std::max(instructions * kColumns * real(t.columns),
                                 moved / kBlockMemory * (staged->swizzle < kSwizzleAlign / 8 ? kHalfLines : 1));
  const double work = groups * kCopying * copied / 16 / real(t.threads());
  const double chunk = std::max(work + matrix, together * matrix) + (chunks > 1 ? kWaiting / (slots - 1) : 0);
  const double wave = chunks * chunk + kWave + kStore * (others ? kOthers : 1) * real(t.columns) * together * warps;
  const double share = real(size_of(d.storage)) / 4, bytes = 4 * share * real(points(o.axes)) * (1 + real(k) / real(o.axes[r.vector].extent));
  const double cycles = kStart + std::max({waves * wave, bytes / kMemory, blocks * chunks * copied / kSecondLevel});
  return cycles - kOthersLow * std::max(0.0, cycles - kSmall);
}

}  // namespace burnish::cuda_target
