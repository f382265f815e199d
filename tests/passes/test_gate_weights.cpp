// Products of channels that go into weights, and the same network afterwards.
#include <gtest/gtest.h>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"

namespace burnish {
namespace {

struct Variant {
  const char* name;
  int64_t images = 1, outputs = 5, window = 3, groups = 1;
  bool read_twice = false, per_point = false;
  bool moved = true;  // is the product gone?
};

// Squeeze-excite: a picture times a number for each of its six channels, then a convolution.
Graph gated(const Variant& v) {
  Graph g;
  uint64_t seed = 7;
  const auto weights = [&](Shape shape) { return test::random_weights(g, std::move(shape), seed); };
  const ValueId x = g.add_input("x", {DType::F32, {v.images, 6, 9, 8}, {}});
  ValueId gate = v.per_point ? x : g.add(op_named("global_average_pool"), {x}, {}, "pool");
  gate = g.add(op_named("sigmoid"), {gate}, {}, "sigmoid");
  const ValueId product = g.add(op_named("mul"), {x, gate}, {}, "gate");
  Attrs attrs;
  attrs.set("groups", v.groups);
  if (v.window == 3) attrs.set("pads", std::vector<int64_t>{1, 1, 1, 1});
  const ValueId y =
      g.add(op_named("conv"),
            {product, weights({v.outputs, 6 / v.groups, v.window, v.window}), weights({v.outputs})},
            attrs, "conv");
  g.outputs = {y};
  if (v.read_twice) g.outputs.push_back(g.add(op_named("relu"), {product}, {}, "relu"));
  return g;
}

class GateWeights : public ::testing::TestWithParam<Variant> {};

TEST_P(GateWeights, MeansTheSame) {
  const Context context{.target = &test::plain_target()};
  for (const bool channels_last : {false, true}) {
    const Graph before =
        channels_last ? choose_layout(gated(GetParam()), context) : gated(GetParam());
    const Graph after = gate_weights(before, context);
    bool has_product = false;
    for (const Node& n : after.nodes) {
      has_product |= n.op->name == "mul" &&
                     after.type(n.outputs[0]).shape == Shape{GetParam().images, 6, 9, 8};
    }
    EXPECT_EQ(has_product, !GetParam().moved);
    const auto inputs = test::random_inputs(before, 3);
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(before, inputs),
                       1e-5, GetParam().name);
    const Graph groups = fuse(after, context);
    test::expect_close(test::interpret_program(to_program(groups, context), groups, inputs),
                       test::evaluate_graph(before, inputs), 1e-5, GetParam().name);
  }
}

TEST(GateWeights, LeavesProductsThatScaleWhatTheyLoad) {
  class Scaling : public test::PlainTarget {
   public:
    bool scales_operands() const override { return true; }
  } target;
  const Graph g = gated({"window"});
  EXPECT_EQ(to_text(gate_weights(g, {.target = &target})), to_text(g));
}

INSTANTIATE_TEST_SUITE_P(
    Passes, GateWeights,
    ::testing::Values(Variant{"window"}, Variant{.name = "point", .window = 1},
                      Variant{.name = "batch", .images = 2, .moved = false},
                      Variant{.name = "groups", .outputs = 6, .groups = 2, .moved = false},
                      Variant{.name = "large_weights", .outputs = 50, .moved = false},
                      Variant{.name = "read_twice", .read_twice = true, .moved = false},
                      Variant{.name = "per_point", .per_point = true, .moved = false}),
    [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace burnish
