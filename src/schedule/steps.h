// What each step does to stages and nests. Every function checks first and changes nothing when it
// refuses.
#pragma once

#include "schedule/nest.h"

namespace burnish::schedule {

struct Stages {
  StageGroup& group;
  std::vector<Nest>& nests;
};

// steps_nest.cpp: order of loops
Result<> apply(Stages s, const step::Split& x);
Result<> apply(Stages s, const step::SplitParts& x);
Result<> apply(Stages s, const step::Fuse& x);
Result<> apply(Stages s, const step::Reorder& x);
Result<> apply(Stages s, const step::Unroll& x);
Result<> apply(Stages s, const step::Vectorize& x);
Result<> apply(Stages s, const step::Parallel& x);
Result<> apply(Stages s, const step::Bind& x);
Result<> apply(Stages s, const step::Tensorize& x);
Result<> apply(Stages s, const step::Partition& x);
// steps_place.cpp: place and storage
Result<> apply(Stages s, const step::ComputeAt& x);
Result<> apply(Stages s, const step::StoreAt& x);
Result<> apply(Stages s, const step::StoreRoot& x);
Result<> apply(Stages s, const step::SetScope& x);
Result<> apply(Stages s, const step::Pack& x);
Result<> apply(Stages s, const step::FoldStorage& x);
Result<> apply(Stages s, const step::StorageAlign& x);
Result<> apply(Stages s, const step::Swizzle& x);
Result<> apply(Stages s, const step::MultiBuffer& x);
Result<> apply(Stages s, const step::Prefetch& x);
Result<> apply(Stages s, const step::GuardInit& x);
Result<> apply(Stages s, const step::GuardHalo& x);
// steps_graph.cpp: formulas
Result<> apply(Stages s, const step::Inline& x);
Result<> apply(Stages s, const step::CacheRead& x);
Result<> apply(Stages s, const step::CacheWrite& x);
Result<> apply(Stages s, const step::MergeEpilogue& x);
Result<> apply(Stages s, const step::AbsorbAddend& x);
Result<> apply(Stages s, const step::RFactor& x);
// steps_axes.cpp
Result<> apply(Stages s, const step::JoinAxes& x);
// steps_reduce.cpp: reductions as other formulas
Result<> apply(Stages s, const step::Expand& x);
Result<> apply(Stages s, const step::Narrow& x);
Result<> apply(Stages s, const step::Flatten& x);

// The stage of that name, or why there is none; inputs are refused unless `any`.
Result<StageId> find_stage(const Stages& s, std::string_view name, bool any = false);
bool is_output(const StageGroup& g, StageId s);
// Is 0 read, if anything, outside of what is loaded?
bool zero_outside(const Expr& load);
// Of the part that the stage's next rfactor makes.
std::string part_name(const StageGroup& g, const std::string& stage);

}  // namespace burnish::schedule
