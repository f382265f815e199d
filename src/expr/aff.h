// Affine forms over loop variables and axes: the index language of te and of the loops.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/small_vec.h"

namespace burnish {

// A loop variable or an axis; the number of its row in the owner's table of names (StageGroup, Function).
using VarId = uint32_t;

struct Term {
  VarId var;
  int64_t k;
  friend bool operator==(const Term&, const Term&) = default;
};

// sum(k * var) + c. Terms are sorted by variable and have k != 0.
struct Aff {
  SmallVec<Term, 6> terms;
  int64_t c = 0;

  Aff() = default;
  Aff(int64_t constant) : c(constant) {}
  static Aff of(VarId v, int64_t k = 1);

  bool is_const() const { return terms.empty(); }
  int64_t slope(VarId v) const;  // k of v, 0 when absent
  void add(VarId v, int64_t k);

  Aff& operator+=(const Aff& o);
  Aff& operator-=(const Aff& o);
  Aff& operator*=(int64_t k);
  friend Aff operator+(Aff a, const Aff& b) { return a += b; }
  friend Aff operator-(Aff a, const Aff& b) { return a -= b; }
  friend Aff operator*(Aff a, int64_t k) { return a *= k; }
  friend Aff operator-(Aff a) { return a *= -1; }
  friend bool operator==(const Aff&, const Aff&) = default;
  bool same_slopes(const Aff& o) const { return terms == o.terms; }
};

// Replaces variables; `value` returns null for those that stay.
Aff substitute(const Aff& a, const std::function<const Aff*(VarId)>& value);
Aff substitute(const Aff& a, VarId v, const Aff& value);

inline int64_t floor_div(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }
inline int64_t floor_mod(int64_t a, int64_t b) {
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
inline int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

}  // namespace burnish
