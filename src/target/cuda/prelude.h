// Helper functions that kernels call, as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace burnish::cuda_target {

extern const std::string_view prelude;         // of every source
extern const std::string_view half_prelude;    // besides, of sources with 16-bit floats
extern const std::string_view bfloat_prelude;  // and of those with bf16

// c_like::Dialect::warpgroup_sum of each precision.
std::string warpgroup_sum_tf32(std::string_view name, int64_t columns, int64_t swizzle);
std::string warpgroup_sum_f16(std::string_view name, int64_t columns, int64_t swizzle);
std::string warpgroup_sum_bf16(std::string_view name, int64_t columns, int64_t swizzle);

}  // namespace burnish::cuda_target
