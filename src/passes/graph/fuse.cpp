// Puts nodes that are computed together into groups: a node of the operator "group" over a body.
//
//   %c = conv(%x, %w, %b)                 %r = group(%x, %w, %b, %y) { conv; add; relu }
//   %s = add(%c, %y)              ->
//   %r = relu(%s)
//
// A group starts at a root (an anchor, a reduction, a moving or an elementwise operator) and grows to the immediate
// post-dominator of its last node while everything on the paths between is elementwise of the same shape (the scheme
// of Relay's FuseOps). So every group is left through one node only, its sink, and therefore groups cannot form
// cycles: a cycle would have to leave a group and come back, and what lies on such a way lies on a path to the sink,
// hence in the group. Reshapes on row-major tensors become views and stay outside of groups.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "passes/graph/memory.h"
#include "passes/graph/bodies.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr size_t longest_group = 64;  // nodes; longer chains are cut

// Immediate post-dominators of a DAG whose nodes are in topological order; the exit is node count().
class PostDominators {
 public:
  explicit PostDominators(const Graph& g) {
    const NodeId exit = static_cast<NodeId>(g.nodes.size());
    parent_.assign(exit + 1, exit);
    depth_.assign(exit + 1, 0);
    const auto readers = consumers(g);
    std::vector<bool> leaves(g.values.size(), false);
    for (ValueId v : g.outputs) leaves[v] = true;
    for (NodeId n = exit; n-- > 0;) {
      NodeId common = ~NodeId{0};
      for (ValueId v : g.nodes[n].outputs) {
        if (leaves[v]) common = exit;
        for (NodeId r : readers[v]) common = common == ~NodeId{0} ? r : meet(common, r);
      }
      parent_[n] = common == ~NodeId{0} ? exit : common;
      depth_[n] = depth_[parent_[n]] + 1;
    }
  }
  NodeId of(NodeId n) const { return parent_[n]; }
  NodeId exit() const { return static_cast<NodeId>(parent_.size() - 1); }

 private:
  NodeId meet(NodeId a, NodeId b) const {
    while (a != b) {
      if (depth_[a] < depth_[b]) std::swap(a, b);
      a = parent_[a];
    }
    return a;
  }
  std::vector<NodeId> parent_;
  std::vector<uint32_t> depth_;
};

class Fuser {
 public:
  explicit Fuser(const Graph& g)
      : g_(g), readers_(consumers(g)), after_(g), group_of_(g.nodes.size(), ~uint32_t{0}) {}

  Graph run() {
    // Anchors first: an elementwise chain between two of them belongs to the epilogue of the first.
    for (const bool heavy : {true, false}) {
      for (NodeId n = 0; n < g_.nodes.size(); ++n) {
        if (is_heavy(n) == heavy && group_of_[n] == ~uint32_t{0} && !is_view(g_, g_.nodes[n])) grow(n);
      }
    }
    return emit();
  }

 private:
  bool is_heavy(NodeId n) const {
    const Fusion f = g_.nodes[n].op->fusion;
    return f == Fusion::Anchor || f == Fusion::Reduction;
  }

  void grow(NodeId root) {
    std::vector<NodeId> members{root};
    const uint32_t id = static_cast<uint32_t>(members_.size());
    group_of_[root] = id;
    const bool closed = g_.nodes[root].op->fusion == Fusion::Opaque || g_.nodes[root].outputs.size() != 1;
    for (NodeId sink = root; !closed;) {
      const NodeId next = after_.of(sink);
      if (next == after_.exit()) break;
      std::vector<NodeId> path = between(sink, next);
      if (path.empty() || members.size() + path.size() > longest_group) break;
      for (NodeId n : path) group_of_[n] = id;
      members.insert(members.end(), path.begin(), path.end());
      sink = next;
    }
    std::sort(members.begin(), members.end());
    members_.push_back(std::move(members));
  }

  // The nodes on the paths from `sink` to `next`, without the first; empty when one of them cannot join.
  std::vector<NodeId> between(NodeId sink, NodeId next) const {
    const TensorType& type = g_.type(g_.nodes[sink].outputs[0]);
    std::set<NodeId> found;
    std::vector<NodeId> open{sink};
    while (!open.empty()) {
      const NodeId n = open.back();
      open.pop_back();
      if (n == next) continue;
      for (ValueId v : g_.nodes[n].outputs) {
        for (NodeId r : readers_[v]) {
          if (found.contains(r)) continue;
          if (!can_join(g_.nodes[r], type) || group_of_[r] != ~uint32_t{0}) return {};
          if (found.size() >= longest_group) return {};
          found.insert(r);
          open.push_back(r);
        }
      }
    }
    return {found.begin(), found.end()};
  }

  bool can_join(const Node& n, const TensorType& type) const {
    if (n.op->fusion != Fusion::Elementwise && n.op->fusion != Fusion::Broadcast) return false;
    if (n.outputs.size() != 1 || is_view(g_, n)) return false;
    const TensorType& t = g_.type(n.outputs[0]);
    return t.shape == type.shape && same_memory(t.shape, t.layout, type.layout);
  }

  // Groups stand where their sinks stood: everything they read is made before.
  Graph emit() {
    GraphRewriter rewriter(g_);
    for (NodeId n = 0; n < g_.nodes.size(); ++n) {
      if (group_of_[n] == ~uint32_t{0}) {
        rewriter.copy(n);
        continue;
      }
      const std::vector<NodeId>& members = members_[group_of_[n]];
      if (members.back() == n) emit_group(rewriter, members);
    }
    return rewriter.finish();
  }

  void emit_group(GraphRewriter& rewriter, const std::vector<NodeId>& members) const {
    Graph body;
    std::vector<ValueId> inside(g_.values.size(), no_value), operands;
    std::vector<std::string> sources, ops;
    for (NodeId m : members) {
      const Node& n = g_.nodes[m];
      ops.emplace_back(n.op->name);
      if (!n.source.empty() && std::find(sources.begin(), sources.end(), n.source) == sources.end()) {
        sources.push_back(n.source);
      }
      for (ValueId v : n.inputs) {
        if (v == no_value || inside[v] != no_value) continue;
        inside[v] = body.add_input(fmt::format("p{}", operands.size()), g_.type(v));
        body.values[inside[v]].constant = g_.values[v].constant;
        operands.push_back(v);
      }
      copy_node(g_, n, body, inside);
    }
    body.name = name_of(ops);
    const Node& sink = g_.nodes[members.back()];
    std::vector<std::string> names;
    for (ValueId v : sink.outputs) {
      body.outputs.push_back(inside[v]);
      names.push_back(g_.values[v].name);
    }
    const NodeId group = add_group(rewriter.out, std::move(body), rewriter.map(operands),
                                   join(sources, "+"), std::move(names));
    for (size_t i = 0; i < sink.outputs.size(); ++i) {
      rewriter.set(sink.outputs[i], rewriter.out.nodes[group].outputs[i]);
    }
  }

  // conv_add_relu; long chains by their first operators and the count of the others.
  static std::string name_of(std::vector<std::string> ops) {
    const size_t shown = 4, count = ops.size();
    if (count > shown) {
      ops.resize(shown);
      ops.push_back(fmt::format("{}_more", count - shown));
    }
    return join(ops, "_");
  }

  const Graph& g_;
  std::vector<std::vector<NodeId>> readers_;
  PostDominators after_;
  std::vector<uint32_t> group_of_;
  std::vector<std::vector<NodeId>> members_;
};

}  // namespace

Graph fuse(const Graph& g, const Context&) { return Fuser(g).run(); }

}  // namespace burnish
