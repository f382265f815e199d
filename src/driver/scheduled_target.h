// A target with choices of somebody else's: no schedules at all (the fp64 reference, so that a mistake in a schedule
// does not hide by being in both), or the schedules, cuts and algorithms that a search found.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "target/target.h"

namespace burnish {

// Called for every distinct kernel of a program, in the order of its functions. The schedule must lower.
using Scheduler = std::function<Schedule(const StageGroup&)>;

std::shared_ptr<const Target> with_schedules(std::shared_ptr<const Target> target, Scheduler scheduler);

// Loops as formulas are written, one stage after the other.
Scheduler plain_schedules();

// Groups by search::hash_text of their text.
using GroupHashes = std::set<std::string>;

// A target that would not have the avoided groups: they do not pay as one nest, and there is no estimate of them.
// Passes that would choose one of them choose what is next: a chain is cut, a convolution takes another algorithm.
// `offered` collects the groups that the target itself would have had, the avoided ones too; not null: it has to
// outlive the target.
std::shared_ptr<const Target> with_avoided(std::shared_ptr<const Target> target, GroupHashes avoided,
                                           GroupHashes* offered = nullptr);

}  // namespace burnish
