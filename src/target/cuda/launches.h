// A program as kernels and the sequence of their launches.
#pragma once

#include <vector>

#include "loop/program.h"
#include "target/c_like/kernel.h"
#include "target/cuda/dialect.h"

namespace burnish::cuda_target {

// Where an argument stands: a tensor by its index in inputs-then-outputs, or one of these memories.
enum Place : int { in_arena = -1, in_weights = -2 };
struct Argument {
  int place;
  int64_t offset;  // bytes
  friend bool operator==(const Argument&, const Argument&) = default;
};

struct Launch {
  uint32_t step, kernel;
  std::vector<Argument> args;  // one a parameter of the kernel
};

struct Launches {
  std::vector<c_like::Kernel> kernels;  // names differ
  std::vector<Launch> launches;         // in order, each depending on those before it
};

Launches launches_of(const Program& p, Precision precision, int64_t cluster = c_like::kLargestCluster);
// The program's arena, behind it what its functions share among their kernels, and behind that, where there are no clusters, counters that
// kernels find 0 and leave 0.
int64_t arena_bytes(const Program& p, int64_t cluster = c_like::kLargestCluster);
int64_t counters_begin(const Program& p);

}  // namespace burnish::cuda_target
