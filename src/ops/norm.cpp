// Normalisation: batch (inference), instance, group, layer, RMS, Lp, local response, mean-variance.
//
//   y = (x - mean) / sqrt(var + epsilon) * scale + bias
//
// The variance is that of the centred values, never E[x^2] - E[x]^2, which loses all digits for large means.
#include <cmath>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec epsilon_attr[] = {{"epsilon", AttrType::Float}};
constexpr AttrSpec group_attrs[] = {{"epsilon", AttrType::Float},
                                    {"num_groups", AttrType::Int, true}};
constexpr AttrSpec axis_epsilon_attrs[] = {{"epsilon", AttrType::Float}, {"axis", AttrType::Int}};
constexpr AttrSpec lp_attrs[] = {{"axis", AttrType::Int}, {"p", AttrType::Int}};
constexpr AttrSpec axes_attr[] = {{"axes", AttrType::Ints}};
constexpr AttrSpec lrn_attrs[] = {{"size", AttrType::Int, true},
                                  {"alpha", AttrType::Float},
                                  {"beta", AttrType::Float},
                                  {"bias", AttrType::Float}};

TensorType same(const InferContext& c) { return {c.inputs[0].dtype, c.inputs[0].shape, {}}; }

void require_per_channel(const InferContext& c, size_t i, std::string_view what) {
  const Shape& x = c.inputs[0].shape;
  require(c.inputs[i].shape == Shape{x[1]}, "{} has the shape {} for {} channels", what,
          shape_text(c.inputs[i].shape), x[1]);
}

// ---- batch_norm

std::vector<TensorType> infer_batch_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  require_rank(c.inputs[0], 2, 8, "the input");
  static constexpr std::string_view names[] = {"x", "scale", "bias", "mean", "var"};
  for (size_t i = 1; i < 5; ++i) require_per_channel(c, i, names[i]);
  return {same(c)};
}

std::vector<StageId> compute_batch_norm(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    auto channel = [&](size_t i) { return cast(t, c.builder.at(c.inputs[i], {Index(a[1])})); };
    Expr factor = channel(1) * unary(UnaryOp::Rsqrt,
                                     channel(4) + constant(c.attrs.f("epsilon", 1e-5), t));
    return (c.builder.at(c.inputs[0], indices_of(a)) - channel(3)) * factor + channel(2);
  })};
}

// ---- statistics over rows: what every other norm is made of

// A row: the elements that share their statistics. `keep` maps a point of x to the position of its row; `reduce`
// maps a row and reduce position to a point of x.
struct Rows {
  std::vector<NamedExtent> rows, elements;
  std::function<std::vector<Index>(AxisVars)> row_of;
  std::function<std::vector<Index>(AxisVars, AxisVars)> point;
  double count = 1;
};

Rows rows_over(const Shape& x, const std::vector<bool>& reduced) {
  Rows r;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<NamedExtent> axes = named_axes(x);
    if (reduced[i]) {
      r.elements.push_back({"r" + axes[i].name, x[i]});
      r.count *= static_cast<double>(x[i]);
    } else {
      r.rows.push_back(axes[i]);
    }
  }
  r.row_of = [reduced](AxisVars a) {
    std::vector<Index> at;
    for (size_t i = 0; i < a.size(); ++i) {
      if (!reduced[i]) at.push_back(a[i]);
    }
    return at;
  };
  r.point = [reduced](AxisVars row, AxisVars element) {
    std::vector<Index> at;
    size_t n = 0, e = 0;
    for (bool is : reduced) at.push_back(is ? element[e++] : row[n++]);
    return at;
  };
  return r;
}

Rows rows_from(const Shape& x, size_t axis) {
  std::vector<bool> reduced(x.size(), false);
  for (size_t i = axis; i < x.size(); ++i) reduced[i] = true;
  return rows_over(x, reduced);
}

// One sum a row, divided by the count.
StageId mean_of(ComputeContext& c, const Rows& rows, const std::string& name, DType t,
                const std::function<Expr(AxisVars, AxisVars)>& body) {
  StageId sum = c.builder.reduce(c.builder.unique(c.prefix + name + "_sum"), t, rows.rows,
                                 rows.elements, Combine::Sum, body);
  return c.builder.compute(c.builder.unique(c.prefix + name), t, rows.rows, [&](AxisVars a) {
    return c.builder.at(sum, indices_of(a)) * constant(1 / rows.count, t);
  });
}

struct Statistics {
  StageId mean, variance;
};

Statistics statistics(ComputeContext& c, const Rows& rows) {
  DType t = c.outputs[0].dtype;
  StageId mean = mean_of(c, rows, ".mean", t, [&](AxisVars a, AxisVars r) {
    return c.builder.at(c.inputs[0], rows.point(a, r));
  });
  StageId variance = mean_of(c, rows, ".var", t, [&](AxisVars a, AxisVars r) {
    Expr d = c.builder.at(c.inputs[0], rows.point(a, r)) - c.builder.at(mean, indices_of(a));
    return d * d;
  });
  return {mean, variance};
}

// 1 / sqrt(square + epsilon) of a row: once a row, but at every point of narrow types, in which a stored factor would
// carry its rounding into the whole row.
std::function<Expr(std::vector<Index>)> scale_of(ComputeContext& c, const Rows& rows, StageId square, double epsilon) {
  DType t = c.outputs[0].dtype;
  const auto formula = [&c, square, epsilon, t](std::vector<Index> row) {
    return unary(UnaryOp::Rsqrt, c.builder.at(square, std::move(row)) + constant(epsilon, t));
  };
  if (size_of(t) < 4) return formula;
  const StageId scale = c.builder.compute(c.builder.unique(c.prefix + ".scale"), t, rows.rows,
                                          [&](AxisVars a) { return formula(indices_of(a)); });
  return [&c, scale](std::vector<Index> row) { return c.builder.at(scale, std::move(row)); };
}

// (x - mean) * scale, at a point.
std::function<Expr(AxisVars)> normalized(ComputeContext& c, const Rows& rows, double epsilon) {
  Statistics s = statistics(c, rows);
  const auto scale = scale_of(c, rows, s.variance, epsilon);
  return [&c, rows, s, scale](AxisVars a) {
    Expr centred = c.builder.at(c.inputs[0], indices_of(a)) - c.builder.at(s.mean, rows.row_of(a));
    return centred * scale(rows.row_of(a));
  };
}

// ---- instance_norm, group_norm

std::vector<TensorType> infer_instance_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  require_rank(c.inputs[0], 3, 8, "the input");
  require_per_channel(c, 1, "scale");
  require_per_channel(c, 2, "bias");
  return {same(c)};
}

Expr scaled_by_channel(ComputeContext& c, Expr y, AxisVars a) {
  return y * c.builder.at(c.inputs[1], {Index(a[1])}) + c.builder.at(c.inputs[2], {Index(a[1])});
}

std::vector<StageId> compute_instance_norm(ComputeContext& c) {
  Rows rows = rows_from(c.types[0].shape, 2);
  auto y = normalized(c, rows, c.attrs.f("epsilon", 1e-5));
  return {map(c, c.outputs[0], "", [&](AxisVars a) { return scaled_by_channel(c, y(a), a); })};
}

std::vector<TensorType> infer_group_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  require_rank(c.inputs[0], 2, 8, "the input");
  int64_t groups = c.attrs.i("num_groups");
  require(groups > 0 && c.inputs[0].shape[1] % groups == 0,
          "{} channels do not divide into {} groups", c.inputs[0].shape[1], groups);
  require_per_channel(c, 1, "scale");
  require_per_channel(c, 2, "bias");
  return {same(c)};
}

std::vector<StageId> compute_group_norm(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  int64_t groups = c.attrs.i("num_groups"), width = x[1] / groups;
  Rows rows;
  std::vector<NamedExtent> axes = named_axes(x);
  rows.rows = {{"n", x[0]}, {"g", groups}};
  rows.elements = {{"rc", width}};
  for (size_t i = 2; i < x.size(); ++i) rows.elements.push_back({"r" + axes[i].name, x[i]});
  for (const NamedExtent& e : rows.elements) rows.count *= static_cast<double>(e.extent);
  rows.row_of = [width](AxisVars a) {
    return std::vector<Index>{Index(a[0]), quotient(a[1], width)};
  };
  rows.point = [width](AxisVars row, AxisVars e) {
    std::vector<Index> at{Index(row[0]), Index(row[1] * width + e[0])};
    for (size_t i = 1; i < e.size(); ++i) at.push_back(e[i]);
    return at;
  };
  auto y = normalized(c, rows, c.attrs.f("epsilon", 1e-5));
  return {map(c, c.outputs[0], "", [&](AxisVars a) { return scaled_by_channel(c, y(a), a); })};
}

// ---- layer_norm, rms_norm

std::vector<TensorType> infer_layer_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  const Shape& x = c.inputs[0].shape;
  normal_axis(c.attrs.i("axis", -1), x.size());
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    if (!c.has(i)) continue;
    require_same_dtype(c.inputs[0], c.inputs[i]);
    require(broadcast(x, c.inputs[i].shape) == x, "scale or bias of shape {} does not fit {}",
            shape_text(c.inputs[i].shape), shape_text(x));
  }
  return {same(c)};
}

Expr parameter(ComputeContext& c, size_t i, AxisVars a) {
  return c.builder.at(c.inputs[i], broadcast_indices(c.types[i].shape, a));
}

std::vector<StageId> compute_layer_norm(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), x.size()));
  auto x_hat = normalized(c, rows_from(x, axis), c.attrs.f("epsilon", 1e-5));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr y = x_hat(a) * parameter(c, 1, a);
    return c.has(2) ? y + parameter(c, 2, a) : y;
  })};
}

std::vector<StageId> compute_rms_norm(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  DType t = c.outputs[0].dtype;
  Rows rows = rows_from(x, static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), x.size())));
  StageId square = mean_of(c, rows, ".square", t, [&](AxisVars a, AxisVars r) {
    Expr v = c.builder.at(c.inputs[0], rows.point(a, r));
    return v * v;
  });
  const auto scale = scale_of(c, rows, square, c.attrs.f("epsilon", 1e-5));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(c.inputs[0], indices_of(a)) * scale(rows.row_of(a)) * parameter(c, 1, a);
  })};
}

// ---- lp_norm, mean_variance_norm

std::vector<TensorType> infer_lp_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  normal_axis(c.attrs.i("axis", -1), c.inputs[0].shape.size());
  int64_t p = c.attrs.i("p", 2);
  require(p == 1 || p == 2, "attribute 'p' is {}; it may be 1 or 2", p);
  return {same(c)};
}

std::vector<StageId> compute_lp_norm(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  std::vector<bool> reduced(x.size(), false);
  reduced[static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), x.size()))] = true;
  Rows rows = rows_over(x, reduced);
  bool square = c.attrs.i("p", 2) == 2;
  StageId sum = c.builder.reduce(
      c.builder.unique(c.prefix + ".sum"), c.outputs[0].dtype, rows.rows, rows.elements,
      Combine::Sum, [&](AxisVars a, AxisVars r) {
        Expr v = c.builder.at(c.inputs[0], rows.point(a, r));
        return square ? v * v : unary(UnaryOp::Abs, v);
      });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr v = c.builder.at(sum, rows.row_of(a));
    Expr norm = square ? unary(UnaryOp::Sqrt, v) : v;
    Expr none = binary(BinaryOp::Eq, norm, zero(norm.dtype()));  // a row of zeros stays one
    return select(none, zero(norm.dtype()), c.builder.at(c.inputs[0], indices_of(a)) / norm);
  })};
}

std::vector<TensorType> infer_mean_variance_norm(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  normal_axes(c.attrs.ints("axes", {0, 2, 3}), c.inputs[0].shape.size());
  return {same(c)};
}

std::vector<StageId> compute_mean_variance_norm(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  std::vector<bool> reduced(x.size(), false);
  for (int64_t a : normal_axes(c.attrs.ints("axes", {0, 2, 3}), x.size())) {
    reduced[static_cast<size_t>(a)] = true;
  }
  Rows rows = rows_over(x, reduced);
  Statistics s = statistics(c, rows);
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr centred = c.builder.at(c.inputs[0], indices_of(a)) -
                   c.builder.at(s.mean, rows.row_of(a));
    Expr deviation = unary(UnaryOp::Sqrt, c.builder.at(s.variance, rows.row_of(a)));
    return centred / (deviation + constant(1e-9, t));
  })};
}

// ---- lrn: y = x / (bias + alpha/size * sum of squares of `size` neighbouring channels)^beta

std::vector<TensorType> infer_lrn(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  require_rank(c.inputs[0], 3, 8, "the input");
  int64_t size = c.attrs.i("size");
  require(size > 0 && size < 1 << 20, "attribute 'size' is {}", size);
  return {same(c)};
}

std::vector<StageId> compute_lrn(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  int64_t size = c.attrs.i("size");
  StageId sum = c.builder.reduce(
      c.builder.unique(c.prefix + ".sum"), t, named_axes(c.types[0].shape), {{"k", size}},
      Combine::Sum, [&](AxisVars a, AxisVars r) {
        std::vector<Index> at = indices_of(a);
        at[1] = Index(a[1] + r[0] - Aff((size - 1) / 2));
        Expr v = c.builder.at(c.inputs[0], at, zero(t));
        return v * v;
      });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr base = constant(c.attrs.f("bias", 1), t) +
                constant(c.attrs.f("alpha", 1e-4) / static_cast<double>(size), t) *
                    c.builder.at(sum, indices_of(a));
    return c.builder.at(c.inputs[0], indices_of(a)) /
           binary(BinaryOp::Pow, base, constant(c.attrs.f("beta", 0.75), t));
  })};
}

using Infer = std::vector<TensorType> (*)(const InferContext&);
using Compute = std::vector<StageId> (*)(ComputeContext&);
OpDef row(std::string_view name, uint32_t lowest, uint32_t highest,
          std::span<const AttrSpec> attrs, Infer infer, Compute compute) {
  return {.name = name,
          .min_inputs = lowest,
          .max_inputs = highest,
          .attrs = attrs,
          .fusion = Fusion::Reduction,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> norm_ops() {
  static const OpDef table[] = {
      // per channel: elementwise in its first operand, and mostly folded into a convolution
      {.name = "batch_norm",
       .min_inputs = 5,
       .max_inputs = 5,
       .attrs = epsilon_attr,
       .fusion = Fusion::Broadcast,
       .layout = LayoutRule::Any,
       .infer = infer_batch_norm,
       .compute = compute_batch_norm},
      row("instance_norm", 3, 3, epsilon_attr, infer_instance_norm, compute_instance_norm),
      row("group_norm", 3, 3, group_attrs, infer_group_norm, compute_group_norm),
      row("layer_norm", 2, 3, axis_epsilon_attrs, infer_layer_norm, compute_layer_norm),
      row("rms_norm", 2, 2, axis_epsilon_attrs, infer_layer_norm, compute_rms_norm),
      row("lp_norm", 1, 1, lp_attrs, infer_lp_norm, compute_lp_norm),
      row("mean_variance_norm", 1, 1, axes_attr, infer_mean_variance_norm,
          compute_mean_variance_norm),
      row("lrn", 1, 1, lrn_attrs, infer_lrn, compute_lrn),
  };
  return table;
}

}  // namespace burnish::ops
