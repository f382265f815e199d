// Where chains are cut.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

// Three groups, of 8, 32 and 32 channels at 4 x 4 points, then 8.
Graph three_groups() {
  Graph g;
  uint64_t seed = 3;
  const ValueId x = g.add_input("x", {DType::F32, {1, 8, 4, 4}, {}});
  const auto conv = [&](ValueId in, int64_t from, int64_t to, int64_t window, int64_t groups) {
    Attrs attrs;
    attrs.set("strides", std::vector<int64_t>{1, 1});
    attrs.set("pads", std::vector<int64_t>(4, window / 2));
    attrs.set("dilations", std::vector<int64_t>{1, 1});
    attrs.set("groups", groups);
    const ValueId w = test::random_weights(g, {to, from / groups, window, window}, seed);
    return g.add(op_named("relu"), {g.add(op_named("conv"), {in, w}, attrs, "conv")}, {}, "relu");
  };
  g.outputs = {conv(conv(conv(x, 8, 32, 1, 1), 32, 32, 3, 32), 32, 8, 1, 1)};
  g.values[g.outputs[0]].name = "y";
  return g;
}

// Wants all pieces of up to two groups; a piece of two takes what is said.
class Estimating : public test::PlainTarget {
 public:
  Estimating(std::optional<double> first, std::optional<double> second) : first_(first), second_(second) {}
  bool prefers_one_nest(const StageGroup& g) const override { return sums(g) == 2; }
  std::optional<double> nest_us(const StageGroup& g) const override {
    if (!first_) return std::nullopt;
    if (sums(g) == 1) return 1;
    return g[g.outputs[0]].axes[1].extent == 32 ? first_ : second_;  // expansion and depthwise, or depthwise and projection
  }

 private:
  static int64_t sums(const StageGroup& g) {
    return std::ranges::count_if(g.stages, [](const Stage& s) { return s.is_reduction(); });
  }
  std::optional<double> first_, second_;
};

size_t convs_of_first(const Target& target) {
  const Graph g = three_groups();
  Context c;
  c.target = &target;
  const Graph after = fuse_chains(fuse(g, c), c);
  verify(after);
  const std::vector<Tensor> inputs = test::random_inputs(g, 3);
  test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-5, "cut");
  EXPECT_EQ(after.nodes.size(), 2u);
  size_t convs = 0;  // of the first piece
  for (const Node& n : after.nodes[0].bodies.at(0).nodes) convs += n.op->name == "conv";
  return convs;
}

TEST(FuseChains, CutsWhereTheTargetsEstimatesAreLeast) {
  EXPECT_EQ(convs_of_first(Estimating(1.5, 1.7)), 2u);
  EXPECT_EQ(convs_of_first(Estimating(1.7, 1.5)), 1u);
}

TEST(FuseChains, CutsByBytesWithoutEstimates) { EXPECT_EQ(convs_of_first(Estimating(std::nullopt, std::nullopt)), 1u); }

}  // namespace
}  // namespace burnish
