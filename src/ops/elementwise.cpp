// Elementwise operators: one output element from the elements at the same place, with NumPy broadcasting.
#include <cmath>
#include <numbers>

#include "ops/common.h"

namespace burnish::ops {
namespace {

// ---- one operand

using Formula = Expr (*)(const Expr& x, const Attrs& attrs);

Expr num(double v, const Expr& like) { return constant(v, like.dtype()); }

Expr relu(const Expr& x, const Attrs&) { return max(x, zero(x.dtype())); }
Expr reciprocal(const Expr& x, const Attrs&) { return num(1, x) / x; }
Expr leaky_relu(const Expr& x, const Attrs& a) {
  return select(binary(BinaryOp::Lt, x, num(0, x)), num(a.f("alpha", 0.01), x) * x, x);
}
Expr elu(const Expr& x, const Attrs& a) {
  Expr negative = num(a.f("alpha", 1), x) * (unary(UnaryOp::Exp, x) - num(1, x));
  return select(binary(BinaryOp::Lt, x, num(0, x)), negative, x);
}
Expr celu(const Expr& x, const Attrs& a) {
  double alpha = a.f("alpha", 1);
  Expr negative = num(alpha, x) * (unary(UnaryOp::Exp, x / num(alpha, x)) - num(1, x));
  return max(x, num(0, x)) + min(negative, num(0, x));
}
Expr selu(const Expr& x, const Attrs& a) {
  double alpha = a.f("alpha", 1.67326319217681884765625);
  double gamma = a.f("gamma", 1.05070102214813232421875);
  Expr negative = num(alpha, x) * unary(UnaryOp::Exp, x) - num(alpha, x);
  return num(gamma, x) * select(binary(BinaryOp::Gt, x, num(0, x)), x, negative);
}
Expr thresholded_relu(const Expr& x, const Attrs& a) {
  return select(binary(BinaryOp::Gt, x, num(a.f("alpha", 1), x)), x, num(0, x));
}
// log(1 + exp(x)) without overflow
Expr softplus(const Expr& x, const Attrs&) {
  Expr tail = unary(UnaryOp::Exp, unary(UnaryOp::Neg, unary(UnaryOp::Abs, x)));
  return max(x, num(0, x)) + unary(UnaryOp::Log, num(1, x) + tail);
}
Expr softsign(const Expr& x, const Attrs&) { return x / (num(1, x) + unary(UnaryOp::Abs, x)); }
Expr silu(const Expr& x, const Attrs&) { return x * unary(UnaryOp::Sigmoid, x); }
Expr swish(const Expr& x, const Attrs& a) {
  return x * unary(UnaryOp::Sigmoid, num(a.f("alpha", 1), x) * x);
}
Expr mish(const Expr& x, const Attrs& a) { return x * unary(UnaryOp::Tanh, softplus(x, a)); }
Expr saturated(const Expr& x, double alpha, double beta) {
  return max(min(num(alpha, x) * x + num(beta, x), num(1, x)), num(0, x));
}
Expr hard_sigmoid(const Expr& x, const Attrs& a) {
  return saturated(x, a.f("alpha", 0.2), a.f("beta", 0.5));
}
Expr hard_swish(const Expr& x, const Attrs&) { return x * saturated(x, 1.0 / 6.0, 0.5); }
Expr gelu(const Expr& x, const Attrs& a) {
  std::string approximate = a.s("approximate", "none");
  require(approximate == "none" || approximate == "tanh",
          "attribute 'approximate' is \"{}\"; it may be none or tanh", approximate);
  Expr inner;
  if (approximate == "tanh") {
    Expr cube = x * x * x;
    inner = unary(UnaryOp::Tanh, num(std::sqrt(2 / std::numbers::pi), x) *
                                     (x + num(0.044715, x) * cube));
  } else {
    inner = unary(UnaryOp::Erf, x * num(1 / std::numbers::sqrt2, x));
  }
  return num(0.5, x) * x * (num(1, x) + inner);
}
Expr shrink(const Expr& x, const Attrs& a) {
  double lambd = a.f("lambd", 0.5);
  Expr bias = num(a.f("bias", 0), x);
  Expr above = select(binary(BinaryOp::Gt, x, num(lambd, x)), x - bias, num(0, x));
  return select(binary(BinaryOp::Lt, x, num(-lambd, x)), x + bias, above);
}
Expr is_inf(const Expr& x, const Attrs& a) {
  Expr inf = unary(UnaryOp::IsInf, x);
  Expr never = constant_int(0, DType::Bool);
  if (!a.i("detect_positive", 1)) {
    inf = binary(BinaryOp::And, inf, binary(BinaryOp::Lt, x, num(0, x)));
  }
  if (!a.i("detect_negative", 1)) {
    inf = binary(BinaryOp::And, inf, binary(BinaryOp::Gt, x, num(0, x)));
  }
  return a.i("detect_positive", 1) || a.i("detect_negative", 1) ? inf : never;
}
Expr identity(const Expr& x, const Attrs&) { return x; }
template <UnaryOp op>
Expr plain(const Expr& x, const Attrs&) {
  return unary(op, x);
}

std::vector<TensorType> infer_same(const InferContext& c) {
  return {{c.inputs[0].dtype, c.inputs[0].shape, {}}};
}
std::vector<TensorType> infer_float(const InferContext& c) {
  require_float(c.inputs[0], "the operand");
  return infer_same(c);
}
std::vector<TensorType> infer_number(const InferContext& c) {
  require(c.inputs[0].dtype != DType::Bool, "the operand must be numbers, but it is bool");
  return infer_same(c);
}
std::vector<TensorType> infer_integer(const InferContext& c) {
  require(is_int(c.inputs[0].dtype), "the operand must be integers, but it is {}",
          name_of(c.inputs[0].dtype));
  return infer_same(c);
}
std::vector<TensorType> infer_bool(const InferContext& c) {
  require(c.inputs[0].dtype == DType::Bool, "the operand must be bool, but it is {}",
          name_of(c.inputs[0].dtype));
  return infer_same(c);
}
std::vector<TensorType> infer_float_test(const InferContext& c) {
  require_float(c.inputs[0], "the operand");
  return {{DType::Bool, c.inputs[0].shape, {}}};
}

DType dtype_attr(const Attrs& attrs) {
  std::string name = attrs.s("to");
  std::optional<DType> t = dtype_named(name);
  require(t.has_value(), "attribute 'to' is \"{}\", which is no element type", name);
  return *t;
}
std::vector<TensorType> infer_cast(const InferContext& c) {
  return {{dtype_attr(c.attrs), c.inputs[0].shape, {}}};
}

template <Formula f>
std::vector<StageId> compute_unary(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return f(c.builder.at(c.inputs[0], indices_of(a)), c.attrs);
  })};
}

std::vector<StageId> compute_cast(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return cast(c.outputs[0].dtype, c.builder.at(c.inputs[0], indices_of(a)));
  })};
}

constexpr AttrSpec alpha_attr[] = {{"alpha", AttrType::Float}};
constexpr AttrSpec selu_attrs[] = {{"alpha", AttrType::Float}, {"gamma", AttrType::Float}};
constexpr AttrSpec hard_sigmoid_attrs[] = {{"alpha", AttrType::Float}, {"beta", AttrType::Float}};
constexpr AttrSpec gelu_attrs[] = {{"approximate", AttrType::String}};
constexpr AttrSpec shrink_attrs[] = {{"lambd", AttrType::Float}, {"bias", AttrType::Float}};
constexpr AttrSpec is_inf_attrs[] = {{"detect_positive", AttrType::Int},
                                     {"detect_negative", AttrType::Int}};
constexpr AttrSpec cast_attrs[] = {{"to", AttrType::String, true}};
constexpr AttrSpec mod_attrs[] = {{"fmod", AttrType::Int}};
constexpr AttrSpec shift_attrs[] = {{"direction", AttrType::String, true}};

using Infer = std::vector<TensorType> (*)(const InferContext&);

template <Formula f>
OpDef row(std::string_view name, Infer infer, std::span<const AttrSpec> attrs = {}) {
  return {.name = name,
          .attrs = attrs,
          .fusion = Fusion::Elementwise,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute_unary<f>};
}

// ---- two operands and more

Shape broadcast_inputs(const InferContext& c) {
  Shape s = c.inputs[0].shape;
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    if (c.has(i)) s = broadcast(s, c.inputs[i].shape);
  }
  return s;
}
std::vector<TensorType> infer_broadcast(const InferContext& c) {
  for (size_t i = 1; i < c.inputs.size(); ++i) require_same_dtype(c.inputs[0], c.inputs[i]);
  return {{c.inputs[0].dtype, broadcast_inputs(c), {}}};
}
std::vector<TensorType> infer_arithmetic(const InferContext& c) {
  infer_number(c);
  return infer_broadcast(c);
}
std::vector<TensorType> infer_bits(const InferContext& c) {
  infer_integer(c);
  return infer_broadcast(c);
}
std::vector<TensorType> infer_logic(const InferContext& c) {
  infer_bool(c);
  return infer_broadcast(c);
}
std::vector<TensorType> infer_compare(const InferContext& c) {
  TensorType t = infer_broadcast(c)[0];
  t.dtype = DType::Bool;
  return {t};
}
std::vector<TensorType> infer_pow(const InferContext& c) {
  infer_number(c);
  return {{c.inputs[0].dtype, broadcast_inputs(c), {}}};
}
std::vector<TensorType> infer_where(const InferContext& c) {
  require(c.inputs[0].dtype == DType::Bool, "the condition must be bool, but it is {}",
          name_of(c.inputs[0].dtype));
  require_same_dtype(c.inputs[1], c.inputs[2]);
  return {{c.inputs[1].dtype, broadcast_inputs(c), {}}};
}
std::vector<TensorType> infer_prelu(const InferContext& c) {
  require_same_dtype(c.inputs[0], c.inputs[1]);
  require(broadcast(c.inputs[0].shape, c.inputs[1].shape) == c.inputs[0].shape,
          "the slope of shape {} does not broadcast to {}", shape_text(c.inputs[1].shape),
          shape_text(c.inputs[0].shape));
  return infer_same(c);
}
std::vector<TensorType> infer_clip(const InferContext& c) {
  for (size_t i = 1; i < 3; ++i) {
    if (!c.has(i)) continue;
    require_same_dtype(c.inputs[0], c.inputs[i]);
    require(element_count(c.inputs[i].shape) == 1, "a limit of clip has the shape {}, not a scalar's",
            shape_text(c.inputs[i].shape));
  }
  return infer_number(c);
}

Expr operand(ComputeContext& c, size_t i, AxisVars a) {
  return c.builder.at(c.inputs[i], broadcast_indices(c.types[i].shape, a));
}

template <BinaryOp op>
std::vector<StageId> compute_binary(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr e = operand(c, 0, a);
    for (size_t i = 1; i < c.inputs.size(); ++i) e = binary(op, e, operand(c, i, a));
    return e;
  })};
}

std::vector<StageId> compute_mod(ComputeContext& c) {
  bool as_c = c.attrs.i("fmod") != 0 || is_float(c.types[0].dtype);
  return as_c ? compute_binary<BinaryOp::Mod>(c) : compute_binary<BinaryOp::FloorMod>(c);
}

std::vector<TensorType> infer_shift(const InferContext& c) {
  std::string d = c.attrs.s("direction");
  require(d == "left" || d == "right", "attribute 'direction' is \"{}\"; it may be left or right",
          d);
  return infer_bits(c);
}
std::vector<StageId> compute_shift(ComputeContext& c) {
  return c.attrs.s("direction") == "left" ? compute_binary<BinaryOp::Shl>(c)
                                          : compute_binary<BinaryOp::Shr>(c);
}

// A small whole exponent that is constant becomes multiplications: the power function costs fifty of them.
std::optional<int> small_exponent(const TensorPtr& constant) {
  if (!constant || constant->size() != 1) return {};
  Scalar s = constant->get(0);
  double v = is_float(constant->dtype) ? s.f : static_cast<double>(s.i);
  if (v == 1 || v == 2 || v == 3 || v == 4) return static_cast<int>(v);
  return {};
}
std::vector<StageId> compute_pow(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  std::optional<int> whole = small_exponent(c.constants[1]);
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr x = operand(c, 0, a);
    if (whole) {
      Expr square = x * x;
      return *whole == 1 ? x : *whole == 2 ? square : *whole == 3 ? square * x : square * square;
    }
    Expr y = operand(c, 1, a);
    if (is_int(t) && is_float(y.dtype())) {  // whole exponents exactly: 728.9999 would be cut to 728
      Expr real = cast(t, binary(BinaryOp::Pow, cast(DType::F64, x), cast(DType::F64, y)));
      Expr whole = binary(BinaryOp::Eq, unary(UnaryOp::Trunc, y), y);
      return select(whole, binary(BinaryOp::Pow, x, cast(t, y)), real);
    }
    return binary(BinaryOp::Pow, x, cast(t, y));
  })};
}

std::vector<StageId> compute_where(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return select(operand(c, 0, a), operand(c, 1, a), operand(c, 2, a));
  })};
}
std::vector<StageId> compute_prelu(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr x = operand(c, 0, a);
    return select(binary(BinaryOp::Lt, x, zero(x.dtype())), operand(c, 1, a) * x, x);
  })};
}

Expr limit(ComputeContext& c, size_t i) {
  DType t = c.types[i].dtype;
  if (!c.constants[i]) return c.builder.at(c.inputs[i], std::vector<Index>(c.types[i].shape.size()));
  Scalar s = c.constants[i]->get(0);
  return is_float(t) ? constant(s.f, t) : constant_int(s.i, t);
}
std::vector<StageId> compute_clip(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr x = operand(c, 0, a);
    if (c.has(1)) x = max(x, limit(c, 1));
    if (c.has(2)) x = min(x, limit(c, 2));
    return x;
  })};
}

template <BinaryOp op>
OpDef binary_row(std::string_view name, Infer infer, uint32_t lowest = 2, uint32_t highest = 2) {
  return {.name = name,
          .min_inputs = lowest,
          .max_inputs = highest,
          .fusion = Fusion::Broadcast,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute_binary<op>};
}

using Compute = std::vector<StageId> (*)(ComputeContext&);
OpDef broadcast_row(std::string_view name, uint32_t lowest, uint32_t highest, Infer infer,
                    Compute compute, std::span<const AttrSpec> attrs = {}) {
  return {.name = name,
          .min_inputs = lowest,
          .max_inputs = highest,
          .attrs = attrs,
          .fusion = Fusion::Broadcast,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> elementwise_ops() {
  using U = UnaryOp;
  using B = BinaryOp;
  static const OpDef table[] = {
      row<identity>("identity", infer_same),
      row<plain<U::Neg>>("neg", infer_number),
      row<plain<U::Abs>>("abs", infer_number),
      row<plain<U::Sign>>("sign", infer_number),
      row<plain<U::Not>>("not", infer_bool),
      row<plain<U::Not>>("bit_not", infer_integer),
      row<plain<U::Exp>>("exp", infer_float),
      row<plain<U::Log>>("log", infer_float),
      row<plain<U::Sqrt>>("sqrt", infer_float),
      row<plain<U::Rsqrt>>("rsqrt", infer_float),
      row<reciprocal>("reciprocal", infer_float),
      row<plain<U::Tanh>>("tanh", infer_float),
      row<plain<U::Sigmoid>>("sigmoid", infer_float),
      row<plain<U::Erf>>("erf", infer_float),
      row<plain<U::Sin>>("sin", infer_float),
      row<plain<U::Cos>>("cos", infer_float),
      row<plain<U::Tan>>("tan", infer_float),
      row<plain<U::Asin>>("asin", infer_float),
      row<plain<U::Acos>>("acos", infer_float),
      row<plain<U::Atan>>("atan", infer_float),
      row<plain<U::Sinh>>("sinh", infer_float),
      row<plain<U::Cosh>>("cosh", infer_float),
      row<plain<U::Asinh>>("asinh", infer_float),
      row<plain<U::Acosh>>("acosh", infer_float),
      row<plain<U::Atanh>>("atanh", infer_float),
      row<plain<U::Floor>>("floor", infer_float),
      row<plain<U::Ceil>>("ceil", infer_float),
      row<plain<U::Round>>("round", infer_float),
      row<plain<U::IsNan>>("is_nan", infer_float_test),
      row<is_inf>("is_inf", infer_float_test, is_inf_attrs),
      row<relu>("relu", infer_number),
      row<leaky_relu>("leaky_relu", infer_float, alpha_attr),
      row<elu>("elu", infer_float, alpha_attr),
      row<celu>("celu", infer_float, alpha_attr),
      row<selu>("selu", infer_float, selu_attrs),
      row<thresholded_relu>("thresholded_relu", infer_float, alpha_attr),
      row<softplus>("softplus", infer_float),
      row<softsign>("softsign", infer_float),
      row<silu>("silu", infer_float),
      row<swish>("swish", infer_float, alpha_attr),
      row<mish>("mish", infer_float),
      row<hard_sigmoid>("hard_sigmoid", infer_float, hard_sigmoid_attrs),
      row<hard_swish>("hard_swish", infer_float),
      row<gelu>("gelu", infer_float, gelu_attrs),
      row<shrink>("shrink", infer_number, shrink_attrs),
      {.name = "cast",
       .attrs = cast_attrs,
       .fusion = Fusion::Elementwise,
       .layout = LayoutRule::Any,
       .infer = infer_cast,
       .compute = compute_cast},
      binary_row<B::Add>("add", infer_arithmetic),
      binary_row<B::Sub>("sub", infer_arithmetic),
      binary_row<B::Mul>("mul", infer_arithmetic),
      binary_row<B::Div>("div", infer_arithmetic),
      binary_row<B::Min>("min", infer_arithmetic, 1, ~0u),
      binary_row<B::Max>("max", infer_arithmetic, 1, ~0u),
      broadcast_row("mod", 2, 2, infer_arithmetic, compute_mod, mod_attrs),
      broadcast_row("pow", 2, 2, infer_pow, compute_pow),
      binary_row<B::And>("and", infer_logic),
      binary_row<B::Or>("or", infer_logic),
      binary_row<B::Xor>("xor", infer_logic),
      binary_row<B::And>("bit_and", infer_bits),
      binary_row<B::Or>("bit_or", infer_bits),
      binary_row<B::Xor>("bit_xor", infer_bits),
      broadcast_row("bit_shift", 2, 2, infer_shift, compute_shift, shift_attrs),
      binary_row<B::Eq>("equal", infer_compare),
      binary_row<B::Lt>("less", infer_compare),
      binary_row<B::Gt>("greater", infer_compare),
      binary_row<B::Le>("less_equal", infer_compare),
      binary_row<B::Ge>("greater_equal", infer_compare),
      broadcast_row("where", 3, 3, infer_where, compute_where),
      broadcast_row("prelu", 2, 2, infer_prelu, compute_prelu),
      // the limits are scalars: elementwise in its first operand
      {.name = "clip",
       .min_inputs = 1,
       .max_inputs = 3,
       .fusion = Fusion::Elementwise,
       .layout = LayoutRule::Any,
       .infer = infer_clip,
       .compute = compute_clip},
  };
  return table;
}

}  // namespace burnish::ops
