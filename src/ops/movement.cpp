// Operators that move elements: every output element reads one input element.
#include <algorithm>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec perm_attr[] = {{"perm", AttrType::Ints}};
constexpr AttrSpec axis_required[] = {{"axis", AttrType::Int, true}};
constexpr AttrSpec split_attrs[] = {{"axis", AttrType::Int},
                                    {"sizes", AttrType::Ints},
                                    {"num_outputs", AttrType::Int}};
constexpr AttrSpec pad_attrs[] = {{"mode", AttrType::String}};
constexpr AttrSpec block_attr[] = {{"blocksize", AttrType::Int, true}};
constexpr AttrSpec depth_attrs[] = {{"blocksize", AttrType::Int, true}, {"mode", AttrType::String}};
constexpr AttrSpec reverse_attrs[] = {{"time_axis", AttrType::Int}, {"batch_axis", AttrType::Int}};

// ---- transpose

std::vector<int64_t> permutation(const Attrs& attrs, size_t rank) {
  std::vector<int64_t> perm = attrs.ints("perm");
  if (!attrs.has("perm")) {
    for (size_t i = rank; i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  }
  require(perm.size() == rank, "attribute 'perm' has {} values for a tensor of rank {}",
          perm.size(), rank);
  for (int64_t& p : perm) p = normal_axis(p, rank);
  normal_axes(perm, rank);  // each once
  return perm;
}
std::vector<TensorType> infer_transpose(const InferContext& c) {
  Shape out;
  for (int64_t p : permutation(c.attrs, c.inputs[0].shape.size())) {
    out.push_back(c.inputs[0].shape[static_cast<size_t>(p)]);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_transpose(ComputeContext& c) {
  std::vector<int64_t> perm = permutation(c.attrs, c.types[0].shape.size());
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at(perm.size());
    for (size_t i = 0; i < perm.size(); ++i) at[static_cast<size_t>(perm[i])] = a[i];
    return c.builder.at(c.inputs[0], at);
  })};
}

// ---- concat: selects on ranges of the axis, which a schedule cuts apart

std::vector<TensorType> infer_concat(const InferContext& c) {
  Shape out = c.inputs[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), out.size()));
  for (size_t i = 1; i < c.inputs.size(); ++i) {
    require_same_dtype(c.inputs[0], c.inputs[i]);
    const Shape& s = c.inputs[i].shape;
    Shape other = s, own = out;
    bool same_rank = s.size() == out.size();
    if (same_rank) other[axis] = own[axis] = 0;
    require(same_rank && other == own, "concat of {} and {} along axis {}",
            shape_text(c.inputs[0].shape), shape_text(s), axis);
    out[axis] = checked_add(out[axis], s[axis]);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_concat(ComputeContext& c) {
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), c.outputs[0].shape.size()));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    int64_t end = c.outputs[0].shape[axis];
    Expr e;
    for (size_t i = c.inputs.size(); i-- > 0;) {
      int64_t extent = c.types[i].shape[axis];
      if (extent == 0) continue;
      std::vector<Index> at = indices_of(a);
      at[axis] = Index(a[axis] - Aff(end - extent));
      Expr part = c.builder.at(c.inputs[i], at);
      Index before(Aff(end - 1) - a[axis]);
      e = e ? select(all_nonnegative(std::span(&before, 1)), part, e) : part;
      end -= extent;
    }
    return e ? e : zero(c.outputs[0].dtype);  // all operands are empty
  })};
}

// ---- split

std::vector<int64_t> split_sizes(const Attrs& attrs, int64_t extent) {
  std::vector<int64_t> sizes = attrs.ints("sizes");
  if (!attrs.has("sizes")) {
    int64_t parts = attrs.i("num_outputs");
    require(parts > 0 && parts <= extent && parts < 1 << 16,
            "split of {} elements into {} parts", extent, parts);
    int64_t size = ceil_div(extent, parts);
    for (int64_t left = extent; std::ssize(sizes) < parts; left -= sizes.back()) {
      sizes.push_back(std::min(size, left));
    }
  }
  int64_t total = 0;
  for (int64_t s : sizes) {
    require(s >= 0, "a part of a split has {} elements", s);
    total = checked_add(total, s);
  }
  require(!sizes.empty() && total == extent, "the parts of a split have {} elements together, not {}",
          total, extent);
  return sizes;
}
std::vector<TensorType> infer_split(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), x.size()));
  std::vector<TensorType> out;
  for (int64_t size : split_sizes(c.attrs, x[axis])) {
    out.push_back({c.inputs[0].dtype, x, {}});
    out.back().shape[axis] = size;
  }
  return out;
}
std::vector<StageId> compute_split(ComputeContext& c) {
  size_t axis = static_cast<size_t>(normal_axis(c.attrs.i("axis"), c.types[0].shape.size()));
  std::vector<StageId> parts;
  int64_t start = 0;
  for (const TensorType& t : c.outputs) {
    parts.push_back(map(c, t, "", [&](AxisVars a) {
      std::vector<Index> at = indices_of(a);
      at[axis] = Index(a[axis] + Aff(start));
      return c.builder.at(c.inputs[0], at);
    }));
    start += t.shape[axis];
  }
  return parts;
}

// ---- slice

struct Cut {
  int64_t start = 0, step = 1, extent;
};

// Along each axis: the first element, the step, and how many.
std::vector<Cut> cuts_of(const Shape& x, std::span<const TensorPtr> constants, bool has_axes,
                         bool has_steps) {
  std::vector<int64_t> starts = constant_ints(constants, 1, "starts");
  std::vector<int64_t> ends = constant_ints(constants, 2, "ends");
  std::vector<int64_t> axes, steps(starts.size(), 1);
  if (has_axes) axes = constant_ints(constants, 3, "axes");
  else for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (has_steps) steps = constant_ints(constants, 4, "steps");
  require(ends.size() == starts.size() && axes.size() == starts.size() &&
              steps.size() == starts.size(),
          "slice has {} starts, {} ends, {} axes and {} steps", starts.size(), ends.size(),
          axes.size(), steps.size());
  normal_axes(axes, x.size());
  std::vector<Cut> cuts;
  for (int64_t d : x) cuts.push_back({.extent = d});
  for (size_t i = 0; i < axes.size(); ++i) {
    size_t axis = static_cast<size_t>(normal_axis(axes[i], x.size()));
    int64_t n = x[axis], step = steps[i];
    require(step != 0, "slice in steps of 0");
    step = std::clamp<int64_t>(step, -max_extent, max_extent);
    auto bound = [&](int64_t v, int64_t lowest, int64_t highest) {
      if (v < 0) v = v < -n ? lowest : v + n;
      return std::clamp(v, lowest, highest);
    };
    int64_t start = step > 0 ? bound(starts[i], 0, n) : bound(starts[i], -1, n - 1);
    int64_t end = step > 0 ? bound(ends[i], 0, n) : bound(ends[i], -1, n - 1);
    int64_t count = step > 0 ? ceil_div(end - start, step) : ceil_div(start - end, -step);
    cuts[axis] = {start, step, std::max<int64_t>(count, 0)};
  }
  return cuts;
}
std::vector<TensorType> infer_slice(const InferContext& c) {
  Shape out;
  for (const Cut& cut : cuts_of(c.inputs[0].shape, c.constants, c.has(3), c.has(4))) {
    out.push_back(cut.extent);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_slice(ComputeContext& c) {
  std::vector<Cut> cuts = cuts_of(c.types[0].shape, c.constants, c.has(3), c.has(4));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at;
    for (size_t i = 0; i < cuts.size(); ++i) {
      at.push_back(Index(a[i] * cuts[i].step + Aff(cuts[i].start)));
    }
    return c.builder.at(c.inputs[0], at);
  })};
}

// ---- pad

struct Padding {
  std::vector<int64_t> begins, ends;
};

Padding padding_of(const Shape& x, std::span<const TensorPtr> constants, bool has_axes) {
  std::vector<int64_t> pads = constant_ints(constants, 1, "pads"), axes;
  if (has_axes) axes = constant_ints(constants, 3, "axes");
  else for (size_t i = 0; i < x.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  require(pads.size() == 2 * axes.size(), "pad has {} values for {} axes", pads.size(),
          axes.size());
  normal_axes(axes, x.size());
  Padding p{std::vector<int64_t>(x.size(), 0), std::vector<int64_t>(x.size(), 0)};
  for (size_t i = 0; i < axes.size(); ++i) {
    size_t axis = static_cast<size_t>(normal_axis(axes[i], x.size()));
    for (int64_t v : {pads[i], pads[i + axes.size()]}) {
      require(v > -max_extent && v < max_extent, "a pad is {}", v);
    }
    p.begins[axis] = pads[i];
    p.ends[axis] = pads[i + axes.size()];
  }
  return p;
}
std::vector<TensorType> infer_pad(const InferContext& c) {
  std::string mode = c.attrs.s("mode", "constant");
  require(mode == "constant" || mode == "edge" || mode == "reflect" || mode == "wrap",
          "attribute 'mode' is \"{}\"; it may be constant, edge, reflect or wrap", mode);
  const Shape& x = c.inputs[0].shape;
  Padding p = padding_of(x, c.constants, c.has(3));
  if (c.has(2)) {
    require_same_dtype(c.inputs[0], c.inputs[2]);
    require(element_count(c.inputs[2].shape) == 1, "the value of pad has the shape {}",
            shape_text(c.inputs[2].shape));
  }
  Shape out;
  for (size_t i = 0; i < x.size(); ++i) {
    out.push_back(x[i] + p.begins[i] + p.ends[i]);
    require(out.back() >= 0, "pads of {} and {} leave nothing of {} elements", p.begins[i],
            p.ends[i], x[i]);
    require(mode == "constant" || x[i] > 0 || out.back() == 0, "pad mode {} of an empty axis", mode);
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

// A position that mirrors at both ends without repeating them: the distance within a period of 2(n-1).
Index reflected(const Aff& at, int64_t n) {
  if (n == 1) return Index(Aff(0));
  // n-1 - |n-1 - (at mod 2(n-1))|
  Expr within = affine(quotient(at, 1, 2 * (n - 1)));
  Expr folded = unary(UnaryOp::Abs, constant_int(n - 1) - within);
  return position(constant_int(n - 1) - folded, n);
}

std::vector<StageId> compute_pad(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  DType t = c.outputs[0].dtype;
  std::string mode = c.attrs.s("mode", "constant");
  Padding p = padding_of(x, c.constants, c.has(3));
  Expr fill;
  if (mode == "constant") {
    fill = zero(t);
    if (c.has(2) && c.constants[2]) {
      Scalar s = c.constants[2]->get(0);
      fill = is_float(t) ? constant(s.f, t) : constant_int(s.i, t);
    } else if (c.has(2)) {
      fill = c.builder.at(c.inputs[2], std::vector<Index>(c.types[2].shape.size()));
    }
  }
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at;
    for (size_t i = 0; i < x.size(); ++i) {
      Aff v = a[i] - Aff(p.begins[i]);
      bool leaves = p.begins[i] > 0 || p.ends[i] > 0;
      if (!leaves || mode == "constant") at.push_back(Index(v));
      else if (mode == "wrap") at.push_back(quotient(v, 1, x[i]));
      else if (mode == "reflect") at.push_back(reflected(v, x[i]));
      else at.push_back(position(
          min(max(affine(Index(v)), constant_int(0)), constant_int(x[i] - 1)), x[i]));
    }
    return c.builder.at(c.inputs[0], at, fill);
  })};
}

// ---- tile, expand

std::vector<TensorType> infer_tile(const InferContext& c) {
  std::vector<int64_t> repeats = constant_ints(c.constants, 1, "repeats");
  const Shape& x = c.inputs[0].shape;
  require(repeats.size() == x.size(), "tile has {} repeats for a tensor of rank {}",
          repeats.size(), x.size());
  Shape out;
  for (size_t i = 0; i < x.size(); ++i) {
    require(repeats[i] >= 0, "a repeat of tile is {}", repeats[i]);
    out.push_back(checked_mul(x[i], repeats[i]));
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}
std::vector<StageId> compute_tile(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> at;
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] == 1) at.push_back(Index(Aff(0)));
      else at.push_back(x[i] == c.outputs[0].shape[i] ? Index(a[i]) : quotient(a[i], 1, x[i]));
    }
    return c.builder.at(c.inputs[0], at);
  })};
}
std::vector<TensorType> infer_expand(const InferContext& c) {
  std::vector<int64_t> wanted = constant_ints(c.constants, 1, "shape");
  for (int64_t d : wanted) require(d >= 0, "expand to an extent of {}", d);
  return {{c.inputs[0].dtype, broadcast(c.inputs[0].shape, wanted), {}}};
}
std::vector<StageId> compute_expand(ComputeContext& c) {
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(c.inputs[0], broadcast_indices(c.types[0].shape, a));
  })};
}

// ---- depth_to_space, space_to_depth

int64_t block_of(const InferContext& c) {
  require_rank(c.inputs[0], 4, 4, "the input");
  int64_t b = c.attrs.i("blocksize");
  require(b > 0 && b < 1 << 15, "attribute 'blocksize' is {}", b);
  return b;
}
std::vector<TensorType> infer_depth_to_space(const InferContext& c) {
  int64_t b = block_of(c);
  std::string mode = c.attrs.s("mode", "DCR");
  require(mode == "DCR" || mode == "CRD", "attribute 'mode' is \"{}\"; it may be DCR or CRD", mode);
  const Shape& x = c.inputs[0].shape;
  require(x[1] % (b * b) == 0, "{} channels do not divide into blocks of {}x{}", x[1], b, b);
  return {{c.inputs[0].dtype,
           {x[0], x[1] / (b * b), checked_mul(x[2], b), checked_mul(x[3], b)},
           {}}};
}
std::vector<StageId> compute_depth_to_space(ComputeContext& c) {
  int64_t b = c.attrs.i("blocksize"), channels = c.outputs[0].shape[1];
  bool crd = c.attrs.s("mode", "DCR") == "CRD";
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Index within = quotient(a[2], 1, b, crd ? b : b * channels) +
                   quotient(a[3], 1, b, crd ? 1 : channels);
    Index channel = within + Index(a[1] * (crd ? b * b : 1));
    return c.builder.at(c.inputs[0],
                        {Index(a[0]), channel, quotient(a[2], b), quotient(a[3], b)});
  })};
}
std::vector<TensorType> infer_space_to_depth(const InferContext& c) {
  int64_t b = block_of(c);
  const Shape& x = c.inputs[0].shape;
  require(x[2] % b == 0 && x[3] % b == 0, "a plane of {}x{} does not divide into blocks of {}x{}",
          x[2], x[3], b, b);
  return {{c.inputs[0].dtype, {x[0], checked_mul(x[1], b * b), x[2] / b, x[3] / b}, {}}};
}
std::vector<StageId> compute_space_to_depth(ComputeContext& c) {
  int64_t b = c.attrs.i("blocksize"), channels = c.types[0].shape[1];
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(c.inputs[0], {Index(a[0]), quotient(a[1], 1, channels),
                                      Index(a[2] * b) + quotient(a[1], channels * b),
                                      Index(a[3] * b) + quotient(a[1], channels, b)});
  })};
}

// ---- reverse_sequence: the first lengths[b] elements along the time axis, in reverse order

std::vector<TensorType> infer_reverse(const InferContext& c) {
  const Shape& x = c.inputs[0].shape;
  require_rank(c.inputs[0], 2, 64, "the input");
  int64_t time = c.attrs.i("time_axis", 0), batch = c.attrs.i("batch_axis", 1);
  require((time == 0 && batch == 1) || (time == 1 && batch == 0),
          "time axis {} and batch axis {}; they may be 0 and 1", time, batch);
  require(is_int(c.inputs[1].dtype) && c.inputs[1].shape == Shape{x[static_cast<size_t>(batch)]},
          "the lengths have the shape {}", shape_text(c.inputs[1].shape));
  return {{c.inputs[0].dtype, x, {}}};
}
std::vector<StageId> compute_reverse(ComputeContext& c) {
  size_t time = static_cast<size_t>(c.attrs.i("time_axis", 0)), batch = 1 - time;
  int64_t last = c.types[0].shape[time] - 1;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr length = cast(DType::I64, c.builder.at(c.inputs[1], {Index(a[batch])}));
    Expr now = affine(Index(a[time]));
    Expr mirrored = max(min(length - constant_int(1) - now, constant_int(last)), constant_int(0));
    std::vector<Index> at = indices_of(a);
    at[time] = position(select(binary(BinaryOp::Lt, now, length), mirrored, now),
                        c.types[0].shape[time]);
    return c.builder.at(c.inputs[0], at);
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
// These keep the axes' meaning and so follow the layout of their operands.
OpDef following_row(std::string_view name, uint32_t lowest, uint32_t highest,
                  std::span<const AttrSpec> attrs, Infer infer, Compute compute) {
  OpDef op = row(name, lowest, highest, attrs, infer, compute);
  op.layout = LayoutRule::Any;
  return op;
}

}  // namespace

std::span<const OpDef> movement_ops() {
  static const OpDef table[] = {
      row("transpose", 1, 1, perm_attr, infer_transpose, compute_transpose),
      following_row("concat", 1, ~0u, axis_required, infer_concat, compute_concat),
      following_row("split", 1, 1, split_attrs, infer_split, compute_split),
      following_row("slice", 3, 5, {}, infer_slice, compute_slice),
      following_row("pad", 2, 4, pad_attrs, infer_pad, compute_pad),
      row("tile", 2, 2, {}, infer_tile, compute_tile),
      row("expand", 2, 2, {}, infer_expand, compute_expand),
      following_row("depth_to_space", 1, 1, depth_attrs, infer_depth_to_space,
                    compute_depth_to_space),
      following_row("space_to_depth", 1, 1, block_attr, infer_space_to_depth,
                    compute_space_to_depth),
      row("reverse_sequence", 2, 2, reverse_attrs, infer_reverse, compute_reverse),
  };
  return table;
}

}  // namespace burnish::ops
