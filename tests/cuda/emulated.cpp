#include "cuda/emulated.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

namespace burnish::cuda_test {

using cuda_target::Launches;

Launches launches_of_function(const Function& f, cuda_target::Precision precision, int64_t& arena_bytes) {
  Launches all{.kernels = c_like::kernels_of(f, cuda_target::dialect(precision))};
  std::map<BufferId, int64_t> shared;  // among kernels
  for (const c_like::Kernel& k : all.kernels) {
    cuda_target::Launch launch{.step = 0, .kernel = static_cast<uint32_t>(all.launches.size())};
    for (BufferId b : k.args) {
      const auto at = std::ranges::find(f.params, b);
      if (at != f.params.end()) {
        launch.args.push_back({static_cast<int>(at - f.params.begin()), 0});
        continue;
      }
      const auto [place, fresh] = shared.emplace(b, arena_bytes);
      constexpr int64_t align = 256;
      if (fresh) arena_bytes += ceil_div(f.buffers[b].size * size_of(f.buffers[b].dtype), align) * align;
      launch.args.push_back({cuda_target::in_arena, place->second});
    }
    all.launches.push_back(std::move(launch));
  }
  return all;
}

Emulated::~Emulated() {
  if (library_) dlclose(library_);
}

namespace {

std::string program_of(const Launches& all) {
  std::string text =
      "#include \"" BURNISH_EMULATION "\"\n" + cuda_target::source_of(all.kernels);
  // What an argument is cast to is what the parameter is.
  text += "struct Any { char* at; template <class T> operator T*() const { return (T*)at; } };\n";
  text += "extern \"C\" void run(void* const* tensors, char* arena, const char* weights, bool "
          "reversed) {\n";
  for (const cuda_target::Launch& l : all.launches) {
    const c_like::Kernel& k = all.kernels[l.kernel];
    EXPECT_LE(k.block_bytes, 227 << 10) << k.name << " fits no GPU, nor the emulation's memory";
    std::string args;
    for (const cuda_target::Argument& a : l.args) {
      const std::string base = a.place == cuda_target::in_arena ? "arena"
                               : a.place == cuda_target::in_weights
                                   ? "(char*)weights"
                                   : fmt::format("(char*)tensors[{}]", a.place);
      args += fmt::format("{}Any{{{} + {}}}", args.empty() ? "" : ", ", base, a.offset);
    }
    text += fmt::format("  emulation::launch({}, {}, reversed, [&] {{ {}({}); }});\n", k.blocks,
                        k.threads, k.name, args);
  }
  return text + "}\n";
}

}  // namespace

const Emulated& Emulated::of(const Launches& launches) {
  static std::unique_ptr<Emulated> last;
  std::string source = program_of(launches);
  if (!last || !*last || last->source_ != source)
    last = std::make_unique<Emulated>(std::move(source));
  return *last;
}

Emulated::Emulated(std::string source) : source_(std::move(source)) {
  const std::string at = folder_.path.string() + "/kernels";
  std::ofstream(at + ".cpp") << source_;
  const std::string command =
      fmt::format(BURNISH_TEST_CXX " " BURNISH_EMULATION_FLAGS " -shared -o {0}.so {0}.cpp", at);
  const bool built = std::system(command.c_str()) == 0;
  if (!built) ADD_FAILURE() << source_;
  library_ = built ? dlopen((at + ".so").c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library_) run_ = reinterpret_cast<decltype(run_)>(dlsym(library_, "run"));
}

void Emulated::operator()(const std::vector<void*>& tensors, void* arena, const void* weights,
                          bool reversed) const {
  run_(tensors.data(), arena, weights, reversed);
}

}  // namespace burnish::cuda_test
