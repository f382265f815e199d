// Computes a whole graph with the formulas of its operators.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace burnish::test {

// Outputs of a graph for the given inputs, in the graph's order. Every node is evaluated as if all
// were constant.
inline std::vector<TensorPtr> evaluate_graph(Graph g, const std::vector<TensorPtr>& inputs) {
  for (size_t i = 0; i < g.inputs.size(); ++i) g.values[g.inputs[i]].constant = inputs.at(i);
  for (const Node& n : g.nodes) {
    const std::vector<TensorPtr> out = evaluate_node(g, n);
    check(out.size() == n.outputs.size(), "{} (from {}) has no formula", n.op->name, n.source);
    for (size_t i = 0; i < out.size(); ++i) g.values[n.outputs[i]].constant = out[i];
  }
  std::vector<TensorPtr> results;
  for (ValueId v : g.outputs) results.push_back(g.values[v].constant);
  return results;
}

inline TensorPtr floats(const Shape& shape, const std::vector<float>& values) {
  auto t = std::make_shared<Tensor>(DType::F32, shape);
  std::copy(values.begin(), values.end(), t->data<float>());
  return t;
}

}  // namespace burnish::test
