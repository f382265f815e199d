// Narrow convolutions of one tensor become one convolution, on a device, which reads it once.
//
//   %h = sigmoid(conv(%x, W0, B0))                %y = conv(%x, [W0; W1; W2], [B0; B1; B2])
//   %s = conv(%x, W1, B1)                   ->    %z = where([true, false, false], sigmoid(%y), %y)
//   %o = conv(%x, W2, B2)                         %h, %s, %o = split(%z)
//
// Heads of a detector: each has fewer channels than a tile of instructions, and takes as long to
// read its input as all of them together. Outputs of one image are planes one after another, which
// elide_copies lets the kernel store where they are wanted; other parts would be copied.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr int64_t most_each = 16, most_together = 32;  // channels

// A narrow convolution whose result, or what an operator makes of its elements that alone reads it,
// is an output.
struct Head {
  NodeId conv = 0;
  std::optional<NodeId> finish;
  NodeId last() const { return finish.value_or(conv); }
};

class Merger {
 public:
  explicit Merger(const Graph& g) : g_(g), readers_(consumers(g)), rewriter_(g), is_output_(g.values.size()) {
    for (ValueId v : g.outputs) is_output_[v] = true;
  }

  Graph run() {
    std::set<NodeId> merged;
    std::map<NodeId, std::vector<Head>> at;  // in the place of the first of them
    for (NodeId id = 0; id < g_.nodes.size(); ++id) {
      if (merged.contains(id) || !head_of(id)) continue;
      const std::vector<Head> together = siblings_of(id, merged);
      if (together.size() < 2) continue;
      for (const Head& n : together) {
        merged.insert(n.conv);
        if (n.finish) merged.insert(*n.finish);
      }
      at[id] = together;
    }
    for (NodeId id = 0; id < g_.nodes.size(); ++id) {
      if (const auto found = at.find(id); found != at.end())
        merge(found->second);
      else if (!merged.contains(id))
        rewriter_.copy(id);
    }
    return rewriter_.finish();
  }

 private:
  const Shape& shape(ValueId v) const { return g_.type(v).shape; }
  int64_t channels(NodeId conv) const { return shape(g_.nodes[conv].outputs[0])[1]; }

  std::optional<Head> head_of(NodeId id) const {
    const Node& n = g_.nodes[id];
    if (n.op->name != "conv" || n.attrs.i("groups", 1) != 1) return std::nullopt;
    const ValueId v = n.outputs[0];
    const auto known = [&](size_t input) {
      return n.inputs.size() <= input || n.inputs[input] == no_value || (g_.values[n.inputs[input]].is_constant() && g_.type(n.inputs[input]).dtype == DType::F32);
    };
    if (shape(v).size() <= 2 || shape(v)[0] != 1 || shape(v)[1] > most_each || !known(1) || !known(2)) return std::nullopt;
    if (is_output_[v]) return Head{id, {}};
    if (readers_[v].size() != 1) return std::nullopt;
    const Node& next = g_.nodes[readers_[v][0]];
    const bool finishes = next.op->fusion == Fusion::Elementwise && next.inputs.size() == 1 && next.outputs.size() == 1 &&
                          g_.type(next.outputs[0]) == g_.type(v) && is_output_[next.outputs[0]];
    return finishes ? std::optional(Head{id, readers_[v][0]}) : std::nullopt;
  }

  // From the first on, as many as go together.
  std::vector<Head> siblings_of(NodeId first, const std::set<NodeId>& merged) const {
    const Node& one = g_.nodes[first];
    std::vector<Head> all;
    int64_t sum = 0;
    for (const NodeId id : readers_[one.inputs[0]]) {
      const Node& n = g_.nodes[id];
      const auto head = id < first || merged.contains(id) ? std::nullopt : head_of(id);
      if (!head || n.inputs[0] != one.inputs[0] || n.attrs != one.attrs) continue;
      const Shape &a = shape(n.inputs[1]), &b = shape(one.inputs[1]);
      if (!std::equal(a.begin() + 1, a.end(), b.begin() + 1, b.end()) || sum + channels(id) > most_together) continue;
      sum += channels(id);
      all.push_back(*head);
    }
    return all;
  }

  // Constants one after another, zeros for one that is absent.
  ValueId joined(const std::vector<Head>& parts, size_t input, Shape whole, const char* name) {
    int64_t each = 1, at = 0;
    for (size_t i = 1; i < whole.size(); ++i) each *= whole[i];
    auto all = std::make_shared<Tensor>(DType::F32, std::move(whole));
    for (const Head& n : parts) {
      const Node& conv = g_.nodes[n.conv];
      const Tensor* t = input < conv.inputs.size() && conv.inputs[input] != no_value ? g_.values[conv.inputs[input]].constant.get() : nullptr;
      for (int64_t k = 0; k < channels(n.conv) * each; ++k) all->set(at++, t ? t->get(k) : Scalar{DType::F32, 0, 0});
    }
    return rewriter_.out.add_constant(name, all);
  }

  void merge(const std::vector<Head>& parts) {
    Graph& g = rewriter_.out;
    const Node& first = g_.nodes[parts[0].conv];
    std::vector<std::string> sources;
    std::vector<int64_t> sizes;
    for (const Head& n : parts) {
      sizes.push_back(channels(n.conv));
      sources.push_back(g_.nodes[n.conv].source);
      if (n.finish) sources.push_back(g_.nodes[*n.finish].source);
    }
    std::erase(sources, "");
    const std::string source = join(sources, "+");
    int64_t all = 0;
    for (const int64_t n : sizes) all += n;
    Shape weights = shape(first.inputs[1]);
    weights[0] = all;
    ValueId v = g.add(*first.op, {rewriter_.map(first.inputs[0]), joined(parts, 1, weights, "weights"), joined(parts, 2, {all}, "bias")}, first.attrs, source);
    v = finished(parts, v, source);
    Attrs attrs;
    attrs.set("axis", int64_t{1});
    attrs.set("sizes", sizes);
    const NodeId split = g.add_node(op_named("split"), {v}, attrs, source);
    for (size_t i = 0; i < parts.size(); ++i) {
      const ValueId old = g_.nodes[parts[i].last()].outputs[0], now = g.nodes[split].outputs[i];
      g.values[now].name = g_.values[old].name;
      rewriter_.set(old, now);
    }
  }

  // Each operator on the channels of those parts that it follows.
  ValueId finished(const std::vector<Head>& parts, ValueId v, const std::string& source) {
    Graph& g = rewriter_.out;
    std::vector<NodeId> kinds;
    const auto same = [&](NodeId a, NodeId b) { return g_.nodes[a].op == g_.nodes[b].op && g_.nodes[a].attrs == g_.nodes[b].attrs; };
    for (const Head& n : parts)
      if (n.finish && std::ranges::none_of(kinds, [&](NodeId k) { return same(k, *n.finish); })) kinds.push_back(*n.finish);
    const ValueId sums = v;
    for (const NodeId kind : kinds) {
      Shape mask(g.type(v).shape.size(), 1);
      mask[1] = g.type(v).shape[1];
      auto where = std::make_shared<Tensor>(DType::Bool, mask);
      int64_t c = 0, chosen = 0;
      for (const Head& n : parts) {
        const bool of_kind = n.finish && same(kind, *n.finish);
        for (int64_t k = 0; k < channels(n.conv); ++k, chosen += of_kind) where->set(c++, {DType::Bool, 0, of_kind});
      }
      const ValueId all = g.add(*g_.nodes[kind].op, {sums}, g_.nodes[kind].attrs, source);
      v = chosen == c ? all : g.add(op_named("where"), {g.add_constant("channels", where), all, v}, {}, source);
    }
    return v;
  }

  const Graph& g_;
  const std::vector<std::vector<NodeId>> readers_;
  GraphRewriter rewriter_;
  std::vector<bool> is_output_;
};

}  // namespace

Graph merge_convolutions(const Graph& g, const Context& c) {
  if (c.target == nullptr || !c.target->machine().device) return g;
  return Merger(g).run();
}

}  // namespace burnish
