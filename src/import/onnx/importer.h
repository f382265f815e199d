// The walk over an ONNX model's nodes. Everything that a name stands for is a value of the graph
// being built, or is poisoned: it depends on something that Burnish does not support, which is
// collected and reported at the end.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/op.h"
#include "import/import.h"
#include "import/onnx/node_context.h"
#include "import/onnx/order.h"

namespace burnish::onnx_pb {
class FunctionProto;
class ModelProto;
class TensorProto;
}  // namespace burnish::onnx_pb

namespace burnish::onnx {

inline constexpr int64_t oldest_opset = 6, newest_opset = 27;

// What a name of the model stands for.
struct Bound {
  ValueId value = no_value;
  bool poisoned = false;
};

// Names that a list of nodes sees. A subgraph looks into the scope around it, a function's body
// does not.
struct Scope {
  const Scope* outer = nullptr;
  std::unordered_map<std::string, Bound> names;
  std::map<std::string, int64_t, std::less<>> opsets;  // by domain
  // A function's attributes, by the names that its body refers to; null inside a graph.
  const std::map<std::string, const onnx_pb::AttributeProto*, std::less<>>* attributes = nullptr;
  std::string prefix;  // of source names: call1/
  int depth = 0;

  const Bound* find(const std::string& name) const;
};

class Importer {
 public:
  Importer(std::filesystem::path folder, const ImportOptions& options)
      : folder_(std::move(folder)), options_(options) {}

  // The graph; incomplete when gaps() is not empty.
  Graph run(onnx_pb::ModelProto& model);
  // The model without the sizes of its inputs; nothing when all of them are known.
  std::optional<ModelOutline> outline(onnx_pb::ModelProto& model);
  // Adds every unknown operator to gaps(): all that can be said when run() or outline() gave up.
  void find_unknown_operators(const onnx_pb::ModelProto& model);
  const std::vector<UnsupportedOp>& gaps() const { return gaps_; }

  // ---- for NodeContext
  Graph& graph() { return graph_; }
  std::vector<ValueId> emit(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs,
                            const std::string& source);
  TensorPtr tensor(const onnx_pb::TensorProto& t, const std::string& name);
  // A constant that the import made rather than read: all of them together may not fill the memory.
  ValueId add_made_constant(TensorPtr data);
  // A sequence bears a number that no value has.
  static bool is_sequence(ValueId v) { return v != no_value && v >= first_sequence; }
  const std::vector<ValueId>& sequence(ValueId v) const { return sequences_[v - first_sequence]; }
  ValueId add_sequence(std::vector<ValueId> values);
  // Outputs of a graph inside a node; Gap when one is poisoned.
  std::vector<ValueId> inline_graph(const onnx_pb::GraphProto& graph,
                                    const std::vector<ValueId>& inputs, const Scope& around);

 private:
  void begin(const onnx_pb::ModelProto& model, Scope& scope);
  void bind_all_constants(onnx_pb::ModelProto& model, Scope& scope);
  void read_opsets(const onnx_pb::ModelProto& model, Scope& scope) const;
  void bind_constants(const onnx_pb::GraphProto& graph, Scope& scope);
  void convert_nodes(const NodeList& nodes, Scope& scope);
  void convert_node(const onnx_pb::NodeProto& node, int position, Scope& scope);
  std::vector<ValueId> call(const onnx_pb::FunctionProto& function, const onnx_pb::NodeProto& node,
                            const std::vector<ValueId>& inputs, Scope& scope);
  std::vector<ValueId> call_operator(const OnnxOp& op, const onnx_pb::NodeProto& node,
                                     std::string source, std::vector<ValueId> inputs, Scope& scope);
  void add_gap(const onnx_pb::NodeProto& node, std::string reason, std::string source);
  void scan_for_gaps(const onnx_pb::NodeProto& node, const std::string& source, int depth);
  const onnx_pb::FunctionProto* function_of(const onnx_pb::NodeProto& node) const;
  void set_outputs(const onnx_pb::GraphProto& graph, Scope& scope);
  bool worth_evaluating(const Node& node);

  static constexpr ValueId first_sequence = ValueId{1} << 31;

  std::filesystem::path folder_;
  const ImportOptions& options_;
  Graph graph_;
  std::vector<UnsupportedOp> gaps_;
  std::map<std::string, const onnx_pb::FunctionProto*, std::less<>>
      functions_;  // by domain:name:overload
  std::unordered_map<const onnx_pb::TensorProto*, TensorPtr>
      tensors_;  // bodies are converted more than once
  std::vector<std::vector<ValueId>> sequences_;
  std::set<const onnx_pb::FunctionProto*>
      scanned_;  // functions whose bodies scan_for_gaps has seen
  // What is spent so far: loops and functions of a hostile file repeat cheap things without end.
  uint64_t nodes_done_ = 0, bytes_made_ = 0;
  int64_t work_done_ = 0;
};

}  // namespace burnish::onnx
