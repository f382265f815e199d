#include "target/cuda/nvrtc.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/text.h"

namespace burnish::cuda_target {

namespace {

// From nvrtc.h and cuda.h, whose binary interfaces are stable.
using Program = void*;
constexpr int success = 0;

// CUDA's own folders, and those of the packages nvidia-cuda-nvrtc-cu12 and nvidia-cuda-nvrtc beside
// a Python of the user.
std::vector<std::string> candidates() {
  namespace fs = std::filesystem;
  std::vector<std::string> out;
  if (const std::string file = environment("BURNISH_NVRTC"); !file.empty()) return {file};
  constexpr const char* names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  for (const char* n : names) out.push_back(n);
  for (const std::string& folder :
       {environment("CUDA_HOME"), environment("CUDA_PATH"), std::string("/usr/local/cuda")})
    for (const char* n : names)
      if (!folder.empty()) out.push_back(folder + "/lib64/" + n);
  for (const std::string& root :
       {environment("VIRTUAL_ENV"), environment("CONDA_PREFIX"), environment("HOME") + "/.local",
        std::string("/usr/local"), std::string("/usr")}) {
    std::error_code error;
    if (root.empty()) continue;
    for (const auto& python : fs::directory_iterator(root + "/lib", error)) {
      if (!python.path().filename().string().starts_with("python3")) continue;
      for (const char* packages : {"site-packages", "dist-packages"})
        for (const char* nvidia : {"nvidia/cuda_nvrtc/lib", "nvidia/cu13/lib"})
          for (const char* n : names)
            out.push_back((python.path() / packages / nvidia / n).string());
    }
  }
  return out;
}

template <class F> bool find(void* library, const char* name, F*& f) {
  f = reinterpret_cast<F*>(dlsym(library, name));
  return f != nullptr;
}

// The number before a unit, in lines as "Used 40 registers" and "24 bytes spill stores".
int64_t number_before(std::string_view text, std::string_view unit) {
  for (size_t at = text.find(unit); at != text.npos; at = text.find(unit, at + 1)) {
    size_t end = at, begin;
    while (end > 0 && text[end - 1] == ' ') --end;
    for (begin = end; begin > 0 && std::isdigit(static_cast<unsigned char>(text[begin - 1]));) --begin;
    if (begin < end) return std::atoll(std::string(text.substr(begin, end - begin)).c_str());
  }
  return 0;
}

}  // namespace

struct Nvrtc::Functions {
  int (*version)(int*, int*);
  const char* (*error_text)(int);
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*destroy)(Program*);
  int (*compile)(Program, int, const char* const*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*ptx_size)(Program, size_t*);
  int (*ptx)(Program, char*);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);

  bool bind(void* l) {
    return find(l, "nvrtcVersion", version) && find(l, "nvrtcGetErrorString", error_text) &&
           find(l, "nvrtcCreateProgram", create) && find(l, "nvrtcDestroyProgram", destroy) &&
           find(l, "nvrtcCompileProgram", compile) && find(l, "nvrtcGetProgramLogSize", log_size) &&
           find(l, "nvrtcGetProgramLog", log) && find(l, "nvrtcGetPTXSize", ptx_size) &&
           find(l, "nvrtcGetPTX", ptx) && find(l, "nvrtcGetCUBINSize", cubin_size) &&
           find(l, "nvrtcGetCUBIN", cubin);
  }
};

// Found once a process and never closed.
const Nvrtc* Nvrtc::loaded(std::string& why) {
  struct Found {
    Functions functions{};
    Nvrtc nvrtc;
    bool there = false;
    std::string reason;
  };
  static const Found* const found = [] {
    auto* f = new Found();
    for (const std::string& file : candidates()) {
      void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!library) {
        const char* text = dlerror();
        if (f->reason.empty()) f->reason = text ? text : file;
        continue;
      }
      f->there = f->functions.bind(library);
      if (f->there) break;
      f->reason = file + " lacks functions of NVRTC 11.1 and later";
      dlclose(library);
    }
    f->nvrtc.f_ = &f->functions;
    return f;
  }();
  why = found->reason;
  return found->there ? &found->nvrtc : nullptr;
}

bool Nvrtc::available() {
  std::string why;
  return loaded(why) != nullptr;
}

const Nvrtc& Nvrtc::instance() {
  std::string why;
  const Nvrtc* n = loaded(why);
  require(n != nullptr,
          "compiling for CUDA needs NVIDIA's run-time compiler, which was not found ({}): install "
          "the CUDA toolkit or `pip install "
          "nvidia-cuda-nvrtc-cu12`, or name the file in BURNISH_NVRTC=/path/to/libnvrtc.so.12",
          why);
  return *n;
}

std::string Nvrtc::version() const {
  int major = 0, minor = 0;
  f_->version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

Compiled Nvrtc::compile(const std::string& name, const std::string& source,
                        const std::vector<std::string>& options) const {
  Program program = nullptr;
  const int created =
      f_->create(&program, source.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr);
  check(created == success, "NVRTC cannot begin kernel {}: {}", name, f_->error_text(created));
  const auto destroy = [this](void** p) { f_->destroy(p); };
  const std::unique_ptr<Program, decltype(destroy)> owner(&program, destroy);
  const auto text = [&](int (*size_of)(Program, size_t*), int (*get)(Program, char*)) {
    size_t size = 0;
    if (size_of(program, &size) != success) return std::string();
    std::string bytes(size, '\0');
    if (size && get(program, bytes.data()) != success) bytes.clear();
    return bytes;
  };
  std::vector<const char*> all;
  for (const std::string& o : options) all.push_back(o.c_str());
  all.push_back("--ptxas-options=-v");  // registers and spills
  const int result = f_->compile(program, static_cast<int>(all.size()), all.data());
  std::string log = text(f_->log_size, f_->log);
  while (!log.empty() && (log.back() == '\0' || log.back() == '\n')) log.pop_back();
  constexpr int invalid_option = 5;
  require(result != invalid_option, "NVRTC {} does not compile for this GPU ({}): {}", version(),
          join(options, " "), log);
  check(result == success, "NVRTC {} refuses kernel {}: {}\n{}", version(), name,
        f_->error_text(result), log);
  Compiled out{.cubin = text(f_->cubin_size, f_->cubin), .ptx = text(f_->ptx_size, f_->ptx)};
  check(!out.ptx.empty(), "NVRTC {} made no code for kernel {}", version(),
        name);
  out.registers = static_cast<int>(number_before(log, "registers"));
  out.spill_bytes = number_before(log, "bytes spill stores");
  return out;
}

int capability_of_machine() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  int (*init)(unsigned) = nullptr;
  int (*get)(int*, int) = nullptr;
  int (*attribute)(int*, int, int) = nullptr;
  if (!driver || !find(driver, "cuInit", init) || !find(driver, "cuDeviceGet", get) ||
      !find(driver, "cuDeviceGetAttribute", attribute))
    return 0;
  constexpr int capability_major = 75, capability_minor = 76;
  int device = 0, major = 0, minor = 0;
  if (init(0) != success || get(&device, 0) != success ||
      attribute(&major, capability_major, device) != success ||
      attribute(&minor, capability_minor, device) != success)
    return 0;
  return 10 * major + minor;
}

}  // namespace burnish::cuda_target
