// Independent FMAs in registers, nothing else; and sums over memory as large as a cache, or larger
// than all.
#include "base/clock.h"
#include "driver/peak.h"

#include <burnish/runtime.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

namespace burnish {

namespace {

// Threads that take turns on a CPU would each be measured in their own turn, and counted as if at
// once.
unsigned at_once(unsigned threads) { return std::clamp(threads, 1u, burnish_cpu_count()); }

// `accumulators` independent chains of 16 lanes hide the latency; the compiler picks the machine's
// vectors.
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
  double best = 0;
  volatile float sink = 1;
  const auto start = Clock::now();
  while (since(start) < 0.1) {
    const auto before = Clock::now();
    sink = fma_rounds(sink);
    best = std::max(best, 16.0 * accumulators * rounds / since(before));
  }
  return best;
}

using Words = uint64_t __attribute__((vector_size(64)));

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "arch=haswell", "default")))
#endif
uint64_t
sum_of(const Words* words, size_t count) {
  Words sum[4] = {};
  for (size_t i = 0; i + 4 <= count; i += 4) {
    for (size_t k = 0; k < 4; ++k) sum[k] += words[i + k];
  }
  const Words all = sum[0] + sum[1] + sum[2] + sum[3];
  return all[0] + all[7];
}

// Four times the last cache, which serves nearly nothing then.
size_t bytes_beyond_caches() {
  const long cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::clamp(size_t(std::max(0L, cache)) * 4, size_t{128} << 20, size_t{512} << 20);
}

// Memory on 2 MB pages where the system has them, as weights and arena are: smaller pages would
// measure how addresses are translated.
struct HugePages {
  explicit HugePages(size_t count) {
    constexpr size_t page = size_t{2} << 20;
    const size_t bytes = (count * sizeof(Words) + page - 1) / page * page;
    words = static_cast<Words*>(std::aligned_alloc(page, bytes));
    if (!words) throw std::bad_alloc();
    ::madvise(words, bytes, MADV_HUGEPAGE);
    std::fill_n(words, count, Words{} + 1);
  }
  HugePages(const HugePages&) = delete;
  ~HugePages() { std::free(words); }
  Words* words;
};

// Bytes per second that the threads read together, each over and over in `each` bytes of its own.
double read_rate(unsigned threads, size_t each) {
  each = std::max<size_t>(1, each / sizeof(Words));
  constexpr int passes = 6;
  // Long enough against meeting.
  const size_t repeats = std::max<size_t>(1, (size_t{16} << 20) / sizeof(Words) / each);
  const HugePages memory(each * threads);
  std::barrier meeting(static_cast<std::ptrdiff_t>(threads));
  double best = 0;
  const auto work = [&](unsigned t) {
    for (int pass = 0; pass < passes; ++pass) {
      meeting.arrive_and_wait();
      const auto start = Clock::now();
      for (size_t r = 0; r < repeats; ++r) {
        volatile uint64_t sink = sum_of(memory.words + each * t, each);
        static_cast<void>(sink);
      }
      meeting.arrive_and_wait();  // all of them: the slowest thread counts
      if (t == 0)
        best = std::max(best, double(repeats * each * threads * sizeof(Words)) / since(start));
    }
  };
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& t : others) t.join();
  return best;
}

}  // namespace

double measured_peak(unsigned threads) {
  std::vector<double> rates(at_once(threads));
  std::vector<std::thread> others;
  for (unsigned t = 1; t < rates.size(); ++t)
    others.emplace_back([&rates, t] { rates[t] = best_rate(); });
  rates[0] = best_rate();
  for (std::thread& t : others) t.join();
  double sum = 0;
  for (double r : rates) sum += r;
  return sum;
}

double measured_bandwidth(unsigned threads) {
  threads = at_once(threads);
  return read_rate(threads, bytes_beyond_caches() / threads);
}

Roofs measured_roofs(unsigned threads) {
  const auto cache = [](int name) { return std::max<int64_t>(0, ::sysconf(name)); };
  return measured_roofs(threads, cache(_SC_LEVEL1_DCACHE_SIZE), cache(_SC_LEVEL2_CACHE_SIZE),
                        cache(_SC_LEVEL3_CACHE_SIZE));
}

Roofs measured_roofs(unsigned threads, int64_t l1, int64_t l2, int64_t l3) {
  threads = at_once(threads);
  Roofs roofs{.macs_per_second = measured_peak(threads),
              .l1_bytes = l1 * threads,
              .l2_bytes = l2 * threads,
              .l3_bytes = l3};
  try {
    roofs.bytes_per_second = measured_bandwidth(threads);
    // More than the cache before holds, and no more than half of the cache, which others may use.
    if (l1 > 0 && l2 >= 8 * l1)
      roofs.l2_bytes_per_second = read_rate(threads, static_cast<size_t>(l2 / 2));
    if (l2 > 0 && l3 >= 8 * l2 * threads)
      roofs.l3_bytes_per_second = read_rate(threads, static_cast<size_t>(4 * l2));
  } catch (const std::bad_alloc&) {
    // Too little memory to measure it.
  }
  return roofs;
}

}  // namespace burnish
