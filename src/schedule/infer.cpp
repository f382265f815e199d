// Regions of the stages computed inside a loop, consumers before producers. Three for each:
//   full   if nothing rolled: only tells where a warm-up starts
//   need   what the consumers' fresh parts read: sizes buffers
//   fresh  what is computed here: sizes loops, and is handed on to the producers
#include <algorithm>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {

// The part of a consumer's box that is computed, and so reads its producers; for one load, the part
// that reaches it.
Box Lowering::in_domain(StageId s, const Box& box, const Reader* reader) const {
  const Stage& t = stage(s);
  Box r = box;
  for (size_t a = 0; a < r.size(); ++a) {
    const Limit domain{0, a < t.axes.size() ? t.axes[a].extent : t.raxes[a - t.axes.size()].extent};
    const Limit limit = reader ? reader->limits[a] : domain;
    // Of what is computed over its whole region only the guards of this load leave something out.
    if (reader && schedule_.nest(s).guard_halo && limit.lo == domain.lo && limit.hi == domain.hi) continue;
    Interval lo = ranges_.bounds(r[a].lo);
    if (lo.lo < limit.lo) r[a].clip_low(Aff(limit.lo));
    if (lo.hi + box[a].ext > limit.hi) r[a].clip_high(Aff(limit.hi));
  }
  return r;
}

// A recurrence needs its previous value too: one where it rolls, all of them where its own loop is
// the time.
void Lowering::scan_extent(StageId s, Span& span) const {
  int64_t more = !span.lo.is_const() || warm_ ? std::max<int64_t>(0, 2 - span.ext) : span.lo.c + 1;
  (void)s;
  span.lo.c -= more;
  span.ext += more;
  for (Aff& c : span.clo) c.c -= more;
}

// What is kept in registers has one size: a clip goes where all of the region exists.
void Lowering::compute_whole(Span& span, int64_t extent) const {
  Interval lo = ranges_.bounds(span.lo);
  if (lo.lo < 0 || lo.hi + span.ext > extent) return;
  span.clo.clear();
  span.chi.clear();
}

namespace {

// A region in vectors begins at a whole one, where its place moves in whole ones: they are aligned in memory then, and guards are
// the same for all of one.
void begin_at_vector(const Nest& n, const Loop& axis, Span& span) {
  const Loop* l = &axis;
  int64_t width = 1;
  while (l->is_split()) {
    width = l->factor;
    l = &n.loops[l->inner];
  }
  if (l->kind != LoopKind::Vectorize || std::ranges::any_of(span.lo.terms, [&](const Term& t) { return t.k % width != 0; })) return;
  const int64_t before = floor_mod(span.lo.c, width);
  span.lo.c -= before;
  span.ext += before;
}

}  // namespace

Lowering::Regions Lowering::infer(const Point& p, const Box* owner_box) {
  size_t n = group_.stages.size();
  Regions r{std::vector<Box>(n), std::vector<Box>(n), std::vector<Box>(n), std::vector<bool>(n)};
  std::vector<Box> inner_full(n), inner_fresh(n);
  if (owner_box) {
    r.full[p.stage] = r.need[p.stage] = r.fresh[p.stage] = *owner_box;
    r.known[p.stage] = true;
    inner_full[p.stage] = inner_fresh[p.stage] =
        schedule_.nest(p.stage).guard_halo ? *owner_box : in_domain(p.stage, *owner_box, nullptr);
  }
  for (StageId s = static_cast<StageId>(n); s-- > 0;) {
    const Info& i = info_[s];
    const Stage& t = stage(s);
    if (!i.live || !t.is_compute() || r.known[s] || !inside(s, p)) continue;
    bool read = i.output;  // here, by a stage that has a region
    for (const Reader& reader : i.readers) read |= reader.consumer != s && r.known[reader.consumer];
    if (!read) continue;
    r.known[s] = true;
    auto through = [&](const std::vector<Box>& of, const std::vector<Box>& inner, Box& to) {
      std::vector<std::optional<Span>> spans(t.axes.size());
      if (i.output)
        for (size_t a = 0; a < t.axes.size(); ++a) spans[a] = Span(Aff(0), t.axes[a].extent);
      for (const Reader& reader : i.readers) {
        if (i.output) break;
        if (reader.consumer == s || !r.known[reader.consumer]) continue;
        const Stage& c = stage(reader.consumer);
        Box narrowed;
        bool narrow = reader.narrowed &&
                      !t.scan;  // a recurrence is needed from its start, whoever reads it when
        if (narrow) narrowed = in_domain(reader.consumer, of[reader.consumer], &reader);
        AxisSpans axes{&c.axes, &c.raxes, narrow ? &narrowed : &inner[reader.consumer]};
        for (size_t a = 0; a < t.axes.size(); ++a) {
          Span span = span_through(reader.load.indices()[a], axes, t.axes[a].extent, ranges_);
          spans[a] = spans[a] ? hull(*spans[a], span) : span;
        }
      }
      for (size_t a = 0; a < spans.size(); ++a) {
        // An index that is not affine here may have been at the place of storage: that region holds
        // all that is read.
        const Storage& at = storage_[s];
        if (spans[a]->whole && at.alive && i.store != p && !i.output)
          spans[a] = Span(at.lo[a], at.ext[a]);
        if (schedule_.nest(s).guard_halo) {
          spans[a]->clo.clear();
          spans[a]->chi.clear();
          const Loop& l = schedule_.nest(s).loops[a];
          if (l.is_split() && l.tail == Tail::Whole) {
            begin_at_vector(schedule_.nest(s), l, *spans[a]);
            spans[a]->ext = ceil_div(spans[a]->ext, l.factor) * l.factor;
          }
        } else if (schedule_.nest(s).in_registers()) {
          compute_whole(*spans[a], t.axes[a].extent);
        }
        to.push_back(std::move(*spans[a]));
      }
      if (t.scan) scan_extent(s, to[*t.scan]);
      for (const Axis& a : t.raxes) to.push_back(Span(Aff(0), a.extent));
    };
    through(r.full, inner_full, r.full[s]);
    through(r.fresh, inner_fresh, r.need[s]);
    r.fresh[s] = p.stage != kRoot && i.compute == p ? roll(s, r.full[s], r.need[s]) : r.need[s];
    const bool whole = schedule_.nest(s).guard_halo;
    inner_full[s] = whole ? r.full[s] : in_domain(s, r.full[s], nullptr);
    inner_fresh[s] = whole ? r.fresh[s] : in_domain(s, r.fresh[s], nullptr);
  }
  return r;
}

}  // namespace burnish::lowering
