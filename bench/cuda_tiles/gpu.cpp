#include "gpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "base/error.h"

namespace burnish::bench {

namespace {
using Address = unsigned long long;
constexpr size_t waste_bytes = 256 << 20;
}  // namespace

struct Gpu::Driver {
  void* library = dlopen("libcuda.so.1", RTLD_NOW);
  std::string missing;
  void* stream = nullptr;
  Address memory = 0, waste = 0;
  size_t bytes = 0;

  // Calls a function of the driver by its name; false where it fails.
  template <class... A> bool call(const char* name, A... a) const {
    auto* f = reinterpret_cast<int (*)(A...)>(dlsym(library, name));
    require(f != nullptr, "the driver has no {}", name);
    const int status = f(a...);
    if (status != 0) std::fprintf(stderr, "%s: error %d\n", name, status);
    return status == 0;
  }

  Driver() {
    int device = 0;
    void* context = nullptr;
    if (library == nullptr)
      missing = "there is no libcuda.so.1";
    else if (!call("cuInit", 0u) || !call("cuDeviceGet", &device, 0) ||
             !call("cuDevicePrimaryCtxRetain", &context, device) ||
             !call("cuCtxSetCurrent", context) || !call("cuStreamCreate", &stream, 1u) ||
             !call("cuMemAlloc_v2", &waste, waste_bytes))
      missing = "there is no GPU that can be used";
  }

  void grow(size_t wanted) {
    if (wanted <= bytes) return;
    if (memory) call("cuMemFree_v2", memory);
    constexpr size_t part = 32 << 20;
    std::vector<float> random(part / sizeof(float));
    std::mt19937 engine(1);
    for (float& x : random) x = static_cast<float>(engine()) * 0x1p-31f - 1;
    bytes = (wanted + part - 1) / part * part;
    bool good = call("cuMemAlloc_v2", &memory, bytes);
    for (size_t at = 0; good && at < bytes; at += part)
      good = call("cuMemcpyHtoD_v2", memory + at, static_cast<const void*>(random.data()), part);
    require(good, "no {} bytes on the GPU", bytes);
  }
};

Gpu::Gpu() : d_(std::make_unique<Driver>()) {}
Gpu::~Gpu() = default;
std::string Gpu::missing() const { return d_->missing; }

double Gpu::microseconds(const std::vector<c_like::Kernel>& kernels,
                         const std::vector<std::string>& cubins,
                         const std::vector<std::vector<Argument>>& arguments, size_t memory_bytes) {
  constexpr int rounds = 5;
  const Driver& d = *d_;
  d_->grow(memory_bytes);
  std::vector<void*> modules(kernels.size()), functions(kernels.size());
  bool good = true;
  for (size_t i = 0; good && i < kernels.size(); ++i) {
    constexpr int dynamic_bytes = 8;
    good = d.call("cuModuleLoadData", &modules[i], static_cast<const void*>(cubins[i].data())) &&
           d.call("cuModuleGetFunction", &functions[i], modules[i], kernels[i].name.c_str()) &&
           d.call("cuFuncSetAttribute", functions[i], dynamic_bytes,
                  static_cast<int>(kernels[i].block_bytes));
  }
  void *graph = nullptr, *exec = nullptr, *events[2] = {};
  std::vector<float> times;
  if (good && d.call("cuStreamBeginCapture_v2", d.stream, 2)) {
    for (int r = 0; r < runs; ++r) {
      for (size_t i = 0; i < kernels.size(); ++i) {
        std::vector<Address> at;
        for (const Argument& a : arguments[i])
          at.push_back(d.memory + a.offset + static_cast<size_t>(r) * a.moves);
        std::vector<void*> parameters;
        for (Address& a : at) parameters.push_back(&a);
        good &= d.call("cuLaunchKernel", functions[i], static_cast<unsigned>(kernels[i].blocks), 1u,
                       1u, static_cast<unsigned>(kernels[i].threads), 1u, 1u,
                       static_cast<unsigned>(kernels[i].block_bytes), d.stream, parameters.data(),
                       static_cast<void**>(nullptr));
      }
    }
    good &= d.call("cuStreamEndCapture", d.stream, &graph);
    good = good && d.call("cuGraphInstantiateWithFlags", &exec, graph, 0ull);
    for (void*& e : events) good = good && d.call("cuEventCreate", &e, 0u);
    for (int r = 0; good && r <= rounds; ++r) {
      float ms = 0;
      // What earlier runs left in the second-level cache goes.
      good =
          d.call("cuMemsetD32Async", d.waste, 0u, waste_bytes / 4, d.stream) &&
          d.call("cuEventRecord", events[0], d.stream) && d.call("cuGraphLaunch", exec, d.stream) &&
          d.call("cuEventRecord", events[1], d.stream) && d.call("cuEventSynchronize", events[1]) &&
          d.call("cuEventElapsedTime", &ms, events[0], events[1]);
      if (r > 0) times.push_back(ms);  // the first run loads code
    }
    for (void* e : events)
      if (e) d.call("cuEventDestroy_v2", e);
    if (exec) d.call("cuGraphExecDestroy", exec);
    if (graph) d.call("cuGraphDestroy", graph);
  }
  for (void* m : modules)
    if (m) d.call("cuModuleUnload", m);
  if (!good || times.empty()) return -1;
  std::ranges::sort(times);
  return 1000.0 * static_cast<double>(times[times.size() / 2]) / runs;
}

}  // namespace burnish::bench
