#include <algorithm>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace burnish {

namespace {

void verify_value(const Graph& g, ValueId id) {
  const Value& v = g.values[id];
  element_count(v.type.shape);
  for (const LayoutDim& d : v.type.layout) {
    check(d.axis < v.type.shape.size(), "the layout of {} names axis {} of {}", v.name, d.axis,
          to_text(v.type));
  }
  if (v.is_constant()) {
    check(v.constant->dtype == v.type.dtype && v.constant->shape == v.type.shape,
          "constant {} has the type {} but its data differ", v.name, to_text(v.type));
  }
  const bool is_input = std::find(g.inputs.begin(), g.inputs.end(), id) != g.inputs.end();
  const bool has_producer = v.producer != ~NodeId{0};
  check(int{is_input} + int{has_producer} + int{v.is_constant() && !is_input} == 1,
        "value {} must be exactly one of input, constant and output of a node", v.name);
  if (!has_producer) return;
  check(v.producer < g.nodes.size(), "value {} names a node that is not there", v.name);
  const Node& n = g.nodes[v.producer];
  check(v.output < n.outputs.size() && n.outputs[v.output] == id, "value {} is not an output of its producer {}",
        v.name, n.op->name);
}

void verify_attrs(const Node& n) {
  for (const auto& [name, value] : n.attrs.all()) {
    check(std::any_of(n.op->attrs.begin(), n.op->attrs.end(),
                      [&](const AttrSpec& s) {
                        return s.name == name && static_cast<size_t>(s.type) == value.index();
                      }),
          "node {} (from {}) has an attribute {} that its schema lacks or types otherwise",
          n.op->name, n.source, name);
  }
}

}  // namespace

void verify(const Graph& g) {
  for (ValueId v = 0; v < g.values.size(); ++v) verify_value(g, v);
  std::vector<bool> ready(g.values.size(), false);
  for (ValueId v = 0; v < g.values.size(); ++v) ready[v] = g.values[v].is_constant();
  for (ValueId v : g.inputs) {
    check(v < g.values.size(), "an input of graph {} is out of range", g.name);
    ready[v] = true;
  }
  for (const Node& n : g.nodes) {
    check(n.op != nullptr, "a node from {} has no operator", n.source);
    for (ValueId v : n.inputs) {
      check(v == no_value || (v < g.values.size() && ready[v]),
            "node {} (from {}) reads a value before it is made", n.op->name, n.source);
    }
    verify_attrs(n);
    for (const Graph& body : n.bodies) verify(body);
    const std::vector<TensorType> types = infer_types(g, n);
    check(types.size() == n.outputs.size(), "node {} (from {}) has {} outputs where {} are inferred",
          n.op->name, n.source, n.outputs.size(), types.size());
    for (size_t i = 0; i < types.size(); ++i) {
      check(n.outputs[i] < g.values.size(), "an output of {} is out of range", n.op->name);
      const TensorType& t = g.type(n.outputs[i]);
      check(t.dtype == types[i].dtype && t.shape == types[i].shape, "{} is {}, but {} gives {}",
            g.values[n.outputs[i]].name, to_text(t), n.op->name, to_text(types[i]));
      ready[n.outputs[i]] = true;
    }
  }
  for (ValueId v : g.outputs) {
    check(v < g.values.size() && ready[v], "an output of graph {} is never made", g.name);
  }
}

}  // namespace burnish
