#include "ops/common.h"

#include <algorithm>
#include <limits>

namespace burnish::ops {

std::string spatial_name(size_t i, size_t n, std::string_view prefix) {
  static constexpr std::string_view names[] = {"x", "y", "z"};
  size_t from_end = n - 1 - i;
  if (from_end < 3) return std::string(prefix) + std::string(names[from_end]);
  return fmt::format("{}d{}", prefix, from_end);
}

std::vector<NamedExtent> named_axes(const Shape& shape) {
  std::vector<NamedExtent> axes;
  size_t rank = shape.size();
  for (size_t i = 0; i < rank; ++i) {
    std::string name;
    if (rank > 5) name = fmt::format("a{}", i);
    else if (rank == 1) name = "c";
    else if (i < 2) name = i == 0 ? "n" : "c";
    else name = spatial_name(i - 2, rank - 2);
    axes.push_back({std::move(name), shape[i]});
  }
  return axes;
}

Index quotient(Aff a, int64_t div, int64_t mod, int64_t scale) {
  if (div == 1 && mod == 0) return Index(a * scale);
  Index i;
  i.atoms.push_back({.a = std::move(a), .value = {}, .div = div, .mod = mod, .scale = scale});
  return i;
}

Index position(Expr value, int64_t extent) {
  Index i;
  i.atoms.push_back({.a = {}, .value = std::move(value), .div = 1, .mod = extent, .scale = 1});
  return i;
}

Index operator+(Index a, const Index& b) {
  a.a += b.a;
  a.atoms.insert(a.atoms.end(), b.atoms.begin(), b.atoms.end());
  return a;
}

StageId map(ComputeContext& c, const TensorType& t, const std::string& suffix,
            const std::function<Expr(AxisVars)>& body) {
  return c.builder.compute(c.builder.unique(c.prefix + suffix), t.dtype, named_axes(t.shape), body);
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    size_t from_end = out.size() - i;
    int64_t x = from_end <= a.size() ? a[a.size() - from_end] : 1;
    int64_t y = from_end <= b.size() ? b[b.size() - from_end] : 1;
    require(x == y || x == 1 || y == 1, "the shapes {} and {} do not broadcast", shape_text(a),
            shape_text(b));
    out[i] = x == 1 ? y : x;
  }
  return out;
}

std::vector<Index> broadcast_indices(const Shape& in, AxisVars out) {
  check(in.size() <= out.size(), "{} axes broadcast to {}", in.size(), out.size());
  std::vector<Index> i;
  size_t skip = out.size() - in.size();
  for (size_t d = 0; d < in.size(); ++d) {
    i.push_back(in[d] == 1 ? Index(Aff(0)) : Index(out[skip + d]));
  }
  return i;
}

int64_t normal_axis(int64_t axis, size_t rank) {
  int64_t r = static_cast<int64_t>(rank);
  require(axis >= -r && axis < r, "axis {} is out of range for a tensor of rank {}", axis, r);
  return axis < 0 ? axis + r : axis;
}

std::vector<int64_t> normal_axes(const std::vector<int64_t>& axes, size_t rank) {
  std::vector<int64_t> out;
  for (int64_t a : axes) out.push_back(normal_axis(a, rank));
  std::sort(out.begin(), out.end());
  require(std::adjacent_find(out.begin(), out.end()) == out.end(), "an axis is named twice");
  return out;
}

std::vector<int64_t> constant_ints(std::span<const TensorPtr> constants, size_t input,
                                   std::string_view name) {
  if (input >= constants.size() || !constants[input]) {
    fail_unsupported(
        "input '{}' decides a shape but is not a constant; give the model fixed input shapes",
        name);
  }
  const Tensor& t = *constants[input];
  require(is_int(t.dtype), "input '{}' must be integers, but it is {}", name, name_of(t.dtype));
  require(t.size() <= 1 << 20, "input '{}' has {} elements, too many for a shape argument", name,
          t.size());
  std::vector<int64_t> out;
  for (int64_t i = 0; i < t.size(); ++i) out.push_back(t.get(i).i);
  return out;
}

std::vector<double> constant_floats(std::span<const TensorPtr> constants, size_t input,
                                    std::string_view name) {
  if (input >= constants.size() || !constants[input]) {
    fail_unsupported(
        "input '{}' decides a shape but is not a constant; give the model fixed input shapes",
        name);
  }
  const Tensor& t = *constants[input];
  require(t.size() <= 1 << 20, "input '{}' has {} elements, too many for a shape argument", name,
          t.size());
  std::vector<double> out;
  for (int64_t i = 0; i < t.size(); ++i) {
    Scalar s = t.get(i);
    out.push_back(is_float(t.dtype) ? s.f : static_cast<double>(s.i));
  }
  return out;
}

void require_rank(const TensorType& t, size_t lowest, size_t highest, std::string_view what) {
  require(t.shape.size() >= lowest && t.shape.size() <= highest,
          "{} has rank {}; supported are {} to {}", what, t.shape.size(), lowest, highest);
}

void require_float(const TensorType& t, std::string_view what) {
  require(is_float(t.dtype), "{} must be floats, but it is {}", what, name_of(t.dtype));
}

void require_same_dtype(const TensorType& a, const TensorType& b) {
  require(a.dtype == b.dtype, "the operands are {} and {}; insert a cast", name_of(a.dtype),
          name_of(b.dtype));
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t r = 0;
  require(!__builtin_mul_overflow(a, b, &r), "{} times {} overflows 64 bits", a, b);
  return r;
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t r = 0;
  require(!__builtin_add_overflow(a, b, &r), "{} plus {} overflows 64 bits", a, b);
  return r;
}

Expr lowest_of(DType t) { return neutral(Combine::Max, t); }
Expr highest_of(DType t) { return neutral(Combine::Min, t); }

Expr cubic_near(const Expr& t, double a) {  // (a+2)t^3 - (a+3)t^2 + 1
  DType d = t.dtype();
  return (constant(a + 2, d) * t - constant(a + 3, d)) * t * t + constant(1, d);
}
Expr cubic_far(const Expr& t, double a) {  // a t^3 - 5a t^2 + 8a t - 4a
  DType d = t.dtype();
  return ((constant(a, d) * t - constant(5 * a, d)) * t + constant(8 * a, d)) * t -
         constant(4 * a, d);
}

namespace {

// "same": as many windows as strides fit the input; the odd pad goes to the end (upper) or the beginning (lower).
void apply_auto_pad(Window& w, const std::string& mode, const Shape& spatial) {
  if (mode == "explicit") return;
  bool upper = mode == "same_upper";
  require(upper || mode == "same_lower" || mode == "valid",
          "attribute 'auto_pad' is \"{}\"; it may be explicit, valid, same_upper or same_lower",
          mode);
  for (size_t i = 0; i < w.rank(); ++i) {
    w.begins[i] = w.ends[i] = 0;
    if (mode == "valid") continue;
    int64_t windows = ceil_div(spatial[i], w.strides[i]);
    int64_t covered = checked_add(checked_mul(windows - 1, w.strides[i]), w.reach(i));
    int64_t total = std::max<int64_t>(covered - spatial[i], 0);
    w.begins[i] = upper ? total / 2 : total - total / 2;
    w.ends[i] = total - w.begins[i];
  }
}

}  // namespace

Window window_of(const Attrs& attrs, std::vector<int64_t> kernel, const Shape& spatial) {
  size_t n = kernel.size();
  Window w;
  w.kernel = std::move(kernel);
  w.strides = attrs.ints("strides", std::vector<int64_t>(n, 1));
  w.dilations = attrs.ints("dilations", std::vector<int64_t>(n, 1));
  std::vector<int64_t> pads = attrs.ints("pads", std::vector<int64_t>(2 * n, 0));
  require(w.strides.size() == n, "attribute 'strides' has {} values for {} spatial axes",
          w.strides.size(), n);
  require(w.dilations.size() == n, "attribute 'dilations' has {} values for {} spatial axes",
          w.dilations.size(), n);
  require(pads.size() == 2 * n, "attribute 'pads' has {} values for {} spatial axes", pads.size(),
          n);
  constexpr int64_t limit = 1 << 30;
  for (size_t i = 0; i < n; ++i) {
    require(w.kernel[i] > 0 && w.kernel[i] < limit, "the kernel has the extent {}", w.kernel[i]);
    require(w.strides[i] > 0 && w.strides[i] < limit, "a stride is {}", w.strides[i]);
    require(w.dilations[i] > 0 && w.dilations[i] < limit, "a dilation is {}", w.dilations[i]);
  }
  for (int64_t p : pads) require(p > -limit && p < limit, "a pad is {}", p);
  w.begins.assign(pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(n));
  w.ends.assign(pads.begin() + static_cast<std::ptrdiff_t>(n), pads.end());
  apply_auto_pad(w, attrs.s("auto_pad", "explicit"), spatial);
  return w;
}

Shape window_extents(const Window& w, const Shape& spatial, bool ceil_mode) {
  check(spatial.size() == w.rank(), "{} spatial axes, window of {}", spatial.size(), w.rank());
  Shape out;
  for (size_t i = 0; i < spatial.size(); ++i) {
    int64_t room = checked_add(spatial[i], w.begins[i] + w.ends[i]) - w.reach(i);
    require(room >= 0, "a window of {} (dilation {}) does not fit {} elements padded by {} and {}",
            w.kernel[i], w.dilations[i], spatial[i], w.begins[i], w.ends[i]);
    int64_t count = (ceil_mode ? ceil_div(room, w.strides[i]) : room / w.strides[i]) + 1;
    if (ceil_mode && (count - 1) * w.strides[i] >= spatial[i] + w.begins[i]) --count;
    out.push_back(count);
  }
  return out;
}

}  // namespace burnish::ops
