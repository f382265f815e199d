// Random numbers that are the same with every compiler and standard library: splitmix64 (Steele,
// Lea, Flood 2014).
#pragma once

#include <cmath>
#include <cstdint>

namespace burnish::search {

// A bijection of 64-bit numbers whose outputs look independent.
inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Rng {
 public:
  explicit Rng(uint64_t state) : state_(state) {}

  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }

  // Uniform in [0, n), n > 0: numbers of n's length, until one is small enough.
  uint64_t below(uint64_t n) {
    uint64_t mask = n - 1;
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    for (;;) {
      const uint64_t x = next() & mask;
      if (x < n) return x;
    }
  }

  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  bool chance(double p) { return unit() < p; }

  // The whole number below or above x that has x as its mean.
  uint64_t round(double x) {
    const double whole = std::floor(x);
    return static_cast<uint64_t>(whole) + (chance(x - whole) ? 1 : 0);
  }

  // About exponential, mean 1: -log2(u) with straight lines between powers of two, since log() may
  // differ by machine.
  double exponential() {
    int e = 0;
    const double m = std::frexp(1 - unit(), &e);
    return 0.6931471805599453 * (2 - 2 * m - e);
  }

  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

}  // namespace burnish::search
