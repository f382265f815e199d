// What a model for a GPU launches there: the key "device" of the metadata (docs/artifact.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace burnish::runtime {

struct Metadata;

// Code for one architecture, among the weights.
struct DeviceImage {
  std::string arch;            // "sm_90a"
  int major = 0, minor = 0;    // of the compute capability
  bool this_one_only = false;  // of exactly that capability ("a")
  bool ptx = false;
  std::uint64_t offset = 0, bytes = 0;
};

struct DeviceKernel {
  std::string name;
  std::uint32_t threads = 0, block_bytes = 0;  // of a block; bytes of dynamic memory
  std::uint32_t cluster = 1;                   // blocks that meet
};

struct DeviceArgument {
  static constexpr std::int32_t arena = -1, weights = -2;
  std::int32_t place = 0;  // a tensor by its index in inputs-then-outputs, or one of those above
  std::uint64_t offset = 0;
};

struct DeviceLaunch {
  std::uint32_t step = 0, kernel = 0, blocks = 0;
  bool dependent = false;  // may begin while the one before it ends, which its kernel waits for
  std::vector<DeviceArgument> args;
};

struct DeviceSpec {
  std::uint64_t weights_bytes = 0;  // of the weights, those that are copied to the GPU
  std::vector<DeviceImage> images;
  std::vector<DeviceKernel> kernels;
  std::vector<DeviceLaunch> launches;
};

// Checks the images themselves, whose drivers are not told their sizes: PTX ends with a zero byte,
// and all parts of a cubin lie within it. Returns "", or the end of the sentence "PATH ...".
std::string check_images(const DeviceSpec& device, std::span<const std::byte> weights);

}  // namespace burnish::runtime
