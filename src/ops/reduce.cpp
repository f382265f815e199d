// Reductions over axes, positions of extremes, running sums.
#include <algorithm>
#include <limits>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec reduce_attrs[] = {{"axes", AttrType::Ints}, {"keepdims", AttrType::Int}};
constexpr AttrSpec arg_attrs[] = {{"axis", AttrType::Int},
                                  {"keepdims", AttrType::Int},
                                  {"select_last_index", AttrType::Int}};
constexpr AttrSpec running_attrs[] = {{"axis", AttrType::Int, true},
                                     {"exclusive", AttrType::Int},
                                     {"reverse", AttrType::Int}};

// ---- reductions

std::vector<bool> reduced_axes(const Attrs& attrs, size_t rank) {
  std::vector<bool> reduced(rank, !attrs.has("axes"));
  for (int64_t a : normal_axes(attrs.ints("axes"), rank)) reduced[static_cast<size_t>(a)] = true;
  return reduced;
}

Shape reduced_shape(const Shape& x, const std::vector<bool>& reduced, bool keep) {
  Shape out;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!reduced[i]) out.push_back(x[i]);
    else if (keep) out.push_back(1);
  }
  return out;
}

std::vector<TensorType> infer_any(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  return {{c.inputs[0].dtype,
           reduced_shape(x, reduced_axes(c.attrs, x.size()), c.attrs.i("keepdims", 1) != 0),
           {}}};
}
std::vector<TensorType> infer_number(const InferContext& c) {
  require(c.inputs[0].dtype != DType::Bool, "the operand must be numbers, but it is bool");
  return infer_any(c);
}

// out[a] = op over the reduced axes of f(x); without reduced axes f(x) itself.
StageId reduction(ComputeContext& c, const std::string& suffix, Combine op,
                  const std::function<Expr(Expr x, AxisVars a)>& f) {
  const Shape& x = c.types[0].shape;
  std::vector<bool> reduced = reduced_axes(c.attrs, x.size());
  bool keep = c.attrs.i("keepdims", 1) != 0;
  std::vector<NamedExtent> raxes, axes = named_axes(x);
  for (size_t i = 0; i < x.size(); ++i) {
    if (reduced[i]) raxes.push_back({"r" + axes[i].name, x[i]});
  }
  auto body = [&](AxisVars a, AxisVars r) {
    std::vector<Index> at;
    size_t next = 0, element = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (reduced[i]) {
        at.push_back(r[element++]);
        next += keep;
      } else {
        at.push_back(a[next++]);
      }
    }
    return f(c.builder.at(c.inputs[0], at), a);
  };
  std::string name = c.builder.unique(c.prefix + suffix);
  DType t = c.outputs[0].dtype;
  std::vector<NamedExtent> out = named_axes(c.outputs[0].shape);
  if (raxes.empty()) {
    return c.builder.compute(name, t, out, [&](AxisVars a) { return body(a, {}); });
  }
  for (const NamedExtent& r : raxes) {
    if (r.extent == 0) {  // of nothing
      return c.builder.compute(name, t, out, [&](AxisVars) { return neutral(op, t); });
    }
  }
  return c.builder.reduce(name, t, out, raxes, op, body);
}

StageId finished(ComputeContext& c, StageId s, const std::function<Expr(Expr)>& f) {
  return map(c, c.outputs[0], "", [&](AxisVars a) { return f(c.builder.at(s, indices_of(a))); });
}

Expr same(Expr x, AxisVars) { return x; }
Expr magnitude(Expr x, AxisVars) { return unary(UnaryOp::Abs, std::move(x)); }
Expr square(Expr x, AxisVars) { return x * x; }

// Logarithms and roots of integers are taken in f64 and truncated.
Expr in_float(Expr x, UnaryOp op) {
  DType t = x.dtype();
  if (is_float(t)) return unary(op, std::move(x));
  return cast(t, unary(op, cast(DType::F64, std::move(x))));
}

template <Combine op, Expr (*f)(Expr, AxisVars) = same>
std::vector<StageId> compute_simple(ComputeContext& c) {
  return {reduction(c, "", op, f)};
}
template <Expr (*f)(Expr, AxisVars), UnaryOp last>
std::vector<StageId> compute_sum_then(ComputeContext& c) {
  StageId sum = reduction(c, ".sum", Combine::Sum, f);
  return {finished(c, sum, [](Expr e) { return in_float(std::move(e), last); })};
}
std::vector<StageId> compute_mean(ComputeContext& c) {
  int64_t count = 1;
  std::vector<bool> reduced = reduced_axes(c.attrs, c.types[0].shape.size());
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (reduced[i]) count = checked_mul(count, c.types[0].shape[i]);
  }
  StageId sum = reduction(c, ".sum", Combine::Sum, same);
  return {finished(c, sum, [&](Expr e) {
    DType t = e.dtype();
    return is_float(t) ? e * constant(1 / static_cast<double>(count), t)
                       : e / constant_int(count, t);
  })};
}
// log(sum(exp(x - max))) + max; a maximum of -inf or inf must not meet itself in the difference
std::vector<StageId> compute_log_sum_exp(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  if (!is_float(t)) fail_unsupported("reduce_log_sum_exp of {}; insert a cast", name_of(t));
  StageId top = reduction(c, ".max", Combine::Max, same);
  auto shift = [&](std::vector<Index> at) {
    Expr m = c.builder.at(top, std::move(at));
    return select(unary(UnaryOp::IsInf, m), zero(t), m);
  };
  StageId sum = reduction(c, ".sum", Combine::Sum, [&](Expr x, AxisVars a) {
    return unary(UnaryOp::Exp, x - shift(indices_of(a)));
  });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return unary(UnaryOp::Log, c.builder.at(sum, indices_of(a))) + shift(indices_of(a));
  })};
}

// ---- argmax, argmin: the extreme, then the first (or last) position that equals it

std::vector<TensorType> infer_arg(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  std::vector<bool> reduced(x.size(), false);
  reduced[static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()))] = true;
  return {{DType::I64, reduced_shape(x, reduced, c.attrs.i("keepdims", 1) != 0), {}}};
}

template <Combine op>
std::vector<StageId> compute_arg(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  bool keep = c.attrs.i("keepdims", 1) != 0, last = c.attrs.i("select_last_index") != 0;
  std::vector<NamedExtent> axes = named_axes(c.outputs[0].shape), raxes{{"k", x[axis]}};
  auto point = [&](AxisVars a, AxisVars r) {
    std::vector<Index> at;
    for (size_t i = 0; i < x.size(); ++i) {
      at.push_back(i == axis ? r[0] : a[keep || i < axis ? i : i - 1]);
    }
    return c.builder.at(c.inputs[0], at);
  };
  StageId extreme = c.builder.reduce(c.builder.unique(c.prefix + ".extreme"), c.types[0].dtype,
                                     axes, raxes, op, point);
  Expr none = constant_int(last ? -1 : std::numeric_limits<int64_t>::max());
  return {c.builder.reduce(c.builder.unique(c.prefix), DType::I64, axes, raxes,
                           last ? Combine::Max : Combine::Min, [&](AxisVars a, AxisVars r) {
                             Expr hit = binary(BinaryOp::Eq, point(a, r),
                                               c.builder.at(extreme, indices_of(a)));
                             return select(hit, affine(Index(r[0])), none);
                           })};
}

// ---- cumsum, cumprod, as triangular reductions: independent elements, no recurrence

std::vector<TensorType> infer_running(const InferContext& c) {
  require(c.inputs[0].dtype != DType::Bool, "the operand must be numbers, but it is bool");
  normal_axis(c.attrs.i("axis"), c.inputs[0].shape.size());
  return {{c.inputs[0].dtype, c.inputs[0].shape, {}}};
}

template <Combine op>
std::vector<StageId> compute_running(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  DType t = c.outputs[0].dtype;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  bool reverse = c.attrs.i("reverse") != 0;
  int64_t own = c.attrs.i("exclusive") ? 1 : 0;
  return {c.builder.reduce(c.builder.unique(c.prefix), t, named_axes(c.outputs[0].shape),
                           {{"k", x[axis]}}, op, [&](AxisVars a, AxisVars r) {
                             std::vector<Index> at = indices_of(a);
                             at[axis] = r[0];
                             Aff distance = reverse ? r[0] - a[axis] : a[axis] - r[0];
                             Index wanted(distance - Aff(own));
                             return select(all_nonnegative(std::span(&wanted, 1)),
                                           c.builder.at(c.inputs[0], at), neutral(op, t));
                           })};
}

using Infer = std::vector<TensorType> (*)(const InferContext&);
using Compute = std::vector<StageId> (*)(ComputeContext&);
OpDef row(std::string_view name, Infer infer, Compute compute,
          std::span<const AttrSpec> attrs = reduce_attrs) {
  return {.name = name,
          .attrs = attrs,
          .fusion = Fusion::Reduction,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> reduce_ops() {
  static const OpDef table[] = {
      row("reduce_sum", infer_number, compute_simple<Combine::Sum>),
      row("reduce_prod", infer_number, compute_simple<Combine::Prod>),
      row("reduce_max", infer_any, compute_simple<Combine::Max>),
      row("reduce_min", infer_any, compute_simple<Combine::Min>),
      row("reduce_mean", infer_number, compute_mean),
      row("reduce_l1", infer_number, compute_simple<Combine::Sum, magnitude>),
      row("reduce_l2", infer_number, compute_sum_then<square, UnaryOp::Sqrt>),
      row("reduce_log_sum", infer_number, compute_sum_then<same, UnaryOp::Log>),
      row("reduce_log_sum_exp", infer_number, compute_log_sum_exp),
      row("reduce_sum_square", infer_number, compute_simple<Combine::Sum, square>),
      row("argmax", infer_arg, compute_arg<Combine::Max>, arg_attrs),
      row("argmin", infer_arg, compute_arg<Combine::Min>, arg_attrs),
      row("cumsum", infer_running, compute_running<Combine::Sum>, running_attrs),
      row("cumprod", infer_running, compute_running<Combine::Prod>, running_attrs),
  };
  return table;
}

}  // namespace burnish::ops
