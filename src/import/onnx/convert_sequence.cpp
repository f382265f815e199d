// Sequences of tensors. Their lengths are known at compile time or not supported, so nothing of
// them reaches the graph.
#include <algorithm>

#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

// The position input in 0..size, from the end when negative.
int64_t position(NodeContext& n, size_t i, int64_t size) {
  const std::vector<int64_t> list = n.int_list(i);
  require(list.size() == 1, "its position has {} elements, but one is needed", list.size());
  const int64_t at = list[0] < 0 ? list[0] + size : list[0];
  require(at >= 0 && at <= size, "position {} lies outside of a sequence of {}", list[0], size);
  return at;
}

std::vector<ValueId> sequence_empty(NodeContext& n) {
  n.ignore({"dtype"});
  return {n.make_sequence({})};
}

std::vector<ValueId> sequence_construct(NodeContext& n) {
  for (size_t i = 0; i < n.inputs(); ++i) n.in(i);
  return {n.make_sequence(n.all_inputs())};
}

std::vector<ValueId> sequence_insert(NodeContext& n) {
  std::vector<ValueId> values = n.sequence(0);
  const auto size = static_cast<int64_t>(values.size());
  values.insert(values.begin() + (n.has(2) ? position(n, 2, size) : size), n.in(1));
  return {n.make_sequence(std::move(values))};
}

std::vector<ValueId> sequence_erase(NodeContext& n) {
  std::vector<ValueId> values = n.sequence(0);
  require(!values.empty(), "nothing can be taken from an empty sequence");
  const auto last = static_cast<int64_t>(values.size()) - 1;
  const int64_t at = n.has(1) ? position(n, 1, last + 1) : last;
  require(at <= last, "position {} lies outside of a sequence of {}", at, last + 1);
  values.erase(values.begin() + at);
  return {n.make_sequence(std::move(values))};
}

std::vector<ValueId> sequence_at(NodeContext& n) {
  const std::vector<ValueId>& values = n.sequence(0);
  const auto size = static_cast<int64_t>(values.size());
  const int64_t at = position(n, 1, size);
  require(at < size, "position {} lies outside of a sequence of {}", at, size);
  return {values[static_cast<size_t>(at)]};
}

std::vector<ValueId> sequence_length(NodeContext& n) {
  return {n.int_scalar(static_cast<int64_t>(n.sequence(0).size()))};
}

std::vector<ValueId> concat_from_sequence(NodeContext& n) {
  std::vector<ValueId> values = n.sequence(0);
  require(!values.empty(), "an empty sequence has no concatenation");
  const auto rank = static_cast<int64_t>(n.type_of(values[0]).shape.size());
  const bool new_axis = n.attr_i("new_axis", 0) != 0;
  const int64_t axis = normal_axis(n.attr_i("axis", 0), rank + new_axis);
  if (new_axis) {
    for (ValueId& v : values) v = n.add("unsqueeze", {v}, attrs({{"axes", ints({axis})}}));
  }
  return {n.add("concat", values, attrs({{"axis", integer(axis)}}))};
}

// Parts of given sizes, of one size (the last may be smaller), or of single elements, whose axis
// keepdims may drop.
std::vector<ValueId> split_to_sequence(NodeContext& n) {
  const int64_t axis = normal_axis(n.attr_i("axis", 0), n.rank(0));
  const int64_t extent = n.shape(0)[static_cast<size_t>(axis)];
  const bool keep = n.attr_i("keepdims", 1) != 0 || n.has(1);
  std::vector<int64_t> sizes;
  if (n.has(1) && n.rank(1) > 0) {
    sizes = n.int_list(1);
  } else {
    const int64_t size = n.has(1) ? n.int_list(1)[0] : 1;
    require(size > 0, "parts of {} elements are not possible", size);
    require(extent / size < 4096, "{} elements make too many parts of {}", extent, size);
    for (int64_t at = 0; at < extent; at += size) sizes.push_back(std::min(size, extent - at));
  }
  int64_t at = 0;
  std::vector<ValueId> values;
  for (int64_t size : sizes) {
    require(size >= 0 && size <= extent - at, "the parts' sizes do not add up to {}", extent);
    ValueId v = n.slice(n.in(0), axis, at, at + size);
    if (!keep) v = n.add("squeeze", {v}, attrs({{"axes", ints({axis})}}));
    values.push_back(v);
    at += size;
  }
  require(at == extent, "the parts' sizes add up to {}, not to {}", at, extent);
  return {n.make_sequence(std::move(values))};
}

constexpr OnnxOp table[] = {
    {"SequenceEmpty", sequence_empty, "", true},
    {"SequenceConstruct", sequence_construct, "", true},
    {"SequenceInsert", sequence_insert, "", true},
    {"SequenceErase", sequence_erase, "", true},
    {"SequenceAt", sequence_at, "", true},
    {"SequenceLength", sequence_length, "", true},
    {"ConcatFromSequence", concat_from_sequence, "", true},
    {"SplitToSequence", split_to_sequence, "", true},
};

}  // namespace

std::span<const OnnxOp> sequence_conversions() { return table; }

}  // namespace burnish::onnx
