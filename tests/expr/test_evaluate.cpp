// The meaning of each scalar operation, against C++ on the same types.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "expr/expr.h"
#include "expr/half.h"

namespace burnish {
namespace {

template <class T> constexpr DType dtype_of();
template <> constexpr DType dtype_of<int8_t>() { return DType::I8; }
template <> constexpr DType dtype_of<uint8_t>() { return DType::U8; }
template <> constexpr DType dtype_of<int16_t>() { return DType::I16; }
template <> constexpr DType dtype_of<uint16_t>() { return DType::U16; }
template <> constexpr DType dtype_of<int32_t>() { return DType::I32; }
template <> constexpr DType dtype_of<uint32_t>() { return DType::U32; }
template <> constexpr DType dtype_of<int64_t>() { return DType::I64; }
template <> constexpr DType dtype_of<uint64_t>() { return DType::U64; }
template <> constexpr DType dtype_of<float>() { return DType::F32; }
template <> constexpr DType dtype_of<double>() { return DType::F64; }

template <class T> Scalar scalar(T v) {
  if constexpr (std::is_floating_point_v<T>)
    return {dtype_of<T>(), v, 0};
  else
    return {dtype_of<T>(), 0, static_cast<int64_t>(v)};
}

template <class T> T value(const Scalar& s) {
  EXPECT_EQ(s.dtype, dtype_of<T>());
  // The payload is the value itself, extended, not just the same low bits.
  EXPECT_EQ(s.i, static_cast<int64_t>(static_cast<T>(s.i)));
  return static_cast<T>(s.i);
}

bool truth(const Scalar& s) {
  EXPECT_EQ(s.dtype, DType::Bool);
  return s.i != 0;
}

template <class T> class Integers : public testing::Test {};
using IntegerTypes =
    testing::Types<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>;
TYPED_TEST_SUITE(Integers, IntegerTypes);

template <class T> std::vector<T> samples() {
  using L = std::numeric_limits<T>;
  std::vector<T> out = {0,
                        1,
                        2,
                        3,
                        7,
                        100,
                        L::max(),
                        L::min(),
                        T(L::max() - 1),
                        T(L::min() + 1),
                        T(L::max() / 2),
                        T(-1),
                        T(-2),
                        T(-7)};
  std::mt19937_64 rng(5);
  for (int i = 0; i < 40; ++i) out.push_back(T(rng() >> (rng() % 60)));
  return out;
}

TYPED_TEST(Integers, BinaryOperations) {
  using T = TypeParam;
  using U = std::make_unsigned_t<T>;
  constexpr int width = sizeof(T) * 8;
  auto wrap = [](auto op, T a, T b) {
    return static_cast<T>(static_cast<U>(op(uint64_t(a), uint64_t(b))));
  };
  for (T a : samples<T>()) {
    for (T b : samples<T>()) {
      SCOPED_TRACE(fmt::format("{} and {}", a, b));
      auto run = [&](BinaryOp op) { return value<T>(evaluate(op, scalar(a), scalar(b))); };
      EXPECT_EQ(run(BinaryOp::Add), wrap(std::plus<>(), a, b));
      EXPECT_EQ(run(BinaryOp::Sub), wrap(std::minus<>(), a, b));
      EXPECT_EQ(run(BinaryOp::Mul), wrap(std::multiplies<>(), a, b));
      EXPECT_EQ(run(BinaryOp::Min), std::min(a, b));
      EXPECT_EQ(run(BinaryOp::Max), std::max(a, b));
      EXPECT_EQ(run(BinaryOp::And), T(a & b));
      EXPECT_EQ(run(BinaryOp::Or), T(a | b));
      EXPECT_EQ(run(BinaryOp::Xor), T(a ^ b));
      // With 128 bits nothing overflows; the result wraps.
      __int128 x = a, y = b;
      __int128 quotient = b == 0 ? 0 : x / y, rest = b == 0 ? 0 : x % y;
      bool down = rest != 0 && (rest < 0) != (y < 0);
      EXPECT_EQ(run(BinaryOp::Div), T(quotient));
      EXPECT_EQ(run(BinaryOp::Mod), T(rest));
      EXPECT_EQ(run(BinaryOp::FloorDiv), T(quotient - down));
      EXPECT_EQ(run(BinaryOp::FloorMod), T(rest + (down ? y : 0)));
      bool too_far = b < 0 || uint64_t(b) >= uint64_t(width);
      EXPECT_EQ(run(BinaryOp::Shl), too_far ? T(0) : T(U(uint64_t(U(a)) << b)));
      EXPECT_EQ(run(BinaryOp::Shr), too_far ? T(a < 0 ? -1 : 0) : T(a >> b));
      EXPECT_EQ(truth(evaluate(BinaryOp::Eq, scalar(a), scalar(b))), a == b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Ne, scalar(a), scalar(b))), a != b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Lt, scalar(a), scalar(b))), a < b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Le, scalar(a), scalar(b))), a <= b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Gt, scalar(a), scalar(b))), a > b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Ge, scalar(a), scalar(b))), a >= b);
    }
    for (int e = 0; e < 20; ++e) {
      uint64_t power = 1;
      for (int i = 0; i < e; ++i) power *= uint64_t(a);
      EXPECT_EQ(value<T>(evaluate(BinaryOp::Pow, scalar(a), scalar(T(e)))), T(power));
    }
    EXPECT_EQ(value<T>(evaluate(UnaryOp::Neg, scalar(a))), T(-U(a)));
    EXPECT_EQ(value<T>(evaluate(UnaryOp::Not, scalar(a))), T(~a));
    EXPECT_EQ(value<T>(evaluate(UnaryOp::Abs, scalar(a))), a < 0 ? T(-U(a)) : a);
    EXPECT_EQ(value<T>(evaluate(UnaryOp::Sign, scalar(a))), T((a > 0) - (a < 0)));
    EXPECT_EQ(value<T>(evaluate(UnaryOp::Floor, scalar(a))), a);
  }
  if constexpr (std::is_signed_v<T>) {
    EXPECT_EQ(value<T>(evaluate(BinaryOp::Pow, scalar(T(2)), scalar(T(-1)))), 0);
    EXPECT_EQ(value<T>(evaluate(BinaryOp::Pow, scalar(T(-1)), scalar(T(-3)))), -1);
  }
}

template <class T> void floats() {
  std::vector<T> xs = {T(0),     T(-0.0),     T(1),         T(-1),   T(0.5),
                       T(1.5),   T(2.5),      T(-2.5),      T(1e30), T(-3.75),
                       T(1e-40), T(INFINITY), T(-INFINITY), T(NAN),  std::numeric_limits<T>::max(),
                       T(0.1),   T(7.3)};
  auto same = [](T got, T want) {
    if (std::isnan(want))
      EXPECT_TRUE(std::isnan(got));
    else
      EXPECT_EQ(got, want);
    if (want == 0) {
      EXPECT_EQ(std::signbit(got), std::signbit(want));
    }
  };
  for (T a : xs) {
    for (T b : xs) {
      SCOPED_TRACE(fmt::format("{} and {}", a, b));
      auto run = [&](BinaryOp op) { return static_cast<T>(evaluate(op, scalar(a), scalar(b)).f); };
      same(run(BinaryOp::Add), a + b);
      same(run(BinaryOp::Sub), a - b);
      same(run(BinaryOp::Mul), a * b);
      same(run(BinaryOp::Div), a / b);
      same(run(BinaryOp::Mod), std::fmod(a, b));
      bool nan = std::isnan(a) || std::isnan(b);
      if (nan) {
        EXPECT_TRUE(std::isnan(run(BinaryOp::Min)));
        EXPECT_TRUE(std::isnan(run(BinaryOp::Max)));
      } else {
        EXPECT_EQ(run(BinaryOp::Min), std::min(a, b));
        EXPECT_EQ(run(BinaryOp::Max), std::max(a, b));
      }
      EXPECT_EQ(truth(evaluate(BinaryOp::Lt, scalar(a), scalar(b))), a < b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Ge, scalar(a), scalar(b))), a >= b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Eq, scalar(a), scalar(b))), a == b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Ne, scalar(a), scalar(b))), a != b);
    }
    SCOPED_TRACE(a);
    auto run = [&](UnaryOp op) { return static_cast<T>(evaluate(op, scalar(a)).f); };
    same(run(UnaryOp::Neg), -a);
    same(run(UnaryOp::Abs), std::fabs(a));
    same(run(UnaryOp::Floor), std::floor(a));
    same(run(UnaryOp::Ceil), std::ceil(a));
    same(run(UnaryOp::Trunc), std::trunc(a));
    same(run(UnaryOp::Round), std::nearbyint(a));
    same(run(UnaryOp::Sqrt), std::sqrt(a));
    double d = double(a);
    same(run(UnaryOp::Exp), T(std::exp(d)));
    same(run(UnaryOp::Log), T(std::log(d)));
    same(run(UnaryOp::Tanh), T(std::tanh(d)));
    same(run(UnaryOp::Erf), T(std::erf(d)));
    same(run(UnaryOp::Sin), T(std::sin(d)));
    same(run(UnaryOp::Atanh), T(std::atanh(d)));
    same(run(UnaryOp::Rsqrt), T(1 / std::sqrt(d)));
    EXPECT_EQ(truth(evaluate(UnaryOp::IsNan, scalar(a))), std::isnan(a));
    EXPECT_EQ(truth(evaluate(UnaryOp::IsInf, scalar(a))), std::isinf(a));
  }
  EXPECT_EQ(evaluate(UnaryOp::Round, scalar(T(2.5))).f, 2);
  EXPECT_EQ(evaluate(UnaryOp::Sigmoid, scalar(T(-1000))).f, 0);
  EXPECT_EQ(evaluate(UnaryOp::Sigmoid, scalar(T(1000))).f, 1);
  EXPECT_EQ(evaluate(BinaryOp::FloorMod, scalar(T(-7)), scalar(T(3))).f, 2);
  EXPECT_EQ(evaluate(BinaryOp::FloorDiv, scalar(T(-7)), scalar(T(3))).f, -3);
}

TEST(Evaluate, F32) { floats<float>(); }
TEST(Evaluate, F64) { floats<double>(); }

TEST(Evaluate, Bools) {
  for (int a : {0, 1}) {
    for (int b : {0, 1}) {
      Scalar x{DType::Bool, 0, a}, y{DType::Bool, 0, b};
      EXPECT_EQ(truth(evaluate(BinaryOp::And, x, y)), a && b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Or, x, y)), a || b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Xor, x, y)), a != b);
      EXPECT_EQ(truth(evaluate(BinaryOp::Eq, x, y)), a == b);
    }
    EXPECT_EQ(truth(evaluate(UnaryOp::Not, Scalar{DType::Bool, 0, a})), !a);
  }
}

TEST(Evaluate, CastsTruncateSaturateAndWrap) {
  auto to = [](DType t, double v) { return evaluate_cast(t, {DType::F64, v, 0}); };
  EXPECT_EQ(to(DType::I8, 127.9).i, 127);
  EXPECT_EQ(to(DType::I8, 128).i, 127);
  EXPECT_EQ(to(DType::I8, -128.9).i, -128);
  EXPECT_EQ(to(DType::I8, -1e30).i, -128);
  EXPECT_EQ(to(DType::U8, -0.5).i, 0);
  EXPECT_EQ(to(DType::U8, -5).i, 0);
  EXPECT_EQ(to(DType::U8, 300).i, 255);
  EXPECT_EQ(to(DType::I32, INFINITY).i, INT32_MAX);
  EXPECT_EQ(to(DType::I64, 1e300).i, INT64_MAX);
  EXPECT_EQ(to(DType::I64, -1e300).i, INT64_MIN);
  EXPECT_EQ(uint64_t(to(DType::U64, 1e300).i), UINT64_MAX);
  EXPECT_EQ(uint64_t(to(DType::U64, 0x1p63).i), uint64_t{1} << 63);
  for (int t = int(DType::I8); t <= int(DType::U64); ++t) EXPECT_EQ(to(DType(t), NAN).i, 0);
  EXPECT_TRUE(truth(to(DType::Bool, NAN)));
  EXPECT_TRUE(truth(to(DType::Bool, -0.1)));
  EXPECT_FALSE(truth(to(DType::Bool, -0.0)));
  EXPECT_EQ(evaluate_cast(DType::I8, {DType::I32, 0, 300}).i, 44);
  EXPECT_EQ(evaluate_cast(DType::U32, {DType::I8, 0, -1}).i, int64_t{UINT32_MAX});
  EXPECT_EQ(evaluate_cast(DType::F64, {DType::U64, 0, -1}).f, 0x1p64);
  EXPECT_EQ(evaluate_cast(DType::F32, {DType::I64, 0, 16777217}).f, 16777216.0);
}

// All 16-bit patterns, and values between neighbours: nearest, ties to even.
TEST(Evaluate, HalvesRoundToNearestEven) {
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    double v = float_of_half(uint16_t(h)),
           next = h + 1 == 0x7c00 ? 65536 : float_of_half(uint16_t(h + 1));
    auto cast = [](double x) { return evaluate_cast(DType::F16, {DType::F64, x, 0}).f; };
    ASSERT_EQ(cast(v), v);
    ASSERT_EQ(half_of_float(float(v)), h);
    double middle = (v + next) / 2, even = h % 2 ? (h + 1 == 0x7c00 ? INFINITY : next) : v;
    ASSERT_EQ(cast(middle), even) << h;
    ASSERT_EQ(cast(std::nextafter(middle, 0)), v) << h;
    ASSERT_EQ(cast(-middle), -even) << h;
    ASSERT_EQ(float_of_half(half_of_float(float(middle))), float(even)) << h;
  }
  for (uint32_t h = 0; h < 0x7f80; ++h) {
    double v = float_of_bfloat(uint16_t(h));
    ASSERT_EQ(evaluate_cast(DType::BF16, {DType::F64, v, 0}).f, v);
    ASSERT_EQ(bfloat_of_float(float(v)), h);
    if (h + 1 == 0x7f80) continue;
    double next = float_of_bfloat(uint16_t(h + 1)), middle = (v + next) / 2;
    if (h > 0x80) {
      ASSERT_EQ(evaluate_cast(DType::BF16, {DType::F64, middle, 0}).f, h % 2 ? next : v) << h;
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {  // of two neighbours the nearer; the larger in the middle
    const float v = std::bit_cast<float>(uint32_t(random()));
    if (!std::isfinite(v)) continue;
    const auto truncated = std::bit_cast<uint32_t>(v) & 0xffffe000u;
    const double below = std::bit_cast<float>(truncated), above = std::bit_cast<float>(truncated + 0x2000u);
    if (std::isinf(above)) continue;
    ASSERT_EQ(evaluate_cast(DType::TF32, {DType::F32, v, 0}).f, std::abs(above - v) <= std::abs(v - below) ? above : below) << v;
  }
  EXPECT_EQ(tf32_of_float(3.4028e38f), INFINITY);
  EXPECT_EQ(tf32_of_float(-INFINITY), -INFINITY);
  for (const uint32_t nan : {0x7fffffffu, 0xffffffffu, 0x7f800001u}) EXPECT_TRUE(std::isnan(tf32_of_float(std::bit_cast<float>(nan))));
  EXPECT_TRUE(std::isnan(float_of_half(half_of_float(NAN))));
  EXPECT_TRUE(std::isnan(float_of_bfloat(bfloat_of_float(NAN))));
}

TEST(Evaluate, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(evaluate(BinaryOp::And, scalar(1.0f), scalar(1.0f)), InternalError);
  EXPECT_THROW(evaluate(UnaryOp::Not, scalar(1.0f)), InternalError);
  EXPECT_THROW(evaluate(UnaryOp::Exp, scalar(int32_t{1})), InternalError);
}

}  // namespace
}  // namespace burnish
