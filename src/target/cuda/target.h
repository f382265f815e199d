// The target "cuda": NVIDIA GPUs.
#pragma once

#include <memory>
#include <string_view>

#include "target/target.h"

namespace burnish::cuda_target {

// Options: architectures ("sm_80+sm_90"; none: the GPU of this machine, or sm_90) and
// precision=strict|tf32|fp16|bf16. `host` makes the library around the kernels.
std::shared_ptr<const Target> make_cuda_target(std::string_view options,
                                               std::shared_ptr<const Target> host);

}  // namespace burnish::cuda_target
