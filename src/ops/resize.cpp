// Resize: sampling at evenly spaced coordinates, separably along every axis whose extent changes.
//
// A coordinate of the input is a rational function of the output position, x = (a*i + b) / d, for every coordinate
// mode: scales that were written as floats become the fraction they stand for. So floor(x) is an index with a division
// and the interpolation weight is ((a*i + b) mod d) / d: no rounding decides which element is read.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec resize_attrs[] = {
    {"mode", AttrType::String},           {"coordinate_mode", AttrType::String},
    {"nearest_mode", AttrType::String},   {"cubic_coeff_a", AttrType::Float},
    {"exclude_outside", AttrType::Int},   {"extrapolation_value", AttrType::Float},
    {"antialias", AttrType::Int},         {"axes", AttrType::Ints},
    {"keep_aspect_ratio_policy", AttrType::String}};

enum class Mode { Nearest, Linear, Cubic };
enum class Coordinates {
  HalfPixel, Asymmetric, AlignCorners, PytorchHalfPixel, TfHalfPixelForNn, HalfPixelSymmetric,
  CropAndResize,
};

template <class E, size_t n>
E chosen(const Attrs& attrs, std::string_view name, std::string_view otherwise,
         const std::pair<std::string_view, E> (&choices)[n]) {
  std::string value = attrs.s(name, std::string(otherwise));
  for (const auto& [text, e] : choices) {
    if (text == value) return e;
  }
  fail_user("attribute '{}' is \"{}\", which is not one of its values", name, value);
}
Mode mode_of(const Attrs& attrs) {
  static constexpr std::pair<std::string_view, Mode> choices[] = {
      {"nearest", Mode::Nearest}, {"linear", Mode::Linear}, {"cubic", Mode::Cubic}};
  return chosen(attrs, "mode", "nearest", choices);
}
Coordinates coordinates_of(const Attrs& attrs) {
  static constexpr std::pair<std::string_view, Coordinates> choices[] = {
      {"half_pixel", Coordinates::HalfPixel},
      {"asymmetric", Coordinates::Asymmetric},
      {"align_corners", Coordinates::AlignCorners},
      {"pytorch_half_pixel", Coordinates::PytorchHalfPixel},
      {"tf_half_pixel_for_nn", Coordinates::TfHalfPixelForNn},
      {"half_pixel_symmetric", Coordinates::HalfPixelSymmetric},
      {"tf_crop_and_resize", Coordinates::CropAndResize}};
  return chosen(attrs, "coordinate_mode", "half_pixel", choices);
}
enum class Rounding { PreferFloor, PreferCeil, Floor, Ceil };
Rounding rounding_of(const Attrs& attrs) {
  static constexpr std::pair<std::string_view, Rounding> choices[] = {
      {"round_prefer_floor", Rounding::PreferFloor},
      {"round_prefer_ceil", Rounding::PreferCeil},
      {"floor", Rounding::Floor},
      {"ceil", Rounding::Ceil}};
  return chosen(attrs, "nearest_mode", "round_prefer_floor", choices);
}

// ---- fractions

struct Fraction {
  int64_t p, q;
};

// The simplest fraction within float precision of v > 0 or v == 0 (continued fractions).
Fraction fraction_of(double v) {
  if (v < 0) {
    Fraction f = fraction_of(-v);
    return {-f.p, f.q};
  }
  int64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  double rest = v;
  for (int i = 0; i < 24; ++i) {
    double whole = std::floor(rest);
    int64_t w = static_cast<int64_t>(whole);
    int64_t p = w * p1 + p0, q = w * q1 + q0;
    if (q > 1 << 20) break;
    p0 = p1, q0 = q1, p1 = p, q1 = q;
    if (std::fabs(static_cast<double>(p) / static_cast<double>(q) - v) <= 2e-9 * v) break;
    rest = 1 / (rest - whole);
    if (!(rest < 1e9)) break;
  }
  return {p1, q1};
}

// (a*i + b) / d
struct Line {
  int64_t a, b, d;
  double at(int64_t i) const {
    return static_cast<double>(a * i + b) / static_cast<double>(d);
  }
};

Line reduced(Line l) {
  int64_t g = std::gcd(std::gcd(l.a, l.b), l.d);
  return g > 1 ? Line{l.a / g, l.b / g, l.d / g} : l;
}

Index floor_of(Line l, const Aff& i) {  // floor((a*i + b) / d)
  int64_t g = std::gcd(l.a, l.d);
  if (g > 1) l = {l.a / g, floor_div(l.b, g), l.d / g};
  return quotient(i * l.a + Aff(l.b), l.d);
}

// ---- axes

struct Axis1 {
  int64_t in, out;
  double scale = 1;
  double roi_start = 0, roi_end = 1;
};

Line line_of(const Axis1& x, Coordinates mode) {
  Fraction s = std::fabs(x.scale * static_cast<double>(x.in) - static_cast<double>(x.out)) < 1e-6
                   ? Fraction{x.out, x.in}
                   : fraction_of(x.scale);
  int64_t p = s.p, q = s.q;
  switch (mode) {
    case Coordinates::HalfPixel: return reduced({2 * q, q - p, 2 * p});
    case Coordinates::PytorchHalfPixel:
      return x.out > 1 ? reduced({2 * q, q - p, 2 * p}) : Line{0, 0, 1};
    case Coordinates::Asymmetric: return reduced({q, 0, p});
    case Coordinates::AlignCorners:
      // by the extent before rounding down: (in - 1) / (in * scale - 1)
      return x.out > 1 ? reduced({checked_mul(x.in - 1, q), 0, checked_mul(x.in, p) - q})
                       : Line{0, 0, 1};
    case Coordinates::TfHalfPixelForNn: return reduced({2 * q, q, 2 * p});
    case Coordinates::HalfPixelSymmetric:
      return reduced({2 * q, checked_mul(x.in, p) - checked_mul(x.out, q) + q - p, 2 * p});
    case Coordinates::CropAndResize: {
      Fraction start = fraction_of(x.roi_start), end = fraction_of(x.roi_end);
      int64_t q2 = start.q * end.q, first = start.p * end.q, last = end.p * start.q;
      if (x.out == 1) return reduced({0, (first + last) * (x.in - 1), 2 * q2});
      return reduced({checked_mul(last - first, x.in - 1),
                      checked_mul(checked_mul(first, x.in - 1), x.out - 1),
                      checked_mul(q2, x.out - 1)});
    }
  }
  return {1, 0, 1};
}

std::vector<Axis1> axes_of(const Shape& x, std::span<const TensorPtr> constants,
                           std::span<const bool> present, const Attrs& attrs) {
  auto has = [&](size_t i) { return i < present.size() && present[i]; };
  std::vector<int64_t> axes = attrs.ints("axes");
  if (!attrs.has("axes")) {
    for (size_t i = 0; i < x.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  }
  normal_axes(axes, x.size());
  for (int64_t& a : axes) a = normal_axis(a, x.size());
  require(has(2) != has(3), "resize needs either scales or sizes");
  std::vector<Axis1> out;
  for (int64_t d : x) out.push_back({d, d});
  std::string policy = attrs.s("keep_aspect_ratio_policy", "stretch");
  require(policy == "stretch" || policy == "not_larger" || policy == "not_smaller",
          "attribute 'keep_aspect_ratio_policy' is \"{}\"", policy);
  std::vector<double> given = constant_floats(constants, has(2) ? 2 : 3, has(2) ? "scales" : "sizes");
  require(given.size() == axes.size(), "resize has {} {} for {} axes", given.size(),
          has(2) ? "scales" : "sizes", axes.size());
  double common = policy == "not_larger" ? std::numeric_limits<double>::infinity() : 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    Axis1& a = out[static_cast<size_t>(axes[i])];
    require(std::isfinite(given[i]) && given[i] > 0 && given[i] < 1e9, "resize by {}", given[i]);
    require(a.in > 0, "resize of an empty axis");
    double extent = has(2) ? std::floor(static_cast<double>(a.in) * given[i] + 1e-7) : given[i];
    require(extent >= 1 && extent < static_cast<double>(max_extent),
            "resize of {} elements to {}", a.in, extent);
    a.out = static_cast<int64_t>(extent);
    a.scale = has(2) ? given[i] : extent / static_cast<double>(a.in);
    common = policy == "not_larger" ? std::min(common, a.scale) : std::max(common, a.scale);
  }
  if (policy != "stretch" && has(3)) {
    for (int64_t axis : axes) {
      Axis1& a = out[static_cast<size_t>(axis)];
      a.scale = common;
      a.out = static_cast<int64_t>(std::floor(common * static_cast<double>(a.in) + 0.5));
    }
  }
  if (coordinates_of(attrs) == Coordinates::CropAndResize) {
    require(has(1), "resize with tf_crop_and_resize needs its regions (roi)");
    std::vector<double> roi = constant_floats(constants, 1, "roi");
    require(roi.size() == 2 * axes.size(), "resize has {} values of roi for {} axes", roi.size(),
            axes.size());
    for (size_t i = 0; i < axes.size(); ++i) {
      Axis1& a = out[static_cast<size_t>(axes[i])];
      a.roi_start = roi[i];
      a.roi_end = roi[i + axes.size()];
      require(std::fabs(a.roi_start) < 1e6 && std::fabs(a.roi_end) < 1e6, "a region of resize is {}..{}",
              a.roi_start, a.roi_end);
    }
  }
  return out;
}

std::vector<TensorType> infer_resize(const InferContext& c) {
  Mode mode = mode_of(c.attrs);
  rounding_of(c.attrs);
  std::vector<Axis1> axes = axes_of(c.inputs[0].shape, c.constants, c.present, c.attrs);
  Shape out;
  for (const Axis1& a : axes) {
    out.push_back(a.out);
    line_of(a, coordinates_of(c.attrs));
    require(a.scale > 1e-6, "resize of {} elements to {}", a.in, a.out);
  }
  if (mode != Mode::Nearest) require_float(c.inputs[0], "the operand of an interpolating resize");
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

// ---- taps: the input elements along one axis that make an output element, with their weights

struct Tap {
  Index at;
  Expr weight;  // null: 1
};

// A position that may lie outside: the nearest element inside. `lo` and `hi` bound the position.
Index clamped(const Index& at, int64_t lo, int64_t hi, int64_t extent) {
  if (lo >= 0 && hi < extent) return at;
  Expr e = affine(at);
  if (lo < 0) e = max(e, constant_int(0));
  if (hi >= extent) e = min(e, constant_int(extent - 1));
  return position(e, extent);
}

Line nearest_line(const Line& l, Rounding r) {
  switch (r) {
    case Rounding::Floor: return l;
    case Rounding::Ceil: return {l.a, l.b + l.d - 1, l.d};
    case Rounding::PreferCeil: return {2 * l.a, 2 * l.b + l.d, 2 * l.d};
    case Rounding::PreferFloor: return {2 * l.a, 2 * l.b + l.d - 1, 2 * l.d};
  }
  return l;
}

int64_t floor_at(const Line& l, int64_t i) { return floor_div(l.a * i + l.b, l.d); }

std::vector<Tap> taps_of(const Axis1& x, const Line& line, Mode mode, const Attrs& attrs,
                         const Aff& i, DType t) {
  bool whole = line.d == 1;
  if (mode == Mode::Nearest || (whole && line.b >= 0 && line.at(x.out - 1) < static_cast<double>(x.in))) {
    Line l = mode == Mode::Nearest ? nearest_line(line, rounding_of(attrs)) : line;
    return {{clamped(floor_of(l, i), floor_at(l, 0), floor_at(l, x.out - 1), x.in), {}}};
  }
  Index base = floor_of(line, i);
  Expr part = cast(t, affine(quotient(i * line.a + Aff(line.b), 1, line.d)));
  Expr fraction = part * constant(1 / static_cast<double>(line.d), t);
  int64_t lo = floor_at(line, 0), hi = floor_at(line, x.out - 1);
  auto tap = [&](int64_t offset, Expr weight) {
    Index at = base + Index(Aff(offset));
    return Tap{clamped(at, lo + offset, hi + offset, x.in), std::move(weight)};
  };
  Expr rest = constant(1, t) - fraction;
  if (mode == Mode::Linear) return {tap(0, rest), tap(1, fraction)};
  double a = attrs.f("cubic_coeff_a", -0.75);
  std::vector<Tap> taps{tap(-1, cubic_far(fraction + constant(1, t), a)),
                        tap(0, cubic_near(fraction, a)), tap(1, cubic_near(rest, a)),
                        tap(2, cubic_far(rest + constant(1, t), a))};
  if (attrs.i("exclude_outside")) {
    Expr sum;
    for (size_t k = 0; k < 4; ++k) {
      Index at = base + Index(Aff(static_cast<int64_t>(k) - 1));
      Expr v = affine(at);
      Expr inside = binary(BinaryOp::And, binary(BinaryOp::Ge, v, constant_int(0)),
                           binary(BinaryOp::Lt, v, constant_int(x.in)));
      taps[k].weight = select(inside, taps[k].weight, zero(t));
      sum = sum ? sum + taps[k].weight : taps[k].weight;
    }
    for (Tap& k : taps) k.weight = k.weight / sum;
  }
  return taps;
}

Expr interpolate(ComputeContext& c, const std::vector<std::vector<Tap>>& taps, size_t axis,
                 std::vector<Index>& at) {
  if (axis == taps.size()) return c.builder.at(c.inputs[0], at);
  Expr sum;
  for (const Tap& tap : taps[axis]) {
    at.push_back(tap.at);
    Expr e = interpolate(c, taps, axis + 1, at);
    at.pop_back();
    if (tap.weight) e = tap.weight * e;
    sum = sum ? sum + e : e;
  }
  return sum;
}

// ---- antialiasing: where an axis shrinks, the kernel is widened by 1 / scale and its weights add up to one. Axes are
// resampled one after the other, each a reduction over the kernel's footprint.

struct Widened {
  Line line;
  double scale;
  int64_t in, start, taps;  // offsets start … start + taps - 1 from floor(x)
};

Widened widened(const Axis1& x, Coordinates coordinates, Mode mode) {
  Widened w{.line = line_of(x, coordinates), .scale = std::min(x.scale, 1.0), .in = x.in};
  int64_t radius = mode == Mode::Linear ? 1 : 2;
  w.start = static_cast<int64_t>(std::floor(-static_cast<double>(radius) / w.scale)) + 1;
  w.taps = 2 - 2 * w.start;
  return w;
}

Expr kernel_weight(const Widened& w, Mode mode, const Attrs& attrs, const Aff& i, const Aff& tap,
                   DType t) {
  Expr part = cast(t, affine(quotient(i * w.line.a + Aff(w.line.b), 1, w.line.d)));
  Expr offset = cast(t, affine(Index(tap + Aff(w.start))));
  Expr distance = unary(UnaryOp::Abs, offset - part * constant(1 / static_cast<double>(w.line.d), t)) *
                  constant(w.scale, t);
  Expr weight;
  if (mode == Mode::Linear) {
    weight = max(constant(1, t) - distance, constant(0, t));
  } else {
    double a = attrs.f("cubic_coeff_a", -0.75);
    Expr far = select(binary(BinaryOp::Lt, distance, constant(2, t)), cubic_far(distance, a),
                      constant(0, t));
    weight = select(binary(BinaryOp::Le, distance, constant(1, t)), cubic_near(distance, a), far);
  }
  if (!attrs.i("exclude_outside")) return weight;
  Expr at = affine(floor_of(w.line, i) + Index(tap + Aff(w.start)));
  Expr inside = binary(BinaryOp::And, binary(BinaryOp::Ge, at, constant_int(0)),
                       binary(BinaryOp::Lt, at, constant_int(w.in)));
  return select(inside, weight, constant(0, t));
}

std::vector<StageId> compute_antialiased(ComputeContext& c, const std::vector<Axis1>& axes,
                                         Mode mode, Coordinates coordinates) {
  DType t = c.outputs[0].dtype;
  StageId from = c.inputs[0];
  Shape shape = c.types[0].shape;
  for (size_t d = 0; d < axes.size(); ++d) {
    if (axes[d].in == axes[d].out && axes[d].scale == 1) continue;
    Widened w = widened(axes[d], coordinates, mode);
    shape[d] = axes[d].out;
    std::vector<NamedExtent> taps{{"k", w.taps}};
    StageId norm = c.builder.reduce(
        c.builder.unique(c.prefix + ".norm"), t, {{"i", axes[d].out}}, taps, Combine::Sum,
        [&](AxisVars a, AxisVars r) { return kernel_weight(w, mode, c.attrs, a[0], r[0], t); });
    StageId weight = c.builder.compute(
        c.builder.unique(c.prefix + ".weight"), t, {{"i", axes[d].out}, {"k", w.taps}},
        [&](AxisVars a) {
          return kernel_weight(w, mode, c.attrs, a[0], a[1], t) / c.builder.at(norm, {Index(a[0])});
        });
    from = c.builder.reduce(
        c.builder.unique(c.prefix + ".acc"), t, named_axes(shape), taps, Combine::Sum,
        [&](AxisVars a, AxisVars r) {
          std::vector<Index> at = indices_of(a);
          Index place = floor_of(w.line, a[d]) + Index(r[0] + Aff(w.start));
          at[d] = clamped(place, floor_at(w.line, 0) + w.start,
                          floor_at(w.line, axes[d].out - 1) + w.start + w.taps - 1, w.in);
          return c.builder.at(weight, {Index(a[d]), Index(r[0])}) * c.builder.at(from, at);
        });
  }
  return {map(c, c.outputs[0], "",
              [&](AxisVars a) { return c.builder.at(from, indices_of(a)); })};
}

std::vector<StageId> compute_resize(ComputeContext& c) {
  auto present = std::make_unique<bool[]>(c.inputs.size());
  for (size_t i = 0; i < c.inputs.size(); ++i) present[i] = c.has(i);
  std::vector<Axis1> axes =
      axes_of(c.types[0].shape, c.constants, {present.get(), c.inputs.size()}, c.attrs);
  Mode mode = mode_of(c.attrs);
  Coordinates coordinates = coordinates_of(c.attrs);
  DType t = c.outputs[0].dtype;
  bool shrinks = std::any_of(axes.begin(), axes.end(), [](const Axis1& a) { return a.scale < 1; });
  if (c.attrs.i("antialias") && mode != Mode::Nearest && shrinks &&
      coordinates != Coordinates::CropAndResize) {
    return compute_antialiased(c, axes, mode, coordinates);
  }
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<std::vector<Tap>> taps;
    Expr outside;
    for (size_t i = 0; i < axes.size(); ++i) {
      const Axis1& x = axes[i];
      bool still = x.in == x.out && x.scale == 1 && x.roi_start == 0 && x.roi_end == 1;
      if (still) {
        taps.push_back({{Index(a[i]), {}}});
        continue;
      }
      Line line = line_of(x, coordinates);
      taps.push_back(taps_of(x, line, mode, c.attrs, a[i], t));
      if (coordinates == Coordinates::CropAndResize) {
        Expr v = affine(Index(a[i] * line.a + Aff(line.b)));
        Expr out = binary(BinaryOp::Or, binary(BinaryOp::Lt, v, constant_int(0)),
                          binary(BinaryOp::Gt, v, constant_int((x.in - 1) * line.d)));
        outside = outside ? binary(BinaryOp::Or, outside, out) : out;
      }
    }
    std::vector<Index> at;
    Expr e = interpolate(c, taps, 0, at);
    if (!outside) return e;
    return select(outside, constant(c.attrs.f("extrapolation_value"), t), e);
  })};
}

}  // namespace

std::span<const OpDef> resize_ops() {
  static const OpDef table[] = {{.name = "resize",
                                 .min_inputs = 1,
                                 .max_inputs = 4,
                                 .attrs = resize_attrs,
                                 .fusion = Fusion::Injective,
                                 .layout = LayoutRule::Any,
                                 .infer = infer_resize,
                                 .compute = compute_resize}};
  return table;
}

}  // namespace burnish::ops
