#include "base/clock.h"
#include "search/worker/probe.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace burnish::search {

namespace {

using Lanes __attribute__((vector_size(16))) = float;

// Eight chains of multiplies and adds, in registers.
float arithmetic(float x) {
  Lanes a[8];
  for (int i = 0; i < 8; ++i) a[i] = Lanes{x, x + 1, x + 2, x + 3} + static_cast<float>(i);
  Lanes b = a[0], c = a[1], d = a[2], e = a[3], f = a[4], g = a[5], h = a[6], k = a[7];
  const auto step = [](Lanes v) { return v * 0.999f + 0.001f; };
  for (int n = 0; n < 4000; ++n) {
    b = step(b), c = step(c), d = step(d), e = step(e), f = step(f), g = step(g), h = step(h), k = step(k);
  }
  const Lanes sum = b + c + d + e + f + g + h + k;
  return sum[0] + sum[1] + sum[2] + sum[3];
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
    const auto start = Clock::now();
    const float f = arithmetic(static_cast<float>(words[0]));
    keep = keep + memory(words) + static_cast<uint64_t>(f);
    best = std::min(best, since(start));
  }
  return best;
}

}  // namespace burnish::search
