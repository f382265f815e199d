// What is searched for: one fused group of a model on one target.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "target/space.h"
#include "target/target.h"

namespace burnish::search {

struct Task {
  std::string name;       // of the kernel in the model: for people
  StageGroup group;
  std::string workload;   // to_text(group): what a record is about, whatever the model
  std::string hash;       // 16 hex digits of the workload
  double weight = 1;      // how often a run of the model executes it
  int64_t macs = 0, bytes = 0;
  std::vector<std::string> sources;   // nodes of the model
  std::shared_ptr<const Space> space;
};

// The task of a group; weight, figures and sources are the caller's to add. Without a space where the target has none.
Task make_task(std::string name, StageGroup group, const Target& target);

// 16 hex digits that name a text.
std::string hash_text(std::string_view text);

// What became of a candidate. Only Ok has a time that counts.
enum class Status : uint8_t {
  Ok,
  Illegal,      // refused by the space or by lowering: no code was made
  BuildFailed,  // code generation or linking failed
  BuildTimeout,
  Crashed,      // the kernel ended its process by a signal or an exit
  TimedOut,
  OutOfMemory,
  Wrong,        // its answer differs from the reference, or it wrote outside its outputs
  Lost,         // the worker went away for a reason that is not the candidate's: may be tried again
};
std::string_view name_of(Status s);            // ok, illegal, build_failed, ...
bool parse_status(std::string_view text, Status& s);

// Of one run, in seconds.
struct Timing {
  double median = 0, mad = 0, min = 0;   // mad: median absolute deviation of the repeats
  int repeats = 0;
};

// What measuring a candidate has shown.
struct Outcome {
  Status status = Status::Lost;
  std::string message;      // why, unless Ok
  Timing timing;
  bool checked = false;     // its answer was compared with the reference (Ok: and agreed)
  double build_seconds = 0, measure_seconds = 0;
  double probe_seconds = 0; // the fixed probe kernel just before: a change means that the machine drifted
};

// A candidate after measuring.
struct Trial : Outcome {
  Point point;
  std::string trace;        // Schedule::to_text()
};

}  // namespace burnish::search
