// Joins a sum of products with the lone reader that adds it to a sum of its own, where the target would rather
// have both in one nest.
//
//   %l = group(%x) { conv; relu }
//   %o = group(%y, %l) { conv_transpose; relu; add }      ->      %o = group(%x, %y) { conv; relu; conv_transpose; relu; add }
//
// What is added never becomes a tensor. Pyramids have such sums, and residual blocks whose shortcut is a convolution.
#include "graph/op.h"
#include "passes/graph/bodies.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

// Is the input read behind all sums, and is there one?
bool is_addend(const StageGroup& g, StageId input) {
  std::vector<bool> with(g.stages.size(), false);
  with[input] = true;
  bool sums = false;
  for (StageId s = 0; s < g.stages.size(); ++s) {
    if (!g[s].is_compute()) continue;
    for (const StageId p : producers(g, s)) with[s] = with[s] || with[p];
    sums |= g[s].is_reduction();
    if (with[s] && g[s].is_reduction()) return false;
  }
  return sums;
}

}  // namespace

Graph fuse_addends(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  const auto readers = consumers(g);
  std::vector<NodeId> maker(g.values.size(), ~NodeId{0});  // of what one group alone reads
  for (NodeId n = 0; n < g.nodes.size(); ++n)
    if (is_group(g.nodes[n]) && readers[g.nodes[n].outputs[0]].size() == 1) maker[g.nodes[n].outputs[0]] = n;
  for (const ValueId v : g.outputs) maker[v] = ~NodeId{0};
  std::vector<bool> taken(g.nodes.size(), false);
  std::vector<std::optional<Node>> now(g.nodes.size());
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    const Node& reader = g.nodes[n];
    if (!is_group(reader)) continue;
    const StageGroup own = stages_of_group(g, reader);
    for (size_t i = 0; i < reader.inputs.size() && !now[n]; ++i) {
      const NodeId addend = maker[reader.inputs[i]];
      if (addend == ~NodeId{0} || now[addend] || !is_addend(own, own.inputs[i])) continue;
      Node both = joined_groups(g.nodes[addend], reader);
      if (!c.target->prefers_one_nest(stages_of_group(g, both))) continue;
      now[n] = std::move(both);
      taken[addend] = true;
    }
  }
  return with_joined(g, std::move(now), taken);
}

}  // namespace burnish
