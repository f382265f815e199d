#include "import/onnx/tensor.h"

#include <charconv>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "graph/graph.h"
#include "import/onnx/external_data.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

using onnx_pb::TensorProto;

uint64_t external_number(const std::string& key, const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size(),
          "external data has {} '{}', which is no number", key, text);
  return value;
}

ExternalRange external_range(const TensorProto& t) {
  ExternalRange range;
  for (const auto& entry : t.external_data()) {
    if (entry.key() == "location") range.location = entry.value();
    if (entry.key() == "offset") range.offset = external_number("offset", entry.value());
    if (entry.key() == "length") range.length = external_number("length", entry.value());
  }
  return range;
}

// Which typed list holds an element type, and how many entries it has.
int64_t typed_entries(const TensorProto& t, DType dtype) {
  switch (dtype) {
  case DType::TF32: break;  // ONNX has none
  case DType::F32: return t.float_data_size();
  case DType::F64: return t.double_data_size();
  case DType::I64: return t.int64_data_size();
  case DType::U32:
  case DType::U64: return t.uint64_data_size();
  case DType::Bool:
  case DType::I8:
  case DType::U8:
  case DType::I16:
  case DType::U16:
  case DType::I32:
  case DType::F16:
  case DType::BF16: return t.int32_data_size();
  }
  return 0;
}

template <class T, class List>
void copy_checked(const List& list, Tensor& out, const std::string& name) {
  T* to = out.data<T>();
  for (int i = 0; i < list.size(); ++i) {
    require(std::in_range<T>(list.Get(i)), "element {} of tensor '{}' is {}, which does not fit {}",
            i, name, list.Get(i), name_of(out.dtype));
    to[i] = static_cast<T>(list.Get(i));
  }
}

template <class List> void copy_plain(const List& list, Tensor& out) {
  if (list.size() > 0) std::memcpy(out.bytes.data(), list.data(), out.bytes.size());
}

void copy_typed(const TensorProto& t, Tensor& out, const std::string& name) {
  switch (out.dtype) {
  case DType::TF32: break;
  case DType::F32: return copy_plain(t.float_data(), out);
  case DType::F64: return copy_plain(t.double_data(), out);
  case DType::I64: return copy_plain(t.int64_data(), out);
  case DType::U64: return copy_plain(t.uint64_data(), out);
  case DType::I32: return copy_plain(t.int32_data(), out);
  case DType::U32: return copy_checked<uint32_t>(t.uint64_data(), out, name);
  case DType::I8: return copy_checked<int8_t>(t.int32_data(), out, name);
  case DType::I16: return copy_checked<int16_t>(t.int32_data(), out, name);
  case DType::U16:
  case DType::F16:  // as their bits
  case DType::BF16: return copy_checked<uint16_t>(t.int32_data(), out, name);
  case DType::U8:
  case DType::Bool: return copy_checked<uint8_t>(t.int32_data(), out, name);
  }
}

// Any byte but 0 means true; everything behind relies on 0 and 1.
TensorPtr normalised(std::shared_ptr<Tensor> t) {
  if (t->dtype == DType::Bool) {
    for (std::byte& b : t->bytes) b = std::byte{b != std::byte{0}};
  }
  return t;
}

}  // namespace

std::optional<DType> dtype_of(int32_t onnx_type) {
  switch (onnx_type) {
  case TensorProto::FLOAT: return DType::F32;
  case TensorProto::UINT8: return DType::U8;
  case TensorProto::INT8: return DType::I8;
  case TensorProto::UINT16: return DType::U16;
  case TensorProto::INT16: return DType::I16;
  case TensorProto::INT32: return DType::I32;
  case TensorProto::INT64: return DType::I64;
  case TensorProto::BOOL: return DType::Bool;
  case TensorProto::FLOAT16: return DType::F16;
  case TensorProto::DOUBLE: return DType::F64;
  case TensorProto::UINT32: return DType::U32;
  case TensorProto::UINT64: return DType::U64;
  case TensorProto::BFLOAT16: return DType::BF16;
  default: return {};
  }
}

std::string onnx_type_name(int32_t onnx_type) {
  static constexpr const char* names[] = {
      "UNDEFINED",      "FLOAT",    "UINT8",        "INT8",           "UINT16",
      "INT16",          "INT32",    "INT64",        "STRING",         "BOOL",
      "FLOAT16",        "DOUBLE",   "UINT32",       "UINT64",         "COMPLEX64",
      "COMPLEX128",     "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2",
      "FLOAT8E5M2FNUZ", "UINT4",    "INT4",         "FLOAT4E2M1",     "FLOAT8E8M0",
      "UINT2",          "INT2"};
  if (onnx_type >= 0 && onnx_type < static_cast<int32_t>(std::size(names))) return names[onnx_type];
  return fmt::format("type {}", onnx_type);
}

TensorPtr read_tensor(const TensorProto& t, const std::string& name,
                      const std::filesystem::path& folder, uint64_t max_bytes) {
  require(t.data_type() != TensorProto::UNDEFINED, "tensor '{}' has no element type", name);
  const std::optional<DType> dtype = dtype_of(t.data_type());
  if (!dtype)
    fail_unsupported("tensor '{}' has elements of type {}", name, onnx_type_name(t.data_type()));
  if (t.has_segment()) fail_unsupported("tensor '{}' is a segment of a larger one", name);

  require(t.dims_size() <= 64, "tensor '{}' has {} dimensions", name, t.dims_size());
  const Shape shape(t.dims().begin(), t.dims().end());
  for (int64_t d : shape) require(d >= 0, "tensor '{}' has the negative dimension {}", name, d);
  int64_t count = 0;
  try {
    count = element_count(shape);
  } catch (const UserError&) {
    fail_user("the size of tensor '{}' ({}) overflows", name, shape_text(shape));
  }
  require(static_cast<uint64_t>(count) <= max_bytes / static_cast<uint64_t>(size_of(*dtype)),
          "tensor '{}' ({}) is larger than {} bytes", name, shape_text(shape), max_bytes);
  const uint64_t bytes = static_cast<uint64_t>(count) * static_cast<uint64_t>(size_of(*dtype));

  if (t.data_location() == TensorProto::EXTERNAL) {
    const ErrorContext context(fmt::format("reading tensor '{}'", name));
    const ExternalRange range = external_range(t);
    check_external(folder, range, bytes);
    auto out = std::make_shared<Tensor>(*dtype, shape);
    read_external(folder, range, out->bytes);
    return normalised(std::move(out));
  }
  if (t.has_raw_data()) {
    require(t.raw_data().size() == bytes,
            "tensor '{}' ({} of {}) needs {} bytes, but the file holds {}", name, shape_text(shape),
            name_of(*dtype), bytes, t.raw_data().size());
    auto out = std::make_shared<Tensor>(*dtype, shape);
    if (bytes > 0) std::memcpy(out->bytes.data(), t.raw_data().data(), bytes);
    return normalised(std::move(out));
  }
  const int64_t entries = typed_entries(t, *dtype);
  require(entries == count, "tensor '{}' ({} of {}) needs {} elements, but the file holds {}", name,
          shape_text(shape), name_of(*dtype), count, entries);
  auto out = std::make_shared<Tensor>(*dtype, shape);
  copy_typed(t, *out, name);
  return normalised(std::move(out));
}

TensorPtr parse_tensor(std::string_view bytes, const std::string& name) {
  TensorProto t;
  require(bytes.size() < (size_t{1} << 31) &&
              t.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
          "{} holds no tensor", name);
  return read_tensor(t, name, {}, uint64_t{1} << 31);
}

}  // namespace burnish::onnx
