// A target with schedules of somebody else's choice: none at all (the fp64 reference, so that a mistake in a schedule
// does not hide by being in both), or those that a search found.
#pragma once

#include <functional>
#include <memory>

#include "target/target.h"

namespace burnish {

// Called for every distinct kernel of a program, in the order of its functions. The schedule must lower.
using Scheduler = std::function<Schedule(const StageGroup&)>;

std::shared_ptr<const Target> with_schedules(std::shared_ptr<const Target> target, Scheduler scheduler);

// Loops as formulas are written, one stage after the other.
Scheduler plain_schedules();

}  // namespace burnish
