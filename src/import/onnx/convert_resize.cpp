// Sampling at other positions.
#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

// ONNX writes an absent input in the middle also as a constant without elements.
ValueId unless_empty(NodeContext& n, size_t i) {
  return n.has(i) && element_count(n.shape(i)) > 0 ? n.in(i) : no_value;
}

void require_constant(NodeContext& n, ValueId v, std::string_view what) {
  if (v != no_value && !n.constant_value(v))
    n.gap("its {} are computed at run time, but have to be constants", what);
}

ValueId resized(NodeContext& n, ValueId roi, ValueId scales, ValueId sizes, Attrs a) {
  require_constant(n, scales, "scales");
  require_constant(n, sizes, "sizes");
  require(scales != no_value || sizes != no_value, "it has neither scales nor sizes");
  std::vector<ValueId> in{n.in(0), roi, scales, sizes};
  while (in.back() == no_value) in.pop_back();
  return n.add("resize", in, std::move(a));
}

// Upsample, and Resize of opset 10: scales alone, positions x / scale.
std::vector<ValueId> upsample(NodeContext& n) {
  const std::string mode = n.attr_s("mode", "nearest");
  ValueId scales = no_value;
  if (n.op_type() == "Upsample" && n.opset() < 9) {
    const std::vector<double> values = n.attr_floats("scales");
    auto t = std::make_shared<Tensor>(DType::F32, Shape{static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i) t->data<float>()[i] = static_cast<float>(values[i]);
    scales = n.constant_of(std::move(t));
  } else {
    scales = n.in(1);
  }
  return {resized(n, no_value, scales, no_value,
                  attrs({{"mode", text(mode)},
                         {"coordinate_mode", text("asymmetric")},
                         {"nearest_mode", text("floor")}}))};
}

std::vector<ValueId> resize(NodeContext& n) {
  if (n.opset() < 11) return upsample(n);
  Attrs a =
      attrs({{"mode", text(n.attr_s("mode", "nearest"))},
             {"coordinate_mode", text(n.attr_s("coordinate_transformation_mode", "half_pixel"))},
             {"nearest_mode", text(n.attr_s("nearest_mode", "round_prefer_floor"))},
             {"cubic_coeff_a", real(n.attr_f("cubic_coeff_a", -0.75))},
             {"exclude_outside", integer(n.attr_i("exclude_outside", 0))},
             {"extrapolation_value", real(n.attr_f("extrapolation_value", 0))},
             {"antialias", integer(n.attr_i("antialias", 0))},
             {"keep_aspect_ratio_policy", text(n.attr_s("keep_aspect_ratio_policy", "stretch"))}});
  if (n.has_attr("axes")) a.set("axes", n.attr_ints("axes"));
  // The region matters for one mode only; many files carry one that means nothing.
  const bool crops = a.s("coordinate_mode") == "tf_crop_and_resize";
  const ValueId roi = crops ? unless_empty(n, 1) : no_value;
  require_constant(n, roi, "region");
  return {resized(n, roi, unless_empty(n, 2), unless_empty(n, 3), std::move(a))};
}

std::vector<ValueId> grid_sample(NodeContext& n) {
  std::string mode = n.attr_s("mode", n.opset() >= 20 ? "linear" : "bilinear");
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  return {n.add("grid_sample", {n.in(0), n.in(1)},
                attrs({{"mode", text(mode)},
                       {"padding_mode", text(n.attr_s("padding_mode", "zeros"))},
                       {"align_corners", integer(n.attr_i("align_corners", 0))}}))};
}

// Positions of `size` cells along an axis in -1..1.
double grid_position(int64_t i, int64_t size, bool align_corners) {
  const auto n = static_cast<double>(size), at = static_cast<double>(i);
  if (align_corners) return size == 1 ? -1 : -1 + 2 * at / (n - 1);
  return -1 + (2 * at + 1) / n;
}

// theta [N, d, d+1] applied to the homogeneous coordinates of every cell, innermost coordinate
// first.
std::vector<ValueId> affine_grid(NodeContext& n) {
  const std::vector<int64_t> size = n.int_list(1);
  require(size.size() == 4 || size.size() == 5, "its size has {} entries, but 4 or 5 are needed",
          size.size());
  const Shape spatial(size.begin() + 2, size.end());
  const bool align = n.attr_i("align_corners", 0) != 0;
  const int64_t cells = element_count(spatial), d = static_cast<int64_t>(spatial.size());
  require(cells <= (int64_t{1} << 26), "a grid of {} is too large", shape_text(spatial));
  auto t = std::make_shared<Tensor>(n.dtype(0), Shape{d + 1, cells});
  for (int64_t c = 0; c < cells; ++c) {
    int64_t rest = c;
    for (int64_t k = 0; k < d; ++k) {  // row 0: x, the innermost axis
      const int64_t extent = spatial[static_cast<size_t>(d - 1 - k)];
      t->set(k * cells + c,
             Scalar{.dtype = t->dtype, .f = grid_position(rest % extent, extent, align)});
      rest /= extent;
    }
    t->set(d * cells + c, Scalar{.dtype = t->dtype, .f = 1});
  }
  const ValueId moved = n.add("matmul", {n.in(0), n.constant_of(std::move(t))});  // N, d, cells
  Shape shape{size[0]};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  shape.push_back(d);
  return {n.reshape(n.transpose(moved, {0, 2, 1}), shape)};
}

constexpr OnnxOp table[] = {
    {"Resize", resize},
    {"Upsample", upsample},
    {"GridSample", grid_sample},
    {"AffineGrid", affine_grid},
};

}  // namespace

std::span<const OnnxOp> resize_conversions() { return table; }

}  // namespace burnish::onnx
