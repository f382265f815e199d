#include "target/cuda/dialect.h"

#include <algorithm>
#include <array>
#include <set>

#include "target/cuda/prelude.h"

namespace burnish::cuda_target {

namespace {

// All blocks of a kernel that run at once on an H100, where registers are left besides what threads need. Of kernels with more blocks
// others hide what loads take. `besides`: registers for what is in no array.
template <int64_t besides> int64_t blocks_together(const c_like::Kernel& k) {
  constexpr int64_t multiprocessors = 132, memory = 227 << 10, reserved = 1 << 10;
  constexpr int64_t warp = 32, quarters = 4, registers = 16384;  // of a quarter, which has warps of its own
  const int64_t blocks = std::min(ceil_div(k.blocks, multiprocessors), std::max<int64_t>(1, memory / (k.block_bytes + reserved)));
  const int64_t warps = ceil_div(blocks * ceil_div(int64_t{k.threads}, warp), quarters);
  return warp * warps * (besides + k.registers) <= registers ? blocks : 0;
}

}  // namespace

const c_like::Dialect& dialect(Precision precision, int64_t cluster) {
  static const auto with = [](int64_t cluster, std::string_view matrix_sum, std::optional<DType> half_pairs = {}) { return c_like::Dialect{
      .prelude = prelude,
      .kernel_head = "extern \"C\" __global__ void __launch_bounds__({1}{3}) {0}",
      .cluster_head = "extern \"C\" __global__ void __launch_bounds__({1}{3}) __cluster_dims__({2}, 1, 1) {0}",
      .cluster_barrier = cluster ? "meet_cluster<{}>();" : "",
      .most_of_a_cluster = cluster,
      .last_of_group = cluster ? "" : "last_of_group<{}>",
      .cluster_end = "leave_cluster<{}>();",
      .of_neighbour = cluster ? "of_neighbour" : "",
      .room = ", {}",
      .blocks_together = matrix_sum == "sum_3xtf32" ? blocks_together<88> : blocks_together<64>,  // numbers are parted
      .block = "(int)blockIdx.x",
      .thread = "threadIdx.x",
      .barrier = "__syncthreads();",
      .block_memory = "extern __shared__ __align__(1024) char memory[];",
      .global = "",
      .restrict = "__restrict__",
      .matrix_sum = matrix_sum,
      .half_pairs = half_pairs,
      .rounded = matrix_sum == "sum_tf32" ? "bits({})" : "",
      .rounded_relu = matrix_sum == "sum_tf32" ? "nearest_tf32_of_relu({})" : "",
      .tf32 = "large_part",
      .nearly_tf32 = "nearly_tf32",
      .relu_where = matrix_sum == "sum_3xtf32" ? "" : "relu_where",  // there it costs registers
      .load_tiles = "load_tiles{}",
      .warpgroup_sum = cluster == 0 || matrix_sum == "sum_3xtf32" ? nullptr
                       : matrix_sum == "sum_tf32"               ? warpgroup_sum_tf32
                       : matrix_sum == "sum_f16"                ? warpgroup_sum_f16
                                                                : warpgroup_sum_bf16,
      .let_warpgroups_read = "let_warpgroups_read();",
      .copy = "copy_async",
      .wait = "wait_for_copies",
      .group = "group_copies",
      .load_where = "load{}{}_where",
      .unknown = "unknown",
      .begin = "wait_for_kernels_before",
      .let_next_begin = "let_next_kernel_begin();",
      .few_blocks = 16,
      .exchanged = "exchanged",
      .of_later_thread = "of_later_thread",
  }; };
  static const auto of_precision = [](std::string_view matrix_sum, std::optional<DType> half_pairs = {}) {
    return std::array{with(0, matrix_sum, half_pairs), with(c_like::kMostOfACluster, matrix_sum, half_pairs), with(c_like::kLargestCluster, matrix_sum, half_pairs)};
  };
  static const std::array all = {of_precision("sum_3xtf32"), of_precision("sum_tf32"), of_precision("sum_f16", DType::F16), of_precision("sum_bf16", DType::BF16)};
  return all[static_cast<size_t>(precision)][cluster == 0 ? 0 : cluster < c_like::kLargestCluster ? 1 : 2];
}

std::string source_of(std::span<const c_like::Kernel> kernels) {
  std::string out(prelude);
  if (std::ranges::any_of(kernels, &c_like::Kernel::halves)) out += half_prelude;
  if (std::ranges::any_of(kernels, &c_like::Kernel::bfloats)) out += bfloat_prelude;
  std::set<std::string> helpers;
  for (const c_like::Kernel& k : kernels) helpers.insert(k.helpers.begin(), k.helpers.end());
  for (const std::string& h : helpers) out += h;
  for (const c_like::Kernel& k : kernels) out += "\n" + k.source;
  return out;
}

}  // namespace burnish::cuda_target
