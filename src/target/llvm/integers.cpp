#include "target/llvm/integers.h"

#include <llvm/IR/Intrinsics.h>

#include "base/error.h"

namespace burnish::llvm_target {

namespace {

llvm::Constant* whole(llvm::Value* like, int64_t v) {
  return llvm::ConstantInt::get(like->getType(), uint64_t(v), true);
}

struct Division {
  llvm::Value *quotient, *remainder;
};

// Towards zero; x / 0 = 0 and x mod 0 = 0; lowest / -1 wraps. No operand reaches the instruction that would trap.
Division divide(llvm::IRBuilder<>& b, bool is_signed, llvm::Value* x, llvm::Value* y) {
  llvm::Value* zero = whole(y, 0);
  llvm::Value *by_zero = b.CreateICmpEQ(y, zero), *unsafe = by_zero, *by_minus = nullptr;
  if (is_signed) {
    by_minus = b.CreateICmpEQ(y, whole(y, -1));
    unsafe = b.CreateOr(by_zero, by_minus);
  }
  llvm::Value* d = b.CreateSelect(unsafe, whole(y, 1), y);
  llvm::Value* q = is_signed ? b.CreateSDiv(x, d) : b.CreateUDiv(x, d);
  llvm::Value* r = b.CreateSub(x, b.CreateMul(q, d));
  if (by_minus) q = b.CreateSelect(by_minus, b.CreateNeg(x), q);
  return {b.CreateSelect(by_zero, zero, q), b.CreateSelect(by_zero, zero, r)};
}

Division floor_divide(llvm::IRBuilder<>& b, bool is_signed, llvm::Value* x, llvm::Value* y) {
  Division d = divide(b, is_signed, x, y);
  if (!is_signed) return d;
  llvm::Value* zero = whole(y, 0);
  llvm::Value* differ = b.CreateXor(b.CreateICmpSLT(d.remainder, zero), b.CreateICmpSLT(y, zero));
  llvm::Value* down = b.CreateAnd(differ, b.CreateICmpNE(d.remainder, zero));
  return {b.CreateSelect(down, b.CreateSub(d.quotient, whole(y, 1)), d.quotient),
          b.CreateSelect(down, b.CreateAdd(d.remainder, y), d.remainder)};
}

// By squaring; wraps. Negative exponents: 1 and -1 stay units, all else rounds to 0.
llvm::Value* power(llvm::IRBuilder<>& b, bool is_signed, llvm::Value* x, llvm::Value* y) {
  unsigned width = x->getType()->getScalarSizeInBits();
  llvm::Value *one = whole(x, 1), *zero = whole(x, 0);
  llvm::Value *r = one, *base = x, *e = y;
  for (unsigned i = 0; i < width; ++i) {
    llvm::Value* odd = b.CreateICmpNE(b.CreateAnd(e, one), zero);
    r = b.CreateSelect(odd, b.CreateMul(r, base), r);
    base = b.CreateMul(base, base);
    e = b.CreateLShr(e, one);
  }
  if (!is_signed) return r;
  llvm::Value* odd = b.CreateICmpNE(b.CreateAnd(y, one), zero);
  llvm::Value* minus = b.CreateSelect(odd, whole(x, -1), one);
  llvm::Value* unit = b.CreateSelect(b.CreateICmpEQ(x, whole(x, -1)), minus, zero);
  unit = b.CreateSelect(b.CreateICmpEQ(x, one), one, unit);
  return b.CreateSelect(b.CreateICmpSLT(y, zero), unit, r);
}

}  // namespace

llvm::Value* gen_integer(llvm::IRBuilder<>& b, BinaryOp op, DType t, llvm::Value* x, llvm::Value* y) {
  bool s = is_signed(t);
  unsigned width = x->getType()->getScalarSizeInBits();
  if (t == DType::Bool) {  // wraps to "is not 0", not to the lowest bit
    if (op == BinaryOp::Add || op == BinaryOp::Max) return b.CreateOr(x, y);
    if (op == BinaryOp::Mul || op == BinaryOp::Min || op == BinaryOp::Div) return b.CreateAnd(x, y);
    if (op == BinaryOp::Sub) return b.CreateXor(x, y);
  }
  switch (op) {
    case BinaryOp::Add: return b.CreateAdd(x, y);
    case BinaryOp::Sub: return b.CreateSub(x, y);
    case BinaryOp::Mul: return b.CreateMul(x, y);
    case BinaryOp::Div: return divide(b, s, x, y).quotient;
    case BinaryOp::Mod: return divide(b, s, x, y).remainder;
    case BinaryOp::FloorDiv: return floor_divide(b, s, x, y).quotient;
    case BinaryOp::FloorMod: return floor_divide(b, s, x, y).remainder;
    case BinaryOp::Min: return b.CreateSelect(s ? b.CreateICmpSLT(x, y) : b.CreateICmpULT(x, y), x, y);
    case BinaryOp::Max: return b.CreateSelect(s ? b.CreateICmpSGT(x, y) : b.CreateICmpUGT(x, y), x, y);
    case BinaryOp::Pow: return power(b, s, x, y);
    case BinaryOp::And: return b.CreateAnd(x, y);
    case BinaryOp::Or: return b.CreateOr(x, y);
    case BinaryOp::Xor: return b.CreateXor(x, y);
    case BinaryOp::Shl:
    case BinaryOp::Shr: {
      llvm::Value* over = b.CreateICmpUGE(y, whole(y, width));
      llvm::Value* n = b.CreateSelect(over, whole(y, op == BinaryOp::Shr && s ? width - 1 : 0), y);
      if (op == BinaryOp::Shr && s) return b.CreateAShr(x, n);
      llvm::Value* v = op == BinaryOp::Shl ? b.CreateShl(x, n) : b.CreateLShr(x, n);
      return b.CreateSelect(over, whole(x, 0), v);
    }
    case BinaryOp::Eq:
    case BinaryOp::Ne:
    case BinaryOp::Lt:
    case BinaryOp::Le:
    case BinaryOp::Gt:
    case BinaryOp::Ge: break;
  }
  throw_internal(fmt::format("{} of {}", name_of(op), name_of(t)), std::source_location::current());
}

llvm::Value* gen_integer(llvm::IRBuilder<>& b, UnaryOp op, DType t, llvm::Value* x) {
  llvm::Value* zero = whole(x, 0);
  bool s = is_signed(t);
  if (op == UnaryOp::Neg) return b.CreateNeg(x);
  if (op == UnaryOp::Not) return b.CreateNot(x);
  if (op == UnaryOp::Abs) return s ? b.CreateSelect(b.CreateICmpSLT(x, zero), b.CreateNeg(x), x) : x;
  if (op == UnaryOp::Sign) {
    llvm::Value* positive = b.CreateSelect(b.CreateICmpNE(x, zero), whole(x, 1), zero);
    return s ? b.CreateSelect(b.CreateICmpSLT(x, zero), whole(x, -1), positive) : positive;
  }
  if (op == UnaryOp::Floor || op == UnaryOp::Ceil || op == UnaryOp::Round || op == UnaryOp::Trunc) return x;
  if (op == UnaryOp::IsNan || op == UnaryOp::IsInf) {
    return b.CreateICmpNE(x, x);
  }
  throw_internal(fmt::format("{} of {}", name_of(op), name_of(t)), std::source_location::current());
}

}  // namespace burnish::llvm_target
