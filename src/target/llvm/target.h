#pragma once

#include <memory>
#include <string_view>

#include "target/target.h"

namespace burnish::llvm_target {

// `options`: what follows "llvm:", such as "cpu=x86-64-v3,threads=2"; empty: this machine. UserError on unknown ones.
std::shared_ptr<const Target> make_llvm_target(std::string_view options, int threads);

}  // namespace burnish::llvm_target
