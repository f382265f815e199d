#include "graph/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "graph/op.h"

namespace burnish {

int64_t element_count(const Shape& s) {
  int64_t n = 1;
  for (int64_t d : s) {
    require(d >= 0, "a dimension of {} is negative: give every dimension a size", shape_text(s));
    require(!__builtin_mul_overflow(n, d, &n), "the number of elements of {} overflows 64 bits",
            shape_text(s));
  }
  return n;
}

std::string shape_text(const Shape& s) {
  return s.empty() ? "scalar" : fmt::format("{}", fmt::join(s, "x"));
}

std::string to_text(const TensorType& t) {
  std::string out = fmt::format("{}[{}]", name_of(t.dtype), fmt::join(t.shape, ","));
  if (t.layout.empty()) return out;
  std::vector<std::string> dims;
  for (const LayoutDim& d : t.layout) {
    std::string text = std::to_string(d.axis);
    if (d.div != 1) text += fmt::format("/{}", d.div);
    if (d.mod != 0) text += fmt::format("%{}", d.mod);
    if (d.pad != 0) text += fmt::format("+{}", d.pad);
    dims.push_back(std::move(text));
  }
  return out + "{" + join(dims, ",") + "}";
}

// ---- attributes

namespace {

template <class T>
T typed(const Attrs& attrs, std::string_view name, T otherwise) {
  auto it = attrs.all().find(name);
  if (it == attrs.all().end()) return otherwise;
  const T* v = std::get_if<T>(&it->second);
  check(v != nullptr, "attribute {} has another type than the operator's code expects", name);
  return *v;
}

bool same_tensor(const TensorPtr& a, const TensorPtr& b) {
  if (a == b) return true;
  return a && b && a->dtype == b->dtype && a->shape == b->shape && a->bytes == b->bytes;
}

bool same_value(const AttrValue& a, const AttrValue& b) {
  if (a.index() != b.index()) return false;
  if (auto* t = std::get_if<TensorPtr>(&a)) return same_tensor(*t, std::get<TensorPtr>(b));
  return a == b;
}

}  // namespace

int64_t Attrs::i(std::string_view name, int64_t otherwise) const {
  return typed<int64_t>(*this, name, otherwise);
}
double Attrs::f(std::string_view name, double otherwise) const {
  return typed<double>(*this, name, otherwise);
}
std::string Attrs::s(std::string_view name, std::string otherwise) const {
  return typed<std::string>(*this, name, std::move(otherwise));
}
std::vector<int64_t> Attrs::ints(std::string_view name, std::vector<int64_t> otherwise) const {
  return typed<std::vector<int64_t>>(*this, name, std::move(otherwise));
}
std::vector<double> Attrs::floats(std::string_view name, std::vector<double> otherwise) const {
  return typed<std::vector<double>>(*this, name, std::move(otherwise));
}

bool operator==(const Attrs& a, const Attrs& b) {
  return std::equal(a.all().begin(), a.all().end(), b.all().begin(), b.all().end(),
                    [](const auto& x, const auto& y) {
                      return x.first == y.first && same_value(x.second, y.second);
                    });
}

// ---- construction

namespace {

std::string_view name_of(AttrType t) {
  switch (t) {
    case AttrType::Int: return "an integer";
    case AttrType::Float: return "a float";
    case AttrType::String: return "a string";
    case AttrType::Ints: return "integers";
    case AttrType::Floats: return "floats";
    case AttrType::Strings: return "strings";
    case AttrType::TensorAttr: return "a tensor";
  }
  return "?";
}

AttrType type_of(const AttrValue& v) {
  static constexpr AttrType types[] = {AttrType::Int,    AttrType::Float,   AttrType::String,
                                       AttrType::Ints,   AttrType::Floats,  AttrType::Strings,
                                       AttrType::TensorAttr};
  return types[v.index()];
}

std::string text_of(const OpDef& op, const std::string& source) {
  return source.empty() ? std::string(op.name) : fmt::format("{} (from {})", op.name, source);
}

void check_schema(const OpDef& op, const std::vector<ValueId>& inputs, const Attrs& attrs,
                  const std::string& source) {
  for (const auto& [name, value] : attrs.all()) {
    auto spec = std::find_if(op.attrs.begin(), op.attrs.end(),
                             [&](const AttrSpec& s) { return s.name == name; });
    require(spec != op.attrs.end(), "{} has no attribute '{}'", text_of(op, source), name);
    require(spec->type == type_of(value), "attribute '{}' of {} must be {}, but it is {}", name,
            text_of(op, source), name_of(spec->type), name_of(type_of(value)));
  }
  for (const AttrSpec& spec : op.attrs) {
    require(!spec.required || attrs.has(spec.name), "{} lacks its attribute '{}'",
            text_of(op, source), spec.name);
  }
  require(inputs.size() >= op.min_inputs && inputs.size() <= op.max_inputs,
          "{} has {} inputs, but it takes {} to {}", text_of(op, source), inputs.size(),
          op.min_inputs, op.max_inputs == ~0u ? "any number" : std::to_string(op.max_inputs));
  for (size_t i = 0; i < inputs.size() && i < op.min_inputs; ++i) {
    require(inputs[i] != no_value, "input {} of {} is missing", i, text_of(op, source));
  }
}

}  // namespace

ValueId Graph::add_input(std::string value_name, TensorType type) {
  element_count(type.shape);
  inputs.push_back(static_cast<ValueId>(values.size()));
  values.push_back({.name = std::move(value_name), .type = std::move(type)});
  return inputs.back();
}

ValueId Graph::add_constant(std::string value_name, TensorPtr data) {
  check(data != nullptr, "constant {} has no data", value_name);
  values.push_back({.name = std::move(value_name),
                    .type = {.dtype = data->dtype, .shape = data->shape},
                    .constant = std::move(data)});
  return static_cast<ValueId>(values.size() - 1);
}

namespace {

// What infer functions see of a node's inputs.
struct Operands {
  std::vector<TensorType> types;
  std::vector<TensorPtr> constants;
  std::unique_ptr<bool[]> present;

  Operands(const Graph& g, const Node& n)
      : types(n.inputs.size()), constants(n.inputs.size()), present(new bool[n.inputs.size()]) {
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      present[i] = n.inputs[i] != no_value;
      if (!present[i]) continue;
      types[i] = g.type(n.inputs[i]);
      constants[i] = g.values[n.inputs[i]].constant;
    }
  }
  InferContext context(const Attrs& attrs) const {
    return {types, constants, {present.get(), types.size()}, attrs};
  }
};

}  // namespace

std::vector<TensorType> infer_types(const Graph& g, const Node& n) {
  if (!n.bodies.empty()) {
    std::vector<TensorType> types;
    for (ValueId v : n.bodies.front().outputs) types.push_back(n.bodies.front().type(v));
    return types;
  }
  check(n.op->infer != nullptr, "operator {} has no infer function", n.op->name);
  ErrorContext context("inferring the shape of " + text_of(*n.op, n.source));
  std::vector<TensorType> out = n.op->infer(Operands(g, n).context(n.attrs));
  for (const TensorType& t : out) element_count(t.shape);
  return out;
}

int64_t macs_of(const Graph& g, const Node& n) {
  int64_t total = 0;
  for (const Graph& body : n.bodies) {
    for (const Node& inner : body.nodes) total += macs_of(body, inner);
  }
  if (!n.bodies.empty() || n.op->macs == nullptr) return total;
  std::vector<TensorType> outputs;
  for (ValueId v : n.outputs) outputs.push_back(g.type(v));
  return n.op->macs(Operands(g, n).context(n.attrs), outputs);
}

std::vector<Alternative> alternatives_of(const Graph& g, const Node& n) {
  if (!n.bodies.empty() || n.op->alternatives == nullptr) return {};
  return n.op->alternatives(Operands(g, n).context(n.attrs));
}

namespace {

NodeId append_node(Graph& g, Node n, std::vector<TensorType> types,
                   std::vector<std::string> output_names) {
  const NodeId id = static_cast<NodeId>(g.nodes.size());
  for (uint32_t i = 0; i < types.size(); ++i) {
    n.outputs.push_back(static_cast<ValueId>(g.values.size()));
    g.values.push_back({.name = i < output_names.size() ? std::move(output_names[i]) : "",
                        .type = std::move(types[i]),
                        .producer = id,
                        .output = i});
  }
  g.nodes.push_back(std::move(n));
  return id;
}

}  // namespace

NodeId Graph::add_node(const OpDef& op, std::vector<ValueId> node_inputs, Attrs attrs,
                       std::string source, std::vector<std::string> output_names) {
  for (ValueId v : node_inputs) {
    check(v == no_value || v < values.size(), "input {} of {} names no value", v,
          text_of(op, source));
  }
  check_schema(op, node_inputs, attrs, source);
  Node n{.op = &op,
         .attrs = std::move(attrs),
         .inputs = std::move(node_inputs),
         .source = std::move(source)};
  std::vector<TensorType> types = infer_types(*this, n);
  check(!types.empty(), "{} has no outputs", text_of(op, n.source));
  return append_node(*this, std::move(n), std::move(types), std::move(output_names));
}

ValueId Graph::add(const OpDef& op, std::vector<ValueId> node_inputs, Attrs attrs,
                   std::string source) {
  const NodeId n = add_node(op, std::move(node_inputs), std::move(attrs), std::move(source));
  check(nodes[n].outputs.size() == 1, "{} has {} outputs where one was expected", op.name,
        nodes[n].outputs.size());
  return nodes[n].outputs[0];
}

NodeId add_group(Graph& g, Graph body, std::vector<ValueId> inputs, std::string source,
                 std::vector<std::string> output_names) {
  check(inputs.size() == body.inputs.size(), "a group has {} inputs, but its body has {}",
        inputs.size(), body.inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i] < g.values.size() && g.type(inputs[i]) == body.type(body.inputs[i]),
          "input {} of a group differs from its body's", i);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    body.values[body.inputs[i]].constant = g.values[inputs[i]].constant;
  }
  Node n{.op = &group_op(), .inputs = std::move(inputs), .source = std::move(source)};
  n.bodies.push_back(std::move(body));
  std::vector<TensorType> types = infer_types(g, n);
  return append_node(g, std::move(n), std::move(types), std::move(output_names));
}

// ---- analysis and rewriting

std::vector<std::vector<NodeId>> consumers(const Graph& g) {
  std::vector<std::vector<NodeId>> readers(g.values.size());
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    for (ValueId v : g.nodes[n].inputs) {
      if (v != no_value && (readers[v].empty() || readers[v].back() != n)) readers[v].push_back(n);
    }
  }
  return readers;
}

GraphRewriter::GraphRewriter(const Graph& from) : from_(from), map_(from.values.size(), no_value) {
  out.name = from.name;
  for (ValueId v : from.inputs) {
    map_[v] = out.add_input(from.values[v].name, from.type(v));
    out.values[map_[v]].constant = from.values[v].constant;
  }
  for (ValueId v = 0; v < from.values.size(); ++v) {
    const Value& value = from.values[v];
    if (!value.is_constant() || map_[v] != no_value) continue;
    map_[v] = out.add_constant(value.name, value.constant);
    out.values[map_[v]].type.layout = value.type.layout;
  }
}

std::vector<ValueId> GraphRewriter::map(const std::vector<ValueId>& old) const {
  std::vector<ValueId> now;
  for (ValueId v : old) now.push_back(map(v));
  return now;
}

void GraphRewriter::copy(NodeId n) {
  const Node& node = from_.nodes[n];
  Node now{.op = node.op,
           .attrs = node.attrs,
           .inputs = map(node.inputs),
           .source = node.source,
           .bodies = node.bodies};
  std::vector<std::string> names;
  for (ValueId v : node.outputs) names.push_back(from_.values[v].name);
  std::vector<TensorType> types = infer_types(out, now);
  check(types.size() == node.outputs.size(), "{} changed its number of outputs", node.op->name);
  for (size_t i = 0; i < types.size(); ++i) types[i].layout = from_.type(node.outputs[i]).layout;
  const NodeId id = append_node(out, std::move(now), std::move(types), std::move(names));
  for (size_t i = 0; i < node.outputs.size(); ++i) set(node.outputs[i], out.nodes[id].outputs[i]);
}

// An output keeps its name. Where its new value bears a name that is part of the interface already (an input, another
// output) or has no producer, an identity node stands between.
Graph GraphRewriter::finish() {
  std::set<ValueId> named(out.inputs.begin(), out.inputs.end());
  for (ValueId old : from_.outputs) {
    ValueId v = map(old);
    check(v != no_value, "output {} was lost by a rewrite", from_.values[old].name);
    const bool same = out.values[v].name == from_.values[old].name;
    if (!same && (named.contains(v) || out.values[v].is_constant())) {
      v = out.add(op_named("identity"), {v}, {}, "");
    }
    out.values[v].name = from_.values[old].name;
    named.insert(v);
    out.outputs.push_back(v);
  }
  return without_dead_code(out);
}

Graph without_dead_code(const Graph& g) {
  std::vector<bool> live(g.values.size(), false);
  for (ValueId v : g.outputs) live[v] = true;
  for (ValueId v : g.inputs) live[v] = true;
  std::vector<bool> keep(g.nodes.size(), false);
  for (size_t n = g.nodes.size(); n-- > 0;) {
    const Node& node = g.nodes[n];
    keep[n] = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return live[v]; });
    if (!keep[n]) continue;
    for (ValueId v : node.outputs) live[v] = true;
    for (ValueId v : node.inputs) {
      if (v != no_value) live[v] = true;
    }
  }

  Graph out;
  out.name = g.name;
  std::vector<ValueId> now(g.values.size(), no_value);
  for (ValueId v = 0; v < g.values.size(); ++v) {
    if (!live[v]) continue;
    now[v] = static_cast<ValueId>(out.values.size());
    out.values.push_back(g.values[v]);
  }
  auto mapped = [&](std::vector<ValueId> ids) {
    for (ValueId& v : ids) v = v == no_value ? no_value : now[v];
    return ids;
  };
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (!keep[n]) continue;
    Node node = g.nodes[n];
    node.inputs = mapped(std::move(node.inputs));
    node.outputs = mapped(std::move(node.outputs));
    for (ValueId v : node.outputs) out.values[v].producer = static_cast<NodeId>(out.nodes.size());
    out.nodes.push_back(std::move(node));
  }
  out.inputs = mapped(g.inputs);
  out.outputs = mapped(g.outputs);
  return out;
}

}  // namespace burnish
