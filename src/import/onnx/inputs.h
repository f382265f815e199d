// The types of a model's inputs once its free dimensions are bound.
#pragma once

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
// --shape beats what the model declares, fixed sizes included. A symbol that --shape binds for one
// input holds for all. A free first axis is the batch and becomes 1. UserError lists every other
// free dimension at once, with a command line that would bind them; also for unknown input names,
// other ranks, and negative or contradicting sizes.
std::vector<std::pair<std::string, TensorType>> bound_inputs(const onnx_pb::GraphProto& graph,
                                                             const ImportOptions& options);

// The same inputs as the model declares them.
std::vector<DeclaredInput> declared_inputs(const onnx_pb::GraphProto& graph);

}  // namespace burnish::onnx
