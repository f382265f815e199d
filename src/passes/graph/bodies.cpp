#include "passes/graph/bodies.h"

namespace burnish {

void copy_node(const Graph& from, const Node& n, Graph& to, std::vector<ValueId>& map) {
  std::vector<ValueId> inputs;
  for (ValueId v : n.inputs) inputs.push_back(v == no_value ? no_value : map[v]);
  const NodeId copy = to.add_node(*n.op, std::move(inputs), n.attrs, n.source);
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    const ValueId v = to.nodes[copy].outputs[i];
    map[n.outputs[i]] = v;
    to.values[v].type.layout = from.type(n.outputs[i]).layout;
  }
}

}  // namespace burnish
