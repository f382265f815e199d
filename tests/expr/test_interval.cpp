// Intervals against all points of small boxes.
#include <gtest/gtest.h>

#include "base/error.h"
#include "expr/interval.h"
#include "random_expr.h"

namespace burnish {
namespace {

struct Box {
  std::vector<Interval> sides;
  // Calls f with every point.
  template <class F> void each(F&& f) const {
    std::vector<int64_t> p;
    for (const Interval& s : sides) p.push_back(s.lo);
    for (;;) {
      f(p);
      size_t i = 0;
      while (i < p.size() && ++p[i] > sides[i].hi) p[i] = sides[i].lo, ++i;
      if (i == p.size()) return;
    }
  }
};

int64_t at(const Aff& a, const std::vector<int64_t>& p) {
  int64_t sum = a.c;
  for (const Term& t : a.terms) sum += t.k * p[t.var];
  return sum;
}

int64_t at(const Index& i, const std::vector<int64_t>& p) {
  int64_t sum = at(i.a, p);
  for (const Atom& x : i.atoms) {
    int64_t y = floor_div(at(x.a, p), x.div);
    sum += x.scale * (x.mod ? floor_mod(y, x.mod) : y);
  }
  return sum;
}

TEST(Ranges, BoundsHoldAtEveryPointAndPlainOnesAreTight) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    test::RandomExpr random(seed, 3, {}, false);
    Ranges ranges;
    Box box;
    for (VarId v = 0; v < 3; ++v) {
      int64_t lo = random.pick(-6, 6);
      box.sides.push_back({lo, lo + random.pick(0, 6)});
      ranges.set(v, box.sides[v].lo, box.sides[v].hi);
    }
    Aff a = random.aff();
    Index i = random.index(0);
    std::vector<Aff> facts;
    for (int64_t n = random.pick(0, 3); n > 0; --n) {
      Aff fact = random.aff();
      if (fact.is_const()) continue;
      facts.push_back(fact);
      ranges.assume(fact.terms[size_t(random.pick(0, int64_t(fact.terms.size()) - 1))].var, fact);
    }
    Interval plain = ranges.plain(a), sharp = ranges.bounds(a), of_index = ranges.bounds(i);
    int64_t least = INT64_MAX, most = INT64_MIN;
    box.each([&](const std::vector<int64_t>& p) {
      least = std::min(least, at(a, p));
      most = std::max(most, at(a, p));
      for (const Aff& fact : facts) {
        if (at(fact, p) < 0) return;
      }
      EXPECT_GE(at(a, p), sharp.lo);
      EXPECT_LE(at(a, p), sharp.hi);
      EXPECT_GE(at(i, p), of_index.lo);
      EXPECT_LE(at(i, p), of_index.hi);
    });
    EXPECT_EQ(plain.lo, least);
    EXPECT_EQ(plain.hi, most);
  }
}

TEST(Ranges, FactsSharpen) {
  Ranges r;
  r.set(0, 0, 9);    // y
  r.set(1, 0, 100);  // t
  Aff y = Aff::of(0), t = Aff::of(1);
  size_t before = r.fact_count();
  r.assume(0, t * 68 + Aff(4) - y);  // y <= 68 t + 4
  r.assume(0, y - t + Aff(3));       // y >= t - 3
  EXPECT_EQ(r.bounds(t * 68 - y).lo, -4);
  EXPECT_EQ(r.plain(t * 68 - y).lo, -9);
  EXPECT_EQ(r.bounds(y * 16 - t * 16).lo, -48);
  r.forget_to(before);
  EXPECT_EQ(r.bounds(t * 68 - y).lo, -9);
}

TEST(Ranges, AtomsWithLoadedValues) {
  Ranges r;
  r.set(0, 2, 5);
  Index i(Aff::of(0));
  i.atoms.push_back(
      {.a = Aff(0), .value = load(DType::I64, 0, {}), .div = 1, .mod = 8, .scale = -3});
  EXPECT_EQ(r.bounds(i).lo, 2 - 21);
  EXPECT_EQ(r.bounds(i).hi, 5);
  i.atoms[0].mod = 0;
  EXPECT_LT(r.bounds(i).lo, -1000000);
  EXPECT_GT(r.bounds(i).hi, 1000000);
  EXPECT_FALSE(r.knows(7));
  EXPECT_THROW(r.of(7), InternalError);
}

}  // namespace
}  // namespace burnish
