// Expressions as text: what is read back is what was written, sharing included; hostile text is
// refused.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

#include "expr/text.h"
#include "random_expr.h"

namespace burnish {
namespace {

const std::vector<std::string> var_names = {"y", "x", "a b", "y.o"};
const std::vector<std::pair<std::string, DType>> from_names = {{"X", DType::F32},
                                                               {"acc", DType::F64},
                                                               {"ids", DType::I32},
                                                               {"exp", DType::F16},
                                                               {"it's", DType::U8}};

WriteNames write_names() {
  return {.var = [](VarId v) { return quoted_name(var_names.at(v)); },
          .from = [](uint32_t f) { return quoted_name(from_names.at(f).first); },
          .from_dtype = [](uint32_t f) { return from_names.at(f).second; }};
}

ReadNames read_names() {
  return {.var = [](std::string_view name) -> std::optional<VarId> {
            for (size_t i = 0; i < var_names.size(); ++i) {
              if (plain_name(name) == var_names[i]) return VarId(i);
            }
            return std::nullopt;
          },
          .from = [](std::string_view name) -> std::optional<std::pair<uint32_t, DType>> {
            for (size_t i = 0; i < from_names.size(); ++i) {
              if (plain_name(name) == from_names[i].first)
                return std::pair(uint32_t(i), from_names[i].second);
            }
            return std::nullopt;
          }};
}

std::string text(const Expr& e) { return to_text(e, write_names()); }
Expr parse(std::string_view s) { return parse_expr(s, read_names()); }

std::string error_of(std::string_view s) {
  try {
    parse(s);
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

Index at(VarId v, int64_t k = 1, int64_t c = 0) { return Index(Aff::of(v, k) + Aff(c)); }

size_t nodes(const Expr& e) {
  size_t n = 0;
  visit(e, [&](const Expr&) { ++n; });
  return n;
}

TEST(ExprText, WritesTheNotation) {
  Expr x = load(DType::F32, 0, {at(0, 16, -3), at(1)});
  EXPECT_EQ(text(max(x * constant(2) + constant(1.5), constant(0))),
            "max(X[16*y - 3, x] * 2.0 + 1.5, 0.0)");
  EXPECT_EQ(text((x + constant(1)) * constant(2)), "(X[16*y - 3, x] + 1.0) * 2.0");
  EXPECT_EQ(text(x - (constant(1) - load(DType::F32, 0, {}))), "X[16*y - 3, x] - (1.0 - X[])");
  std::vector<Index> guards = {at(0, 1, -1), at(1, -1, 63)};
  EXPECT_EQ(text(select(all_nonnegative(guards), x, constant(0))),
            "select([y - 1] >= 0 & [-x + 63] >= 0, X[16*y - 3, x], 0.0)");
  EXPECT_EQ(text(load(DType::F32, 0, {at(0, 1, -1)}, constant(-1))), "X[y - 1 else -1.0]");
  EXPECT_EQ(text(load(DType::I8, 0, {at(2)})), "X:i8['a b']");
  EXPECT_EQ(text(call(DType::F64, "my exp", {constant(0.1, DType::F64)})), "@'my exp':f64(0.1f64)");
  EXPECT_EQ(text(cast(DType::U8, acc(DType::F64))), "u8(acc:f64)");
}

TEST(ExprText, WritesAtoms) {
  Index i = at(1);
  i.atoms.push_back({.a = Aff::of(0) + Aff(3),
                     .value = load(DType::I32, 2, {at(3)}),
                     .div = 4,
                     .mod = 16,
                     .scale = 8});
  i.atoms.push_back({.a = Aff::of(1), .value = {}, .div = 2, .mod = 0, .scale = -1});
  EXPECT_EQ(text(affine(i)), "[x + 8*{y + 3 + (ids[y.o]) / 4 % 16} - {x / 2}]");
  EXPECT_TRUE(equal(parse(text(affine(i))), affine(i)));
}

TEST(ExprText, WritesSharedPartsOnce) {
  Expr x = load(DType::F32, 0, {at(0)});
  Expr e = unary(UnaryOp::Sigmoid, x);
  EXPECT_EQ(text(e * x + e), "%0 = X[y]; %1 = sigmoid(%0); %1 * %0 + %1");
  Expr doubled = x;
  for (int i = 0; i < 200; ++i) doubled = doubled + doubled;
  std::string s = text(doubled);
  EXPECT_LT(s.size(), 4000u);
  EXPECT_EQ(nodes(parse(s)), nodes(doubled));
  EXPECT_EQ(text(parse(s)), s);
}

TEST(ExprText, KeepsTheBitsOfConstants) {
  const std::set<DType> types = {DType::F16, DType::BF16, DType::F32, DType::F64};
  std::mt19937_64 rng(7);
  for (DType t : types) {
    for (int i = 0; i < 20000; ++i) {
      double v = std::bit_cast<double>(rng());
      if (t != DType::F64) v = std::bit_cast<float>(uint32_t(rng()));
      if (t == DType::F16 && i % 2)
        v = std::ldexp(double(int64_t(rng() % 4096) - 2048), int(rng() % 36) - 26);
      Expr c = constant(v, t);
      Expr back = parse(text(c));
      ASSERT_EQ(back.dtype(), t);
      ASSERT_EQ(std::bit_cast<uint64_t>(back.number()), std::bit_cast<uint64_t>(c.number()))
          << text(c);
    }
    for (double v : {0.0, -0.0, double(INFINITY), -double(INFINITY), double(NAN), -double(NAN),
                     1e-45, 5e-324}) {
      Expr c = constant(v, t);
      EXPECT_TRUE(equal(parse(text(c)), c)) << text(c);
    }
  }
  EXPECT_EQ(text(constant(1)), "1.0");
  EXPECT_EQ(text(constant(-INFINITY, DType::F16)), "-inf_f16");
  EXPECT_EQ(text(constant_int(-1, DType::U64)), "18446744073709551615u64");
  for (int t = 0; t <= int(DType::U64); ++t) {
    for (int64_t v : {int64_t{0}, int64_t{1}, int64_t{-1}, INT64_MIN, INT64_MAX, int64_t{200}}) {
      Expr c = constant_int(v, DType(t));
      EXPECT_TRUE(equal(parse(text(c)), c)) << text(c);
    }
  }
}

TEST(ExprText, RandomExpressionsRoundTrip) {
  std::vector<DType> froms;
  for (auto& [name, t] : from_names) froms.push_back(t);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    test::RandomExpr random(seed, uint32_t(var_names.size()), froms, seed % 2);
    Expr e = random.of(DType(seed % 13), 6);
    std::string once = text(e);
    Expr back;
    ASSERT_NO_THROW(back = parse(once)) << once;
    ASSERT_EQ(text(back), once);
    ASSERT_TRUE(equal(back, e)) << once;
  }
}

TEST(ExprText, NamesAreMadeDistinct) {
  std::vector<std::string> names = {"y", "a b", "y", "for", "a b", "", "9"};
  std::string_view reserved[] = {"for"};
  auto out = distinct_names(names, reserved);
  EXPECT_EQ(out, (std::vector<std::string>{"y", "'a b'", "y#2", "'for'", "'a b'#4", "''", "'9'"}));
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(plain_name(out[i]), names[i]);
  EXPECT_EQ(plain_name(quoted_name("a'\\\n\x01")), "a'\\\n\x01");
}

TEST(ExprText, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(error_of("1.0 +\n 2"),
            "expression, line 2: add of f32 and i64; cast one of them, as in f32(...)");
  EXPECT_EQ(error_of("X[q]"), "expression, line 1: q is not a variable in scope");
  EXPECT_EQ(error_of("Q[y]"), "expression, line 1: Q is not declared");
  EXPECT_EQ(error_of("%1 + 1"), "expression, line 1: %1 is used but not defined above");
  EXPECT_EQ(error_of("%1 = 2; %1 = 3; 1"), "expression, line 1: %1 is defined twice");
  EXPECT_EQ(error_of("300u8"), "expression, line 1: '300u8' does not fit in u8");
  EXPECT_EQ(error_of("-1u8"), "expression, line 1: '-1u8' does not fit in u8");
  EXPECT_EQ(error_of("1e999"), "expression, line 1: '1e999' is not a number of f32");
  EXPECT_EQ(error_of("max(1)"), "expression, line 1: 1 arguments where 2 are wanted");
  EXPECT_EQ(error_of("exp(1)"), "expression, line 1: exp of i64");
  EXPECT_EQ(error_of("1.0 & 2.0"),
            "expression, line 1: and of f32 and f32; cast one of them, as in f32(...)");
  EXPECT_EQ(
      error_of("select(1, 2, 3)"),
      "expression, line 1: select(i64, i64, i64): the first is bool, the others have one dtype");
  EXPECT_EQ(error_of("[{y / 0}]"),
            "expression, line 1: an atom is divided by 0 modulo 0; both are positive");
  EXPECT_EQ(error_of("[9223372036854775807 + 1]"),
            "expression, line 1: the constant of an index overflows");
  EXPECT_EQ(error_of("1 2"), "expression, line 1: expected the end, found '2'");
  EXPECT_EQ(error_of("\x80"), "expression, line 1: byte 0x80 is not part of the text form");
  EXPECT_EQ(
      error_of("foo(1)"),
      "expression, line 1: 'foo' is not an operation; intrinsics are written @name:dtype(...)");
  EXPECT_NE(error_of("'abc"), "");
  EXPECT_NE(error_of(""), "");
}

TEST(ExprText, BoundsDepthAndNesting) {
  EXPECT_EQ(error_of(std::string(1000000, '(')),
            "expression, line 1: nested deeper than 2000 levels");
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += "[{(";
  EXPECT_EQ(error_of(nested), "expression, line 1: nested deeper than 2000 levels");
  std::string sum = "X[y]";
  for (int i = 0; i < 5000; ++i) sum += " + X[y]";
  EXPECT_EQ(error_of(sum), "expression, line 1: an expression deeper than 1000 operations");
  std::string chain = "%0 = X[y];";
  for (int i = 1; i < 5000; ++i) chain += fmt::format("%{} = exp(%{});", i, i - 1);
  EXPECT_EQ(error_of(chain + "%0"),
            "expression, line 1: an expression deeper than 1000 operations");
}

// Any cut of a text, and any changed byte, is read or refused, never worse.
TEST(ExprText, SurvivesDamage) {
  std::vector<DType> froms;
  for (auto& [name, t] : from_names) froms.push_back(t);
  std::mt19937_64 rng(3);
  int refused = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    test::RandomExpr random(seed, uint32_t(var_names.size()), froms, true);
    std::string s = text(random.of(DType::F32, 3));
    for (int i = 0; i < 20; ++i) {
      std::string t = s;
      if (i % 2)
        t[rng() % t.size()] = "()[]{}%@.,0'\"-\n\\#:ex"[rng() % 21];
      else
        t.resize(rng() % t.size());
      refused += !error_of(t).empty();
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace burnish
