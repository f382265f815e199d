// Bodies of groups, put together from nodes of other graphs.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace burnish {

// Adds `n`, a node of `from`, to `to` with its layouts. `map`: values of `from` to those of `to`, no_value where there is none;
// the node's inputs are in it, its outputs come into it.
void copy_node(const Graph& from, const Node& n, Graph& to, std::vector<ValueId>& map);

}  // namespace burnish
