#include "driver.h"

#include "../failure.h"

#include <dlfcn.h>

#include <cstdlib>

namespace burnish::runtime::cuda {

namespace {

struct Loaded {
  Driver driver;
  std::string missing;  // why there is none
};

std::string load(Driver& driver) {
  const char* named = secure_getenv("BURNISH_CUDA_DRIVER");
  const std::string file = named && *named ? named : "libcuda.so.1";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    return std::string("NVIDIA's driver is not installed (") + (why ? why : file.c_str()) +
           "); install it, or give the container the GPU";
  }
#define BURNISH_CUDA_FIND(name, symbol, parameters)                                                \
  driver.name = reinterpret_cast<decltype(driver.name)>(dlsym(library, symbol));                   \
  if (!driver.name)                                                                                \
    return file + " has no function " symbol "; install a driver for CUDA 12 or later";
  BURNISH_CUDA_DRIVER(BURNISH_CUDA_FIND)
#undef BURNISH_CUDA_FIND
  if (const Result result = driver.init(0); result != success) {
    const std::string why = driver.describe(result);
    if (result == no_device) return "there is no NVIDIA GPU (" + why + ")";
    return "NVIDIA's driver does not start: " + why;
  }
  return "";
}

}  // namespace

const Driver& Driver::get() {
  static const Loaded* const loaded = [] {
    auto* out = new Loaded;  // never closed: other threads may be inside at exit
    out->missing = load(out->driver);
    return out;
  }();
  if (!loaded->missing.empty()) {
    fail(BURNISH_ERROR_UNSUPPORTED, "the model runs on an NVIDIA GPU, and %s",
         loaded->missing.c_str());
  }
  return loaded->driver;
}

std::string Driver::describe(Result result) const {
  const char *name = nullptr, *text = nullptr;
  error_name(result, &name);
  error_text(result, &text);
  if (!name) return "error " + std::to_string(result);
  return std::string(name) + (text ? std::string(" (") + text + ")" : "");
}

}  // namespace burnish::runtime::cuda
