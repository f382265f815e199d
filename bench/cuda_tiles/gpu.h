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
  // Microseconds of a run of `kernels`, one after the other, each with its own cubin and arguments that lie so many bytes
  // from the start of memory; negative where the GPU refuses. The median of several.
  double microseconds(const std::vector<c_like::Kernel>& kernels, const std::vector<std::string>& cubins,
                      const std::vector<std::vector<size_t>>& arguments, size_t memory_bytes);

 private:
  struct Driver;
  std::unique_ptr<Driver> d_;
};

}  // namespace burnish::bench
