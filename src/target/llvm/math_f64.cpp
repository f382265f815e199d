// Elementary functions of doubles, accurate to 1e-14 and mostly to 1 ULP: what the fp64 reference runs on, and, rounded,
// the rarer functions of floats. Kernels and coefficients are those of fdlibm (Sun Microsystems, 1993), without branches.
// Arguments of sin, cos and tan are reduced exactly up to 1.6e6; beyond that the error grows with the argument.
#include "base/error.h"
#include "target/llvm/math.h"

namespace burnish::llvm_target {

using llvm::Value;

namespace {
constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
constexpr double inf = __builtin_inf();
}  // namespace

Value* MathGen::exp64(Value* x) {
  Value* c = min(max(x, k(x, -746)), k(x, 710));
  Value* shifted = fma(c, k(x, 1.44269504088896338700), k(x, 0x1.8p52));
  Value* n = b_.CreateFSub(shifted, k(x, 0x1.8p52));
  Value* r = fma(n, k(x, -ln2_hi), c);
  r = fma(n, k(x, -ln2_lo), r);
  // Taylor: the remainder at ln 2 / 2 is 4e-18.
  Value* p = horner(r, {1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0, 1 / 40320.0,
                        1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5});
  p = b_.CreateFAdd(fma(b_.CreateFMul(r, r), p, r), k(x, 1));
  Value* bits = b_.CreateBitCast(shifted, ints(x));
  return scale_by_power(p, b_.CreateSub(bits, ki(bits, 0x4338000000000000)));
}

Value* MathGen::expm1_64(Value* x) {
  Value* p = horner(x, {1 / 1307674368000.0, 1 / 87178291200.0, 1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0,
                        1 / 3628800.0, 1 / 362880.0, 1 / 40320.0, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0,
                        0.5});
  Value* small = fma(b_.CreateFMul(x, x), p, x);
  Value* large = b_.CreateFSub(exp64(x), k(x, 1));
  return b_.CreateSelect(b_.CreateFCmpOLT(abs(x), k(x, 0.5)), small, large);
}

// log x = hi + lo, with 10 bits more than a double: what pow needs.
MathGen::Log MathGen::log_parts64(Value* x) {
  Value* bits = b_.CreateBitCast(x, ints(x));
  Value* e = b_.CreateAShr(b_.CreateSub(bits, ki(bits, 0x3fe6a09e667f3bcd)), ki(bits, 52));
  Value* m = b_.CreateBitCast(b_.CreateSub(bits, b_.CreateShl(e, ki(e, 52))), x->getType());
  Value* n = b_.CreateSIToFP(e, x->getType());
  Value* f = b_.CreateFSub(m, k(x, 1));
  // log(1+f) = 2 atanh s = 2s + s z R(z), s = f/(2+f), z = s^2
  Value* d = b_.CreateFAdd(f, k(x, 2));
  Value* d_lo = b_.CreateFSub(f, b_.CreateFSub(d, k(x, 2)));
  Value* s = b_.CreateFDiv(f, d);
  Value* s_lo = fma(b_.CreateFNeg(s), d, f);
  s_lo = b_.CreateFDiv(fma(b_.CreateFNeg(s), d_lo, s_lo), d);
  Value* z = b_.CreateFMul(s, s);
  Value* r = horner(z, {1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                        2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                        6.666666666666735130e-01});
  Value* tail = b_.CreateFMul(b_.CreateFMul(s, z), r);
  tail = fma(s_lo, k(x, 2), tail);
  tail = fma(n, k(x, ln2_lo), tail);
  // n ln2_hi is exact; two-sum with 2s (|n ln2_hi| >= |2s| unless n = 0), then with the tail.
  Value* big = b_.CreateFMul(n, k(x, ln2_hi));
  Value* two_s = b_.CreateFMul(s, k(x, 2));
  Value* sum = b_.CreateFAdd(big, two_s);
  Value* error = b_.CreateFSub(two_s, b_.CreateFSub(sum, big));
  tail = b_.CreateFAdd(tail, error);
  Value* hi = b_.CreateFAdd(sum, tail);
  return {hi, b_.CreateFSub(tail, b_.CreateFSub(hi, sum))};
}

Value* MathGen::log64(Value* x) {
  Value* tiny = b_.CreateFCmpOLT(x, k(x, 0x1p-1022));
  Value* y = b_.CreateSelect(tiny, b_.CreateFMul(x, k(x, 0x1p54)), x);
  Value* r = log_parts64(y).hi;
  r = b_.CreateSelect(tiny, b_.CreateFSub(r, k(x, 54 * 0.693147180559945309417)), r);
  r = b_.CreateSelect(b_.CreateFCmpOEQ(x, k(x, inf)), x, r);
  r = b_.CreateSelect(b_.CreateFCmpOEQ(x, k(x, 0)), k(x, -inf), r);
  return b_.CreateSelect(b_.CreateFCmpULT(x, k(x, 0)), k(x, __builtin_nan("")), r);
}

// log(1 + y) for y >= 0, with what 1 + y loses put back.
Value* MathGen::log1p_64(Value* y) {
  Value* u = b_.CreateFAdd(y, k(y, 1));
  Value* lost = b_.CreateFSub(b_.CreateFSub(u, k(y, 1)), y);
  Value* r = b_.CreateFSub(log64(u), b_.CreateFDiv(lost, u));
  return b_.CreateSelect(b_.CreateFCmpOEQ(y, k(y, inf)), y, r);
}

Value* MathGen::sin_cos64(Value* x, int quarter) {
  Value* n = round(b_.CreateFMul(x, k(x, 6.36619772367581382433e-01)));
  Value* m = b_.CreateFNeg(n);
  Value* r = fma(m, k(x, 1.57079632673412561417e+00), x);
  r = fma(m, k(x, 6.07710050630396597660e-11), r);
  r = fma(m, k(x, 2.02226624871116645580e-21), r);
  r = fma(m, k(x, 8.47842766036889956997e-32), r);
  r = min(max(r, k(x, -0.8)), k(x, 0.8));  // where the reduction has no bits left the result still lies in [-1, 1]
  Value* z = b_.CreateFMul(r, r);
  Value* s = horner(z, {1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
                        -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01});
  Value* sin = fma(b_.CreateFMul(s, z), r, r);
  Value* c = horner(z, {-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
                        2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02});
  Value* half = b_.CreateFMul(z, k(x, 0.5));
  Value* w = b_.CreateFSub(k(x, 1), half);
  Value* cos = b_.CreateFSub(b_.CreateFSub(k(x, 1), w), half);
  cos = b_.CreateFAdd(w, fma(b_.CreateFMul(z, z), c, cos));
  // The quadrant: n mod 4 from the lowest bits of n + 1.5 * 2^52.
  Value* q = b_.CreateBitCast(b_.CreateFAdd(n, k(x, 0x1.8p52)), ints(x));
  q = b_.CreateAdd(q, ki(q, quarter));
  Value* use_cos = b_.CreateICmpNE(b_.CreateAnd(q, ki(q, 1)), ki(q, 0));
  Value* v = b_.CreateSelect(use_cos, cos, sin);
  Value* flip = b_.CreateICmpNE(b_.CreateAnd(q, ki(q, 2)), ki(q, 0));
  return b_.CreateSelect(flip, b_.CreateFNeg(v), v);
}

Value* MathGen::tan64(Value* x) { return b_.CreateFDiv(sin_cos64(x, 0), sin_cos64(x, 1)); }

Value* MathGen::atan64(Value* x) {
  Value* a = abs(x);
  struct Piece {
    double from, pivot, hi, lo;
  };
  // atan a = atan p + atan((a - p) / (1 + a p))
  constexpr Piece pieces[] = {
      {0.4375, 0.5, 4.63647609000806093515e-01, 2.26987774529616870924e-17},
      {0.6875, 1.0, 7.85398163397448278999e-01, 3.06161699786838301793e-17},
      {1.1875, 1.5, 9.82793723247329054082e-01, 1.39033110312309984516e-17},
  };
  Value *top = a, *bottom = k(x, 1), *hi = k(x, 0), *lo = k(x, 0);
  auto choose = [&](double from, Value* t, Value* u, double h, double l) {
    Value* here = b_.CreateFCmpOGE(a, k(x, from));
    top = b_.CreateSelect(here, t, top);
    bottom = b_.CreateSelect(here, u, bottom);
    hi = b_.CreateSelect(here, k(x, h), hi);
    lo = b_.CreateSelect(here, k(x, l), lo);
  };
  for (const Piece& p : pieces) {
    choose(p.from, b_.CreateFSub(a, k(x, p.pivot)), fma(a, k(x, p.pivot), k(x, 1)), p.hi, p.lo);
  }
  choose(2.4375, k(x, -1), a, 1.57079632679489655800e+00, 6.12323399573676603587e-17);
  Value* t = b_.CreateFDiv(top, bottom);
  Value* z = b_.CreateFMul(t, t);
  Value* p = horner(z, {1.62858201153657823623e-02, -3.65315727442169155270e-02, 4.97687799461593236017e-02,
                        -5.83357013379057348645e-02, 6.66107313738753120669e-02, -7.69187620504482999495e-02,
                        9.09088713343650656196e-02, -1.11111104054623557880e-01, 1.42857142725034663711e-01,
                        -1.99999999998764832476e-01, 3.33333333333329318027e-01});
  Value* r = b_.CreateFSub(hi, b_.CreateFSub(b_.CreateFSub(b_.CreateFMul(b_.CreateFMul(t, z), p), lo), t));
  return copysign(r, x);
}

Value* MathGen::erf64(Value* x) {
  Value* a = abs(x);
  Value* z = b_.CreateFMul(x, x);
  Value* r = horner(z, {-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02,
                        -3.25042107247001499370e-01, 1.28379167095512558561e-01});
  Value* s = horner(z, {-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03,
                        6.50222499887672944485e-02, 3.97917223959155352819e-01, 1});
  Value* near = fma(x, b_.CreateFDiv(r, s), x);
  Value* t = b_.CreateFSub(a, k(x, 1));
  r = horner(t, {-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01,
                 3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01,
                 -2.36211856075265944077e-03});
  s = horner(t, {1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01,
                 7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1});
  Value* middle = b_.CreateFAdd(k(x, 8.45062911510467529297e-01), b_.CreateFDiv(r, s));
  Value* u = b_.CreateFDiv(k(x, 1), z);
  Value* ra = horner(u, {-9.81432934416914548592e+00, -8.12874355063065934246e+01, -1.84605092906711035994e+02,
                         -1.62396669462573470355e+02, -6.23753324503260060396e+01, -1.05586262253232909814e+01,
                         -6.93858572707181764372e-01, -9.86494403484714822705e-03});
  Value* sa = horner(u, {-6.04244152148580987438e-02, 6.57024977031928170135e+00, 1.08635005541779435134e+02,
                         4.29008140027567833386e+02, 6.45387271733267880336e+02, 4.34565877475229228821e+02,
                         1.37657754143519042600e+02, 1.96512716674392571292e+01, 1});
  Value* rb = horner(u, {-4.83519191608651397019e+02, -1.02509513161107724954e+03, -6.37566443368389627722e+02,
                         -1.60636384855821916062e+02, -1.77579549177547519889e+01, -7.99283237680523006574e-01,
                         -9.86494292470009928597e-03});
  Value* sb = horner(u, {-2.24409524465858183362e+01, 4.74528541206955367215e+02, 2.55305040643316442583e+03,
                         3.19985821950859553908e+03, 1.53672958608443695994e+03, 3.25792512996573918826e+02,
                         3.03380607434824582924e+01, 1});
  Value* far = b_.CreateFCmpOGE(a, k(x, 1 / 0.35));
  Value* q = b_.CreateFDiv(b_.CreateSelect(far, rb, ra), b_.CreateSelect(far, sb, sa));
  // exp(-a^2) without the rounding of a^2: h has half the bits.
  Value* bits = b_.CreateBitCast(a, ints(x));
  Value* h = b_.CreateBitCast(b_.CreateAnd(bits, ki(bits, int64_t(0xffffffff00000000))), x->getType());
  Value* e1 = exp64(b_.CreateFSub(k(x, -0.5625), b_.CreateFMul(h, h)));
  Value* e2 = exp64(fma(b_.CreateFSub(h, a), b_.CreateFAdd(h, a), q));
  Value* tail = b_.CreateFSub(k(x, 1), b_.CreateFDiv(b_.CreateFMul(e1, e2), a));
  Value* v = b_.CreateSelect(b_.CreateFCmpOLT(a, k(x, 1.25)), middle, tail);
  v = copysign(b_.CreateSelect(b_.CreateFCmpOGE(a, k(x, 6)), k(x, 1), v), x);
  v = b_.CreateSelect(b_.CreateFCmpOLT(a, k(x, 0.84375)), near, v);
  return b_.CreateSelect(b_.CreateFCmpUNO(x, x), x, v);
}

Value* MathGen::tanh64(Value* x) {
  Value* t = expm1_64(b_.CreateFMul(abs(x), k(x, 2)));
  Value* r = b_.CreateFDiv(t, b_.CreateFAdd(t, k(x, 2)));
  return copysign(b_.CreateSelect(b_.CreateFCmpOGT(abs(x), k(x, 22)), k(x, 1), r), x);
}

Value* MathGen::sinh64(Value* x) {
  Value* a = abs(x);
  Value* t = expm1_64(a);
  Value* r = b_.CreateFMul(k(x, 0.5), b_.CreateFAdd(t, b_.CreateFDiv(t, b_.CreateFAdd(t, k(x, 1)))));
  Value* h = exp64(b_.CreateFMul(a, k(x, 0.5)));  // halves, so that the result alone overflows
  Value* large = b_.CreateFMul(b_.CreateFMul(k(x, 0.5), h), h);
  return copysign(b_.CreateSelect(b_.CreateFCmpOGT(a, k(x, 30)), large, r), x);
}

Value* MathGen::cosh64(Value* x) {
  Value* a = abs(x);
  Value* e = exp64(a);
  Value* r = b_.CreateFMul(k(x, 0.5), b_.CreateFAdd(e, b_.CreateFDiv(k(x, 1), e)));
  Value* h = exp64(b_.CreateFMul(a, k(x, 0.5)));
  Value* large = b_.CreateFMul(b_.CreateFMul(k(x, 0.5), h), h);
  return b_.CreateSelect(b_.CreateFCmpOGT(a, k(x, 30)), large, r);
}

Value* MathGen::asinh64(Value* x) {
  Value* a = abs(x);
  Value* z = b_.CreateFMul(a, a);
  Value* root = sqrt(b_.CreateFAdd(z, k(x, 1)));
  Value* r = log1p_64(b_.CreateFAdd(a, b_.CreateFDiv(z, b_.CreateFAdd(root, k(x, 1)))));
  Value* large = b_.CreateFAdd(log64(a), k(x, 0.693147180559945309417));
  return copysign(b_.CreateSelect(b_.CreateFCmpOGT(a, k(x, 1e8)), large, r), x);
}

// exp(y log |x|), the logarithm with extra bits; special cases as in C99 annex F.
Value* MathGen::pow64(Value* x, Value* y) {
  Value *a = abs(x), *zero = k(x, 0), *one = k(x, 1), *huge = k(x, inf);
  Value* tiny = b_.CreateFCmpOLT(a, k(x, 0x1p-1022));
  Log l = log_parts64(b_.CreateSelect(tiny, b_.CreateFMul(a, k(x, 0x1p54)), a));
  l.hi = b_.CreateSelect(tiny, b_.CreateFSub(l.hi, k(x, 54 * 0.693147180559945309417)), l.hi);
  Value* hi = b_.CreateFMul(y, l.hi);
  Value* lo = fma(y, l.lo, isa_.fma ? fma(y, l.hi, b_.CreateFNeg(hi)) : zero);
  Value* e = exp64(hi);
  Value* moderate = b_.CreateFCmpONE(e, huge);
  Value* r = b_.CreateSelect(moderate, fma(e, b_.CreateSelect(moderate, lo, zero), e), e);
  // |x| of 0 and infinity
  Value* up = b_.CreateFCmpOGT(y, zero);
  r = b_.CreateSelect(b_.CreateFCmpOEQ(a, zero), b_.CreateSelect(up, zero, huge), r);
  r = b_.CreateSelect(b_.CreateFCmpOEQ(a, huge), b_.CreateSelect(up, huge, zero), r);
  // y infinite
  Value* endless = b_.CreateFCmpOEQ(abs(y), huge);
  Value* grows = b_.CreateXor(b_.CreateFCmpOGT(a, one), b_.CreateNot(up));
  Value* limit = b_.CreateSelect(b_.CreateFCmpOEQ(a, one), one, b_.CreateSelect(grows, huge, zero));
  r = b_.CreateSelect(endless, limit, r);
  // x below zero: integers keep or flip the sign, all else is not a number
  Value* whole = b_.CreateFCmpOEQ(trunc(y), y);
  Value* half = b_.CreateFMul(y, k(x, 0.5));
  Value* odd = b_.CreateAnd(whole, b_.CreateFCmpUNE(trunc(half), half));
  Value* bits = b_.CreateBitCast(x, ints(x));
  Value* minus = b_.CreateICmpSLT(bits, ki(bits, 0));
  r = b_.CreateSelect(b_.CreateAnd(minus, odd), b_.CreateFNeg(r), r);
  Value* below = b_.CreateAnd(b_.CreateFCmpOLT(x, zero), b_.CreateFCmpONE(a, huge));
  r = b_.CreateSelect(b_.CreateAnd(below, b_.CreateNot(whole)), k(x, __builtin_nan("")), r);
  r = b_.CreateSelect(b_.CreateFCmpUNO(x, y), b_.CreateFAdd(x, y), r);
  Value* is_one = b_.CreateOr(b_.CreateFCmpOEQ(y, zero), b_.CreateFCmpOEQ(x, one));
  return b_.CreateSelect(is_one, one, r);
}

Value* MathGen::unary64(UnaryOp op, Value* x) {
  Value* one = k(x, 1);
  if (op == UnaryOp::Sin) return sin_cos64(x, 0);
  if (op == UnaryOp::Cos) return sin_cos64(x, 1);
  if (op == UnaryOp::Tan) return tan64(x);
  if (op == UnaryOp::Atan) return atan64(x);
  if (op == UnaryOp::Asin) {
    Value* root = sqrt(b_.CreateFMul(b_.CreateFSub(one, x), b_.CreateFAdd(one, x)));
    return atan64(b_.CreateFDiv(x, root));
  }
  if (op == UnaryOp::Acos) {
    Value* root = sqrt(b_.CreateFDiv(b_.CreateFSub(one, x), b_.CreateFAdd(one, x)));
    return b_.CreateFMul(k(x, 2), atan64(root));
  }
  if (op == UnaryOp::Sinh) return sinh64(x);
  if (op == UnaryOp::Cosh) return cosh64(x);
  if (op == UnaryOp::Asinh) return asinh64(x);
  if (op == UnaryOp::Acosh) {
    Value* t = b_.CreateFSub(x, one);
    Value* root = sqrt(b_.CreateFAdd(b_.CreateFMul(t, t), b_.CreateFMul(t, k(x, 2))));
    Value* large = b_.CreateFAdd(log64(x), k(x, 0.693147180559945309417));
    Value* r = b_.CreateSelect(b_.CreateFCmpOGT(x, k(x, 1e8)), large, log1p_64(b_.CreateFAdd(t, root)));
    return b_.CreateSelect(b_.CreateFCmpULT(x, one), k(x, __builtin_nan("")), r);
  }
  if (op == UnaryOp::Atanh) {
    Value* a = abs(x);
    Value* r = log1p_64(b_.CreateFDiv(b_.CreateFMul(a, k(x, 2)), b_.CreateFSub(one, a)));
    return copysign(b_.CreateFMul(r, k(x, 0.5)), x);
  }
  throw_internal(fmt::format("{} of a double", name_of(op)), std::source_location::current());
}

}  // namespace burnish::llvm_target
