// Intervals of affine forms over the ranges of open loops, sharpened by facts. The only prover of the compiler:
// "is this clip needed, is this guard decided, is this index never negative" are all this one question.
#pragma once

#include <vector>

#include "expr/expr.h"

namespace burnish {

struct Interval {
  int64_t lo, hi;  // inclusive
};

// v < ceil(a / d), as a form that is not negative: d v <= a - 1, or v <= (a - 1) / d where that is affine.
Aff less_than(VarId v, const Aff& a, int64_t d);

class Ranges {
 public:
  void set(VarId v, int64_t lo, int64_t hi);
  Interval of(VarId v) const;
  bool knows(VarId v) const;

  // `fact >= 0` holds from now on; `pivot` is the variable that the fact was stated for.
  void assume(VarId pivot, const Aff& fact);
  size_t fact_count() const { return facts_.size(); }
  void forget_to(size_t count) { facts_.resize(count); }

  // bounds(a) with facts; plain(a) without.
  Interval bounds(const Aff& a) const;
  Interval plain(const Aff& a) const;
  Interval bounds(const Index& i) const;  // atoms with a loaded value span [0, mod) or everything

 private:
  struct Fact {
    VarId pivot;
    Aff form;
  };
  std::vector<Interval> range_;
  std::vector<bool> known_;
  std::vector<Fact> facts_;
};

}  // namespace burnish
