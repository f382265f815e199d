// Explorers of one space: ask for points, tell what they took. Their whole state can be saved as
// text, so that a search goes on in another process, or measures elsewhere.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "search/task.h"

namespace burnish::search {

// What an explorer may ask about points that were not measured.
struct Oracle {
  const Space* space = nullptr;
  // Higher is better, by the learned model or, before there is one, the draft; -infinity: illegal.
  // May be called with thousands of points.
  std::function<std::vector<double>(std::span<const Point>)> score;
  // Does it lower? Cheaper than a score where the draft is enough.
  std::function<bool(const Point&)> legal;
};

class Tuner {
 public:
  virtual ~Tuner() = default;
  virtual std::string_view name() const = 0;
  // Up to `n` legal points that were not asked for before, the most promising first. Fewer when the
  // space runs out, or when 100,000 points that were looked at held no more legal ones.
  virtual std::vector<Point> ask(size_t n, const Oracle& oracle) = 0;
  // Outcomes of points, asked for or not (records of earlier searches are told too).
  virtual void tell(std::span<const Trial> trials) = 0;
  virtual std::string state() const = 0;  // JSON
  virtual void
  restore(std::string_view state) = 0;  // UserError when it is no state of this kind of tuner
};

// "xgb" (annealing on the learned model), "anneal" (on the draft), "genetic", "random", "grid".
// UserError lists them.
std::unique_ptr<Tuner> make_tuner(std::string_view kind, std::shared_ptr<const Space> space,
                                  uint64_t seed);
std::vector<std::string_view> tuner_names();

}  // namespace burnish::search
