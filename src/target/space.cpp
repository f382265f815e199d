#include "target/space.h"

#include <fmt/format.h>


#include "base/error.h"
#include "base/text.h"

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
    text += fmt::format("{}{}={}", i ? " " : "", knobs[i].name, knobs[i].text(p[i]));
  }
  return text;
}

std::optional<Point> parse_point(const Space& s, std::string_view text) {
  const std::vector<Knob>& knobs = s.knobs();
  const std::vector<std::string> words = text.empty() ? std::vector<std::string>{} : split_text(text, ' ');
  if (words.size() != knobs.size()) return std::nullopt;
  Point p;
  for (size_t i = 0; i < knobs.size(); ++i) {
    const std::string_view word = words[i];
    if (!word.starts_with(knobs[i].name) || !word.substr(knobs[i].name.size()).starts_with('=')) return std::nullopt;
    const std::string_view value = word.substr(knobs[i].name.size() + 1);
    size_t at = 0;
    while (at < knobs[i].values.size() && knobs[i].text(at) != value) ++at;
    if (at == knobs[i].values.size()) return std::nullopt;
    p.push_back(static_cast<uint16_t>(at));
  }
  return p;
}

}  // namespace burnish
