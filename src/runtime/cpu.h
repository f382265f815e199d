// What this machine's CPU can do, and which CPUs a thread may use.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace burnish::runtime {

enum class Feature { Present, Missing, Unknown };

// Is a feature, named as LLVM names it ("avx512f", "sse4.2", "neon"), usable here: by the CPU and
// by the system, which has to save its registers? Unknown: a name that this runtime does not know.
Feature cpu_feature(std::string_view name);

// "x86-64", the e_machine value of ELF, and the first part of triples.
struct Machine {
  const char* name;
  std::uint16_t elf;
  std::string_view arch;
};
Machine this_machine();
// The name for an e_machine value; "another CPU" for one that is not known here.
const char* machine_name(std::uint16_t elf);

// The CPUs in the affinity mask of a thread (0: the calling one). Never empty.
std::vector<int> affinity_cpus(int thread = 0);

}  // namespace burnish::runtime
