// Branches and loops whose course is known when the model is compiled: the branch taken, or the
// body repeated, becomes part of the graph. Those that depend on data are gaps.
#include <algorithm>

#include "import/onnx/node_context.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

// Longer loops belong into code, not into copies of their body.
constexpr int64_t max_iterations = 1024;

bool known_bool(NodeContext& n, ValueId v, std::string_view what) {
  const TensorPtr t = n.constant_value(v);
  if (!t) n.gap("its {} is computed at run time", what);
  require(t->size() == 1, "its {} has {} elements, but one is needed", what, t->size());
  return t->get(0).i != 0;
}

std::vector<ValueId> branch(NodeContext& n) {
  const auto* then_graph = n.attr_graph("then_branch");
  const auto* else_graph = n.attr_graph("else_branch");
  require(then_graph && else_graph, "one of its branches is missing");
  return n.inline_graph(known_bool(n, n.in(0), "condition") ? *then_graph : *else_graph, {});
}

// Values of each iteration side by side along a new axis (Loop) or one that is given (Scan).
ValueId stacked(NodeContext& n, const std::vector<ValueId>& parts, int64_t axis, bool reversed) {
  if (parts.empty()) n.gap("a loop that never runs gives a result without a known shape");
  std::vector<ValueId> slices;
  for (ValueId v : parts) {
    const int64_t at = normal_axis(axis, static_cast<int64_t>(n.type_of(v).shape.size()) + 1);
    slices.push_back(n.add("unsqueeze", {v}, attrs({{"axes", ints({at})}})));
  }
  if (reversed) std::reverse(slices.begin(), slices.end());
  const auto rank = static_cast<int64_t>(n.type_of(slices[0]).shape.size());
  return slices.size() == 1
             ? slices[0]
             : n.add("concat", slices, attrs({{"axis", integer(normal_axis(axis, rank))}}));
}

// Inputs: trip count?, condition?, carried…; the body takes (iteration, condition, carried…) and
// gives (condition, carried…, one element of each scanned output…).
std::vector<ValueId> loop(NodeContext& n) {
  const auto* body = n.attr_graph("body");
  require(body != nullptr, "its body is missing");
  require(body->input_size() >= 2 && n.inputs() == static_cast<size_t>(body->input_size()),
          "its body takes {} inputs, but {} are given", body->input_size(), n.inputs());
  const size_t carried_count = n.inputs() - 2;
  require(body->output_size() >= 1 + static_cast<int>(carried_count),
          "its body has {} outputs, but {} values are carried", body->output_size(), carried_count);
  const size_t scanned_count = static_cast<size_t>(body->output_size()) - 1 - carried_count;

  int64_t trips = max_iterations + 1;
  if (n.has(0)) {
    const std::vector<int64_t> count = n.int_list(0);
    require(count.size() == 1, "its trip count has {} elements", count.size());
    trips = std::max<int64_t>(count[0], 0);
  }
  bool going = !n.has(1) || known_bool(n, n.in(1), "condition");
  std::vector<ValueId> carried(n.all_inputs().begin() + 2, n.all_inputs().end());
  std::vector<std::vector<ValueId>> scanned(scanned_count);
  for (int64_t i = 0; going && i < trips; ++i) {
    if (i == max_iterations) n.gap("it runs more than {} times", max_iterations);
    auto yes = std::make_shared<Tensor>(DType::Bool, Shape{});
    yes->bytes[0] = std::byte{1};
    std::vector<ValueId> in{n.int_scalar(i), n.constant_of(std::move(yes))};
    in.insert(in.end(), carried.begin(), carried.end());
    const std::vector<ValueId> out = n.inline_graph(*body, in);
    going = known_bool(n, out[0], "condition");
    std::copy_n(out.begin() + 1, carried_count, carried.begin());
    for (size_t k = 0; k < scanned_count; ++k) scanned[k].push_back(out[1 + carried_count + k]);
  }
  for (size_t k = 0; k < scanned_count; ++k) {
    if (n.wants(carried_count + k) || !scanned[k].empty())
      carried.push_back(stacked(n, scanned[k], 0, false));
  }
  return carried;
}

// Inputs: states…, scanned…; opset 8 had a batch axis and lengths before them.
std::vector<ValueId> scan(NodeContext& n) {
  const auto* body = n.attr_graph("body");
  require(body != nullptr, "its body is missing");
  if (n.opset() < 9) n.gap("Scan of opset 8 is not supported");
  const int64_t scanned_in = n.attr_i("num_scan_inputs", 0);
  require(scanned_in > 0 && static_cast<size_t>(scanned_in) <= n.inputs(),
          "'num_scan_inputs' is {}, but {} inputs are given", scanned_in, n.inputs());
  const size_t ins = static_cast<size_t>(scanned_in), states = n.inputs() - ins;
  require(static_cast<size_t>(body->output_size()) >= states,
          "its body has {} outputs, but {} states", body->output_size(), states);
  const size_t outs = static_cast<size_t>(body->output_size()) - states;
  const auto in_axes = n.attr_ints("scan_input_axes", std::vector<int64_t>(ins, 0));
  const auto in_reversed = n.attr_ints("scan_input_directions", std::vector<int64_t>(ins, 0));
  const auto out_axes = n.attr_ints("scan_output_axes", std::vector<int64_t>(outs, 0));
  const auto out_reversed = n.attr_ints("scan_output_directions", std::vector<int64_t>(outs, 0));
  require(
      in_axes.size() == ins && in_reversed.size() == ins && out_axes.size() == outs &&
          out_reversed.size() == outs,
      "the lists of axes and directions do not have one entry for each of {} inputs and {} outputs",
      ins, outs);

  int64_t steps = -1;
  std::vector<int64_t> axes;
  for (size_t k = 0; k < ins; ++k) {
    axes.push_back(normal_axis(in_axes[k], n.rank(states + k)));
    const int64_t extent = n.shape(states + k)[static_cast<size_t>(axes[k])];
    require(steps < 0 || steps == extent, "its inputs have {} and {} steps", steps, extent);
    steps = extent;
  }
  if (steps > max_iterations) n.gap("it runs more than {} times", max_iterations);

  std::vector<ValueId> state(n.all_inputs().begin(),
                             n.all_inputs().begin() + static_cast<std::ptrdiff_t>(states));
  std::vector<std::vector<ValueId>> scanned(outs);
  for (int64_t i = 0; i < steps; ++i) {
    std::vector<ValueId> in = state;
    for (size_t k = 0; k < ins; ++k) {
      const int64_t at = in_reversed[k] ? steps - 1 - i : i;
      const ValueId slice = n.slice(n.in(states + k), axes[k], at, at + 1);
      in.push_back(n.add("squeeze", {slice}, attrs({{"axes", ints({axes[k]})}})));
    }
    const std::vector<ValueId> out = n.inline_graph(*body, in);
    std::copy_n(out.begin(), states, state.begin());
    for (size_t k = 0; k < outs; ++k) scanned[k].push_back(out[states + k]);
  }
  for (size_t k = 0; k < outs; ++k)
    state.push_back(stacked(n, scanned[k], out_axes[k], out_reversed[k] != 0));
  return state;
}

constexpr OnnxOp table[] = {
    {"If", branch, "", true},
    {"Loop", loop, "", true},
    {"Scan", scan},
};

}  // namespace

std::span<const OnnxOp> control_conversions() { return table; }

}  // namespace burnish::onnx
