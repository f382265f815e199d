// What the walk needs to know beforehand: which stages matter, who reads whom and under which
// guards, where everything is placed; and the checks that concern the schedule as a whole.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "schedule/lowering.h"
#include "schedule/steps.h"

namespace burnish::lowering {

Lowering::Lowering(const Schedule& s)
    : group_(s.group()), schedule_(s), info_(group_.stages.size()), storage_(group_.stages.size()),
      buffers_(group_.stages.size()), env_(group_.vars.size()) {
  for (StageId o : group_.outputs) info_[o].output = true;
  find_live();
  for (StageId s = 0; s < group_.stages.size(); ++s)
    for (const Loop& l : schedule_.nest(s).loops) has_threads_ |= info_[s].live && l.kind == LoopKind::Thread;
  find_readers();
  resolve_places();
  check_places();
  check_loops();
}

void Lowering::find_live() {
  std::vector<StageId> todo(group_.outputs);
  while (!todo.empty()) {
    StageId s = todo.back();
    todo.pop_back();
    if (info_[s].live) continue;
    info_[s].live = true;
    for (StageId p : producers(group_, s)) todo.push_back(p);
  }
}

// Loads are collected together with the guards around them: an arm of select(i >= 0, ...) is
// reached only there, and so each input of a concatenation is asked for its own range.
void Lowering::find_readers() {
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    if (!info_[s].live) continue;
    const Stage& stage = group_[s];
    std::vector<VarId> vars;
    std::vector<Limit> domain;
    for (const auto* axes : {&stage.axes, &stage.raxes})
      for (const Axis& a : *axes) {
        vars.push_back(a.var);
        domain.push_back({0, a.extent});
      }
    auto narrow = [&](std::vector<Limit>& limits, const Index& i) {  // i >= 0
      if (!i.is_affine() || i.a.terms.size() != 1) return;
      auto at = std::find(vars.begin(), vars.end(), i.a.terms[0].var);
      if (at == vars.end()) return;
      Limit& limit = limits[static_cast<size_t>(at - vars.begin())];
      int64_t k = i.a.terms[0].k;
      if (k > 0)
        limit.lo = std::max(limit.lo, ceil_div(-i.a.c, k));
      else
        limit.hi = std::min(limit.hi, floor_div(i.a.c, -k) + 1);
    };
    int context = 0;
    std::set<std::pair<const ExprNode*, int>> seen;
    bool apart = false;
    std::function<void(const Expr&, const std::vector<Limit>&, int)> collect =
        [&](const Expr& e, const std::vector<Limit>& limits, int here) {
          if (!seen.insert({e.get(), here}).second) return;
          if (e.kind() == ExprKind::Load || e.kind() == ExprKind::Affine)
            for (const Index& i :
                 e.kind() == ExprKind::Load ? e.indices() : std::span(&e.index(), 1))
              for (const Atom& a : i.atoms)
                if (a.value) collect(a.value, limits, here);
          if (e.kind() == ExprKind::Load) {
            bool narrowed = false;
            for (size_t a = 0; a < limits.size(); ++a)
              narrowed |= limits[a].lo != domain[a].lo || limits[a].hi != domain[a].hi;
            info_[e.from()].readers.push_back({s, e, limits, narrowed, apart});
            auto& fills = info_[e.from()].fills;
            if (e.fill() && std::none_of(fills.begin(), fills.end(),
                                         [&](const Expr& f) { return equal(f, e.fill()); }))
              fills.push_back(e.fill());
          }
          auto conditions =
              e.kind() == ExprKind::Select ? as_nonnegative(e.children()[0]) : std::nullopt;
          if (!conditions || seen.size() > 10000) {
            for (const Expr& c : e.children()) collect(c, limits, here);
            return;
          }
          std::vector<Limit> then = limits, otherwise = limits;
          for (const Index& i : *conditions) narrow(then, i);
          if (conditions->size() == 1) {
            Index negated = (*conditions)[0];
            if (negated.is_affine()) {
              negated.a = -negated.a - Aff(1);
              narrow(otherwise, negated);
            }
          }
          collect(e.children()[0], limits, here);
          int first = ++context, second = ++context;
          collect(e.children()[1], then, first);
          collect(e.children()[2], otherwise, second);
        };
    for (const Expr* e : {&stage.body, &stage.init, &stage.finish}) {
      apart = stage.is_reduction() && e != &stage.body && !schedule_.nest(s).guard_init;
      seen.clear();
      if (*e) collect(*e, domain, 0);
    }
  }
  for (Info& i : info_)  // the same access twice adds nothing to a region
    for (size_t a = 0; a < i.readers.size(); ++a)
      for (size_t b = a + 1; b < i.readers.size();) {
        const Reader &x = i.readers[a], &y = i.readers[b];
        bool same = x.consumer == y.consumer && x.apart == y.apart && !x.narrowed && !y.narrowed;
        for (size_t k = 0; same && k < x.load.indices().size(); ++k)
          same = equal(x.load.indices()[k], y.load.indices()[k]);
        if (same)
          i.readers.erase(i.readers.begin() + static_cast<ptrdiff_t>(b));
        else
          ++b;
      }
}

void Lowering::resolve_places() {
  auto resolve = [&](StageId s, const Place& place) {
    auto at = group_.named(place.stage);
    auto loop = at ? schedule_.nest(*at).leaf(place.loop) : std::nullopt;
    if (!loop)
      refuse_schedule("{} is placed at {}.{}, which no longer exists", stage(s).name, place.stage,
                      place.loop);
    return Point{*at, schedule_.nest(*at).position(*loop)};
  };
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    if (!info_[s].live || !stage(s).is_compute()) continue;
    const Nest& n = schedule_.nest(s);
    if (info_[s].output) {
      if (n.compute) refuse_schedule("{} is an output: it is computed at root", stage(s).name);
      continue;
    }
    if (n.compute) info_[s].compute = resolve(s, *n.compute);
    switch (n.stored) {
    case Stored::WhereComputed: info_[s].store = info_[s].compute; break;
    case Stored::At: info_[s].store = resolve(s, n.store); break;
    case Stored::Root: break;
    }
  }
}

const std::string& Lowering::loop_name(const Point& p) const {
  const Nest& n = schedule_.nest(p.stage);
  return n.loops[n.order[p.position]].name;
}

// Is stage s computed inside the loop p, at any depth?
bool Lowering::inside(StageId s, const Point& p) const {
  if (p.stage == kRoot) return true;
  for (Point at = info_[s].compute; at.stage != kRoot; at = info_[at.stage].compute)
    if (at.stage == p.stage) return at.position >= p.position;
  return false;
}

void Lowering::check_places() const {
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    const Info& i = info_[s];
    if (!i.live || !stage(s).is_compute()) continue;
    const std::string& name = stage(s).name;
    size_t hops = 0;
    for (Point at = i.compute; at.stage != kRoot; at = info_[at.stage].compute)
      if (++hops > group_.stages.size()) refuse_schedule("{} is placed inside itself", name);
    if (i.compute.stage != kRoot) {
      for (const Reader& r : i.readers)
        if (r.consumer != s && r.consumer != i.compute.stage && !inside(r.consumer, i.compute))
          refuse_schedule("{} is computed at {}.{} but its consumer {} is outside that loop", name,
                          stage(i.compute.stage).name, loop_name(i.compute),
                          stage(r.consumer).name);
    }
    for (const Reader& r : i.readers) {
      if (!r.apart) continue;
      const Nest& n = schedule_.nest(r.consumer);
      size_t reduce = 0;
      while (reduce < n.order.size() && !n.loops[n.order[reduce]].reduce) ++reduce;
      if (reduce < n.order.size() && inside(s, {r.consumer, reduce}))
        refuse_schedule("{} is computed inside the reduction of {}, but is read by its init or "
                        "epilogue outside",
                        name, stage(r.consumer).name);
    }
    if (i.store.stage == kRoot || i.store == i.compute) continue;
    if (i.compute.stage == kRoot)
      refuse_schedule("{} is stored at {}.{} but computed at root", name, stage(i.store.stage).name,
                      loop_name(i.store));
    bool encloses = i.store.stage == i.compute.stage ? i.store.position <= i.compute.position
                                                     : inside(i.compute.stage, i.store);
    if (!encloses)
      refuse_schedule("{} is stored at {}.{}, which does not enclose {}.{} where it is computed",
                      name, stage(i.store.stage).name, loop_name(i.store),
                      stage(i.compute.stage).name, loop_name(i.compute));
  }
}

void Lowering::check_loops() const {
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    if (!info_[s].live || !stage(s).is_compute()) continue;
    const Nest& n = schedule_.nest(s);
    for (size_t i = 0; i < n.order.size(); ++i) {
      const Loop& l = n.loops[n.order[i]];
      if (l.kind == LoopKind::Vectorize && i + 1 != n.order.size())
        refuse_schedule("{}.{} is vectorized but not innermost", stage(s).name, l.name);
      if (l.kind != LoopKind::Vectorize) continue;
      for (StageId p = 0; p < group_.stages.size(); ++p)
        if (info_[p].live && (info_[p].compute == Point{s, i} || info_[p].store == Point{s, i}))
          refuse_schedule("{} is placed inside the vector loop {}.{}", stage(p).name, stage(s).name,
                          l.name);
    }
    if (stage(s).scan) check_scan(s);
  }
}

// A recurrence reads values that its loop has stored before. Where it also reads them at other
// points of the other axes, all of one step must be done before the next begins.
void Lowering::check_scan(StageId s) const {
  const Stage& t = stage(s);
  const Nest& n = schedule_.nest(s);
  uint32_t scan = *t.scan;
  for (const Reader& r : info_[s].readers) {
    if (r.consumer != s) continue;
    bool same_point = true;
    for (uint32_t a = 0; a < t.axes.size(); ++a) {
      const Index& i = r.load.indices()[a];
      same_point &= a == scan || (i.is_affine() && i.a == Aff::of(t.axes[a].var));
    }
    LoopId first = n.order.empty() ? kNoLoop : n.order[0];
    while (first != kNoLoop && n.loops[first].parent != kNoLoop) first = n.loops[first].parent;
    if (!same_point && first != scan)
      refuse_schedule(
          "{} reads its previous values at other points: its loop {} must be the outermost", t.name,
          t.axes[scan].name);
    if (!same_point && n.fold[scan] == 1)
      refuse_schedule("{} reads its previous values at other points: fold it to 2 at least",
                      t.name);
  }
}

}  // namespace burnish::lowering
