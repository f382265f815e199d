// The innermost statements: axes become affine forms of loop variables, loads become buffer
// addresses, guards that intervals decide vanish.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "schedule/lowering.h"
#include "schedule/steps.h"

namespace burnish::lowering {

Stmt Lowering::statement(Walk& w, Part part) {
  const Stage& t = w.stage;
  std::vector<Aff> values;
  values.reserve(t.axes.size() + t.raxes.size());
  for (LoopId a = 0; a < t.axes.size(); ++a) values.push_back(loop_value(w, a) + w.box[a].lo);
  bool update = part == Part::Main || part == Part::Update;
  if (update)
    for (LoopId r = 0; r < t.raxes.size(); ++r)
      values.push_back(loop_value(w, static_cast<LoopId>(t.axes.size() + r)));
  for (size_t a = 0; a < t.axes.size(); ++a) env_[t.axes[a].var] = &values[a];
  if (update)
    for (size_t r = 0; r < t.raxes.size(); ++r) env_[t.raxes[r].var] = &values[t.axes.size() + r];
  done_.clear();
  std::vector<Index> place;
  for (size_t a = 0; a < t.axes.size(); ++a) place.push_back(Index(values[a]));
  Index at = address(w.id, place);
  BufferId buffer = storage_[w.id].buffer;
  if (lane_ && at.a.slope(*lane_) != 1)
    refuse_schedule("{} would be stored with stride {} by vector loop {}", t.name,
                    at.a.slope(*lane_), lane_name_);
  auto current = [&] { return load(t.dtype, buffer, {at}); };
  auto initial = [&] { return t.init ? translate(t.init) : neutral(t.op, t.dtype); };
  auto finished = [&](Expr value) {
    if (!t.finish) return value;
    acc_ = std::move(value);
    done_.clear();
    return translate(t.finish);
  };
  Expr value;
  whole_ = w.nest.guard_halo;
  if (whole_ && !info_[w.id].fills.empty()) {
    if (t.is_reduction()) refuse_schedule("{} is a reduction that is read outside its domain: cache_write it", t.name);
    std::vector<Index> inside;
    for (size_t a = 0; a < t.axes.size(); ++a) {
      inside.push_back(Index(values[a]));
      inside.push_back(Index(Aff(t.axes[a].extent - 1) - values[a]));
    }
    value = guarded(
        std::move(inside), [&] { return finished(translate(t.body)); }, [&] { return the_fill(w.id); });
  } else if (!t.is_reduction()) {
    value = finished(translate(t.body));
  } else if (part == Part::Init) {
    value = initial();
  } else if (part == Part::Finish) {
    value = finished(current());
  } else if (part == Part::Main) {  // a reduction over nothing but single points
    value = finished(combine(t.op, initial(), translate(t.body)));
  } else if (!w.nest.guard_init) {
    value = combine(t.op, current(), translate(t.body));
  } else {
    // x = last ? finish(c) : c with c = (first ? init : x) (+) b
    std::vector<Index> first, last;
    for (size_t r = 0; r < t.raxes.size(); ++r) {
      const Aff& i = values[t.axes.size() + r];
      first.push_back(Index(-i));
      last.push_back(Index(i - Aff(t.raxes[r].extent - 1)));
    }
    Expr before = guarded(std::move(first), initial, current);
    Expr after = combine(t.op, std::move(before), translate(t.body));
    value = t.finish ? guarded(
                           std::move(last), [&] { return finished(after); }, [&] { return after; })
                     : after;
  }
  for (const auto* axes : {&t.axes, &t.raxes})
    for (const Axis& a : *axes) env_[a.var] = nullptr;
  return make_store(buffer, std::move(at), std::move(value));
}

Aff Lowering::value_of(const Aff& a) const {
  Aff r(a.c);
  for (const Term& t : a.terms) {
    const Aff* value = env_[t.var];
    check(value != nullptr, "variable {} has no value in this statement", group_.vars[t.var]);
    if (t.k == 1)
      r += *value;
    else
      r += *value * t.k;
  }
  return r;
}

Index Lowering::position(const Index& i) {
  Index r(value_of(i.a));
  for (const Atom& atom : i.atoms) {
    Aff a = value_of(atom.a);
    Expr value = atom.value ? translate(atom.value) : Expr();
    if (value && value.kind() == ExprKind::Affine && value.index().is_affine()) {
      a += value.index().a;
      value = Expr();
    }
    if (value) {
      r.atoms.push_back({std::move(a), std::move(value), atom.div, atom.mod, atom.scale});
      continue;
    }
    Index q = divide(a, atom.div, atom.mod);
    r.a += q.a * atom.scale;
    for (Atom& left : q.atoms) {
      left.scale *= atom.scale;
      r.atoms.push_back(std::move(left));
    }
  }
  return r;
}

bool Lowering::has_lane(const Index& i) const {
  if (!lane_) return false;
  if (i.a.slope(*lane_)) return true;
  bool found = false;
  for (const Atom& atom : i.atoms) {
    found |= atom.a.slope(*lane_) != 0;
    if (atom.value)
      visit(atom.value, [&](const Expr& e) {
        if (e.kind() == ExprKind::Affine) found |= has_lane(e.index());
        if (e.kind() == ExprKind::Load) found |= has_lane(e.indices()[0]);
      });
  }
  return found;
}

Expr Lowering::translate(const Expr& e) {
  if (e.kind() == ExprKind::Const) return e;
  if (e.kind() == ExprKind::Acc) {
    check(bool(acc_), "an accumulator outside a finish expression");
    return acc_;
  }
  if (auto at = done_.find(e.get()); at != done_.end()) return at->second;
  Expr r;
  switch (e.kind()) {
  case ExprKind::Const:
  case ExprKind::Acc: break;
  case ExprKind::Affine: r = affine(position(e.index())); break;
  case ExprKind::Load: r = translate_load(e); break;
  case ExprKind::Select: r = translate_select(e); break;
  case ExprKind::Binary: {
    Expr a = translate(e.children()[0]), b = translate(e.children()[1]);
    r = binary(e.binary(), std::move(a), std::move(b));
    break;
  }
  case ExprKind::Unary: r = unary(e.unary(), translate(e.children()[0])); break;
  case ExprKind::Cast: r = cast(e.dtype(), translate(e.children()[0])); break;
  case ExprKind::Call: {
    std::vector<Expr> args;
    for (const Expr& c : e.children()) args.push_back(translate(c));
    r = call(e.dtype(), std::string(e.callee()), std::move(args));
    break;
  }
  }
  done_.emplace(e.get(), r);
  return r;
}

namespace {

// Of the positions along an axis that lie in memory: blocks of a packed constant are whole, filled up with zeros (pack_constant).
int64_t stored_extent(const Stage& constant, size_t axis) {
  const int64_t extent = constant.axes[axis].extent;
  for (const LayoutDim& d : constant.layout)
    if (d.axis == axis && d.mod == 0) return ceil_div(extent, d.div) * d.div;
  return extent;
}

}  // namespace

// A producer in the group has its halo filled; anything else is guarded where it may be read
// outside its domain.
Expr Lowering::translate_load(const Expr& e) {
  StageId s = e.from();
  const Stage& t = stage(s);
  std::vector<Index> place;
  for (const Index& i : e.indices()) place.push_back(position(i));
  auto read = [&] { return load(e.dtype(), storage_[s].buffer, {address(s, place)}); };
  if (t.is_compute() && !info_[s].output) return read();
  if (!e.fill() && !whole_) return read();
  const bool zeros = t.kind == StageKind::Constant && schedule::zero_outside(e);
  std::vector<Index> inside;
  for (size_t a = 0; a < place.size(); ++a) {
    const Index& i = place[a];
    Index rest = i;
    rest.a = Aff((zeros ? stored_extent(t, a) : t.axes[a].extent) - 1) - i.a;
    for (Atom& atom : rest.atoms) atom.scale = -atom.scale;
    inside.push_back(i);
    inside.push_back(std::move(rest));
  }
  return guarded(std::move(inside), read, [&] { return e.fill() ? translate(e.fill()) : constant(0, e.dtype()); });
}

Expr Lowering::translate_select(const Expr& e) {
  if (auto conditions = as_nonnegative(e.children()[0])) {
    for (Index& i : *conditions) i = position(i);
    return guarded(
        std::move(*conditions), [&] { return translate(e.children()[1]); },
        [&] { return translate(e.children()[2]); });
  }
  Expr condition = translate(e.children()[0]);
  ++guards_;
  Expr then = translate(e.children()[1]), otherwise = translate(e.children()[2]);
  --guards_;
  return select(std::move(condition), std::move(then), std::move(otherwise));
}

// Drops the lane from the condition c >= 0 where all lanes agree: the rest of c moves in steps that hold all lanes.
bool Lowering::without_lane(Index& c) const {
  const int64_t slope = c.a.slope(*lane_), last = ranges_.of(*lane_).hi;
  if (!c.is_affine() || (slope != 1 && slope != -1)) return false;
  int64_t unit = 0;
  for (const Term& t : c.a.terms)
    if (t.var != *lane_) unit = std::gcd(unit, t.k);
  if (unit <= last) return false;
  const int64_t within = floor_mod(c.a.c, unit);
  if (slope > 0 ? within + last >= unit : within < last) return false;
  c.a.add(*lane_, -slope);
  c.a.c -= within;  // says the same, and what it says of every lane is plain
  return true;
}

// all conditions >= 0 ? then : otherwise, without what intervals decide.
Expr Lowering::guarded(std::vector<Index> conditions, const std::function<Expr()>& then,
                       const std::function<Expr()>& otherwise) {
  std::vector<Index> left;
  for (Index& c : conditions) {
    Interval range = ranges_.bounds(c);
    if (range.hi < 0) return otherwise();
    if (range.lo >= 0) continue;
    if (has_lane(c) && !without_lane(c) && !lanes_apart_) refuse_schedule("a guard varies across vector lanes of {}", lane_name_);
    left.push_back(std::move(c));
  }
  if (left.empty()) return then();
  size_t facts = ranges_.fact_count();
  for (const Index& c : left)
    if (c.is_affine())
      for (const Term& t : c.a.terms) ranges_.assume(t.var, c.a);
  // What is decided under the guard is not decided outside it.
  auto outside = done_;
  ++guards_;
  Expr a = then();
  done_ = outside;
  ranges_.forget_to(facts);
  Expr b = otherwise();
  done_ = std::move(outside);
  --guards_;
  // A guard in a guard for the same value is one of both.
  if (a.kind() == ExprKind::Select && b.kind() == ExprKind::Const && equal(a.children()[2], b)) {
    if (const auto inner = as_nonnegative(a.children()[0])) {
      left.insert(left.end(), inner->begin(), inner->end());
      a = Expr(a.children()[1]);
    }
  }
  return select(all_nonnegative(left), std::move(a), std::move(b));
}

}  // namespace burnish::lowering
