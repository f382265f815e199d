// Other cuts of chains and other algorithms than the target's estimates have chosen, measured
// inside the model.
#pragma once

#include <string>
#include <vector>

#include "driver/library_race.h"
#include "driver/model_tasks.h"

namespace burnish {

// What steps came to be once they changed together: equal groups are, and what is made of the same
// nodes.
struct Change {
  GroupHashes groups;                // that are avoided now, or were until now
  std::vector<std::string> sources;  // nodes of the model
  double before = 0, after = 0;      // seconds of all their steps in a run
};

struct Alternatives {
  ModelTasks model;             // as it is fastest
  std::vector<Change> changes;  // from the model as it was given; none: it stays
  Speedup speedup;              // of whole runs; ratio 1 without changes
};

// Whether race_alternatives has anything to try: a choice in a task that weighs enough.
bool has_alternatives(const ModelTasks& m);

// In rounds: libraries of the model as it is and with choices of its heavy tasks avoided run in
// turns, step by step; what became faster stays. At the end whole runs decide between the first and
// the last. Choices that `m` avoids already are tried again first. `seconds`: about how long
// running may take in all; `deadline`: in seconds from now, when no further round begins.
Alternatives race_alternatives(const ModelTasks& m, const Scheduler& scheduler, double seconds,
                               double deadline, const search::MeasureOptions& options);

// Exposed for tests: the changes between two graphs of one model, with medians of their steps.
std::vector<Change> changes_between(const ModelTasks& a, const std::vector<double>& seconds_a,
                                    const ModelTasks& b, const std::vector<double>& seconds_b,
                                    const GroupHashes& toggled);

}  // namespace burnish
