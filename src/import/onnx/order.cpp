#include "import/onnx/order.h"

#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

void add_free_names(const onnx_pb::GraphProto& graph, std::set<std::string>& into) {
  std::set<std::string> own, read;
  for (const auto& input : graph.input()) own.insert(input.name());
  for (const auto& tensor : graph.initializer()) own.insert(tensor.name());
  for (const auto& node : graph.node()) {
    read.merge(names_read(node));
    own.insert(node.output().begin(), node.output().end());
  }
  for (const auto& output : graph.output()) read.insert(output.name());
  for (const std::string& name : read) {
    if (!own.contains(name)) into.insert(name);
  }
}

// One node of a cycle among those that `waiting` marks.
int node_on_cycle(const std::vector<std::vector<int>>& readers, const std::vector<int>& waiting) {
  std::vector<int> producer(waiting.size(), -1);
  for (size_t n = 0; n < readers.size(); ++n) {
    if (waiting[n] == 0) continue;
    for (int r : readers[n]) producer[static_cast<size_t>(r)] = static_cast<int>(n);
  }
  size_t at = 0;
  while (at < waiting.size() && waiting[at] == 0) ++at;
  std::vector<bool> seen(waiting.size(), false);
  while (!seen[at]) {
    seen[at] = true;
    at = static_cast<size_t>(producer[at]);  // a node that waits has a producer that waits
  }
  return static_cast<int>(at);
}

}  // namespace

NodeList nodes_of(const onnx_pb::GraphProto& graph) {
  NodeList list;
  for (const auto& node : graph.node()) list.push_back(&node);
  return list;
}

NodeList nodes_of(const onnx_pb::FunctionProto& function) {
  NodeList list;
  for (const auto& node : function.node()) list.push_back(&node);
  return list;
}

std::string node_label(const onnx_pb::NodeProto& node, int position) {
  const std::string op = node.domain().empty() || node.domain() == "ai.onnx"
                             ? node.op_type()
                             : node.domain() + "." + node.op_type();
  return node.name().empty() ? fmt::format("#{} ({})", position, op)
                             : fmt::format("{} ({})", node.name(), op);
}

std::set<std::string> names_read(const onnx_pb::NodeProto& node) {
  std::set<std::string> names;
  for (const std::string& name : node.input()) {
    if (!name.empty()) names.insert(name);
  }
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g()) add_free_names(attribute.g(), names);
    for (const auto& graph : attribute.graphs()) add_free_names(graph, names);
  }
  return names;
}

std::vector<int> sorted_nodes(const NodeList& nodes,
                              const std::function<bool(const std::string&)>& known) {
  const int count = static_cast<int>(nodes.size());
  const auto label = [&](int n) { return node_label(*nodes[static_cast<size_t>(n)], n); };
  std::unordered_map<std::string, int> producer;
  for (int n = 0; n < count; ++n) {
    for (const std::string& name : nodes[static_cast<size_t>(n)]->output()) {
      if (name.empty()) continue;
      const auto [it, fresh] = producer.emplace(name, n);
      require(fresh, "'{}' is the output of node {} and of node {}", name, label(it->second),
              label(n));
      require(!known(name), "the output '{}' of node {} has the name of an input or of a constant",
              name, label(n));
    }
  }

  std::vector<std::vector<int>> readers(nodes.size());
  std::vector<int> waiting(readers.size(), 0);  // for how many producers
  for (int n = 0; n < count; ++n) {
    for (const std::string& name : names_read(*nodes[static_cast<size_t>(n)])) {
      const auto it = producer.find(name);
      if (it == producer.end()) {
        require(known(name),
                "node {} reads '{}', which is no input, no constant and no node's output", label(n),
                name);
        continue;
      }
      readers[static_cast<size_t>(it->second)].push_back(n);
      ++waiting[static_cast<size_t>(n)];
    }
  }

  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int n = 0; n < count; ++n) {
    if (waiting[static_cast<size_t>(n)] == 0) ready.push(n);
  }
  std::vector<int> order;
  while (!ready.empty()) {
    const int n = ready.top();
    ready.pop();
    order.push_back(n);
    for (int r : readers[static_cast<size_t>(n)]) {
      if (--waiting[static_cast<size_t>(r)] == 0) ready.push(r);
    }
  }
  if (order.size() != readers.size()) {
    const int n = node_on_cycle(readers, waiting);
    fail_user("the graph has a cycle through node {}", label(n));
  }
  return order;
}

}  // namespace burnish::onnx
