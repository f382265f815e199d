// What layouts each node of a graph could compute in, and what each costs: what choose_layout
// chooses from.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"
#include "target/target.h"

namespace burnish {

struct LayoutChoice {
  Layout result;                              // of the outputs of its rank; others are row-major
  std::vector<std::optional<Layout>> wanted;  // of each operand; nothing: as it lies
  double us = 0;
};

// At least one choice for each node. Without a target the machine is a typical one.
std::vector<std::vector<LayoutChoice>> layout_choices(const Graph& g, const Target* target);

// A kernel that only moves the elements of such a tensor, in microseconds.
double move_us(const TensorType& t, const Machine& m);

// Layouts of the node's operands make no difference: constants are packed as their readers want
// them.
bool has_layout(const Graph& g, ValueId v);

}  // namespace burnish
