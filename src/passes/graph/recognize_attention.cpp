// Attention written out in products, scaling, mask and softmax becomes one operator where the
// target would rather compute it in one nest: the scores never are a whole tensor then.
//
//   %s = matmul(%q, %k)
//   %d = div(%s, 8)          (or mul; or %q, %k multiplied before)
//   %m = add(%d, %mask)      (may be missing)
//   %p = softmax(%m) {axis=-1}
//   %y = matmul(%p, %v)
//   ->
//   %y = attention(%q, %k, %v, %mask) {scale=0.125}
//
// Nothing between may have another reader.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "base/text.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

struct Found {
  ValueId q, k, v, mask = no_value;
  double scale = 1;
  std::vector<NodeId> nodes;  // that vanish, the last first
};

class Recognizer {
 public:
  Recognizer(const Graph& g, const Target& target)
      : g_(g), target_(target), readers_(consumers(g)), leaves_(g.values.size()) {
    for (ValueId v : g.outputs) leaves_[v] = true;
  }

  std::optional<Found> at(NodeId id) const {
    const Node& last = g_.nodes[id];
    if (last.op->name != "matmul") return {};
    const TensorType& type = g_.type(last.outputs[0]);
    if (type.dtype != DType::F32 && type.dtype != DType::F64) return {};
    Found f{.q = no_value, .k = no_value, .v = last.inputs[1]};
    const Node* softmax = vanishing(last.inputs[0], "softmax", f);
    if (softmax == nullptr) return {};
    const Shape& scores = g_.type(softmax->outputs[0]).shape;
    const auto rank = static_cast<int64_t>(scores.size());
    const int64_t axis = softmax->attrs.i("axis", -1);
    if (rank < 2 || (axis != -1 && axis != rank - 1)) return {};
    ValueId at = softmax->inputs[0];
    if (const Node* sum = vanishing(at, "add", f)) {
      // The products are the operand that leads to a product; the other one is the mask.
      std::optional<Found> with;
      for (size_t i = 0; i < 2 && !with; ++i) {
        Found tried = f;
        tried.mask = sum->inputs[1 - i];
        if (product(sum->inputs[i], scores, tried)) with = tried;
      }
      if (!with) return {};
      f = *with;
    } else if (!product(at, scores, f)) {
      return {};
    }
    if (g_.type(f.v).shape.size() < 2) return {};
    return pays(f, type) ? std::optional(f) : std::nullopt;
  }

  // The node as it will stand in `out`, over values of the old graph mapped by `map`.
  static std::vector<ValueId> inputs(const Found& f) {
    std::vector<ValueId> all{f.q, f.k, f.v};
    if (f.mask != no_value) all.push_back(f.mask);
    return all;
  }
  static Attrs attrs(const Found& f) {
    Attrs a;
    if (f.scale != 1) a.set("scale", f.scale);
    return a;
  }

 private:
  // The producer of `v`, if it is this operator and nobody else reads it.
  const Node* vanishing(ValueId v, std::string_view op, Found& f) const {
    const NodeId p = g_.values[v].producer;
    if (p == ~NodeId{0} || g_.nodes[p].op->name != op || readers_[v].size() != 1 || leaves_[v])
      return nullptr;
    f.nodes.push_back(p);
    return &g_.nodes[p];
  }

  std::optional<double> number(ValueId v) const {
    const Tensor* t = g_.values[v].constant.get();
    if (t == nullptr || t->size() != 1 || !is_float(t->dtype)) return {};
    return t->get(0).f;
  }

  // Takes multiplications by numbers off `v`.
  ValueId unscaled(ValueId v, Found& f) const {
    for (;;) {
      Found before = f;
      const TensorType& type = g_.type(v);
      const auto take = [&](const Node* n, size_t data, bool divides) {
        const auto by = n ? number(n->inputs[1 - data]) : std::nullopt;
        if (!by || *by == 0 || !std::isfinite(*by) || g_.type(n->inputs[data]).shape != type.shape)
          return false;
        f.scale = divides ? f.scale / *by : f.scale * *by;
        v = n->inputs[data];
        return true;
      };
      if (const Node* mul = vanishing(v, "mul", f)) {
        if (take(mul, 0, false) || take(mul, 1, false)) continue;
      } else if (const Node* div = vanishing(v, "div", f)) {
        if (take(div, 0, true)) continue;
      }
      f = before;
      return v;
    }
  }

  bool product(ValueId v, const Shape& scores, Found& f) const {
    v = unscaled(v, f);
    if (g_.type(v).shape != scores) return false;
    const Node* matmul = vanishing(v, "matmul", f);
    if (matmul == nullptr) return false;
    f.q = unscaled(matmul->inputs[0], f);
    f.k = unscaled(matmul->inputs[1], f);
    return g_.type(f.q).shape.size() >= 2 && g_.type(f.k).shape.size() >= 2;
  }

  bool pays(const Found& f, const TensorType& type) const {
    Graph alone;
    std::vector<ValueId> operands;
    for (ValueId v : inputs(f))
      operands.push_back(alone.add_input(fmt::format("p{}", operands.size()), g_.type(v)));
    const ValueId out = alone.add(op_named("attention"), operands, attrs(f), "");
    if (alone.type(out).shape != type.shape) return false;  // the values have batches of their own
    return target_.prefers_one_nest(stages_of(alone, alone.nodes[alone.values[out].producer]));
  }

  const Graph& g_;
  const Target& target_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> leaves_;
};

}  // namespace

Graph recognize_attention(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  const Recognizer recognizer(g, *c.target);
  std::vector<std::optional<Found>> found(g.nodes.size());
  std::vector<bool> vanishes(g.nodes.size(), false);
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    found[n] = recognizer.at(n);
    if (!found[n]) continue;
    for (NodeId v : found[n]->nodes) vanishes[v] = true;
  }
  GraphRewriter rewriter(g);
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (vanishes[n]) continue;
    if (!found[n]) {
      rewriter.copy(n);
      continue;
    }
    const Found& f = *found[n];
    std::vector<std::string> sources;
    for (size_t i = f.nodes.size(); i-- > 0;) sources.push_back(g.nodes[f.nodes[i]].source);
    sources.push_back(g.nodes[n].source);
    std::erase(sources, "");
    const ValueId out = g.nodes[n].outputs[0];
    const NodeId made =
        rewriter.out.add_node(op_named("attention"), rewriter.map(Recognizer::inputs(f)),
                              Recognizer::attrs(f), join(sources, "+"), {g.values[out].name});
    rewriter.set(out, rewriter.out.nodes[made].outputs[0]);
  }
  return rewriter.finish();
}

}  // namespace burnish
