#include "expr/interval.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace burnish {

namespace {
constexpr int64_t unbounded = std::numeric_limits<int64_t>::max() / 4;
}  // namespace

Aff less_than(VarId v, const Aff& a, int64_t d) {
  Aff most = a - Aff(1);
  if (std::all_of(most.terms.begin(), most.terms.end(), [&](const Term& t) { return t.k % d == 0; })) {
    for (Term& t : most.terms) t.k /= d;
    most.c = floor_div(most.c, d);
    d = 1;
  }
  return most - Aff::of(v, d);
}

void Ranges::set(VarId v, int64_t lo, int64_t hi) {
  if (v >= range_.size()) {
    range_.resize(v + 1, {0, 0});
    known_.resize(v + 1, false);
  }
  range_[v] = {lo, hi};
  known_[v] = true;
}

bool Ranges::knows(VarId v) const { return v < known_.size() && known_[v]; }

Interval Ranges::of(VarId v) const {
  check(knows(v), "the range of variable {} is not known", v);
  return range_[v];
}

void Ranges::assume(VarId pivot, const Aff& fact) {
  if (fact.slope(pivot) != 0) facts_.push_back({pivot, fact});
}

Interval Ranges::plain(const Aff& a) const {
  Interval r{a.c, a.c};
  for (const Term& t : a.terms) {
    Interval v = of(t.var);
    r.lo += t.k * (t.k > 0 ? v.lo : v.hi);
    r.hi += t.k * (t.k > 0 ? v.hi : v.lo);
  }
  return r;
}

// fact >= 0. With k = q * slope: a = q * fact + rest, so a >= rest for q > 0 and a <= rest for q < 0.
Interval Ranges::bounds(const Aff& a) const {
  Interval r = plain(a);
  for (const Fact& f : facts_) {
    int64_t k = a.slope(f.pivot), s = f.form.slope(f.pivot);
    if (!k || k % s) continue;
    int64_t q = k / s;
    Interval rest = plain(a - f.form * q);
    if (q > 0) {
      r.lo = std::max(r.lo, rest.lo);
    } else {
      r.hi = std::min(r.hi, rest.hi);
    }
  }
  return r;
}

Interval Ranges::bounds(const Index& i) const {
  Interval r = bounds(i.a);
  for (const Atom& atom : i.atoms) {
    Interval x{-unbounded, unbounded};
    if (!atom.value) {
      x = bounds(atom.a);
      x = {floor_div(x.lo, atom.div), floor_div(x.hi, atom.div)};
    }
    if (atom.mod && floor_div(x.lo, atom.mod) != floor_div(x.hi, atom.mod))
      x = {0, atom.mod - 1};
    else if (atom.mod)
      x = {floor_mod(x.lo, atom.mod), floor_mod(x.hi, atom.mod)};
    if (x.lo == -unbounded) return {-unbounded, unbounded};
    r.lo += atom.scale * (atom.scale > 0 ? x.lo : x.hi);
    r.hi += atom.scale * (atom.scale > 0 ? x.hi : x.lo);
  }
  return r;
}

}  // namespace burnish
