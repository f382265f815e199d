// The Schedule object: its stages, its nests, its record, and the methods for schedules written in
// C++.
#include "schedule/schedule.h"

#include <algorithm>

#include "base/text.h"
#include "schedule/nest.h"
#include "schedule/steps.h"

namespace burnish {

std::optional<LoopId> Nest::leaf(std::string_view name) const {
  for (LoopId l : order)
    if (loops[l].name == name) return l;
  return std::nullopt;
}

size_t Nest::position(LoopId leaf) const {
  return static_cast<size_t>(std::find(order.begin(), order.end(), leaf) - order.begin());
}

bool Nest::untouched(const Stage& s) const {
  if (loops.size() != s.axes.size() + s.raxes.size()) return false;
  for (LoopId l = 0; l < order.size(); ++l)
    if (order[l] != l || !loops[l].cuts.empty()) return false;
  return true;
}

Nest plain_nest(const Stage& s) {
  Nest n;
  for (const Axis& a : s.axes) {
    n.order.push_back(static_cast<LoopId>(n.loops.size()));
    n.loops.push_back({.name = a.name});
  }
  for (const Axis& a : s.raxes) {
    n.order.push_back(static_cast<LoopId>(n.loops.size()));
    n.loops.push_back({.name = a.name, .reduce = true});
  }
  n.fold.assign(s.axes.size(), -1);
  return n;
}

Schedule::Schedule(StageGroup group) : group_(std::move(group)), given_(std::make_shared<const StageGroup>(group_)) {
  for (const Stage& s : group_.stages) nests_.push_back(plain_nest(s));
}
Schedule::~Schedule() = default;
Schedule::Schedule(const Schedule&) = default;
Schedule::Schedule(Schedule&&) noexcept = default;
Schedule& Schedule::operator=(Schedule o) noexcept {
  std::swap(group_, o.group_);
  std::swap(given_, o.given_);
  std::swap(nests_, o.nests_);
  std::swap(trace_, o.trace_);
  std::swap(failure_, o.failure_);
  return *this;
}

Result<> Schedule::apply(const ScheduleStep& s) {
  schedule::Stages stages{group_, nests_};
  auto done = std::visit([&](const auto& x) { return schedule::apply(stages, x); }, s);
  if (done) trace_.push_back(s);
  return done;
}

Result<> Schedule::replay(std::string_view trace) {
  size_t number = 0;
  for (const std::string& raw : split_text(trace, '\n')) {
    ++number;
    std::string_view line = raw;
    line = trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    if (auto done = apply(parse_step(line)); !done)
      return refuse("step {}, {}: {}", number, line, done.reason());
  }
  return Done{};
}

std::string Schedule::to_text() const {
  std::string text;
  for (const ScheduleStep& s : trace_) text += burnish::to_text(s) + '\n';
  return text;
}

const std::vector<std::string> Schedule::loops(std::string_view stage) const {
  std::vector<std::string> names;
  if (auto s = group_.named(stage))
    for (LoopId l : nests_[*s].order) names.push_back(nests_[*s].loops[l].name);
  return names;
}

const Nest& Schedule::nest(StageId s) const { return nests_[s]; }

Layout packed_layout(const Schedule& s, StageId parameter) { return s.group()[parameter].layout; }

namespace {

// Applies a step unless an earlier one was refused.
void record(Schedule& s, std::optional<Reason>& failure, const ScheduleStep& step) {
  if (failure) return;
  if (auto done = s.apply(step); !done) failure = Reason{to_text(step) + ": " + done.reason()};
}

std::string str(std::string_view s) { return std::string(s); }

}  // namespace

std::pair<std::string, std::string> Schedule::split(std::string_view stage, std::string_view loop,
                                                    int64_t factor, Tail tail) {
  record(*this, failure_, step::Split{str(stage), str(loop), factor, tail});
  return {str(loop) + ".o", str(loop) + ".i"};
}
std::pair<std::string, std::string> Schedule::split_parts(std::string_view stage,
                                                          std::string_view loop, int64_t parts) {
  record(*this, failure_, step::SplitParts{str(stage), str(loop), parts});
  return {str(loop) + ".o", str(loop) + ".i"};
}
std::string Schedule::fuse(std::string_view stage, std::string_view outer, std::string_view inner) {
  record(*this, failure_, step::Fuse{str(stage), str(outer), str(inner)});
  return str(outer) + "@" + str(inner);
}
void Schedule::reorder(std::string_view stage, std::vector<std::string> loops) {
  record(*this, failure_, step::Reorder{str(stage), std::move(loops)});
}
void Schedule::unroll(std::string_view stage, std::string_view loop) {
  record(*this, failure_, step::Unroll{str(stage), str(loop)});
}
void Schedule::vectorize(std::string_view stage, std::string_view loop, bool apart) {
  record(*this, failure_, step::Vectorize{str(stage), str(loop), apart});
}
void Schedule::parallel(std::string_view stage, std::string_view loop) {
  record(*this, failure_, step::Parallel{str(stage), str(loop)});
}
void Schedule::bind(std::string_view stage, std::string_view loop, int64_t threads) {
  record(*this, failure_, step::Bind{str(stage), str(loop), threads});
}
void Schedule::tensorize(std::string_view stage, std::string_view loop) {
  record(*this, failure_, step::Tensorize{str(stage), str(loop)});
}
void Schedule::compute_at(std::string_view stage, std::string_view at_stage,
                          std::string_view at_loop) {
  record(*this, failure_, step::ComputeAt{str(stage), str(at_stage), str(at_loop)});
}
void Schedule::store_at(std::string_view stage, std::string_view at_stage,
                        std::string_view at_loop) {
  record(*this, failure_, step::StoreAt{str(stage), str(at_stage), str(at_loop)});
}
void Schedule::store_root(std::string_view stage) {
  record(*this, failure_, step::StoreRoot{str(stage)});
}
void Schedule::flatten(std::string_view stage, int64_t multiple, int64_t lanes, std::string_view inner) {
  record(*this, failure_, step::Flatten{str(stage), multiple, lanes, str(inner)});
}
void Schedule::expand(std::string_view stage) { record(*this, failure_, step::Expand{str(stage)}); }
void Schedule::narrow(std::string_view stage, int64_t most) { record(*this, failure_, step::Narrow{str(stage), most}); }
void Schedule::inline_stage(std::string_view stage) {
  record(*this, failure_, step::Inline{str(stage)});
}
std::string Schedule::cache_read(std::string_view stage, std::string_view reader, std::optional<DType> dtype) {
  record(*this, failure_, step::CacheRead{str(stage), str(reader), dtype});
  return str(stage) + ".cached";
}
std::string Schedule::cache_write(std::string_view stage) {
  record(*this, failure_, step::CacheWrite{str(stage)});
  return str(stage) + ".acc";
}
void Schedule::absorb_addend(std::string_view stage) {
  record(*this, failure_, step::AbsorbAddend{str(stage)});
}
void Schedule::merge_epilogue(std::string_view stage) {
  record(*this, failure_, step::MergeEpilogue{str(stage)});
}
std::string Schedule::rfactor(std::string_view stage, std::string_view axis, int64_t factor,
                              bool lanes, int64_t together, bool guard) {
  const std::string part = schedule::part_name(group_, str(stage));
  record(*this, failure_, step::RFactor{str(stage), str(axis), factor, lanes, together, guard});
  return part;
}
void Schedule::set_scope(std::string_view stage, Scope scope) {
  record(*this, failure_, step::SetScope{str(stage), scope});
}
void Schedule::pack(std::string_view stage, Layout layout) {
  record(*this, failure_, step::Pack{str(stage), std::move(layout)});
}
void Schedule::fold_storage(std::string_view stage, std::string_view axis, int64_t factor) {
  record(*this, failure_, step::FoldStorage{str(stage), str(axis), factor});
}
void Schedule::storage_align(std::string_view stage, int64_t pad) {
  record(*this, failure_, step::StorageAlign{str(stage), pad});
}
void Schedule::join_axes(std::string_view stage, std::string_view outer, std::string_view inner) {
  record(*this, failure_, step::JoinAxes{str(stage), str(outer), str(inner)});
}
void Schedule::swizzle(std::string_view stage, int64_t bytes) {
  record(*this, failure_, step::Swizzle{str(stage), bytes});
}
void Schedule::multi_buffer(std::string_view stage, int64_t slots) {
  record(*this, failure_, step::MultiBuffer{str(stage), slots});
}
void Schedule::prefetch(std::string_view stage, int64_t bytes) {
  record(*this, failure_, step::Prefetch{str(stage), bytes});
}
void Schedule::partition(std::string_view stage, std::string_view loop, std::vector<int64_t> cuts) {
  record(*this, failure_, step::Partition{str(stage), str(loop), std::move(cuts)});
}
void Schedule::guard_init(std::string_view stage) {
  record(*this, failure_, step::GuardInit{str(stage)});
}
void Schedule::guard_halo(std::string_view stage) {
  record(*this, failure_, step::GuardHalo{str(stage)});
}

Result<Schedule> replayed(const StageGroup& g, std::string_view trace) {
  Schedule s(g);
  try {
    if (auto done = s.replay(trace); !done) return Reason{done.reason()};
  } catch (const UserError& e) {
    return Reason{e.what()};
  }
  return s;
}

}  // namespace burnish
