// A target whose kernels are loops as their formulas are written, one stage after the other: what the fp64 reference is
// compiled for, so that a mistake in a schedule does not hide by being in both.
#pragma once

#include <memory>

#include "target/target.h"

namespace burnish {

std::shared_ptr<const Target> with_plain_schedules(std::shared_ptr<const Target> target);

}  // namespace burnish
