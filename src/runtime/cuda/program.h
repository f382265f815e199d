// A model on one GPU: its code and weights there, which its sessions share.
#pragma once

#include "../metadata.h"
#include "context.h"

#include <memory>
#include <span>
#include <vector>

namespace burnish::runtime::cuda {

class Program {
 public:
  // `weights`: the section that holds the images, too. Throws Failure: no driver, no such GPU, no
  // code for it, no memory.
  Program(const DeviceSpec& device, std::span<const std::byte> weights, int ordinal);

  Context& context() const { return context_; }
  Address weights() const { return weights_.address(); }
  // By the index in the metadata.
  Function kernel(std::size_t index) const { return kernels_[index]; }

 private:
  void find_kernels(const DeviceSpec& device);
  void allow_clusters(const DeviceKernel& kernel, Function function);

  Context& context_;
  std::vector<OwnedModule> modules_;
  std::vector<Function> kernels_;
  DeviceBuffer weights_;
};

// The images for a GPU of this compute capability: the best cubins, or else PTX, which the driver
// compiles; of one architecture all. Empty where there are none.
std::vector<const DeviceImage*> images_for(const DeviceSpec& device, int major, int minor);

}  // namespace burnish::runtime::cuda
