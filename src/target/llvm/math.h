// Elementary functions as straight code, for scalars and vectors of any number of lanes. No libm: the library that is
// built imports nothing. Bounds on errors stand at each function.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "expr/expr.h"
#include "target/llvm/isa.h"

namespace burnish::llvm_target {

class MathGen {
 public:
  MathGen(llvm::IRBuilder<>& b, const Isa& isa) : b_(b), isa_(isa) {}

  // Of float or double, scalars or vectors.
  llvm::Value* unary(UnaryOp op, llvm::Value* x);
  llvm::Value* silu(llvm::Value* x);  // x * sigmoid x in fewer operations; null where there is no such way
  llvm::Value* pow(llvm::Value* x, llvm::Value* y);
  llvm::Value* fmod(llvm::Value* x, llvm::Value* y);
  llvm::Value* fma(llvm::Value* a, llvm::Value* b, llvm::Value* c);  // a*b+c, in two roundings without the instruction
  llvm::Value* min(llvm::Value* a, llvm::Value* b);  // NaN from either side
  llvm::Value* max(llvm::Value* a, llvm::Value* b);
  llvm::Value* floor(llvm::Value* x);
  llvm::Value* ceil(llvm::Value* x);
  llvm::Value* round(llvm::Value* x);  // half to even
  llvm::Value* trunc(llvm::Value* x);

  // i16 bits of half precision floats and floats.
  llvm::Value* half_to_float(llvm::Value* bits);
  llvm::Value* float_to_half(llvm::Value* x);
  llvm::Value* bfloat_to_float(llvm::Value* bits);
  llvm::Value* float_to_bfloat(llvm::Value* x);
  llvm::Value* float_to_tf32(llvm::Value* x);

 private:
  // math_f32.cpp
  llvm::Value* exp32(llvm::Value* x, bool positive = true);
  llvm::Value* log32(llvm::Value* x);
  llvm::Value* tanh32(llvm::Value* x);
  llvm::Value* erf32(llvm::Value* x);
  llvm::Value* erf32_in_pieces(llvm::Value* x);
  // math_f64.cpp
  llvm::Value* exp64(llvm::Value* x);
  llvm::Value* expm1_64(llvm::Value* x);
  llvm::Value* log64(llvm::Value* x);
  llvm::Value* log1p_64(llvm::Value* x);
  llvm::Value* erf64(llvm::Value* x);
  llvm::Value* sin_cos64(llvm::Value* x, int quarter);  // quarter 0: sin, 1: cos
  llvm::Value* tan64(llvm::Value* x);
  llvm::Value* atan64(llvm::Value* x);
  llvm::Value* tanh64(llvm::Value* x);
  llvm::Value* sinh64(llvm::Value* x);
  llvm::Value* cosh64(llvm::Value* x);
  llvm::Value* asinh64(llvm::Value* x);
  llvm::Value* pow64(llvm::Value* x, llvm::Value* y);
  llvm::Value* unary64(UnaryOp op, llvm::Value* x);
  struct Log {
    llvm::Value *hi, *lo;
  };
  Log log_parts64(llvm::Value* x);  // of positive, finite, normal x

  llvm::Value* sigmoid(llvm::Value* x);
  // Helpers over any shape.
  llvm::Value* k(llvm::Value* like, double v);            // a constant of like's type
  llvm::Value* ki(llvm::Value* like_int, int64_t v);
  llvm::Type* ints(llvm::Value* x);                       // integers of x's shape and width
  llvm::Type* shaped(llvm::Value* like, llvm::Type* element);
  llvm::Value* horner(llvm::Value* x, std::initializer_list<double> highest_first);
  llvm::Value* abs(llvm::Value* x);
  llvm::Value* sqrt(llvm::Value* x);
  llvm::Value* copysign(llvm::Value* magnitude, llvm::Value* sign);
  llvm::Value* scale_by_power(llvm::Value* x, llvm::Value* n);  // x * 2^n, n an integer of x's width, |n| < 2 * bias
  llvm::Value* scalef(llvm::Value* x, llvm::Value* n);  // the same by one instruction, n a whole number; null without it
  bool is_double(llvm::Value* x) { return x->getType()->getScalarType()->isDoubleTy(); }

  llvm::IRBuilder<>& b_;
  const Isa& isa_;
};

}  // namespace burnish::llvm_target
