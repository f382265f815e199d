// What HTML reports are made of: text, numbers for people, plots as SVG, the page around them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace burnish::report {

// For HTML text and attributes in double quotes. What is no UTF-8, and control characters, become
// U+FFFD.
std::string escaped(std::string_view text);

std::string time_text(double seconds);               // "1.234 ms", "56.7 µs"; "–" for none
std::string gain_text(double before, double after);  // "1.23×"
std::string percent_text(double share);              // "12.3%"
std::string number_text(double value);  // up to three digits that count: "0.25", "1000"

// Maps lo..hi, 0 < lo < hi when logarithmic, to from..to. Values outside are moved to its nearest
// end.
struct Scale {
  double lo, hi, from, to;
  bool logarithmic = false;

  double at(double value) const;
  std::vector<double> ticks(int most) const;  // round numbers within lo..hi
};

struct Spot {
  double x, y;
};

// One SVG with two axes. Its text is what a screen reader says.
class Plot {
 public:
  struct Size {
    double width, height, left = 46, right = 10, top = 10, bottom = 34;
  };
  // lo and hi of the scales are the caller's; where they lie follows from the size.
  Plot(const Size& size, Scale x, Scale y);

  void axes(std::string_view x_label, std::string_view y_label, int x_ticks = 5, int y_ticks = 4);
  void line(const std::vector<Spot>& spots, std::string_view css);
  void dots(const std::vector<Spot>& spots, std::string_view css);  // one path, however many
  void circle(Spot spot, double radius, std::string_view css, std::string_view tooltip);
  void cell(Spot low, Spot high, double opacity, std::string_view tooltip);
  void label(Spot spot, double dx, double dy, std::string_view text,
             std::string_view anchor = "start");

  std::string text(std::string_view description) const;

 private:
  double x_at(double v) const { return x_.at(v); }
  double y_at(double v) const { return y_.at(v); }

  Size size_;
  Scale x_, y_;
  std::string body_;
};

// A table's cell, and its row of headings; the text is HTML.
std::string cell(std::string_view html, std::string_view css = "");
std::string heads(std::initializer_list<std::string_view> names);
// The first nodes of a kernel that has many.
std::string sources_text(const std::vector<std::string>& sources);
// "<dt>term</dt><dd>value</dd>" for a <dl>; empty where there is no value.
std::string entry(std::string_view term, std::string_view value);

// A whole document that loads and runs nothing; well-formed XML, too. `header` and `main` are HTML.
std::string page(std::string_view title, std::string_view header, std::string_view main);

}  // namespace burnish::report
