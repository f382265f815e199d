// Steps about the order and kind of a stage's loops: they set fields of its nest; lowering derives
// all bounds.
#include <algorithm>

#include "base/text.h"
#include "schedule/steps.h"

namespace burnish::schedule {

Result<StageId> find_stage(const Stages& s, std::string_view name, bool any) {
  auto id = s.group.named(name);
  if (!id) return refuse("there is no stage {}", name);
  if (!any && !s.group[*id].is_compute()) return refuse("{} is an input and has no loops", name);
  return *id;
}

bool is_output(const StageGroup& g, StageId s) {
  return std::find(g.outputs.begin(), g.outputs.end(), s) != g.outputs.end();
}

namespace {

struct Leaf {
  Stage& stage;
  Nest& nest;
  LoopId id;
  Loop& loop() const { return nest.loops[id]; }
};

Result<Leaf> find_leaf(Stages s, std::string_view stage, std::string_view loop) {
  auto id = find_stage(s, stage);
  if (!id) return Reason{id.reason()};
  Nest& nest = s.nests[*id];
  if (auto l = nest.leaf(loop)) return Leaf{s.group[*id], nest, *l};
  std::vector<std::string> names;
  for (LoopId l : nest.order) names.push_back(nest.loops[l].name);
  return refuse("{} has no loop {}; its loops are {}", stage, loop, join(names, ", "));
}

LoopId add_half(Nest& n, LoopId parent, const char* suffix) {
  Loop half{
      .name = n.loops[parent].name + suffix, .reduce = n.loops[parent].reduce, .parent = parent};
  n.loops.push_back(std::move(half));
  return static_cast<LoopId>(n.loops.size() - 1);
}

Result<> split(const Leaf& at, const std::string& stage, int64_t factor, Tail tail) {
  Loop& loop = at.loop();
  if (factor < 1)
    return refuse("{}.{} split by {}: factors are positive", stage, loop.name, factor);
  if (tail == Tail::Overlap && at.stage.is_reduction())
    return refuse("{} is a reduction: an overlapped tail would add twice", stage);
  if (tail == Tail::Overlap && at.stage.scan)
    return refuse("{} reads its own previous values: an overlapped tail would advance twice",
                  stage);
  if (loop.parent != kNoLoop && at.nest.loops[loop.parent].outer == at.id)
    return refuse("{}.{} is the outer half of a split: split from the outside in", stage,
                  loop.name);
  if (loop.is_fused()) return refuse("{}.{} is fused: split before fusing", stage, loop.name);
  if (loop.kind != LoopKind::Serial)
    return refuse("{}.{} is marked {}: split it first", stage, loop.name, name_of(loop.kind));
  Nest& n = at.nest;
  size_t position = n.position(at.id);
  LoopId outer = add_half(n, at.id, ".o"), inner = add_half(n, at.id, ".i");
  Loop& parent = n.loops[at.id];
  parent.outer = outer;
  parent.inner = inner;
  parent.factor = factor;
  parent.tail = tail;
  n.order[position] = outer;
  n.order.insert(n.order.begin() + static_cast<ptrdiff_t>(position) + 1, inner);
  return Done{};
}

Result<> set_kind(Stages s, const std::string& stage, const std::string& loop, LoopKind kind) {
  auto at = find_leaf(s, stage, loop);
  if (!at) return Reason{at.reason()};
  if (at->loop().reduce && kind != LoopKind::Unroll && kind != LoopKind::Thread)
    return refuse("{}.{} is a reduction loop: rfactor it first", stage, loop);
  if (at->stage.scan && kind != LoopKind::Unroll) {
    LoopId axis = at->id;
    while (at->nest.loops[axis].parent != kNoLoop) axis = at->nest.loops[axis].parent;
    if (axis == *at->stage.scan)
      return refuse("{}.{} is a recurrence: each step needs the one before", stage, loop);
  }
  at->loop().kind = kind;
  return Done{};
}

// Does `loop` stand, by splits and fusions, for part of `whole`?
bool covers(const Nest& n, LoopId loop, LoopId whole) {
  if (loop == whole) return true;
  const Loop& l = n.loops[loop];
  if (l.is_fused()) return covers(n, l.first, whole) || covers(n, l.second, whole);
  return l.parent != kNoLoop && covers(n, l.parent, whole);
}

}  // namespace

Result<> apply(Stages s, const step::Split& x) {
  auto at = find_leaf(s, x.stage, x.loop);
  if (!at) return Reason{at.reason()};
  return split(*at, x.stage, x.factor, x.tail);
}

Result<> apply(Stages s, const step::SplitParts& x) {
  auto at = find_leaf(s, x.stage, x.loop);
  if (!at) return Reason{at.reason()};
  if (x.parts < 1) return refuse("{}.{} split into {} parts", x.stage, x.loop, x.parts);
  const Stage& stage = at->stage;
  if (at->id >= stage.axes.size() + stage.raxes.size())
    return refuse("split_parts needs a whole axis, {} is not one", x.loop);
  int64_t extent = at->id < stage.axes.size() ? stage.axes[at->id].extent
                                              : stage.raxes[at->id - stage.axes.size()].extent;
  return split(*at, x.stage, ceil_div(extent, x.parts), Tail::Guard);
}

Result<> apply(Stages s, const step::Fuse& x) {
  auto outer = find_leaf(s, x.stage, x.outer), inner = find_leaf(s, x.stage, x.inner);
  if (!outer) return Reason{outer.reason()};
  if (!inner) return Reason{inner.reason()};
  Nest& n = outer->nest;
  size_t at = n.position(outer->id);
  if (at + 1 >= n.order.size() || n.order[at + 1] != inner->id)
    return refuse("{}.{} does not follow {}.{}", x.stage, x.inner, x.stage, x.outer);
  if (outer->loop().reduce != inner->loop().reduce)
    return refuse("{}.{} and {}: a reduce loop cannot be fused with one that is none", x.stage,
                  x.outer, x.inner);
  for (const auto* l : {&*outer, &*inner})
    if (l->loop().kind != LoopKind::Serial)
      return refuse("{}.{} is marked {}: fuse first", x.stage, l->loop().name,
                    name_of(l->loop().kind));
  Loop fused{.name = x.outer + "@" + x.inner, .reduce = outer->loop().reduce};
  fused.first = outer->id;
  fused.second = inner->id;
  n.loops.push_back(std::move(fused));
  n.order[at] = static_cast<LoopId>(n.loops.size() - 1);
  n.order.erase(n.order.begin() + static_cast<ptrdiff_t>(at) + 1);
  return Done{};
}

Result<> apply(Stages s, const step::Reorder& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  std::vector<LoopId> named;
  std::vector<size_t> places;
  for (const std::string& loop : x.loops) {
    auto at = find_leaf(s, x.stage, loop);
    if (!at) return Reason{at.reason()};
    if (std::find(named.begin(), named.end(), at->id) != named.end())
      return refuse("{}.{} is named twice", x.stage, loop);
    named.push_back(at->id);
    places.push_back(at->nest.position(at->id));
  }
  std::sort(places.begin(), places.end());
  Nest& n = s.nests[*id];
  std::vector<LoopId> order = n.order;
  for (size_t i = 0; i < named.size(); ++i) order[places[i]] = named[i];
  // An inner half's extent depends on its outer's segment, also where either is fused with others.
  for (const Loop& l : n.loops) {
    if (!l.is_split()) continue;
    size_t outer = order.size(), inner = order.size();
    for (size_t i = 0; i < order.size(); ++i) {
      if (covers(n, order[i], l.outer)) outer = std::min(outer, i);
      if (covers(n, order[i], l.inner)) inner = std::min(inner, i);
    }
    if (inner < outer)
      return refuse("{}: inner {} before outer {}", x.stage, n.loops[l.inner].name,
                    n.loops[l.outer].name);
  }
  n.order = std::move(order);
  return Done{};
}

Result<> apply(Stages s, const step::Unroll& x) {
  return set_kind(s, x.stage, x.loop, LoopKind::Unroll);
}
Result<> apply(Stages s, const step::Vectorize& x) {
  if (auto ok = set_kind(s, x.stage, x.loop, LoopKind::Vectorize); !ok) return ok;
  find_leaf(s, x.stage, x.loop)->loop().apart = x.apart;
  return Done{};
}
Result<> apply(Stages s, const step::Parallel& x) {
  return set_kind(s, x.stage, x.loop, LoopKind::Parallel);
}
Result<> apply(Stages s, const step::Bind& x) {
  constexpr int64_t most = 1024;
  if (x.threads < 0 || x.threads > most) return refuse("{}.{} bound to {} threads, a block has {} at most", x.stage, x.loop, x.threads, most);
  if (auto ok = set_kind(s, x.stage, x.loop, LoopKind::Thread); !ok) return ok;
  find_leaf(s, x.stage, x.loop)->loop().threads = x.threads;
  return Done{};
}
Result<> apply(Stages s, const step::Tensorize& x) {
  auto at = find_leaf(s, x.stage, x.loop);
  if (!at) return Reason{at.reason()};
  if (!at->loop().reduce) return refuse("{}.{} is no reduction loop: there is nothing to sum", x.stage, x.loop);
  at->loop().kind = LoopKind::Tensor;
  return Done{};
}

Result<> apply(Stages s, const step::Partition& x) {
  auto at = find_leaf(s, x.stage, x.loop);
  if (!at) return Reason{at.reason()};
  const Loop& loop = at->loop();
  if (loop.parent != kNoLoop && at->nest.loops[loop.parent].outer == at->id)
    return refuse("{}.{} is the outer half of a split: partition before splitting", x.stage,
                  x.loop);
  if (loop.is_fused()) return refuse("{}.{} is fused: partition before fusing", x.stage, x.loop);
  size_t axes = at->stage.axes.size();
  int64_t extent = at->id < axes                            ? at->stage.axes[at->id].extent
                   : at->id < axes + at->stage.raxes.size() ? at->stage.raxes[at->id - axes].extent
                                                            : at->nest.loops[loop.parent].factor;
  int64_t before = 0;
  for (int64_t cut : x.cuts) {
    if (cut <= before)
      return refuse("cuts of {}.{} must rise from above 0, {} follows {}", x.stage, x.loop, cut,
                    before);
    if (cut >= extent)
      return refuse("{}.{} has {} iterations, it cannot be cut at {}", x.stage, x.loop, extent,
                    cut);
    before = cut;
  }
  at->loop().cuts = x.cuts;
  return Done{};
}

}  // namespace burnish::schedule
