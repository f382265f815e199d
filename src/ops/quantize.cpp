// Conversion between floats and small integers with a scale and a zero point.
//
//   quantize:   y = saturate(round(x / scale) + zero)        dequantize:   x = (y - zero) * scale
//
// A scale is one number, one an index of `axis`, or (block_size) one a block of that axis.
#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec quantize_attrs[] = {
    {"axis", AttrType::Int}, {"block_size", AttrType::Int}, {"to", AttrType::String}};
constexpr AttrSpec dequantize_attrs[] = {{"axis", AttrType::Int}, {"block_size", AttrType::Int}};

void check_scale(const InferContext& c) {
  const Shape &x = c.inputs[0].shape, &s = c.inputs[1].shape;
  require_float(c.inputs[1], "the scale");
  if (c.has(2)) {
    require(c.inputs[2].shape == s, "the scale has the shape {} and the zero point {}",
            shape_text(s), shape_text(c.inputs[2].shape));
  }
  int64_t block = c.attrs.i("block_size");
  require(block >= 0, "attribute 'block_size' is {}", block);
  if (block > 0) {
    size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", 1), x.size()));
    Shape blocked = x;
    blocked[axis] = ceil_div(x[axis], block);
    require(s == blocked, "blocks of {} need a scale of {}, not {}", block, shape_text(blocked),
            shape_text(s));
  } else if (element_count(s) != 1) {
    size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", 1), x.size()));
    require(s == Shape{x[axis]}, "the scale has the shape {} for an axis of {}", shape_text(s),
            x[axis]);
  }
}

// The scale or zero point that belongs to a point of x.
Expr parameter(ComputeContext& c, size_t input, AxisVars a) {
  const Shape& s = c.types[input].shape;
  int64_t block = c.attrs.i("block_size");
  std::vector<Index> at;
  if (block > 0) {
    size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", 1), a.size()));
    at = indices_of(a);
    at[axis] = quotient(a[axis], block);
  } else if (element_count(s) == 1) {
    at.resize(s.size());
  } else {
    at.push_back(Index(a[static_cast<size_t>(normal_axis(c.attrs.i("axis", 1), a.size()))]));
  }
  return c.builder.at(c.inputs[input], at);
}

std::vector<TensorType> infer_quantize(const InferContext& c) {
  check_scale(c);
  DType t = DType::U8;
  if (c.attrs.has("to")) {
    std::optional<DType> named = dtype_named(c.attrs.s("to"));
    require(named.has_value(), "attribute 'to' is \"{}\", which is no element type",
            c.attrs.s("to"));
    t = *named;
  }
  if (c.has(2)) t = c.inputs[2].dtype;
  if (t != DType::U8 && t != DType::I8 && t != DType::U16 && t != DType::I16) {
    fail_unsupported("quantize_linear to {}", name_of(t));
  }
  return {{t, c.inputs[0].shape, {}}};
}
std::vector<StageId> compute_quantize(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr scale = cast(DType::F32, parameter(c, 1, a));
    Expr x = cast(DType::F32, c.builder.at(c.inputs[0], indices_of(a)));
    Expr y = unary(UnaryOp::Round, x / scale);
    if (c.has(2)) y = y + cast(DType::F32, parameter(c, 2, a));
    return cast(c.outputs[0].dtype, y);
  })};
}

std::vector<TensorType> infer_dequantize(const InferContext& c) {
  check_scale(c);
  require(is_int(c.inputs[0].dtype) && size_of(c.inputs[0].dtype) <= 4,
          "dequantize_linear of {}", name_of(c.inputs[0].dtype));
  if (c.has(2)) require_same_dtype(c.inputs[0], c.inputs[2]);
  return {{c.inputs[1].dtype, c.inputs[0].shape, {}}};
}
std::vector<StageId> compute_dequantize(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr y = cast(DType::I32, c.builder.at(c.inputs[0], indices_of(a)));
    if (c.has(2)) y = y - cast(DType::I32, parameter(c, 2, a));
    return cast(t, y) * parameter(c, 1, a);
  })};
}

// ---- dynamic_quantize_linear: scale and zero point from the tensor's own range, which always holds 0

std::vector<TensorType> infer_dynamic(const InferContext& c) {
  require(c.inputs[0].dtype == DType::F32, "dynamic_quantize_linear of {}",
          name_of(c.inputs[0].dtype));
  return {{DType::U8, c.inputs[0].shape, {}}, {DType::F32, {}, {}}, {DType::U8, {}, {}}};
}
std::vector<StageId> compute_dynamic(ComputeContext& c) {
  constexpr DType t = DType::F32;
  std::vector<NamedExtent> elements = named_axes(c.types[0].shape);
  auto extreme = [&](const std::string& suffix, Combine op) {
    return c.builder.reduce(
        c.builder.unique(c.prefix + suffix), t, {}, elements, op,
        [&](AxisVars, AxisVars r) { return c.builder.at(c.inputs[0], indices_of(r)); },
        [](AxisVars) { return constant(0); });
  };
  StageId top = extreme(".max", Combine::Max), bottom = extreme(".min", Combine::Min);
  StageId scale = map(c, c.outputs[1], ".scale", [&](AxisVars) {
    return (c.builder.at(top, {}) - c.builder.at(bottom, {})) / constant(255);
  });
  StageId zero_point = map(c, c.outputs[2], ".zero", [&](AxisVars) {
    Expr at = constant(0) - c.builder.at(bottom, {}) / c.builder.at(scale, {});
    return cast(DType::U8, unary(UnaryOp::Round, at));
  });
  StageId y = map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr v = c.builder.at(c.inputs[0], indices_of(a)) / c.builder.at(scale, {});
    return cast(DType::U8,
                unary(UnaryOp::Round, v) + cast(t, c.builder.at(zero_point, {})));
  });
  return {y, scale, zero_point};
}

}  // namespace

std::span<const OpDef> quantize_ops() {
  static const OpDef table[] = {
      {.name = "quantize_linear",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = quantize_attrs,
       .fusion = Fusion::Injective,
       .layout = LayoutRule::Any,
       .infer = infer_quantize,
       .compute = compute_quantize},
      {.name = "dequantize_linear",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = dequantize_attrs,
       .fusion = Fusion::Injective,
       .layout = LayoutRule::Any,
       .infer = infer_dequantize,
       .compute = compute_dequantize},
      {.name = "dynamic_quantize_linear",
       .fusion = Fusion::Opaque,
       .infer = infer_dynamic,
       .compute = compute_dynamic},
  };
  return table;
}

}  // namespace burnish::ops
