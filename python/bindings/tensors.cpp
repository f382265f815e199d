#include "tensors.h"

#include "errors.h"

#include <nanobind/stl/string.h>

#include <cstdlib>
#include <new>
#include <string>

namespace burnish::python {
namespace {

constexpr size_t kAlignment = 64;

burnish_dtype dtype_of(const char* name, nb::dlpack::dtype type) {
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
  throw UserError("input " + std::string(name) + ": element type (DLPack code " +
                  std::to_string(static_cast<int>(type.code)) + ", " + std::to_string(type.bits) +
                  " bits) is not supported; convert the array to the type that get_inputs() tells");
}

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
void raise_cause(const char* name, nb::handle value) {
  if (is_numpy(value) || !nb::hasattr(value, "__dlpack__")) return;
  try {
    value.attr("__dlpack__")();
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;  // Ctrl-C
    const nb::object type = nb::module_::import_("burnish._core").attr("UserError");
    nb::raise_from(error, type.ptr(), "input %s: its __dlpack__ failed", name);
    throw nb::python_error();
  }
}

}  // namespace

burnish_tensor Feed::tensor() const {
  burnish_tensor tensor{};
  tensor.data = const_cast<void*>(array.data());  // inputs are only read
  tensor.bytes = array.nbytes();
  tensor.dtype = dtype;
  tensor.rank = static_cast<uint32_t>(shape.size());
  tensor.shape = shape.data();
  return tensor;
}

Feed feed_of(const char* name, nb::handle value) {
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
    throw UserError("input " + std::string(name) + ": expected a numpy array or an array with __dlpack__ in main "
                    "memory, in this machine's byte order, got " + got);
  }
  feed.dtype = bfloat16 ? BURNISH_BF16 : dtype_of(name, feed.array.dtype());
  for (size_t i = 0; i < feed.array.ndim(); ++i) {
    feed.shape.push_back(static_cast<int64_t>(feed.array.shape(i)));
  }
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
