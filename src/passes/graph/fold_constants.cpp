// Replaces nodes whose inputs are all constant by their values.
//
// A node whose result is much larger than what it is made from (an Expand, a ConstantOfShape) stays: it is cheaper to
// compute at run time than to ship.
#include <algorithm>

#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr int64_t always_folded = int64_t{1} << 20;  // bytes

bool pays(const Graph& g, const Node& n) {
  int64_t in = 0, out = 0;
  for (ValueId v : n.inputs) {
    if (v == no_value) continue;
    if (!g.values[v].is_constant()) return false;
    in += element_count(g.type(v).shape) * size_of(g.type(v).dtype);
  }
  for (ValueId v : n.outputs) out += element_count(g.type(v).shape) * size_of(g.type(v).dtype);
  return out <= std::max(2 * in, always_folded);
}

}  // namespace

Graph fold_constants(const Graph& g, const Context&) {
  GraphRewriter rewriter(g);
  for (NodeId id = 0; id < g.nodes.size(); ++id) {
    rewriter.copy(id);
    const NodeId copied = static_cast<NodeId>(rewriter.out.nodes.size() - 1);
    const Node& n = rewriter.out.nodes[copied];
    if (!pays(rewriter.out, n)) continue;
    const std::vector<TensorPtr> values = evaluate_node(rewriter.out, n);
    for (size_t i = 0; i < values.size(); ++i) {
      const ValueId old = g.nodes[id].outputs[i];
      rewriter.set(old, rewriter.out.add_constant(g.values[old].name, values[i]));
    }
  }
  return rewriter.finish();
}

}  // namespace burnish
