#include "target/cuda/images.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "target/cuda/cache.h"
#include "target/cuda/nvrtc.h"
#include "target/cuda/space.h"

namespace burnish::cuda_target {

namespace {

std::vector<std::string> options_for(const std::string& arch, Precision precision) {
  std::vector<std::string> o = {"--gpu-architecture=" + arch, "--std=c++17", "-default-device"};
  // Divisions and roots within 2 units in the last place, denormals as zeros: below what these
  // precisions round away.
  if (precision != Precision::Strict)
    o.insert(o.end(), {"--ftz=true", "--prec-div=false", "--prec-sqrt=false"});
  return o;
}

Compiled compiled(const Cache& cache, const c_like::Kernel& k, const std::string& arch,
                  Precision precision) {
  // Instructions of four warps are of this one capability: PTX, which is for later ones, does without.
  if (!k.helpers.empty() && arch == fmt::format("sm_{}", kWarpgroupsOn)) {
    Compiled c = compiled(cache, k, arch + "a", precision);
    c.ptx = compiled(cache, k, fmt::format("compute_{}", kWarpgroupsOn), precision).ptx;
    return c;
  }
  const std::string source = source_of(std::span(&k, 1));
  const std::vector<std::string> options = options_for(arch, precision);
  const Nvrtc& nvrtc = Nvrtc::instance();
  const std::string key = "nvrtc " + nvrtc.version() + " " + join(options, " ") + "\n" + source;
  if (auto known = cache.find(key)) return std::move(*known);
  Compiled c = nvrtc.compile(k.name, source, options);
  cache.put(key, c);
  return c;
}

}  // namespace

Code compile_kernels(std::span<const c_like::Kernel> kernels, std::span<const std::string> archs,
                     Precision precision) {
  const Cache cache;
  const size_t n = kernels.size();
  std::vector<Compiled> all(n * archs.size());
  constexpr size_t most = 16;  // threads that NVRTC gains from
  parallel_for(all.size(), std::clamp<size_t>(std::thread::hardware_concurrency(), 1, most),
               [&](size_t i) { all[i] = compiled(cache, kernels[i % n], archs[i / n], precision); });
  Code code;
  for (size_t i = 0; i < all.size(); ++i)
    code.images.push_back({archs[i / n], "cubin", std::move(all[i].cubin)});
  for (size_t i = all.size() - n; i < all.size(); ++i)
    code.images.push_back({archs.back(), "ptx", std::move(all[i].ptx)});
  for (size_t i = 0; i < n; ++i) {
    code.registers.push_back(all[i].registers);
    code.spill_bytes.push_back(all[i].spill_bytes);
  }
  return code;
}

}  // namespace burnish::cuda_target
