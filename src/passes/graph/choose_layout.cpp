// Gives tensors of convolutional parts the channels-last layout, with explicit conversions where parts meet.
//
//   %y = conv(%x, %w)            %x1 = layout_transform(%x) {layout={0,2,3,1}}
//   %z = reshape(%y)     ->      %y{0,2,3,1} = conv(%x1, %w)
//                                %y1 = layout_transform(%y) {layout={}}
//                                %z = reshape(%y1)
//
// Formulas are written over logical axes and read any layout, so a conversion is a matter of speed alone, with one
// exception: reshapes and transposes are views in some layouts and copies in others.
//
// Each node has one or several choices of a layout (layout_choices.h):
//  - convolutions and poolings (LayoutRule::ChannelsLast) compute in channels-last, and ask it of their data operand; a
//    convolution may also read a tensor of few channels as it is: lanes run over output channels there, and converting a
//    picture costs more than its strided reads; on a device it may also write row-major;
//  - elementwise and moving operators that can work in any layout do so in channels-last or row-major;
//  - row-major operators that compute ask for row-major operands; those that only move elements read what there is;
//  - reshapes and transposes are views of any layout that allows it; a transpose is also a copy into any layout asked;
//  - a strided operator reads what there is, and can write what makes a transpose of its result a view;
//  - so does a product on a device, whose operands have rows or columns side by side;
//  - the graph's inputs and outputs are row-major.
// Copies and conversions between what is made and what is asked cost time; the whole is as cheap as pbqp.h finds.
#include <algorithm>
#include <map>

#include "passes/graph/layout_choices.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"
#include "passes/graph/pbqp.h"

namespace burnish {

namespace {

// The cheapest choice of every node.
std::vector<LayoutChoice> cheapest_layouts(const Graph& g, const Target* target) {
  const Machine machine = target ? target->machine() : Machine{};
  std::vector<std::vector<LayoutChoice>> choices = layout_choices(g, target);
  const auto lies = [&](ValueId v, const LayoutChoice* c) {
    return c && c->result.size() == g.type(v).shape.size() ? c->result : Layout{};
  };
  // Of the value as `from` leaves it and `wanted` asks for it.
  const auto conversion = [&](ValueId v, const LayoutChoice* from, const std::optional<Layout>& wanted) {
    const TensorType& t = g.type(v);
    return !wanted || same_memory(t.shape, lies(v, from), *wanted) ? 0.0 : move_us(t, machine);
  };

  std::vector<std::vector<double>> own(g.nodes.size());
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    for (const LayoutChoice& c : choices[n]) {
      own[n].push_back(c.us);
      for (size_t i = 0; i < c.wanted.size(); ++i) {
        const ValueId v = g.nodes[n].inputs[i];
        if (has_layout(g, v) && g.values[v].producer == ~NodeId{0}) own[n].back() += conversion(v, nullptr, c.wanted[i]);
      }
    }
  }
  for (ValueId v : g.outputs) {
    const NodeId n = g.values[v].producer;
    for (size_t k = 0; n != ~NodeId{0} && k < own[n].size(); ++k) own[n][k] += conversion(v, &choices[n][k], Layout{});
  }
  Pbqp pbqp;
  for (std::vector<double>& costs : own) pbqp.add_node(std::move(costs));
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    for (size_t i = 0; i < g.nodes[n].inputs.size(); ++i) {
      const ValueId v = g.nodes[n].inputs[i];
      if (!has_layout(g, v) || g.values[v].producer == ~NodeId{0}) continue;
      const NodeId from = g.values[v].producer;
      std::vector<double> costs;
      for (const LayoutChoice& made : choices[from]) {
        for (const LayoutChoice& c : choices[n]) costs.push_back(conversion(v, &made, c.wanted[i]));
      }
      if (std::ranges::any_of(costs, [](double us) { return us > 0; })) pbqp.add_edge(from, n, costs);
    }
  }
  const std::vector<size_t> chosen = pbqp.solve();
  std::vector<LayoutChoice> out;
  for (NodeId n = 0; n < g.nodes.size(); ++n) out.push_back(std::move(choices[n][chosen[n]]));
  return out;
}

class LayoutChooser {
 public:
  explicit LayoutChooser(const Graph& g) : g_(g), rewriter_(g) {}

  Graph run(const std::vector<LayoutChoice>& chosen) {
    for (NodeId n = 0; n < g_.nodes.size(); ++n) visit(n, chosen[n]);
    for (ValueId v : g_.outputs) {
      const ValueId now = rewriter_.map(v);
      const ValueId plain = converted(now, {});
      if (plain == now) rewriter_.out.values[now].type.layout = {};  // the same bytes
      rewriter_.set(v, plain);
    }
    return rewriter_.finish();
  }

 private:
  const TensorType& now_type(ValueId old) const { return rewriter_.out.type(rewriter_.map(old)); }

  void visit(NodeId id, const LayoutChoice& choice) {
    const Node& n = g_.nodes[id];
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (choice.wanted[i]) ask(n.inputs[i], *choice.wanted[i]);
    }
    rewriter_.copy(id);
    for (ValueId v : n.outputs) {
      TensorType& t = rewriter_.out.values[rewriter_.map(v)].type;
      t.layout = t.shape.size() == choice.result.size() ? choice.result : Layout{};
      if (n.op->layout == LayoutRule::Any && is_row_major_memory(t)) t.layout = name_of_operands(n, t.shape);
    }
    restore();
  }

  // Where that makes no difference in memory, a result is named as its operands are.
  Layout name_of_operands(const Node& n, const Shape& shape) const {
    for (ValueId v : n.inputs) {
      if (!has_layout(g_, v)) continue;
      const TensorType& t = now_type(v);
      if (t.shape.size() == shape.size()) return same_memory(shape, t.layout, {}) ? t.layout : Layout{};
    }
    return {};
  }

  // For the node being copied, operand `old` stands in the layout wanted; restore() undoes the redirection.
  void ask(ValueId old, const Layout& wanted) {
    if (!has_layout(g_, old)) return;
    const ValueId now = rewriter_.map(old);
    const ValueId better = converted(now, wanted);
    if (better == now) return;
    redirected_.emplace_back(old, now);
    rewriter_.set(old, better);
  }
  void restore() {
    for (size_t i = redirected_.size(); i-- > 0;) rewriter_.set(redirected_[i].first, redirected_[i].second);
    redirected_.clear();
  }

  // The value in another layout: itself where the bytes are the same, what it was converted from, or a conversion
  // made before.
  ValueId converted(ValueId now, const Layout& wanted) {
    const TensorType type = rewriter_.out.type(now);
    if (same_memory(type.shape, type.layout, wanted)) return now;
    const Value& value = rewriter_.out.values[now];
    if (value.producer != ~NodeId{0}) {
      const Node& producer = rewriter_.out.nodes[value.producer];
      if (producer.op == &layout_transform_op()) return converted(producer.inputs[0], wanted);
    }
    for (const auto& [layout, v] : made_[now]) {
      if (layout == wanted) return v;
    }
    const std::string name = value.name + (wanted.empty() ? ".rows" : ".last");
    const NodeId n = rewriter_.out.add_node(layout_transform_op(), {now}, layout_attrs(wanted), "", {name});
    const ValueId v = rewriter_.out.nodes[n].outputs[0];
    made_[now].emplace_back(wanted, v);
    return v;
  }

  const Graph& g_;
  GraphRewriter rewriter_;
  std::map<ValueId, std::vector<std::pair<Layout, ValueId>>> made_;
  std::vector<std::pair<ValueId, ValueId>> redirected_;  // old value, what it stood for
};

}  // namespace

Graph choose_layout(const Graph& g, const Context& c) { return LayoutChooser(g).run(cheapest_layouts(g, c.target)); }

}  // namespace burnish
