// Schedules of the CUDA target.
#pragma once

#include <memory>
#include <span>

#include "target/c_like/kernel.h"
#include "target/space.h"

namespace burnish::cuda_target {

// What schedules have to know of a GPU.
struct Device {
  int sm = 90;                       // compute capability, 90 for 9.0
  int multiprocessors = 132;
  int64_t block_bytes = 227 << 10;   // most memory of a block
  int64_t cluster = c_like::kLargestCluster;  // most blocks of a cluster
  double bytes_per_cycle = 1400;     // of memory, or a large second-level cache
  double products = 3;               // matrix instructions for one product of f32
  DType storage = DType::F32;        // of tensors between kernels, and of what matrix instructions multiply: f32, f16 or bf16
  bool halves() const { return is_half(storage); }
  bool half_sums() const { return storage == DType::F16; }  // depthwise ones in chains are made of pairs, too
  int64_t depth() const { return halves() ? 32 : 16; }  // of the reduction that a step of a warp takes at most
};

// Instructions of four warps: of GPUs of this capability alone.
constexpr int kWarpgroupsOn = 90;
// Clusters of blocks: of GPUs from this capability on.
constexpr int clusters_from = 90;
inline int64_t cluster_of(const Device& d) { return d.sm >= clusters_from ? d.cluster : 0; }

// Whether a group made of two that feed one another would run faster as one kernel.
bool prefers_one_kernel(const StageGroup& g, const Device& d);
// What a group takes as one kernel by estimate, 0 where nothing is known of its kind.
double kernel_us(const StageGroup& g, const Device& d);

// Whether functions that do not depend on one another should be one kernel.
bool prefers_one_launch(std::span<const Function* const> functions, const Device& d);

// Lowers for any group.
Schedule default_schedule(const StageGroup& g, const Device& d);

// The variants of all ways (ways.h), the most promising ones of each first. One knob, whose values are their names.
std::unique_ptr<Space> make_space(const StageGroup& g, const Device& d);

}  // namespace burnish::cuda_target
