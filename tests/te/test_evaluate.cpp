#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "expr/half.h"
#include "te/builder.h"
#include "te/evaluate.h"

namespace burnish {
namespace {

constexpr DType F = DType::F32;

Tensor numbers(std::vector<int64_t> shape, DType t = F) {
  Tensor out(t, std::move(shape));
  for (int64_t i = 0; i < out.size(); ++i) {
    out.set(i, {.dtype = t, .f = static_cast<double>(i), .i = i});
  }
  return out;
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> out;
  for (int64_t i = 0; i < t.size(); ++i) {
    Scalar s = t.get(i);
    out.push_back(is_float(t.dtype) ? s.f : static_cast<double>(s.i));
  }
  return out;
}

Tensor run(GroupBuilder& b, const std::vector<const Tensor*>& inputs, bool in_double = false) {
  verify(b.group());
  return evaluate(b.group(), inputs, in_double).at(0);
}

TEST(Evaluate, LoadsOutsideTheDomainAreTheFill) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 4}});
  b.output(b.compute("o", F, {{"i", 7}}, [&](AxisVars a) {
    return b.at(x, {Index(a[0] - Aff(2))}, constant(-1));
  }));
  Tensor in = numbers({4});
  EXPECT_EQ(values(run(b, {&in})), (std::vector<double>{-1, -1, 0, 1, 2, 3, -1}));
}

TEST(Evaluate, LoadsOutsideWithoutFillAreOurError) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 4}});
  b.output(b.compute("o", F, {{"i", 5}}, [&](AxisVars a) { return b.at(x, {Index(a[0])}); }));
  Tensor in = numbers({4});
  EXPECT_THROW(evaluate(b.group(), {&in}), InternalError);
}

TEST(Evaluate, TheArmThatIsNotTakenIsNeverRead) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 3}}), y = b.input("y", F, {{"i", 2}});
  b.output(b.compute("o", F, {{"i", 5}}, [&](AxisVars a) {
    Index first(Aff(2) - a[0]);
    return select(all_nonnegative(std::span(&first, 1)), b.at(x, {Index(a[0])}),
                  b.at(y, {Index(a[0] - Aff(3))}));
  }));
  Tensor in = numbers({3}), other = numbers({2});
  EXPECT_EQ(values(run(b, {&in, &other})), (std::vector<double>{0, 1, 2, 0, 1}));
}

TEST(Evaluate, NestedSelectsKeepTheOuterCondition) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 2}});
  auto below = [](const Aff& a, int64_t limit) {
    Index i(Aff(limit - 1) - a);
    return all_nonnegative(std::span(&i, 1));
  };
  b.output(b.compute("o", F, {{"i", 6}}, [&](AxisVars a) {
    Expr inner = select(binary(BinaryOp::Gt, b.at(x, {Index(a[0])}), constant(0)), constant(7),
                        b.at(x, {Index(a[0])}));
    return select(below(a[0], 2), inner, constant(9));
  }));
  Tensor in = numbers({2});
  EXPECT_EQ(values(run(b, {&in})), (std::vector<double>{0, 7, 9, 9, 9, 9}));
}

TEST(Evaluate, ReducesFromInitAndFinishes) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 2}, {"k", 3}}), bias = b.input("b", F, {{"i", 2}});
  StageId o = b.reduce(
      "o", F, {{"i", 2}}, {{"k", 3}}, Combine::Sum,
      [&](AxisVars a, AxisVars r) { return b.at(x, {Index(a[0]), Index(r[0])}); },
      [&](AxisVars a) { return b.at(bias, {Index(a[0])}); });
  b[o].finish = acc(F) * constant(2);
  b.output(o);
  Tensor in = numbers({2, 3}), add = numbers({2});
  EXPECT_EQ(values(run(b, {&in, &add})), (std::vector<double>{6, 26}));
}

TEST(Evaluate, EveryCombineStartsAtItsNeutralElement) {
  for (auto [op, wanted] : {std::pair{Combine::Sum, 6.0}, {Combine::Prod, -12.0}, {Combine::Min, -2.0},
                            {Combine::Max, 6.0}}) {
    GroupBuilder b("g");
    StageId x = b.input("x", F, {{"k", 3}});
    b.output(b.reduce("o", F, {}, {{"k", 3}}, op,
                      [&](AxisVars, AxisVars r) { return b.at(x, {Index(r[0])}); }));
    Tensor in(F, {3});
    float v[] = {-2, 1, 6};
    for (int i = 0; i < 3; ++i) in.data<float>()[i] = v[i];
    if (op == Combine::Sum) in.data<float>()[0] = -1;
    EXPECT_EQ(values(run(b, {&in})), (std::vector<double>{wanted}));
  }
}

TEST(Evaluate, IndicesDivideAndFollowData) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 4}}), at = b.input("at", DType::I32, {{"i", 3}});
  b.output(b.compute("up", F, {{"i", 8}}, [&](AxisVars a) {
    Index i;
    i.atoms.push_back({.a = a[0], .value = {}, .div = 2});
    return b.at(x, {i});
  }));
  b.output(b.compute("gather", F, {{"i", 3}}, [&](AxisVars a) {
    Index i;
    i.atoms.push_back({.a = {}, .value = b.at(at, {Index(a[0])}), .mod = 4});
    return b.at(x, {i});
  }));
  Tensor in = numbers({4}), positions(DType::I32, {3});
  int32_t p[] = {3, -1, 5};
  for (int i = 0; i < 3; ++i) positions.data<int32_t>()[i] = p[i];
  verify(b.group());
  std::vector<Tensor> out = evaluate(b.group(), {&in, &positions});
  EXPECT_EQ(values(out[0]), (std::vector<double>{0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(values(out[1]), (std::vector<double>{3, 3, 1}));
}

TEST(Evaluate, ScansReadTheirOwnPreviousValues) {
  // s[i, j] = s[i-1, j] + x[i, j], over more columns than a block has lanes
  constexpr int64_t columns = 300;
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 3}, {"j", columns}});
  StageId self = x + 1;
  StageId s = b.compute("s", F, {{"i", 3}, {"j", columns}}, [&](AxisVars a) {
    return load(F, self, {Index(a[0] - Aff(1)), Index(a[1])}, constant(0)) +
           b.at(x, {Index(a[0]), Index(a[1])});
  });
  b[s].scan = 0;
  b.output(s);
  Tensor in = numbers({3, columns});
  Tensor out = run(b, {&in});
  for (int64_t j = 0; j < columns; ++j) {
    EXPECT_EQ(out.get(2 * columns + j).f, static_cast<double>(3 * columns + 3 * j));
  }
}

TEST(Evaluate, BlocksEndAnywhere) {
  for (int64_t n : {1, 255, 256, 257, 1000}) {
    GroupBuilder b("g");
    StageId x = b.input("x", F, {{"i", n}, {"j", 3}});
    b.output(b.compute("t", F, {{"j", 3}, {"i", n}},
                       [&](AxisVars a) { return b.at(x, {Index(a[1]), Index(a[0])}); }));
    Tensor in = numbers({n, 3});
    Tensor out = run(b, {&in});
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < 3; ++j) ASSERT_EQ(out.get(j * n + i).f, in.get(i * 3 + j).f);
    }
  }
}

TEST(Evaluate, InDoubleKeepsWhatFloatsLose) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"k", 3}});
  b.output(b.reduce("o", F, {}, {{"k", 3}}, Combine::Sum,
                    [&](AxisVars, AxisVars r) { return b.at(x, {Index(r[0])}); }));
  Tensor in(F, {3});
  in.data<float>()[0] = 1e8f;
  in.data<float>()[1] = 1;
  in.data<float>()[2] = -1e8f;
  EXPECT_EQ(values(run(b, {&in})), (std::vector<double>{0}));
  Tensor exact = run(b, {&in}, true);
  EXPECT_EQ(exact.dtype, DType::F64);
  EXPECT_EQ(values(exact), (std::vector<double>{1}));
}

TEST(Evaluate, OperationsAgreeWithTheScalarsOfExpr) {
  // The fast paths of the evaluator against the one definition of every operation.
  std::mt19937_64 random(1);
  const BinaryOp ops[] = {BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Mod, BinaryOp::FloorDiv,
                          BinaryOp::FloorMod, BinaryOp::Min, BinaryOp::Max, BinaryOp::Eq, BinaryOp::Lt, BinaryOp::Ge,
                          BinaryOp::And, BinaryOp::Or, BinaryOp::Xor, BinaryOp::Shl, BinaryOp::Shr};
  for (DType t : {DType::I8, DType::U8, DType::I16, DType::U16, DType::I32, DType::U32, DType::I64, DType::U64, DType::F32,
                  DType::F64}) {
    for (BinaryOp op : ops) {
      bool bits = op == BinaryOp::And || op == BinaryOp::Or || op == BinaryOp::Xor || op == BinaryOp::Shl || op == BinaryOp::Shr;
      if (bits && is_float(t)) continue;
      GroupBuilder b("g");
      StageId x = b.input("x", t, {{"i", 40}}), y = b.input("y", t, {{"i", 40}});
      DType result = is_comparison(op) ? DType::Bool : t;
      b.output(b.compute("o", result, {{"i", 40}}, [&](AxisVars a) {
        return binary(op, b.at(x, {Index(a[0])}), b.at(y, {Index(a[0])}));
      }));
      Tensor left(t, {40}), right(t, {40});
      for (int64_t i = 0; i < 40; ++i) {
        auto draw = [&] {
          int64_t v = static_cast<int64_t>(random() >> (i % 60));
          return evaluate_cast(t, Scalar{DType::I64, 0, i % 3 ? v : -v});
        };
        left.set(i, draw());
        right.set(i, draw());
      }
      if (is_float(t)) right.set(7, {.dtype = t, .f = std::numeric_limits<double>::quiet_NaN()});
      Tensor out = run(b, {&left, &right});
      for (int64_t i = 0; i < 40; ++i) {
        Scalar wanted = evaluate(op, left.get(i), right.get(i)), got = out.get(i);
        bool same = is_float(result) ? got.f == wanted.f || (std::isnan(got.f) && std::isnan(wanted.f)) : got.i == wanted.i;
        ASSERT_TRUE(same) << name_of(op) << " of " << name_of(t) << " element " << i;
      }
    }
  }
}

TEST(Evaluate, ChecksItsInputs) {
  GroupBuilder b("g");
  StageId x = b.input("x", F, {{"i", 4}});
  b.output(b.compute("o", F, {{"i", 4}}, [&](AxisVars a) { return b.at(x, {Index(a[0])}); }));
  Tensor few = numbers({3}), ints = numbers({4}, DType::I32);
  EXPECT_THROW(evaluate(b.group(), {}), InternalError);
  EXPECT_THROW(evaluate(b.group(), {&few}), InternalError);
  EXPECT_THROW(evaluate(b.group(), {&ints}), InternalError);
}

TEST(Tensor, RefusesSizesThatCannotBe) {
  EXPECT_THROW(Tensor(F, {1ll << 40, 1ll << 40}), UserError);
  EXPECT_THROW(Tensor(F, {1ll << 39}), UserError);
  EXPECT_THROW(Tensor(F, {-1}), UserError);
  EXPECT_EQ(Tensor(F, {0, 5}).size(), 0);
  Tensor t(F, {2});
  EXPECT_THROW(t.get(2), InternalError);
}

TEST(Half, EveryPatternReadsAndWritesBack) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    uint16_t bits = static_cast<uint16_t>(h);
    float f = float_of_half(bits);
    bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff);
    ASSERT_EQ(std::isnan(f), nan) << h;
    if (!nan) { ASSERT_EQ(half_of_float(f), bits) << h; }
    float g = float_of_bfloat(bits);
    if (!std::isnan(g)) { ASSERT_EQ(bfloat_of_float(g), bits) << h; }
  }
}

TEST(Half, RoundsToNearestEvenLikeScalars) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100000; ++i) {
    float f = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isnan(f)) continue;
    Scalar s{F, f};
    ASSERT_EQ(float_of_half(half_of_float(f)), evaluate_cast(DType::F16, s).f) << f;
    ASSERT_EQ(float_of_bfloat(bfloat_of_float(f)), evaluate_cast(DType::BF16, s).f) << f;
  }
}

}  // namespace
}  // namespace burnish
