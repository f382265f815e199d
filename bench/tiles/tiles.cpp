// Register tiles of a matrix product through the whole code generator, against the FMA peak measured in the same run.
// Prints one line a tile: GFLOP/s and per cent of peak. Rounds are interleaved; the median counts.
#include <burnish/abi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "loop/program.h"
#include "target/target.h"

using namespace burnish;

namespace {

struct Kernel {
  std::string name;
  double flops;
  const burnish_entry* entry;
  std::vector<std::vector<float>> memory;
  std::vector<void*> tensors;
  std::vector<double> seconds;
};

Program program_of(const Function& f) {
  Program p;
  p.functions.push_back(f);
  Step s{.function = 0};
  for (BufferId b : f.params) {
    const Buffer& buf = f.buffers[b];
    s.args.push_back(uint32_t(p.tensors.size()));
    (buf.written ? p.outputs : p.inputs).push_back(s.args.back());
    p.tensors.push_back({.name = buf.name, .kind = buf.written ? TensorKind::Output : TensorKind::Input, .size = buf.size});
  }
  p.steps.push_back(s);
  return p;
}

Kernel build(const Target& t, std::string name, double flops, const std::string& text) {
  Function f = parse_function(text);
  Program p = program_of(f);
  std::string path = (std::filesystem::temp_directory_path() / fmt::format("tiles-{}-{}.so", getpid(), name)).string();
  write_file(path, t.build(p, "{}"));
  void* handle = dlopen(path.c_str(), RTLD_NOW);
  std::filesystem::remove(path);
  require(handle != nullptr, "cannot load {}", path);
  Kernel k{std::move(name), flops, nullptr, {}, {}, {}};
  k.entry = reinterpret_cast<burnish_model_entry_fn>(dlsym(handle, BURNISH_ENTRY_SYMBOL))();
  for (BufferId b : f.params) k.memory.emplace_back(size_t(f.buffers[b].size) + 16, 0.5f);
  for (auto& m : k.memory) k.tensors.push_back(reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(m.data()) + 63) / 64 * 64));
  return k;
}

Kernel tile(const Target& t, int mr, int nv, int lanes, int k) {
  int n = nv * lanes;
  constexpr int repeats = 50;
  std::string text = fmt::format(R"(func tile(A: param f32[{a}], B: param f32[{b}], C: out f32[{c}]) {{
    for r in 0..{repeats} {{
      alloc acc: register f32[{c}] {{
        unroll for m in 0..{mr} {{ unroll for v in 0..{nv} {{ vectorize for l in 0..{lanes} {{ acc[{n}*m + {lanes}*v + l] = 0.0 }} }} }}
        for k in 0..{k} {{
          unroll for m in 0..{mr} {{ unroll for v in 0..{nv} {{ vectorize for l in 0..{lanes} {{
            acc[{n}*m + {lanes}*v + l] = acc[{n}*m + {lanes}*v + l] + A[{k}*m + k] * B[{n}*k + {lanes}*v + l]
          }} }} }}
        }}
        unroll for m in 0..{mr} {{ unroll for v in 0..{nv} {{ vectorize for l in 0..{lanes} {{
          C[{n}*m + {lanes}*v + l] = max(acc[{n}*m + {lanes}*v + l], 0.0)
        }} }} }}
      }}
    }}
  }})", fmt::arg("a", mr * k), fmt::arg("b", k * n), fmt::arg("c", mr * n), fmt::arg("mr", mr), fmt::arg("nv", nv),
                                 fmt::arg("n", n), fmt::arg("k", k), fmt::arg("lanes", lanes), fmt::arg("repeats", repeats));
  return build(t, fmt::format("{}x{}x{}", mr, nv, lanes), 2.0 * mr * n * k * repeats, text);
}

// Sixteen independent chains of FMAs without memory.
Kernel peak(const Target& t, int lanes) {
  constexpr int chains = 12, steps = 20000;
  std::string text = fmt::format(R"(func peak(X: param f32[{l2}], C: out f32[{c}]) {{
    alloc acc: register f32[{c}] {{
      unroll for m in 0..{chains} {{ vectorize for l in 0..{lanes} {{ acc[{lanes}*m + l] = 0.0 }} }}
      for k in 0..{steps} {{
        unroll for m in 0..{chains} {{ vectorize for l in 0..{lanes} {{ acc[{lanes}*m + l] = acc[{lanes}*m + l] + X[l] * X[{lanes} + l] }} }}
      }}
      unroll for m in 0..{chains} {{ vectorize for l in 0..{lanes} {{ C[{lanes}*m + l] = acc[{lanes}*m + l] }} }}
    }}
  }})", fmt::arg("c", chains * lanes), fmt::arg("l2", 2 * lanes), fmt::arg("chains", chains), fmt::arg("lanes", lanes),
                                 fmt::arg("steps", steps));
  return build(t, "peak", 2.0 * chains * lanes * steps, text);
}

void measure(Kernel& k) {
  burnish_host host{nullptr, [](void*, uint32_t) {}, nullptr, nullptr};
  static std::vector<char> scratch(1 << 20);
  burnish_frame frame{k.tensors.data(), scratch.data(), k.entry->weights, scratch.data(), 0, nullptr, 1, 0};
  int calls = std::max(1, int(2e8 / k.flops));
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) k.entry->run(&frame, 0, &host);
  k.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls);
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  auto t = make_target(argc > 1 ? argv[1] : "native", 1);
  int depth = argc > 2 ? std::atoi(argv[2]) : 256;
  int lanes = t->machine().vector_bytes / 4;
  bool many = t->machine().vector_registers >= 32;
  std::vector<std::pair<int, int>> shapes = {{8, 1}, {6, 2}, {4, 3}};
  if (many) shapes = {{8, 3}, {14, 1}, {14, 2}, {13, 2}, {12, 2}, {9, 3}, {6, 4}, {4, 6}, {16, 1}, {8, 1}};
  std::vector<Kernel> kernels;
  kernels.push_back(peak(*t, lanes));
  for (auto [mr, nv] : shapes) kernels.push_back(tile(*t, mr, nv, lanes, depth));
  for (int round = 0; round < 15; ++round) {
    for (Kernel& k : kernels) measure(k);
  }
  double top = kernels[0].flops / median(kernels[0].seconds);
  for (Kernel& k : kernels) {
    double rate = k.flops / median(k.seconds);
    std::printf("%-10s %8.1f GFLOP/s %6.1f %%\n", k.name.c_str(), rate / 1e9, 100 * rate / top);
  }
}
