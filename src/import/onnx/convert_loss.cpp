// Losses over class indices.
#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

// -weight[target] * x[target] along the classes (axis 1), reduced; targets equal to ignore_index
// count nothing.
ValueId likelihood_loss(NodeContext& n, ValueId x) {
  const std::string reduction = n.attr_s("reduction", "mean");
  require(reduction == "none" || reduction == "sum" || reduction == "mean",
          "'reduction' is '{}', but none, sum or mean is needed", reduction);
  require(n.rank(1) + 1 == n.rank(0), "targets of {} do not fit scores of {}",
          shape_text(n.shape(1)), shape_text(n.shape(0)));
  ValueId target = n.in(1), ignored = no_value, weight = no_value;
  if (n.has_attr("ignore_index")) {
    ignored = n.add("equal",
                    {target, n.scalar_like(static_cast<double>(n.attr_i("ignore_index")), target)});
    target = n.add("where", {ignored, n.scalar_like(0, target), target});
  }
  const Attrs classes = attrs({{"axes", ints({1})}});
  const ValueId picked = n.add("gather_elements", {x, n.add("unsqueeze", {target}, classes)},
                               attrs({{"axis", integer(1)}}));
  ValueId loss = n.add("neg", {n.add("squeeze", {picked}, classes)});
  if (n.has(2)) {
    weight = n.add("gather", {n.in(2), target}, attrs({{"axis", integer(0)}}));
    if (ignored != no_value) weight = n.add("where", {ignored, n.scalar_like(0, weight), weight});
  } else if (ignored != no_value) {
    weight = n.add("where", {ignored, n.scalar_like(0, loss), n.scalar_like(1, loss)});
  }
  if (weight != no_value) loss = n.add("mul", {loss, weight});
  if (reduction == "none") return loss;
  std::vector<int64_t> all;
  for (size_t i = 0; i < n.type_of(loss).shape.size(); ++i) all.push_back(static_cast<int64_t>(i));
  if (reduction == "mean" && weight == no_value) return n.reduce("reduce_mean", loss, all, false);
  const ValueId sum = n.reduce("reduce_sum", loss, all, false);
  return reduction == "sum" ? sum : n.add("div", {sum, n.reduce("reduce_sum", weight, all, false)});
}

std::vector<ValueId> negative_log_likelihood(NodeContext& n) {
  return {likelihood_loss(n, n.in(0))};
}

std::vector<ValueId> softmax_cross_entropy(NodeContext& n) {
  const ValueId logs = n.add("log_softmax", {n.in(0)}, attrs({{"axis", integer(1)}}));
  return {likelihood_loss(n, logs), logs};
}

constexpr OnnxOp table[] = {
    {"NegativeLogLikelihoodLoss", negative_log_likelihood},
    {"SoftmaxCrossEntropyLoss", softmax_cross_entropy},
};

}  // namespace

std::span<const OnnxOp> loss_conversions() { return table; }

}  // namespace burnish::onnx
