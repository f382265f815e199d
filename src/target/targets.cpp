// The targets by name.
#include "base/error.h"
#include "target/llvm/target.h"
#include "target/target.h"

namespace burnish {

std::shared_ptr<const Target> make_target(std::string_view text, int threads) {
  if (text == "native" || text == "llvm" || text.empty()) return llvm_target::make_llvm_target("", threads);
  size_t colon = text.find(':');
  if (text.substr(0, colon) == "llvm") return llvm_target::make_llvm_target(text.substr(colon + 1), threads);
  fail_user("unknown target \"{}\"; known are native, llvm and llvm:cpu=NAME,threads=N", text);
}

}  // namespace burnish
