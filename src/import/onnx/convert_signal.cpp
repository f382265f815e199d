// Signals: windows, which are constants, and Fourier transforms as products with a constant matrix.
#include <cmath>
#include <numbers>

#include "import/onnx/node_context.h"
#include "import/onnx/tensor.h"

namespace burnish::onnx {

namespace {

constexpr int64_t max_window = 1 << 24;
// A transform by matrix takes the square of its length; longer ones need another algorithm.
constexpr int64_t max_dft = 4096;

// sum over k of coefficients[k] * cos(2 pi k i / period)
std::vector<ValueId> window(NodeContext& n, double c0, double c1, double c2) {
  const std::vector<int64_t> size = n.int_list(0);
  require(size.size() == 1 && size[0] >= 0 && size[0] <= max_window, "its size is out of range");
  const auto onnx_type = static_cast<int32_t>(n.attr_i("output_datatype", 1));
  const auto dtype = dtype_of(onnx_type);
  if (!dtype || !is_float(*dtype))
    n.gap("a window of {} is not supported", onnx_type_name(onnx_type));
  const double period = static_cast<double>(size[0]) - (n.attr_i("periodic", 1) != 0 ? 0 : 1);
  auto t = std::make_shared<Tensor>(*dtype, Shape{size[0]});
  for (int64_t i = 0; i < size[0]; ++i) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / period;
    const double value = c0 + c1 * std::cos(angle) + c2 * std::cos(2 * angle);
    t->set(i, evaluate_cast(*dtype, Scalar{.dtype = DType::F64, .f = value}));
  }
  return {n.constant_of(std::move(t))};
}

std::vector<ValueId> hann(NodeContext& n) { return window(n, 0.5, -0.5, 0); }
std::vector<ValueId> hamming(NodeContext& n) { return window(n, 25.0 / 46, -21.0 / 46, 0); }
std::vector<ValueId> blackman(NodeContext& n) { return window(n, 0.42, -0.5, 0.08); }

// [parts * length, 2 * bins]: rows are real (and imaginary) samples, columns the real and the
// imaginary bins.
ValueId dft_matrix(NodeContext& n, int64_t parts, int64_t length, int64_t bins, bool inverse,
                   DType dtype) {
  auto t = std::make_shared<Tensor>(dtype, Shape{parts * length, 2 * bins});
  const double sign = inverse ? 1 : -1, scale = inverse ? 1 / static_cast<double>(length) : 1;
  const auto put = [&](int64_t row, int64_t column, double v) {
    t->set(row * 2 * bins + column, Scalar{.dtype = dtype, .f = v * scale});
  };
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t k = 0; k < bins; ++k) {
      const double angle =
          2 * std::numbers::pi * static_cast<double>(i * k % length) / static_cast<double>(length);
      const double re = std::cos(angle), im = sign * std::sin(angle);
      put(i, k, re);
      put(i, bins + k, im);
      if (parts == 1) continue;
      put(length + i, k, -im);
      put(length + i, bins + k, re);
    }
  }
  return n.constant_of(std::move(t));
}

// x: [..., length, ..., 1 or 2]; the last axis holds real and imaginary parts.
std::vector<ValueId> dft(NodeContext& n) {
  const bool inverse = n.attr_i("inverse", 0) != 0, onesided = n.attr_i("onesided", 0) != 0;
  if (inverse && onesided) n.gap("an inverse one-sided transform is not supported");
  const int64_t rank = n.rank(0);
  require(rank >= 2, "its input has rank {}, but at least 2 is needed", rank);
  int64_t axis = n.opset() >= 20 ? -2 : 1;
  if (n.has_attr("axis")) axis = n.attr_i("axis");
  if (n.has(2)) {
    const auto list = n.int_list(2);
    require(list.size() == 1, "the axis has to be one number");
    axis = list[0];
  }
  axis = normal_axis(axis, rank);
  require(axis < rank - 1, "its axis is that of the real and imaginary parts");
  const Shape s = n.shape(0);
  const int64_t parts = s.back();
  require(parts == 1 || parts == 2, "its last axis has {} elements, but 1 or 2 are needed", parts);
  int64_t length = s[static_cast<size_t>(axis)];
  ValueId x = n.in(0);
  if (n.has(1)) {
    const auto list = n.int_list(1);
    require(list.size() == 1 && list[0] > 0, "its length has to be one positive number");
    if (list[0] < length) x = n.slice(x, axis, 0, list[0]);
    if (list[0] > length) {
      std::vector<int64_t> pads(static_cast<size_t>(2 * rank), 0);
      pads[static_cast<size_t>(rank + axis)] = list[0] - length;
      x = n.add("pad", {x, n.int_vector(pads), n.scalar_like(0, x)},
                attrs({{"mode", text("constant")}}));
    }
    length = list[0];
  }
  if (length > max_dft || length == 0)
    n.gap("a transform of {} elements is not supported, but 1 to {}", length, max_dft);
  const int64_t bins = onesided ? length / 2 + 1 : length;

  // others..., parts, length -> product -> others..., 2, bins -> back
  std::vector<int64_t> perm;
  Shape others;
  for (int64_t i = 0; i < rank - 1; ++i) {
    if (i == axis) continue;
    perm.push_back(i);
    others.push_back(s[static_cast<size_t>(i)]);
  }
  perm.insert(perm.end(), {rank - 1, axis});
  Shape flat = others, wide = others;
  flat.push_back(parts * length);
  wide.insert(wide.end(), {2, bins});
  const ValueId rows = n.reshape(n.transpose(x, perm), flat);
  const ValueId product =
      n.add("matmul", {rows, dft_matrix(n, parts, length, bins, inverse, n.dtype(0))});
  std::vector<int64_t> back(static_cast<size_t>(rank));
  for (size_t i = 0; i < perm.size(); ++i)
    back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return {n.transpose(n.reshape(product, wide), back)};
}

constexpr OnnxOp table[] = {
    {"HannWindow", hann},
    {"HammingWindow", hamming},
    {"BlackmanWindow", blackman},
    {"DFT", dft},
};

}  // namespace

std::span<const OnnxOp> signal_conversions() { return table; }

}  // namespace burnish::onnx
