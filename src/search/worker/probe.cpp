#include "search/worker/probe.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace burnish::search {

namespace {

// 16 chains of multiply-adds: bound by the units of arithmetic, as long as the compiler keeps them in registers.
float arithmetic(float x) {
  float a[16];
  for (int i = 0; i < 16; ++i) a[i] = x + static_cast<float>(i);
  for (int n = 0; n < 8000; ++n) {
    for (float& v : a) v = v * 0.999f + 0.001f;
  }
  float sum = 0;
  for (float v : a) sum += v;
  return sum;
}

uint64_t memory(std::vector<uint64_t>& words) {
  uint64_t sum = 0;
  for (uint64_t& w : words) {
    sum += w;
    w = sum;
  }
  return sum;
}

}  // namespace

double probe() {
  std::vector<uint64_t> words(8192, 1);  // 64 KB: past the first cache
  volatile uint64_t keep = 0;  // what is not used may not be computed
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const float f = arithmetic(static_cast<float>(words[0]));
    keep = keep + memory(words) + static_cast<uint64_t>(f);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace burnish::search
