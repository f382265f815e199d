// A space with a landscape made up for tests: rugged but structured, with points that make no sense
// and points that only lowering refuses.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "search/tuner.h"

namespace burnish::search {

class FakeSpace final : public Space {
 public:
  // Knob k has sizes[k] values. `seed` makes the landscape.
  FakeSpace(std::vector<size_t> sizes, uint64_t seed) : seed_(seed) {
    for (size_t k = 0; k < sizes.size(); ++k) {
      Knob knob{"k" + std::to_string(k), {}};
      for (size_t v = 0; v < sizes[k]; ++v)
        knob.values.push_back(int64_t{1} << std::min<size_t>(v, 40));
      knobs_.push_back(std::move(knob));
    }
  }

  const std::vector<Knob>& knobs() const override { return knobs_; }
  Point default_point() const override { return Point(knobs_.size(), 0); }
  Result<Schedule> schedule(const Point&) const override {
    return Reason{"a made-up space has no schedules"};
  }

  // The draft knows the valleys of each knob, not how knobs act on one another, and is off by up to
  // a quarter.
  double draft_us(const Point& p) const override {
    if (!makes_sense(p)) return std::numeric_limits<double>::infinity();
    double cost = 100;
    for (size_t k = 0; k < p.size(); ++k) cost *= 1 + valley(k, p[k]);
    return cost * (1 + 0.25 * noise(p, 3));
  }

  // Seconds of one run; what the draft does not see: pairs of knobs that must match, cliffs,
  // ruggedness of 5%.
  double seconds(const Point& p) const {
    double cost = 100e-6;
    for (size_t k = 0; k < p.size(); ++k) cost *= 1 + valley(k, p[k]);
    for (size_t k = 0; k + 1 < p.size(); k += 2) {
      const double a = place(k, p[k]), b = place(k + 1, p[k + 1]);
      cost *= 1 + 0.8 * std::abs(a + b - 1 + 0.4 * (unit(k, 11) - 0.5));
      if (a * b > 0.7) cost *= 1.5;
    }
    return cost * (1 + 0.05 * noise(p, 5));
  }

  bool makes_sense(const Point& p) const { return all_legal_ || noise(p, 7) > illegal_; }
  // What lowering finds out.
  bool lowers(const Point& p) const { return makes_sense(p) && (all_legal_ || noise(p, 9) > 0.05); }

  FakeSpace& illegal(double share) {
    illegal_ = share;
    all_legal_ = share == 0;
    return *this;
  }

  Oracle oracle() const {
    Oracle o;
    o.space = this;
    o.score = [this](std::span<const Point> points) {
      std::vector<double> scores;
      for (const Point& p : points) scores.push_back(-draft_us(p));
      return scores;
    };
    o.legal = [this](const Point& p) { return lowers(p); };
    return o;
  }

 private:
  static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
  }
  double unit(uint64_t a, uint64_t b) const {
    return static_cast<double>(mixed(seed_ * 0x9e3779b97f4a7c15u + mixed(a * 131 + b)) >> 11) *
           0x1p-53;
  }
  double noise(const Point& p, uint64_t salt) const {
    uint64_t h = salt;
    for (const uint16_t v : p) h = mixed(h * 1099511628211u + v + 1);
    return unit(h, salt);
  }
  double place(size_t knob, uint16_t v) const {
    const size_t n = knobs_[knob].values.size();
    return n < 2 ? 0 : static_cast<double>(v) / static_cast<double>(n - 1);
  }
  // A bowl per knob, with its own place and depth.
  double valley(size_t knob, uint16_t v) const {
    const double away = place(knob, v) - unit(knob, 1);
    return (0.2 + 2 * unit(knob, 2)) * away * away;
  }

  std::vector<Knob> knobs_;
  uint64_t seed_;
  double illegal_ = 0.15;
  bool all_legal_ = false;
};

}  // namespace burnish::search
