// include/burnish/abi.h as LLVM types: fields of burnish_host and burnish_frame, by number.
#pragma once

#include <llvm/IR/IRBuilder.h>

namespace burnish::llvm_target {

enum class HostField : unsigned { Ctx, Barrier, Mark, Fault };
enum class FrameField : unsigned { Tensors, Arena, Weights, Scratch, ScratchStride, Symbols, Threads, Reserved };

llvm::StructType* host_type(llvm::LLVMContext& c);
llvm::StructType* frame_type(llvm::LLVMContext& c);
llvm::Value* load_field(llvm::IRBuilder<>& b, llvm::Value* host, HostField f);
llvm::Value* load_field(llvm::IRBuilder<>& b, llvm::Value* frame, FrameField f);
void call_barrier(llvm::IRBuilder<>& b, llvm::Value* host, llvm::Value* thread);

}  // namespace burnish::llvm_target
