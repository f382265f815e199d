// Affine forms against arithmetic on points.
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "expr/expr.h"
#include "random_expr.h"

namespace burnish {
namespace {

using Point = std::vector<int64_t>;

int64_t at(const Aff& a, const Point& p) {
  int64_t sum = a.c;
  for (const Term& t : a.terms) sum += t.k * p[t.var];
  return sum;
}

bool is_normal(const Aff& a) {
  for (size_t i = 0; i < a.terms.size(); ++i) {
    if (a.terms[i].k == 0 || (i && a.terms[i - 1].var >= a.terms[i].var)) return false;
  }
  return true;
}

TEST(Aff, AlgebraAgreesWithPointsAndStaysNormal) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    test::RandomExpr random(seed, 12, {}, false);
    auto wide = [&] {  // more terms than a SmallVec keeps inline
      Aff a = random.aff();
      for (int64_t n = random.pick(0, 10); n > 0; --n) a += random.aff();
      return a;
    };
    Aff a = wide(), b = wide();
    Point p(12);
    for (int64_t& x : p) x = random.pick(-50, 50);
    int64_t k = random.pick(-3, 3);
    for (const Aff& x : {a + b, a - b, a * k, -a}) EXPECT_TRUE(is_normal(x));
    EXPECT_EQ(at(a + b, p), at(a, p) + at(b, p));
    EXPECT_EQ(at(a - b, p), at(a, p) - at(b, p));
    EXPECT_EQ(at(a * k, p), at(a, p) * k);
    EXPECT_EQ(a - a, Aff());
    EXPECT_EQ((a + b) - b, a);
    Aff twice = a;
    twice += twice;
    EXPECT_EQ(twice, a * 2);
    Aff none = a;
    none -= none;
    EXPECT_EQ(none, Aff());
    VarId v = VarId(random.pick(0, 11));
    Point q = p;
    q[v] = at(b, p);
    EXPECT_EQ(at(substitute(a, v, b), p), at(a, q));
    Aff other = random.aff();
    auto both = [&](VarId w) -> const Aff* { return w == v ? &b : w == 0 ? &other : nullptr; };
    Point r = p;
    r[0] = at(other, p);
    r[v] = at(b, p);
    EXPECT_EQ(at(substitute(a, both), p), at(a, r)) << "all at once, not one after the other";
    EXPECT_EQ(a.same_slopes(a + Aff(5)), true);
  }
}

TEST(Aff, FloorAndCeilDivision) {
  for (int64_t a = -50; a <= 50; ++a) {
    for (int64_t b = 1; b <= 9; ++b) {
      EXPECT_EQ(floor_div(a, b), int64_t(std::floor(double(a) / double(b))));
      EXPECT_EQ(ceil_div(a, b), int64_t(std::ceil(double(a) / double(b))));
      EXPECT_EQ(floor_mod(a, b), a - b * floor_div(a, b));
      EXPECT_GE(floor_mod(a, b), 0);
      EXPECT_EQ(floor_div(a, -b), int64_t(std::floor(double(a) / double(-b))));
    }
  }
}

TEST(Expr, SubstituteKeepsSharingAndFoldsIndices) {
  Index i(Aff::of(0, 16) + Aff::of(1));
  Expr x = load(DType::F32, 3, {i});
  Expr shared = unary(UnaryOp::Exp, x);
  Expr e = shared * shared + x;
  Aff to = Aff::of(2, 2) + Aff(5);
  Expr out = substitute(e, [&](VarId v) { return v == 0 ? &to : nullptr; });
  auto sum = out.children();
  EXPECT_TRUE(sum[0].children()[0].same_as(sum[0].children()[1]));
  EXPECT_TRUE(sum[0].children()[0].children()[0].same_as(sum[1]));
  EXPECT_EQ(sum[1].indices()[0].a, Aff::of(2, 32) + Aff::of(1) + Aff(80));
  // Nothing to replace in the value: the value inside the atom is found too.
  Index gather(Aff::of(1));
  gather.atoms.push_back({.a = Aff(1),
                          .value = load(DType::I64, 4, {Index(Aff::of(0))}),
                          .div = 1,
                          .mod = 8,
                          .scale = 4});
  Index moved = substitute(gather, [&](VarId v) { return v == 0 ? &to : nullptr; });
  EXPECT_EQ(moved.atoms[0].value.indices()[0].a, to);
  // Atoms of constants become constants.
  Index atom;
  atom.atoms.push_back({.a = Aff::of(0) + Aff(3), .value = {}, .div = 4, .mod = 5, .scale = 7});
  for (int64_t v = -40; v < 40; ++v) {
    Aff value(v);
    Index folded = substitute(atom, [&](VarId) { return &value; });
    EXPECT_TRUE(folded.is_affine());
    EXPECT_EQ(folded.a, Aff(7 * floor_mod(floor_div(v + 3, 4), 5)));
  }
}

TEST(Expr, RewriteKeepsHandlesAndMeetsEachNodeOnce) {
  std::vector<DType> froms(3, DType::F32);
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    test::RandomExpr random(seed, 4, froms, true);
    Expr e = random.of(DType::F32, 6);
    EXPECT_TRUE(rewrite(e, [](const Expr&) { return Expr(); }).same_as(e));
    std::map<const ExprNode*, int> visits;
    visit(e, [&](const Expr& x) {
      ++visits[x.get()];
      for (const Expr& c : x.children()) EXPECT_TRUE(visits.contains(c.get())) << "operands first";
    });
    size_t rewrites = 0;
    rewrite(e, [&](const Expr&) {
      ++rewrites;
      return Expr();
    });
    EXPECT_EQ(rewrites, visits.size());
    for (auto& [node, n] : visits) EXPECT_EQ(n, 1);
  }
}

TEST(Expr, RewriteReplacesEverywhereAndFolds) {
  Expr x = load(DType::F32, 0, {Index(0)});
  Expr e = (x + constant(1)) * (x + constant(1)) - x;
  Expr out =
      rewrite(e, [](const Expr& n) { return n.kind() == ExprKind::Load ? constant(3) : Expr(); });
  ASSERT_EQ(out.kind(), ExprKind::Const);
  EXPECT_EQ(out.number(), 13);
}

TEST(Expr, EqualComparesSharedPartsOnce) {
  auto build = [](double first) {
    Expr e = load(DType::F32, 0, {Index(0)}) + constant(first);
    for (int i = 0; i < 100; ++i) e = e * e + e;
    return e;
  };
  EXPECT_TRUE(equal(build(1), build(1)));
  EXPECT_FALSE(equal(build(1), build(2)));
}

TEST(Expr, NonnegativeConjunctionsRoundTrip) {
  std::vector<Index> is = {Index(Aff::of(0)), Index(Aff::of(1, -1) + Aff(7)),
                           Index(Aff::of(0, 2) + Aff(-3))};
  auto back = as_nonnegative(all_nonnegative(is));
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(equal((*back)[i], is[i]));
  EXPECT_EQ(all_nonnegative({}).integer(), 1);
  EXPECT_FALSE(as_nonnegative(binary(BinaryOp::Lt, affine(0), constant_int(0))));
}

TEST(Expr, ConstructionChecksTypes) {
  EXPECT_THROW(binary(BinaryOp::Add, constant(1), constant_int(1)), InternalError);
  EXPECT_THROW(select(constant(1), constant(1), constant(1)), InternalError);
  Expr b = load(DType::Bool, 0, {});
  EXPECT_THROW(select(b, constant(1), constant_int(1)), InternalError);
  EXPECT_THROW(load(DType::F32, 0, {}, constant_int(1)), InternalError);
  EXPECT_EQ(binary(BinaryOp::Lt, load(DType::F32, 0, {}), constant(1)).dtype(), DType::Bool);
  EXPECT_EQ(unary(UnaryOp::IsNan, load(DType::F32, 0, {})).dtype(), DType::Bool);
  EXPECT_EQ(affine(Index(7)).integer(), 7);
}

}  // namespace
}  // namespace burnish
