// A product of every channel of a convolution's input with a number goes into the weights where
// these are smaller.
//
//   %m = mul(%x, %g)      ->   %s = mul(W', transpose(%g))
//   %y = conv(%m, W)           %y = conv(%x, transpose(%s))
//
// W' is W with the output's channels innermost; the transpositions are views. %g has one value a channel (squeeze-excite), so what the convolution reads is neither written nor
// read once more. Not where the target's products scale what they read as they load it. Weights that are known when compiling take such a product in fold_batch_norm.
#include <numeric>

#include "graph/op.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

// W[k, c, window] as W'[c, window, k].
TensorPtr outputs_innermost(const Tensor& w) {
  const int64_t outputs = w.shape[0], rest = w.size() / outputs, bytes = size_of(w.dtype);
  Shape shape(w.shape.begin() + 1, w.shape.end());
  shape.push_back(outputs);
  auto t = std::make_shared<Tensor>(w.dtype, std::move(shape));
  for (int64_t k = 0; k < outputs; ++k) {
    for (int64_t i = 0; i < rest; ++i) {
      std::copy_n(w.bytes.begin() + (k * rest + i) * bytes, bytes,
                  t->bytes.begin() + (i * outputs + k) * bytes);
    }
  }
  return t;
}

struct Gated {
  ValueId x, gate;
};

class Gates {
 public:
  explicit Gates(const Graph& g)
      : g_(g), readers_(consumers(g)), rewriter_(g), is_output_(g.values.size()) {
    for (ValueId v : g.outputs) is_output_[v] = true;
  }

  Graph run() {
    for (NodeId id = 0; id < g_.nodes.size(); ++id) {
      const auto gated = gate_of(g_.nodes[id]);
      if (gated)
        into_weights(g_.nodes[id], *gated);
      else
        rewriter_.copy(id);
    }
    return rewriter_.finish();
  }

 private:
  std::optional<Gated> gate_of(const Node& conv) const {
    if (conv.op->name != "conv" || conv.attrs.i("groups", 1) != 1 ||
        !g_.values[conv.inputs[1]].is_constant())
      return {};
    const Value& data = g_.values[conv.inputs[0]];
    if (data.producer == ~NodeId{0} || readers_[conv.inputs[0]].size() != 1 ||
        is_output_[conv.inputs[0]])
      return {};
    const Node& mul = g_.nodes[data.producer];
    const Shape& shape = data.type.shape;
    if (mul.op->name != "mul" || !is_float(data.type.dtype) || shape[0] != 1) return {};
    Shape one_a_channel(shape.size(), 1);
    one_a_channel[1] = shape[1];
    // Written and read for the product, against read, written and read for the weights.
    if (2 * element_count(shape) < 3 * element_count(g_.type(conv.inputs[1]).shape)) return {};
    for (size_t i : {0, 1}) {
      const TensorType &x = g_.type(mul.inputs[i]), &gate = g_.type(mul.inputs[1 - i]);
      if (x.shape == shape && gate.shape == one_a_channel && is_row_major_memory(gate)) {
        return Gated{mul.inputs[i], mul.inputs[1 - i]};
      }
    }
    return {};
  }

  void into_weights(const Node& conv, const Gated& gated) {
    Graph& out = rewriter_.out;
    const Value& w = g_.values[conv.inputs[1]];
    const auto rank = static_cast<int64_t>(w.type.shape.size());
    const Node& mul = g_.nodes[g_.values[conv.inputs[0]].producer];
    std::vector<int64_t> exchange(static_cast<size_t>(rank)), last_first(static_cast<size_t>(rank));
    std::iota(exchange.begin(), exchange.end(), 0);
    std::swap(exchange[0], exchange[1]);
    std::iota(last_first.begin() + 1, last_first.end(), 0);
    last_first[0] = rank - 1;
    Attrs column, turned;
    column.set("perm", exchange);
    turned.set("perm", last_first);
    const ValueId weights = out.add_constant(w.name, outputs_innermost(*w.constant));
    const ValueId gate = out.add(op_named("transpose"), {rewriter_.map(gated.gate)}, column, "");
    const ValueId scaled = out.add(op_named("mul"), {weights, gate}, {}, mul.source);
    const ValueId as_weights = out.add(op_named("transpose"), {scaled}, turned, "");
    std::vector<uint32_t> order(static_cast<size_t>(rank));
    std::iota(order.begin(), order.end() - 1, 1u);
    order.back() = 0;
    out.values[as_weights].type.layout = permuted(order);

    std::vector<ValueId> inputs = rewriter_.map(conv.inputs);
    inputs[0] = rewriter_.map(gated.x);
    inputs[1] = as_weights;
    const NodeId made = out.add_node(*conv.op, std::move(inputs), conv.attrs, conv.source,
                                     {g_.values[conv.outputs[0]].name});
    const ValueId y = out.nodes[made].outputs[0];
    out.values[y].type.layout = g_.type(conv.outputs[0]).layout;
    rewriter_.set(conv.outputs[0], y);
  }

  const Graph& g_;
  std::vector<std::vector<NodeId>> readers_;
  GraphRewriter rewriter_;
  std::vector<bool> is_output_;
};

}  // namespace

// The products that nothing reads any more are left out.
Graph gate_weights(const Graph& g, const Context& c) {
  if (c.target != nullptr && c.target->scales_operands()) return g;
  return dead_code(Gates(g).run(), c);
}

}  // namespace burnish
