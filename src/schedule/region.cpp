#include "schedule/region.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace burnish::lowering {
namespace {

void keep_one(std::vector<Aff>& clips, const Aff& a, bool largest) {
  for (Aff& c : clips) {
    if (!c.same_slopes(a)) continue;
    c.c = largest ? std::max(c.c, a.c) : std::min(c.c, a.c);
    return;
  }
  clips.push_back(a);
}

}  // namespace

// A clip that moves as the span does is folded into it: what is left varies against the span.
void Span::clip_low(const Aff& a) {
  if (!a.same_slopes(lo)) return keep_one(clo, a, true);
  int64_t cut = a.c - lo.c;
  if (cut <= 0) return;
  lo.c += cut;
  ext = std::max<int64_t>(0, ext - cut);
}

void Span::clip_high(const Aff& a) {
  if (!a.same_slopes(lo)) return keep_one(chi, a, false);
  ext = std::max<int64_t>(0, std::min(ext, a.c - lo.c));
}

Span Span::moved(const Aff& by) const {
  Span s = *this;
  s.lo += by;
  for (Aff& c : s.clo) c += by;
  for (Aff& c : s.chi) c += by;
  return s;
}

const Span* AxisSpans::find(VarId v) const {
  for (size_t i = 0; i < axes->size(); ++i)
    if ((*axes)[i].var == v) return &(*box)[i];
  for (size_t i = 0; i < raxes->size(); ++i)
    if ((*raxes)[i].var == v) return &(*box)[axes->size() + i];
  return nullptr;
}

namespace {

// One clipped axis hands its clips on by its slope; with several, the clips are dropped: larger,
// still sound.
Span affine_span(const Aff& index, const AxisSpans& spans) {
  Aff lo(index.c), hi(index.c);  // inclusive
  const Span* clipped = nullptr;
  int64_t slope = 0;
  int count = 0;
  for (const Term& t : index.terms) {
    const Span* s = spans.find(t.var);
    check(s != nullptr, "an index uses a variable that is no axis of its stage");
    Aff first = s->lo * t.k, last = (s->lo + Aff(s->ext - 1)) * t.k;
    lo += t.k > 0 ? first : last;
    hi += t.k > 0 ? last : first;
    if (!s->clo.empty() || !s->chi.empty()) {
      clipped = s;
      slope = t.k;
      ++count;
    }
  }
  Span r(lo, (hi - lo).c + 1);
  if (count != 1) return r;
  for (const Aff& c : clipped->clo) {
    Aff by = (c - clipped->lo) * slope;
    slope > 0 ? r.clip_low(lo + by) : r.clip_high(hi + by + Aff(1));
  }
  for (const Aff& c : clipped->chi) {
    Aff by = (c - clipped->end()) * slope;
    slope > 0 ? r.clip_high(hi + by + Aff(1)) : r.clip_low(lo + by);
  }
  return r;
}

// floor(a / d) where that is affine.
std::optional<Aff> divided(const Aff& a, int64_t d) {
  Aff q(floor_div(a.c, d));
  for (const Term& t : a.terms) {
    if (t.k % d != 0) return std::nullopt;
    q.add(t.var, t.k / d);
  }
  return q;
}

std::optional<Span> divided(const Span& s, int64_t d) {
  if (d == 1) return s;
  auto lo = divided(s.lo, d), last = divided(s.lo + Aff(s.ext - 1), d);
  if (!lo || !last) return std::nullopt;
  Span r(*lo, (*last - *lo).c + 1);
  r.whole = s.whole;
  for (const Aff& c : s.clo)
    if (auto q = divided(c, d)) r.clip_low(*q);
  for (const Aff& c : s.chi)
    if (auto q = divided(c - Aff(1), d)) r.clip_high(*q + Aff(1));
  return r;
}

Span scaled(const Span& s, int64_t k) {
  if (k == 0) return Span(Aff(0), 1);
  Span r((k > 0 ? s.lo : s.lo + Aff(s.ext - 1)) * k, std::abs(k) * (s.ext - 1) + 1);
  r.whole = s.whole;
  for (const Aff& c : s.clo) k > 0 ? r.clip_low(c * k) : r.clip_high(c * k + Aff(1));
  for (const Aff& c : s.chi) {
    Aff last = (c - Aff(1)) * k;
    k > 0 ? r.clip_high(last + Aff(1)) : r.clip_low(last);
  }
  return r;
}

Span sum(const Span& a, const Span& b) {
  bool clips_a = !a.clo.empty() || !a.chi.empty(), clips_b = !b.clo.empty() || !b.chi.empty();
  Span r(a.lo + b.lo, a.ext + b.ext - 1);
  r.whole = a.whole || b.whole;
  if (clips_a && clips_b) return r;
  const Span& with = clips_a ? a : b;
  const Span& other = clips_a ? b : a;
  for (const Aff& c : with.clo) r.clip_low(c + other.lo);
  for (const Aff& c : with.chi) r.clip_high(c + other.lo + Aff(other.ext - 1));
  return r;
}

std::optional<Span> atom_span(const Atom& atom, const AxisSpans& spans, const Ranges& ranges);

std::optional<Span> index_span(const Index& index, const AxisSpans& spans, const Ranges& ranges) {
  Span r = affine_span(index.a, spans);
  for (const Atom& atom : index.atoms) {
    auto s = atom_span(atom, spans, ranges);
    if (!s) return std::nullopt;
    r = sum(r, *s);
  }
  return r;
}

std::optional<Span> atom_span(const Atom& atom, const AxisSpans& spans, const Ranges& ranges) {
  std::optional<Span> s;
  if (!atom.value) {
    s = affine_span(atom.a, spans);
  } else if (atom.value.kind() == ExprKind::Affine) {
    s = index_span(atom.value.index(), spans, ranges);
    if (s) s = sum(*s, affine_span(atom.a, spans));
  }
  if (s) s = divided(*s, atom.div);
  if (atom.mod) {
    bool inside = s && ranges.bounds(s->lo).lo >= 0 && ranges.bounds(s->lo).hi + s->ext <= atom.mod;
    if (!inside) {
      s = Span(Aff(0), atom.mod);
      s->whole = true;
    }
  }
  if (s) s = scaled(*s, atom.scale);
  return s;
}

}  // namespace

Span span_through(const Index& index, const AxisSpans& spans, int64_t extent,
                  const Ranges& ranges) {
  if (index.is_affine()) return affine_span(index.a, spans);
  if (auto s = index_span(index, spans, ranges)) return *s;
  Span all(Aff(0), extent);
  all.whole = true;
  return all;
}

Span hull(const Span& a, const Span& b) {
  if (!a.lo.same_slopes(b.lo))
    refuse_schedule(
        "two consumers need regions that move differently: compute the producer further out");
  int64_t begin = std::min(a.lo.c, b.lo.c), end = std::max(a.lo.c + a.ext, b.lo.c + b.ext);
  Span r(a.lo, end - begin);
  r.lo.c = begin;
  r.whole = a.whole || b.whole;
  // A clip survives where both sides have one of its slope.
  for (const Aff& x : a.clo)
    for (const Aff& y : b.clo)
      if (x.same_slopes(y)) r.clip_low(x.c < y.c ? x : y);
  for (const Aff& x : a.chi)
    for (const Aff& y : b.chi)
      if (x.same_slopes(y)) r.clip_high(x.c > y.c ? x : y);
  return r;
}

}  // namespace burnish::lowering
