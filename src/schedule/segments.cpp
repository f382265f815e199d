// How a loop is gone through: the tails of splits, the parts of partitions, and what a fused loop
// stands for.
#include <algorithm>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

const std::vector<Bound> kNoBounds;

bool divides(int64_t n, const Aff& a) {
  return a.c % n == 0 &&
         std::all_of(a.terms.begin(), a.terms.end(), [&](const Term& t) { return t.k % n == 0; });
}

// The segments of one part [base, base + n) of a loop under a tail.
void add_segments(std::vector<Segment>& out, const Loop& l, const std::string& name, int64_t base,
                  int64_t n) {
  int64_t f = l.factor;
  switch (l.tail) {
  case Tail::Exact:
    if (n % f) refuse_schedule("{}: {} does not divide {}", name, f, n);
    out.push_back({n / f, base, f, f});
    return;
  case Tail::Guard:
    if (n <= f)
      out.push_back({1, base, f, n});
    else
      out.push_back({ceil_div(n, f), base, f, f, n % f ? n : 0});
    return;
  case Tail::Whole: out.push_back({ceil_div(n, f), base, f, f, n % f ? n : 0}); return;
  case Tail::Tail:
    if (n / f) out.push_back({n / f, base, f, f});
    if (n % f) out.push_back({1, base + n / f * f, f, n % f});
    return;
  case Tail::Overlap:
    if (n <= f) {
      out.push_back({1, base, f, n});
      return;
    }
    out.push_back({n / f, base, f, f});
    if (n % f) out.push_back({1, base + n - f, f, f});
    return;
  case Tail::Balanced: {
    int64_t tiles = ceil_div(n, f), small = n / tiles, large = n % tiles;
    if (large) out.push_back({large, base, small + 1, small + 1});
    out.push_back({tiles - large, base + large * (small + 1), small, small});
    return;
  }
  }
}

}  // namespace

// Drops bounds that the ranges of the open loops prove; constant upper bounds become the extent.
Domain Lowering::prune(Domain d) const {
  Domain r;
  r.extent = d.extent;
  for (const Bound& b : d.upper)
    if (b.a.is_const()) r.extent = std::min(r.extent, ceil_div(b.a.c, b.div));
  int64_t first = 0;
  for (const Bound& b : d.lower)
    if (b.a.is_const()) first = std::max(first, ceil_div(b.a.c, b.div));
  if (first >= r.extent) r.extent = 0;
  r.extent = std::max<int64_t>(0, r.extent);
  // Of two bounds of which one always implies the other, that one stays.
  auto keep = [&](std::vector<Bound>& kept, Bound b, int sign) {
    auto implies = [&](const Bound& x, const Bound& y) {
      return x.div == y.div && ranges_.bounds((x.a - y.a) * sign).lo >= 0;
    };
    for (const Bound& k : kept)
      if (implies(k, b)) return;
    std::erase_if(kept, [&](const Bound& k) { return implies(b, k); });
    kept.push_back(std::move(b));
  };
  for (Bound& b : d.lower)
    if (ceil_div(ranges_.bounds(b.a).hi, b.div) > 0) keep(r.lower, std::move(b), 1);
  for (Bound& b : d.upper)
    if (!b.a.is_const() && ceil_div(ranges_.bounds(b.a).lo, b.div) < r.extent)
      keep(r.upper, std::move(b), -1);
  return r;
}

// Cuts of a partitioned loop that fall into its `extent` iterations, counted from where these
// begin. Where that varies, no cut may.
std::vector<int64_t> Lowering::cuts_inside(const Walk& w, LoopId l, int64_t extent) const {
  const Loop& loop = w.nest.loops[l];
  std::vector<int64_t> inside;
  for (const int64_t cut : loop.cuts) {
    const Interval at = ranges_.bounds(l < w.box.size() ? Aff(cut) - w.box[l].lo : Aff(cut));
    if (at.hi <= 0 || at.lo >= extent) continue;
    if (at.lo != at.hi) {
      refuse_schedule("{}.{} is partitioned but begins at a place that varies", w.stage.name,
                      loop.name);
    }
    inside.push_back(at.lo);
  }
  return inside;
}

void Lowering::set_domain(Walk& w, LoopId l, Domain d) {
  const Loop& loop = w.nest.loops[l];
  if (loop.is_split()) {
    std::string name = w.stage.name + "." + loop.name;
    std::vector<Segment>& segments = w.segments[l];
    segments.clear();
    if (d.varies()) {
      const bool whole = loop.tail == Tail::Whole;
      if ((loop.tail != Tail::Guard && !whole) || !loop.cuts.empty())
        refuse_schedule("{} has a varying extent: only guarded tails fit it", name);
      Segment s{ceil_div(d.extent, loop.factor), 0, loop.factor,
                whole ? loop.factor : std::min(loop.factor, d.extent),
                (whole || d.extent > loop.factor) && d.extent % loop.factor ? d.extent : 0};
      for (const Bound& b : d.upper)
        if (b.div == 1 && ceil_div(ranges_.bounds(b.a).lo, loop.factor) < s.count)
          s.upper.push_back({b.a, loop.factor});
      segments.push_back(std::move(s));
    } else if (d.extent > 0) {
      int64_t base = 0;
      for (int64_t at : cuts_inside(w, l, d.extent)) {
        add_segments(segments, loop, name, base, at - base);
        base = at;
      }
      add_segments(segments, loop, name, base, d.extent - base);
    }
  }
  w.dom[l] = std::move(d);
}

// Calls `f` for each way to go through loop l; `bind` enters it with a value, leave() leaves it.
void Lowering::each_entry(Walk& w, LoopId l, const EachEntry& f) {
  const Loop& loop = w.nest.loops[l];
  if (loop.is_fused()) {
    // Constant extents only; a = p / B and b = p % B in the loop's head, so that no affine form
    // sees them.
    each_entry(w, loop.first, [&](const Entry& a) {
      auto check_constant = [&](const Entry& e, LoopId part) {
        if (!e.lower->empty() || !e.upper->empty())
          refuse_schedule("{}.{}: fused loops need constant extents, that of {} varies",
                          w.stage.name, loop.name, w.nest.loops[part].name);
      };
      check_constant(a, loop.first);
      VarId va = fresh(w.nest.loops[loop.first].name, a.count, LoopKind::Serial, true);
      a.bind(a.count == 1 ? Aff(0) : Aff::of(va));
      each_entry(w, loop.second, [&](const Entry& b) {
        check_constant(b, loop.second);
        int64_t count = 0;
        if (__builtin_mul_overflow(a.count, b.count, &count))
          refuse_schedule("{}.{} would have more than 2^63 iterations", w.stage.name, loop.name);
        f({count, &kNoBounds, &kNoBounds, [&](const Aff& p) {
             w.value[l] = p;
             if (b.count == 1 || p.is_const()) {
               a.bind(b.count == 1 ? p : Aff(floor_div(p.c, b.count)));
               b.bind(b.count == 1 ? Aff(0) : Aff(floor_mod(p.c, b.count)));
               return;
             }
             if (a.count == 1) return b.bind(p);
             VarId vb = fresh(w.nest.loops[loop.second].name, b.count, LoopKind::Serial, true);
             Index quotient, remainder;
             quotient.atoms.push_back({p, {}, b.count, 0, 1});
             remainder.atoms.push_back({p, {}, 1, b.count, 1});
             lets_.emplace_back(va, quotient);
             a.bind(Aff::of(va));
             lets_.emplace_back(vb, remainder);
             b.bind(Aff::of(vb));
           }});
        leave(w, loop.second);
      });
      leave(w, loop.first);
    });
    return;
  }
  if (loop.parent != kNoLoop && w.nest.loops[loop.parent].outer == l) {
    LoopId parent = loop.parent;
    // A copy: entering the inner half may set the segments of loops below.
    const std::vector<Segment> segments = w.segments[parent];
    for (const Segment& s : segments)
      f({s.count, &kNoBounds, &s.upper, [&](const Aff& v) {
           w.value[l] = v;
           w.chosen[parent] = {s.base, s.stride};
           Domain inner;
           inner.extent = s.inner;
           const Domain& whole = w.dom[parent];
           for (const Bound& b : whole.lower)
             if (b.div == 1) inner.lower.push_back({b.a - v * s.stride, 1});
           // A clip at a whole tile clips no tile.
           for (const Bound& b : whole.upper)
             if (b.div == 1 && !(s.inner == s.stride && divides(s.stride, b.a)))
               inner.upper.push_back({b.a - v * s.stride, 1});
           if (s.end) inner.upper.push_back({Aff(s.end) - v * s.stride, 1});
           inner = prune(std::move(inner));
           if (w.nest.loops[parent].tail == Tail::Whole && inner.extent < s.stride) {
             inner.upper.push_back({Aff(inner.extent), 1});
             inner.extent = s.stride;
           }
           set_domain(w, w.nest.loops[parent].inner, std::move(inner));
         }});
    return;
  }
  const Domain d = w.dom[l];
  if (loop.cuts.empty() || loop.is_split() || d.extent <= 0) {
    f({d.extent, &d.lower, &d.upper, [&](const Aff& v) { w.value[l] = v; }});
    return;
  }
  if (d.varies())
    refuse_schedule("{}.{} is partitioned but its extent varies", w.stage.name, loop.name);
  int64_t base = 0;
  auto part = [&](int64_t begin, int64_t end) {
    f({end - begin, &kNoBounds, &kNoBounds,
       [&w, l, begin](const Aff& v) { w.value[l] = v + Aff(begin); }});
  };
  for (int64_t at : cuts_inside(w, l, d.extent)) {
    part(base, at);
    base = at;
  }
  part(base, d.extent);
}

// What entering set: the loop's value, and for a fused loop those of its parts.
void Lowering::leave(Walk& w, LoopId l) const {
  w.value[l].reset();
  if (w.nest.loops[l].is_fused()) {
    leave(w, w.nest.loops[l].first);
    leave(w, w.nest.loops[l].second);
  }
}

// Values of loop l that are still possible here.
Span Lowering::loop_span(const Walk& w, LoopId l) const {
  if (w.value[l]) return Span(*w.value[l], 1);
  const Loop& loop = w.nest.loops[l];
  if (loop.is_split() && w.value[loop.outer]) {
    auto [base, stride] = w.chosen[l];
    return loop_span(w, loop.inner).moved(*w.value[loop.outer] * stride + Aff(base));
  }
  const Domain& d = w.dom[l];
  Span s(Aff(0), d.extent);
  for (const Bound& b : d.lower)
    if (b.div == 1) s.clip_low(b.a);
  for (const Bound& b : d.upper)
    if (b.div == 1) s.clip_high(b.a);
  return s;
}

Aff Lowering::loop_value(const Walk& w, LoopId l) const {
  if (w.value[l]) return *w.value[l];
  const Loop& loop = w.nest.loops[l];
  check(loop.is_split(), "loop {}.{} has no value where it is used", w.stage.name, loop.name);
  auto [base, stride] = w.chosen[l];
  return loop_value(w, loop.outer) * stride + loop_value(w, loop.inner) + Aff(base);
}

}  // namespace burnish::lowering
