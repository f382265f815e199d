// f32 x, f32 w -> conv -> f32 y     =>     f64 x, f64 w -> conv -> f64 y
//
// The reference of accuracy: the same network with every float in fp64. Not part of any pipeline. With `rounded`, what frameworks
// compute in a narrow type, but for the rounding of sums: inputs, constants and the results of operators are rounded to it.
#include "base/error.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

bool narrow(DType t) { return is_float(t) && t != DType::F64; }

TensorPtr widened(const TensorPtr& t, DType rounded = DType::F64) {
  if (!narrow(t->dtype)) return t;
  auto wide = std::make_shared<Tensor>(DType::F64, t->shape);
  Tensor one(rounded, {1});
  for (int64_t i = 0; i < t->size(); ++i) {
    one.set(0, {rounded, t->get(i).f, 0});
    wide->set(i, {DType::F64, one.get(0).f, 0});
  }
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

Graph to_double(const Graph& g, const Context&, DType rounded) {
  Graph out;
  out.name = g.name;
  std::vector<ValueId> map(g.values.size(), no_value);
  const auto cast_to = [&](ValueId v, DType t, const std::string& name) {
    Attrs to;
    to.set("to", std::string(name_of(t)));
    return out.nodes[out.add_node(op_named("cast"), {v}, std::move(to), name, {name})].outputs[0];
  };
  // A value of the new graph, rounded where it is f64, under this name.
  const auto as_rounded = [&](ValueId v, const std::string& name) {
    if (rounded == DType::F64 || out.type(v).dtype != DType::F64) return v;
    return cast_to(cast_to(v, rounded, name + ".narrow"), DType::F64, name);
  };
  const auto exact_name = [&](ValueId v) {
    return rounded == DType::F64 || !narrow(g.type(v).dtype) ? g.values[v].name : g.values[v].name + ".exact";
  };
  for (ValueId v : g.inputs) {
    TensorType t = g.type(v);
    if (narrow(t.dtype)) t.dtype = DType::F64;
    map[v] = as_rounded(out.add_input(g.values[v].name, t), g.values[v].name + ".rounded");
  }
  auto mapped = [&](ValueId v) {
    if (v != no_value && map[v] == no_value) {
      check(g.values[v].is_constant(), "value {} is read before it is made", g.values[v].name);
      map[v] = out.add_constant(g.values[v].name, widened(g.values[v].constant, rounded));
    }
    return v == no_value ? no_value : map[v];
  };
  for (const Node& n : g.nodes) {
    check(n.bodies.empty(), "{} is a group already: widen before fusion", n.source);
    std::vector<ValueId> inputs;
    std::vector<std::string> names;
    for (ValueId v : n.inputs) inputs.push_back(mapped(v));
    for (ValueId v : n.outputs) names.push_back(exact_name(v));
    const NodeId now = out.add_node(*n.op, inputs, widened(n.attrs), n.source, names);
    for (size_t i = 0; i < n.outputs.size(); ++i) map[n.outputs[i]] = as_rounded(out.nodes[now].outputs[i], g.values[n.outputs[i]].name);
  }
  for (ValueId v : g.outputs) out.outputs.push_back(mapped(v));
  return out;
}

}  // namespace burnish
