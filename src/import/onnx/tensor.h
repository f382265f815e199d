// Tensors as ONNX stores them: raw bytes, one typed list a dtype, or bytes in another file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "expr/dtype.h"
#include "te/evaluate.h"

namespace burnish::onnx_pb {
class TensorProto;
}

namespace burnish::onnx {

// ONNX's element types that Burnish has; empty for strings, complex numbers, and floats and
// integers under 8 bits.
std::optional<DType> dtype_of(int32_t onnx_type);
std::string onnx_type_name(int32_t onnx_type);  // FLOAT, INT4, type 99

// The tensor's content. UserError when the data does not fit the declared size, which is checked
// before any memory is taken; Unsupported when dtype_of has no answer. `name` stands for the tensor
// in messages.
TensorPtr read_tensor(const onnx_pb::TensorProto& t, const std::string& name,
                      const std::filesystem::path& folder, uint64_t max_bytes);

// The content of a file that holds one TensorProto alone, as ONNX's test data do.
TensorPtr parse_tensor(std::string_view bytes, const std::string& name);

}  // namespace burnish::onnx
