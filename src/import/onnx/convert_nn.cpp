// Convolution, pooling, matrix products.
#include <algorithm>

#include "import/onnx/node_context.h"
#include "import/onnx/windows.h"

namespace burnish::onnx {

std::vector<int64_t> spatial(const Shape& shape) {
  require(shape.size() >= 3, "its input of rank {} has no spatial axes", shape.size());
  return {shape.begin() + 2, shape.end()};
}

namespace {

// Sizes near the limit of 64 bits come from hostile files only; below this no sum of a few of them
// overflows.
constexpr int64_t max_window = int64_t{1} << 31;

void require_window(const std::vector<int64_t>& values, size_t count, int64_t lowest,
                    std::string_view what) {
  require(values.size() == count, "'{}' has {} entries, but {} are needed", what, values.size(),
          count);
  for (int64_t v : values) {
    require(v >= lowest && v < max_window, "'{}' holds {}, which is out of range", what, v);
  }
}

}  // namespace

Windows read_windows(NodeContext& n, std::vector<int64_t> kernel) {
  const std::vector<int64_t> size = spatial(n.shape(0));
  const size_t rank = size.size();
  Windows w;
  w.kernel = n.attr_ints("kernel_shape", kernel);
  require(!w.kernel.empty(), "the attribute 'kernel_shape' is missing");
  require(kernel.empty() || w.kernel == kernel,
          "'kernel_shape' ({}) differs from the weights' shape ({})", shape_text(w.kernel),
          shape_text(kernel));
  w.strides = n.attr_ints("strides", std::vector<int64_t>(rank, 1));
  w.dilations = n.attr_ints("dilations", std::vector<int64_t>(rank, 1));
  w.pads = n.attr_ints("pads", std::vector<int64_t>(2 * rank, 0));
  require_window(w.kernel, rank, 1, "kernel_shape");
  require_window(w.strides, rank, 1, "strides");
  require_window(w.dilations, rank, 1, "dilations");
  require_window(w.pads, 2 * rank, 0, "pads");

  const std::string mode = n.attr_s("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode.empty()) return w;
  if (mode == "VALID") {
    w.pads.assign(2 * rank, 0);
    return w;
  }
  require(mode == "SAME_UPPER" || mode == "SAME_LOWER",
          "'auto_pad' is '{}', but NOTSET, VALID, SAME_UPPER or SAME_LOWER is needed", mode);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t out = (size[i] + w.strides[i] - 1) / w.strides[i];
    const int64_t reach = (w.kernel[i] - 1) * w.dilations[i] + 1;
    const int64_t total = std::max<int64_t>(0, (out - 1) * w.strides[i] + reach - size[i]);
    const int64_t less = total / 2, more = total - less;
    w.pads[i] = mode == "SAME_UPPER" ? less : more;
    w.pads[rank + i] = mode == "SAME_UPPER" ? more : less;
  }
  return w;
}

Attrs window_attrs(const Windows& w, bool with_kernel) {
  Attrs a = attrs(
      {{"strides", ints(w.strides)}, {"dilations", ints(w.dilations)}, {"pads", ints(w.pads)}});
  if (with_kernel) a.set("kernel", w.kernel);
  return a;
}

namespace {

std::vector<ValueId> conv(NodeContext& n) {
  const Windows w = read_windows(n, spatial(n.shape(1)));
  Attrs a = window_attrs(w, false);
  a.set("groups", n.attr_i("group", 1));
  std::vector<ValueId> in{n.in(0), n.in(1)};
  if (n.has(2)) in.push_back(n.in(2));
  return {n.add("conv", in, a)};
}

// The padding that makes a transposed convolution's output as large as output_shape, or as SAME
// asks for.
void fit_output(NodeContext& n, Windows& w, std::vector<int64_t>& output_padding,
                const std::string& mode) {
  const std::vector<int64_t> size = spatial(n.shape(0));
  const size_t rank = size.size();
  std::vector<int64_t> wanted = n.attr_ints("output_shape");
  if (wanted.size() == rank + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (wanted.empty() && !same) return;
  if (wanted.empty()) {
    for (size_t i = 0; i < rank; ++i) wanted.push_back(size[i] * w.strides[i]);
  }
  require_window(wanted, rank, 0, "output_shape");
  for (size_t i = 0; i < rank; ++i) {
    const int64_t full =
        w.strides[i] * (size[i] - 1) + output_padding[i] + (w.kernel[i] - 1) * w.dilations[i] + 1;
    const int64_t total = full - wanted[i];
    if (total < 0) {
      output_padding[i] -= total;
      w.pads[i] = w.pads[rank + i] = 0;
      continue;
    }
    const int64_t less = total / 2, more = total - less;
    w.pads[i] = mode == "SAME_UPPER" ? less : more;
    w.pads[rank + i] = mode == "SAME_UPPER" ? more : less;
  }
}

std::vector<ValueId> conv_transpose(NodeContext& n) {
  Windows w = read_windows(n, spatial(n.shape(1)));
  std::vector<int64_t> output_padding =
      n.attr_ints("output_padding", std::vector<int64_t>(w.kernel.size(), 0));
  require_window(output_padding, w.kernel.size(), 0, "output_padding");
  fit_output(n, w, output_padding, n.attr_s("auto_pad", "NOTSET"));
  Attrs a = window_attrs(w, false);
  a.set("output_padding", output_padding);
  a.set("groups", n.attr_i("group", 1));
  std::vector<ValueId> in{n.in(0), n.in(1)};
  if (n.has(2)) in.push_back(n.in(2));
  return {n.add("conv_transpose", in, a)};
}

// A depthwise convolution that looks back only; the samples before the first come from the last
// call.
std::vector<ValueId> causal_conv(NodeContext& n) {
  require(n.rank(0) == 3 && n.rank(1) == 3, "its input and weights need three axes");
  const int64_t batch = n.shape(0)[0], channels = n.shape(0)[1], past = n.shape(1)[2] - 1;
  ValueId x = n.in(0);
  if (past > 0) {
    const ValueId before =
        n.has(3)
            ? n.in(3)
            : n.constant_of(std::make_shared<Tensor>(n.dtype(0), Shape{batch, channels, past}));
    x = n.add("concat", {before, x}, attrs({{"axis", integer(2)}}));
  }
  std::vector<ValueId> in{x, n.in(1)};
  if (n.has(2)) in.push_back(n.in(2));
  ValueId y = n.add("conv", in, attrs({{"groups", integer(channels)}}));
  const std::string activation = n.attr_s("activation", "none");
  if (activation == "silu" || activation == "swish") {
    y = n.add("silu", {y});
  } else if (activation != "none") {
    n.gap("the activation '{}' is not supported", activation);
  }
  const int64_t total = n.type_of(x).shape[2];
  return {y, n.slice(x, 2, total - past, total)};
}

std::vector<ValueId> max_pool(NodeContext& n) {
  Attrs a = window_attrs(read_windows(n, {}), true);
  a.set("ceil_mode", n.attr_i("ceil_mode", 0));
  a.set("storage_order", n.attr_i("storage_order", 0));
  a.set("with_indices", int64_t{n.wants(1)});
  return n.add_many("max_pool", {n.in(0)}, a);
}

std::vector<ValueId> average_pool(NodeContext& n) {
  Attrs a = window_attrs(read_windows(n, {}), true);
  a.set("ceil_mode", n.attr_i("ceil_mode", 0));
  a.set("count_include_pad", n.attr_i("count_include_pad", 0));
  return {n.add("average_pool", {n.in(0)}, a)};
}

std::vector<ValueId> lp_pool(NodeContext& n) {
  Attrs a = window_attrs(read_windows(n, {}), true);
  a.set("ceil_mode", n.attr_i("ceil_mode", 0));
  a.set("p", n.attr_i("p", 2));
  return {n.add("lp_pool", {n.in(0)}, a)};
}

std::vector<ValueId> global_average_pool(NodeContext& n) {
  return {n.add("global_average_pool", {n.in(0)})};
}
std::vector<ValueId> global_max_pool(NodeContext& n) {
  return {n.add("global_max_pool", {n.in(0)})};
}
std::vector<ValueId> global_lp_pool(NodeContext& n) {
  return {n.add("global_lp_pool", {n.in(0)}, attrs({{"p", integer(n.attr_i("p", 2))}}))};
}

std::vector<ValueId> matmul(NodeContext& n) { return {n.add("matmul", {n.in(0), n.in(1)})}; }

std::vector<ValueId> gemm(NodeContext& n) {
  n.ignore({"broadcast"});  // before opset 7; the shapes say the same
  Attrs a = attrs({{"alpha", real(n.attr_f("alpha", 1))},
                   {"beta", real(n.attr_f("beta", 1))},
                   {"trans_a", integer(n.attr_i("transA", 0))},
                   {"trans_b", integer(n.attr_i("transB", 0))}});
  std::vector<ValueId> in{n.in(0), n.in(1)};
  if (n.has(2)) in.push_back(n.in(2));
  return {n.add("gemm", in, a)};
}

std::vector<ValueId> einsum(NodeContext& n) {
  return {n.add("einsum", n.all_inputs(), attrs({{"equation", text(n.attr_s("equation"))}}))};
}

constexpr OnnxOp table[] = {
    {"Conv", conv},
    {"ConvTranspose", conv_transpose},
    {"CausalConvWithState", causal_conv},
    {"MaxPool", max_pool},
    {"AveragePool", average_pool},
    {"LpPool", lp_pool},
    {"GlobalAveragePool", global_average_pool},
    {"GlobalMaxPool", global_max_pool},
    {"GlobalLpPool", global_lp_pool},
    {"MatMul", matmul},
    {"Gemm", gemm},
    {"Einsum", einsum},
};

}  // namespace

std::span<const OnnxOp> nn_conversions() { return table; }

}  // namespace burnish::onnx
