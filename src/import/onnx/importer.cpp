#include "import/onnx/importer.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "import/onnx/inputs.h"
#include "import/onnx/model_file.h"
#include "import/onnx/tensor.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

constexpr int max_call_depth = 64;
constexpr const char* unknown_operator = "unknown operator";
// Evaluating at import serves arithmetic on shapes; larger constants are folded by a pass.
constexpr int64_t max_evaluated_elements = 65536, max_evaluated_work = int64_t{1} << 24;
constexpr int64_t max_total_work = int64_t{1} << 30;

std::string_view plain_domain(std::string_view domain) { return domain == "ai.onnx" ? "" : domain; }

std::string op_text(const onnx_pb::NodeProto& node) {
  const std::string_view domain = plain_domain(node.domain());
  return domain.empty() ? node.op_type() : fmt::format("{}.{}", domain, node.op_type());
}

std::string function_key(std::string_view domain, std::string_view name,
                         std::string_view overload) {
  return fmt::format("{}:{}:{}", plain_domain(domain), name, overload);
}

int64_t opset_of(const Scope& scope, std::string_view domain) {
  const auto it = scope.opsets.find(plain_domain(domain));
  return it == scope.opsets.end() ? 0 : it->second;
}

std::string source_of(const onnx_pb::NodeProto& node, int position) {
  return node.name().empty() ? fmt::format("{}#{}", node.op_type(), position) : node.name();
}

void add_elements(const onnx_pb::TensorProto& t, ModelOutline& out) {
  const int64_t n = element_count(Shape(t.dims().begin(), t.dims().end()));
  require(!__builtin_add_overflow(out.parameters, n, &out.parameters),
          "the constants together have more elements than 64 bits can count");
}

// Nodes and constants as the file has them: functions are not inlined, and of branches each counts.
void count_contents(const onnx_pb::GraphProto& graph, ModelOutline& out) {
  for (const auto& t : graph.initializer()) add_elements(t, out);
  for (const auto& node : graph.node()) {
    const std::string op = op_text(node);
    if (op != "Constant") ++out.operators[op];
    for (const auto& a : node.attribute()) {
      if (op == "Constant" && a.has_t()) add_elements(a.t(), out);
      if (a.has_g()) count_contents(a.g(), out);
      for (const auto& g : a.graphs()) count_contents(g, out);
    }
  }
}

// The reason of an exception without the contexts that were added to it.
std::string without_context(std::string text) {
  if (const auto at = text.find(" (while "); at != std::string::npos) text.resize(at);
  return text;
}

}  // namespace

const Bound* Scope::find(const std::string& name) const {
  for (const Scope* s = this; s != nullptr; s = s->outer) {
    if (auto it = s->names.find(name); it != s->names.end()) return &it->second;
  }
  return nullptr;
}

// ---- the model

Graph Importer::run(onnx_pb::ModelProto& model) {
  Scope scope;
  begin(model, scope);
  for (auto& [name, type] : bound_inputs(model.graph(), options_)) {
    scope.names.emplace(name, Bound{.value = graph_.add_input(name, std::move(type))});
  }
  bind_all_constants(model, scope);
  convert_nodes(nodes_of(model.graph()), scope);
  set_outputs(model.graph(), scope);
  return gaps_.empty() ? without_dead_code(graph_) : std::move(graph_);
}

// The walk of run() with inputs that nothing is known of: what depends on them is only looked at,
// the rest (weights, names, order) is checked as ever.
std::optional<ModelOutline> Importer::outline(onnx_pb::ModelProto& model) {
  Scope scope;
  begin(model, scope);
  auto inputs = open_inputs(model.graph(), options_);
  if (!inputs) return std::nullopt;
  ModelOutline out{.inputs = std::move(*inputs), .outputs = declared_outputs(model.graph())};
  count_contents(model.graph(), out);
  for (const DeclaredTensor& input : out.inputs) {
    scope.names.emplace(input.name, Bound{.poisoned = true});
  }
  bind_all_constants(model, scope);
  convert_nodes(nodes_of(model.graph()), scope);
  set_outputs(model.graph(), scope);
  return out;
}

void Importer::begin(const onnx_pb::ModelProto& model, Scope& scope) {
  read_opsets(model, scope);
  for (const auto& f : model.functions()) {
    const bool fresh =
        functions_.emplace(function_key(f.domain(), f.name(), f.overload()), &f).second;
    require(fresh, "two functions are named '{}'", f.name());
  }
  graph_.name = model.graph().name();
}

void Importer::bind_all_constants(onnx_pb::ModelProto& model, Scope& scope) {
  for (const auto& [name, value] : options_.constants) {
    scope.names.emplace(name, Bound{.value = graph_.add_constant(name, value)});
  }
  bind_constants(model.graph(), scope);
  for (auto& t : *model.mutable_graph()->mutable_initializer())
    t.clear_raw_data();  // now held by the graph
}

void Importer::read_opsets(const onnx_pb::ModelProto& model, Scope& scope) const {
  for (const auto& o : model.opset_import()) {
    scope.opsets[std::string(plain_domain(o.domain()))] = o.version();
  }
  if (model.opset_import_size() == 0)
    scope.opsets[""] = 1;  // files from before operator sets had numbers
  if (const auto it = scope.opsets.find(""); it != scope.opsets.end()) {
    if (it->second < oldest_opset || it->second > newest_opset) {
      fail_unsupported("the model uses operator set {}, but {} to {} are read: convert it with "
                       "onnx.version_converter",
                       it->second, oldest_opset, newest_opset);
    }
  }
}

void Importer::bind_constants(const onnx_pb::GraphProto& graph, Scope& scope) {
  for (const auto& t : graph.initializer()) {
    require(!t.name().empty(), "an initializer has no name");
    if (scope.depth == 0 && options_.constants.contains(t.name())) continue;
    Bound bound;
    try {
      bound.value = graph_.add_constant(t.name(), tensor(t, t.name()));
    } catch (const Unsupported& e) {
      onnx_pb::NodeProto stand_in;
      stand_in.set_op_type("initializer");
      add_gap(stand_in, without_context(e.what()), t.name());
      bound.poisoned = true;
    }
    require(scope.names.emplace(t.name(), bound).second, "'{}' names two inputs or constants",
            t.name());
  }
  for (const auto& t : graph.sparse_initializer()) {
    onnx_pb::NodeProto stand_in;
    stand_in.set_op_type("initializer");
    add_gap(stand_in, "sparse tensors are not supported", t.values().name());
    scope.names.emplace(t.values().name(), Bound{.poisoned = true});
  }
}

TensorPtr Importer::tensor(const onnx_pb::TensorProto& t, const std::string& name) {
  TensorPtr& known = tensors_[&t];
  if (!known) known = read_tensor(t, name, folder_, options_.max_tensor_bytes);
  return known;
}

ValueId Importer::add_made_constant(TensorPtr data) {
  if (data.use_count() == 1) bytes_made_ += data->bytes.size();
  require(bytes_made_ <= options_.max_made_bytes,
          "the constants that follow from the model's shapes need more than {} bytes",
          options_.max_made_bytes);
  return graph_.add_constant("", std::move(data));
}

// An output has a name of its own: where its value is an input, a constant or another output, a
// copy bears it.
void Importer::set_outputs(const onnx_pb::GraphProto& graph, Scope& scope) {
  require(graph.output_size() > 0, "the graph has no outputs");
  std::vector<ValueId> named = graph_.inputs;
  std::set<std::string> names;
  for (const auto& info : graph.output()) {
    const std::string& name = info.name();
    require(names.insert(name).second, "two outputs are named '{}'", name);
    const Bound* bound = scope.find(name);
    require(bound != nullptr, "the output '{}' is no input, no constant and no node's output",
            name);
    if (bound->poisoned) continue;
    ValueId v = bound->value;
    if (is_sequence(v))
      fail_unsupported("the output '{}' is a sequence: only tensors can leave a model", name);
    const auto& type = info.type();
    if (type.has_tensor_type() && type.tensor_type().elem_type() != 0) {
      const auto dtype = dtype_of(type.tensor_type().elem_type());
      require(dtype == graph_.type(v).dtype,
              "the output '{}' is declared as {}, but is computed as {}", name,
              onnx_type_name(type.tensor_type().elem_type()), name_of(graph_.type(v).dtype));
    }
    if (graph_.values[v].is_constant() || std::find(named.begin(), named.end(), v) != named.end()) {
      v = graph_.add(op_named("identity"), {v}, {}, name);
    }
    graph_.values[v].name = name;
    named.push_back(v);
    graph_.outputs.push_back(v);
  }
}

// ---- nodes

void Importer::convert_nodes(const NodeList& nodes, Scope& scope) {
  const auto known = [&](const std::string& name) { return scope.find(name) != nullptr; };
  for (int position : sorted_nodes(nodes, known)) {
    convert_node(*nodes[static_cast<size_t>(position)], position, scope);
  }
}

void Importer::convert_node(const onnx_pb::NodeProto& node, int position, Scope& scope) {
  require(++nodes_done_ <= options_.max_nodes,
          "the model has more than {} nodes once its functions are inlined", options_.max_nodes);
  const ErrorContext context(
      fmt::format("importing node {}", scope.prefix + node_label(node, position)));
  const std::string source = scope.prefix + source_of(node, position);

  std::vector<ValueId> inputs;
  bool poisoned = false;
  for (const std::string& name : node.input()) {
    const Bound* bound = name.empty() ? nullptr : scope.find(name);
    inputs.push_back(bound ? bound->value : no_value);
    poisoned = poisoned || (bound && bound->poisoned);
  }

  std::vector<ValueId> values;
  if (poisoned) {
    scan_for_gaps(node, source, scope.depth);
  } else {
    try {
      if (const onnx_pb::FunctionProto* f = function_of(node)) {
        values = call(*f, node, inputs, scope);
      } else if (const OnnxOp* op = find_onnx_op(node.domain(), node.op_type())) {
        values = call_operator(*op, node, source, std::move(inputs), scope);
      } else {
        throw Gap{unknown_operator};
      }
    } catch (const Gap& gap) {
      if (!gap.reason.empty()) add_gap(node, gap.reason, source);
      poisoned = true;
    } catch (const Unsupported& e) {
      add_gap(node, without_context(e.what()), source);
      poisoned = true;
    }
  }
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty()) continue;
    Bound bound{.poisoned = poisoned};
    if (!poisoned) {
      bound.value = values[static_cast<size_t>(i)];
      require(bound.value != no_value, "its output '{}' has no value", node.output(i));
      if (!is_sequence(bound.value)) {
        std::string& name = graph_.values[bound.value].name;
        if (name.empty()) name = scope.prefix + node.output(i);
      }
    }
    scope.names.insert_or_assign(node.output(i), bound);
  }
}

std::vector<ValueId> Importer::call_operator(const OnnxOp& op, const onnx_pb::NodeProto& node,
                                             std::string source, std::vector<ValueId> inputs,
                                             Scope& scope) {
  const int64_t opset = opset_of(scope, node.domain());
  require(opset > 0, "the model imports no operator set for the domain '{}'", node.domain());
  if (!op.sequences && std::any_of(inputs.begin(), inputs.end(), is_sequence)) {
    throw Gap{"its form that takes a sequence is not supported"};
  }
  NodeContext n(*this, scope, node, std::move(source), opset, std::move(inputs));
  std::vector<ValueId> values = op.convert(n);
  for (const std::string& name : n.unread_attributes())
    n.gap("the attribute '{}' is not supported", name);
  for (int i = 0; i < node.output_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (!n.wants(at)) continue;
    if (at >= values.size() || values[at] == no_value) n.gap("its output {} is not supported", i);
  }
  return values;
}

std::vector<ValueId> Importer::emit(const OpDef& op, std::vector<ValueId> inputs, Attrs attrs,
                                    const std::string& source) {
  const NodeId id = graph_.add_node(op, std::move(inputs), std::move(attrs), source);
  const std::vector<ValueId> outputs = graph_.nodes[id].outputs;
  for (ValueId v : outputs) {
    const TensorType& t = graph_.type(v);
    require(static_cast<uint64_t>(element_count(t.shape)) <=
                options_.max_tensor_bytes / static_cast<uint64_t>(size_of(t.dtype)),
            "the result {} of {} needs more than {} bytes", to_text(t), op.name,
            options_.max_tensor_bytes);
  }
  if (!worth_evaluating(graph_.nodes[id])) return outputs;
  std::vector<TensorPtr> tensors = evaluate_node(graph_, graph_.nodes[id]);
  if (tensors.size() != outputs.size()) return outputs;
  graph_.nodes.pop_back();
  graph_.values.resize(outputs.front());
  std::vector<ValueId> constants;
  for (TensorPtr& t : tensors) constants.push_back(add_made_constant(std::move(t)));
  return constants;
}

bool Importer::worth_evaluating(const Node& node) {
  if (node.op->compute == nullptr || node.op->fusion == Fusion::Anchor) return false;
  int64_t read = 1, written = 1;
  for (ValueId v : node.inputs) {
    if (v == no_value) continue;
    if (!graph_.values[v].is_constant()) return false;
    read = std::max(read, element_count(graph_.type(v).shape));
  }
  for (ValueId v : node.outputs) written = std::max(written, element_count(graph_.type(v).shape));
  if (read > max_evaluated_elements || written > max_evaluated_elements) return false;
  const bool pointwise = node.op->fusion == Fusion::Elementwise ||
                         node.op->fusion == Fusion::Broadcast ||
                         node.op->fusion == Fusion::Injective;
  const int64_t work = pointwise ? std::max(read, written) : read * written;
  if (work > max_evaluated_work || work_done_ + work > max_total_work) return false;
  work_done_ += work;
  return true;
}

ValueId Importer::add_sequence(std::vector<ValueId> values) {
  bytes_made_ += values.size() * sizeof(ValueId);
  require(bytes_made_ <= options_.max_made_bytes, "the model's sequences need too much memory");
  for (ValueId v : values) {
    if (is_sequence(v)) throw Gap{"sequences of sequences are not supported"};
  }
  sequences_.push_back(std::move(values));
  return first_sequence + static_cast<ValueId>(sequences_.size() - 1);
}

// ---- functions and subgraphs

const onnx_pb::FunctionProto* Importer::function_of(const onnx_pb::NodeProto& node) const {
  const auto it = functions_.find(function_key(node.domain(), node.op_type(), node.overload()));
  return it == functions_.end() ? nullptr : it->second;
}

std::vector<ValueId> Importer::call(const onnx_pb::FunctionProto& function,
                                    const onnx_pb::NodeProto& node,
                                    const std::vector<ValueId>& inputs, Scope& scope) {
  require(scope.depth < max_call_depth,
          "functions call each other deeper than {} levels: is '{}' recursive?", max_call_depth,
          function.name());
  require(node.input_size() <= function.input_size(),
          "function '{}' takes {} inputs, but is given {}", function.name(), function.input_size(),
          node.input_size());
  require(node.output_size() <= function.output_size(),
          "function '{}' has {} outputs, but {} are asked for", function.name(),
          function.output_size(), node.output_size());

  std::map<std::string, const onnx_pb::AttributeProto*, std::less<>> attributes;
  for (const auto& a : function.attribute_proto()) attributes[a.name()] = &a;
  for (const auto& a : node.attribute()) {
    const onnx_pb::AttributeProto* value = &a;
    if (!a.ref_attr_name().empty()) {
      const auto it =
          scope.attributes ? scope.attributes->find(a.ref_attr_name()) : attributes.end();
      if (!scope.attributes || it == scope.attributes->end()) continue;
      value = it->second;
    }
    attributes[a.name()] = value;
  }

  Scope body{.attributes = &attributes,
             .prefix = scope.prefix + function.name() + "/",
             .depth = scope.depth + 1};
  for (const auto& o : function.opset_import())
    body.opsets[std::string(plain_domain(o.domain()))] = o.version();
  for (int i = 0; i < function.input_size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const ValueId v = at < inputs.size() ? inputs[at] : no_value;
    body.names[function.input(i)] = Bound{.value = v};
  }
  convert_nodes(nodes_of(function), body);

  std::vector<ValueId> outputs;
  for (int i = 0; i < node.output_size(); ++i) {
    const Bound* bound = body.find(function.output(i));
    require(bound != nullptr, "function '{}' never computes its output '{}'", function.name(),
            function.output(i));
    if (bound->poisoned) throw Gap{};
    outputs.push_back(bound->value);
  }
  return outputs;
}

std::vector<ValueId> Importer::inline_graph(const onnx_pb::GraphProto& graph,
                                            const std::vector<ValueId>& inputs,
                                            const Scope& around) {
  require(around.depth < max_call_depth, "subgraphs nest deeper than {} levels", max_call_depth);
  require(static_cast<size_t>(graph.input_size()) == inputs.size(),
          "the subgraph takes {} inputs, but is given {}", graph.input_size(), inputs.size());
  Scope body{.outer = &around,
             .opsets = around.opsets,
             .attributes = around.attributes,
             .prefix = around.prefix,
             .depth = around.depth + 1};
  for (int i = 0; i < graph.input_size(); ++i) {
    body.names[graph.input(i).name()] = Bound{.value = inputs[static_cast<size_t>(i)]};
  }
  bind_constants(graph, body);
  convert_nodes(nodes_of(graph), body);
  std::vector<ValueId> outputs;
  for (const auto& info : graph.output()) {
    const Bound* bound = body.find(info.name());
    require(bound != nullptr, "the output '{}' of a subgraph is never computed", info.name());
    if (bound->poisoned) throw Gap{};
    require(bound->value != no_value, "the output '{}' of a subgraph has no value", info.name());
    outputs.push_back(bound->value);
  }
  return outputs;
}

// ---- gaps

void Importer::add_gap(const onnx_pb::NodeProto& node, std::string reason, std::string source) {
  const std::string op = op_text(node);
  auto it = std::find_if(gaps_.begin(), gaps_.end(),
                         [&](const UnsupportedOp& g) { return g.op == op && g.reason == reason; });
  if (it == gaps_.end()) it = gaps_.insert(gaps_.end(), {.op = op, .reason = std::move(reason)});
  it->nodes.push_back(std::move(source));
}

// What can be said of a node without its inputs: that it, or a node inside it, is unknown.
void Importer::scan_for_gaps(const onnx_pb::NodeProto& node, const std::string& source, int depth) {
  if (depth >= max_call_depth) return;
  const auto scan_inside = [&](const auto& nodes, const std::string& prefix) {
    for (int i = 0; i < nodes.size(); ++i) {
      scan_for_gaps(nodes.Get(i), prefix + "/" + source_of(nodes.Get(i), i), depth + 1);
    }
  };
  if (const onnx_pb::FunctionProto* f = function_of(node)) {
    if (scanned_.insert(f).second) scan_inside(f->node(), f->name());
  } else if (find_onnx_op(node.domain(), node.op_type()) == nullptr) {
    add_gap(node, unknown_operator, source);
  }
  for (const auto& a : node.attribute()) {
    if (a.has_g()) scan_inside(a.g().node(), source);
    for (const auto& g : a.graphs()) scan_inside(g.node(), source);
  }
}

void Importer::find_unknown_operators(const onnx_pb::ModelProto& model) {
  for (const auto& f : model.functions()) {
    functions_.emplace(function_key(f.domain(), f.name(), f.overload()), &f);
  }
  // Those that were met are met again, and in the file's order.
  std::erase_if(gaps_, [](const UnsupportedOp& g) { return g.reason == unknown_operator; });
  scanned_.clear();
  const auto& nodes = model.graph().node();
  for (int i = 0; i < nodes.size(); ++i) scan_for_gaps(nodes.Get(i), source_of(nodes.Get(i), i), 0);
}

}  // namespace burnish::onnx
