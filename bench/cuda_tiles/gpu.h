// Kernels on the GPU of this machine, by the driver alone, timed within a graph.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "target/c_like/kernel.h"

namespace burnish::bench {

class Gpu {
 public:
  Gpu();
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  std::string missing() const;  // empty where kernels can run
  struct Argument {
    size_t offset;     // bytes from the start of memory
    size_t moves = 0;  // and so many more every run: what is to come from memory
  };
  // Microseconds of a run of `kernels`, one after the other, each with its own cubin and arguments;
  // negative where the GPU refuses. The median of several.
  double microseconds(const std::vector<c_like::Kernel>& kernels,
                      const std::vector<std::string>& cubins,
                      const std::vector<std::vector<Argument>>& arguments, size_t memory_bytes);
  static constexpr int runs = 20;  // of a graph

 private:
  struct Driver;
  std::unique_ptr<Driver> d_;
};

}  // namespace burnish::bench
