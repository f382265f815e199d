// Whose turn it is: time goes to the task from which the whole model has most to gain.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace burnish::search {

// What the scheduler knows about a task. Seconds of one run.
struct Progress {
  double weight = 1;
  double default_seconds = 0;  // of the untuned schedule; 0: not measured yet
  double best_seconds = 0;
  std::vector<double> history;     // best so far after every batch
  int64_t trials = 0, points = 0;  // measured, and in the space
  double predicted_gain =
      0;  // share of best_seconds that the model expects still to win (0: nothing or no model)
  bool exhausted = false;  // nothing more to ask
};

// The tasks, `most` at most, whose next batches are expected to save most time of a run of the
// model, the first most of all; none when no task is expected to save more than `least_gain` of the
// model's time (its weighted sum of best times).
std::vector<size_t> next_tasks(std::span<const Progress> tasks, double least_gain, size_t most = 1);

// Expected saving of another batch, in seconds of a run of the model.
double expected_gain(const Progress& p);

}  // namespace burnish::search
