// exp, log, tanh and erf of floats in float arithmetic. Errors against the exact value: exp and log 1.5 ULP, tanh 2.5,
// erf 2, sigmoid 2.5; infinities, NaN and denormals as in C. x * sigmoid x: 4, and one more for every 20 below 0.
#include <llvm/IR/Constants.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "target/llvm/math.h"

namespace burnish::llvm_target {

using llvm::Value;

namespace {
// ln 2 in two parts; the first has 10 bits, so that small multiples of it are exact.
constexpr double ln2_hi = 0.693359375, ln2_lo = -2.12194440e-4, log2_e = 1.44269504088896341;
}  // namespace

// exp x = 2^n exp r, |r| <= ln 2 / 2; a minimax polynomial, 3e-9 from exp r relative to it. What is never positive needs no
// upper bound.
Value* MathGen::exp32(Value* x, bool positive) {
  Value* c = max(x, k(x, -104));
  if (positive) c = min(c, k(x, 89));
  // Adding 1.5 * 2^23 rounds to an integer that stands in the lowest bits.
  Value* shifted = fma(c, k(x, log2_e), k(x, 0x1.8p23));
  Value* n = b_.CreateFSub(shifted, k(x, 0x1.8p23));
  Value* r = fma(n, k(x, -ln2_hi), c);
  r = fma(n, k(x, -ln2_lo), r);
  Value* p = horner(r, {1.3814540120e-3, 8.3687451771e-3, 4.1668390790e-2, 1.6666520398e-1, 4.9999999343e-1, 1, 1});
  if (Value* scaled = scalef(p, n)) return scaled;
  Value* bits = b_.CreateBitCast(shifted, ints(x));
  return scale_by_power(p, b_.CreateSub(bits, ki(bits, 0x4b400000)));
}

// x / (1 + exp -x). A machine that works on 512-bit vectors in halves spends as long on a polynomial as on the products
// around it, so there are as few multiplications as possible:
//   exp -x = 2^(n + i/32) (1 + c r + d r^2),   |r| <= ln 2 / 64
// s = 32 n + i stands in the lowest bits of a sum, 2^(i/32) comes by one permutation, and an addition of integers makes
// 2^n of it: a table that lacks i * 2^18 takes all of s * 2^18. Null without the instructions.
Value* MathGen::silu(Value* x) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  constexpr unsigned lanes = 16;
  if (!isa_.permute || !type || !type->getElementType()->isFloatTy() || type->getNumElements() > lanes) return nullptr;
  if (const unsigned few = type->getNumElements(); few < lanes) {
    std::vector<int> wide(lanes, -1), narrow;
    for (unsigned l = 0; l < few; ++l) narrow.push_back(wide[l] = int(l));
    return b_.CreateShuffleVector(silu(b_.CreateShuffleVector(x, wide)), narrow);
  }
  constexpr int parts = 32, shift = 18;
  const auto table = [&](int first) {
    std::vector<uint32_t> bits;
    for (int i = first; i < first + int(lanes); ++i) {
      bits.push_back(std::bit_cast<uint32_t>(float(std::exp2(double(i) / parts))) - (uint32_t(i) << shift));
    }
    return llvm::ConstantDataVector::getFP(b_.getFloatTy(), llvm::ArrayRef(bits));
  };
  // Between -88 and 88, where the power is a normal number; the sign stays. NaN passes through the division.
  constexpr int smaller_magnitude = 2, rounding_that_is_set = 4;
  Value* c = b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_range_ps_512, {},
                                {x, k(x, 88), b_.getInt32(smaller_magnitude), llvm::Constant::getNullValue(type),
                                 b_.getInt16(0xffff), b_.getInt32(rounding_that_is_set)});
  Value* s = fma(c, k(x, -log2_e), k(x, 0x1.8p18));
  Value* r = fma(b_.CreateFSub(s, k(x, 0x1.8p18)), k(x, std::numbers::ln2), c);
  Value* p = horner(r, {0.5, -1.0000146, 1});
  Value* number = b_.CreateBitCast(s, ints(x));
  Value* power = b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512_vpermi2var_ps_512, {}, {table(0), number, table(lanes)});
  power = b_.CreateAdd(b_.CreateBitCast(power, number->getType()), b_.CreateShl(number, ki(number, shift)));
  return b_.CreateFDiv(x, fma(b_.CreateBitCast(power, type), p, k(x, 1)));
}

// log(2^e m), m in [sqrt 1/2, sqrt 2); polynomial of Cephes' logf.
Value* MathGen::log32(Value* x) {
  Value* tiny = b_.CreateFCmpOLT(x, k(x, 0x1p-126));
  Value* y = b_.CreateSelect(tiny, b_.CreateFMul(x, k(x, 0x1p25)), x);
  Value* bits = b_.CreateBitCast(y, ints(x));
  Value* e = b_.CreateAShr(b_.CreateSub(bits, ki(bits, 0x3f3504f3)), ki(bits, 23));
  Value* m = b_.CreateBitCast(b_.CreateSub(bits, b_.CreateShl(e, ki(e, 23))), x->getType());
  Value* n = b_.CreateSIToFP(e, x->getType());
  n = b_.CreateFSub(n, b_.CreateSelect(tiny, k(x, 25), k(x, 0)));
  Value* z = b_.CreateFSub(m, k(x, 1));
  Value* p = horner(z, {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1});
  Value* z2 = b_.CreateFMul(z, z);
  Value* r = b_.CreateFMul(b_.CreateFMul(p, z), z2);
  r = fma(n, k(x, ln2_lo), r);
  r = fma(z2, k(x, -0.5), r);
  r = fma(n, k(x, ln2_hi), b_.CreateFAdd(z, r));
  r = b_.CreateSelect(b_.CreateFCmpOEQ(x, k(x, __builtin_inf())), x, r);
  r = b_.CreateSelect(b_.CreateFCmpOEQ(x, k(x, 0)), k(x, -__builtin_inf()), r);
  return b_.CreateSelect(b_.CreateFCmpULT(x, k(x, 0)), k(x, __builtin_nan("")), r);
}

Value* MathGen::tanh32(Value* x) {
  Value* a = abs(x);
  Value* z = b_.CreateFMul(x, x);
  Value* p = horner(z, {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1});
  Value* small = fma(b_.CreateFMul(p, z), x, x);
  Value* e = exp32(b_.CreateFMul(a, k(x, 2)));
  Value* large = b_.CreateFSub(k(x, 1), b_.CreateFDiv(k(x, 2), b_.CreateFAdd(e, k(x, 1))));
  return b_.CreateSelect(b_.CreateFCmpOLT(a, k(x, 0.625)), small, copysign(large, x));
}

// ---- erf in pieces of |x|, each a polynomial whose coefficients are looked up with one permutation

namespace {

constexpr int pieces = 16, terms = 7;
constexpr double piece_width = 65.0 / 256;  // few bits: a value's distance from the middle of its piece is exact

// Coefficients around i * piece_width, lowest power first: the interpolation of erf in Chebyshev's points, of erf(t) - t
// in the first piece.
std::array<double, terms> erf_piece(int i) {
  std::array<double, terms> at, y, c{};
  for (int j = 0; j < terms; ++j) {
    at[j] = piece_width / 2 * std::cos(std::numbers::pi * (j + 0.5) / terms);
    y[j] = std::erf(i * piece_width + at[j]) - (i == 0 ? at[j] : 0);
  }
  for (int n = 1; n < terms; ++n) {  // Newton's divided differences
    for (int j = terms; j-- > n;) y[j] = (y[j] - y[j - 1]) / (at[j] - at[j - n]);
  }
  for (int n = terms; n-- > 0;) {  // c = c * (d - at[n]) + y[n]
    for (int j = terms; j-- > 0;) c[j] = (j > 0 ? c[j - 1] : 0) - at[n] * c[j];
    c[0] += y[n];
  }
  if (i == 0) c[0] = 0;  // erf is odd
  return c;
}

}  // namespace

// Null without the instruction. The last piece ends where erf is 1 in floats.
Value* MathGen::erf32_in_pieces(Value* x) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (!isa_.permute || !type || type->getNumElements() > pieces) return nullptr;
  if (const unsigned lanes = type->getNumElements(); lanes < pieces) {
    std::vector<int> wide(pieces, -1), narrow;
    for (unsigned l = 0; l < lanes; ++l) narrow.push_back(wide[l] = int(l));
    return b_.CreateShuffleVector(erf32_in_pieces(b_.CreateShuffleVector(x, wide)), narrow);
  }
  static const auto coefficients = [] {
    std::array<std::array<double, terms>, pieces> all;
    for (int i = 0; i < pieces; ++i) all[i] = erf_piece(i);
    return all;
  }();
  Value *whole = abs(x), *end = k(x, (pieces - 0.5) * piece_width - 0.005);
  Value* t = b_.CreateSelect(b_.CreateFCmpOGT(whole, end), end, whole);
  // The lowest bits are the number of the piece.
  Value* shifted = fma(t, k(x, 1 / piece_width), k(x, 0x1.8p23));
  Value* d = fma(b_.CreateFSub(shifted, k(x, 0x1.8p23)), k(x, -piece_width), t);
  Value* number = b_.CreateBitCast(shifted, ints(x));
  Value* p = nullptr;
  for (int n = terms; n-- > 0;) {
    std::vector<float> table;
    for (const auto& piece : coefficients) table.push_back(float(piece[n]));
    Value* c = b_.CreateIntrinsic(llvm::Intrinsic::x86_avx512_permvar_sf_512, {},
                                  {llvm::ConstantDataVector::get(b_.getContext(), llvm::ArrayRef(table)), number});
    p = p ? fma(p, d, c) : c;
  }
  // What was left out of the first piece enters with the last rounding: no coefficient of it is rounded.
  Value* first = b_.CreateSelect(b_.CreateFCmpOLT(t, k(x, piece_width / 2)), t, k(x, 0));
  return copysign(min(b_.CreateFAdd(first, p), k(x, 1)), x);
}

// erf x = x + x P(x^2), and 1 - exp(-Q(|x|)) beyond 0.93. Coefficients fitted by Norbert Juffa. That exponential is at
// most 0.19, so a few units of its own do not show in the result, and never leaves the normal numbers.
Value* MathGen::erf32(Value* x) {
  if (Value* pieced = erf32_in_pieces(x)) return pieced;
  Value *whole = abs(x), *t = b_.CreateSelect(b_.CreateFCmpOGT(whole, k(x, 4)), k(x, 4), whole);
  Value* s = b_.CreateFMul(t, t);
  Value* u = fma(k(x, -1.72853470e-5), t, k(x, 3.83197126e-4));
  Value* w = fma(k(x, -3.88396438e-3), t, k(x, 2.42546219e-2));
  u = fma(u, s, w);
  u = fma(u, t, k(x, -1.06777877e-1));
  u = fma(u, t, k(x, -6.34846687e-1));
  u = fma(u, t, k(x, -1.28717512e-1));
  u = fma(u, t, b_.CreateFNeg(t));
  Value* shifted = fma(u, k(x, log2_e), k(x, 0x1.8p23));
  Value* r = fma(b_.CreateFSub(shifted, k(x, 0x1.8p23)), k(x, -0.693147180559945), u);
  Value* e = horner(r, {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1});
  Value* power = b_.CreateShl(b_.CreateBitCast(shifted, ints(x)), ki(b_.CreateBitCast(shifted, ints(x)), 23));
  e = b_.CreateBitCast(b_.CreateAdd(b_.CreateBitCast(e, power->getType()), power), x->getType());
  Value* large = b_.CreateFSub(k(x, 1), e);
  Value* p = horner(s, {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1});
  Value* small = fma(p, t, t);
  return copysign(b_.CreateSelect(b_.CreateFCmpOGT(t, k(x, 0.927734375)), large, small), x);
}

}  // namespace burnish::llvm_target
