// The search itself: rounds of asking, measuring, recording and learning over the tasks of a model.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/cost_model.h"
#include "search/measurer.h"
#include "search/records.h"
#include "search/scheduler.h"
#include "search/task.h"

namespace burnish::search {

struct SearchOptions {
  double seconds = 60;         // for rounds; measuring the default schedules counts
  int64_t trials = 0;          // 0: as many as the time allows
  std::string tuner = "xgb";
  uint64_t seed = 0;
  size_t batch = 16;           // candidates of a task in a round
  size_t tasks_a_round = 1;    // more where candidates are compiled while others run
  double least_gain = 0.0001;  // stop when no round is expected to save more than this share of the model's time
  double checked_share = 0.05; // of the candidates that are not the best: their answers are compared as well
  bool resume = false;         // go on from the explorers' saved states
  std::string compiler, machine;  // for the records
};

// What the report needs of a trial.
struct TrialNote {
  int64_t round;          // of its task; -1: the default schedule
  double predicted;       // score before measuring
  bool learned;           // by the model; else by the draft
  double seconds;         // 0: failed
  std::string knobs;
  Status status;
};

struct TaskState {
  const Task* task = nullptr;
  Progress progress;
  int64_t failed = 0;           // trials without a time
  std::string best_knobs, best_trace;
  std::string stopped;          // why nothing more is tried here; empty: something may be
};

struct Snapshot {
  std::span<const TaskState> tasks;
  size_t current = 0;           // the task of the round that has just ended, the first of several
  int64_t trials = 0;
  double elapsed = 0, limit = 0;              // seconds
  double default_seconds = 0, best_seconds = 0;  // of a run of the model: sums over its tasks
};
// Called after every round; false ends the search.
using Observer = std::function<bool(const Snapshot&)>;

struct Finalist {
  std::string trace, knobs;
  double seconds;
};

struct SearchResult {
  std::vector<TaskState> tasks;
  std::vector<std::vector<Finalist>> finalists;  // by task: fastest first, proved, faster than the default
  std::vector<std::vector<TrialNote>> notes;     // by task: what was measured, in order
  int64_t trials = 0;
  double seconds = 0;
  // Of these: choosing candidates, training the model, and measuring, of which the runner's own time.
  double proposing_seconds = 0, learning_seconds = 0, measuring_seconds = 0, running_seconds = 0;
  std::string stopped;                           // why it ended
  std::string model_note;                        // why there is no learned model; empty: there is one
};

// Searches all tasks. `db` may be null (nothing is kept), `model` too (the draft orders candidates).
SearchResult search(std::span<const Task> tasks, const Target& target, Measurer& measurer, CostModel* model,
                    Database* db, const SearchOptions& options, const Observer& observer = {});

// What a search has recorded, as JSON lines without dates: equal for equal searches.
std::string undated_lines(const Database& db);

// The times of earlier records, in the order in which they were taken, for the same candidates asked again: a search
// with the same seed then does the same. Candidates that were never measured are Lost.
std::unique_ptr<Measurer> recorded_measurer(std::vector<Record> records);

}  // namespace burnish::search
