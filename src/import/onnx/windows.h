// Windows of convolution and pooling: ONNX's attributes, auto_pad resolved, as Burnish's.
#pragma once

#include <vector>

#include "import/onnx/node_context.h"

namespace burnish::onnx {

struct Windows {
  std::vector<int64_t> kernel, strides, dilations, pads;  // pads: all begins, then all ends
};

// Reads kernel_shape, strides, dilations, pads and auto_pad for an operator over the spatial axes
// of input 0. `kernel`: the extents of the weights; for pooling empty, and kernel_shape is
// required.
Windows read_windows(NodeContext& n, std::vector<int64_t> kernel);

// Attributes strides, dilations and pads, and kernel when asked for.
Attrs window_attrs(const Windows& w, bool with_kernel);

// Sizes of the axes behind batch and channel.
std::vector<int64_t> spatial(const Shape& shape);

}  // namespace burnish::onnx
