// Private to cuda: what matrix.cpp and matrix_draft.cpp share.
#pragma once

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

// What a sum of products reads.
struct Operands {
  std::optional<StageId> weights;  // a constant that moves with the channels
  uint32_t channels = 0, depth = 0;  // its axes
  size_t reduce = 0;               // of acc.raxes: the axis that instructions sum along
  std::optional<size_t> lanes;     // besides: the axis whose neighbours the threads of four have
  bool image = false;              // points are rows and columns: those of two axes have the same channels' operand
  // Every so many rows, and columns, the same weights: a thread's points are all phases of what instructions have as rows, which
  // read the same neighbourhood (transposed convolutions).
  int64_t row_phases = 1, column_phases = 1;
  int64_t phases() const { return row_phases * column_phases; }
};

// Of a tile of four warps' instruction.
constexpr int64_t kWarpgroupPoints = 64;

// Of flattened reduce axes: a step of instructions has so many, times the four of lanes.
constexpr int64_t kFlatStep = 2;

// Does the index move with more than the variable's phase?
bool moves_beyond(const Index& i, VarId v);

// None where instructions do not fit.
std::optional<Operands> operands_of(const Schedule& s, const Stage& acc, const Roles& r);

// Sums on their way to memory through that of the block: where several warps have parts of them, or where a thread's channels are
// so many that those of a vector's neighbours do not meet.
inline bool through_block(const MatrixTile& t) { return t.warps_k > 1 || t.columns > 2; }

// matrix_staged.cpp. Operands in the block's memory: a tile's chunks.
struct Staged {
  struct Operand {
    std::string name;
    std::vector<int64_t> region;  // by axis: what a block reads of it for a chunk
    Layout layout;                // of that
    int64_t copied = 0;           // bytes a chunk
  };
  Operand data;
  std::optional<Operand> weights;
  Depths depths = Depths::Neighbours;  // as instructions ask for them
  int64_t bytes = 0;                   // of all slots
  int64_t swizzle = 0;                 // bytes of a row; 0: none
  bool strides = false;                // columns of the data by remainders
  bool rounds = false;                 // the data, in its place
};
// None where the tile has none, or an operand does not come from memory in vectors along the reduction.
std::optional<Staged> staged_operands(const Schedule& s, const Stage& acc, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d);
// `reader` sums by chunks, whose loop it is.
bool stage_operands(Schedule& t, const Staged& x, const std::string& reader, const std::string& chunk, const MatrixTile& tile);

// matrix.cpp
// Loops of a warp's tile in a block's, which are those of `x`; `split`: warps that have parts of the reduction, an axis of x; `last`:
// the innermost axis outside of the tile. What is outside ends with the block's channels, but for `last`.
WarpLoops warp_loops(Schedule& t, const Stage& x, const Roles& r, const Operands& operands, const MatrixTile& tile, const std::string& split,
                     std::optional<uint32_t> last);
// The sum along `loop` of axis k: from memory, or from the block's, chunk by chunk.
bool sum_operands(Schedule& t, const std::string& stage, WarpLoops w, const Axis& k, const std::string& loop, int64_t depth, const MatrixTile& tile,
                  const std::optional<Staged>& staged, const std::string& out, const std::string& block);
// Constant weights of so many channels as the tile's instructions ask for them.
void pack_weights(Schedule& t, int64_t channels, const Operands& operands, const MatrixTile& tile, int64_t depth, const std::optional<Staged>& staged);

// A product of what a tile has summed, by the threads that have it (product_pair.cpp): the tile's columns of instructions, and steps
// of 8 of its depth; bytes that are stored instead.
struct Following {
  int64_t columns = 0, steps = 0, passes = 1;
  double stored = 0;
};
// matrix_draft.cpp. Of the tile with what follows.
double matrix_cycles(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d, const Following& f);
// Of a tile by warps that have all of the reduction, of operands whose phases may be another sum's.
double matrix_cycles(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d);
// Of a product by itself, by whichever way.
double product_alone(const Schedule& s, const Roles& r, const Device& d);
// Blocks of a tile, and bytes of its sums on their way through the block's memory.
double blocks_for(const Stage& o, const Roles& r, const Operands& operands, const MatrixTile& t);
double block_bytes(const MatrixTile& t);
inline double real(int64_t n) { return static_cast<double>(n); }
inline constexpr double kMemory = 2300;  // bytes per cycle

// warpgroups.cpp. Of a tile of instructions of four warps.
double warpgroup_cycles(const Schedule& s, const Roles& r, const Operands& operands, const MatrixTile& t, const Device& d);
// What else is read of each result's point, besides constants.
bool reads_others(const StageGroup& g, const Roles& r);

inline constexpr double kKernelCycles = 1150;  // of an estimate: what a kernel takes before it computes

}  // namespace burnish::cuda_target
