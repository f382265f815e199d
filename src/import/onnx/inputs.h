// The types of a model's inputs once its free dimensions are bound.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "import/import.h"

namespace burnish::onnx_pb {
class GraphProto;
}

namespace burnish::onnx {

// The inputs that neither an initializer nor options.constants fills, in the model's order, with
// their shapes.
//
// A given shape beats what the model declares, fixed sizes included. A symbol that it binds for one
// input holds for all. A free first axis is the batch and becomes 1. UserError lists every other
// free dimension at once, with an example that would bind them; also for unknown input names,
// other ranks, and negative or contradicting sizes.
std::vector<std::pair<std::string, TensorType>> bound_inputs(const onnx_pb::GraphProto& graph,
                                                             const ImportOptions& options);

// The same inputs when bound_inputs would refuse them for sizes that are open, with the sizes that
// options.shapes gives; nothing when every size is known. UserError as bound_inputs otherwise.
std::optional<std::vector<DeclaredTensor>> open_inputs(const onnx_pb::GraphProto& graph,
                                                       const ImportOptions& options);

// Inputs and outputs as the model declares them.
std::vector<DeclaredTensor> declared_inputs(const onnx_pb::GraphProto& graph);
std::vector<DeclaredTensor> declared_outputs(const onnx_pb::GraphProto& graph);

}  // namespace burnish::onnx
