// Runs one operator through its formula.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "graph/op.h"

namespace burnish::test {

Tensor floats(Shape shape, std::vector<double> values, DType t = DType::F32);
Tensor integers(Shape shape, std::vector<int64_t> values, DType t = DType::I64);
Tensor random_floats(Shape shape, uint64_t seed, double lowest = -1, double highest = 1);
Tensor counting(Shape shape, DType t = DType::F32);  // 0 1 2 …

struct Arg {
  Tensor tensor;
  bool is_constant = false;
  bool present = true;
};
inline Arg given(Tensor t) { return {std::move(t)}; }
inline Arg constant_arg(Tensor t) { return {std::move(t), true}; }
inline Arg absent() { return {{}, false, false}; }

using AttrList = std::vector<std::pair<std::string, AttrValue>>;

// All outputs. The operator's stages are verified on the way.
std::vector<Tensor> apply_all(const std::string& op, std::vector<Arg> args, AttrList attrs = {});
Tensor apply(const std::string& op, std::vector<Arg> args, AttrList attrs = {});
// The message of the UserError or Unsupported that the operator answers with; a test failure when there is none.
std::string refusal(const std::string& op, std::vector<Arg> args, AttrList attrs = {});

std::vector<double> values(const Tensor& t);
void expect_values(const Tensor& t, const Shape& shape, const std::vector<double>& wanted,
                   double tolerance = 1e-6);
// Calls f for every position of a shape, row-major, with the flat index.
void each_position(const Shape& shape, const std::function<void(const Shape&, int64_t)>& f);
// The element at a position; 0 outside.
double at(const Tensor& t, const Shape& position, double outside = 0);

}  // namespace burnish::test
