// The fused inverted residual of chain.h, natively: milliseconds and per cent of the FMA peak, on one and two threads.
#include "chain.h"

#include <burnish/abi.h>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <thread>

#include "base/text.h"
#include "loop/program.h"
#include "target/target.h"

using namespace burnish;

namespace {

// Memory in pages of 2 MB, as the runtime's arenas are.
float* pages(int64_t floats) {
  size_t bytes = (size_t(floats) * 4 + (4 << 20)) >> 21 << 21;
  void* p = mmap(nullptr, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto at = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(p) + (2 << 20) - 1) >> 21 << 21);
  madvise(at, bytes, MADV_HUGEPAGE);
  std::fill_n(static_cast<float*>(at), bytes / 4, 0.01f);
  return static_cast<float*>(at);
}

// Time of this thread on its core: on one thread what the code costs, whatever else the machine does.
double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int count = 0;

double run(const chain::Shape& shape, const chain::Options& options, const Target& t, bool print) {
  Schedule s = chain::schedule(chain::group(shape), options);
  Function f = lower(s).expect("the chain lowers");
  if (print) std::puts(to_text(f).c_str());
  Program p;
  p.functions.push_back(f);
  Step step{.function = 0};
  std::vector<void*> tensors;
  for (bool written : {false, true}) {
    for (BufferId b : f.params) {
      if (f.buffers[b].written == written) tensors.push_back(pages(f.buffers[b].size));
    }
  }
  for (BufferId b : f.params) {
    const Buffer& buf = f.buffers[b];
    step.args.push_back(uint32_t(p.tensors.size()));
    (buf.written ? p.outputs : p.inputs).push_back(step.args.back());
    p.tensors.push_back({.name = buf.name, .kind = buf.written ? TensorKind::Output : TensorKind::Input, .size = buf.size});
  }
  p.steps.push_back(step);
  if (print) std::puts(t.emit(p, EmitKind::Assembly).c_str());
  std::string path = (std::filesystem::temp_directory_path() / fmt::format("chain-{}-{}-{}.so", getpid(), options.rows, ++count)).string();
  auto start = std::chrono::steady_clock::now();
  std::string bytes = t.build(p, "{}");
  double compile = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file(path, bytes);
  void* handle = dlopen(path.c_str(), RTLD_NOW);
  auto entry = reinterpret_cast<burnish_model_entry_fn>(dlsym(handle, BURNISH_ENTRY_SYMBOL))();
  std::filesystem::remove(path);
  MemoryNeeds needs = t.memory(p);
  uint64_t stride = (uint64_t(needs.scratch_bytes) + 4095) / 4096 * 4096 + 128;
  unsigned threads = unsigned(options.threads);
  float* scratch = pages(int64_t(stride * threads / 4 + 64));
  std::barrier<> barrier{std::ptrdiff_t(threads)};
  burnish_host host{&barrier, [](void* b, uint32_t) { static_cast<std::barrier<>*>(b)->arrive_and_wait(); }, nullptr, nullptr};
  burnish_frame frame{tensors.data(), scratch, entry->weights, scratch, stride, nullptr, threads, 0};
  constexpr int runs = 100;
  std::vector<double> times;
  auto now = threads == 1 ? cpu_seconds : wall_seconds;
  auto work = [&](uint32_t thread) {
    for (int i = 0; i < runs; ++i) {
      double from = now();
      entry->run(&frame, thread, &host);
      if (thread == 0) times.push_back(now() - from);
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back(work, i);
    work(0);
  }
  std::sort(times.begin(), times.end());
  double rows = double((shape.height - 1) / shape.stride + 1) * double((shape.width - 1) / shape.stride + 1);
  double flops = 2.0 * (double(shape.height * shape.width * shape.inputs * shape.expanded) + rows * 9 * double(shape.expanded) +
                        rows * double(shape.expanded * shape.outputs));
  std::printf("%ld-%ld-%ld %ldx%ld/%ld R=%ld threads=%u tile=%ld,%ld: min %.3f ms, median %.3f ms, %.1f GFLOP/s (compiled in %.1f ms)\n",
              shape.inputs, shape.expanded, shape.outputs, shape.height, shape.width, shape.stride, options.rows, threads,
              options.columns, options.expand_columns, times[0] * 1e3, times[runs / 2] * 1e3, flops / times[0] / 1e9, compile * 1e3);
  return times[0];
}

}  // namespace

int main(int argc, char** argv) {
  auto t = make_target("native", 1);
  bool print = argc > 1 && !std::strcmp(argv[1], "--text");
  if (print) {
    run({}, {.rows = 2, .threads = 1}, *t, true);
    return 0;
  }
  for (int64_t threads : {1, 2}) {
    for (int64_t rows : {1, 2, 4}) run({}, {.rows = rows, .threads = threads}, *t, false);
  }
  run({}, {.rows = 2, .threads = 1, .columns = 8, .expand_columns = 14}, *t, false);
  run({.height = 68, .width = 116, .inputs = 32, .expanded = 192, .outputs = 32}, {.rows = 2, .threads = 1}, *t, false);
  run({.height = 272, .width = 464, .inputs = 16, .expanded = 96, .outputs = 24, .stride = 2}, {.rows = 2, .threads = 1}, *t, false);
}
