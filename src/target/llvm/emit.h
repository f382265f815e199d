// Modules -> object code or text, and objects -> a shared library, in this process.
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>
#include <vector>

#include "target/llvm/isa.h"
#include "target/target.h"

namespace burnish::llvm_target {

void initialize_llvm();  // once a process; free afterwards
std::unique_ptr<llvm::TargetMachine> make_machine(const Isa& isa);
std::string emit_module(llvm::Module& m, llvm::TargetMachine& tm, EmitKind kind);
// Links to a library that exports burnish_model_entry and imports nothing; InternalError when it would.
std::string link_library(const std::vector<std::string>& objects, const Isa& isa);

}  // namespace burnish::llvm_target
