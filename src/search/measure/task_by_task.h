// The order in which candidates run while others are compiled.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "search/measurer.h"

namespace burnish::search {

// Hands on what becomes ready, as soon as it does, but nothing before all candidates of the tasks before its own: a
// task's tensors stay on the device from one candidate to the next. Candidates of a task lie next to each other.
template <class Ready>
class TaskByTask {
 public:
  using Next = std::function<void(size_t candidate, Ready& ready)>;

  TaskByTask(std::span<const Candidate> candidates, Next next)
      : candidates_(candidates), next_(std::move(next)), waiting_(candidates.size()), gone_(candidates.size()) {}

  void add(size_t candidate, Ready&& ready) {
    waiting_[candidate] = std::move(ready);
    while (first_ < candidates_.size()) {
      bool all = true;
      size_t i = first_;
      for (; i < candidates_.size() && candidates_[i].task == candidates_[first_].task; ++i) {
        if (waiting_[i]) {
          next_(i, *waiting_[i]);
          waiting_[i].reset();
          gone_[i] = true;
        }
        all &= gone_[i];
      }
      if (!all) return;
      first_ = i;
    }
  }

 private:
  std::span<const Candidate> candidates_;
  Next next_;
  std::vector<std::optional<Ready>> waiting_;
  std::vector<bool> gone_;
  size_t first_ = 0;  // of the task whose turn it is
};

}  // namespace burnish::search
