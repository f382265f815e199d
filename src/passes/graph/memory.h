// How tensors lie in memory: which layouts are the same bytes, and which nodes only rename a tensor.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

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

// A group of one concat whose operands are its output cut along the outermost axis of more than one element, or of one
// split whose outputs are its input so cut: each part is one piece of the whole's memory. No code is needed where the
// parts' producers write there, or readers read there.
struct Slices {
  ValueId whole;
  std::vector<ValueId> parts;
  std::vector<int64_t> offsets;  // elements
};
std::optional<Slices> slices_of(const Graph& g, const Node& group, std::string_view op);  // "concat" or "split"

}  // namespace burnish
