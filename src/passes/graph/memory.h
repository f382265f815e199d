// How tensors lie in memory: which layouts are the same bytes, and which nodes only rename a tensor.
#pragma once

#include "graph/graph.h"
#include "graph/op.h"

namespace burnish {

// Both layouts put every element at the same place (dimensions of extent 1 do not matter).
bool same_memory(const Shape& shape, const Layout& a, const Layout& b);
bool is_row_major_memory(const TensorType& t);
bool is_dense(const TensorType& t);  // no unused elements

// Channels last for a tensor of this rank: {0, 2, 3, 1}; empty below rank 3.
Layout channels_last(size_t rank);

// reshape, squeeze, unsqueeze, flatten: the elements keep their row-major order.
bool is_reshape(const OpDef& op);

// The node's output is its first input under another type: no code is needed.
bool is_view(const Graph& g, const Node& n);

}  // namespace burnish
