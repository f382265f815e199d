// Private to cuda: what matrix.cpp and matrix_draft.cpp share.
#pragma once

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

// What a sum of products reads.
struct Operands {
  std::optional<StageId> weights;  // a constant that moves with the channels
  uint32_t channels = 0, depth = 0;  // its axes
  size_t reduce = 0;               // of acc.raxes: the axis that instructions sum along
  bool image = false;              // points are rows and columns: those of two axes have the same channels' operand
};

// None where instructions do not fit.
std::optional<Operands> operands_of(const Schedule& s, const Stage& acc, const Roles& r);

// Sums on their way to memory through that of the block: where several warps have parts of them, or where a thread's channels are
// so many that those of a vector's neighbours do not meet.
inline bool through_block(const MatrixTile& t) { return t.warps_k > 1 || t.columns > 2; }

}  // namespace burnish::cuda_target
