// The nodes of an ONNX graph in an order in which they can be converted.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace burnish::onnx_pb {
class FunctionProto;
class GraphProto;
class NodeProto;
}  // namespace burnish::onnx_pb

namespace burnish::onnx {

using NodeList = std::vector<const onnx_pb::NodeProto*>;
NodeList nodes_of(const onnx_pb::GraphProto& graph);
NodeList nodes_of(const onnx_pb::FunctionProto& function);

// "conv1 (Conv)", or "#12 (Conv)" for a node without a name.
std::string node_label(const onnx_pb::NodeProto& node, int position);

// Positions of the nodes, producers first; the file's own order wherever that is one. UserError
// that names a node: two producers of one name, a name that nobody produces (`known` says what is
// visible from outside), a cycle.
std::vector<int> sorted_nodes(const NodeList& nodes,
                              const std::function<bool(const std::string&)>& known);

// Names that a node reads, those which the subgraphs of its attributes take from outside included.
std::set<std::string> names_read(const onnx_pb::NodeProto& node);

}  // namespace burnish::onnx
