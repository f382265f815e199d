// A convolution and the pointwise one that alone reads it, with nothing between them, become one, where that multiplies half as much or
// less; two are better cut into kernels with what is around them:
//
//   conv(conv(x, W, b), V, c)  ->  conv(x, V W, V b + c)
//
// A linear bottleneck in front of a detector's lateral convolution, say: 960 channels to 320 to 24 are 960 to 24.
#include <algorithm>
#include <cmath>

#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

// Multiply-adds that are done here, at most: some seconds.
constexpr int64_t most_work = 1'000'000'000;

class Composer {
 public:
  explicit Composer(const Graph& g) : g_(g), readers_(consumers(g)), rewriter_(g), is_output_(g.values.size()) {
    for (ValueId v : g.outputs) is_output_[v] = true;
  }

  Graph run() {
    for (NodeId id = 0; id < g_.nodes.size(); ++id)
      if (!compose(g_.nodes[id])) rewriter_.copy(id);
    return rewriter_.finish();
  }

 private:
  static bool has_bias(const Node& n) { return n.inputs.size() > 2 && n.inputs[2] != no_value; }

  // Of a convolution without groups whose weights are known.
  static bool is_known(const Graph& g, const Node& n) {
    const auto known = [&](ValueId v) { return g.values[v].is_constant() && g.type(v).dtype == DType::F32; };
    return n.op->name == "conv" && n.attrs.i("groups", 1) == 1 && known(n.inputs[1]) && (!has_bias(n) || known(n.inputs[2]));
  }

  static bool is_pointwise(const Graph& g, const Node& n) {
    const Shape &in = g.type(n.inputs[0]).shape, &out = g.type(n.outputs[0]).shape, &w = g.type(n.inputs[1]).shape;
    return element_count(w) == w[0] * w[1] && in.size() == out.size() && std::equal(in.begin() + 2, in.end(), out.begin() + 2) &&
           std::ranges::all_of(n.attrs.ints("strides", {}), [](int64_t s) { return s == 1; }) &&
           std::ranges::all_of(n.attrs.ints("pads", {}), [](int64_t p) { return p == 0; });
  }

  bool compose(const Node& n) {
    if (!is_known(g_, n) || !is_pointwise(g_, n) || readers_[n.inputs[0]].size() != 1 || is_output_[n.inputs[0]]) return false;
    Graph& out = rewriter_.out;
    const NodeId before = out.values[rewriter_.map(n.inputs[0])].producer;
    if (before == ~NodeId{0} || !is_known(out, out.nodes[before])) return false;
    const Node first = out.nodes[before];
    const Tensor &w = *out.values[first.inputs[1]].constant, &v = *g_.values[n.inputs[1]].constant;
    const int64_t middle = w.shape[0], channels = v.shape[0], terms = middle ? w.size() / middle : 0;
    int64_t work = 0;
    if (terms == 0 || 2 * channels * terms > middle * (terms + channels) || __builtin_mul_overflow(channels * terms, middle, &work) || work > most_work) return false;
    Shape shape = w.shape;
    shape[0] = channels;
    const auto weights = product(v, w, shape, middle, terms);
    const bool biased = has_bias(first) || has_bias(n);
    const auto bias = biased ? biases(out, first, n, v, middle) : nullptr;
    if (!weights || biased != (bias != nullptr)) return false;
    const std::string source = first.source.empty() || n.source.empty() ? first.source + n.source : first.source + "+" + n.source;
    std::vector<ValueId> inputs = {first.inputs[0], out.add_constant(out.values[first.inputs[1]].name, weights)};
    if (biased) inputs.push_back(out.add_constant(out.values[inputs[1]].name + ".bias", bias));
    const NodeId made = out.add_node(*first.op, std::move(inputs), first.attrs, source, {g_.values[n.outputs[0]].name});
    rewriter_.set(n.outputs[0], out.nodes[made].outputs[0]);
    return true;
  }

  // Null where a number does not fit.
  static TensorPtr product(const Tensor& v, const Tensor& w, const Shape& shape, int64_t middle, int64_t terms) {
    auto all = std::make_shared<Tensor>(DType::F32, shape);
    const float *a = v.data<float>(), *b = w.data<float>();
    std::vector<double> sums(static_cast<size_t>(terms));
    for (int64_t c = 0; c < v.shape[0]; ++c) {
      std::ranges::fill(sums, 0);
      for (int64_t m = 0; m < middle; ++m)
        for (int64_t t = 0; t < terms; ++t) sums[static_cast<size_t>(t)] += static_cast<double>(a[c * middle + m]) * static_cast<double>(b[m * terms + t]);
      for (int64_t t = 0; t < terms; ++t) {
        const auto x = static_cast<float>(sums[static_cast<size_t>(t)]);
        if (!std::isfinite(x)) return nullptr;
        all->data<float>()[c * terms + t] = x;
      }
    }
    return all;
  }

  TensorPtr biases(const Graph& out, const Node& first, const Node& second, const Tensor& v, int64_t middle) const {
    const Tensor* b = has_bias(first) ? out.values[first.inputs[2]].constant.get() : nullptr;
    const Tensor* c = has_bias(second) ? g_.values[second.inputs[2]].constant.get() : nullptr;
    const int64_t channels = v.shape[0];
    if ((b != nullptr && b->size() != middle) || (c != nullptr && c->size() != channels)) return nullptr;
    auto all = std::make_shared<Tensor>(DType::F32, Shape{channels});
    for (int64_t i = 0; i < channels; ++i) {
      double sum = c != nullptr ? c->get(i).f : 0;
      for (int64_t m = 0; b != nullptr && m < middle; ++m) sum += v.get(i * middle + m).f * b->get(m).f;
      if (!std::isfinite(static_cast<float>(sum))) return nullptr;
      all->data<float>()[i] = static_cast<float>(sum);
    }
    return all;
  }

  const Graph& g_;
  std::vector<std::vector<NodeId>> readers_;
  GraphRewriter rewriter_;
  std::vector<bool> is_output_;
};

}  // namespace

Graph compose_convolutions(const Graph& g, const Context&) { return Composer(g).run(); }

}  // namespace burnish
