#include "cuda/emulated.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "target/weights.h"

namespace burnish::cuda_test {

using cuda_target::Launches;

Emulated::Emulated(const Launches& launches) { build(launches); }

Emulated::Emulated(const Function& f, cuda_target::Precision precision) {
  Launches all{.kernels = c_like::kernels_of(f, cuda_target::dialect(precision))};
  for (const c_like::Kernel& k : all.kernels) {
    cuda_target::Launch launch{.step = 0, .kernel = static_cast<uint32_t>(all.launches.size())};
    for (BufferId b : k.args) {
      const auto at = std::ranges::find(f.params, b);
      EXPECT_NE(at, f.params.end())
          << f.buffers[b].name << " is no parameter: run the function as a program";
      launch.args.push_back({static_cast<int>(at - f.params.begin()), 0});
    }
    all.launches.push_back(std::move(launch));
  }
  build(all);
}

Emulated::~Emulated() {
  if (library_) dlclose(library_);
}

void Emulated::build(const Launches& all) {
  source_ = cuda_target::source_of(all.kernels);
  std::string text = "#include \"" BURNISH_SOURCE_DIR "/tests/cuda/emulation.h\"\n" + source_;
  // What an argument is cast to is what the parameter is.
  text += "struct Any { char* at; template <class T> operator T*() const { return (T*)at; } };\n";
  text += "extern \"C\" void run(void* const* tensors, char* arena, const char* weights, bool "
          "reversed) {\n";
  for (const cuda_target::Launch& l : all.launches) {
    const c_like::Kernel& k = all.kernels[l.kernel];
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
  text += "}\n";
  const std::string at = folder_.path.string() + "/kernels";
  std::ofstream(at + ".cpp") << text;
  const std::string command = fmt::format(
      BURNISH_TEST_CXX " -std=c++17 -O1 -fwrapv -w -shared -fPIC -o {0}.so {0}.cpp", at);
  const bool built = std::system(command.c_str()) == 0;
  if (!built) ADD_FAILURE() << source_;
  library_ = built ? dlopen((at + ".so").c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library_) run_ = reinterpret_cast<decltype(run_)>(dlsym(library_, "run"));
}

void Emulated::operator()(const std::vector<void*>& tensors, void* arena, const void* weights,
                          bool reversed) const {
  run_(tensors.data(), arena, weights, reversed);
}

std::vector<std::vector<std::byte>> run_emulated(const Program& p, cuda_target::Precision precision,
                                                 const std::vector<const void*>& inputs,
                                                 bool reversed) {
  const Emulated emulated(cuda_target::launches_of(p, precision));
  std::vector<std::vector<std::byte>> outputs;
  if (!emulated) return outputs;
  constexpr size_t align = 256;
  // Aligned, as memory of a GPU.
  const auto aligned = [](std::vector<std::byte>& m, size_t bytes) {
    m.assign(bytes + align, std::byte{0xff});  // floats: NaN
    return m.data() + (align - reinterpret_cast<uintptr_t>(m.data()) % align);
  };
  std::vector<std::byte> arena_memory, weights_memory;
  std::byte* arena = aligned(arena_memory, static_cast<size_t>(cuda_target::arena_bytes(p)));
  const std::vector<std::byte> section = weights_of(p);
  std::byte* weights = aligned(weights_memory, section.size());
  std::ranges::copy(section, weights);
  std::vector<std::vector<std::byte>> memory(p.inputs.size() + p.outputs.size());
  std::vector<void*> tensors;
  const auto place = [&](uint32_t t) {
    const size_t size = static_cast<size_t>(p.tensors[t].size * size_of(p.tensors[t].dtype));
    tensors.push_back(aligned(memory[tensors.size()], size));
    return size;
  };
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    const size_t size = place(p.inputs[i]);
    if (size) std::memcpy(tensors[i], inputs[i], size);
  }
  for (uint32_t t : p.outputs) place(t);
  emulated(tensors, arena, weights, reversed);
  for (size_t o = 0; o < p.outputs.size(); ++o) {
    const ProgramTensor& t = p.tensors[p.outputs[o]];
    const auto* at = static_cast<const std::byte*>(tensors[p.inputs.size() + o]);
    outputs.emplace_back(at, at + t.size * size_of(t.dtype));
  }
  return outputs;
}

}  // namespace burnish::cuda_test
