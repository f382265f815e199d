// Bodies of groups, put together from nodes of other graphs.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace burnish {

// Adds `n`, a node of `from`, to `to` with its layouts. `map`: values of `from` to those of `to`, no_value where there is none;
// the node's inputs are in it, its outputs come into it.
void copy_node(const Graph& from, const Node& n, Graph& to, std::vector<ValueId>& map);

// A group of one body and one result.
bool is_group(const Node& n);
// One group with the bodies of both, of which the second reads the first's result, and has the second's.
Node joined_groups(const Node& first, const Node& second);
// The graph with groups `now` in the place of nodes, without those that were `taken` into them.
Graph with_joined(const Graph& g, std::vector<std::optional<Node>> now, const std::vector<bool>& taken);

}  // namespace burnish
