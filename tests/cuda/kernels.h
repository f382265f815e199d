// Kernels of a schedule, run on a machine, against the interpreter.
#pragma once

#include <string>

#include "cuda/machines.h"
#include "schedule/support.h"
#include "target/cuda/dialect.h"
#include "target/cuda/space.h"

namespace burnish::cuda_test {

// An sm_90 of that precision, as the target has it.
inline cuda_target::Device device(cuda_target::Precision p) {
  using cuda_target::Precision;
  return {.products = p == Precision::Strict ? 3.0 : p == Precision::Tf32 ? 1.0 : 0.5, .storage = cuda_target::storage_of(p)};
}

// A load in f32, of what is stored in halves perhaps.
inline Expr f32(const Expr& x) { return x.dtype() == DType::F32 ? x : cast(DType::F32, x); }

class Kernels : public OnMachine {
 protected:
  void expect_right(const schedule_test::Case& c, const std::string& what, cuda_target::Precision precision = cuda_target::Precision::Strict,
                    int64_t cluster = c_like::kLargestCluster) const;
};

}  // namespace burnish::cuda_test
