// The points of one task as the search sees them: lowered once, their features kept.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "search/cost_model.h"
#include "search/task.h"

namespace burnish::search {

class Candidates {
 public:
  Candidates(const Task& task, const Machine& machine) : task_(&task), machine_(&machine) {}

  struct Entry {
    std::string trace;    // empty: illegal
    std::string refusal;
    Features features;    // of a legal one
  };
  // The entry of a point; made when it is first asked for.
  const Entry& at(const Point& p);
  // The same for many points, on all CPUs.
  void prepare(std::span<const Point> points);
  // Every entry made so far.
  template <class F>
  void each(F f) const {
    for (const auto& [point, entry] : entries_) f(*entry);
  }
  double draft_us(const Point& p) const { return task_->space->draft_us(p); }

 private:
  const Task* task_;
  const Machine* machine_;
  std::map<Point, std::unique_ptr<Entry>> entries_;
};

// Features of a schedule given as text; a reason when it does not fit the stages.
Result<Features> features_of_trace(const StageGroup& g, std::string_view trace, const Machine& m, double draft_us);

// CPUs this process may use.
int cpu_count();

}  // namespace burnish::search
