#include "target/space.h"

#include <fmt/format.h>

#include "base/error.h"

namespace burnish {

int64_t size_of(const Space& s) {
  constexpr int64_t most = int64_t{1} << 62;
  int64_t n = 1;
  for (const Knob& k : s.knobs()) {
    const auto values = static_cast<int64_t>(k.values.size());
    if (values > 1 && n > most / values) return most;
    n *= values;
  }
  return n;
}

Point point_at(const Space& s, int64_t n) {
  check(n >= 0 && n < size_of(s), "there is no point {} of {}", n, size_of(s));
  const std::vector<Knob>& knobs = s.knobs();
  Point p(knobs.size());
  for (size_t i = knobs.size(); i-- > 0;) {
    const auto values = static_cast<int64_t>(knobs[i].values.size());
    p[i] = static_cast<uint16_t>(n % values);
    n /= values;
  }
  return p;
}

std::string text_of(const Space& s, const Point& p) {
  const std::vector<Knob>& knobs = s.knobs();
  check(p.size() == knobs.size(), "a point of {} knobs in a space of {}", p.size(), knobs.size());
  std::string text;
  for (size_t i = 0; i < knobs.size(); ++i) {
    text += fmt::format("{}{}={}", i ? " " : "", knobs[i].name, knobs[i].values.at(p[i]));
  }
  return text;
}

}  // namespace burnish
