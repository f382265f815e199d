// Operators that move elements, and those that talk about shapes.
#include <algorithm>
#include <limits>
#include <numeric>

#include "import/onnx/node_context.h"
#include "import/onnx/tensor.h"

namespace burnish::onnx {

namespace {

std::vector<ValueId> reshape(NodeContext& n) {
  const std::vector<int64_t> shape = n.int_list(1);
  return {n.add("reshape", {n.in(0), n.int_vector(shape)},
                attrs({{"allowzero", integer(n.attr_i("allowzero", 0))}}))};
}

// Attribute before opset 13, input since.
std::vector<int64_t> axes_of(NodeContext& n) {
  return n.has(1) ? n.int_list(1) : n.attr_ints("axes");
}

std::vector<ValueId> squeeze(NodeContext& n) {
  const bool given = n.has(1) || n.has_attr("axes");
  if (!given) return {n.add("squeeze", {n.in(0)})};
  const std::vector<int64_t> axes = axes_of(n);
  if (axes.empty()) return {n.in(0)};
  return {n.add("squeeze", {n.in(0)}, attrs({{"axes", ints(axes)}}))};
}

std::vector<ValueId> unsqueeze(NodeContext& n) {
  const std::vector<int64_t> axes = axes_of(n);
  if (axes.empty()) return {n.in(0)};
  return {n.add("unsqueeze", {n.in(0)}, attrs({{"axes", ints(axes)}}))};
}

std::vector<ValueId> flatten(NodeContext& n) {
  return {n.add("flatten", {n.in(0)}, attrs({{"axis", integer(n.attr_i("axis", 1))}}))};
}

std::vector<ValueId> transpose(NodeContext& n) {
  std::vector<int64_t> reversed(static_cast<size_t>(n.rank(0)));
  for (size_t i = 0; i < reversed.size(); ++i)
    reversed[i] = static_cast<int64_t>(reversed.size() - 1 - i);
  return {n.transpose(n.in(0), n.attr_ints("perm", reversed))};
}

std::vector<ValueId> concat(NodeContext& n) {
  require(n.has_attr("axis"), "the attribute 'axis' is missing");
  for (size_t i = 0; i < n.inputs(); ++i) n.in(i);
  return {n.add("concat", n.all_inputs(), attrs({{"axis", integer(n.attr_i("axis"))}}))};
}

std::vector<ValueId> split(NodeContext& n) {
  const int64_t axis = normal_axis(n.attr_i("axis", 0), n.rank(0));
  Attrs a = attrs({{"axis", integer(axis)}});
  if (n.has(1) || n.has_attr("split")) {
    a.set("sizes", n.has(1) ? n.int_list(1) : n.attr_ints("split"));
  } else {
    a.set("num_outputs", n.attr_i("num_outputs", static_cast<int64_t>(n.outputs())));
  }
  return n.add_many("split", {n.in(0)}, a);
}

// Attributes before opset 10, inputs since.
std::vector<ValueId> slice(NodeContext& n) {
  if (n.opset() >= 10) {
    std::vector<ValueId> in{n.in(0), n.int_vector(n.int_list(1)), n.int_vector(n.int_list(2)),
                            no_value, no_value};
    for (size_t i = 3; i < 5; ++i) {
      if (n.has(i)) in[i] = n.int_vector(n.int_list(i));
    }
    while (in.back() == no_value) in.pop_back();
    return {n.add("slice", in)};
  }
  std::vector<ValueId> in{n.in(0), n.int_vector(n.attr_ints("starts")),
                          n.int_vector(n.attr_ints("ends"))};
  if (n.has_attr("axes")) in.push_back(n.int_vector(n.attr_ints("axes")));
  return {n.add("slice", in)};
}

std::vector<ValueId> pad(NodeContext& n) {
  const Attrs a = attrs({{"mode", text(n.attr_s("mode", "constant"))}});
  if (n.opset() < 11) {
    const ValueId value = n.scalar_like(n.attr_f("value", 0), n.in(0));
    return {n.add("pad", {n.in(0), n.int_vector(n.attr_ints("pads")), value}, a)};
  }
  std::vector<ValueId> in{n.in(0), n.int_vector(n.int_list(1)), n.in_or_none(2), no_value};
  if (n.has(3)) in[3] = n.int_vector(n.int_list(3));
  while (in.back() == no_value) in.pop_back();
  return {n.add("pad", in, a)};
}

std::vector<ValueId> tile(NodeContext& n) {
  return {n.add("tile", {n.in(0), n.int_vector(n.int_list(1))})};
}
std::vector<ValueId> expand(NodeContext& n) {
  return {n.add("expand", {n.in(0), n.int_vector(n.int_list(1))})};
}

// Known as soon as the input's shape is, which is always.
std::vector<ValueId> shape(NodeContext& n) {
  const int64_t rank = n.rank(0);
  const auto clamped = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  const int64_t start = clamped(n.attr_i("start", 0)), end = clamped(n.attr_i("end", rank));
  const Shape& s = n.shape(0);
  return {n.int_vector(start < end ? Shape(s.begin() + start, s.begin() + end) : Shape{})};
}

std::vector<ValueId> size(NodeContext& n) { return {n.int_scalar(element_count(n.shape(0)))}; }

std::vector<ValueId> constant(NodeContext& n) {
  if (TensorPtr t = n.attr_tensor("value")) return {n.constant_of(std::move(t))};
  if (n.has_attr("value_int")) return {n.int_scalar(n.attr_i("value_int"))};
  if (n.has_attr("value_ints")) return {n.int_vector(n.attr_ints("value_ints"))};
  if (n.has_attr("value_float")) return {n.scalar(n.attr_f("value_float"), DType::F32)};
  if (n.has_attr("value_floats")) {
    const std::vector<double> values = n.attr_floats("value_floats");
    auto t = std::make_shared<Tensor>(DType::F32, Shape{static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t->data<float>()[i] = static_cast<float>(values[i]);
    return {n.constant_of(std::move(t))};
  }
  n.gap("a constant of strings, or a sparse one, is not supported");
}

std::vector<ValueId> constant_of_shape(NodeContext& n) {
  Attrs a;
  if (TensorPtr t = n.attr_tensor("value")) a.set("value", std::move(t));
  return {n.add("constant_of_shape", {n.int_vector(n.int_list(0))}, a)};
}

std::vector<ValueId> range(NodeContext& n) {
  for (size_t i = 0; i < 3; ++i) {
    if (!n.constant(i))
      n.gap("input {} is computed at run time, but it decides the result's shape", i);
  }
  return {n.add("range", {n.in(0), n.in(1), n.in(2)})};
}

std::vector<ValueId> eye_like(NodeContext& n) {
  Attrs a = attrs({{"k", integer(n.attr_i("k", 0))}});
  if (n.has_attr("dtype")) {
    const auto onnx_type = static_cast<int32_t>(n.attr_i("dtype"));
    const auto dtype = dtype_of(onnx_type);
    if (!dtype) n.gap("elements of type {} are not supported", onnx_type_name(onnx_type));
    a.set("to", std::string(name_of(*dtype)));
  }
  return {n.add("eye_like", {n.in(0)}, a)};
}

std::vector<ValueId> tri(NodeContext& n) {
  std::vector<ValueId> in{n.in(0)};
  if (n.has(1)) in.push_back(n.int_vector(n.int_list(1)));
  return {n.add("tri", in, attrs({{"upper", integer(n.attr_i("upper", 1))}}))};
}

std::vector<ValueId> depth_to_space(NodeContext& n) {
  return {n.add("depth_to_space", {n.in(0)},
                attrs({{"blocksize", integer(n.attr_i("blocksize", 0))},
                       {"mode", text(n.attr_s("mode", "DCR"))}}))};
}

std::vector<ValueId> space_to_depth(NodeContext& n) {
  return {n.add("space_to_depth", {n.in(0)},
                attrs({{"blocksize", integer(n.attr_i("blocksize", 0))}}))};
}

// Crops or pads the given axes around their middle to given sizes.
std::vector<ValueId> center_crop_pad(NodeContext& n) {
  const std::vector<int64_t> target = n.int_list(1);
  const int64_t rank = n.rank(0);
  std::vector<int64_t> axes = n.attr_ints("axes");
  if (axes.empty()) {
    axes.resize(target.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  require(axes.size() == target.size(), "{} sizes are given for {} axes", target.size(),
          axes.size());
  std::vector<int64_t> pads(static_cast<size_t>(2 * rank), 0);
  ValueId v = n.in(0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = normal_axis(axes[i], rank), have = n.shape(0)[static_cast<size_t>(axis)];
    const int64_t want = target[i];
    require(want >= 0, "the size {} is negative", want);
    if (want < have) {
      const int64_t start = (have - want) / 2;
      v = n.slice(v, axis, start, start + want);
    } else {
      pads[static_cast<size_t>(axis)] = (want - have) / 2;
      pads[static_cast<size_t>(axis + rank)] = want - have - (want - have) / 2;
    }
  }
  if (std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; })) return {v};
  return {n.add("pad", {v, n.int_vector(pads), n.scalar_like(0, v)},
                attrs({{"mode", text("constant")}}))};
}

constexpr OnnxOp table[] = {
    {"Reshape", reshape},
    {"Squeeze", squeeze},
    {"Unsqueeze", unsqueeze},
    {"Flatten", flatten},
    {"Transpose", transpose},
    {"Concat", concat},
    {"Split", split},
    {"Slice", slice},
    {"Pad", pad},
    {"Tile", tile},
    {"Expand", expand},
    {"Shape", shape},
    {"Size", size},
    {"Constant", constant},
    {"ConstantOfShape", constant_of_shape},
    {"Range", range},
    {"EyeLike", eye_like},
    {"Trilu", tri},
    {"DepthToSpace", depth_to_space},
    {"SpaceToDepth", space_to_depth},
    {"CenterCropPad", center_crop_pad},
};

}  // namespace

std::span<const OnnxOp> shape_conversions() { return table; }

}  // namespace burnish::onnx
