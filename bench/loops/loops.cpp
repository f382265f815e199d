// Times one loop function, as `burnish lower` prints it, natively and on one thread: CPU milliseconds a call.
//   bench_loops FILE [--asm] [--ir] [--target=NAME]
#include <burnish/abi.h>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "loop/program.h"
#include "target/target.h"

using namespace burnish;

namespace {

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

void* pages(int64_t size) {
  size_t bytes = (size_t(size) + (4 << 20)) >> 21 << 21;
  void* p = mmap(nullptr, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto at = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(p) + (2 << 20) - 1) >> 21 << 21);
  madvise(at, bytes, MADV_HUGEPAGE);
  std::fill_n(static_cast<float*>(at), bytes / 4, 0.01f);
  return at;
}

}  // namespace

int main(int argc, char** argv) {
  require(argc > 1, "usage: bench_loops FILE [--asm] [--ir] [--target=NAME]");
  std::string target = "native", text = burnish::read_file(argv[1]);
  if (size_t at = text.find("# loops\n"); at != text.npos) text = text.substr(at + 8);
  bool assembly = false, ir = false;
  for (int i = 2; i < argc; ++i) {
    std::string_view a = argv[i];
    assembly |= a == "--asm";
    ir |= a == "--ir";
    if (a.starts_with("--target=")) target = a.substr(9);
  }
  Function f = parse_function(text);
  Program p;
  p.functions.push_back(f);
  Step step{.function = 0};
  std::vector<void*> tensors;
  for (bool written : {false, true}) {
    for (BufferId b : f.params) {
      const Buffer& buf = f.buffers[b];
      if (buf.written == written) tensors.push_back(pages(buf.size * size_of(buf.dtype)));
    }
  }
  for (BufferId b : f.params) {
    const Buffer& buf = f.buffers[b];
    step.args.push_back(uint32_t(p.tensors.size()));
    (buf.written ? p.outputs : p.inputs).push_back(step.args.back());
    p.tensors.push_back({.name = buf.name,
                         .kind = buf.written ? TensorKind::Output : TensorKind::Input,
                         .dtype = buf.dtype,
                         .size = buf.size});
  }
  p.steps.push_back(step);
  auto t = make_target(target, 1);
  if (assembly || ir) {
    std::puts(t->emit(p, assembly ? EmitKind::Assembly : EmitKind::LlvmIr).c_str());
    return 0;
  }
  double start = cpu_seconds();
  std::string bytes = t->build(p, "{}");
  double compile = cpu_seconds() - start;
  std::string path = (std::filesystem::temp_directory_path() / fmt::format("loops-{}.so", getpid())).string();
  write_file(path, bytes);
  void* handle = dlopen(path.c_str(), RTLD_NOW);
  std::filesystem::remove(path);
  require(handle != nullptr, "cannot load {}", path);
  auto entry = reinterpret_cast<burnish_model_entry_fn>(dlsym(handle, BURNISH_ENTRY_SYMBOL))();
  MemoryNeeds needs = t->memory(p);
  burnish_host host{nullptr, [](void*, uint32_t) {}, nullptr, nullptr};
  burnish_frame frame{tensors.data(), pages(needs.arena_bytes), nullptr, pages(needs.scratch_bytes), 0, nullptr, 1, 0};
  std::vector<double> times;
  for (double total = 0; total < 1 || times.size() < 5;) {
    double from = cpu_seconds();
    entry->run(&frame, 0, &host);
    times.push_back(cpu_seconds() - from);
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  std::printf("%s: min %.4f ms, median %.4f ms, %zu runs; compiled in %.1f ms, %zu bytes\n", f.name.c_str(),
              times[0] * 1e3, times[times.size() / 2] * 1e3, times.size(), compile * 1e3, bytes.size());
}
