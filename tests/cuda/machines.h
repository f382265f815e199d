// Where tests run kernels: in the emulation, and with BURNISH_TEST_GPU=1 in the environment on this
// machine's GPU.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "target/cuda/launches.h"

namespace burnish::cuda_test {

enum class On : uint8_t { Emulation, Gpu };

// Skipped, with the reason, where there is no such machine.
class OnMachine : public testing::TestWithParam<On> {
 protected:
  void SetUp() override;
};

#define BURNISH_ON_MACHINES(Suite)                                                                 \
  INSTANTIATE_TEST_SUITE_P(                                                                        \
      On, Suite, testing::Values(On::Emulation, On::Gpu),                                          \
      [](const auto& machine) { return machine.param == On::Gpu ? "Gpu" : "Emulation"; })

// A function on the memory of the host: its parameters in order. `reversed`: blocks and threads
// from the last to the first, where the machine leaves that to us. False, with the test failed,
// where the kernels do not compile.
bool run_function(On machine, const Function& f, cuda_target::Precision precision,
                  const std::vector<void*>& args, bool reversed);

// All of a program, on an arena of NaNs but for the counters; `inputs` in order, outputs are returned. `cluster`: as the dialect has it.
std::vector<std::vector<std::byte>> run_program(On machine, const Program& p, cuda_target::Precision precision, const std::vector<const void*>& inputs,
                                                bool reversed, int64_t cluster = c_like::kLargestCluster);

// The orders that differ on that machine.
inline std::vector<bool> orders_on(On machine) { return machine == On::Gpu ? std::vector<bool>{false} : std::vector<bool>{false, true}; }

}  // namespace burnish::cuda_test
