// Tensor: a dense row-major array that owns its bytes.
#include <cstring>

#include "base/error.h"
#include "expr/half.h"
#include "te/evaluate.h"

namespace burnish {
namespace {

constexpr int64_t max_bytes = int64_t{1} << 40;

int64_t checked_count(const std::vector<int64_t>& shape, DType t) {
  int64_t count = 1;
  for (int64_t d : shape) {
    require(d >= 0, "a tensor dimension is {}; dimensions cannot be negative", d);
    require(!__builtin_mul_overflow(count, d, &count) && count <= max_bytes / size_of(t),
            "a tensor of {} dimensions has more than 2^40 bytes", shape.size());
  }
  return count;
}

template <class T>
T element(const Tensor& t, int64_t i) {
  T v;
  std::memcpy(&v, t.bytes.data() + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}

template <class T, class V>
void put(Tensor& t, int64_t i, V value) {
  T v = static_cast<T>(value);
  std::memcpy(t.bytes.data() + i * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

}  // namespace

Tensor::Tensor(DType t, std::vector<int64_t> s) : dtype(t), shape(std::move(s)) {
  bytes.resize(static_cast<size_t>(checked_count(shape, t) * size_of(t)));
}

int64_t Tensor::size() const { return static_cast<int64_t>(bytes.size()) / size_of(dtype); }

Scalar Tensor::get(int64_t i) const {
  check(i >= 0 && i < size(), "element {} of a tensor of {}", i, size());
  Scalar s{.dtype = dtype};
  switch (dtype) {
    case DType::Bool: s.i = element<uint8_t>(*this, i) != 0; break;
    case DType::I8: s.i = element<int8_t>(*this, i); break;
    case DType::U8: s.i = element<uint8_t>(*this, i); break;
    case DType::I16: s.i = element<int16_t>(*this, i); break;
    case DType::U16: s.i = element<uint16_t>(*this, i); break;
    case DType::I32: s.i = element<int32_t>(*this, i); break;
    case DType::U32: s.i = element<uint32_t>(*this, i); break;
    case DType::I64:
    case DType::U64: s.i = element<int64_t>(*this, i); break;
    case DType::F16: s.f = float_of_half(element<uint16_t>(*this, i)); break;
    case DType::BF16: s.f = float_of_bfloat(element<uint16_t>(*this, i)); break;
    case DType::TF32:
    case DType::F32: s.f = element<float>(*this, i); break;
    case DType::F64: s.f = element<double>(*this, i); break;
  }
  return s;
}

void Tensor::set(int64_t i, const Scalar& s) {
  check(i >= 0 && i < size(), "element {} of a tensor of {}", i, size());
  check(s.dtype == dtype, "{} stored into a tensor of {}", name_of(s.dtype), name_of(dtype));
  switch (dtype) {
    case DType::Bool: put<uint8_t>(*this, i, s.i != 0); break;
    case DType::I8:
    case DType::U8: put<uint8_t>(*this, i, s.i); break;
    case DType::I16:
    case DType::U16: put<uint16_t>(*this, i, s.i); break;
    case DType::I32:
    case DType::U32: put<uint32_t>(*this, i, s.i); break;
    case DType::I64:
    case DType::U64: put<int64_t>(*this, i, s.i); break;
    case DType::F16: put<uint16_t>(*this, i, half_of_float(static_cast<float>(s.f))); break;
    case DType::BF16: put<uint16_t>(*this, i, bfloat_of_float(static_cast<float>(s.f))); break;
    case DType::TF32: put<float>(*this, i, tf32_of_float(static_cast<float>(s.f))); break;
    case DType::F32: put<float>(*this, i, s.f); break;
    case DType::F64: put<double>(*this, i, s.f); break;
  }
}

}  // namespace burnish
