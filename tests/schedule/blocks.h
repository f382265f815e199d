// Schedules for blocks of threads: tiles in registers fed from the block's memory.
#pragma once

#include "support.h"

namespace burnish::schedule_test {

struct BlockTile {
  int64_t rows = 32, columns = 32, depth = 8;  // of a block
  int64_t thread_rows = 4, thread_columns = 4;
  int64_t vector = 4;  // elements of one access of memory
  int64_t slots = 1;   // of operands, which are copied ahead where there are several
  bool rounded = false;  // to tf32, in rows of a swizzle
};

Case block_matmul(int64_t M, int64_t N, int64_t K, const BlockTile& t = {});
// By matrix instructions: K a multiple of `depth`: 8, 16 or 32.
Case tensor_matmul(int64_t M, int64_t N, int64_t K, int64_t depth);
// 1x1 to E channels, 3x3 depthwise, 1x1: everything between in the block's memory.
Case block_chain(int64_t H, int64_t W, int64_t C, int64_t E, int64_t stride);
Case block_softmax(int64_t rows, int64_t length, int64_t threads);

}  // namespace burnish::schedule_test
