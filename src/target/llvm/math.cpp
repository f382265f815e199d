// What the elementary functions share: constants of any shape, rounding, minima, half precision.
#include "target/llvm/math.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include "base/error.h"

namespace burnish::llvm_target {

using llvm::Value;

Value* MathGen::k(Value* like, double v) { return llvm::ConstantFP::get(like->getType(), v); }
Value* MathGen::ki(Value* like, int64_t v) { return llvm::ConstantInt::get(like->getType(), uint64_t(v), true); }

llvm::Type* MathGen::shaped(Value* like, llvm::Type* element) {
  auto* v = llvm::dyn_cast<llvm::VectorType>(like->getType());
  return v ? llvm::VectorType::get(element, v->getElementCount()) : element;
}

llvm::Type* MathGen::ints(Value* x) { return shaped(x, b_.getIntNTy(x->getType()->getScalarSizeInBits())); }

Value* MathGen::fma(Value* a, Value* b, Value* c) {
  if (!isa_.fma) return b_.CreateFAdd(b_.CreateFMul(a, b), c);
  return b_.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, b, c});
}

Value* MathGen::horner(Value* x, std::initializer_list<double> highest_first) {
  Value* r = nullptr;
  for (double c : highest_first) r = r ? fma(r, x, k(x, c)) : k(x, c);
  return r;
}

Value* MathGen::abs(Value* x) { return b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }
Value* MathGen::sqrt(Value* x) { return b_.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x); }
Value* MathGen::copysign(Value* magnitude, Value* sign) {
  return b_.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude, sign);
}

// In two factors, so that results that are denormal or infinite come out rounded once.
Value* MathGen::scale_by_power(Value* x, Value* n) {
  bool d = is_double(x);
  auto power = [&](Value* e) {
    Value* bits = b_.CreateShl(b_.CreateAdd(e, ki(e, d ? 1023 : 127)), ki(e, d ? 52 : 23));
    return b_.CreateBitCast(bits, x->getType());
  };
  Value* half = b_.CreateAShr(n, ki(n, 1));
  return b_.CreateFMul(b_.CreateFMul(x, power(half)), power(b_.CreateSub(n, half)));
}

Value* MathGen::scalef(Value* x, Value* n) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (!isa_.scalef || !vector || is_double(x)) return nullptr;
  const unsigned lanes = vector->getNumElements();
  llvm::Intrinsic::ID id = llvm::Intrinsic::not_intrinsic;
  if (lanes == 16) id = llvm::Intrinsic::x86_avx512_mask_scalef_ps_512;
  if (lanes == 8) id = llvm::Intrinsic::x86_avx512_mask_scalef_ps_256;
  if (lanes == 4) id = llvm::Intrinsic::x86_avx512_mask_scalef_ps_128;
  if (id == llvm::Intrinsic::not_intrinsic) return nullptr;
  Value* all = lanes == 16 ? b_.getInt16(0xffff) : b_.getInt8(0xff);
  std::vector<Value*> operands = {x, n, llvm::Constant::getNullValue(x->getType()), all};
  if (lanes == 16) operands.push_back(b_.getInt32(4));  // the rounding that is set
  return b_.CreateIntrinsic(id, {}, operands);
}

namespace {
bool is_number(Value* v) {
  auto* c = llvm::dyn_cast<llvm::Constant>(v);
  if (c && c->getType()->isVectorTy()) c = c->getSplatValue();
  auto* f = llvm::dyn_cast_or_null<llvm::ConstantFP>(c);
  return f && !f->isNaN();
}
}  // namespace

// x86's minps and maxps give their second operand where one is NaN, so with a constant on the left NaN passes for free.
Value* MathGen::max(Value* a, Value* b) {
  if (is_number(b)) std::swap(a, b);
  Value* m = b_.CreateSelect(b_.CreateFCmpOGT(a, b), a, b);
  return is_number(a) ? m : b_.CreateSelect(b_.CreateFCmpUNO(a, a), a, m);
}

Value* MathGen::min(Value* a, Value* b) {
  if (is_number(b)) std::swap(a, b);
  Value* m = b_.CreateSelect(b_.CreateFCmpOLT(a, b), a, b);
  return is_number(a) ? m : b_.CreateSelect(b_.CreateFCmpUNO(a, a), a, m);
}

Value* MathGen::round(Value* x) {
  if (isa_.rounding) return b_.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x);
  // Adding 2^(bits of the fraction) rounds to integers; larger numbers are integers already.
  double big = is_double(x) ? 0x1p52 : 0x1p23;
  Value* m = abs(x);
  Value* r = b_.CreateFSub(b_.CreateFAdd(m, k(x, big)), k(x, big));
  return copysign(b_.CreateSelect(b_.CreateFCmpOLT(m, k(x, big)), r, m), x);
}

Value* MathGen::floor(Value* x) {
  if (isa_.rounding) return b_.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
  Value* r = round(x);
  Value* down = b_.CreateSelect(b_.CreateFCmpOGT(r, x), k(x, 1), k(x, 0));
  return copysign(b_.CreateFSub(r, down), x);
}

Value* MathGen::ceil(Value* x) {
  if (isa_.rounding) return b_.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, x);
  Value* r = round(x);
  Value* up = b_.CreateSelect(b_.CreateFCmpOLT(r, x), k(x, 1), k(x, 0));
  return copysign(b_.CreateFAdd(r, up), x);
}

Value* MathGen::trunc(Value* x) {
  if (isa_.rounding) return b_.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, x);
  return copysign(floor(abs(x)), x);
}

// x - trunc(x/y)*y. Exact while the quotient is below 2^53 for floats (computed in double) and below 2^52 for doubles.
Value* MathGen::fmod(Value* x, Value* y) {
  if (!is_double(x)) {
    llvm::Type* wide = shaped(x, b_.getDoubleTy());
    return b_.CreateFPTrunc(fmod(b_.CreateFPExt(x, wide), b_.CreateFPExt(y, wide)), x->getType());
  }
  Value *m = abs(x), *n = abs(y), *zero = k(x, 0);
  Value* q = trunc(b_.CreateFDiv(m, n));
  Value* r = fma(b_.CreateFNeg(q), n, m);
  r = b_.CreateSelect(b_.CreateFCmpOLT(r, zero), b_.CreateFAdd(r, n), r);
  r = b_.CreateSelect(b_.CreateFCmpOGE(r, n), b_.CreateFSub(r, n), r);
  Value* endless = b_.CreateFCmpOEQ(n, k(x, __builtin_inf()));
  r = b_.CreateSelect(b_.CreateAnd(endless, b_.CreateFCmpONE(m, k(x, __builtin_inf()))), m, r);
  return copysign(r, x);
}

Value* MathGen::half_to_float(Value* bits) {
  if (isa_.f16c) {
    return b_.CreateFPExt(b_.CreateBitCast(bits, shaped(bits, b_.getHalfTy())), shaped(bits, b_.getFloatTy()));
  }
  llvm::Type *i32 = shaped(bits, b_.getInt32Ty()), *f32 = shaped(bits, b_.getFloatTy());
  Value* h = b_.CreateZExt(bits, i32);
  Value* sign = b_.CreateShl(b_.CreateAnd(h, ki(h, 0x8000)), ki(h, 16));
  Value* magnitude = b_.CreateAnd(h, ki(h, 0x7fff));
  // Exponents move by 112; denormals and normals alike by one multiplication, infinities and NaN by their exponent.
  Value* scaled = b_.CreateFMul(b_.CreateBitCast(b_.CreateShl(magnitude, ki(h, 13)), f32),
                                llvm::ConstantFP::get(f32, 0x1p112));
  Value* finite = b_.CreateBitCast(scaled, i32);
  Value* special = b_.CreateOr(b_.CreateShl(magnitude, ki(h, 13)), ki(h, 0x7f800000));
  Value* r = b_.CreateSelect(b_.CreateICmpUGE(magnitude, ki(h, 0x7c00)), special, finite);
  return b_.CreateBitCast(b_.CreateOr(r, sign), f32);
}

Value* MathGen::float_to_half(Value* x) {
  if (isa_.f16c) {
    return b_.CreateBitCast(b_.CreateFPTrunc(x, shaped(x, b_.getHalfTy())), shaped(x, b_.getInt16Ty()));
  }
  Value* bits = b_.CreateBitCast(x, ints(x));
  Value* sign = b_.CreateAnd(b_.CreateLShr(bits, ki(bits, 16)), ki(bits, 0x8000));
  Value* m = b_.CreateAnd(bits, ki(bits, 0x7fffffff));
  // Normal results: exponent - 112, rounded half to even in integers (a carry runs into the exponent, up to infinity).
  Value* odd = b_.CreateAnd(b_.CreateLShr(m, ki(m, 13)), ki(m, 1));
  Value* normal = b_.CreateLShr(b_.CreateAdd(b_.CreateAdd(m, odd), ki(m, 0xfff - (112 << 23))), ki(m, 13));
  // Denormal results: adding 0.5 moves the fraction's last bit to 2^-24, rounded by the addition.
  Value* sum = b_.CreateFAdd(b_.CreateBitCast(m, x->getType()), k(x, 0.5));
  Value* denormal = b_.CreateSub(b_.CreateBitCast(sum, m->getType()), ki(m, 0x3f000000));
  Value* r = b_.CreateSelect(b_.CreateICmpULT(m, ki(m, 113 << 23)), denormal, normal);
  r = b_.CreateSelect(b_.CreateICmpUGE(m, ki(m, 0x47800000)), ki(m, 0x7c00), r);  // 65536 and above
  r = b_.CreateSelect(b_.CreateICmpUGT(m, ki(m, 0x7f800000)), ki(m, 0x7e00), r);
  return b_.CreateTrunc(b_.CreateOr(r, sign), shaped(x, b_.getInt16Ty()));
}

Value* MathGen::bfloat_to_float(Value* bits) {
  Value* wide = b_.CreateZExt(bits, shaped(bits, b_.getInt32Ty()));
  return b_.CreateBitCast(b_.CreateShl(wide, ki(wide, 16)), shaped(bits, b_.getFloatTy()));
}

Value* MathGen::float_to_bfloat(Value* x) {
  Value* bits = b_.CreateBitCast(x, ints(x));
  Value* odd = b_.CreateAnd(b_.CreateLShr(bits, ki(bits, 16)), ki(bits, 1));
  Value* rounded = b_.CreateAdd(bits, b_.CreateAdd(odd, ki(bits, 0x7fff)));
  Value* quiet = b_.CreateOr(bits, ki(bits, 0x400000));
  Value* r = b_.CreateSelect(b_.CreateFCmpUNO(x, x), quiet, rounded);
  return b_.CreateTrunc(b_.CreateLShr(r, ki(r, 16)), shaped(x, b_.getInt16Ty()));
}

Value* MathGen::float_to_tf32(Value* x) {
  Value* bits = b_.CreateBitCast(x, ints(x));
  Value* rounded = b_.CreateAdd(bits, ki(bits, 0x1000));
  Value* quiet = b_.CreateOr(bits, ki(bits, 0x400000));
  Value* r = b_.CreateSelect(b_.CreateFCmpUNO(x, x), quiet, rounded);
  return b_.CreateBitCast(b_.CreateAnd(r, ki(r, 0xffffe000)), x->getType());
}

Value* MathGen::sigmoid(Value* x) {
  // Through exp(-|x|), which neither overflows nor loses what is small.
  Value* minus = b_.CreateFNeg(abs(x));
  Value* e = is_double(x) ? exp64(minus) : exp32(minus, false);
  // x < 0 ? e : 1, by the sign's bit: a comparison would take a multiplier.
  Value* sign = b_.CreateBitCast(x, ints(x));
  sign = b_.CreateAShr(sign, ki(sign, is_double(x) ? 63 : 31));
  Value *one = b_.CreateBitCast(k(x, 1), ints(x)), *bits = b_.CreateBitCast(e, ints(x));
  Value* top = b_.CreateOr(b_.CreateAnd(sign, bits), b_.CreateAnd(b_.CreateNot(sign), one));
  return b_.CreateFDiv(b_.CreateBitCast(top, x->getType()), b_.CreateFAdd(e, k(x, 1)));
}

Value* MathGen::pow(Value* x, Value* y) {
  if (is_double(x)) return pow64(x, y);
  llvm::Type* wide = shaped(x, b_.getDoubleTy());
  return b_.CreateFPTrunc(pow64(b_.CreateFPExt(x, wide), b_.CreateFPExt(y, wide)), x->getType());
}

Value* MathGen::unary(UnaryOp op, Value* x) {
  bool d = is_double(x);
  switch (op) {
    case UnaryOp::Neg: return b_.CreateFNeg(x);
    case UnaryOp::Abs: return abs(x);
    case UnaryOp::Exp: return d ? exp64(x) : exp32(x);
    case UnaryOp::Log: return d ? log64(x) : log32(x);
    case UnaryOp::Sqrt: return sqrt(x);
    case UnaryOp::Rsqrt: return b_.CreateFDiv(k(x, 1), sqrt(x));
    case UnaryOp::Tanh: return d ? tanh64(x) : tanh32(x);
    case UnaryOp::Sigmoid: return sigmoid(x);
    case UnaryOp::Erf: return d ? erf64(x) : erf32(x);
    case UnaryOp::Floor: return floor(x);
    case UnaryOp::Ceil: return ceil(x);
    case UnaryOp::Round: return round(x);
    case UnaryOp::Trunc: return trunc(x);
    case UnaryOp::Sign: {
      Value* one = copysign(k(x, 1), x);
      return b_.CreateSelect(b_.CreateFCmpUEQ(x, k(x, 0)), x, one);  // zeros and NaN stay
    }
    case UnaryOp::IsNan: return b_.CreateFCmpUNO(x, x);
    case UnaryOp::IsInf: return b_.CreateFCmpOEQ(abs(x), k(x, __builtin_inf()));
    case UnaryOp::Sin:
    case UnaryOp::Cos:
    case UnaryOp::Tan:
    case UnaryOp::Asin:
    case UnaryOp::Acos:
    case UnaryOp::Atan:
    case UnaryOp::Sinh:
    case UnaryOp::Cosh:
    case UnaryOp::Asinh:
    case UnaryOp::Acosh:
    case UnaryOp::Atanh: {
      if (d) return unary64(op, x);
      return b_.CreateFPTrunc(unary64(op, b_.CreateFPExt(x, shaped(x, b_.getDoubleTy()))), x->getType());
    }
    case UnaryOp::Not: break;
  }
  throw_internal(fmt::format("{} of a float", name_of(op)), std::source_location::current());
}

}  // namespace burnish::llvm_target
