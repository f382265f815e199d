// A model for GPUs as commands show it: kernels and launches of its metadata, and what its GPU
// could do.
#pragma once

#include <burnish/burnish.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace burnish::cli {

// What one step launches.
struct GpuStep {
  int launches = 0;
  int64_t blocks = 0;  // of all launches
  int threads = 0;     // of a block; of several kernels the most, as below
  int registers = 0;   // of a thread; 0: not told
  int64_t spill_bytes = 0, block_bytes = 0;
};

// By step; nothing for models of the CPU. Throws UserError where the metadata's "device" is not
// what docs/artifact.md says.
std::optional<std::vector<GpuStep>> gpu_steps(const Model& model);

// The most that a GPU does a second by its clock and width, in the precision that the model was
// compiled for; 0: not known.
struct GpuPeaks {
  double macs = 0, bytes = 0;
};
GpuPeaks gpu_peaks(const burnish_device_info& gpu, const std::string& target);

// "NVIDIA H100 80GB HBM3, sm_90"
std::string described(const burnish_device_info& gpu);

}  // namespace burnish::cli
