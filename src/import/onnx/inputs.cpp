#include "import/onnx/inputs.h"

#include <fmt/format.h>

#include <algorithm>
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
  bool has_shape = true;
};

// How the user gives shapes, where the message will be read.
std::string shape_option(const ImportOptions& o) { return o.python ? "shapes" : "--shape"; }

using Examples = std::vector<std::pair<std::string, std::vector<std::string>>>;
std::string shape_example(const Examples& shapes, const ImportOptions& o) {
  std::vector<std::string> parts;
  for (const auto& [name, sizes] : shapes) {
    parts.push_back(o.python ? fmt::format("\"{}\": ({}{})", name, join(sizes, ", "),
                                           sizes.size() == 1 ? "," : "")
                             : fmt::format("--shape {}={}", name, join(sizes, "x")));
  }
  return o.python ? fmt::format("shapes={{{}}}", join(parts, ", ")) : join(parts, " ");
}

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
  input.has_shape = type.has_shape() || given != options.shapes.end();
  if (given == options.shapes.end()) return input;
  if (!type.has_shape()) input.dims.resize(given->second.size());
  require(given->second.size() == input.dims.size(),
          "{} gives input '{}' {} dimensions, but it has {}", shape_option(options), name,
          given->second.size(), input.dims.size());
  return input;
}

// Sizes from options.shapes, and the symbols that they bind.
void apply_shapes(std::vector<Input>& inputs, const ImportOptions& options) {
  std::map<std::string, std::pair<int64_t, std::string>> bound;
  for (Input& input : inputs) {
    const auto given = options.shapes.find(input.name);
    if (given == options.shapes.end()) continue;
    for (size_t i = 0; i < input.dims.size(); ++i) {
      const int64_t size = given->second[i];
      if (size == -1) continue;
      require(size >= 0, "{} gives input '{}' the negative size {}", shape_option(options),
              input.name, size);
      Dim& dim = input.dims[i];
      dim.size = size;
      if (!is_symbol(dim.symbol)) continue;
      const auto [it, fresh] = bound.emplace(dim.symbol, std::pair{size, input.name});
      require(fresh || it->second.first == size,
              "{} binds '{}' to {} for input '{}' and to {} for input '{}'", shape_option(options),
              dim.symbol, it->second.first, it->second.second, size, input.name);
    }
  }
  for (Input& input : inputs) {
    for (Dim& dim : input.dims) {
      if (dim.size || !is_symbol(dim.symbol)) continue;
      if (auto it = bound.find(dim.symbol); it != bound.end()) dim.size = it->second.first;
    }
  }
}

// The batch is free to be 1; any other size has to be given.
bool is_open(const Input& input) {
  for (size_t i = 1; i < input.dims.size(); ++i) {
    if (!input.dims[i].size) return true;
  }
  return !input.has_shape;
}

[[noreturn]] void refuse_open(const std::vector<Input>& inputs, const ImportOptions& options) {
  std::vector<std::string> free;
  Examples example;
  for (const Input& input : inputs) {
    if (!is_open(input)) continue;
    std::vector<std::string> sizes;
    for (size_t i = 0; i < input.dims.size(); ++i) {
      const Dim& dim = input.dims[i];
      sizes.push_back(dim.size ? std::to_string(*dim.size) : i == 0 ? "1" : "320");
      if (dim.size || i == 0) continue;
      free.push_back(is_symbol(dim.symbol)
                         ? fmt::format("axis {} ({}) of input '{}'", i, dim.symbol, input.name)
                         : fmt::format("axis {} of input '{}'", i, input.name));
    }
    if (!input.has_shape) {
      free.push_back(fmt::format("all of input '{}', which declares no shape", input.name));
      sizes = {"1", "3", "224", "224"};
    }
    example.emplace_back(input.name, sizes);
  }
  fail_user("the model leaves sizes open: {}; give them, for example {}", join(free, ", "),
            shape_example(example, options));
}

// The inputs with all sizes that the file or the user gives.
std::vector<Input> given_inputs(const onnx_pb::GraphProto& graph, const ImportOptions& options) {
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
            "{} names '{}', but the model's inputs are {}", shape_option(options), name,
            join(known, ", "));
  }
  apply_shapes(inputs, options);
  return inputs;
}

std::string size_text(const Dim& dim) {
  return dim.size ? std::to_string(*dim.size) : is_symbol(dim.symbol) ? dim.symbol : "?";
}

DeclaredTensor declared_tensor(const onnx_pb::ValueInfoProto& info) {
  DeclaredTensor tensor{.name = info.name()};
  if (!info.type().has_tensor_type()) {
    tensor.dtype = "no dense tensor";
    return tensor;
  }
  const auto& type = info.type().tensor_type();
  const std::optional<DType> dtype = dtype_of(type.elem_type());
  tensor.dtype = dtype ? std::string(name_of(*dtype)) : onnx_type_name(type.elem_type());
  tensor.has_shape = type.has_shape();
  for (const auto& d : type.shape().dim()) {
    Dim dim{.symbol = d.dim_param()};
    if (d.has_dim_value() && d.dim_value() >= 0) dim.size = d.dim_value();
    tensor.dims.push_back(size_text(dim));
  }
  return tensor;
}

}  // namespace

std::vector<std::pair<std::string, TensorType>> bound_inputs(const onnx_pb::GraphProto& graph,
                                                             const ImportOptions& options) {
  std::vector<Input> inputs = given_inputs(graph, options);
  if (std::any_of(inputs.begin(), inputs.end(), is_open)) refuse_open(inputs, options);
  for (Input& input : inputs) {
    if (!input.dims.empty() && !input.dims[0].size) input.dims[0].size = 1;
  }

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

std::optional<std::vector<DeclaredTensor>> open_inputs(const onnx_pb::GraphProto& graph,
                                                       const ImportOptions& options) {
  const std::vector<Input> inputs = given_inputs(graph, options);
  if (std::none_of(inputs.begin(), inputs.end(), is_open)) return std::nullopt;
  std::vector<DeclaredTensor> tensors;
  for (const Input& input : inputs) {
    DeclaredTensor& t = tensors.emplace_back();
    t.name = input.name;
    t.dtype = name_of(input.dtype);
    t.has_shape = input.has_shape;
    for (const Dim& dim : input.dims) t.dims.push_back(size_text(dim));
  }
  return tensors;
}

std::vector<DeclaredTensor> declared_inputs(const onnx_pb::GraphProto& graph) {
  const std::set<std::string> filled = initialized(graph);
  std::vector<DeclaredTensor> inputs;
  for (const auto& info : graph.input()) {
    if (!filled.contains(info.name())) inputs.push_back(declared_tensor(info));
  }
  return inputs;
}

std::vector<DeclaredTensor> declared_outputs(const onnx_pb::GraphProto& graph) {
  std::vector<DeclaredTensor> outputs;
  for (const auto& info : graph.output()) outputs.push_back(declared_tensor(info));
  return outputs;
}

}  // namespace burnish::onnx
