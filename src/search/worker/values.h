// Numbers for a kernel's inputs, and the comparison of its answers.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "search/measure/messages.h"
#include "te/evaluate.h"

namespace burnish::search {

// The logical tensor of a parameter; the same for every schedule of a task. Floats lie in [-1, 1], those of weights
// nearer to zero the more of them make one output, so that sums stay about as large as their terms and do not all end
// in the flat parts of a sigmoid. 8-bit integers take all values, wider ones 0..99 (positions are taken modulo the axis).
Tensor random_tensor(const Parameter& p, uint64_t seed);

// Physical bytes of a parameter's tensor.
size_t bytes_of(const Parameter& p);

// The first and worst disagreement between two answers in the layout of `p`, as a sentence; empty: they agree within
// the tolerance. Elements that a padded layout leaves to others are not looked at.
std::string difference(const Parameter& p, std::span<const std::byte> got, std::span<const std::byte> expected,
                       const Tolerance& t);

// The largest difference of two dense tensors, over the root mean square of `expected`; infinite where only one has a
// NaN or an infinity.
double deviation(DType t, std::span<const std::byte> got, std::span<const std::byte> expected);

}  // namespace burnish::search
