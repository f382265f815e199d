// Steps about where a stage is computed and stored, and how its memory looks. What depends on the
// finished schedule (does a place enclose all consumers, does an axis roll) is checked by lowering.
#include <algorithm>

#include "base/text.h"
#include "schedule/steps.h"

namespace burnish::schedule {
namespace {

Result<> check_loop(const Stages& s, const std::string& stage, const std::string& loop) {
  auto at = find_stage(s, stage);
  if (!at) return Reason{at.reason()};
  const Nest& n = s.nests[*at];
  if (n.leaf(loop)) return Done{};
  std::vector<std::string> names;
  for (LoopId l : n.order) names.push_back(n.loops[l].name);
  return refuse("{} has no loop {}; its loops are {}", stage, loop, join(names, ", "));
}

// Every position of every axis has one place: per axis, the dimensions form a mixed radix (1, b1,
// b1*b2 ...), the outermost without modulus or with one that reaches the extent.
Result<> check_layout(const Stage& stage, const Layout& layout) {
  for (uint32_t a = 0; a < stage.axes.size(); ++a) {
    std::vector<LayoutDim> dims;
    for (const LayoutDim& d : layout)
      if (d.axis == a) dims.push_back(d);
    std::sort(dims.begin(), dims.end(), [](auto& x, auto& y) { return x.div < y.div; });
    int64_t reach = 1;  // 0: everything
    for (const LayoutDim& d : dims) {
      if (d.div < 1 || d.mod < 0 || d.pad < 0 || reach == 0 || d.div != reach)
        return refuse("the dimensions of {}.{} in the layout overlap or leave a gap at {}",
                      stage.name, stage.axes[a].name, d.div);
      if (d.mod && __builtin_mul_overflow(reach, d.mod, &reach))
        return refuse("a block of {} in {}.{}", d.mod, stage.name, stage.axes[a].name);
      if (!d.mod) reach = 0;
    }
    if (dims.empty() || (reach != 0 && reach < stage.axes[a].extent))
      return refuse("the layout holds {} of the {} positions of {}.{}", dims.empty() ? 0 : reach,
                    stage.axes[a].extent, stage.name, stage.axes[a].name);
  }
  for (const LayoutDim& d : layout)
    if (d.axis >= stage.axes.size())
      return refuse("the layout names axis {}, but {} has {} axes", d.axis, stage.name,
                    stage.axes.size());
  return Done{};
}

}  // namespace

Result<> apply(Stages s, const step::ComputeAt& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id)) return refuse("{} is an output: it is computed at root", x.stage);
  if (x.stage == x.at_stage)
    return refuse("{} cannot be computed inside its own loop {}", x.stage, x.at_loop);
  if (auto ok = check_loop(s, x.at_stage, x.at_loop); !ok) return ok;
  // Places form a tree: the stage at whose loop it goes must not itself be computed inside this
  // one.
  for (const Nest* n = &s.nests[*s.group.named(x.at_stage)]; n->compute;
       n = &s.nests[*s.group.named(n->compute->stage)]) {
    if (n->compute->stage == x.stage)
      return refuse("{} is itself computed inside {}", x.at_stage, x.stage);
    if (!s.group.named(n->compute->stage)) break;  // removed since: lowering says so
  }
  s.nests[*id].compute = Place{x.at_stage, x.at_loop};
  return Done{};
}

Result<> apply(Stages s, const step::StoreAt& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id)) return refuse("{} is an output: it is stored at root", x.stage);
  if (auto ok = check_loop(s, x.at_stage, x.at_loop); !ok) return ok;
  s.nests[*id].stored = Stored::At;
  s.nests[*id].store = Place{x.at_stage, x.at_loop};
  return Done{};
}

Result<> apply(Stages s, const step::StoreRoot& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  s.nests[*id].stored = Stored::Root;
  return Done{};
}

Result<> apply(Stages s, const step::SetScope& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id))
    return refuse("{} is an output: its memory is the caller's", x.stage);
  if (x.scope == Scope::Param)
    return refuse("{}: parameters are the group's inputs and outputs", x.stage);
  s.nests[*id].scope = x.scope;
  return Done{};
}

Result<> apply(Stages s, const step::Pack& x) {
  auto id = find_stage(s, x.stage, true);
  if (!id) return Reason{id.reason()};
  if (auto ok = check_layout(s.group[*id], x.layout); !ok) return ok;
  s.group[*id].layout = x.layout;
  return Done{};
}

Result<> apply(Stages s, const step::FoldStorage& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  auto axis = s.group[*id].axis_named(x.axis);
  if (!axis) return refuse("{} has no axis {}", x.stage, x.axis);
  if (is_output(s.group, *id)) return refuse("{} is an output: all of it must stay", x.stage);
  if (x.factor < 0) return refuse("{}.{} folded to {}", x.stage, x.axis, x.factor);
  s.nests[*id].fold[*axis] = x.factor;
  return Done{};
}

Result<> apply(Stages s, const step::StorageAlign& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id)) return refuse("{} is an output: its layout is the graph's", x.stage);
  if (x.pad < 0 || x.pad > (1 << 20)) return refuse("{} padded by {} elements", x.stage, x.pad);
  s.nests[*id].pad = x.pad;
  return Done{};
}

Result<> apply(Stages s, const step::Swizzle& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id)) return refuse("{} is an output: its memory is the caller's", x.stage);
  if (!is_swizzle(x.bytes)) return refuse("{} in rows of {} bytes, not 32, 64 or 128", x.stage, x.bytes);
  s.nests[*id].swizzle = x.bytes;
  return Done{};
}

Result<> apply(Stages s, const step::MultiBuffer& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id)) return refuse("{} is an output: its memory is the caller's", x.stage);
  if (s.group[*id].scan) return refuse("{} reads its own previous values: it cannot be computed ahead", x.stage);
  if (x.slots < 2 || x.slots > 16) return refuse("{} in {} slots of memory", x.stage, x.slots);
  s.nests[*id].slots = x.slots;
  return Done{};
}

Result<> apply(Stages s, const step::Prefetch& x) {
  auto id = find_stage(s, x.stage, true);
  if (!id) return Reason{id.reason()};
  if (s.group[*id].is_compute()) return refuse("{} is computed here: only what comes from outside is prefetched", x.stage);
  if (x.bytes < 1 || x.bytes > (1 << 24)) return refuse("{} prefetched {} bytes ahead", x.stage, x.bytes);
  s.nests[*id].prefetch = x.bytes;
  return Done{};
}

Result<> apply(Stages s, const step::GuardInit& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (!s.group[*id].is_reduction()) return refuse("{} is no reduction and has no init", x.stage);
  s.nests[*id].guard_init = true;
  return Done{};
}

Result<> apply(Stages s, const step::GuardHalo& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  if (is_output(s.group, *id))
    return refuse("{} is an output and has no points outside its domain", x.stage);
  if (s.group[*id].scan) return refuse("{} reads its own previous values: it has no halo to guard", x.stage);
  s.nests[*id].guard_halo = true;
  return Done{};
}

}  // namespace burnish::schedule
