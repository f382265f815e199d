// Sources of kernels to code for GPUs.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "target/c_like/kernel.h"
#include "target/cuda/dialect.h"

namespace burnish::cuda_target {

struct Image {
  std::string arch, form;  // "sm_90", "cubin" or "ptx"
  std::string bytes;       // of one kernel
};

struct Code {
  std::vector<Image> images;
  std::vector<int> registers;  // by kernel, on the first architecture
  std::vector<int64_t> spill_bytes;
};

// Every kernel for every architecture ("sm_90"), in threads of their own; PTX for the last.
Code compile_kernels(std::span<const c_like::Kernel> kernels, std::span<const std::string> archs,
                     Precision precision);

}  // namespace burnish::cuda_target
