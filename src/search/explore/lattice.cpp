#include "search/explore/lattice.h"

#include <fmt/format.h>

#include "base/error.h"
#include "search/task.h"

namespace burnish::search {

Lattice::Lattice(const Space& space) {
  const std::vector<Knob>& knobs = space.knobs();
  require(size_of(space) < int64_t{1} << 62,
          "a space of {} knobs has 2^62 points or more; give it fewer values", knobs.size());
  std::string text;
  for (size_t i = 0; i < knobs.size(); ++i) {
    require(knobs[i].values.size() <= 65536, "the knob {} has {} values; 65536 are possible",
            knobs[i].name, knobs[i].values.size());
    sizes_.push_back(knobs[i].values.size());
    if (sizes_[i] > 1) choices_.push_back(i);
    text += knobs[i].name + "=";
    for (size_t v = 0; v < knobs[i].values.size(); ++v) text += (v ? "," : "") + knobs[i].text(v);
    text += ";";
  }
  strides_.resize(sizes_.size());
  for (size_t i = sizes_.size(); i-- > 0;) {
    strides_[i] = count_;
    count_ *= sizes_[i];
  }
  fingerprint_ = hash_text(text);
}

Point Lattice::point(uint64_t number) const {
  Point p(sizes_.size());
  for (size_t i = 0; i < p.size(); ++i) p[i] = static_cast<uint16_t>(value(number, i));
  return p;
}

std::optional<uint64_t> Lattice::number(const Point& p) const {
  if (p.size() != sizes_.size()) return std::nullopt;
  uint64_t number = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] >= sizes_[i]) return std::nullopt;
    number += p[i] * strides_[i];
  }
  return number;
}

}  // namespace burnish::search
