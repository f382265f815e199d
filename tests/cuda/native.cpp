#include "cuda/native.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "target/cuda/images.h"
#include "target/cuda/nvrtc.h"

namespace burnish::cuda_test {
namespace {

using Address = unsigned long long;

// What is used of the driver.
struct Driver {
  void* library = dlopen("libcuda.so.1", RTLD_NOW);
  std::string missing;
  int sm = 0;

  template <class F> F* symbol(const char* name) const {
    auto* f = reinterpret_cast<F*>(dlsym(library, name));
    if (f == nullptr) {
      std::fprintf(stderr, "the driver has no %s\n", name);
      std::exit(1);
    }
    return f;
  }

  int (*alloc)(Address*, size_t) = nullptr;
  int (*free)(Address) = nullptr;
  int (*to_device)(Address, const void*, size_t) = nullptr;
  int (*to_host)(void*, Address, size_t) = nullptr;
  int (*load)(void**, const void*) = nullptr;
  int (*unload)(void*) = nullptr;
  int (*function)(void**, void*, const char*) = nullptr;
  int (*attribute)(void*, int, int) = nullptr;
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*,
                void**, void**) = nullptr;
  int (*synchronize)() = nullptr;

  Driver() {
    if (library == nullptr) {
      missing = "there is no libcuda.so.1";
    } else if (!cuda_target::Nvrtc::available()) {
      missing = "there is no libnvrtc.so";
    } else if (!make_context()) {
      missing = "there is no GPU that can be used";
    }
    if (!missing.empty()) return;
    alloc = symbol<int(Address*, size_t)>("cuMemAlloc_v2");
    free = symbol<int(Address)>("cuMemFree_v2");
    to_device = symbol<int(Address, const void*, size_t)>("cuMemcpyHtoD_v2");
    to_host = symbol<int(void*, Address, size_t)>("cuMemcpyDtoH_v2");
    load = symbol<int(void**, const void*)>("cuModuleLoadData");
    unload = symbol<int(void*)>("cuModuleUnload");
    function = symbol<int(void**, void*, const char*)>("cuModuleGetFunction");
    attribute = symbol<int(void*, int, int)>("cuFuncSetAttribute");
    launch = symbol<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                        void*, void**, void**)>("cuLaunchKernel");
    synchronize = symbol<int()>("cuCtxSynchronize");
  }

  bool make_context() {
    int device = 0, major = 0, minor = 0;
    void* context = nullptr;
    if (symbol<int(unsigned)>("cuInit")(0) != 0 ||
        symbol<int(int*, int)>("cuDeviceGet")(&device, 0) != 0)
      return false;
    constexpr int capability_major = 75, capability_minor = 76;
    auto* const of_device = symbol<int(int*, int, int)>("cuDeviceGetAttribute");
    if (of_device(&major, capability_major, device) != 0 ||
        of_device(&minor, capability_minor, device) != 0)
      return false;
    sm = 10 * major + minor;
    return symbol<int(void**, int)>("cuDevicePrimaryCtxRetain")(&context, device) == 0 &&
           symbol<int(void*)>("cuCtxSetCurrent")(context) == 0;
  }

  void must(int status, const std::string& what) const {
    if (status == 0) return;
    const char* text = "";
    symbol<int(int, const char**)>("cuGetErrorString")(status, &text);
    std::fprintf(stderr, "%s: %s (%d)\n", what.c_str(), text, status);
    std::exit(1);
  }
};

const Driver& driver() {
  static const Driver instance;
  return instance;
}

struct Memory {
  Address address = 0;
  Bytes host;
  explicit Memory(Bytes b) : host(b) {
    driver().must(driver().alloc(&address, std::max<size_t>(b.size, 1)), "memory of the GPU");
    if (b.size) driver().must(driver().to_device(address, b.at, b.size), "copy to the GPU");
  }
  ~Memory() { driver().free(address); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void fetch() const {
    if (host.size)
      driver().must(driver().to_host(host.at, address, host.size), "copy from the GPU");
  }
};

// A kernel's function in a module of its own.
struct Loaded {
  void *module = nullptr, *function = nullptr;
  Loaded(const std::string& cubin, const c_like::Kernel& k) {
    driver().must(driver().load(&module, cubin.data()), "loading " + k.name);
    driver().must(driver().function(&function, module, k.name.c_str()), "finding " + k.name);
    constexpr int dynamic_bytes = 8;
    driver().must(driver().attribute(function, dynamic_bytes, static_cast<int>(k.block_bytes)),
                  "memory of blocks of " + k.name);
    constexpr int large_clusters = 14;
    if (k.cluster > c_like::kMostOfACluster) driver().must(driver().attribute(function, large_clusters, 1), "clusters of " + k.name);
  }
  ~Loaded() { driver().unload(module); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
};

}  // namespace

std::string native_missing() { return driver().missing; }

bool run_native(const cuda_target::Launches& all, cuda_target::Precision precision,
                const std::vector<Bytes>& tensors, Bytes arena, Bytes weights) {
  std::vector<std::unique_ptr<Loaded>> loaded;
  try {
    const std::vector<std::string> arch = {"sm_" + std::to_string(driver().sm)};
    const cuda_target::Code code = cuda_target::compile_kernels(all.kernels, arch, precision);
    // Cubins stand before PTX, in the order of the kernels.
    for (size_t i = 0; i < all.kernels.size(); ++i) {
      loaded.push_back(std::make_unique<Loaded>(code.images[i].bytes, all.kernels[i]));
    }
  } catch (const Error& e) {
    ADD_FAILURE() << e.what();
    return false;
  }
  const Memory arena_there(arena), weights_there(weights);
  std::vector<std::unique_ptr<Memory>> there;
  for (const Bytes& t : tensors) there.push_back(std::make_unique<Memory>(t));
  for (const cuda_target::Launch& l : all.launches) {
    const c_like::Kernel& k = all.kernels[l.kernel];
    std::vector<Address> addresses;
    for (const cuda_target::Argument& a : l.args) {
      const Memory& m = a.place == cuda_target::in_arena ? arena_there
                        : a.place == cuda_target::in_weights
                            ? weights_there
                            : *there.at(static_cast<size_t>(a.place));
      addresses.push_back(m.address + static_cast<Address>(a.offset));
    }
    std::vector<void*> parameters;
    for (Address& a : addresses) parameters.push_back(&a);
    driver().must(driver().launch(loaded[l.kernel]->function, static_cast<unsigned>(k.blocks), 1, 1,
                                  static_cast<unsigned>(k.threads), 1, 1,
                                  static_cast<unsigned>(k.block_bytes), nullptr, parameters.data(),
                                  nullptr),
                  "launch of " + k.name);
  }
  driver().must(driver().synchronize(), all.kernels.front().name);
  for (const auto& m : there) m->fetch();
  return true;
}

}  // namespace burnish::cuda_test
