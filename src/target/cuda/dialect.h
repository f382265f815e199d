// CUDA C++ as a dialect of c_like.
#pragma once

#include <span>
#include <string>

#include "target/c_like/kernel.h"

namespace burnish::cuda_target {

// How products are summed. strict: with the error of f32, on tensor cores from three products of 10 bits each. tf32: factors
// rounded to 10 bits. fp16, bf16: tensors of 16 bits, sums of 32.
enum class Precision : uint8_t { Strict, Tf32, Fp16, Bf16 };

// What tensors between kernels are then.
constexpr DType storage_of(Precision p) { return p == Precision::Fp16 ? DType::F16 : p == Precision::Bf16 ? DType::BF16 : DType::F32; }

// `cluster`: blocks that clusters have at most, 8 or 16; 0: there are none.
const c_like::Dialect& dialect(Precision precision = Precision::Strict, int64_t cluster = c_like::kLargestCluster);

// One source of these kernels, without includes: the prelude, then each.
std::string source_of(std::span<const c_like::Kernel> kernels);

}  // namespace burnish::cuda_target
