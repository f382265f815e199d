#include "search/explore/shuffle.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "search/explore/rng.h"

namespace burnish::search {

Shuffle::Shuffle(uint64_t count, uint64_t seed) : count_(count) {
  Rng rng(mix(seed ^ 0x73687566666c65u));
  if (count <= 4096) {
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), 0u);
    for (uint64_t i = count; i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
    return;
  }
  while (count > uint64_t{1} << (2 * half_bits_)) ++half_bits_;
  for (uint64_t& k : keys_) k = rng.next();
}

uint64_t Shuffle::at(uint64_t i) const {
  check(i < count_, "there is no number {} of {}", i, count_);
  if (!order_.empty()) return order_[i];
  // A Feistel network permutes the numbers of 2 * half_bits_ bits. Those of count and above are on
  // their way to one below: walking the cycle on permutes the rest (Black and Rogaway 2002). At
  // most 3/4 of the numbers are above.
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = i >> half_bits_, right = i & mask;
    for (const uint64_t key : keys_) {
      left ^= mix(right ^ key) & mask;
      std::swap(left, right);
    }
    i = left << half_bits_ | right;
  } while (i >= count_);
  return i;
}

}  // namespace burnish::search
