// Kernels of the CUDA dialect, compiled as C++ with emulation.h and launched on the CPU by their
// table.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "target/cuda/launches.h"

namespace burnish::cuda_test {

// Kernels of one function, whose parameters are the tensors. What they share is in the arena, whose bytes are added to.
cuda_target::Launches launches_of_function(const Function& f, cuda_target::Precision precision, int64_t& arena_bytes);

class Emulated {
 public:
  // Compiled once where the last ones were the same.
  static const Emulated& of(const cuda_target::Launches& launches);
  explicit Emulated(std::string source);
  ~Emulated();
  Emulated(const Emulated&) = delete;
  Emulated& operator=(const Emulated&) = delete;

  explicit operator bool() const { return run_ != nullptr; }
  // `tensors`: inputs, then outputs. `reversed`: blocks and threads from the last to the first.
  void operator()(const std::vector<void*>& tensors, void* arena, const void* weights,
                  bool reversed) const;

 private:
  TemporaryFolder folder_;
  std::string source_;
  void* library_ = nullptr;
  void (*run_)(void* const*, void*, const void*, bool) = nullptr;
};

}  // namespace burnish::cuda_test
