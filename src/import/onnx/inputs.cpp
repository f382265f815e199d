#include "import/onnx/inputs.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "import/onnx/tensor.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

constexpr size_t max_rank = 64;

struct Dim {
  std::optional<int64_t> size;
  std::string symbol;  // of a free dimension; "?" and "" stand for nothing
};

struct Input {
  std::string name;
  DType dtype;
  std::vector<Dim> dims;
};

std::set<std::string> initialized(const onnx_pb::GraphProto& graph) {
  std::set<std::string> names;
  for (const auto& tensor : graph.initializer()) names.insert(tensor.name());
  for (const auto& tensor : graph.sparse_initializer()) names.insert(tensor.values().name());
  return names;
}

bool is_symbol(const std::string& text) { return !text.empty() && text != "?"; }

Input declared(const onnx_pb::ValueInfoProto& info, const ImportOptions& options) {
  const std::string& name = info.name();
  if (!info.type().has_tensor_type()) {
    fail_unsupported("input '{}' is no dense tensor", name);
  }
  const auto& type = info.type().tensor_type();
  const std::optional<DType> dtype = dtype_of(type.elem_type());
  if (!dtype)
    fail_unsupported("input '{}' has elements of type {}", name, onnx_type_name(type.elem_type()));

  Input input{.name = name, .dtype = *dtype};
  for (const auto& d : type.shape().dim()) {
    Dim dim;
    if (d.has_dim_value() && d.dim_value() >= 0) {
      dim.size = d.dim_value();
    } else if (d.has_dim_value()) {
      require(d.dim_value() == -1, "input '{}' declares the negative size {}", name, d.dim_value());
    } else {
      dim.symbol = d.dim_param();
    }
    input.dims.push_back(std::move(dim));
  }
  require(input.dims.size() <= max_rank, "input '{}' has {} dimensions", name, input.dims.size());

  const auto given = options.shapes.find(name);
  if (given == options.shapes.end()) {
    require(type.has_shape(), "input '{}' declares no shape: give one with --shape {}=1x3x224x224",
            name, name);
    return input;
  }
  if (!type.has_shape()) input.dims.resize(given->second.size());
  require(given->second.size() == input.dims.size(),
          "--shape gives input '{}' {} dimensions, but it has {}", name, given->second.size(),
          input.dims.size());
  return input;
}

// Sizes from --shape, and the symbols that they bind.
void apply_shapes(std::vector<Input>& inputs, const ImportOptions& options) {
  std::map<std::string, std::pair<int64_t, std::string>> bound;
  for (Input& input : inputs) {
    const auto given = options.shapes.find(input.name);
    if (given == options.shapes.end()) continue;
    for (size_t i = 0; i < input.dims.size(); ++i) {
      const int64_t size = given->second[i];
      if (size == -1) continue;
      require(size >= 0, "--shape gives input '{}' the negative size {}", input.name, size);
      Dim& dim = input.dims[i];
      dim.size = size;
      if (!is_symbol(dim.symbol)) continue;
      const auto [it, fresh] = bound.emplace(dim.symbol, std::pair{size, input.name});
      require(fresh || it->second.first == size,
              "--shape binds '{}' to {} for input '{}' and to {} for input '{}'", dim.symbol,
              it->second.first, it->second.second, size, input.name);
    }
  }
  for (Input& input : inputs) {
    for (Dim& dim : input.dims) {
      if (dim.size || !is_symbol(dim.symbol)) continue;
      if (auto it = bound.find(dim.symbol); it != bound.end()) dim.size = it->second.first;
    }
  }
}

void require_bound(const std::vector<Input>& inputs) {
  std::vector<std::string> free, example;
  for (const Input& input : inputs) {
    std::vector<std::string> sizes;
    bool open = false;
    for (size_t i = 0; i < input.dims.size(); ++i) {
      const Dim& dim = input.dims[i];
      sizes.push_back(dim.size ? std::to_string(*dim.size) : i == 0 ? "1" : "320");
      if (dim.size) continue;
      open = true;
      free.push_back(is_symbol(dim.symbol)
                         ? fmt::format("axis {} ({}) of input '{}'", i, dim.symbol, input.name)
                         : fmt::format("axis {} of input '{}'", i, input.name));
    }
    if (open) example.push_back(fmt::format("--shape {}={}", input.name, join(sizes, "x")));
  }
  require(free.empty(), "the model leaves sizes open: {}; give them, for example {}",
          join(free, ", "), join(example, " "));
}

}  // namespace

std::vector<std::pair<std::string, TensorType>> bound_inputs(const onnx_pb::GraphProto& graph,
                                                             const ImportOptions& options) {
  std::set<std::string> filled = initialized(graph), names;
  for (const auto& [name, value] : options.constants) filled.insert(name);
  std::vector<Input> inputs;
  for (const auto& info : graph.input()) {
    require(!info.name().empty(), "an input has no name");
    require(names.insert(info.name()).second, "two inputs are named '{}'", info.name());
    if (!filled.contains(info.name())) inputs.push_back(declared(info, options));
  }
  for (const auto& [name, value] : options.constants) {
    require(names.contains(name), "a value is given for '{}', but the model has no such input",
            name);
  }
  std::vector<std::string> known;
  for (const Input& input : inputs) known.push_back("'" + input.name + "'");
  for (const auto& [name, shape] : options.shapes) {
    require(names.contains(name) && !filled.contains(name),
            "--shape names '{}', but the model's inputs are {}", name, join(known, ", "));
  }

  apply_shapes(inputs, options);
  for (Input& input : inputs) {
    if (!input.dims.empty() && !input.dims[0].size) input.dims[0].size = 1;
  }
  require_bound(inputs);

  std::vector<std::pair<std::string, TensorType>> types;
  for (const Input& input : inputs) {
    TensorType type{.dtype = input.dtype};
    for (const Dim& dim : input.dims) type.shape.push_back(*dim.size);
    const ErrorContext context(fmt::format("binding the shape of input '{}'", input.name));
    const auto bytes = static_cast<uint64_t>(size_of(type.dtype));
    require(static_cast<uint64_t>(element_count(type.shape)) <= options.max_tensor_bytes / bytes,
            "{} needs more than {} bytes", to_text(type), options.max_tensor_bytes);
    types.emplace_back(input.name, std::move(type));
  }
  return types;
}

std::vector<DeclaredInput> declared_inputs(const onnx_pb::GraphProto& graph) {
  const std::set<std::string> filled = initialized(graph);
  std::vector<DeclaredInput> inputs;
  for (const auto& info : graph.input()) {
    if (filled.contains(info.name())) continue;
    DeclaredInput& input = inputs.emplace_back();
    input.name = info.name();
    if (!info.type().has_tensor_type()) {
      input.dtype = "no dense tensor";
      continue;
    }
    const auto& type = info.type().tensor_type();
    const std::optional<DType> dtype = dtype_of(type.elem_type());
    input.dtype = dtype ? std::string(name_of(*dtype)) : onnx_type_name(type.elem_type());
    input.has_shape = type.has_shape();
    for (const auto& d : type.shape().dim()) {
      const bool fixed = d.has_dim_value() && d.dim_value() >= 0;
      input.dims.push_back(fixed                      ? std::to_string(d.dim_value())
                           : is_symbol(d.dim_param()) ? d.dim_param()
                                                      : "?");
    }
  }
  return inputs;
}

}  // namespace burnish::onnx
