// CUDA C++ as a dialect of c_like.
#pragma once

#include <span>
#include <string>

#include "target/c_like/kernel.h"

namespace burnish::cuda_target {

const c_like::Dialect& dialect();

// One source of these kernels, without includes: the prelude, then each.
std::string source_of(std::span<const c_like::Kernel> kernels);

}  // namespace burnish::cuda_target
