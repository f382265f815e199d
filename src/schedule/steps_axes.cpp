// Two axes as one, in all stages that are read along them.
#include <algorithm>
#include <map>
#include <utility>

#include "schedule/steps.h"

namespace burnish::schedule {

namespace {

using Pair = std::pair<uint32_t, uint32_t>;  // numbers of the outer and the inner axis

// Is it the variable alone, but for axes of one point?
bool is_variable(const Stage& s, const Index& i, VarId v) {
  if (!i.is_affine() || i.a.c != 0 || i.a.slope(v) != 1) return false;
  return std::ranges::all_of(i.a.terms, [&](const Term& t) {
    const auto one = [&](const Axis& a) { return a.var == t.var && a.extent == 1; };
    return t.var == v || std::ranges::any_of(s.axes, one) || std::ranges::any_of(s.raxes, one);
  });
}

bool mentions(const Index& i, VarId v) {
  return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& x) { return x.value || x.a.slope(v) != 0; });
}

// Are the axes neighbours in memory?
bool are_neighbours(const Stage& s, Pair p) {
  if (s.layout.empty()) return p.first + 1 == p.second;
  std::vector<uint32_t> order;
  for (const LayoutDim& d : s.layout) {
    if ((d.axis == p.first || d.axis == p.second) && (d.div != 1 || d.mod || d.pad)) return false;
    if (d.axis == p.first || d.axis == p.second || s.axes[d.axis].extent > 1) order.push_back(d.axis);
  }
  const auto at = std::ranges::find(order, p.first);
  return at != order.end() && at + 1 != order.end() && at[1] == p.second;
}

// The axes of every stage that is read along those of `id`; refused where one is read otherwise.
Result<std::map<StageId, Pair>> pairs_of(const StageGroup& g, StageId id, Pair own) {
  std::map<StageId, Pair> pairs = {{id, own}};
  for (StageId s = g.stages.size(); s-- > 0;) {
    const Stage& t = g[s];
    if (!pairs.contains(s) || !t.is_compute()) continue;
    const Pair p = pairs.at(s);
    const VarId outer = t.axes[p.first].var, inner = t.axes[p.second].var;
    std::optional<Reason> failure;
    for (const Expr& whole : expressions(t)) {
      visit(whole, [&](const Expr& e) {
        if (e.kind() == ExprKind::Affine && (mentions(e.index(), outer) || mentions(e.index(), inner))) failure = Reason{fmt::format("{} counts them", t.name)};
        if (e.kind() != ExprKind::Load) return;
        Pair at{UINT32_MAX, UINT32_MAX};
        for (uint32_t i = 0; i < e.indices().size(); ++i) {
          const bool a = mentions(e.indices()[i], outer), b = mentions(e.indices()[i], inner);
          if (!a && !b) continue;
          const bool alone = a != b && is_variable(t, e.indices()[i], a ? outer : inner) && (a ? at.first : at.second) == UINT32_MAX;
          if (!alone) failure = Reason{fmt::format("{} reads {} at other places", t.name, g[e.from()].name)};
          (a ? at.first : at.second) = i;
        }
        if (at == Pair{UINT32_MAX, UINT32_MAX}) return;
        if (at.first == UINT32_MAX || at.second == UINT32_MAX) {
          failure = Reason{fmt::format("{} reads {} along one of them", t.name, g[e.from()].name)};
          return;
        }
        const auto [known, added] = pairs.emplace(e.from(), at);
        if (!added && known->second != at) failure = Reason{fmt::format("{} is read along others, too", g[e.from()].name)};
      });
    }
    if (failure) return *failure;
  }
  return pairs;
}

}  // namespace

Result<> apply(Stages s, const step::JoinAxes& x) {
  const auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  StageGroup& g = s.group;
  const auto outer = g[*id].axis_named(x.outer), inner = g[*id].axis_named(x.inner);
  if (!outer || !inner || outer == inner) return refuse("{} has no two axes {} and {}", x.stage, x.outer, x.inner);
  const auto refused = [&](std::string_view why) { return refuse("{}.{} and {} are not one axis: {}", x.stage, x.outer, x.inner, why); };
  auto pairs = pairs_of(g, *id, {*outer, *inner});
  if (!pairs) return refused(pairs.reason());
  // Whoever reads such a stage is one.
  for (StageId r = 0; r < g.stages.size(); ++r) {
    if (pairs->contains(r)) continue;
    for (const StageId from : producers(g, r))
      if (pairs->contains(from)) return refused(fmt::format("{} reads {}", g[r].name, g[from].name));
  }
  const int64_t high = g[*id].axes[*outer].extent, wide = g[*id].axes[*inner].extent;
  for (const auto& [stage, p] : *pairs) {
    const Stage& t = g[stage];
    if (t.axes[p.first].extent != high || t.axes[p.second].extent != wide) return refused(fmt::format("{} has other sizes", t.name));
    const bool given = !t.is_compute() || is_output(g, stage);  // of others, memory is laid out later
    if (given && !are_neighbours(t, p)) return refused(fmt::format("they are no neighbours in the memory of {}", t.name));
    if (t.kind == StageKind::Constant) return refused(fmt::format("{} is a constant, which is packed by its own", t.name));
    if (t.scan) return refused(fmt::format("{} reads its own previous values", t.name));
    if (t.is_compute() && !s.nests[stage].untouched(t)) return refused(fmt::format("loops of {} were changed", t.name));
  }
  for (const auto& [stage, p] : *pairs) {
    g[stage].axes[p.first].extent = 1;
    g[stage].axes[p.second].extent = high * wide;
  }
  return Done{};
}

}  // namespace burnish::schedule
