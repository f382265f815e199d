// The targets by name.
#include "base/error.h"
#include "target/cuda/target.h"
#include "target/llvm/target.h"
#include "target/target.h"

namespace burnish {

std::shared_ptr<const Target> make_target(std::string_view text, int threads) {
  const size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon), options = colon == text.npos ? "" : text.substr(colon + 1);
  if (name == "native" || name == "llvm" || text.empty()) return llvm_target::make_llvm_target(options, threads);
  if (name == "cuda") {
    // Only an entry function is made for the CPU: any CPU of this machine's family may run the library.
    return cuda_target::make_cuda_target(options, llvm_target::make_llvm_target("cpu=generic", threads));
  }
  fail_user("unknown target \"{}\"; known are native, llvm, llvm:cpu=NAME,threads=N, cuda and cuda:sm_90,precision=tf32", text);
}

}  // namespace burnish
