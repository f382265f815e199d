#include "tensors.h"

#include "errors.h"

#include <nanobind/stl/string.h>

#include <cstdlib>
#include <new>
#include <string>

namespace burnish::python {
namespace {

constexpr size_t kAlignment = 64;

burnish_dtype dtype_of(const std::string& name, nb::dlpack::dtype type) {
  using nb::dlpack::dtype_code;
  if (type.lanes == 1) {
    switch (static_cast<dtype_code>(type.code)) {
      case dtype_code::Bool: return BURNISH_BOOL;
      case dtype_code::Int:
        if (type.bits == 8) return BURNISH_I8;
        if (type.bits == 16) return BURNISH_I16;
        if (type.bits == 32) return BURNISH_I32;
        if (type.bits == 64) return BURNISH_I64;
        break;
      case dtype_code::UInt:
        if (type.bits == 8) return BURNISH_U8;
        if (type.bits == 16) return BURNISH_U16;
        if (type.bits == 32) return BURNISH_U32;
        if (type.bits == 64) return BURNISH_U64;
        break;
      case dtype_code::Float:
        if (type.bits == 16) return BURNISH_F16;
        if (type.bits == 32) return BURNISH_F32;
        if (type.bits == 64) return BURNISH_F64;
        break;
      case dtype_code::Bfloat:
        if (type.bits == 16) return BURNISH_BF16;
        break;
      default: break;
    }
  }
  throw UserError(name + ": element type (DLPack code " +
                  std::to_string(static_cast<int>(type.code)) + ", " + std::to_string(type.bits) +
                  " bits) is not supported; convert the array to the type that get_inputs() tells");
}

// ml_dtypes, which gives numpy a bfloat16, if the user has it; otherwise nothing.
nb::object numpy_bfloat16() {
  try {
    return nb::module_::import_("ml_dtypes").attr("bfloat16");
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_ImportError)) throw;
    return {};
  }
}

bool is_numpy(nb::handle value) {
  return nb::isinstance(value, nb::module_::import_("numpy").attr("ndarray"));
}

// What the array protocols cannot say, said in a way that they can; misaligned memory is copied.
nb::object prepared(nb::handle value, bool& bfloat16) {
  if (!is_numpy(value)) return nb::borrow(value);
  nb::object array = nb::borrow(value);
  bfloat16 = nb::cast<std::string>(nb::str(array.attr("dtype").attr("name"))) == "bfloat16";
  if (bfloat16) array = array.attr("view")("uint16");
  nb::object flags = array.attr("flags");
  if (!nb::cast<bool>(flags.attr("c_contiguous")) || !nb::cast<bool>(flags.attr("aligned"))) {
    array = array.attr("copy")("C");
  }
  return array;
}

// When an array's own __dlpack__ fails, its exception is what the user has to see; the cast above swallowed it.
void raise_cause(const std::string& name, nb::handle value) {
  if (is_numpy(value) || !nb::hasattr(value, "__dlpack__")) return;
  try {
    value.attr("__dlpack__")();
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;  // Ctrl-C
    const nb::object type = nb::module_::import_("burnish._core").attr("UserError");
    nb::raise_from(error, type.ptr(), "%s: its __dlpack__ failed", name.c_str());
    throw nb::python_error();
  }
}

// Is it an array in a GPU's memory, by what DLPack says of it?
bool is_on_gpu(nb::handle value) {
  if (is_numpy(value) || !nb::hasattr(value, "__dlpack_device__")) return false;
  constexpr int cuda = 2, cuda_managed = 13;
  const nb::object device = value.attr("__dlpack_device__")();
  const int kind = nb::cast<int>(nb::int_(device[nb::int_(0)]));
  return kind == cuda || kind == cuda_managed;
}

template <class Array>
void describe(Feed& feed, const Array& array) {
  feed.data = const_cast<void*>(array.data());  // inputs are only read
  feed.bytes = array.nbytes();
  for (size_t i = 0; i < array.ndim(); ++i) feed.shape.push_back(static_cast<int64_t>(array.shape(i)));
}

[[noreturn]] void refuse_strided(const std::string& name) {
  throw UserError(name + ": an array on the GPU must be C-contiguous; make it so (torch: tensor.contiguous())");
}

Feed feed_by_dlpack(const std::string& name, nb::handle value, intptr_t stream) {
  Feed feed;
  feed.on_gpu = true;
  nb::object capsule;
  try {
    capsule = value.attr("__dlpack__")(nb::arg("stream") = stream);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;
    const nb::object type = nb::module_::import_("burnish._core").attr("UserError");
    nb::raise_from(error, type.ptr(), "%s: its __dlpack__ failed", name.c_str());
    throw nb::python_error();
  }
  if (!nb::try_cast(capsule, feed.gpu_array)) refuse_strided(name);
  feed.dtype = dtype_of(name, feed.gpu_array.dtype());
  describe(feed, feed.gpu_array);
  return feed;
}

burnish_dtype dtype_of_typestr(const std::string& name, const std::string& type) {
  constexpr std::pair<const char*, burnish_dtype> known[] = {
      {"|b1", BURNISH_BOOL}, {"|i1", BURNISH_I8},   {"|u1", BURNISH_U8},   {"<i2", BURNISH_I16}, {"<u2", BURNISH_U16},
      {"<i4", BURNISH_I32},  {"<u4", BURNISH_U32},  {"<i8", BURNISH_I64},  {"<u8", BURNISH_U64}, {"<f2", BURNISH_F16},
      {"<f4", BURNISH_F32},  {"<f8", BURNISH_F64}};
  for (const auto& [text, dtype] : known) {
    if (type == text) return dtype;
  }
  throw UserError(name + ": element type '" + type + "' is not supported; convert the array to the type that "
                  "get_inputs() tells");
}

// https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, versions 2 and 3.
Feed feed_by_interface(const std::string& name, nb::handle value, intptr_t stream) {
  const nb::dict given = nb::cast<nb::dict>(value.attr("__cuda_array_interface__"));
  Feed feed;
  feed.on_gpu = true;
  feed.owner = nb::borrow(value);
  feed.data = reinterpret_cast<void*>(nb::cast<uintptr_t>(given["data"][nb::int_(0)]));
  feed.dtype = dtype_of_typestr(name, nb::cast<std::string>(given["typestr"]));
  uint64_t bytes = burnish_dtype_size(feed.dtype);
  for (nb::handle size : given["shape"]) {
    feed.shape.push_back(nb::cast<int64_t>(size));
    if (feed.shape.back() < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(feed.shape.back()), &bytes)) {
      throw UserError(name + ": its __cuda_array_interface__ has an impossible shape");
    }
  }
  feed.bytes = bytes;
  if (given.contains("strides") && !given["strides"].is_none()) {
    int64_t expected = static_cast<int64_t>(burnish_dtype_size(feed.dtype));
    const nb::object strides = given["strides"];
    for (size_t i = feed.shape.size(); i-- > 0; expected *= feed.shape[i]) {
      if (feed.shape[i] > 1 && nb::cast<int64_t>(strides[nb::int_(i)]) != expected) refuse_strided(name);
    }
  }
  if (given.contains("stream") && !given["stream"].is_none() && nb::cast<intptr_t>(given["stream"]) != stream) {
    throw UserError(name + ": its producer works on another stream; run the session there (stream=), or synchronize");
  }
  return feed;
}

}  // namespace

nb::dlpack::dtype dlpack_of(burnish_dtype dtype) {
  switch (dtype) {
    case BURNISH_BOOL: return nb::dtype<bool>();
    case BURNISH_I8: return nb::dtype<int8_t>();
    case BURNISH_U8: return nb::dtype<uint8_t>();
    case BURNISH_I16: return nb::dtype<int16_t>();
    case BURNISH_U16:
    case BURNISH_BF16: return nb::dtype<uint16_t>();  // numpy has no bfloat16: array_over views the bits
    case BURNISH_I32: return nb::dtype<int32_t>();
    case BURNISH_U32: return nb::dtype<uint32_t>();
    case BURNISH_I64: return nb::dtype<int64_t>();
    case BURNISH_U64: return nb::dtype<uint64_t>();
    case BURNISH_F16: return {static_cast<uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
    case BURNISH_F32: return nb::dtype<float>();
    case BURNISH_F64: return nb::dtype<double>();
  }
  throw InternalError("the runtime gave dtype " + std::to_string(static_cast<int>(dtype)) +
                      ", which the Python binding does not know");
}

burnish_tensor Feed::tensor() const {
  burnish_tensor tensor{};
  tensor.data = data;
  tensor.bytes = bytes;
  tensor.dtype = dtype;
  tensor.rank = static_cast<uint32_t>(shape.size());
  tensor.shape = shape.data();
  return tensor;
}

Feed feed_of(const std::string& name, nb::handle value, intptr_t stream) {
  if (is_on_gpu(value)) return feed_by_dlpack(name, value, stream);
  if (!nb::hasattr(value, "__dlpack__") && nb::hasattr(value, "__cuda_array_interface__")) {
    return feed_by_interface(name, value, stream);
  }
  bool bfloat16 = false;
  nb::object source = prepared(value, bfloat16);
  Feed feed;
  if (!nb::try_cast(source, feed.array)) {
    raise_cause(name, value);
    std::string got = nb::cast<std::string>(nb::str(value.type().attr("__name__")));
    if (nb::hasattr(value, "dtype")) {
      const nb::object dtype = value.attr("dtype");
      got += " of " + std::string(nb::str(nb::handle(dtype)).c_str());
    }
    throw UserError(name + ": expected a numpy array or an array with __dlpack__, in main memory or a GPU's, "
                    "in this machine's byte order, got " + got);
  }
  feed.dtype = bfloat16 ? BURNISH_BF16 : dtype_of(name, feed.array.dtype());
  describe(feed, feed.array);
  return feed;
}

BufferPool::~BufferPool() {
  for (void* buffer : free_) std::free(buffer);
}

void* BufferPool::take() {
  {
    std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      void* buffer = free_.back();
      free_.pop_back();
      return buffer;
    }
  }
  const size_t rounded = (bytes_ + kAlignment - 1) / kAlignment * kAlignment;
  void* buffer = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
  if (!buffer) throw std::bad_alloc();
  return buffer;
}

void BufferPool::give(void* buffer) {
  {
    std::lock_guard lock(mutex_);
    if (free_.size() < kKept) {
      free_.push_back(buffer);
      return;
    }
  }
  std::free(buffer);
}

nb::object array_over(std::unique_ptr<PooledBuffer> buffer, burnish_dtype dtype, uint32_t rank,
                      const int64_t* shape) {
  std::vector<size_t> sizes(shape, shape + rank);
  void* data = buffer->data();
  nb::capsule owner(buffer.get(), [](void* p) noexcept { delete static_cast<PooledBuffer*>(p); });
  buffer.release();
  nb::object array = nb::cast(
      nb::ndarray<nb::numpy>(data, rank, sizes.data(), owner, nullptr, dlpack_of(dtype)));
  if (dtype == BURNISH_BF16) {
    if (nb::object bfloat16 = numpy_bfloat16(); bfloat16.is_valid()) return array.attr("view")(bfloat16);
  }
  return array;
}

const char* numpy_name(burnish_dtype dtype) {
  switch (dtype) {
    case BURNISH_BOOL: return "bool";
    case BURNISH_I8: return "int8";
    case BURNISH_U8: return "uint8";
    case BURNISH_I16: return "int16";
    case BURNISH_U16: return "uint16";
    case BURNISH_I32: return "int32";
    case BURNISH_U32: return "uint32";
    case BURNISH_I64: return "int64";
    case BURNISH_U64: return "uint64";
    case BURNISH_F16: return "float16";
    case BURNISH_BF16: return "bfloat16";
    case BURNISH_F32: return "float32";
    case BURNISH_F64: return "float64";
  }
  return "unknown";
}

}  // namespace burnish::python
