// Convolution, grouped and depthwise included, and its transpose, in one to three spatial dimensions.
//
//   conv:            out[n,c,y,x] = bias[c] + sum over k,ky,kx of in[n, g(c)+k, s*y + d*ky - p, …] * w[c,k,ky,kx]
//   conv_transpose:  out[n,c,y,x] = bias[c] + sum over k,j of in[n, g(c)+k, (y+p)/s - j, …] * w[k,c,(y+p)%s + s*j, …]
//
// The transpose gathers: the phase (y+p) % s selects every s-th row of the kernel, so nothing is multiplied by
// stuffed zeros. With dilation the rows of a phase are not evenly spaced; then every kernel row is visited and those of
// other phases contribute zero.
#include <algorithm>

#include "ops/common.h"
#include "ops/winograd.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec conv_attrs[] = {{"strides", AttrType::Ints},
                                   {"dilations", AttrType::Ints},
                                   {"pads", AttrType::Ints},
                                   {"auto_pad", AttrType::String},
                                   {"groups", AttrType::Int}};
constexpr AttrSpec transpose_attrs[] = {{"strides", AttrType::Ints},
                                        {"dilations", AttrType::Ints},
                                        {"pads", AttrType::Ints},
                                        {"auto_pad", AttrType::String},
                                        {"groups", AttrType::Int},
                                        {"output_padding", AttrType::Ints},
                                        {"output_shape", AttrType::Ints}};

Shape spatial_of(const Shape& s) { return {s.begin() + 2, s.end()}; }

void check_operands(const InferContext& c) {
  const TensorType &x = c.inputs[0], &w = c.inputs[1];
  require_rank(x, 3, 5, "the input");
  require(w.shape.size() == x.shape.size(), "the weights have rank {}, the input {}",
          w.shape.size(), x.shape.size());
  require_same_dtype(x, w);
  int64_t groups = c.attrs.i("groups", 1);
  require(groups > 0, "attribute 'groups' is {}", groups);
}

void check_bias(const InferContext& c, int64_t channels) {
  if (!c.has(2)) return;
  require_same_dtype(c.inputs[0], c.inputs[2]);
  require(c.inputs[2].shape == Shape{channels}, "the bias has the shape {} for {} output channels",
          shape_text(c.inputs[2].shape), channels);
}

// ---- conv

std::vector<TensorType> infer_conv(const InferContext& c) {
  check_operands(c);
  const Shape &x = c.inputs[0].shape, &w = c.inputs[1].shape;
  int64_t groups = c.attrs.i("groups", 1);
  require(checked_mul(w[1], groups) == x[1],
          "the weights {} read {} channels in each of {} groups, but the input {} has {}",
          shape_text(w), w[1], groups, shape_text(x), x[1]);
  require(w[0] % groups == 0, "{} output channels do not divide into {} groups", w[0], groups);
  check_bias(c, w[0]);
  Window window = window_of(c.attrs, spatial_of(w), spatial_of(x));
  Shape out{x[0], w[0]};
  Shape spatial = window_extents(window, spatial_of(x), false);
  out.insert(out.end(), spatial.begin(), spatial.end());
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

std::vector<NamedExtent> kernel_axes(const std::vector<int64_t>& kernel) {
  std::vector<NamedExtent> axes;
  for (size_t i = 0; i < kernel.size(); ++i) {
    axes.push_back({spatial_name(i, kernel.size(), "k"), kernel[i]});
  }
  return axes;
}

// The bias is added to the finished sum: sums that start from a bias much larger than themselves lose its difference in
// every rounding.
StageId with_bias(ComputeContext& c, StageId acc) {
  if (!c.has(2)) return acc;
  const Stage& sum = c.builder[acc];
  return c.builder.compute(c.builder.unique(c.prefix), sum.dtype, named_axes(sum.shape()), [&](AxisVars a) {
    return c.builder.at(acc, indices_of(a)) + c.builder.at(c.inputs[2], {Index(a[1])});
  });
}

std::vector<StageId> compute_conv(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &w = c.types[1].shape;
  Window window = window_of(c.attrs, spatial_of(w), spatial_of(x));
  int64_t groups = c.attrs.i("groups", 1), per_group = w[0] / groups;
  bool one_channel = w[1] == 1;  // depthwise: no reduction over channels
  std::vector<NamedExtent> raxes = kernel_axes(window.kernel);
  if (!one_channel) raxes.insert(raxes.begin(), {"k", w[1]});
  size_t first = one_channel ? 0 : 1;

  auto body = [&](AxisVars a, AxisVars r) {
    Index channel = groups == 1 ? Index(Aff(0)) : quotient(a[1], per_group, 0, w[1]);
    if (!one_channel) channel = channel + Index(r[0]);
    std::vector<Index> from{Index(a[0]), channel};
    std::vector<Index> weight{Index(a[1]), one_channel ? Index(Aff(0)) : Index(r[0])};
    bool padded = false;
    for (size_t i = 0; i < window.rank(); ++i) {
      from.push_back(a[2 + i] * window.strides[i] + r[first + i] * window.dilations[i] -
                     Aff(window.begins[i]));
      weight.push_back(r[first + i]);
      int64_t last = (c.outputs[0].shape[2 + i] - 1) * window.strides[i] + window.reach(i) - 1 -
                     window.begins[i];
      padded = padded || window.begins[i] > 0 || last >= x[2 + i];
    }
    DType t = c.types[0].dtype;
    return c.builder.at(c.inputs[0], from, padded ? zero(t) : Expr()) *
           c.builder.at(c.inputs[1], weight);
  };
  return {with_bias(c, c.builder.reduce(c.builder.unique(c.prefix + ".acc"), c.outputs[0].dtype,
                                        named_axes(c.outputs[0].shape), raxes, Combine::Sum, body))};
}

int64_t conv_macs(const InferContext& c, std::span<const TensorType> outputs) {
  const Shape& w = c.inputs[1].shape;
  int64_t per_element = 1;
  for (size_t i = 1; i < w.size(); ++i) per_element = checked_mul(per_element, w[i]);
  return checked_mul(element_count(outputs[0].shape), per_element);
}

// Winograd convolutions, where there is one: 3x3, dense, every pixel.
std::vector<Alternative> conv_alternatives(const InferContext& c) {
  const TensorType &x = c.inputs[0], &w = c.inputs[1];
  const TensorPtr weights = c.constants[1];
  if (x.dtype != DType::F32 || x.shape.size() != 4 || !weights || c.attrs.i("groups", 1) != 1) return {};
  const Window window = window_of(c.attrs, spatial_of(w.shape), spatial_of(x.shape));
  std::vector<int64_t> pads = window.begins;
  pads.insert(pads.end(), window.ends.begin(), window.ends.end());
  const auto all = [](const std::vector<int64_t>& v, int64_t n) { return std::ranges::all_of(v, [=](int64_t i) { return i == n; }); };
  if (!all(window.kernel, 3) || !all(window.strides, 1) || !all(window.dilations, 1) || std::ranges::min(pads) < 0) return {};
  std::vector<Alternative> out;
  for (int64_t m : {2, 4}) {
    Attrs attrs;
    attrs.set("tile", m);
    attrs.set("pads", pads);
    out.push_back({"winograd_conv", std::move(attrs), 1, {DType::F32, {m + 2, m + 2, w.shape[1], w.shape[0]}, {}},
                   [weights, m] { return winograd_weights(*weights, m); }});
  }
  return out;
}

// ---- conv_transpose

struct TransposeGeometry {
  Window window;
  Shape spatial;  // of the output
};

TransposeGeometry transpose_geometry(const Attrs& attrs, const Shape& x, const Shape& w) {
  size_t n = x.size() - 2;
  std::string mode = attrs.s("auto_pad", "explicit");
  require(mode == "explicit" || mode == "valid" || mode == "same_upper" || mode == "same_lower",
          "attribute 'auto_pad' is \"{}\"; it may be explicit, valid, same_upper or same_lower",
          mode);
  bool same = mode == "same_upper" || mode == "same_lower";
  Attrs plain = attrs;
  plain.set("auto_pad", std::string(mode == "valid" ? "valid" : "explicit"));
  TransposeGeometry g{window_of(plain, spatial_of(w), spatial_of(x)), {}};
  std::vector<int64_t> more = attrs.ints("output_padding", std::vector<int64_t>(n, 0));
  std::vector<int64_t> wanted = attrs.ints("output_shape");
  require(more.size() == n, "attribute 'output_padding' has {} values for {} spatial axes",
          more.size(), n);
  require(wanted.empty() || wanted.size() == n,
          "attribute 'output_shape' has {} values for {} spatial axes", wanted.size(), n);
  for (size_t i = 0; i < n; ++i) {
    Window& win = g.window;
    require(more[i] >= 0 && more[i] < std::max(win.strides[i], win.dilations[i]),
            "output_padding {} must be less than the stride {} or the dilation {}", more[i],
            win.strides[i], win.dilations[i]);
    int64_t full = checked_add(checked_mul(x[2 + i] - 1, win.strides[i]), more[i] + win.reach(i));
    if (!wanted.empty() || same) {
      int64_t extent = wanted.empty() ? checked_mul(x[2 + i], win.strides[i]) : wanted[i];
      require(extent > 0 && extent < max_extent, "attribute 'output_shape' asks for {}", extent);
      int64_t total = full - extent;
      win.begins[i] = mode == "same_upper" ? floor_div(total, 2) : total - floor_div(total, 2);
      win.ends[i] = total - win.begins[i];
    }
    g.spatial.push_back(full - win.begins[i] - win.ends[i]);
    require(g.spatial.back() > 0, "pads of {} and {} leave nothing of an output of {}",
            win.begins[i], win.ends[i], full);
  }
  return g;
}

std::vector<TensorType> infer_conv_transpose(const InferContext& c) {
  check_operands(c);
  const Shape &x = c.inputs[0].shape, &w = c.inputs[1].shape;
  int64_t groups = c.attrs.i("groups", 1);
  require(w[0] == x[1] && x[1] % groups == 0,
          "the weights {} do not fit the input {} with {} groups", shape_text(w), shape_text(x),
          groups);
  int64_t channels = checked_mul(w[1], groups);
  check_bias(c, channels);
  Shape out{x[0], channels};
  Shape spatial = transpose_geometry(c.attrs, x, w).spatial;
  out.insert(out.end(), spatial.begin(), spatial.end());
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

// Along one spatial axis: the input and weight positions of output position `out` and reduce position `j`.
struct Tap {
  Index from, weight;
  Expr valid;  // null: always
};

Tap tap_of(const Window& w, size_t i, const Aff& out, const Aff& j) {
  int64_t s = w.strides[i], d = w.dilations[i];
  Aff shifted = out + Aff(w.begins[i]);
  if (s == 1) return {Index(shifted - j * d), Index(j), {}};
  if (d == 1) {
    return {quotient(shifted, s) + Index(-j), quotient(shifted, 1, s) + Index(j * s), {}};
  }
  Aff scaled = shifted - j * d;
  Expr valid = binary(BinaryOp::Eq, affine(quotient(scaled, 1, s)), constant_int(0));
  return {quotient(scaled, s), Index(j), valid};
}

std::vector<StageId> compute_conv_transpose(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &w = c.types[1].shape;
  Window window = transpose_geometry(c.attrs, x, w).window;
  int64_t groups = c.attrs.i("groups", 1), per_group = w[1], reads = x[1] / groups;
  DType t = c.outputs[0].dtype;
  std::vector<int64_t> taps = window.kernel;
  bool ragged = false;  // some phases have fewer taps
  for (size_t i = 0; i < taps.size(); ++i) {
    if (window.strides[i] == 1 || window.dilations[i] != 1) continue;
    ragged = ragged || taps[i] % window.strides[i] != 0;
    taps[i] = ceil_div(taps[i], window.strides[i]);
  }
  std::vector<NamedExtent> raxes = kernel_axes(taps);
  raxes.insert(raxes.begin(), {"k", reads});

  auto body = [&](AxisVars a, AxisVars r) {
    Index group = groups == 1 ? Index(Aff(0)) : quotient(a[1], per_group, 0, reads);
    Index channel = group + Index(r[0]);
    Index within = groups == 1 ? Index(a[1]) : quotient(a[1], 1, per_group);
    std::vector<Index> from{Index(a[0]), channel}, weight{channel, within};
    Expr valid;
    for (size_t i = 0; i < window.rank(); ++i) {
      Tap tap = tap_of(window, i, a[2 + i], r[1 + i]);
      from.push_back(tap.from);
      weight.push_back(tap.weight);
      if (tap.valid) valid = valid ? binary(BinaryOp::And, valid, tap.valid) : tap.valid;
    }
    Expr product = c.builder.at(c.inputs[0], from, zero(t)) *
                   c.builder.at(c.inputs[1], weight, ragged ? zero(t) : Expr());
    return valid ? select(valid, product, zero(t)) : product;
  };
  return {with_bias(c, c.builder.reduce(c.builder.unique(c.prefix + ".acc"), t,
                                        named_axes(c.outputs[0].shape), raxes, Combine::Sum, body))};
}

int64_t conv_transpose_macs(const InferContext& c, std::span<const TensorType>) {
  const Shape& w = c.inputs[1].shape;
  int64_t per_element = 1;
  for (size_t i = 1; i < w.size(); ++i) per_element = checked_mul(per_element, w[i]);
  return checked_mul(element_count(c.inputs[0].shape), per_element);
}

// ---- conv_integer: the operands less their zero points, in i32

std::vector<TensorType> infer_conv_integer(const InferContext& c) {
  auto byte = [](DType t) { return t == DType::U8 || t == DType::I8; };
  require(byte(c.inputs[0].dtype) && byte(c.inputs[1].dtype),
          "the operands must be u8 or i8, but they are {} and {}", name_of(c.inputs[0].dtype),
          name_of(c.inputs[1].dtype));
  for (size_t i = 2; i < 4; ++i) {
    if (!c.has(i)) continue;
    int64_t count = element_count(c.inputs[i].shape);
    require(count == 1 || (i == 3 && c.inputs[3].shape == Shape{c.inputs[1].shape[0]}),
            "a zero point has the shape {}", shape_text(c.inputs[i].shape));
  }
  std::vector<TensorType> two(c.inputs.begin(), c.inputs.begin() + 2);
  two[0].dtype = two[1].dtype = DType::I32;
  return infer_conv({two, c.constants.subspan(0, 2), c.present.subspan(0, 2), c.attrs});
}

std::vector<StageId> compute_conv_integer(ComputeContext& c) {
  auto widened = [&](size_t i, size_t zero_input) {
    TensorType t{DType::I32, c.types[i].shape, {}};
    return map(c, t, fmt::format(".wide{}", i), [&](AxisVars a) {
      Expr v = cast(DType::I32, c.builder.at(c.inputs[i], indices_of(a)));
      if (!c.has(zero_input)) return v;
      std::vector<Index> at;
      if (!c.types[zero_input].shape.empty()) {
        at.push_back(c.types[zero_input].shape[0] == 1 ? Index(Aff(0)) : Index(a[0]));
      }
      return v - cast(DType::I32, c.builder.at(c.inputs[zero_input], at));
    });
  };
  std::vector<StageId> stages{widened(0, 2), widened(1, 3)};
  std::vector<TensorType> types(c.types.begin(), c.types.begin() + 2);
  types[0].dtype = types[1].dtype = DType::I32;
  ComputeContext wide{c.builder, stages, types, c.constants, c.outputs, c.attrs, c.prefix};
  return compute_conv(wide);
}

}  // namespace

std::span<const OpDef> conv_ops() {
  static const OpDef table[] = {
      {.name = "conv",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = conv_attrs,
       .fusion = Fusion::Anchor,
       .layout = LayoutRule::ChannelsLast,
       .infer = infer_conv,
       .compute = compute_conv,
       .macs = conv_macs,
       .alternatives = conv_alternatives},
      {.name = "conv_transpose",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = transpose_attrs,
       .fusion = Fusion::Anchor,
       .layout = LayoutRule::ChannelsLast,
       .infer = infer_conv_transpose,
       .compute = compute_conv_transpose,
       .macs = conv_transpose_macs},
      {.name = "conv_integer",
       .min_inputs = 2,
       .max_inputs = 4,
       .attrs = conv_attrs,
       .fusion = Fusion::Anchor,
       .layout = LayoutRule::ChannelsLast,
       .infer = infer_conv_integer,
       .compute = compute_conv_integer,
       .macs = conv_macs},
  };
  return table;
}

}  // namespace burnish::ops
