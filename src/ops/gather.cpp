// Operators whose positions are data: gather, scatter, one-hot, the k largest.
//
// A position read from data is taken modulo the axis, which serves negative indices and keeps hostile ones inside.
// Scatter gathers: an output element looks for the updates that name it, so no two writes ever meet.
#include <algorithm>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec axis_attr[] = {{"axis", AttrType::Int}};
constexpr AttrSpec batch_attr[] = {{"batch_dims", AttrType::Int}};
constexpr AttrSpec scatter_attrs[] = {{"axis", AttrType::Int}, {"reduction", AttrType::String}};
constexpr AttrSpec scatter_nd_attrs[] = {{"reduction", AttrType::String}};
constexpr AttrSpec top_k_attrs[] = {{"axis", AttrType::Int},
                                    {"largest", AttrType::Int},
                                    {"sorted", AttrType::Int}};

void require_index(const TensorType& t) {
  require(t.dtype == DType::I32 || t.dtype == DType::I64, "the indices must be i32 or i64, but they are {}",
          name_of(t.dtype));
}

Expr index_value(ComputeContext& c, std::vector<Index> at, Expr fill = {}) {
  return cast(DType::I64, c.builder.at(c.inputs[1], std::move(at), std::move(fill)));
}

// ---- gather: out[a…, i…, b…] = x[a…, indices[i…], b…]

std::vector<TensorType> infer_gather(const InferContext& c) {
  require_index(c.inputs[1]);
  const Shape &x = c.inputs[0].shape, &i = c.inputs[1].shape;
  int64_t axis = normal_axis(c.attrs.i("axis"), x.size());
  require(x[static_cast<size_t>(axis)] > 0 || element_count(i) == 0, "gather from an empty axis");
  Shape out(x.begin(), x.begin() + axis);
  out.insert(out.end(), i.begin(), i.end());
  out.insert(out.end(), x.begin() + axis + 1, x.end());
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_gather(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  size_t width = c.types[1].shape.size();
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at;
    for (size_t i = 0; i < axis; ++i) at.push_back(a[i]);
    AxisVars within = a.subspan(axis, width);
    at.push_back(position(index_value(c, {within.begin(), within.end()}), x[axis]));
    for (size_t i = axis + 1; i < x.size(); ++i) at.push_back(a[i + width - 1]);
    return c.builder.at(c.inputs[0], at);
  })};
}

// ---- gather_elements: out[p] = x[p with p[axis] = indices[p]]

std::vector<TensorType> infer_gather_elements(const InferContext& c) {
  require_index(c.inputs[1]);
  const Shape &x = c.inputs[0].shape, &i = c.inputs[1].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  require(x.size() == i.size(), "gather_elements of {} by indices {}", shape_text(x),
          shape_text(i));
  for (size_t d = 0; d < x.size(); ++d) {
    require(d == axis || i[d] <= x[d], "gather_elements of {} by indices {}", shape_text(x),
            shape_text(i));
  }
  return {{c.inputs[0].dtype, i, {}}};
}
std::vector<StageId> compute_gather_elements(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at = indices_of(a);
    at[axis] = position(index_value(c, indices_of(a)), x[axis]);
    return c.builder.at(c.inputs[0], at);
  })};
}

// ---- gather_nd: out[b…, i…, s…] = x[b…, indices[b…, i…, 0..k], s…]

struct NdShape {
  size_t batch, width;  // width: k
};
NdShape nd_shape(const Attrs& attrs, const Shape& x, const Shape& i) {
  require(!i.empty() && !x.empty(), "gather_nd of a scalar");
  int64_t batch = attrs.i("batch_dims");
  require(batch >= 0 && batch < std::ssize(i) && batch < std::ssize(x),
          "attribute 'batch_dims' is {}", batch);
  require(i.back() >= 1 && i.back() <= std::ssize(x) - batch,
          "the indices {} name {} axes of a tensor {}", shape_text(i), i.back(), shape_text(x));
  for (int64_t d = 0; d < batch; ++d) {
    require(i[static_cast<size_t>(d)] == x[static_cast<size_t>(d)],
            "the batch axes of {} and {} differ", shape_text(x), shape_text(i));
  }
  return {static_cast<size_t>(batch), static_cast<size_t>(i.back())};
}
std::vector<TensorType> infer_gather_nd(const InferContext& c) {
  require_index(c.inputs[1]);
  const Shape &x = c.inputs[0].shape, &i = c.inputs[1].shape;
  NdShape n = nd_shape(c.attrs, x, i);
  Shape out(i.begin(), i.end() - 1);
  out.insert(out.end(), x.begin() + static_cast<std::ptrdiff_t>(n.batch + n.width), x.end());
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_gather_nd(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &i = c.types[1].shape;
  NdShape n = nd_shape(c.attrs, x, i);
  size_t outer = i.size() - 1;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at;
    for (size_t d = 0; d < n.batch; ++d) at.push_back(a[d]);
    for (size_t k = 0; k < n.width; ++k) {
      std::vector<Index> from(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(outer));
      from.push_back(Index(Aff(static_cast<int64_t>(k))));
      at.push_back(position(index_value(c, from), x[n.batch + k]));
    }
    for (size_t d = outer; d < a.size(); ++d) at.push_back(a[d]);
    return c.builder.at(c.inputs[0], at);
  })};
}

// ---- scatter

std::optional<Combine> reduction_of(const Attrs& attrs) {
  std::string name = attrs.s("reduction", "none");
  if (name == "none") return {};
  if (name == "add") return Combine::Sum;
  if (name == "mul") return Combine::Prod;
  if (name == "min") return Combine::Min;
  require(name == "max", "attribute 'reduction' is \"{}\"; it may be none, add, mul, min or max",
          name);
  return Combine::Max;
}

// Whether an index from data names position `a` of an axis.
Expr names(const Expr& index, const Aff& a, int64_t extent) {
  Expr wrapped = select(binary(BinaryOp::Lt, index, constant_int(0)),
                        index + constant_int(extent), index);
  return binary(BinaryOp::Eq, wrapped, affine(Index(a)));
}

std::vector<TensorType> infer_scatter_elements(const InferContext& c) {
  require_index(c.inputs[1]);
  require_same_dtype(c.inputs[0], c.inputs[2]);
  reduction_of(c.attrs);
  const Shape &x = c.inputs[0].shape, &i = c.inputs[1].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  require(i == c.inputs[2].shape && i.size() == x.size(),
          "scatter_elements of updates {} by indices {} into {}", shape_text(c.inputs[2].shape),
          shape_text(i), shape_text(x));
  for (size_t d = 0; d < x.size(); ++d) {
    require(d == axis || i[d] <= x[d], "scatter_elements by indices {} into {}", shape_text(i),
            shape_text(x));
  }
  return {{c.inputs[0].dtype, x, {}}};
}

std::vector<StageId> compute_scatter_elements(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &i = c.types[1].shape;
  DType t = c.outputs[0].dtype;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  std::vector<NamedExtent> axes = named_axes(x), raxes{{"k", i[axis]}};
  Expr nowhere = constant_int(-x[axis] - 1, c.types[1].dtype);
  auto point = [&](AxisVars a, AxisVars r) {
    std::vector<Index> at = indices_of(a);
    at[axis] = r[0];
    return at;
  };
  auto hit = [&](AxisVars a, AxisVars r) {
    return names(index_value(c, point(a, r), nowhere), a[axis], x[axis]);
  };
  auto before = [&](AxisVars a) { return c.builder.at(c.inputs[0], indices_of(a)); };
  if (std::optional<Combine> op = reduction_of(c.attrs)) {
    return {c.builder.reduce(
        c.builder.unique(c.prefix), t, axes, raxes, *op,
        [&](AxisVars a, AxisVars r) {
          return select(hit(a, r), c.builder.at(c.inputs[2], point(a, r), neutral(*op, t)),
                        neutral(*op, t));
        },
        before)};
  }
  StageId last = c.builder.reduce(c.builder.unique(c.prefix + ".last"), DType::I64, axes, raxes,
                                  Combine::Max, [&](AxisVars a, AxisVars r) {
                                    return select(hit(a, r), affine(Index(r[0])),
                                                  constant_int(-1));
                                  });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr at = c.builder.at(last, indices_of(a));
    std::vector<Index> from = indices_of(a);
    from[axis] = position(at, i[axis]);
    return select(binary(BinaryOp::Ge, at, constant_int(0)),
                  c.builder.at(c.inputs[2], from, zero(t)), before(a));
  })};
}

std::vector<TensorType> infer_scatter_nd(const InferContext& c) {
  require_index(c.inputs[1]);
  require_same_dtype(c.inputs[0], c.inputs[2]);
  reduction_of(c.attrs);
  const Shape &x = c.inputs[0].shape, &i = c.inputs[1].shape;
  NdShape n = nd_shape(Attrs{}, x, i);
  Shape updates(i.begin(), i.end() - 1);
  updates.insert(updates.end(), x.begin() + static_cast<std::ptrdiff_t>(n.width), x.end());
  require(updates == c.inputs[2].shape, "scatter_nd by indices {} into {} needs updates {}, not {}",
          shape_text(i), shape_text(x), shape_text(updates), shape_text(c.inputs[2].shape));
  return {{c.inputs[0].dtype, x, {}}};
}

std::vector<StageId> compute_scatter_nd(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &i = c.types[1].shape;
  DType t = c.outputs[0].dtype;
  NdShape n = nd_shape(Attrs{}, x, i);
  std::vector<NamedExtent> axes = named_axes(x), raxes;
  for (size_t d = 0; d + 1 < i.size(); ++d) raxes.push_back({fmt::format("k{}", d), i[d]});
  auto hit = [&](AxisVars a, AxisVars r) {
    Expr all;
    for (size_t k = 0; k < n.width; ++k) {
      std::vector<Index> at(r.begin(), r.end());
      at.push_back(Index(Aff(static_cast<int64_t>(k))));
      Expr one_axis = names(index_value(c, at), a[k], x[k]);
      all = all ? binary(BinaryOp::And, all, one_axis) : one_axis;
    }
    return all;
  };
  auto before = [&](AxisVars a) { return c.builder.at(c.inputs[0], indices_of(a)); };
  auto update = [&](std::vector<Index> at, AxisVars a) {
    for (size_t d = n.width; d < x.size(); ++d) at.push_back(a[d]);
    return c.builder.at(c.inputs[2], at);
  };
  if (std::optional<Combine> op = reduction_of(c.attrs)) {
    auto body = [&](AxisVars a, AxisVars r) {
      return select(hit(a, r), update({r.begin(), r.end()}, a), neutral(*op, t));
    };
    if (raxes.empty()) raxes.push_back({"k0", 1});
    if (i.size() == 1) {
      return {c.builder.reduce(c.builder.unique(c.prefix), t, axes, raxes, *op,
                               [&](AxisVars a, AxisVars) { return body(a, {}); }, before)};
    }
    return {c.builder.reduce(c.builder.unique(c.prefix), t, axes, raxes, *op, body, before)};
  }
  if (i.size() == 1) {
    return {map(c, c.outputs[0], "",
                [&](AxisVars a) { return select(hit(a, {}), update({}, a), before(a)); })};
  }
  StageId last = c.builder.reduce(c.builder.unique(c.prefix + ".last"), DType::I64, axes, raxes,
                                  Combine::Max, [&](AxisVars a, AxisVars r) {
                                    Aff flat;
                                    for (size_t d = 0; d < r.size(); ++d) flat = flat * i[d] + r[d];
                                    return select(hit(a, r), affine(Index(flat)),
                                                  constant_int(-1));
                                  });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr at = c.builder.at(last, indices_of(a));
    std::vector<Index> from;
    int64_t below = 1;
    for (size_t d = i.size() - 1; d-- > 0;) {
      Index digit = position(at, i[d]);
      digit.atoms[0].div = below;
      from.insert(from.begin(), digit);
      below *= i[d];
    }
    return select(binary(BinaryOp::Ge, at, constant_int(0)), update(from, a), before(a));
  })};
}

// ---- one_hot

std::vector<TensorType> infer_one_hot(const InferContext& c) {
  std::vector<double> depth = constant_floats(c.constants, 1, "depth");
  require(depth.size() == 1 && depth[0] >= 1 && depth[0] < static_cast<double>(max_extent),
          "the depth of one_hot is not a positive number");
  require(c.inputs[2].shape == Shape{2}, "the values of one_hot have the shape {}, not 2",
          shape_text(c.inputs[2].shape));
  Shape out = c.inputs[0].shape;
  int64_t axis = normal_axis(c.attrs.i("axis", -1), out.size() + 1);
  out.insert(out.begin() + axis, static_cast<int64_t>(depth[0]));
  return {{c.inputs[2].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_one_hot(ComputeContext& c) {
  const Shape& out = c.outputs[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), out.size()));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at = indices_of(a);
    at.erase(at.begin() + static_cast<std::ptrdiff_t>(axis));
    Expr index = cast(DType::I64, c.builder.at(c.inputs[0], at));
    auto value = [&](int64_t i) { return c.builder.at(c.inputs[2], {Index(Aff(i))}); };
    return select(names(index, a[axis], out[axis]), value(1), value(0));
  })};
}

// ---- top_k: the rank of each element is the number that go before it

std::vector<TensorType> infer_top_k(const InferContext& c) {
  require(c.inputs[0].dtype != DType::Bool, "the operand must be numbers, but it is bool");
  std::vector<int64_t> k = constant_ints(c.constants, 1, "k");
  Shape out = c.inputs[0].shape;
  int64_t& extent = out[static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), out.size()))];
  require(k.size() == 1 && k[0] >= 0 && k[0] <= extent, "top_k of {} elements out of {}",
          k.empty() ? -1 : k[0], extent);
  constexpr int64_t limit = 1 << 14;
  if (extent > limit) {
    fail_unsupported("top_k over {} elements; {} is the most", extent, limit);
  }
  extent = k[0];
  return {{c.inputs[0].dtype, out, {}}, {DType::I64, out, {}}};
}

std::vector<StageId> compute_top_k(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), x.size()));
  BinaryOp before = c.attrs.i("largest", 1) ? BinaryOp::Gt : BinaryOp::Lt;
  std::vector<NamedExtent> raxes{{"k", x[axis]}};
  auto moved = [&](AxisVars a, const Aff& to) {
    std::vector<Index> at = indices_of(a);
    at[axis] = Index(to);
    return at;
  };
  StageId rank = c.builder.reduce(
      c.builder.unique(c.prefix + ".rank"), DType::I64, named_axes(x), raxes, Combine::Sum,
      [&](AxisVars a, AxisVars r) {
        Expr own = c.builder.at(c.inputs[0], indices_of(a));
        Expr other = c.builder.at(c.inputs[0], moved(a, r[0]));
        Expr tie = binary(BinaryOp::And, binary(BinaryOp::Eq, other, own),
                          binary(BinaryOp::Lt, affine(Index(r[0])), affine(Index(a[axis]))));
        Expr first = binary(BinaryOp::Or, binary(before, other, own), tie);
        return cast(DType::I64, first);
      });
  StageId index = c.builder.reduce(
      c.builder.unique(c.prefix + ".index"), DType::I64, named_axes(c.outputs[1].shape), raxes,
      Combine::Sum, [&](AxisVars a, AxisVars r) {
        Expr here = binary(BinaryOp::Eq, c.builder.at(rank, moved(a, r[0])),
                           affine(Index(a[axis])));
        return select(here, affine(Index(r[0])), constant_int(0));
      });
  StageId value = map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at = indices_of(a);
    at[axis] = position(c.builder.at(index, indices_of(a)), x[axis]);
    return c.builder.at(c.inputs[0], at);
  });
  return {value, index};
}

using Infer = std::vector<TensorType> (*)(const InferContext&);
using Compute = std::vector<StageId> (*)(ComputeContext&);
OpDef row(std::string_view name, uint32_t inputs, std::span<const AttrSpec> attrs, Fusion fusion,
          Infer infer, Compute compute) {
  return {.name = name,
          .min_inputs = inputs,
          .max_inputs = inputs,
          .attrs = attrs,
          .fusion = fusion,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> gather_ops() {
  static const OpDef table[] = {
      row("gather", 2, axis_attr, Fusion::Injective, infer_gather, compute_gather),
      row("gather_elements", 2, axis_attr, Fusion::Injective, infer_gather_elements,
          compute_gather_elements),
      row("gather_nd", 2, batch_attr, Fusion::Injective, infer_gather_nd, compute_gather_nd),
      row("scatter_elements", 3, scatter_attrs, Fusion::Opaque, infer_scatter_elements,
          compute_scatter_elements),
      row("scatter_nd", 3, scatter_nd_attrs, Fusion::Opaque, infer_scatter_nd,
          compute_scatter_nd),
      row("one_hot", 3, axis_attr, Fusion::Injective, infer_one_hot, compute_one_hot),
      row("top_k", 2, top_k_attrs, Fusion::Opaque, infer_top_k, compute_top_k),
  };
  return table;
}

}  // namespace burnish::ops
