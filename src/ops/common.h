// What the operator families share: axes, shapes, broadcasting, constants as shape arguments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "graph/op.h"

namespace burnish::ops {

// The families, one function a file; each returns its table.
std::span<const OpDef> elementwise_ops();
std::span<const OpDef> conv_ops();
std::span<const OpDef> winograd_ops();
std::span<const OpDef> norm_ops();
std::span<const OpDef> pool_ops();
std::span<const OpDef> matmul_ops();
std::span<const OpDef> reduce_ops();
std::span<const OpDef> softmax_ops();
std::span<const OpDef> attention_ops();
std::span<const OpDef> shape_ops();
std::span<const OpDef> movement_ops();
std::span<const OpDef> gather_ops();
std::span<const OpDef> resize_ops();
std::span<const OpDef> grid_sample_ops();
std::span<const OpDef> quantize_ops();

// Axes with names by rank (README.md).
std::vector<NamedExtent> named_axes(const Shape& shape);
// The name of spatial axis i of n: z y x from the last.
std::string spatial_name(size_t i, size_t n, std::string_view prefix = "");

inline std::vector<Index> indices_of(AxisVars a) { return {a.begin(), a.end()}; }
// scale * ((a / div) mod `mod`)
Index quotient(Aff a, int64_t div, int64_t mod = 0, int64_t scale = 1);
// An integer expression as a position along an axis of `extent`, taken modulo it: negative indices count from the end,
// and whatever the data says, nothing outside is read.
Index position(Expr value, int64_t extent);
Index operator+(Index a, const Index& b);

// A stage `<prefix><suffix>` over the axes of `t`, without reduction.
StageId map(ComputeContext& c, const TensorType& t, const std::string& suffix,
            const std::function<Expr(AxisVars)>& body);

// NumPy broadcasting. UserError names both shapes.
Shape broadcast(const Shape& a, const Shape& b);
// The position in an operand of shape `in` for a point of the broadcast result.
std::vector<Index> broadcast_indices(const Shape& in, AxisVars out);

// An axis attribute in -rank..rank-1, made non-negative.
int64_t normal_axis(int64_t axis, size_t rank);
// Several, without repeats, ascending.
std::vector<int64_t> normal_axes(const std::vector<int64_t>& axes, size_t rank);

// The values of a constant integer input. Unsupported when it is not constant.
std::vector<int64_t> constant_ints(std::span<const TensorPtr> constants, size_t input,
                                   std::string_view name);
std::vector<double> constant_floats(std::span<const TensorPtr> constants, size_t input,
                                    std::string_view name);

// Attribute conditions.
void require_rank(const TensorType& t, size_t lowest, size_t highest, std::string_view what);
void require_float(const TensorType& t, std::string_view what);
void require_same_dtype(const TensorType& a, const TensorType& b);

// Products and sums that name the overflow.
int64_t checked_mul(int64_t a, int64_t b);
int64_t checked_add(int64_t a, int64_t b);
// Upper limit of any single extent an attribute may ask for.
inline constexpr int64_t max_extent = int64_t{1} << 40;

Expr lowest_of(DType t);
Expr highest_of(DType t);
inline Expr zero(DType t) { return constant_int(0, t); }
inline Expr one(DType t) { return constant_int(1, t); }

// The cubic convolution kernel with parameter a at distance t: near for t <= 1, far for 1 < t < 2.
Expr cubic_near(const Expr& t, double a);
Expr cubic_far(const Expr& t, double a);

// Windows of convolution and pooling over the spatial axes.
struct Window {
  std::vector<int64_t> kernel, strides, dilations, begins, ends;
  size_t rank() const { return kernel.size(); }
  int64_t reach(size_t i) const { return (kernel[i] - 1) * dilations[i] + 1; }
};
// From the attributes strides, dilations, pads or auto_pad ("same_upper", "same_lower", "valid"); checks counts and
// signs.
Window window_of(const Attrs& attrs, std::vector<int64_t> kernel, const Shape& spatial);
// Output extents; `ceil_mode` keeps a last window only if it starts inside the input or its front padding.
Shape window_extents(const Window& w, const Shape& spatial, bool ceil_mode);

}  // namespace burnish::ops
