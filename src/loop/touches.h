// How long ago each argument of a step was last used: what decides from which memory it comes.
#pragma once

#include <cstdint>
#include <vector>

#include "loop/program.h"

namespace burnish {

// One argument of a step. `distance`: bytes of different tensors that the steps since its last use
// touch, that step's and its own among them. Runs follow one another, so that what a run touches
// first, as weights, was last used in the run before. A cache that is larger still has it.
struct Touch {
  int64_t bytes = 0, distance = 0;
};

// By step, then by argument. A tensor that steps touch in parts counts with the largest part.
// Tensors count by name: that plan_arena gives several the same place is not seen.
std::vector<std::vector<Touch>> touches_of(const Program& p);

}  // namespace burnish
