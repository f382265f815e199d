// The graph IR: a network as operators over tensors. One generic node for the open set of operators; what an operator
// means stands in its OpDef (graph/op.h). A Graph is a value: passes take one and return another.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "te/evaluate.h"
#include "te/stage.h"

namespace burnish {

struct OpDef;

using Shape = std::vector<int64_t>;

struct TensorType {
  DType dtype = DType::F32;
  Shape shape;    // logical
  Layout layout;  // of the logical axes; empty: row-major
  friend bool operator==(const TensorType&, const TensorType&) = default;
};
int64_t element_count(const Shape& s);  // UserError on overflow
std::string to_text(const TensorType& t);  // f32[1,3,512,512] or f32[1,24,8,8]{0,2,3,1}
std::string shape_text(const Shape& s);    // 1x3x512x512

using AttrValue = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>, TensorPtr>;

class Attrs {
 public:
  void set(std::string name, AttrValue v) { values_[std::move(name)] = std::move(v); }
  bool has(std::string_view name) const { return values_.contains(name); }
  // Typed access: the value, or `otherwise` when absent; InternalError when of another type (schemas prevent it).
  int64_t i(std::string_view name, int64_t otherwise = 0) const;
  double f(std::string_view name, double otherwise = 0) const;
  std::string s(std::string_view name, std::string otherwise = {}) const;
  std::vector<int64_t> ints(std::string_view name, std::vector<int64_t> otherwise = {}) const;
  std::vector<double> floats(std::string_view name, std::vector<double> otherwise = {}) const;
  const std::map<std::string, AttrValue, std::less<>>& all() const { return values_; }

 private:
  std::map<std::string, AttrValue, std::less<>> values_;
};
bool operator==(const Attrs& a, const Attrs& b);  // tensors by content

using ValueId = uint32_t;
using NodeId = uint32_t;
inline constexpr ValueId no_value = ~ValueId{0};  // an absent optional input

struct Graph;

// A tensor: the output of a node, an input of the graph, or a constant.
struct Value {
  std::string name;
  TensorType type;
  NodeId producer = ~NodeId{0};
  uint32_t output = 0;       // which output of the producer
  TensorPtr constant;        // row-major data of a constant; an input of a group's body has it too where it is known
  bool is_constant() const { return constant != nullptr; }
};

struct Node {
  const OpDef* op = nullptr;
  Attrs attrs;
  std::vector<ValueId> inputs, outputs;
  std::string source;         // names of the nodes of the user's model that this came from, joined by '+'
  std::vector<Graph> bodies;  // a fused group's body; If, Loop, Scan later
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;  // producers before consumers
  std::vector<ValueId> inputs, outputs;

  ValueId add_input(std::string name, TensorType type);
  ValueId add_constant(std::string name, TensorPtr data);
  // Infers the output types. UserError (bad attribute, shapes that do not fit) names `source`.
  NodeId add_node(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string source,
                  std::vector<std::string> output_names = {});
  ValueId add(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs, std::string source);  // its only output
  const TensorType& type(ValueId v) const { return values[v].type; }
};

// Types of a node's outputs as its operator infers them (row-major), or as its body says.
std::vector<TensorType> infer_types(const Graph& g, const Node& n);

// Adds a fused group: a node of the operator "group" over one body, whose inputs and outputs are the node's.
// Constants are inputs of the body like any other, whose content is known there too.
NodeId add_group(Graph& g, Graph body, std::vector<ValueId> inputs, std::string source,
                 std::vector<std::string> output_names = {});

// For every value the nodes that read it, in order, each once; the graph's outputs are not counted.
std::vector<std::vector<NodeId>> consumers(const Graph& g);

// Rebuilds a graph node by node: the frame of most passes. `emit(node, inputs)` adds what replaces the node to
// `out` and returns the values that stand for its outputs; map(v) gives the new value of an old one.
class GraphRewriter {
 public:
  explicit GraphRewriter(const Graph& from);
  Graph out;
  ValueId map(ValueId old) const { return old == no_value ? no_value : map_[old]; }
  std::vector<ValueId> map(const std::vector<ValueId>& old) const;
  void set(ValueId old, ValueId now) { map_[old] = now; }
  void copy(NodeId n);  // the node as it is, over mapped inputs; types are inferred anew
  Graph finish();       // sets the outputs, keeps their names, drops what is dead

 private:
  const Graph& from_;
  std::vector<ValueId> map_;
};

Graph without_dead_code(const Graph& g);

std::string to_text(const Graph& g);  // small constants in full, large ones as shape and hash
Graph parse_graph(std::string_view text);  // UserError with line number; large constants become seeded noise

// InternalError unless: ids in range, producers before consumers, types equal what infer says, attributes fit the schema.
void verify(const Graph& g);

}  // namespace burnish
