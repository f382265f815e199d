#include "driver/report_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace burnish::report {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// Bytes of the UTF-8 character that `text` begins with; 0 where it is none, or none that XML
// allows.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80)
    return first >= 0x20 && first != 0x7f ? 1 : first == '\n' || first == '\t' ? 1 : 0;
  const size_t length = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
  uint32_t code = length == 0 ? 0 : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000, no_character = (code & 0xfffe) == 0xfffe;
  return code < least[length] || code > 0x10ffff || surrogate || no_character ? 0 : length;
}

// "12.3", for coordinates.
std::string coordinate(double v) {
  std::string text = fmt::format("{:.1f}", v);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0)
      out += replacement;
    else if (text[0] == '<')
      out += "&lt;";
    else if (text[0] == '>')
      out += "&gt;";
    else if (text[0] == '&')
      out += "&amp;";
    else if (text[0] == '"')
      out += "&quot;";
    else
      out += text.substr(0, length);
    text.remove_prefix(std::max<size_t>(1, length));
  }
  return out;
}

std::string time_text(double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return "–";
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.3f} ms", seconds * 1e3);
  return seconds >= 1e-6 ? fmt::format("{:.1f} µs", seconds * 1e6)
                         : fmt::format("{:.3f} µs", seconds * 1e6);
}

std::string gain_text(double before, double after) {
  return before > 0 && after > 0 ? fmt::format("{:.2f}×", before / after) : "–";
}

std::string percent_text(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f}%", 100 * share) : "–";
}

std::string number_text(double value) {
  if (value == 0 || !std::isfinite(value)) return "0";
  const double size = std::abs(value);
  if (size >= 1e7 || size < 1e-4) return fmt::format("{:.2e}", value);
  const int digits = std::max(0, 2 - static_cast<int>(std::floor(std::log10(size))));
  std::string text = fmt::format("{:.{}f}", value, digits);
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0') text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

double Scale::at(double value) const {
  const double v = std::clamp(value, lo, hi);
  const double part = logarithmic ? std::log(v / lo) / std::log(hi / lo) : (v - lo) / (hi - lo);
  return from + (to - from) * part;
}

std::vector<double> Scale::ticks(int most) const {
  std::vector<double> all;
  if (logarithmic) {
    // 1, 2, 5 of every decade; only 1 where these are too many.
    for (int choice = 0; choice < 2; ++choice) {
      all.clear();
      for (double decade = std::pow(10, std::floor(std::log10(lo))); decade <= hi * 1.0001;
           decade *= 10) {
        for (double m : {1.0, 2.0, 5.0}) {
          if (m > 1 && choice == 1) break;
          if (decade * m >= lo * 0.9999 && decade * m <= hi * 1.0001) all.push_back(decade * m);
        }
      }
      if (static_cast<int>(all.size()) <= most) break;
    }
    return all;
  }
  const double raw = (hi - lo) / most, decade = std::pow(10, std::floor(std::log10(raw)));
  double step = decade * 10;
  for (double m : {5.0, 2.0, 1.0}) {
    if (decade * m >= raw * 0.9999) step = decade * m;
  }
  for (double i = std::ceil(lo / step - 1e-9); i * step <= hi + 1e-9 * step; ++i)
    all.push_back(i * step);
  return all;
}

Plot::Plot(const Size& size, Scale x, Scale y) : size_(size), x_(x), y_(y) {
  x_.from = size.left;
  x_.to = size.width - size.right;
  y_.from = size.height - size.bottom;
  y_.to = size.top;
}

void Plot::axes(std::string_view x_label, std::string_view y_label, int x_ticks, int y_ticks) {
  const std::string left = coordinate(size_.left), right = coordinate(size_.width - size_.right),
                    top = coordinate(size_.top), bottom = coordinate(size_.height - size_.bottom);
  for (double t : y_.ticks(y_ticks)) {
    const std::string y = coordinate(y_at(t));
    body_ +=
        fmt::format(R"(<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>)", left, right, y, y);
    body_ += fmt::format(R"(<text x="{}" y="{}" dy="0.32em" text-anchor="end">{}</text>)",
                         coordinate(size_.left - 5), y, number_text(t));
  }
  for (double t : x_.ticks(x_ticks)) {
    const std::string x = coordinate(x_at(t));
    body_ += fmt::format(R"(<line class="tick" x1="{}" x2="{}" y1="{}" y2="{}"/>)", x, x, bottom,
                         coordinate(size_.height - size_.bottom + 4));
    body_ += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)", x,
                         coordinate(size_.height - size_.bottom + 15), number_text(t));
  }
  body_ += fmt::format(R"(<path class="axis" d="M{} {}V{}H{}"/>)", left, top, bottom, right);
  body_ += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)",
                       coordinate((x_.from + x_.to) / 2), coordinate(size_.height - 4),
                       escaped(x_label));
  body_ += fmt::format(
      R"svg(<text transform="translate(10 {}) rotate(-90)" text-anchor="middle">{}</text>)svg",
      coordinate((y_.from + y_.to) / 2), escaped(y_label));
}

void Plot::line(const std::vector<Spot>& spots, std::string_view css) {
  if (spots.size() < 2) return;
  std::string d;
  for (const Spot& s : spots)
    d +=
        fmt::format("{}{} {}", d.empty() ? 'M' : 'L', coordinate(x_at(s.x)), coordinate(y_at(s.y)));
  body_ += fmt::format(R"(<path class="{}" d="{}"/>)", css, d);
}

void Plot::dots(const std::vector<Spot>& spots, std::string_view css) {
  if (spots.empty()) return;
  std::string d;
  for (const Spot& s : spots)
    d += fmt::format("M{} {}h0", coordinate(x_at(s.x)), coordinate(y_at(s.y)));
  body_ += fmt::format(R"(<path class="{}" d="{}"/>)", css, d);
}

void Plot::circle(Spot s, double radius, std::string_view css, std::string_view tooltip) {
  body_ += fmt::format(R"(<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>)",
                       css, coordinate(x_at(s.x)), coordinate(y_at(s.y)), coordinate(radius),
                       escaped(tooltip));
}

void Plot::cell(Spot low, Spot high, double opacity, std::string_view tooltip) {
  const double left = x_at(low.x), right = x_at(high.x), bottom = y_at(low.y), top = y_at(high.y);
  body_ += fmt::format(
      R"(<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.3f}"><title>{}</title></rect>)",
      coordinate(std::min(left, right)), coordinate(std::min(top, bottom)),
      coordinate(std::abs(right - left)), coordinate(std::abs(top - bottom)), opacity,
      escaped(tooltip));
}

void Plot::label(Spot s, double dx, double dy, std::string_view text, std::string_view anchor) {
  body_ +=
      fmt::format(R"(<text class="mark" x="{}" y="{}" text-anchor="{}">{}</text>)",
                  coordinate(x_at(s.x) + dx), coordinate(y_at(s.y) + dy), anchor, escaped(text));
}

std::string Plot::text(std::string_view description) const {
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>)",
      coordinate(size_.width), coordinate(size_.height), escaped(description), body_);
}

}  // namespace burnish::report
