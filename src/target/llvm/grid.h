// A space whose points stand for choices: a struct of numbers from which a schedule is made.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "target/space.h"

namespace burnish::llvm_target {

template <class Choice>
class Grid : public Space {
 public:
  using Build = std::function<Result<Schedule>(const Choice&)>;
  using Draft = std::function<double(const Choice&)>;  // infinite for choices that make no sense

  // `initial`: what is taken without tuning.
  Grid(Choice initial, Build build, Draft draft)
      : initial_(std::move(initial)), build_(std::move(build)), draft_(std::move(draft)) {}

  // A knob: where the choice keeps it, and what it may be besides the initial value. Nothing to choose: no knob.
  void add(std::string name, std::function<int64_t&(Choice&)> at, std::vector<int64_t> values) {
    const int64_t first = at(initial_);
    values.push_back(first);
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    if (values.size() < 2) return;
    const auto place = std::find(values.begin(), values.end(), first) - values.begin();
    default_.push_back(static_cast<uint16_t>(place));
    knobs_.push_back({std::move(name), std::move(values)});
    at_.push_back(std::move(at));
  }

  Choice choice(const Point& p) const {
    check(p.size() == knobs_.size(), "a point of {} knobs in a space of {}", p.size(), knobs_.size());
    Choice c = initial_;
    for (size_t i = 0; i < p.size(); ++i) {
      check(p[i] < knobs_[i].values.size(), "knob {} has no value number {}", knobs_[i].name, p[i]);
      at_[i](c) = knobs_[i].values[p[i]];
    }
    return c;
  }

  const std::vector<Knob>& knobs() const override { return knobs_; }
  Point default_point() const override { return default_; }
  Result<Schedule> schedule(const Point& p) const override { return build_(choice(p)); }
  double draft_us(const Point& p) const override { return draft_(choice(p)); }

 private:
  Choice initial_;
  Build build_;
  Draft draft_;
  std::vector<Knob> knobs_;
  std::vector<std::function<int64_t&(Choice&)>> at_;
  Point default_;
};

}  // namespace burnish::llvm_target
