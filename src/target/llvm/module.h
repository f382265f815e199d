// A whole Program as LLVM modules: its kernels, the entry `run` that calls them in order, weights and notes.
#pragma once

#include <string>

#include "loop/program.h"
#include "target/llvm/frame_memory.h"
#include "target/llvm/isa.h"
#include "target/target.h"

namespace burnish::llvm_target {

// Bytes of the arena (the program's own, then what kernels share) and of each thread's scratch.
struct ProgramMemory {
  int64_t arena = 0, shared_offset = 0, scratch = 0;
};
ProgramMemory memory_of(const Program& p);

std::string emit_program(const Program& p, const Isa& isa, EmitKind kind);
std::string build_program(const Program& p, const Isa& isa, const std::string& metadata);

}  // namespace burnish::llvm_target
