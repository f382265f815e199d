// Kernels compiled by NVRTC and launched by their table on this machine's GPU, through its driver
// alone.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "target/cuda/launches.h"

namespace burnish::cuda_test {

// Memory of the host.
struct Bytes {
  void* at = nullptr;
  size_t size = 0;
};

// Why this machine cannot; empty when it can.
std::string native_missing();

// `tensors` are copied to memory of exactly their size and back, `arena` and `weights` only there,
// so that compute-sanitizer finds what is touched outside. False, with the test failed, where a
// kernel does not compile; where one fails the program ends: the GPU cannot be used any more.
bool run_native(const cuda_target::Launches& launches, cuda_target::Precision precision,
                const std::vector<Bytes>& tensors, Bytes arena, Bytes weights);

}  // namespace burnish::cuda_test
