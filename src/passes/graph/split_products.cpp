// A product whose result is cut into parts becomes a product for each part, on a device, which
// launches them at once (join_steps).
//
//   %y = add(matmul(%x, W), B)                          %y0 = add(matmul(%x, W0), B0)     and so on
//   %t = transpose(reshape(%y))                  ->     %t0 = transpose(reshape(%y0))
//   %q, %k, %v = split(%t)
//   %s = mul(squeeze(%q), 0.125)                        %s = squeeze(%t0)                 W0 and B0
//   are scaled
//
// What lies between becomes a view of each part: queries, keys and values of attention are read
// where their product left them.
#include <algorithm>

#include "graph/op.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

// From the product to the split, each read by the next alone.
struct Cut {
  const Node *matmul = nullptr, *add = nullptr, *reshape = nullptr, *transpose = nullptr,
             *split = nullptr;
  uint32_t axis = 0;  // of what is transposed: that which is cut
  int64_t inner = 1;  // columns of the product for each of its points
};

// Columns [first, first + n) of the last axis, times `scale`.
TensorPtr columns(const Tensor& t, int64_t first, int64_t n, double scale) {
  Shape shape = t.shape;
  const int64_t all = shape.back(), rows = t.size() / all;
  shape.back() = n;
  auto part = std::make_shared<Tensor>(t.dtype, std::move(shape));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; ++c)
      part->set(r * n + c, {t.dtype, t.get(r * all + first + c).f * scale, 0});
  return part;
}

class Splitter {
 public:
  explicit Splitter(const Graph& g)
      : g_(g), readers_(consumers(g)), rewriter_(g), is_output_(g.values.size()) {
    for (ValueId v : g.outputs) is_output_[v] = true;
  }

  Graph run() {
    for (NodeId id = 0; id < g_.nodes.size(); ++id) {
      const Node& n = g_.nodes[id];
      if (std::ranges::find(done_, id) != done_.end())
        rewriter_.set(n.outputs[0], rewriter_.map(n.inputs[0]));
      else if (const auto cut = cut_of(n))
        apart(*cut);
      else
        rewriter_.copy(id);
    }
    return rewriter_.finish();
  }

 private:
  const Shape& shape(ValueId v) const { return g_.type(v).shape; }

  // What makes the value, where nobody else reads it.
  const Node* maker(ValueId v, std::string_view op) const {
    const NodeId p = g_.values[v].producer;
    if (p == ~NodeId{0} || is_output_[v] || readers_[v].size() != 1 || g_.nodes[p].op->name != op)
      return nullptr;
    return &g_.nodes[p];
  }

  std::optional<Cut> cut_of(const Node& split) const {
    if (split.op->name != "split") return {};
    Cut c{.split = &split};
    ValueId v = split.inputs[0];
    const auto rank = static_cast<int64_t>(shape(v).size());
    const int64_t axis = split.attrs.i("axis");
    c.axis = static_cast<uint32_t>(axis < 0 ? axis + rank : axis);
    if ((c.transpose = maker(v, "transpose"))) {
      c.axis = permutation_of(*c.transpose, shape(v).size())[c.axis];
      v = c.transpose->inputs[0];
    }
    const Shape& cut = shape(v);
    for (size_t a = c.axis + 1; a < cut.size(); ++a) c.inner *= cut[a];
    const int64_t width = c.inner * cut[c.axis];
    if ((c.reshape = maker(v, "reshape")))
      v = c.reshape->inputs[0];
    else if (c.inner != 1)
      return {};
    if (shape(v).empty() || shape(v).back() != width) return {};
    if ((c.add = maker(v, "add"))) {
      const auto& in = c.add->inputs;
      const size_t bias = g_.values[in[0]].is_constant() ? 0 : 1;
      if (!g_.values[in[bias]].is_constant() || shape(in[bias]) != Shape{width} ||
          g_.type(in[bias]).dtype != DType::F32)
        return {};
      v = in[1 - bias];
    }
    c.matmul = maker(v, "matmul");
    if (c.matmul == nullptr || c.matmul->inputs.size() != 2) return {};
    const ValueId w = c.matmul->inputs[1];
    if (!g_.values[w].is_constant() || shape(w).size() != 2 || shape(w)[1] != width ||
        g_.type(w).dtype != DType::F32)
      return {};
    return c;
  }

  // Takes over a product with one number that follows a part, through views.
  double scale_of(ValueId part) {
    while (!is_output_[part] && readers_[part].size() == 1) {
      const NodeId id = readers_[part][0];
      const Node& n = g_.nodes[id];
      if (is_reshape(*n.op) || n.op->name == "transpose") {
        part = n.outputs[0];
        continue;
      }
      if (n.op->name != "mul" || n.inputs[0] != part) break;
      const TensorPtr& by = g_.values[n.inputs[1]].constant;
      if (!by || by->size() != 1 || shape(n.outputs[0]) != shape(part)) break;
      done_.push_back(id);
      return by->get(0).f;
    }
    return 1;
  }

  void apart(const Cut& c) {
    Graph& g = rewriter_.out;
    const Tensor& w = *g_.values[c.matmul->inputs[1]].constant;
    const std::string& source = c.matmul->source;
    int64_t first = 0;
    for (ValueId part : c.split->outputs) {
      const auto at =
          c.transpose ? permutation_of(*c.transpose, shape(part).size()) : std::vector<uint32_t>{};
      // Of the part before it is transposed.
      Shape own = shape(part);
      for (size_t i = 0; i < at.size(); ++i) own[at[i]] = shape(part)[i];
      const int64_t width = own[c.axis] * c.inner;
      const double scale = scale_of(part);
      const auto constant = [&](const char* name, const Tensor& t) {
        return g.add_constant(name, columns(t, first, width, scale));
      };
      ValueId v = g.add(*c.matmul->op, {rewriter_.map(c.matmul->inputs[0]), constant("weights", w)},
                        c.matmul->attrs, source);
      if (c.add) {
        const auto& in = c.add->inputs;
        v = g.add(
            *c.add->op,
            {v, constant("bias", *g_.values[in[g_.values[in[0]].is_constant() ? 0 : 1]].constant)},
            c.add->attrs, c.add->source);
      }
      g.values[v].name = g_.values[part].name;
      if (c.reshape) {
        auto sizes = std::make_shared<Tensor>(DType::I64, Shape{std::ssize(own)});
        for (size_t i = 0; i < own.size(); ++i)
          sizes->set(static_cast<int64_t>(i), {DType::I64, 0, own[i]});
        v = g.add(*c.reshape->op, {v, g.add_constant("sizes", sizes)}, {}, c.reshape->source);
      }
      if (c.transpose) v = g.add(*c.transpose->op, {v}, c.transpose->attrs, c.transpose->source);
      rewriter_.set(part, v);
      first += width;
    }
  }

  const Graph& g_;
  const std::vector<std::vector<NodeId>> readers_;
  GraphRewriter rewriter_;
  std::vector<bool> is_output_;
  std::vector<NodeId> done_;  // products that went into weights
};

}  // namespace

Graph split_products(const Graph& g, const Context& c) {
  if (c.target == nullptr || !c.target->machine().device) return g;
  return Splitter(g).run();
}

}  // namespace burnish
