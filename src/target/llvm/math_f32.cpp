// exp, log, tanh and erf of floats in float arithmetic. Errors against the exact value: exp and log 1.5 ULP, tanh 2.5,
// erf 1.5, sigmoid 2.5; infinities, NaN and denormals as in C.
#include "target/llvm/math.h"

namespace burnish::llvm_target {

using llvm::Value;

namespace {
// ln 2 in two parts; the first has 10 bits, so that small multiples of it are exact.
constexpr double ln2_hi = 0.693359375, ln2_lo = -2.12194440e-4, log2_e = 1.44269504088896341;
}  // namespace

// exp x = 2^n exp r, |r| <= ln 2 / 2; polynomial of Cephes' expf.
Value* MathGen::exp32(Value* x) {
  Value* c = min(max(x, k(x, -104)), k(x, 89));
  // Adding 1.5 * 2^23 rounds to an integer that stands in the lowest bits.
  Value* shifted = fma(c, k(x, log2_e), k(x, 0x1.8p23));
  Value* n = b_.CreateFSub(shifted, k(x, 0x1.8p23));
  Value* r = fma(n, k(x, -ln2_hi), c);
  r = fma(n, k(x, -ln2_lo), r);
  Value* p = horner(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                        5.0000001201e-1});
  p = fma(b_.CreateFMul(r, r), p, b_.CreateFAdd(r, k(x, 1)));
  Value* bits = b_.CreateBitCast(shifted, ints(x));
  return scale_by_power(p, b_.CreateSub(bits, ki(bits, 0x4b400000)));
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

// erf x = x + x P(x^2), and 1 - exp(-Q(|x|)) beyond 0.93. Coefficients fitted by Norbert Juffa.
Value* MathGen::erf32(Value* x) {
  Value *t = abs(x), *s = b_.CreateFMul(x, x);
  Value* u = fma(k(x, -1.72853470e-5), t, k(x, 3.83197126e-4));
  Value* w = fma(k(x, -3.88396438e-3), t, k(x, 2.42546219e-2));
  u = fma(u, s, w);
  u = fma(u, t, k(x, -1.06777877e-1));
  u = fma(u, t, k(x, -6.34846687e-1));
  u = fma(u, t, k(x, -1.28717512e-1));
  u = fma(u, t, b_.CreateFNeg(t));
  Value* large = copysign(b_.CreateFSub(k(x, 1), exp32(u)), x);
  large = b_.CreateSelect(b_.CreateFCmpOGT(t, k(x, 4)), copysign(k(x, 1), x), large);
  Value* p = horner(s, {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1});
  Value* small = fma(p, x, x);
  return b_.CreateSelect(b_.CreateFCmpOGT(t, k(x, 0.927734375)), large, small);
}

}  // namespace burnish::llvm_target
