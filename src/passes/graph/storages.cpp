#include "passes/graph/storages.h"

#include <map>

#include "passes/graph/memory.h"

namespace burnish {

namespace {

class StorageFinder {
 public:
  explicit StorageFinder(const Graph& g)
      : g_(g), is_output_(g.values.size(), false),
        s_{.of = {}, .needs_code = std::vector<bool>(g.nodes.size(), true)} {}

  Storages run() {
    for (ValueId v = 0; v < g_.values.size(); ++v) s_.of.push_back({v});
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& n = g_.nodes[i];
      if (!n.bodies.empty() || !is_view(g_, n)) continue;
      s_.of[n.outputs[0]] = s_.of[n.inputs[0]];
      s_.needs_code[i] = false;
    }
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      if (auto split = slices_of(g_, g_.nodes[i], "split")) join_split(i, *split);
    }
    for (ValueId v : g_.outputs) is_output_[s_.of[v].root] = true;
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      if (auto concat = slices_of(g_, g_.nodes[i], "concat")) join_concat(i, *concat);
    }
    return std::move(s_);
  }

 private:
  // Readers of the parts read in the whole.
  void join_split(size_t node, const Slices& split) {
    const Location& whole = s_.of[split.whole];
    if (g_.values[whole.root].is_constant()) return;
    if (whole.axis && (!split.apart || *whole.axis != split.axis)) return;
    std::map<ValueId, int64_t> starts;
    for (size_t k = 0; k < split.parts.size(); ++k) {
      if (split.apart && !can_lie_apart(split.parts[k], split.axis, g_.type(split.whole))) return;
      starts[split.parts[k]] = split.offsets[k];
    }
    take(node, split, starts);
  }

  // Producers of the parts write in the whole: each part is a storage of its own, or several side by side are one. It
  // is made by a group, and not an output, which is a tensor by itself.
  void join_concat(size_t node, const Slices& concat) {
    if (s_.of[concat.whole].axis) return;
    std::map<ValueId, int64_t> starts, elements;  // of storages in the whole, and in how many the parts lie
    for (size_t k = 0; k < concat.parts.size(); ++k) {
      const ValueId v = concat.parts[k];
      const Location& p = s_.of[v];
      if (g_.values[p.root].producer == ~NodeId{0} || is_output_[p.root] || !is_dense(g_.type(p.root))) return;
      if (concat.apart ? !can_lie_apart(p.root, concat.axis, g_.type(concat.whole)) : p.axis.has_value()) return;
      const int64_t start = concat.offsets[k] - p.offset;
      if (starts.try_emplace(p.root, start).first->second != start) return;
      elements[p.root] += element_count(g_.type(v).shape);
    }
    for (const auto& [root, n] : elements) {
      if (n != element_count(g_.type(root).shape)) return;
    }
    take(node, concat, starts);
  }

  // Whether all values in the storage of `root` can have the rows of `whole`.
  bool can_lie_apart(ValueId root, uint32_t axis, const TensorType& whole) const {
    for (ValueId v = 0; v < s_.of.size(); ++v) {
      if (s_.of[v].root != root) continue;
      if ((s_.of[v].axis && *s_.of[v].axis != axis) || !same_but_for(axis, g_.type(v), whole)) return false;
    }
    return true;
  }

  // The storages, given by their roots, become part of the whole's.
  void take(size_t node, const Slices& slices, const std::map<ValueId, int64_t>& starts) {
    const Location whole = s_.of[slices.whole];
    for (ValueId v = 0; v < s_.of.size(); ++v) {
      Location& p = s_.of[v];
      const auto start = starts.find(p.root);
      if (start == starts.end()) continue;
      p.root = whole.root;
      p.offset += whole.offset + start->second;
      if (!slices.apart) continue;
      p.axis = slices.axis;
      p.pad = whole.pad + g_.type(slices.whole).shape[slices.axis] - g_.type(v).shape[slices.axis];
    }
    s_.needs_code[node] = false;
  }

  const Graph& g_;
  std::vector<bool> is_output_;  // by root
  Storages s_;
};

}  // namespace

Storages storages(const Graph& g) { return StorageFinder(g).run(); }

Graph with_pitches(const Graph& g, const Storages& s) {
  Graph out = g;
  for (ValueId v = 0; v < g.values.size(); ++v) {
    if (s.of[v].axis) out.values[v].type.layout = padded(g.type(v), *s.of[v].axis, s.of[v].pad);
  }
  for (Node& n : out.nodes) {
    if (n.bodies.size() != 1) continue;
    Graph& body = n.bodies[0];
    auto retype = [&](const std::vector<ValueId>& outside, const std::vector<ValueId>& inside) {
      for (size_t i = 0; i < outside.size(); ++i) {
        if (s.of[outside[i]].axis) body.values[inside[i]].type.layout = out.type(outside[i]).layout;
      }
    };
    retype(n.inputs, body.inputs);
    retype(n.outputs, body.outputs);
  }
  return out;
}

}  // namespace burnish
