// f32 x, f32 w -> conv -> f32 y     =>     f64 x, f64 w -> conv -> f64 y
//
// The reference of accuracy: the same network with every float in fp64. Not part of any pipeline.
#include "base/error.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

bool narrow(DType t) { return is_float(t) && t != DType::F64; }

TensorPtr widened(const TensorPtr& t) {
  if (!narrow(t->dtype)) return t;
  auto wide = std::make_shared<Tensor>(DType::F64, t->shape);
  for (int64_t i = 0; i < t->size(); ++i) wide->set(i, {DType::F64, t->get(i).f, 0});
  return wide;
}

Attrs widened(const Attrs& attrs) {
  Attrs wide;
  for (const auto& [name, value] : attrs.all()) {
    if (const auto* text = std::get_if<std::string>(&value)) {
      auto t = name == "to" ? dtype_named(*text) : std::nullopt;
      wide.set(name, t && narrow(*t) ? std::string(name_of(DType::F64)) : *text);
    } else if (const auto* tensor = std::get_if<TensorPtr>(&value)) {
      wide.set(name, widened(*tensor));
    } else {
      wide.set(name, value);
    }
  }
  return wide;
}

}  // namespace

Graph to_double(const Graph& g, const Context&) {
  Graph out;
  out.name = g.name;
  std::vector<ValueId> map(g.values.size(), no_value);
  for (ValueId v : g.inputs) {
    TensorType t = g.type(v);
    if (narrow(t.dtype)) t.dtype = DType::F64;
    map[v] = out.add_input(g.values[v].name, t);
  }
  auto mapped = [&](ValueId v) {
    if (v != no_value && map[v] == no_value) {
      check(g.values[v].is_constant(), "value {} is read before it is made", g.values[v].name);
      map[v] = out.add_constant(g.values[v].name, widened(g.values[v].constant));
    }
    return v == no_value ? no_value : map[v];
  };
  for (const Node& n : g.nodes) {
    check(n.bodies.empty(), "{} is a group already: widen before fusion", n.source);
    std::vector<ValueId> inputs;
    std::vector<std::string> names;
    for (ValueId v : n.inputs) inputs.push_back(mapped(v));
    for (ValueId v : n.outputs) names.push_back(g.values[v].name);
    const NodeId now = out.add_node(*n.op, inputs, widened(n.attrs), n.source, names);
    for (size_t i = 0; i < n.outputs.size(); ++i) map[n.outputs[i]] = out.nodes[now].outputs[i];
  }
  for (ValueId v : g.outputs) out.outputs.push_back(mapped(v));
  return out;
}

}  // namespace burnish
