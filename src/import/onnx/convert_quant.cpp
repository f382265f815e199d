// Quantisation, and integer products.
#include <algorithm>

#include "import/onnx/node_context.h"

#include "import/onnx/tensor.h"
#include "import/onnx/windows.h"

namespace burnish::onnx {

namespace {

std::vector<ValueId> present_inputs(NodeContext& n, size_t at_most) {
  std::vector<ValueId> in;
  for (size_t i = 0; i < at_most; ++i) in.push_back(n.in_or_none(i));
  while (!in.empty() && in.back() == no_value) in.pop_back();
  return in;
}

Attrs scale_attrs(NodeContext& n) {
  n.ignore({"saturate", "precision"});
  return attrs(
      {{"axis", integer(n.attr_i("axis", 1))}, {"block_size", integer(n.attr_i("block_size", 0))}});
}

std::vector<ValueId> quantize(NodeContext& n) {
  Attrs a = scale_attrs(n);
  const int64_t to = n.attr_i("output_dtype", 0);
  if (to != 0) {
    const auto dtype = dtype_of(static_cast<int32_t>(to));
    if (!dtype)
      n.gap("elements of type {} are not supported", onnx_type_name(static_cast<int32_t>(to)));
    a.set("to", std::string(name_of(*dtype)));
  }
  return {n.add("quantize_linear", present_inputs(n, 3), a)};
}

std::vector<ValueId> dequantize(NodeContext& n) {
  n.ignore({"output_dtype"});  // the scale's type, which is what the operator gives
  return {n.add("dequantize_linear", present_inputs(n, 3), scale_attrs(n))};
}

std::vector<ValueId> dynamic_quantize(NodeContext& n) {
  return n.add_many("dynamic_quantize_linear", {n.in(0)});
}

std::vector<ValueId> matmul_integer(NodeContext& n) {
  return {n.add("matmul_integer", present_inputs(n, 4))};
}

std::vector<ValueId> conv_integer(NodeContext& n) {
  Attrs a = window_attrs(read_windows(n, spatial(n.shape(1))), false);
  a.set("groups", n.attr_i("group", 1));
  return {n.add("conv_integer", present_inputs(n, 4), a)};
}

// In single precision whatever the scale's type.
ValueId dequantized(NodeContext& n, size_t i, int64_t axis) {
  return n.add("dequantize_linear", {n.in(i), n.cast(n.in(i + 1), DType::F32), n.in(i + 2)},
               attrs({{"axis", integer(axis)}}));
}

ValueId requantized(NodeContext& n, ValueId y, int64_t axis) {
  return n.add("quantize_linear", {y, n.cast(n.in(6), DType::F32), n.in(7)},
               attrs({{"axis", integer(axis)}}));
}

// Computed on the real numbers that the operands stand for.
std::vector<ValueId> qlinear_matmul(NodeContext& n) {
  const ValueId a = dequantized(n, 0, std::max<int64_t>(n.rank(0) - 2, 0));
  const ValueId b = dequantized(n, 3, n.rank(3) - 1);
  const ValueId y = n.add("matmul", {a, b});
  return {requantized(n, y, static_cast<int64_t>(n.type_of(y).shape.size()) - 1)};
}

std::vector<ValueId> qlinear_conv(NodeContext& n) {
  const Windows w = read_windows(n, spatial(n.shape(3)));
  Attrs a = window_attrs(w, false);
  a.set("groups", n.attr_i("group", 1));
  std::vector<ValueId> in{dequantized(n, 0, 1), dequantized(n, 3, 0)};
  if (n.has(8)) {  // the bias counts in steps of both scales
    const ValueId step = n.cast(n.add("mul", {n.in(1), n.in(4)}), DType::F32);
    in.push_back(n.add("mul", {n.cast(n.in(8), DType::F32), step}));
  }
  const ValueId y = n.add("conv", in, a);
  return {requantized(n, y, 1)};
}

constexpr OnnxOp table[] = {
    {"QuantizeLinear", quantize},
    {"DequantizeLinear", dequantize},
    {"DynamicQuantizeLinear", dynamic_quantize},
    {"MatMulInteger", matmul_integer},
    {"ConvInteger", conv_integer},
    {"QLinearMatMul", qlinear_matmul},
    {"QLinearConv", qlinear_conv},
};

}  // namespace

std::span<const OnnxOp> quant_conversions() { return table; }

}  // namespace burnish::onnx
