// Points of a space as numbers: cheap to keep, compare and change one knob of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "target/space.h"

namespace burnish::search {

// The number of a point is that of point_at: the last knob counts fastest.
class Lattice {
 public:
  explicit Lattice(const Space& space);  // UserError when it has 2^62 points or more

  uint64_t count() const { return count_; }
  size_t knobs() const { return sizes_.size(); }
  uint64_t values(size_t knob) const { return sizes_[knob]; }
  // Knobs that have a choice.
  const std::vector<size_t>& choices() const { return choices_; }

  uint64_t value(uint64_t point, size_t knob) const {
    return point / strides_[knob] % sizes_[knob];
  }
  uint64_t with(uint64_t point, size_t knob, uint64_t v) const {
    return point + (v - value(point, knob)) * strides_[knob];  // wraps and wraps back
  }
  Point point(uint64_t number) const;
  std::optional<uint64_t>
  number(const Point& p) const;  // nothing when it is no point of this space

  // Names and values of the knobs, hashed: what a saved state must agree with.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  std::vector<uint64_t> sizes_, strides_;
  std::vector<size_t> choices_;
  uint64_t count_ = 1;
  std::string fingerprint_;
};

}  // namespace burnish::search
