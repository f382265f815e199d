// Kernels of a schedule, run on a machine, against the interpreter.
#pragma once

#include <string>

#include "cuda/machines.h"
#include "schedule/support.h"
#include "target/cuda/dialect.h"

namespace burnish::cuda_test {

class Kernels : public OnMachine {
 protected:
  void expect_right(const schedule_test::Case& c, const std::string& what, cuda_target::Precision precision = cuda_target::Precision::Strict) const;
};

}  // namespace burnish::cuda_test
