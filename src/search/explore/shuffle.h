// The numbers 0 to count-1 in a random order that needs no memory of what was drawn, whatever the
// count.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace burnish::search {

class Shuffle {
 public:
  Shuffle(uint64_t count, uint64_t seed);
  uint64_t at(uint64_t i) const;  // i < count

 private:
  uint64_t count_;
  std::vector<uint32_t> order_;  // small counts: Fisher and Yates's shuffle
  int half_bits_ = 1;            // others: a Feistel network over 2 * half_bits_ bits
  std::array<uint64_t, 6> keys_{};
};

}  // namespace burnish::search
