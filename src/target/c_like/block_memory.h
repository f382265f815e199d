// Where a block's buffers lie in its memory. A buffer may take the place of others that are not
// needed any more.
#pragma once

#include <map>
#include <vector>

#include "loop/program.h"

namespace burnish::c_like {

struct BlockMemory {
  std::map<BufferId, int64_t> offset;  // in bytes
  int64_t bytes = 0;
  std::vector<Stmt> met;  // statements outside of loops before which the block's threads have to
                          // meet, where no barrier says so
};

// Of a parallel loop's iteration, whose thread loops access them.
BlockMemory block_memory(const Function& f, const Stmt& block);

}  // namespace burnish::c_like
