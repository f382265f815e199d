// What a group adds to its own sum, joined with it.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

// A convolution of x, relu, and what a convolution of it adds; or what is an operand of the second one. `read`: by another one, too.
Graph two_sums(bool added, bool read) {
  Graph g;
  uint64_t seed = 5;
  const ValueId x = g.add_input("x", {DType::F32, {1, 8, 4, 4}, {}});
  const auto conv = [&](ValueId in) {
    Attrs attrs;
    attrs.set("strides", std::vector<int64_t>{1, 1});
    attrs.set("pads", std::vector<int64_t>(4, 0));
    attrs.set("dilations", std::vector<int64_t>{1, 1});
    attrs.set("groups", int64_t{1});
    return g.add(op_named("relu"), {g.add(op_named("conv"), {in, test::random_weights(g, {8, 8, 1, 1}, seed)}, attrs, "conv")}, {}, "relu");
  };
  const ValueId first = conv(x);
  const ValueId y = added ? g.add(op_named("add"), {conv(x), first}, {}, "add") : conv(first);
  g.outputs = {y};
  if (read) g.outputs.push_back(conv(first));
  for (size_t i = 0; i < g.outputs.size(); ++i) g.values[g.outputs[i]].name = fmt::format("y{}", i);
  return g;
}

class Willing : public test::PlainTarget {
 public:
  bool prefers_one_nest(const StageGroup&) const override { return true; }
};

TEST(FuseAddends, JoinsWhatOneGroupAdds) {
  const Willing target;
  Context c;
  c.target = &target;
  for (const bool added : {true, false}) {
    for (const bool read : {true, false}) {
      const Graph g = two_sums(added, read);
      const Graph fused = fuse(g, c), after = fuse_addends(fused, c);
      verify(after);
      EXPECT_EQ(fused.nodes.size() - after.nodes.size(), added && !read ? 1u : 0u);
      const std::vector<Tensor> inputs = test::random_inputs(g, 3);
      test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-5, "joined");
    }
  }
}

}  // namespace
}  // namespace burnish
