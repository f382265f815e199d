// From candidates to times. One interface for worker processes on this machine, for recorded times, and later for
// other machines.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/task.h"

namespace burnish::search {

struct Candidate {
  const Task* task;
  std::string trace;    // a schedule of task->group, as text
  bool check = false;   // prove its loops, and compare the answer whatever the time
  // Seconds: compare also when the median is below, and below those of the same task before it: it would become the best.
  double check_below = 0;
};

class Measurer {
 public:
  virtual ~Measurer() = default;
  // One outcome a candidate, in order. Never throws for what a candidate does; UserError when measuring is impossible
  // at all (no worker program, no memory).
  virtual std::vector<Outcome> measure(std::span<const Candidate> candidates) = 0;
};

struct MeasureOptions {
  int builders = 0;              // processes that compile; 0: as many as CPUs
  double build_timeout = 10;     // seconds
  double run_timeout = 5;        // seconds, of a candidate's whole measurement
  uint64_t memory_bytes = uint64_t{4} << 30;  // address space that a worker may add to its own
  double min_time = 0.005;       // seconds of counted runs a candidate
  int min_repeats = 3;
  bool cold_weights = true;      // constants come from memory, as they do in a model larger than the caches
  bool device = false;           // candidates run on a device, not in the worker's own memory
  std::string worker;            // the program; empty: found beside this one (BURNISH_WORKER overrides)
};

// Measures in worker processes: some that compile, one that runs, never both at a time unless it is on a device.
std::unique_ptr<Measurer> local_measurer(std::shared_ptr<const Target> target, const MeasureOptions& options);

// Whole libraries against each other: runs them in turns for `seconds`, on the same random inputs, in a worker process.
// Seconds of every step (by library, then step: medians) and of whole runs (all of them, in order).
struct Comparison {
  std::vector<std::vector<double>> steps;
  std::vector<std::vector<double>> runs;
  // By library: the largest difference of its outputs from the first library's, over the root mean square of the output;
  // infinite where one has a NaN, an infinity or a tensor that the other has not.
  std::vector<double> deviation;
};
Result<Comparison> compare_libraries(const std::vector<std::string>& paths, int threads, double seconds, bool steps,
                                     const MeasureOptions& options);

}  // namespace burnish::search
