// Evaluates stages directly, element by element: the meaning of a formula, without any schedule. Slow and simple.
// Used by constant folding and shape computation, and as the oracle of operator tests.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "te/stage.h"

namespace burnish {

// A dense row-major tensor that owns its bytes.
struct Tensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  Tensor() = default;
  Tensor(DType t, std::vector<int64_t> shape);  // zeros; UserError when the size overflows or exceeds 1 TB
  int64_t size() const;  // elements
  template <class T> T* data() { return reinterpret_cast<T*>(bytes.data()); }
  template <class T> const T* data() const { return reinterpret_cast<const T*>(bytes.data()); }
  Scalar get(int64_t element) const;
  void set(int64_t element, const Scalar& value);
};
using TensorPtr = std::shared_ptr<const Tensor>;

// Values of the group's outputs from those of its inputs (in the order of group.inputs).
// `in_double`: floats are computed and kept in fp64 (the outputs' dtype is then F64 where it was F32/F16/BF16).
std::vector<Tensor> evaluate(const StageGroup& g, const std::vector<const Tensor*>& inputs, bool in_double = false);

}  // namespace burnish
