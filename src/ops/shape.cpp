// Operators that rename the elements of a tensor (reshape and its kin), tell about shapes, or make tensors from shapes.
#include <algorithm>
#include <cmath>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec reshape_attrs[] = {{"allowzero", AttrType::Int}};
constexpr AttrSpec axes_attr[] = {{"axes", AttrType::Ints}};
constexpr AttrSpec axes_required[] = {{"axes", AttrType::Ints, true}};
constexpr AttrSpec axis_attr[] = {{"axis", AttrType::Int}};
constexpr AttrSpec shape_attrs[] = {{"start", AttrType::Int}, {"end", AttrType::Int}};
constexpr AttrSpec value_attr[] = {{"value", AttrType::TensorAttr}};
constexpr AttrSpec eye_attrs[] = {{"to", AttrType::String}, {"k", AttrType::Int}};
constexpr AttrSpec tri_attrs[] = {{"upper", AttrType::Int}};

// ---- reshape, squeeze, unsqueeze, flatten: the same elements in the same order

std::vector<TensorType> infer_reshape(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  std::vector<int64_t> wanted = constant_ints(c.constants, 1, "shape");
  bool zero_is_zero = c.attrs.i("allowzero") != 0;
  Shape out;
  std::optional<size_t> open;
  int64_t known = 1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    int64_t d = wanted[i];
    require(d >= -1, "reshape to an extent of {}", d);
    if (d == 0 && !zero_is_zero) {
      require(i < x.size(), "reshape copies extent {} of a tensor of shape {}", i, shape_text(x));
      d = x[i];
    }
    if (d == -1) {
      require(!open, "reshape leaves two extents open");
      open = i;
      d = 1;
    }
    known = checked_mul(known, d);
    out.push_back(d);
  }
  int64_t count = element_count(x);
  if (open) {
    require(known > 0 && count % known == 0, "{} elements ({}) do not divide into {}", count,
            shape_text(x), known);
    out[*open] = count / known;
  } else {
    require(known == count, "reshape of {} to {}: {} elements become {}", shape_text(x),
            shape_text(out), count, known);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

std::vector<TensorType> infer_squeeze(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  std::vector<bool> drop(x.size(), false);
  if (c.attrs.has("axes")) {
    for (int64_t a : normal_axes(c.attrs.ints("axes"), x.size())) {
      require(x[static_cast<size_t>(a)] == 1, "axis {} of {} cannot be squeezed: its extent is {}",
              a, shape_text(x), x[static_cast<size_t>(a)]);
      drop[static_cast<size_t>(a)] = true;
    }
  } else {
    for (size_t i = 0; i < x.size(); ++i) drop[i] = x[i] == 1;
  }
  Shape out;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!drop[i]) out.push_back(x[i]);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

std::vector<TensorType> infer_unsqueeze(const InferContext& c) {
  std::vector<int64_t> axes = c.attrs.ints("axes");
  require(axes.size() < 256, "attribute 'axes' has {} values", axes.size());
  Shape out = c.inputs[0].shape;
  for (int64_t a : normal_axes(axes, out.size() + axes.size())) out.insert(out.begin() + a, 1);
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

std::vector<TensorType> infer_flatten(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  int64_t rank = std::ssize(x), axis = c.attrs.i("axis", 1);
  require(axis >= -rank && axis <= rank, "axis {} is out of range for a tensor of rank {}", axis,
          rank);
  if (axis < 0) axis += rank;
  int64_t rows = element_count({x.begin(), x.begin() + axis});
  int64_t columns = element_count({x.begin() + axis, x.end()});
  return {{c.inputs[0].dtype, {rows, columns}, {}}};
}

// Positions in a tensor of shape `in` of the element at `out` of the same elements seen as shape `to`. Runs of axes with
// equal products are treated apart, so that only what is really split needs a division.
std::vector<Index> reshaped(const Shape& in, const Shape& to, AxisVars out) {
  std::vector<Index> at(in.size(), Index(Aff(0)));
  if (element_count(in) == 0) return at;
  size_t i = 0, o = 0;
  while (i < in.size() || o < to.size()) {
    size_t i0 = i, o0 = o;
    int64_t left = i < in.size() ? in[i++] : 1;
    int64_t right = o < to.size() ? to[o++] : 1;
    while (left != right) {
      if (left < right) left *= in[i++];
      else right *= to[o++];
    }
    Aff flat;
    for (size_t d = o0; d < o; ++d) flat = flat * to[d] + (to[d] == 1 ? Aff(0) : out[d]);
    int64_t below = left;
    bool first = true;
    for (size_t d = i0; d < i; ++d) {
      below /= in[d];
      if (in[d] == 1) continue;
      at[d] = quotient(flat, below, first ? 0 : in[d]);
      first = false;
    }
  }
  return at;
}

std::vector<StageId> compute_reshape(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(c.inputs[0], reshaped(c.types[0].shape, c.outputs[0].shape, a));
  })};
}

// ---- shape, size: known from the input's type

// A stage of a few constants.
StageId listed(ComputeContext& c, const std::vector<int64_t>& values) {
  DType t = c.outputs[0].dtype;
  return map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr e = constant_int(values.empty() ? 0 : values.back(), t);
    for (size_t i = values.empty() ? 0 : values.size() - 1; i-- > 0;) {
      Index before(Aff(static_cast<int64_t>(i)) - a[0]);
      e = select(all_nonnegative(std::span(&before, 1)), constant_int(values[i], t), e);
    }
    return e;
  });
}

Shape shape_slice(const Shape& x, const Attrs& attrs) {
  int64_t rank = std::ssize(x);
  auto clamp = [&](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank); };
  int64_t start = clamp(attrs.i("start", 0)), end = clamp(attrs.i("end", rank));
  return start < end ? Shape(x.begin() + start, x.begin() + end) : Shape{};
}
std::vector<TensorType> infer_shape(const InferContext& c) {
  return {{DType::I64, {std::ssize(shape_slice(c.inputs[0].shape, c.attrs))}, {}}};
}
std::vector<StageId> compute_shape(ComputeContext& c) {
  return {listed(c, shape_slice(c.types[0].shape, c.attrs))};
}
std::vector<TensorType> infer_size(const InferContext& c) {
  element_count(c.inputs[0].shape);
  return {{DType::I64, {}, {}}};
}
std::vector<StageId> compute_size(ComputeContext& c) {
  return {listed(c, {element_count(c.types[0].shape)})};
}

// ---- range, constant_of_shape, eye_like, tri

double scalar_double(const TensorPtr& t) {
  Scalar s = t->get(0);
  return is_float(t->dtype) ? s.f : static_cast<double>(s.i);
}

std::vector<TensorType> infer_range(const InferContext& c) {
  static constexpr std::string_view names[] = {"start", "limit", "delta"};
  for (size_t i = 0; i < 3; ++i) {
    require_same_dtype(c.inputs[0], c.inputs[i]);
    require(element_count(c.inputs[i].shape) == 1, "input '{}' of range has the shape {}", names[i],
            shape_text(c.inputs[i].shape));
    constant_floats(c.constants, i, names[i]);
  }
  double start = scalar_double(c.constants[0]), limit = scalar_double(c.constants[1]);
  double delta = scalar_double(c.constants[2]);
  require(delta != 0 && std::isfinite(delta) && std::isfinite(start) && std::isfinite(limit),
          "range from {} to {} in steps of {}", start, limit, delta);
  double count = std::max(std::ceil((limit - start) / delta), 0.0);
  require(count < static_cast<double>(max_extent), "range has {} elements", count);
  return {{c.inputs[0].dtype, {static_cast<int64_t>(count)}, {}}};
}
std::vector<StageId> compute_range(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  auto value = [&](size_t i) {
    Scalar s = c.constants[i]->get(0);
    return is_float(t) ? constant(s.f, t) : constant_int(s.i, t);
  };
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return value(0) + cast(t, affine(Index(a[0]))) * value(2);
  })};
}

TensorPtr value_of(const Attrs& attrs) {
  auto it = attrs.all().find("value");
  if (it == attrs.all().end()) return nullptr;
  const TensorPtr* t = std::get_if<TensorPtr>(&it->second);
  require(t && *t && (*t)->size() == 1, "attribute 'value' must be a tensor of one element");
  return *t;
}
std::vector<TensorType> infer_constant_of_shape(const InferContext& c) {
  Shape s = constant_ints(c.constants, 0, "shape");
  TensorPtr v = value_of(c.attrs);
  return {{v ? v->dtype : DType::F32, std::move(s), {}}};
}
std::vector<StageId> compute_constant_of_shape(ComputeContext& c) {
  TensorPtr v = value_of(c.attrs);
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars) {
    if (!v) return zero(t);
    Scalar s = v->get(0);
    return is_float(t) ? constant(s.f, t) : constant_int(s.i, t);
  })};
}

std::vector<TensorType> infer_eye(const InferContext& c) {
  require_rank(c.inputs[0], 2, 2, "the operand");
  DType t = c.inputs[0].dtype;
  if (c.attrs.has("to")) {
    std::optional<DType> named = dtype_named(c.attrs.s("to"));
    require(named.has_value(), "attribute 'to' is \"{}\", which is no element type",
            c.attrs.s("to"));
    t = *named;
  }
  int64_t k = c.attrs.i("k");
  require(k > -max_extent && k < max_extent, "attribute 'k' is {}", k);
  return {{t, c.inputs[0].shape, {}}};
}
std::vector<StageId> compute_eye(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr on = binary(BinaryOp::Eq, affine(Index(a[0] + Aff(c.attrs.i("k")))), affine(Index(a[1])));
    return select(on, one(t), zero(t));
  })};
}

int64_t diagonal(std::span<const TensorPtr> constants, bool present) {
  if (!present) return 0;
  std::vector<int64_t> k = constant_ints(constants, 1, "k");
  require(k.size() == 1 && k[0] > -max_extent && k[0] < max_extent, "input 'k' of tri is no diagonal");
  return k[0];
}
std::vector<TensorType> infer_tri(const InferContext& c) {
  require_rank(c.inputs[0], 2, 64, "the operand");
  diagonal(c.constants, c.has(1));
  return {{c.inputs[0].dtype, c.inputs[0].shape, {}}};
}
std::vector<StageId> compute_tri(ComputeContext& c) {
  DType t = c.outputs[0].dtype;
  int64_t k = diagonal(c.constants, c.has(1));
  bool upper = c.attrs.i("upper", 1) != 0;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Aff above = a[a.size() - 1] - a[a.size() - 2] - Aff(k);  // >= 0 on and above the diagonal
    Index kept(upper ? above : -above);
    return select(all_nonnegative(std::span(&kept, 1)),
                  c.builder.at(c.inputs[0], indices_of(a)), zero(t));
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
          .fusion = Fusion::Injective,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> shape_ops() {
  static const OpDef table[] = {
      row("reshape", 2, 2, reshape_attrs, infer_reshape, compute_reshape),
      row("squeeze", 1, 1, axes_attr, infer_squeeze, compute_reshape),
      row("unsqueeze", 1, 1, axes_required, infer_unsqueeze, compute_reshape),
      row("flatten", 1, 1, axis_attr, infer_flatten, compute_reshape),
      row("shape", 1, 1, shape_attrs, infer_shape, compute_shape),
      row("size", 1, 1, {}, infer_size, compute_size),
      row("range", 3, 3, {}, infer_range, compute_range),
      row("constant_of_shape", 1, 1, value_attr, infer_constant_of_shape,
          compute_constant_of_shape),
      row("eye_like", 1, 1, eye_attrs, infer_eye, compute_eye),
      row("tri", 1, 2, tri_attrs, infer_tri, compute_tri),
  };
  return table;
}

}  // namespace burnish::ops
