// From a group to a kernel: its stages, made independent of the model, scheduled and lowered once.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "passes/context.h"

namespace burnish {

// The stages of a group as they are scheduled. Constants of one element stand in the formulas; parameters that no
// formula reads are gone.
struct KernelStages {
  StageGroup group;
  std::vector<uint32_t> operand_of;  // for every parameter that is an input: the operand of the group
};
KernelStages kernel_stages(const Graph& g, const Node& group);

struct Kernel {
  uint32_t function;
  std::string schedule;
  std::vector<Layout> packed;  // of the input parameters; row-major ones are empty
};

// Kernels by the text of their stages: equal groups share one function.
class KernelTable {
 public:
  KernelTable(const Target& target, std::vector<Function>& functions)
      : target_(target), functions_(functions) {}
  const Kernel& kernel(const StageGroup& stages, const std::string& source);

 private:
  const Target& target_;
  std::vector<Function>& functions_;
  std::map<std::string, Kernel> by_text_;
  std::map<std::string, int> used_names_;
};

}  // namespace burnish
