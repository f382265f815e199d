// The meaning of every scalar operation, once.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "expr/expr.h"
#include "expr/half.h"

namespace burnish {

namespace {

int64_t wrap(DType t, uint64_t bits) {
  switch (t) {
    case DType::Bool: return bits != 0;
    case DType::I8: return static_cast<int8_t>(bits);
    case DType::U8: return static_cast<uint8_t>(bits);
    case DType::I16: return static_cast<int16_t>(bits);
    case DType::U16: return static_cast<uint16_t>(bits);
    case DType::I32: return static_cast<int32_t>(bits);
    case DType::U32: return static_cast<uint32_t>(bits);
    case DType::I64:
    case DType::U64: return static_cast<int64_t>(bits);
    case DType::F16:
    case DType::BF16:
    case DType::TF32:
    case DType::F32:
    case DType::F64: break;
  }
  throw_internal("wrap of a float type", std::source_location::current());
}

double round_f16(double v) {
  if (std::isnan(v) || std::isinf(v) || v == 0) return v;
  int e;
  std::frexp(v, &e);
  int unit = std::max(e - 11, -24);  // 11 significant bits; denormals below 2^-14
  double r = std::ldexp(std::nearbyint(std::ldexp(v, -unit)), unit);
  return std::fabs(r) > 65504 ? std::copysign(std::numeric_limits<double>::infinity(), v) : r;
}

double round_bf16(double v) {
  if (std::isnan(v)) return v;
  uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(v));
  if ((bits & 0x7f800000u) != 0x7f800000u) bits += 0x7fffu + ((bits >> 16) & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}

double round_to(DType t, double v) {
  if (t == DType::F32) return static_cast<float>(v);
  if (t == DType::F16) return round_f16(v);
  if (t == DType::BF16) return round_bf16(v);
  if (t == DType::TF32) return tf32_of_float(static_cast<float>(v));
  return v;
}

Scalar real(DType t, double v) { return {t, round_to(t, v), 0}; }
Scalar whole(DType t, uint64_t bits) { return {t, 0, wrap(t, bits)}; }
Scalar truth(bool v) { return {DType::Bool, 0, v}; }

double max_nan(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b); }
double min_nan(double a, double b) { return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b); }

uint64_t integer_power(uint64_t base, int64_t exponent) {
  uint64_t r = 1;
  for (uint64_t e = exponent < 0 ? 0 : static_cast<uint64_t>(exponent); e; e >>= 1, base *= base) {
    if (e & 1) r *= base;
  }
  return r;
}

Scalar integers(BinaryOp op, DType t, int64_t a, int64_t b) {
  bool s = is_signed(t);
  uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  bool less = s ? a < b : x < y;
  int width = size_of(t) * 8;
  bool overflow = s && b == -1;  // lowest / -1 wraps
  switch (op) {
    case BinaryOp::Add: return whole(t, x + y);
    case BinaryOp::Sub: return whole(t, x - y);
    case BinaryOp::Mul: return whole(t, x * y);
    case BinaryOp::Div: return whole(t, !b ? 0 : overflow ? -x : s ? static_cast<uint64_t>(a / b) : x / y);
    case BinaryOp::Mod: return whole(t, !b || overflow ? 0 : s ? static_cast<uint64_t>(a % b) : x % y);
    case BinaryOp::FloorDiv:
      return whole(t, !b ? 0 : overflow ? -x : s ? static_cast<uint64_t>(floor_div(a, b)) : x / y);
    case BinaryOp::FloorMod:
      return whole(t, !b || overflow ? 0 : s ? static_cast<uint64_t>(floor_mod(a, b)) : x % y);
    case BinaryOp::Min: return {t, 0, less ? a : b};
    case BinaryOp::Max: return {t, 0, less ? b : a};
    case BinaryOp::Pow:
      // Negative exponents: 1 and -1 stay units, all else rounds to 0.
      if (s && b < 0) return whole(t, a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0);
      return whole(t, integer_power(x, b));
    case BinaryOp::Eq: return truth(a == b);
    case BinaryOp::Ne: return truth(a != b);
    case BinaryOp::Lt: return truth(less);
    case BinaryOp::Le: return truth(less || a == b);
    case BinaryOp::Gt: return truth(!less && a != b);
    case BinaryOp::Ge: return truth(!less);
    case BinaryOp::And: return whole(t, x & y);
    case BinaryOp::Or: return whole(t, x | y);
    case BinaryOp::Xor: return whole(t, x ^ y);
    case BinaryOp::Shl: return whole(t, y >= static_cast<uint64_t>(width) ? 0 : x << y);
    case BinaryOp::Shr:
      if (y >= static_cast<uint64_t>(width)) return whole(t, s && a < 0 ? ~uint64_t{0} : 0);
      return whole(t, s ? static_cast<uint64_t>(a >> y) : x >> y);
  }
  throw_internal("unknown binary operation", std::source_location::current());
}

Scalar reals(BinaryOp op, DType t, double a, double b) {
  switch (op) {
    case BinaryOp::Add: return real(t, a + b);
    case BinaryOp::Sub: return real(t, a - b);
    case BinaryOp::Mul: return real(t, a * b);
    case BinaryOp::Div: return real(t, a / b);
    case BinaryOp::Mod: return real(t, std::fmod(a, b));
    case BinaryOp::FloorDiv: return real(t, std::floor(a / b));
    case BinaryOp::FloorMod: {
      double m = std::fmod(a, b);
      return real(t, m != 0 && (m < 0) != (b < 0) ? m + b : m);
    }
    case BinaryOp::Min: return real(t, min_nan(a, b));
    case BinaryOp::Max: return real(t, max_nan(a, b));
    case BinaryOp::Pow: return real(t, std::pow(a, b));
    case BinaryOp::Eq: return truth(a == b);
    case BinaryOp::Ne: return truth(a != b);
    case BinaryOp::Lt: return truth(a < b);
    case BinaryOp::Le: return truth(a <= b);
    case BinaryOp::Gt: return truth(a > b);
    case BinaryOp::Ge: return truth(a >= b);
    case BinaryOp::And:
    case BinaryOp::Or:
    case BinaryOp::Xor:
    case BinaryOp::Shl:
    case BinaryOp::Shr: break;
  }
  throw_internal(fmt::format("{} of {}", name_of(op), name_of(t)), std::source_location::current());
}

double real_unary(UnaryOp op, double a) {
  switch (op) {
    case UnaryOp::Neg: return -a;
    case UnaryOp::Abs: return std::fabs(a);
    case UnaryOp::Exp: return std::exp(a);
    case UnaryOp::Log: return std::log(a);
    case UnaryOp::Sqrt: return std::sqrt(a);
    case UnaryOp::Rsqrt: return 1 / std::sqrt(a);
    case UnaryOp::Tanh: return std::tanh(a);
    case UnaryOp::Sigmoid: return a < 0 ? std::exp(a) / (1 + std::exp(a)) : 1 / (1 + std::exp(-a));
    case UnaryOp::Erf: return std::erf(a);
    case UnaryOp::Sin: return std::sin(a);
    case UnaryOp::Cos: return std::cos(a);
    case UnaryOp::Tan: return std::tan(a);
    case UnaryOp::Asin: return std::asin(a);
    case UnaryOp::Acos: return std::acos(a);
    case UnaryOp::Atan: return std::atan(a);
    case UnaryOp::Sinh: return std::sinh(a);
    case UnaryOp::Cosh: return std::cosh(a);
    case UnaryOp::Asinh: return std::asinh(a);
    case UnaryOp::Acosh: return std::acosh(a);
    case UnaryOp::Atanh: return std::atanh(a);
    case UnaryOp::Floor: return std::floor(a);
    case UnaryOp::Ceil: return std::ceil(a);
    case UnaryOp::Round: return std::nearbyint(a);
    case UnaryOp::Trunc: return std::trunc(a);
    case UnaryOp::Sign: return a > 0 ? 1 : a < 0 ? -1 : a;
    case UnaryOp::Not:
    case UnaryOp::IsNan:
    case UnaryOp::IsInf: break;
  }
  throw_internal(fmt::format("{} of a float", name_of(op)), std::source_location::current());
}

Scalar integer_unary(UnaryOp op, DType t, int64_t a) {
  if (op == UnaryOp::Neg) return whole(t, -static_cast<uint64_t>(a));
  if (op == UnaryOp::Abs) return whole(t, is_signed(t) && a < 0 ? -static_cast<uint64_t>(a) : a);
  if (op == UnaryOp::Not) return t == DType::Bool ? truth(!a) : whole(t, ~static_cast<uint64_t>(a));
  if (op == UnaryOp::Sign) return whole(t, is_signed(t) ? (a > 0) - (a < 0) : a != 0);
  if (op >= UnaryOp::Floor && op <= UnaryOp::Trunc) return {t, 0, a};
  if (op == UnaryOp::IsNan || op == UnaryOp::IsInf) return truth(false);
  throw_internal(fmt::format("{} of {}", name_of(op), name_of(t)), std::source_location::current());
}

}  // namespace

Scalar evaluate(BinaryOp op, const Scalar& a, const Scalar& b) {
  return is_float(a.dtype) ? reals(op, a.dtype, a.f, b.f) : integers(op, a.dtype, a.i, b.i);
}

Scalar evaluate(UnaryOp op, const Scalar& a) {
  if (!is_float(a.dtype)) return integer_unary(op, a.dtype, a.i);
  if (op == UnaryOp::IsNan) return truth(std::isnan(a.f));
  if (op == UnaryOp::IsInf) return truth(std::isinf(a.f));
  return real(a.dtype, real_unary(op, a.f));
}

Scalar evaluate_cast(DType t, const Scalar& a) {
  if (is_float(a.dtype)) {
    if (is_float(t)) return real(t, a.f);
    if (t == DType::Bool) return truth(a.f != 0);
    if (std::isnan(a.f)) return whole(t, 0);
    int width = size_of(t) * 8;
    double v = std::trunc(a.f);
    double top = std::ldexp(1.0, is_signed(t) ? width - 1 : width);  // first value above the range
    double bottom = is_signed(t) ? -top : 0;
    if (v >= top) return whole(t, is_signed(t) ? (uint64_t{1} << (width - 1)) - 1 : ~uint64_t{0});
    if (v <= bottom) return whole(t, is_signed(t) ? uint64_t{1} << (width - 1) : 0);
    return whole(t, is_signed(t) ? static_cast<uint64_t>(static_cast<int64_t>(v)) : static_cast<uint64_t>(v));
  }
  if (is_float(t)) {
    return real(t, a.dtype == DType::U64 ? static_cast<double>(static_cast<uint64_t>(a.i))
                                         : static_cast<double>(a.i));
  }
  return whole(t, static_cast<uint64_t>(a.i));
}

}  // namespace burnish
