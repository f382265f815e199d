// Element by element: arithmetic, comparison, logic, activations, casts.
#include <algorithm>
#include <limits>
#include <utility>

#include "import/onnx/node_context.h"
#include "import/onnx/tensor.h"

namespace burnish::onnx {

namespace {

using Named = std::pair<std::string_view, std::string_view>;

// Operators of one operand and no attributes, by ONNX's name.
constexpr Named unary_names[] = {
    {"Abs", "abs"},
    {"Neg", "neg"},
    {"Exp", "exp"},
    {"Log", "log"},
    {"Sqrt", "sqrt"},
    {"Tanh", "tanh"},
    {"Reciprocal", "reciprocal"},
    {"Sigmoid", "sigmoid"},
    {"Erf", "erf"},
    {"Sin", "sin"},
    {"Cos", "cos"},
    {"Tan", "tan"},
    {"Asin", "asin"},
    {"Acos", "acos"},
    {"Atan", "atan"},
    {"Sinh", "sinh"},
    {"Cosh", "cosh"},
    {"Asinh", "asinh"},
    {"Acosh", "acosh"},
    {"Atanh", "atanh"},
    {"Floor", "floor"},
    {"Ceil", "ceil"},
    {"Round", "round"},
    {"Sign", "sign"},
    {"Relu", "relu"},
    {"Softplus", "softplus"},
    {"Softsign", "softsign"},
    {"Mish", "mish"},
    {"HardSwish", "hard_swish"},
    {"Not", "not"},
    {"BitwiseNot", "bit_not"},
    {"IsNaN", "is_nan"},
};

constexpr Named binary_names[] = {
    {"Add", "add"},
    {"Sub", "sub"},
    {"Mul", "mul"},
    {"Div", "div"},
    {"Pow", "pow"},
    {"And", "and"},
    {"Or", "or"},
    {"Xor", "xor"},
    {"Equal", "equal"},
    {"Less", "less"},
    {"Greater", "greater"},
    {"LessOrEqual", "less_equal"},
    {"GreaterOrEqual", "greater_equal"},
    {"BitwiseAnd", "bit_and"},
    {"BitwiseOr", "bit_or"},
    {"BitwiseXor", "bit_xor"},
};

template <size_t N> std::string_view named(const Named (&names)[N], std::string_view onnx_name) {
  for (const auto& [from, to] : names) {
    if (from == onnx_name) return to;
  }
  fail_unsupported("'{}' has no operator", onnx_name);
}

std::vector<ValueId> unary(NodeContext& n) {
  return {n.add(named(unary_names, n.op_type()), {n.in(0)})};
}

// Before opset 7 the second operand was aligned at an axis of the first instead of at the last.
ValueId aligned(NodeContext& n) {
  if (n.opset() >= 7) return n.in(1);
  const bool broadcast = n.attr_i("broadcast", 0) != 0;
  if (!broadcast || !n.has_attr("axis")) return n.in(1);
  const int64_t axis = normal_axis(n.attr_i("axis"), n.rank(0));
  Shape shape = n.shape(1);
  require(axis + n.rank(1) <= n.rank(0), "an operand of rank {} does not fit at axis {} of rank {}",
          n.rank(1), axis, n.rank(0));
  shape.resize(static_cast<size_t>(n.rank(0) - axis), 1);
  return n.reshape(n.in(1), shape);
}

std::vector<ValueId> binary(NodeContext& n) {
  return {n.add(named(binary_names, n.op_type()), {n.in(0), aligned(n)})};
}

std::vector<ValueId> mod(NodeContext& n) {
  return {n.add("mod", {n.in(0), n.in(1)}, attrs({{"fmod", integer(n.attr_i("fmod", 0))}}))};
}

std::vector<ValueId> bit_shift(NodeContext& n) {
  const std::string direction = n.attr_s("direction");
  require(direction == "LEFT" || direction == "RIGHT",
          "'direction' is '{}', but LEFT or RIGHT is needed", direction);
  return {n.add("bit_shift", {n.in(0), n.in(1)},
                attrs({{"direction", text(direction == "LEFT" ? "left" : "right")}}))};
}

std::vector<ValueId> extreme(NodeContext& n) {
  require(n.inputs() > 0, "it has no inputs");
  for (size_t i = 0; i < n.inputs(); ++i) n.in(i);
  return {n.add(n.op_type() == "Max" ? "max" : "min", n.all_inputs())};
}

std::vector<ValueId> sum(NodeContext& n) {
  ValueId total = n.in(0);
  for (size_t i = 1; i < n.inputs(); ++i) total = n.add("add", {total, n.in(i)});
  if (n.op_type() == "Mean") {
    total = n.add("div", {total, n.scalar_like(static_cast<double>(n.inputs()), total)});
  }
  return {total};
}

std::vector<ValueId> where(NodeContext& n) { return {n.add("where", {n.in(0), n.in(1), n.in(2)})}; }

std::vector<ValueId> clip(NodeContext& n) {
  if (n.opset() >= 11) {
    std::vector<ValueId> in{n.in(0), n.in_or_none(1), n.in_or_none(2)};
    while (in.back() == no_value) in.pop_back();
    return {in.size() == 1 ? in[0] : n.add("clip", in)};
  }
  const double none = std::numeric_limits<float>::max();
  const double low = n.attr_f("min", -none), high = n.attr_f("max", none);
  std::vector<ValueId> in{n.in(0)};
  if (low > -none || high < none)
    in.push_back(low > -none ? n.scalar_like(low, n.in(0)) : no_value);
  if (high < none) in.push_back(n.scalar_like(high, n.in(0)));
  return {in.size() == 1 ? in[0] : n.add("clip", in)};
}

// Operators with one attribute 'alpha', and their default.
template <double Default> std::vector<ValueId> with_alpha(NodeContext& n, std::string_view op) {
  return {n.add(op, {n.in(0)}, attrs({{"alpha", real(n.attr_f("alpha", Default))}}))};
}
std::vector<ValueId> leaky_relu(NodeContext& n) { return with_alpha<0.01>(n, "leaky_relu"); }
std::vector<ValueId> elu(NodeContext& n) { return with_alpha<1.0>(n, "elu"); }
std::vector<ValueId> celu(NodeContext& n) { return with_alpha<1.0>(n, "celu"); }
std::vector<ValueId> thresholded_relu(NodeContext& n) {
  return with_alpha<1.0>(n, "thresholded_relu");
}
std::vector<ValueId> swish(NodeContext& n) { return with_alpha<1.0>(n, "swish"); }

std::vector<ValueId> selu(NodeContext& n) {
  return {n.add("selu", {n.in(0)},
                attrs({{"alpha", real(n.attr_f("alpha", 1.67326319217681884765625))},
                       {"gamma", real(n.attr_f("gamma", 1.05070102214813232421875))}}))};
}

std::vector<ValueId> hard_sigmoid(NodeContext& n) {
  return {n.add(
      "hard_sigmoid", {n.in(0)},
      attrs({{"alpha", real(n.attr_f("alpha", 0.2f))}, {"beta", real(n.attr_f("beta", 0.5))}}))};
}

std::vector<ValueId> shrink(NodeContext& n) {
  return {
      n.add("shrink", {n.in(0)},
            attrs({{"lambd", real(n.attr_f("lambd", 0.5))}, {"bias", real(n.attr_f("bias", 0))}}))};
}

std::vector<ValueId> gelu(NodeContext& n) {
  return {
      n.add("gelu", {n.in(0)}, attrs({{"approximate", text(n.attr_s("approximate", "none"))}}))};
}

std::vector<ValueId> is_inf(NodeContext& n) {
  return {n.add("is_inf", {n.in(0)},
                attrs({{"detect_positive", integer(n.attr_i("detect_positive", 1))},
                       {"detect_negative", integer(n.attr_i("detect_negative", 1))}}))};
}

std::vector<ValueId> prelu(NodeContext& n) {
  ValueId slope = n.in(1);
  if (n.opset() < 7 && n.rank(1) == 1 && n.rank(0) > 2 && n.shape(1)[0] > 1) {  // a slope a channel
    Shape shape(static_cast<size_t>(n.rank(0)) - 1, 1);
    shape[0] = n.shape(1)[0];
    slope = n.reshape(slope, shape);
  }
  return {n.add("prelu", {n.in(0), slope})};
}

std::vector<ValueId> cast(NodeContext& n) {
  n.ignore({"saturate", "round_mode"});  // of 8-bit floats
  const int64_t to = n.attr_i("to", 0);
  require(to > 0 && to < 1000, "'to' is {}, which is no element type", to);
  const auto dtype = dtype_of(static_cast<int32_t>(to));
  if (!dtype)
    n.gap("elements of type {} are not supported", onnx_type_name(static_cast<int32_t>(to)));
  return {n.cast(n.in(0), *dtype)};
}

std::vector<ValueId> cast_like(NodeContext& n) {
  n.ignore({"saturate", "round_mode"});
  return {n.cast(n.in(0), n.dtype(1))};
}

std::vector<ValueId> identity(NodeContext& n) { return {n.in(0)}; }

// In inference nothing is dropped; the mask is all ones.
std::vector<ValueId> dropout(NodeContext& n) {
  n.ignore({"ratio", "seed", "is_test"});
  if (n.has(2)) {
    const TensorPtr training = n.constant(2);
    if (!training || training->size() != 1 || training->get(0).i != 0) {
      const TensorPtr ratio = n.constant(1);
      const bool drops = !n.has(1) || !ratio || ratio->size() != 1 || ratio->get(0).f != 0;
      if (drops) n.gap("dropout in training is not supported");
    }
  }
  std::vector<ValueId> out{n.in(0)};
  if (n.wants(1)) {
    const DType mask = n.opset() >= 10 ? DType::Bool : n.dtype(0);
    auto one = std::make_shared<Tensor>(mask, Shape{1});
    one->set(0, evaluate_cast(mask, Scalar{.dtype = DType::F64, .f = 1}));
    out.push_back(
        n.add("constant_of_shape", {n.int_vector(n.shape(0))}, attrs({{"value", TensorPtr(one)}})));
  }
  return out;
}

constexpr OnnxOp table[] = {
    {"Abs", unary},
    {"Neg", unary},
    {"Exp", unary},
    {"Log", unary},
    {"Sqrt", unary},
    {"Tanh", unary},
    {"Reciprocal", unary},
    {"Sigmoid", unary},
    {"Erf", unary},
    {"Sin", unary},
    {"Cos", unary},
    {"Tan", unary},
    {"Asin", unary},
    {"Acos", unary},
    {"Atan", unary},
    {"Sinh", unary},
    {"Cosh", unary},
    {"Asinh", unary},
    {"Acosh", unary},
    {"Atanh", unary},
    {"Floor", unary},
    {"Ceil", unary},
    {"Round", unary},
    {"Sign", unary},
    {"Relu", unary},
    {"Softplus", unary},
    {"Softsign", unary},
    {"Mish", unary},
    {"HardSwish", unary},
    {"Not", unary},
    {"BitwiseNot", unary},
    {"IsNaN", unary},
    {"Add", binary},
    {"Sub", binary},
    {"Mul", binary},
    {"Div", binary},
    {"Pow", binary},
    {"And", binary},
    {"Or", binary},
    {"Xor", binary},
    {"Equal", binary},
    {"Less", binary},
    {"Greater", binary},
    {"LessOrEqual", binary},
    {"GreaterOrEqual", binary},
    {"BitwiseAnd", binary},
    {"BitwiseOr", binary},
    {"BitwiseXor", binary},
    {"Mod", mod},
    {"BitShift", bit_shift},
    {"Max", extreme},
    {"Min", extreme},
    {"Sum", sum},
    {"Mean", sum},
    {"Where", where},
    {"Clip", clip},
    {"LeakyRelu", leaky_relu},
    {"Elu", elu},
    {"Celu", celu},
    {"ThresholdedRelu", thresholded_relu},
    {"Swish", swish},
    {"Selu", selu},
    {"HardSigmoid", hard_sigmoid},
    {"Shrink", shrink},
    {"Gelu", gelu},
    {"IsInf", is_inf},
    {"PRelu", prelu},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Identity", identity, "", true},
    {"Dropout", dropout},
};

}  // namespace

std::span<const OnnxOp> math_conversions() { return table; }

}  // namespace burnish::onnx
