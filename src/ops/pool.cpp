// Pooling over windows and over whole planes.
//
//   out[n,c,y,x] = reduce over ky,kx of in[n, c, s*y + d*ky - p, …]; outside the input: the neutral element
//
// An average divides by the number of elements in the window that count: all, those inside the input, or
// (count_include_pad) those inside the padded input; a last window of ceil_mode may reach beyond that too.
#include <algorithm>
#include <limits>
#include <limits>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec max_attrs[] = {{"kernel", AttrType::Ints, true}, {"strides", AttrType::Ints},
                                  {"pads", AttrType::Ints},         {"auto_pad", AttrType::String},
                                  {"dilations", AttrType::Ints},    {"ceil_mode", AttrType::Int},
                                  {"with_indices", AttrType::Int},  {"storage_order", AttrType::Int}};
constexpr AttrSpec average_attrs[] = {
    {"kernel", AttrType::Ints, true}, {"strides", AttrType::Ints},   {"pads", AttrType::Ints},
    {"auto_pad", AttrType::String},   {"dilations", AttrType::Ints}, {"ceil_mode", AttrType::Int},
    {"count_include_pad", AttrType::Int}};
constexpr AttrSpec lp_attrs[] = {{"kernel", AttrType::Ints, true}, {"strides", AttrType::Ints},
                                 {"pads", AttrType::Ints},         {"auto_pad", AttrType::String},
                                 {"dilations", AttrType::Ints},    {"ceil_mode", AttrType::Int},
                                 {"p", AttrType::Int}};
constexpr AttrSpec p_attr[] = {{"p", AttrType::Int}};

struct Pool {
  Window window;
  Shape spatial, out;
  int64_t p = 0;
};

Pool pool_of(const Attrs& attrs, const Shape& x) {
  Pool pool;
  pool.spatial = {x.begin() + 2, x.end()};
  std::vector<int64_t> kernel = attrs.ints("kernel");
  require(kernel.size() == pool.spatial.size(),
          "attribute 'kernel' has {} values for an input of {} spatial axes", kernel.size(),
          pool.spatial.size());
  pool.window = window_of(attrs, std::move(kernel), pool.spatial);
  pool.out = window_extents(pool.window, pool.spatial, attrs.i("ceil_mode") != 0);
  return pool;
}

Shape pooled(const InferContext& c) {
  require_rank(c.inputs[0], 3, 5, "the input");
  const Shape& x = c.inputs[0].shape;
  Shape out{x[0], x[1]};
  Pool pool = pool_of(c.attrs, x);
  out.insert(out.end(), pool.out.begin(), pool.out.end());
  return out;
}

std::vector<NamedExtent> window_axes(const Window& w) {
  std::vector<NamedExtent> axes;
  for (size_t i = 0; i < w.rank(); ++i) {
    axes.push_back({spatial_name(i, w.rank(), "k"), w.kernel[i]});
  }
  return axes;
}

std::vector<Index> window_point(const Window& w, AxisVars a, AxisVars r) {
  std::vector<Index> at{Index(a[0]), Index(a[1])};
  for (size_t i = 0; i < w.rank(); ++i) {
    at.push_back(a[2 + i] * w.strides[i] + r[i] * w.dilations[i] - Aff(w.begins[i]));
  }
  return at;
}

bool leaves_input(const Pool& p, size_t i) {
  const Window& w = p.window;
  return w.begins[i] > 0 ||
         (p.out[i] - 1) * w.strides[i] + w.reach(i) - w.begins[i] > p.spatial[i];
}
bool leaves_input(const Pool& p) {
  for (size_t i = 0; i < p.spatial.size(); ++i) {
    if (leaves_input(p, i)) return true;
  }
  return false;
}

// ---- max_pool

std::vector<TensorType> infer_max_pool(const InferContext& c) {
  require(c.inputs[0].dtype != DType::Bool, "the input must be numbers, but it is bool");
  TensorType t{c.inputs[0].dtype, pooled(c), {}};
  int64_t order = c.attrs.i("storage_order");
  require(order == 0 || order == 1, "attribute 'storage_order' is {}; it may be 0 or 1", order);
  if (!c.attrs.i("with_indices")) return {t};
  return {t, {DType::I64, t.shape, {}}};
}

// The flat position of the first maximum of each window.
StageId max_positions(ComputeContext& c, const Pool& p, StageId top) {
  const Shape& x = c.types[0].shape;
  constexpr int64_t nowhere = std::numeric_limits<int64_t>::max();
  StageId found = c.builder.reduce(
      c.builder.unique(c.prefix + ".first"), DType::I64, named_axes(c.outputs[1].shape),
      window_axes(p.window), Combine::Min, [&](AxisVars a, AxisVars r) {
        std::vector<Index> at = window_point(p.window, a, r), inside;
        Aff flat;
        for (size_t i = 0; i < at.size(); ++i) {
          flat = flat * x[i] + at[i].a;
          if (i < 2) continue;
          inside.push_back(at[i]);
          inside.push_back(Index(Aff(x[i] - 1) - at[i].a));
        }
        Expr equal = binary(BinaryOp::Eq, c.builder.at(c.inputs[0], at),
                            c.builder.at(top, indices_of(a)));
        Expr here = select(equal, affine(Index(flat)), constant_int(nowhere));
        return select(all_nonnegative(inside), here, constant_int(nowhere));
      });
  if (!c.attrs.i("storage_order")) return found;
  // Column-major: the spatial part reversed, the plane's offset unchanged.
  int64_t plane = element_count(p.spatial);
  return c.builder.compute(
      c.builder.unique(c.prefix + ".column"), DType::I64, named_axes(c.outputs[1].shape),
      [&](AxisVars a) {
        Expr rest = c.builder.at(found, indices_of(a));
        Expr column = affine(Index((a[0] * x[1] + a[1]) * plane));
        rest = rest - column;
        int64_t below = plane, scale = 1;
        for (int64_t extent : p.spatial) {
          below /= extent;
          Expr digit = binary(BinaryOp::FloorMod,
                              binary(BinaryOp::FloorDiv, rest, constant_int(below)),
                              constant_int(extent));
          column = column + digit * constant_int(scale);
          scale *= extent;
        }
        return column;
      });
}

std::vector<StageId> compute_max_pool(ComputeContext& c) {
  Pool p = pool_of(c.attrs, c.types[0].shape);
  DType t = c.outputs[0].dtype;
  Expr fill = leaves_input(p) ? lowest_of(t) : Expr();
  StageId top = c.builder.reduce(
      c.builder.unique(c.prefix), t, named_axes(c.outputs[0].shape), window_axes(p.window),
      Combine::Max, [&](AxisVars a, AxisVars r) {
        return c.builder.at(c.inputs[0], window_point(p.window, a, r), fill);
      });
  if (c.outputs.size() == 1) return {top};
  return {top, max_positions(c, p, top)};
}

// ---- average_pool, lp_pool

std::vector<TensorType> infer_float_pool(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  return {{c.inputs[0].dtype, pooled(c), {}}};
}

StageId window_sum(ComputeContext& c, const Pool& p, const std::function<Expr(Expr)>& f) {
  DType t = c.outputs[0].dtype;
  Expr fill = leaves_input(p) ? zero(t) : Expr();
  return c.builder.reduce(c.builder.unique(c.prefix + ".sum"), t, named_axes(c.outputs[0].shape),
                          window_axes(p.window), Combine::Sum, [&](AxisVars a, AxisVars r) {
                            return f(c.builder.at(c.inputs[0], window_point(p.window, a, r), fill));
                          });
}

// How many of the window's positions along spatial axis i lie in [lowest, limit).
Expr counted(const Pool& p, size_t i, const Aff& out, int64_t lowest, int64_t limit) {
  const Window& w = p.window;
  int64_t d = w.dilations[i];
  Aff start = out * w.strides[i] - Aff(w.begins[i]);
  Expr first = max(affine(quotient(Aff(lowest + d - 1) - start, d)), constant_int(0));
  Expr last = min(affine(quotient(Aff(limit - 1) - start, d)), constant_int(w.kernel[i] - 1));
  return last - first + constant_int(1);
}

std::vector<StageId> compute_average_pool(ComputeContext& c) {
  Pool p = pool_of(c.attrs, c.types[0].shape);
  const Window& w = p.window;
  DType t = c.outputs[0].dtype;
  bool include = c.attrs.i("count_include_pad") != 0;
  StageId sum = window_sum(c, p, [](Expr x) { return x; });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    double fixed = 1;
    Expr varying;
    for (size_t i = 0; i < w.rank(); ++i) {
      int64_t lowest = include ? -w.begins[i] : 0;
      int64_t limit = p.spatial[i] + (include ? w.ends[i] : 0);
      bool whole = !leaves_input(p, i) ||
                   (include && (p.out[i] - 1) * w.strides[i] + w.reach(i) - w.begins[i] <= limit);
      if (whole) {
        fixed *= static_cast<double>(w.kernel[i]);
      } else {
        Expr n = cast(t, counted(p, i, a[2 + i], lowest, limit));
        varying = varying ? varying * n : n;
      }
    }
    Expr total = c.builder.at(sum, indices_of(a));
    return varying ? total / (varying * constant(fixed, t)) : total * constant(1 / fixed, t);
  })};
}

Expr power(Expr magnitude, int64_t p) {
  if (p == 1) return magnitude;
  if (p == 2) return magnitude * magnitude;
  DType t = magnitude.dtype();
  return binary(BinaryOp::Pow, std::move(magnitude), constant(static_cast<double>(p), t));
}
Expr root(Expr sum, int64_t p) {
  if (p == 1) return sum;
  if (p == 2) return unary(UnaryOp::Sqrt, std::move(sum));
  DType t = sum.dtype();
  return binary(BinaryOp::Pow, std::move(sum), constant(1 / static_cast<double>(p), t));
}
int64_t p_attribute(const Attrs& attrs) {
  int64_t p = attrs.i("p", 2);
  require(p > 0 && p < 1024, "attribute 'p' is {}", p);
  return p;
}

std::vector<TensorType> infer_lp_pool(const InferContext& c) {
  p_attribute(c.attrs);
  return infer_float_pool(c);
}

std::vector<StageId> compute_lp_pool(ComputeContext& c) {
  Pool p = pool_of(c.attrs, c.types[0].shape);
  int64_t exponent = p_attribute(c.attrs);
  StageId sum = window_sum(
      c, p, [&](Expr x) { return power(unary(UnaryOp::Abs, std::move(x)), exponent); });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return root(c.builder.at(sum, indices_of(a)), exponent);
  })};
}

// ---- whole planes

std::vector<TensorType> infer_global(const InferContext& c) {
  require_float(c.inputs[0], "the input");
  require_rank(c.inputs[0], 3, 8, "the input");
  Shape out(c.inputs[0].shape.size(), 1);
  std::copy_n(c.inputs[0].shape.begin(), 2, out.begin());
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

StageId over_plane(ComputeContext& c, const std::string& suffix, Combine op,
                   const std::function<Expr(Expr)>& f) {
  const Shape& x = c.types[0].shape;
  std::vector<NamedExtent> raxes;
  for (size_t i = 2; i < x.size(); ++i) {
    raxes.push_back({spatial_name(i - 2, x.size() - 2, "k"), x[i]});
  }
  return c.builder.reduce(c.builder.unique(c.prefix + suffix), c.outputs[0].dtype,
                          named_axes(c.outputs[0].shape), raxes, op, [&](AxisVars a, AxisVars r) {
                            std::vector<Index> at{Index(a[0]), Index(a[1])};
                            at.insert(at.end(), r.begin(), r.end());
                            return f(c.builder.at(c.inputs[0], at));
                          });
}

std::vector<StageId> compute_global_average(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  double count = static_cast<double>(element_count({x.begin() + 2, x.end()}));
  StageId sum = over_plane(c, ".sum", Combine::Sum, [](Expr v) { return v; });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(sum, indices_of(a)) * constant(1 / count, c.outputs[0].dtype);
  })};
}
std::vector<StageId> compute_global_max(ComputeContext& c) {
  return {over_plane(c, "", Combine::Max, [](Expr v) { return v; })};
}
std::vector<TensorType> infer_global_lp(const InferContext& c) {
  p_attribute(c.attrs);
  return infer_global(c);
}
std::vector<StageId> compute_global_lp(ComputeContext& c) {
  int64_t p = p_attribute(c.attrs);
  StageId sum = over_plane(c, ".sum", Combine::Sum, [&](Expr v) {
    return power(unary(UnaryOp::Abs, std::move(v)), p);
  });
  return {map(c, c.outputs[0], "",
              [&](AxisVars a) { return root(c.builder.at(sum, indices_of(a)), p); })};
}

using Infer = std::vector<TensorType> (*)(const InferContext&);
using Compute = std::vector<StageId> (*)(ComputeContext&);
OpDef row(std::string_view name, std::span<const AttrSpec> attrs, Infer infer, Compute compute) {
  return {.name = name,
          .attrs = attrs,
          .fusion = Fusion::Reduction,
          .layout = LayoutRule::ChannelsLast,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> pool_ops() {
  static const OpDef table[] = {
      row("max_pool", max_attrs, infer_max_pool, compute_max_pool),
      row("average_pool", average_attrs, infer_float_pool, compute_average_pool),
      row("lp_pool", lp_attrs, infer_lp_pool, compute_lp_pool),
      row("global_average_pool", {}, infer_global, compute_global_average),
      row("global_max_pool", {}, infer_global, compute_global_max),
      row("global_lp_pool", p_attr, infer_global_lp, compute_global_lp),
  };
  return table;
}

}  // namespace burnish::ops
