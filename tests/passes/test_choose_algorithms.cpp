// The cheapest algorithm by the target's estimates, and the same network afterwards.
#include <gtest/gtest.h>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"

namespace burnish {
namespace {

// Estimates by what a group is: a plain convolution, or Winograd's in tiles of two or four.
class Estimating : public test::PlainTarget {
 public:
  Estimating(double direct, double two, double four) : direct_(direct), two_(two), four_(four) {}
  double estimate_us(const StageGroup& g) const override {
    for (const Stage& s : g.stages) {
      if (s.name.ends_with(".columns")) return s.axes[1].extent == 4 ? four_ : two_;
    }
    return direct_;
  }

 private:
  double direct_, two_, four_;
};

// A convolution that has other algorithms, one with strides, one of groups.
Graph weighted() {
  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {1, 3, 9, 8}, {}});
  uint64_t seed = 1;
  const auto weights = [&](Shape shape) { return test::random_weights(g, std::move(shape), seed); };
  const auto conv = [&](ValueId from, std::vector<ValueId> constants, const char* name,
                        int64_t value, std::vector<int64_t> list) {
    Attrs attrs;
    attrs.set(name, std::move(list));
    attrs.set("groups", value);
    constants.insert(constants.begin(), from);
    return g.add(op_named("conv"), constants, attrs, "conv");
  };
  const ValueId a = conv(x, {weights({5, 3, 3, 3}), weights({5})}, "pads", 1, {1, 1, 1, 1});
  const ValueId r = g.add(op_named("relu"), {a}, {}, "relu");
  const ValueId c = conv(r, {weights({4, 5, 3, 3})}, "strides", 1, {2, 2});
  g.outputs = {conv(c, {weights({4, 1, 3, 3})}, "pads", 4, {1, 1, 1, 1})};
  return g;
}

std::vector<int64_t> tiles(const Graph& g) {
  std::vector<int64_t> out;
  for (const Node& n : g.nodes) {
    if (n.op->name == "winograd_conv") out.push_back(n.attrs.i("tile"));
  }
  return out;
}

TEST(ChooseAlgorithms, TakesTheCheapest) {
  const Graph g = weighted();
  const std::vector<Tensor> inputs = test::random_inputs(g, 3);
  for (const auto& [direct, two, four, wanted] :
       {std::tuple{9.0, 2.0, 1.0, std::vector<int64_t>{4}},
        {9.0, 1.0, 2.0, {2}},
        {1.0, 2.0, 3.0, {}},
        {1.0, 0.99, 2.0, {}}}) {
    const Estimating target(direct, two, four);
    Context context;
    context.target = &target;
    const Graph after = choose_algorithms(g, context);
    verify(after);
    // Strides and groups have no other algorithm.
    EXPECT_EQ(tiles(after), wanted) << direct << " " << two << " " << four;
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-5,
                       "choose_algorithms");
  }
}

TEST(ChooseAlgorithms, KeepsWhatHasNoEstimate) {
  const Graph g = weighted();
  Context context;
  context.target = &test::plain_target();
  EXPECT_TRUE(tiles(choose_algorithms(g, context)).empty());
  EXPECT_TRUE(tiles(choose_algorithms(g, {})).empty());
}

}  // namespace
}  // namespace burnish
