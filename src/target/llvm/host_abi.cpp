#include "target/llvm/host_abi.h"

#include <burnish/abi.h>

#include <cstddef>

namespace burnish::llvm_target {

static_assert(sizeof(burnish_host) == 32 && offsetof(burnish_host, mark) == 16);
static_assert(sizeof(burnish_frame) == 56 && offsetof(burnish_frame, threads) == 48);

llvm::StructType* host_type(llvm::LLVMContext& c) {
  auto* p = llvm::PointerType::get(c, 0);
  return llvm::StructType::get(c, {p, p, p, p});
}

llvm::StructType* frame_type(llvm::LLVMContext& c) {
  auto* p = llvm::PointerType::get(c, 0);
  auto *i64 = llvm::Type::getInt64Ty(c), *i32 = llvm::Type::getInt32Ty(c);
  return llvm::StructType::get(c, {p, p, p, p, i64, p, i32, i32});
}

namespace {
llvm::Value* field(llvm::IRBuilder<>& b, llvm::StructType* t, llvm::Value* at, unsigned i) {
  return b.CreateLoad(t->getElementType(i), b.CreateStructGEP(t, at, i));
}
}  // namespace

llvm::Value* load_field(llvm::IRBuilder<>& b, llvm::Value* host, HostField f) {
  return field(b, host_type(b.getContext()), host, unsigned(f));
}

llvm::Value* load_field(llvm::IRBuilder<>& b, llvm::Value* frame, FrameField f) {
  return field(b, frame_type(b.getContext()), frame, unsigned(f));
}

void call_barrier(llvm::IRBuilder<>& b, llvm::Value* host, llvm::Value* thread) {
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy(), b.getInt32Ty()}, false);
  b.CreateCall(type, load_field(b, host, HostField::Barrier), {load_field(b, host, HostField::Ctx), thread});
}

}  // namespace burnish::llvm_target
