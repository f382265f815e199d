// One task of a search: its explorer, and what is known of its points.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "search/candidates.h"
#include "search/search.h"
#include "search/statistics.h"
#include "search/tuner.h"

namespace burnish::search {

double seconds_of(const Outcome& o);  // infinite for what failed

class TaskSearch {
 public:
  // `group`: the task's number among those that a model learns from.
  TaskSearch(const Task& task, const Target& target, uint32_t group, const SearchOptions& o);

  const Task& task() const { return *state.task; }
  double default_draft() const { return task().space ? task().space->draft_us(task().space->default_point()) : 1; }

  void exhaust(std::string why);
  // Counts a trial, whoever asked for it.
  void learn(const Trial& t, const std::string& knobs, const Features& features);
  // The same of an earlier search's.
  void recall(const Record& r, const Machine& m);

  // What the explorer may ask, of `learned` or, where that is null, of the draft. While this lives.
  Oracle oracle(const CostModel* learned);
  // What the model promises of the points that were looked at and not measured.
  double predicted_gain(const CostModel& learned) const;

  struct Times {
    std::vector<double> seconds;
    std::string knobs;
    bool proved = false;  // in this search: its loops, and its answer
    double median() const { return search::median(seconds); }
  };

  TaskState state;
  Candidates candidates;
  std::unique_ptr<Tuner> tuner;
  std::string state_key;
  std::vector<Sample> samples;
  std::vector<TrialNote> notes;           // for the report
  std::map<std::string, Times> measured;  // by trace
  std::set<std::string> raced;            // traces
  Trial fallback;                         // the default schedule

 private:
  uint32_t group_;
};

}  // namespace burnish::search
