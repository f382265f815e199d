// Where buffers that live inside a kernel are placed: at offsets of the thread's scratch, or of the memory that all
// threads of a run share. Siblings share the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "loop/program.h"

namespace burnish::llvm_target {

// Bytes that a function needs.
struct FrameMemory {
  int64_t thread = 0, shared = 0;
};

FrameMemory memory_of(const Function& f);

// Follows the nesting of Alloc statements.
class FrameAllocator {
 public:
  int64_t enter(const Buffer& b);  // its offset
  void leave(const Buffer& b);
  FrameMemory peak() const { return peak_; }

 private:
  std::vector<int64_t> open_;  // ends before each open buffer
  FrameMemory now_, peak_;
};

// Small fixed buffers live on the stack, larger ones in the thread's scratch.
bool lives_on_stack(const Buffer& b);

}  // namespace burnish::llvm_target
