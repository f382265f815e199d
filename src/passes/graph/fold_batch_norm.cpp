// Folds scales and shifts per channel into the weights of the convolution or gemm before them.
//
//   batch_norm(conv(x, w, b), scale, bias, mean, var)  ->  conv(x, w * s, (b - mean) * s + bias)
//                                                          with s = scale / sqrt(var + epsilon)
//   mul(conv(x, w, b), s)  ->  conv(x, w * s, b * s)       add(conv(x, w, b), t)  ->  conv(x, w, b + t)
//
// Both operands of sub and a divisor likewise. A batch norm that stands elsewhere becomes mul and add by constants,
// which fuse with what is around them. The producer must have no other reader.
#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

// y[channel] = scale[channel] * x[channel] + shift[channel]; one value stands for all channels.
struct ChannelMap {
  std::vector<double> scale, shift;
};

std::vector<double> numbers(const Tensor& t) {
  std::vector<double> out(static_cast<size_t>(t.size()));
  for (size_t i = 0; i < out.size(); ++i) out[i] = t.get(static_cast<int64_t>(i)).f;
  return out;
}

TensorPtr tensor_of(DType t, Shape shape, const std::vector<double>& values) {
  auto out = std::make_shared<Tensor>(t, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) {
    out->set(static_cast<int64_t>(i), {.dtype = t, .f = values[i]});
  }
  return out;
}

// The values of a constant that differs along `axis` of the result only.
std::optional<std::vector<double>> per_channel(const Graph& g, ValueId v, const Shape& result, size_t axis) {
  const Value& value = g.values[v];
  if (!value.is_constant() || !is_float(value.type.dtype)) return {};
  const Shape& s = value.type.shape;
  if (s.size() > result.size()) return {};
  for (size_t i = 0; i < s.size(); ++i) {
    const size_t at = result.size() - s.size() + i;
    if (s[i] != 1 && (at != axis || s[i] != result[axis])) return {};
  }
  std::vector<double> out = numbers(*value.constant);
  if (out.size() == 1) out.resize(static_cast<size_t>(result[axis]), out[0]);
  return out;
}

// The map of a node over its data operand, which it returns too.
struct Found {
  ChannelMap map;
  ValueId data;
};

std::optional<Found> of_batch_norm(const Graph& g, const Node& n) {
  for (size_t i = 1; i < 5; ++i) {
    if (!g.values[n.inputs[i]].is_constant()) return {};
  }
  const std::vector<double> scale = numbers(*g.values[n.inputs[1]].constant),
                            bias = numbers(*g.values[n.inputs[2]].constant),
                            mean = numbers(*g.values[n.inputs[3]].constant),
                            var = numbers(*g.values[n.inputs[4]].constant);
  Found f{.data = n.inputs[0]};
  for (size_t c = 0; c < scale.size(); ++c) {
    const double s = scale[c] / std::sqrt(var[c] + n.attrs.f("epsilon", 1e-5));
    f.map.scale.push_back(s);
    f.map.shift.push_back(bias[c] - mean[c] * s);
  }
  return f;
}

std::optional<Found> of_arithmetic(const Graph& g, const Node& n, size_t axis) {
  const std::string_view op = n.op->name;
  const bool commutes = op == "add" || op == "mul";
  if (!commutes && op != "sub" && op != "div") return {};
  const TensorType& result = g.type(n.outputs[0]);
  if (!is_float(result.dtype) || result.shape.size() <= axis) return {};
  for (size_t data = 0; data < 2; ++data) {
    if (g.type(n.inputs[data]).shape != result.shape || g.values[n.inputs[data]].is_constant()) continue;
    if (data == 1 && op == "div") continue;
    auto other = per_channel(g, n.inputs[1 - data], result.shape, axis);
    if (!other) continue;
    const size_t channels = other->size();
    Found f{.map = {std::vector<double>(channels, 1), std::vector<double>(channels, 0)}, .data = n.inputs[data]};
    for (size_t c = 0; c < channels; ++c) {
      if (op == "add") f.map.shift[c] = (*other)[c];
      if (op == "mul") f.map.scale[c] = (*other)[c];
      if (op == "div") f.map.scale[c] = 1 / (*other)[c];
      if (op == "sub") {
        f.map.scale[c] = data == 0 ? 1 : -1;
        f.map.shift[c] = data == 0 ? -(*other)[c] : (*other)[c];
      }
      if (!std::isfinite(f.map.scale[c]) || !std::isfinite(f.map.shift[c])) return {};
    }
    return f;
  }
  return {};
}

// Output channels of weights as runs: element i belongs to channel (i / run) % channels + (i / block) * step.
struct ChannelRuns {
  int64_t run, channels, block, step;
};

std::optional<ChannelRuns> runs_of(const Node& n, const Shape& w) {
  const int64_t all = element_count(w);
  if (all == 0) return {};
  if (n.op->name == "conv") return ChannelRuns{all / w[0], w[0], all, 0};
  if (n.op->name == "conv_transpose") {  // w[C, K / groups, window]
    const int64_t window = all / (w[0] * w[1]);
    return ChannelRuns{window, w[1], all / n.attrs.i("groups", 1), w[1]};
  }
  if (n.op->name == "gemm" && n.attrs.f("beta", 1) == 1) {
    return n.attrs.i("trans_b", 0) != 0 ? ChannelRuns{w[1], w[0], all, 0} : ChannelRuns{1, w[1], all, 0};
  }
  return {};
}

template <class T>
void scale_runs(Tensor& w, const ChannelRuns& r, const std::vector<double>& scale) {
  T* data = w.data<T>();
  for (int64_t i = 0; i < w.size(); i += r.run) {
    const T s = static_cast<T>(scale[static_cast<size_t>(i / r.run % r.channels + i / r.block * r.step)]);
    for (int64_t k = 0; k < r.run; ++k) data[i + k] *= s;
  }
}

TensorPtr scaled(const TensorPtr& w, const ChannelRuns& runs, const std::vector<double>& scale) {
  if (std::all_of(scale.begin(), scale.end(), [](double s) { return s == 1; })) return w;
  auto out = std::make_shared<Tensor>(*w);
  if (w->dtype == DType::F32) scale_runs<float>(*out, runs, scale);
  else scale_runs<double>(*out, runs, scale);
  return out;
}

class Folder {
 public:
  explicit Folder(const Graph& g) : g_(g), readers_(consumers(g)), rewriter_(g), is_output_(g.values.size()) {
    for (ValueId v : g.outputs) is_output_[v] = true;
  }

  Graph run() {
    for (NodeId id = 0; id < g_.nodes.size(); ++id) {
      const Node& n = g_.nodes[id];
      const bool norm = n.op->name == "batch_norm";
      const std::optional<Found> found = norm ? of_batch_norm(g_, n) : of_arithmetic(g_, n, 1);
      if (found && fold(id, *found)) continue;
      if (found && norm && spell_out(id, *found)) continue;
      rewriter_.copy(id);
    }
    return rewriter_.finish();
  }

 private:
  bool fold(NodeId id, const Found& found) {
    if (readers_[found.data].size() != 1 || is_output_[found.data]) return false;
    Graph& out = rewriter_.out;
    const ValueId data = rewriter_.map(found.data);
    const NodeId before = out.values[data].producer;
    if (before == ~NodeId{0}) return false;
    const Node conv = out.nodes[before];
    if (conv.inputs.size() < 2 || !out.values[conv.inputs[1]].is_constant()) return false;
    const TensorPtr w = out.values[conv.inputs[1]].constant;
    const bool biased = conv.inputs.size() > 2 && conv.inputs[2] != no_value;
    std::vector<double> bias(found.map.scale.size(), 0);
    const std::optional<ChannelRuns> runs = runs_of(conv, w->shape);
    if (!runs || (w->dtype != DType::F32 && w->dtype != DType::F64)) return false;
    if (biased) {
      const TensorPtr b = out.values[conv.inputs[2]].constant;
      if (b == nullptr) return false;
      std::vector<double> values = numbers(*b);
      if (values.size() == 1) values.resize(bias.size(), values[0]);
      if (values.size() != bias.size() || (!b->shape.empty() && b->shape.back() != b->size())) return false;
      bias = std::move(values);
    }

    for (size_t c = 0; c < bias.size(); ++c) bias[c] = bias[c] * found.map.scale[c] + found.map.shift[c];
    const Node& n = g_.nodes[id];
    const ValueId new_w = out.add_constant(out.values[conv.inputs[1]].name, scaled(w, *runs, found.map.scale));
    const ValueId new_b = out.add_constant(
        biased ? out.values[conv.inputs[2]].name : out.values[new_w].name + ".bias",
        tensor_of(w->dtype, {static_cast<int64_t>(bias.size())}, bias));
    const std::string source = n.source.empty() ? conv.source : conv.source + "+" + n.source;
    const NodeId folded = out.add_node(*conv.op, {conv.inputs[0], new_w, new_b}, conv.attrs, source,
                                       {g_.values[n.outputs[0]].name});
    rewriter_.set(n.outputs[0], out.nodes[folded].outputs[0]);
    return true;
  }

  bool spell_out(NodeId id, const Found& found) {
    const Node& n = g_.nodes[id];
    const TensorType type = g_.type(n.outputs[0]);
    Shape shape(type.shape.size(), 1);
    if (shape.size() < 2) return false;
    shape[1] = type.shape[1];
    Graph& out = rewriter_.out;
    const std::string name = g_.values[n.outputs[0]].name;
    const ValueId scale = out.add_constant(name + ".scale", tensor_of(type.dtype, shape, found.map.scale));
    const ValueId shift = out.add_constant(name + ".shift", tensor_of(type.dtype, shape, found.map.shift));
    const ValueId scaled = out.add(op_named("mul"), {rewriter_.map(found.data), scale}, {}, n.source);
    const NodeId added = out.add_node(op_named("add"), {scaled, shift}, {}, n.source, {name});
    rewriter_.set(n.outputs[0], out.nodes[added].outputs[0]);
    return true;
  }

  const Graph& g_;
  std::vector<std::vector<NodeId>> readers_;
  GraphRewriter rewriter_;
  std::vector<bool> is_output_;
};

}  // namespace

Graph fold_batch_norm(const Graph& g, const Context&) { return Folder(g).run(); }

}  // namespace burnish
