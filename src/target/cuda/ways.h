// The ways to schedule a group, as data: default schedules take the first variant that lowers,
// searches try all of them.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

struct Variant {
  std::string name;  // its numbers, for people and records: stays the same for the same schedule
  std::function<bool(Schedule&)>
      apply;  // as the functions of tiles.h; more than once, by several threads at a time
};

struct Way {
  std::string name;
  std::vector<Variant> variants;  // from the best by estimate
  double cycles = 0;              // of the first of them, of ways whose estimates compare: these are in that order
};

// In the order in which the default schedule tries them; the last one lowers for any group. `s`:
// cheap stages are inlined.
std::vector<Way> ways_of(const Schedule& s, const Device& d);

}  // namespace burnish::cuda_target
