// Gathering and scattering by index.
#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

std::vector<ValueId> gather(NodeContext& n) {
  return {n.add("gather", {n.in(0), n.in(1)}, attrs({{"axis", integer(n.attr_i("axis", 0))}}))};
}

std::vector<ValueId> gather_elements(NodeContext& n) {
  return {n.add("gather_elements", {n.in(0), n.in(1)},
                attrs({{"axis", integer(n.attr_i("axis", 0))}}))};
}

std::vector<ValueId> gather_nd(NodeContext& n) {
  return {n.add("gather_nd", {n.in(0), n.in(1)},
                attrs({{"batch_dims", integer(n.attr_i("batch_dims", 0))}}))};
}

std::vector<ValueId> scatter_elements(NodeContext& n) {
  return {n.add("scatter_elements", {n.in(0), n.in(1), n.in(2)},
                attrs({{"axis", integer(n.attr_i("axis", 0))},
                       {"reduction", text(n.attr_s("reduction", "none"))}}))};
}

std::vector<ValueId> scatter_nd(NodeContext& n) {
  return {n.add("scatter_nd", {n.in(0), n.in(1), n.in(2)},
                attrs({{"reduction", text(n.attr_s("reduction", "none"))}}))};
}

std::vector<ValueId> one_hot(NodeContext& n) {
  const TensorPtr depth = n.constant(1);
  if (!depth) n.gap("input 1 is computed at run time, but it decides the result's shape");
  require(depth->size() == 1, "the depth has to be one number, but has {} elements", depth->size());
  const Scalar s = evaluate_cast(DType::I64, depth->get(0));
  return {n.add("one_hot", {n.in(0), n.int_vector({s.i}), n.in(2)},
                attrs({{"axis", integer(n.attr_i("axis", -1))}}))};
}

std::vector<ValueId> reverse_sequence(NodeContext& n) {
  return {n.add("reverse_sequence", {n.in(0), n.in(1)},
                attrs({{"time_axis", integer(n.attr_i("time_axis", 0))},
                       {"batch_axis", integer(n.attr_i("batch_axis", 1))}}))};
}

// With a condition that is known the kept positions are, too.
std::vector<ValueId> compress(NodeContext& n) {
  const TensorPtr condition = n.constant(1);
  if (!condition) n.gap("its condition is computed at run time, but it decides the result's shape");
  const bool flat = !n.has_attr("axis");
  const int64_t axis = flat ? 0 : normal_axis(n.attr_i("axis"), n.rank(0));
  const ValueId from = flat ? n.reshape(n.in(0), {element_count(n.shape(0))}) : n.in(0);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < condition->size(); ++i) {
    if (condition->get(i).i != 0) kept.push_back(i);
  }
  return {n.add("gather", {from, n.int_vector(kept)}, attrs({{"axis", integer(axis)}}))};
}

// Positions of the elements that are not zero, of a constant.
std::vector<ValueId> non_zero(NodeContext& n) {
  const TensorPtr x = n.constant(0);
  if (!x) n.gap("its input is computed at run time, but it decides the result's shape");
  std::vector<int64_t> hits;
  for (int64_t i = 0; i < x->size(); ++i) {
    const Scalar s = x->get(i);
    if (is_float(s.dtype) ? s.f != 0 : s.i != 0) hits.push_back(i);
  }
  const int64_t rank = n.rank(0), count = static_cast<int64_t>(hits.size());
  auto out = std::make_shared<Tensor>(DType::I64, Shape{rank, count});
  for (int64_t k = 0; k < count; ++k) {
    int64_t rest = hits[static_cast<size_t>(k)];
    for (int64_t axis = rank - 1; axis >= 0; --axis) {
      const int64_t extent = x->shape[static_cast<size_t>(axis)];
      out->data<int64_t>()[axis * count + k] = rest % extent;
      rest /= extent;
    }
  }
  return {n.constant_of(std::move(out))};
}

constexpr OnnxOp table[] = {
    {"Gather", gather},
    {"GatherElements", gather_elements},
    {"GatherND", gather_nd},
    {"Scatter", scatter_elements},
    {"ScatterElements", scatter_elements},
    {"ScatterND", scatter_nd},
    {"OneHot", one_hot},
    {"ReverseSequence", reverse_sequence},
    {"Compress", compress},
    {"NonZero", non_zero},
};

}  // namespace

std::span<const OnnxOp> index_conversions() { return table; }

}  // namespace burnish::onnx
