// A schedule space: the loop nests of one group that are worth trying on a target, as points of a small grid.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schedule/schedule.h"

namespace burnish {

// One choice, by name; values mean what the target says (rows of a tile, vectors, 0 and 1 for an order of loops).
struct Knob {
  std::string name;
  std::vector<int64_t> values;
  std::vector<std::string> labels;  // what the values are called, without blanks; empty: they are numbers
  std::string text(size_t value) const { return labels.empty() ? std::to_string(values.at(value)) : labels.at(value); }
  friend bool operator==(const Knob&, const Knob&) = default;
};

// A point of a space: an index into every knob's values.
using Point = std::vector<uint16_t>;

class Space {
 public:
  virtual ~Space() = default;
  virtual const std::vector<Knob>& knobs() const = 0;
  // The point that the target takes without tuning.
  virtual Point default_point() const = 0;
  // The schedule of a point, or why this point makes no sense. Cheap: nothing is lowered, so lowering may still refuse.
  virtual Result<Schedule> schedule(const Point& p) const = 0;
  // The draft: an analytic estimate of the time of one run, in microseconds. Only the order of points matters;
  // infinite for points that make no sense.
  virtual double draft_us(const Point& p) const = 0;
};

// Number of points, at most 2^62.
int64_t size_of(const Space& s);
// The n-th point, with the last knob counting fastest.
Point point_at(const Space& s, int64_t n);
// "rows=6 vectors=2 order=1"
std::string text_of(const Space& s, const Point& p);
// The point that text_of wrote; nothing when the space has no such knobs or values (it may be of another version).
std::optional<Point> parse_point(const Space& s, std::string_view text);

}  // namespace burnish
