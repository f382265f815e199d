// Model files to graphs. The format is recognised by content; today that is ONNX.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace burnish {

struct ImportOptions {
  // Shapes of inputs by name; they replace what the model declares. -1 keeps the declared size of
  // that axis.
  std::map<std::string, std::vector<int64_t>, std::less<>> shapes;
  // Values of inputs that are known when the model is compiled; the graph has no such inputs any
  // more. Needed where a model takes a shape, axes or the like as an input.
  std::map<std::string, TensorPtr, std::less<>> constants;
  // What a hostile file may cost at most.
  uint64_t max_file_bytes = uint64_t{2} << 30;     // of the model file; protobuf reads no more
  uint64_t max_tensor_bytes = uint64_t{64} << 30;  // of one tensor, intermediate ones included
  uint64_t max_made_bytes = uint64_t{1}
                            << 30;  // of constants that follow from shapes, all together
  uint64_t max_nodes = 1'000'000;   // after functions and loops are inlined
  // Messages write shapes={"x": (1, 3)} instead of --shape x=1x3.
  bool python = false;
};

// An operator, attribute or type that Burnish has no way to express.
struct UnsupportedOp {
  std::string op;                  // Conv, com.microsoft.FusedConv
  std::string reason;              // unknown operator; attribute 'x' is not supported
  std::vector<std::string> nodes;  // every node it concerns, by name or "#position"
};

// The graph of a model file, shapes inferred for the given input shapes, constants of shape
// arithmetic folded. UserError names file, node and reason; Unsupported lists all gaps of the model
// at once, and goes first: a model with gaps and with errors is reported for its gaps.
Graph import_model(const std::filesystem::path& file, const ImportOptions& options = {});

// The same from memory. `name` stands for the file in messages. External data lies in `folder`;
// without one it is refused.
Graph import_model(std::string_view bytes, std::string_view name,
                   const std::filesystem::path& folder, const ImportOptions& options = {});

// An input or output as the model declares it.
struct DeclaredTensor {
  std::string name;
  std::string dtype;  // f32, or the file format's name for a type that Burnish lacks
  bool has_shape = false;
  std::vector<std::string> dims;  // "3", "height", or "?" for a size without a name
};

// What a file says about a model whose sizes are open.
struct ModelOutline {
  std::vector<DeclaredTensor> inputs, outputs;  // inputs with the sizes that options.shapes gives
  std::map<std::string, int64_t> operators;     // nodes by the file format's names (Conv), those of
                                                // subgraphs included, constants not
  int64_t parameters = 0;                       // elements of all constants
};

// The outline when import_model would ask for sizes; nothing when it would not, and can tell more.
// Unsupported lists every operator that Burnish lacks; attributes are understood by import_model
// alone. UserError as import_model.
std::optional<ModelOutline> outline_of_open_model(const std::filesystem::path& file,
                                                  const ImportOptions& options = {});
std::optional<ModelOutline> outline_of_open_model(std::string_view bytes, std::string_view name,
                                                  const std::filesystem::path& folder,
                                                  const ImportOptions& options = {});

// The inputs that a user of the model gives, in its order.
std::vector<DeclaredTensor> declared_inputs(const std::filesystem::path& file,
                                            const ImportOptions& options = {});

// All gaps of a model at once; empty when import_model would succeed. UserError as import_model.
std::vector<UnsupportedOp> find_unsupported(const std::filesystem::path& file,
                                            const ImportOptions& options = {});

// "2 operators are not supported: …", one line each.
std::string unsupported_text(const std::vector<UnsupportedOp>& ops);

}  // namespace burnish
