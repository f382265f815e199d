#include "target/cuda/images.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "target/cuda/cache.h"
#include "target/cuda/nvrtc.h"

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
  const std::string source = source_of(std::span(&k, 1));
  const std::vector<std::string> options = options_for(arch, precision);
  const Nvrtc& nvrtc = Nvrtc::instance();
  const std::string key = "nvrtc " + nvrtc.version() + " " + join(options, " ") + "\n" + source;
  if (auto known = cache.find(key)) return std::move(*known);
  Compiled c = nvrtc.compile(k.name, source, options);
  cache.put(key, c);
  return c;
}

// f(0) ... f(n - 1), on as many threads as the machine runs, but no more than NVRTC gains from; the
// first error is thrown when all have ended.
void in_parallel(size_t n, const std::function<void(size_t)>& f) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&] {
    for (size_t i; (i = next++) < n;) {
      try {
        f(i);
      } catch (...) {
        const std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        next = n;
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    constexpr size_t most = 16;
    const size_t count =
        std::min({n, most, static_cast<size_t>(std::thread::hardware_concurrency())});
    for (size_t t = 1; t < count; ++t) threads.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

Code compile_kernels(std::span<const c_like::Kernel> kernels, std::span<const std::string> archs,
                     Precision precision) {
  const Cache cache;
  const size_t n = kernels.size();
  std::vector<Compiled> all(n * archs.size());
  in_parallel(all.size(),
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
