// The peak of multiply-adds, as this machine reaches it: independent FMAs in registers, nothing else.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "driver/cli/commands.h"

#include <sched.h>

namespace burnish::cli {

namespace {

// `accumulators` independent chains of 16 lanes hide the latency; the compiler picks the machine's vectors.
using Lanes = float __attribute__((vector_size(64)));
constexpr int accumulators = 12, rounds = 2000;

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "arch=haswell", "default")))
#endif
float fma_rounds(float seed) {
  Lanes acc[accumulators];
  for (int i = 0; i < accumulators; ++i) acc[i] = Lanes{} + seed * static_cast<float>(i);
  const Lanes a = Lanes{} + 0.999f, b = Lanes{} + 0.001f;
  for (int r = 0; r < rounds; ++r) {
    for (int i = 0; i < accumulators; ++i) acc[i] = acc[i] * a + b;
  }
  Lanes sum = acc[0];
  for (int i = 1; i < accumulators; ++i) sum += acc[i];
  return sum[0];
}

double best_rate() {
  using clock = std::chrono::steady_clock;
  double best = 0;
  volatile float sink = 1;
  const auto start = clock::now();
  while (std::chrono::duration<double>(clock::now() - start).count() < 0.1) {
    const auto before = clock::now();
    sink = fma_rounds(sink);
    const std::chrono::duration<double> t = clock::now() - before;
    best = std::max(best, 16.0 * accumulators * rounds / t.count());
  }
  return best;
}

}  // namespace

double measured_peak(unsigned threads) {
  // Threads that take turns on a CPU would each be measured in their own turn, and counted as if at once.
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) threads = std::min<unsigned>(threads, std::max(1, CPU_COUNT(&cpus)));
  std::vector<double> rates(threads);
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) others.emplace_back([&rates, t] { rates[t] = best_rate(); });
  rates[0] = best_rate();
  for (std::thread& t : others) t.join();
  double sum = 0;
  for (double r : rates) sum += r;
  return sum;
}

}  // namespace burnish::cli
