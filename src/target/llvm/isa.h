// What the generated code may use of a CPU.
#pragma once

#include <string>
#include <vector>

namespace burnish::llvm_target {

struct Isa {
  std::string triple, cpu, features;  // as LLVM's TargetMachine takes them
  int vector_bytes = 16;
  int datapath_bytes = 64;  // of a vector that one unit works on in a cycle
  int registers = 16;       // vector registers
  bool fma = false;         // fused multiply-add is an instruction
  bool f16c = false;        // conversions of f16 are instructions
  bool rounding = false;    // floor, ceil, … are instructions (SSE4.1)
  bool scalef = false;      // x * 2^n is an instruction
  bool permute = false;     // a vector of 16 floats, permuted by another
  bool masked = false;      // masked loads and stores are instructions
};

std::string host_triple();
Isa host_isa();
// Fills in what follows from triple, cpu and features. UserError for a CPU that LLVM does not know.
Isa complete(Isa isa);
// The features, by LLVM's names, that code for `isa` may contain, as far as a runtime can check them.
std::vector<std::string> required_features(const Isa& isa);

}  // namespace burnish::llvm_target
