// Gives tensors of convolutional parts the channels-last layout, with explicit conversions where parts meet.
//
//   %y = conv(%x, %w)            %x1 = layout_transform(%x) {layout={0,2,3,1}}
//   %z = reshape(%y)     ->      %y{0,2,3,1} = conv(%x1, %w)
//                                %y1 = layout_transform(%y) {layout={}}
//                                %z = reshape(%y1)
//
// Formulas are written over logical axes and read any layout, so a conversion is a matter of speed alone, with one
// exception: reshapes become views and need their operand in row-major order. Hence the rules below:
//  - convolutions and poolings (LayoutRule::ChannelsLast) compute in channels-last, and ask it of their data operand,
//    except that a convolution reads a tensor of few channels as it is: lanes run over output channels there, and
//    converting a picture costs more than its strided reads;
//  - elementwise and moving operators that can work in any layout follow their operands;
//  - row-major operators that compute get converted operands; those that only move elements read what there is;
//  - a transpose that only strided operators read lies as its operand does, and a strided operator that only a transpose
//    reads writes what that one would: both are views then;
//  - the graph's inputs and outputs are row-major.
#include <algorithm>
#include <map>

#include "passes/graph/memory.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr int64_t few_channels = 4;

class LayoutChooser {
 public:
  explicit LayoutChooser(const Graph& g) : g_(g), readers_(consumers(g)), leaves_(g.values.size()), rewriter_(g) {
    for (ValueId v : g.outputs) leaves_[v] = true;
  }

  Graph run() {
    for (NodeId n = 0; n < g_.nodes.size(); ++n) visit(n);
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

  static bool computes(const Node& n) {
    return n.op->fusion == Fusion::Anchor || n.op->fusion == Fusion::Reduction;
  }

  void visit(NodeId id) {
    const Node& n = g_.nodes[id];
    Layout result;
    switch (n.op->layout) {
      case LayoutRule::ChannelsLast:
        result = computes(n) ? enter_channels_last(n) : follow_operands(n);
        break;
      case LayoutRule::Any: result = follow_operands(n); break;
      case LayoutRule::RowMajor:
        if (is_strided(*n.op)) {
          result = for_transpose(n);
        } else if (computes(n) || n.op->fusion == Fusion::Opaque || is_reshape(*n.op)) {
          for (ValueId v : n.inputs) ask(v, {});
        } else if (n.op->name == "transpose" && read_strided(n.outputs[0])) {
          result = transposed_in_place(n);
        }
        break;
    }
    rewriter_.copy(id);
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      TensorType& t = rewriter_.out.values[rewriter_.map(n.outputs[i])].type;
      t.layout = t.shape.size() == result.size() ? result : Layout{};
    }
    restore(n);
  }

  bool read_strided(ValueId v) const {
    return !leaves_[v] && std::ranges::all_of(readers_[v], [&](NodeId r) { return is_strided(*g_.nodes[r].op); });
  }

  // The result lies in memory as the operand does.
  Layout transposed_in_place(const Node& n) const {
    const TensorType& in = now_type(n.inputs[0]);
    const std::vector<int64_t> perm = permutation_of(n, in.shape.size());
    std::vector<uint32_t> place(perm.size());  // of the operand's axes among the result's
    for (uint32_t i = 0; i < perm.size(); ++i) place[static_cast<size_t>(perm[i])] = i;
    Layout layout = in.layout.empty() ? permuted(place) : in.layout;
    if (!in.layout.empty()) {
      for (LayoutDim& d : layout) d.axis = place[d.axis];
    }
    return layout;
  }

  // The order that makes a transpose of the result row-major, if that is all that reads it and the last axis stays.
  Layout for_transpose(const Node& n) const {
    const ValueId out = n.outputs[0];
    if (leaves_[out] || readers_[out].size() != 1) return {};
    const Node& reader = g_.nodes[readers_[out][0]];
    const size_t rank = g_.type(out).shape.size();
    if (reader.op->name != "transpose") return {};
    const std::vector<int64_t> perm = permutation_of(reader, rank);
    if (rank == 0 || perm.back() != static_cast<int64_t>(rank - 1)) return {};
    return permuted({perm.begin(), perm.end()});
  }

  static std::vector<int64_t> permutation_of(const Node& n, size_t rank) {
    std::vector<int64_t> perm = n.attrs.ints("perm");
    for (size_t i = rank; perm.size() < rank; --i) perm.push_back(static_cast<int64_t>(i - 1));
    for (int64_t& p : perm) p += p < 0 ? static_cast<int64_t>(rank) : 0;
    return perm;
  }

  Layout enter_channels_last(const Node& n) {
    const TensorType& data = now_type(n.inputs[0]);
    const Layout wanted = channels_last(data.shape.size());
    if (wanted.empty()) return {};
    const bool reads_picture = n.op->fusion == Fusion::Anchor && data.layout.empty() &&
                               data.shape[1] <= few_channels;
    if (!reads_picture) ask(n.inputs[0], wanted);
    return wanted;
  }

  // Channels-last as soon as one operand of the result's rank is; by name where that makes no difference in memory.
  Layout follow_operands(const Node& n) {
    const Shape& out = g_.type(n.outputs[0]).shape;
    Layout wanted;
    for (ValueId v : n.inputs) {
      if (v == no_value || g_.values[v].is_constant()) continue;
      const TensorType& t = now_type(v);
      if (t.shape.size() != out.size()) continue;
      if (wanted.empty() || !is_row_major_memory(t)) wanted = t.layout;
      if (!is_row_major_memory(t)) break;
    }
    if (wanted.empty()) return {};
    for (ValueId v : n.inputs) {
      if (v == no_value || g_.values[v].is_constant()) continue;
      if (now_type(v).shape.size() == wanted.size()) ask(v, wanted);
    }
    return wanted;
  }

  // For the node being copied, operand `old` stands in the layout wanted; restore() undoes the redirection.
  void ask(ValueId old, const Layout& wanted) {
    if (old == no_value || g_.values[old].is_constant()) return;
    const ValueId now = rewriter_.map(old);
    const ValueId better = converted(now, wanted);
    if (better == now) return;
    redirected_.emplace_back(old, now);
    rewriter_.set(old, better);
  }
  void restore(const Node&) {
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
  const std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> leaves_;
  GraphRewriter rewriter_;
  std::map<ValueId, std::vector<std::pair<Layout, ValueId>>> made_;
  std::vector<std::pair<ValueId, ValueId>> redirected_;  // old value, what it stood for
};

}  // namespace

Graph choose_layout(const Graph& g, const Context&) { return LayoutChooser(g).run(); }

}  // namespace burnish
