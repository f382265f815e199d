// Softmax, its logarithm, and the one-hot of the maximum, along one axis.
//
//   m = max x      e = exp(x - m)      s = sum e      softmax = e * (1 / s)      log_softmax = x - m - log(s)
#include <limits>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec axis_attr[] = {{"axis", AttrType::Int}};

std::vector<TensorType> infer(const InferContext& c) {
  require_float(c.inputs[0], "the operand");
  normal_axis(c.attrs.i("axis", -1), c.inputs[0].shape.size());
  return {{c.inputs[0].dtype, c.inputs[0].shape, {}}};
}

struct Row {
  size_t axis;
  std::vector<NamedExtent> rows, elements;
  std::vector<Index> of(AxisVars a) const {  // a point -> its row
    std::vector<Index> at = indices_of(a);
    at.erase(at.begin() + static_cast<std::ptrdiff_t>(axis));
    return at;
  }
  std::vector<Index> point(AxisVars row, AxisVars element) const {
    std::vector<Index> at = indices_of(row);
    at.insert(at.begin() + static_cast<std::ptrdiff_t>(axis), Index(element[0]));
    return at;
  }
};

Row row_of(ComputeContext& c) {
  const Shape& x = c.types[0].shape;
  Row r;
  r.axis = static_cast<size_t>(normal_axis(c.attrs.i("axis", -1), x.size()));
  r.rows = named_axes(x);
  r.rows.erase(r.rows.begin() + static_cast<std::ptrdiff_t>(r.axis));
  r.elements = {{"k", x[r.axis]}};
  return r;
}

StageId maximum(ComputeContext& c, const Row& row) {
  return c.builder.reduce(c.builder.unique(c.prefix + ".max"), c.types[0].dtype, row.rows,
                          row.elements, Combine::Max, [&](AxisVars a, AxisVars r) {
                            return c.builder.at(c.inputs[0], row.point(a, r));
                          });
}

StageId sum_of(ComputeContext& c, const Row& row, StageId e) {
  return c.builder.reduce(
      c.builder.unique(c.prefix + ".sum"), c.types[0].dtype, row.rows, row.elements, Combine::Sum,
      [&](AxisVars a, AxisVars r) { return c.builder.at(e, row.point(a, r)); });
}

StageId exponential(ComputeContext& c, const Row& row, StageId top) {
  return map(c, c.outputs[0], ".exp", [&](AxisVars a) {
    return unary(UnaryOp::Exp, c.builder.at(c.inputs[0], indices_of(a)) -
                                   c.builder.at(top, row.of(a)));
  });
}

std::vector<StageId> compute_softmax(ComputeContext& c) {
  Row row = row_of(c);
  StageId e = exponential(c, row, maximum(c, row));
  StageId sum = sum_of(c, row, e);
  DType t = c.outputs[0].dtype;
  if (size_of(t) < 4) {  // a reciprocal of few bits would show
    return {map(c, c.outputs[0], "", [&](AxisVars a) {
      return c.builder.at(e, indices_of(a)) / c.builder.at(sum, row.of(a));
    })};
  }
  StageId scale = c.builder.compute(c.builder.unique(c.prefix + ".scale"), t, row.rows, [&](AxisVars a) {
    return one(t) / c.builder.at(sum, indices_of(a));
  });
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(e, indices_of(a)) * c.builder.at(scale, row.of(a));
  })};
}

std::vector<StageId> compute_log_softmax(ComputeContext& c) {
  Row row = row_of(c);
  StageId top = maximum(c, row);
  StageId sum = sum_of(c, row, exponential(c, row, top));
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    return c.builder.at(c.inputs[0], indices_of(a)) - c.builder.at(top, row.of(a)) -
           unary(UnaryOp::Log, c.builder.at(sum, row.of(a)));
  })};
}

std::vector<StageId> compute_hardmax(ComputeContext& c) {
  Row row = row_of(c);
  StageId top = maximum(c, row);
  Expr none = constant_int(std::numeric_limits<int64_t>::max());
  StageId first = c.builder.reduce(
      c.builder.unique(c.prefix + ".first"), DType::I64, row.rows, row.elements, Combine::Min,
      [&](AxisVars a, AxisVars r) {
        Expr hit = binary(BinaryOp::Eq, c.builder.at(c.inputs[0], row.point(a, r)),
                          c.builder.at(top, indices_of(a)));
        return select(hit, affine(Index(r[0])), none);
      });
  DType t = c.outputs[0].dtype;
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    Expr here = binary(BinaryOp::Eq, c.builder.at(first, row.of(a)), affine(Index(a[row.axis])));
    return select(here, one(t), zero(t));
  })};
}

OpDef row(std::string_view name, std::vector<StageId> (*compute)(ComputeContext&)) {
  return {.name = name,
          .attrs = axis_attr,
          .fusion = Fusion::Reduction,
          .layout = LayoutRule::Any,
          .infer = infer,
          .compute = compute};
}

}  // namespace

std::span<const OpDef> softmax_ops() {
  static const OpDef table[] = {
      row("softmax", compute_softmax),
      row("log_softmax", compute_log_softmax),
      row("hardmax", compute_hardmax),
  };
  return table;
}

}  // namespace burnish::ops
