// Reductions, and the searches along an axis.
#include <algorithm>
#include <numeric>

#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

constexpr std::pair<std::string_view, std::string_view> reductions[] = {
    {"ReduceSum", "reduce_sum"},
    {"ReduceMean", "reduce_mean"},
    {"ReduceMax", "reduce_max"},
    {"ReduceMin", "reduce_min"},
    {"ReduceProd", "reduce_prod"},
    {"ReduceL1", "reduce_l1"},
    {"ReduceL2", "reduce_l2"},
    {"ReduceLogSum", "reduce_log_sum"},
    {"ReduceLogSumExp", "reduce_log_sum_exp"},
    {"ReduceSumSquare", "reduce_sum_square"},
};

// The axes stand in an attribute, or since opset 13 (ReduceSum) and 18 (the others) in an input.
std::vector<ValueId> reduce(NodeContext& n) {
  const auto* op = std::find_if(std::begin(reductions), std::end(reductions),
                                [&](const auto& r) { return r.first == n.op_type(); });
  const bool keepdims = n.attr_i("keepdims", 1) != 0;
  const bool noop = n.attr_i("noop_with_empty_axes", 0) != 0;
  std::vector<int64_t> axes = n.has(1) ? n.int_list(1) : n.attr_ints("axes");
  for (int64_t& a : axes) a = normal_axis(a, n.rank(0));
  if (axes.empty() && !noop) {
    axes.resize(static_cast<size_t>(n.rank(0)));
    std::iota(axes.begin(), axes.end(), 0);
  }
  if (!axes.empty()) return {n.reduce(op->second, n.in(0), axes, keepdims)};
  // Over no axis at all: what the operator does to an element alone, by reducing over a new axis of
  // extent 1.
  const ValueId column = n.add("unsqueeze", {n.in(0)}, attrs({{"axes", ints({n.rank(0)})}}));
  return {n.reduce(op->second, column, {n.rank(0)}, false)};
}

std::vector<ValueId> arg_extreme(NodeContext& n) {
  return {n.add(n.op_type() == "ArgMax" ? "argmax" : "argmin", {n.in(0)},
                attrs({{"axis", integer(n.attr_i("axis", 0))},
                       {"keepdims", integer(n.attr_i("keepdims", 1))},
                       {"select_last_index", integer(n.attr_i("select_last_index", 0))}}))};
}

std::vector<ValueId> top_k(NodeContext& n) {
  const ValueId k = n.opset() >= 10 ? n.in(1) : n.int_vector({n.attr_i("k", 0)});
  return n.add_many("top_k", {n.in(0), k},
                    attrs({{"axis", integer(n.attr_i("axis", -1))},
                           {"largest", integer(n.attr_i("largest", 1))},
                           {"sorted", integer(n.attr_i("sorted", 1))}}));
}

std::vector<ValueId> cumsum(NodeContext& n) {
  const std::vector<int64_t> axis = n.int_list(1);
  require(axis.size() == 1, "the axis has to be one number");
  return {n.add(n.op_type() == "CumSum" ? "cumsum" : "cumprod", {n.in(0)},
                attrs({{"axis", integer(normal_axis(axis[0], n.rank(0)))},
                       {"exclusive", integer(n.attr_i("exclusive", 0))},
                       {"reverse", integer(n.attr_i("reverse", 0))}}))};
}

constexpr OnnxOp table[] = {
    {"ReduceSum", reduce},
    {"ReduceMean", reduce},
    {"ReduceMax", reduce},
    {"ReduceMin", reduce},
    {"ReduceProd", reduce},
    {"ReduceL1", reduce},
    {"ReduceL2", reduce},
    {"ReduceLogSum", reduce},
    {"ReduceLogSumExp", reduce},
    {"ReduceSumSquare", reduce},
    {"ArgMax", arg_extreme},
    {"ArgMin", arg_extreme},
    {"TopK", top_k},
    {"CumSum", cumsum},
    {"CumProd", cumsum},
};

}  // namespace

std::span<const OnnxOp> reduce_conversions() { return table; }

}  // namespace burnish::onnx
