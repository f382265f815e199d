// Operations on integers and bool, scalars or lanes, with the meaning that expr/expr.h states.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "expr/expr.h"

namespace burnish::llvm_target {

llvm::Value* gen_integer(llvm::IRBuilder<>& b, BinaryOp op, DType t, llvm::Value* x, llvm::Value* y);
llvm::Value* gen_integer(llvm::IRBuilder<>& b, UnaryOp op, DType t, llvm::Value* x);

}  // namespace burnish::llvm_target
