// From a schedule to a library that runs one kernel, with every parameter of the kernel, constants too, as an input or
// output: the runner decides where they lie.
#pragma once

#include "search/measure/messages.h"
#include "target/target.h"

namespace burnish::search {

// Stage after stage, each whole, its loops as written but for vectors along the contiguous axis and threads over the
// outermost one where that is possible: nothing is tiled, fused, moved or unrolled. What candidates are compared with.
Schedule plain_schedule(const StageGroup& g, const Machine& m);

// A refusal is the schedule's fault. Exceptions: those of code generation, and when `verified` those of the verifier.
// `name`: of the function, so that code which is kept by content serves the model, too; empty: the group's.
Result<Built> build_kernel(const Schedule& s, const Target& t, bool verified = true, const std::string& name = {});

}  // namespace burnish::search
