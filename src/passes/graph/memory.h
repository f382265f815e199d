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

// Reads operands and writes its result in any order of axes, the result's last one innermost: transposes around it are
// views.
bool is_strided(const OpDef& op);

// `perm` of a transpose, without negative entries; reversed where it is absent.
std::vector<uint32_t> permutation_of(const Node& transpose, size_t rank);
// Where the result of a transpose lies if it has the operand's memory; the layout orders axes and no more.
Layout transposed_view(const Layout& operand, const std::vector<uint32_t>& perm);
// The same for a reshape: nothing where axes that become one, or one that becomes several, do not lie side by side.
std::optional<Layout> reshaped_view(const Shape& from, const Layout& operand, const Shape& to);

// The node's output is its first input under another type: no code is needed.
bool is_view(const Graph& g, const Node& n);

// A group of one concat whose operands are its output cut along an axis, or of one split whose outputs are its input so
// cut. Where the axis is the outermost of more than one element, each part is one piece of the whole's memory; else the
// parts lie between each other's rows (`apart`), and their layouts get the whole's strides by padding. No code is needed
// where the parts' producers write there, or readers read there.
struct Slices {
  ValueId whole;
  std::vector<ValueId> parts;
  std::vector<int64_t> offsets;  // elements
  uint32_t axis = 0;
  bool apart = false;
};
std::optional<Slices> slices_of(const Graph& g, const Node& group, std::string_view op);  // "concat" or "split"

// Both have one layout and one shape but for the extent of `axis`, which lies whole in one dimension.
bool same_but_for(uint32_t axis, const TensorType& a, const TensorType& b);

// The layout with so many unused elements after each of the axis's own.
Layout padded(const TensorType& t, uint32_t axis, int64_t pad);

}  // namespace burnish
