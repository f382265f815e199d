// Winners are made inside the whole model: found schedules against the default ones, in turns.
#pragma once

#include <string>
#include <vector>

#include "driver/model_tasks.h"
#include "search/measurer.h"
#include "search/search.h"

namespace burnish {

struct ModelRace {
  struct Entry {
    std::string trace, knobs;          // of the winner; empty: the default schedule won
    double default_seconds = 0, tuned_seconds = 0;  // of all its steps in a run; 0: was not compared
  };
  std::vector<Entry> tasks;
  double default_seconds = 0, tuned_seconds = 0, speedup = 1, noise = 0;  // of whole runs
  std::string note;                    // why nothing is used although something was found
};

// `finalists` by task, fastest first. `plain`: the model with the default cuts and algorithms, where `m` has others;
// whole runs are compared with it. `seconds`: about how long the comparison may take, building not counted.
ModelRace race_in_model(const ModelTasks& m, const std::vector<std::vector<search::Finalist>>& finalists,
                        const ModelTasks* plain, double seconds, const search::MeasureOptions& options);

}  // namespace burnish
