// f16 or bf16 between kernels, and narrower weights, where the target stores f32 so.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

class HalfTarget : public test::PlainTarget {
 public:
  explicit HalfTarget(DType storage) : storage_(storage) {}
  DType storage() const override { return storage_; }

 private:
  DType storage_;
};

class RoundedTarget : public test::PlainTarget {
 public:
  DType weights() const override { return DType::TF32; }
};

bool is_half(const Graph& g, ValueId v) { return g.type(v).dtype == DType::F16; }

TEST(NarrowStorage, ProgramsInTheInterpreter) {
  constexpr double rounding_of_f16 = 2e-2;
  for (const auto& [type, tolerance] : {std::pair{DType::F16, rounding_of_f16}, {DType::BF16, 8 * rounding_of_f16}}) {
    const HalfTarget target(type);
    int with_halves = 0;  // a network of one group, or of small weights alone, has none
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(fmt::format("seed {}, {}", seed, name_of(type)));
      const Graph g = test::random_network(seed);
      const std::vector<Tensor> inputs = test::random_inputs(g, seed);
      Context context;
      context.target = &target;
      context.options.verify = true;
      const Program p = compile_graph(g, context);
      size_t halves = 0;
      for (const ProgramTensor& t : p.tensors) {
        halves += t.dtype == type;
        const bool own = t.kind == TensorKind::Input || t.kind == TensorKind::Output;
        EXPECT_FALSE(own && t.dtype == type) << t.name;
      }
      with_halves += halves > 0;
      test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), tolerance, "program");
    }
    EXPECT_GE(with_halves, 15);
  }
}

TEST(NarrowStorage, SumsExponentialsAndLargeWeightsStay) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {4, 64}, {}});
  auto large = std::make_shared<Tensor>(DType::F32, Shape{64, 64});
  for (int64_t i = 0; i < large->size(); ++i) large->set(i, {DType::F32, 1e5, 0});
  const ValueId product = g.add(op_named("matmul"), {x, g.add_constant("w", large)}, {}, "product");
  const ValueId powers = g.add(op_named("exp"), {product}, {}, "powers");
  g.outputs.push_back(g.add(op_named("matmul"), {powers, g.add_constant("v", large)}, {}, "again"));
  g.values[g.outputs[0]].name = "y";
  const HalfTarget target(DType::F16);
  Context context;
  context.target = &target;
  const Graph after = narrow_storage(fuse(g, context), context);
  verify(after);
  for (ValueId v = 0; v < after.values.size(); ++v) EXPECT_FALSE(is_half(after, v)) << after.values[v].name;
  // Large weights are no reason in bf16, whose range is that of f32; the rest is.
  const HalfTarget wide(DType::BF16);
  context.target = &wide;
  const Graph kept = narrow_storage(fuse(g, context), context);
  for (ValueId v = 0; v < kept.values.size(); ++v)
    EXPECT_EQ(kept.type(v).dtype == DType::BF16, kept.values[v].is_constant()) << kept.values[v].name;
}

// Weights of products over channels, not of depthwise convolutions; between kernels what products alone read.
TEST(NarrowStorage, RoundedWeights) {
  const RoundedTarget target;
  Context context;
  context.target = &target;
  context.options.verify = true;
  int rounded = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph g = test::random_network(seed);
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    const Program p = compile_graph(g, context);
    for (const ProgramTensor& t : p.tensors) {
      rounded += t.dtype == DType::TF32;
      EXPECT_TRUE(t.dtype != DType::TF32 || t.kind == TensorKind::Constant || t.kind == TensorKind::Arena) << t.name;
    }
    test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 2e-2, "program");
  }
  EXPECT_GE(rounded, 15);

  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {1, 8, 9, 9}, {}});
  const auto convolved = [&](const char* name, Shape weights, int64_t groups) {
    Attrs a;
    a.set("groups", groups);
    return g.add(op_named("conv"), {x, g.add_constant(name, std::make_shared<Tensor>(DType::F32, std::move(weights)))}, a, std::string(name) + ".y");
  };
  const auto matrix = [&](const char* name, int64_t m, int64_t n) { return g.add_constant(name, std::make_shared<Tensor>(DType::F32, Shape{m, n})); };
  const ValueId sum = g.add(op_named("gemm"), {g.add_input("a", {DType::F32, {4, 8}, {}}), matrix("factor", 8, 6), matrix("addend", 4, 6)}, {}, "sum");
  g.outputs = {convolved("dense", {4, 8, 1, 1}, 1), convolved("depthwise", {8, 1, 3, 3}, 8), sum};
  const Graph after = narrow_storage(fuse(g, context), context);
  std::map<std::string, DType> types;
  for (ValueId v = 0; v < after.values.size(); ++v)
    if (after.values[v].is_constant()) types[after.values[v].name] = after.type(v).dtype;
  EXPECT_EQ(types, (std::map<std::string, DType>{{"dense", DType::TF32}, {"depthwise", DType::F32}, {"factor", DType::TF32}, {"addend", DType::F32}}));
}

// One convolution after another: what lies between is rounded when it is stored, but not what is added, too, or what the network gives.
TEST(NarrowStorage, WhatProductsAloneRead) {
  const RoundedTarget target;
  Context context;
  context.target = &target;
  Graph g;
  const auto convolved = [&](const std::string& name, ValueId x) {
    const auto weights = std::make_shared<Tensor>(DType::F32, Shape{8, 8, 1, 1});
    const ValueId y = g.add(op_named("relu"), {g.add(op_named("conv"), {x, g.add_constant(name + ".w", weights)}, {}, name + ".conv")}, {}, name);
    g.values[y].name = name;
    return y;
  };
  const ValueId x = g.add_input("x", {DType::F32, {1, 8, 9, 9}, {}}), a = convolved("a", x), b = convolved("b", a), c = convolved("c", b);
  const ValueId d = g.add(op_named("add"), {convolved("d", c), b}, {}, "sum");
  g.values[d].name = "sum";
  g.outputs = {convolved("e", d)};
  const Graph after = narrow_storage(fuse(g, context), context);
  std::map<std::string, DType> types;
  for (ValueId v = 0; v < after.values.size(); ++v)
    if (!after.values[v].is_constant()) types[after.values[v].name] = after.type(v).dtype;
  EXPECT_EQ(types, (std::map<std::string, DType>{
                       {"x", DType::F32}, {"a", DType::TF32}, {"b", DType::F32}, {"c", DType::TF32}, {"sum", DType::TF32}, {"e", DType::F32}}));
}

TEST(NarrowStorage, NothingWhereTheTargetStoresFloats) {
  Context context;
  context.target = &test::plain_target();
  const Graph g = fuse(test::random_network(1), context);
  EXPECT_EQ(to_text(narrow_storage(g, context)), to_text(g));
}

}  // namespace
}  // namespace burnish
