// Winograd convolutions: their nest against the formula, for maps that tiles divide and maps that
// they do not.
#include <gtest/gtest.h>

#include <random>

#include "graph/op.h"
#include "groups.h"
#include "support.h"
#include "target/llvm/space.h"
#include "target/llvm/winograd.h"

namespace burnish::llvm_target {
namespace {

using target_test::expect_computes;
using target_test::machine;
using target_test::nhwc;

struct Layer {
  int64_t batch, height, width, in, out, tile;
  std::vector<int64_t> pads = {1, 1, 1, 1};
  bool residual = false;
};

std::string text(const Layer& l) {
  return shape_text({l.batch, l.in, l.height, l.width}) + " to " + std::to_string(l.out) +
         " in tiles of " + std::to_string(l.tile) + " pads " + shape_text(l.pads);
}

// conv + bias (+ residual) + relu, as fusion makes it.
StageGroup group_of(const Layer& l) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {l.batch, l.in, l.height, l.width}, nhwc});
  const ValueId u = g.add_input("u", {DType::F32, {l.tile + 2, l.tile + 2, l.in, l.out}, {}});
  const ValueId bias = g.add_input("b", {DType::F32, {l.out}, {}});
  Attrs attrs;
  attrs.set("tile", l.tile);
  attrs.set("pads", l.pads);
  ValueId v = g.add(op_named("winograd_conv"), {x, u, bias}, attrs, "conv");
  const auto last = [&](ValueId value) { g.values[value].type.layout = nhwc; };
  last(v);
  std::vector<ValueId> inputs{x, u, bias};
  if (l.residual) {
    inputs.push_back(g.add_input("r", g.type(v)));
    v = g.add(op_named("add"), {v, inputs.back()}, {}, "add");
    last(v);
  }
  v = g.add(op_named("relu"), {v}, {}, "relu");
  last(v);
  g.outputs = {v};
  Graph outer;
  std::vector<ValueId> operands;
  for (ValueId i : inputs) operands.push_back(outer.add_input(g.values[i].name, g.type(i)));
  const NodeId node = add_group(outer, g, operands, "group");
  StageGroup stages = stages_of_group(outer, outer.nodes[node]);
  for (size_t i : {1, 2}) stages[stages.inputs[i]].kind = StageKind::Constant;
  return stages;
}

const std::vector<Layer> layers = {{1, 8, 8, 16, 16, 4},
                                   {1, 7, 7, 32, 32, 4},
                                   {1, 7, 9, 16, 48, 2},
                                   {2, 12, 8, 16, 24, 4},
                                   {1, 13, 6, 20, 8, 2, {0, 1, 2, 0}, true},
                                   {1, 20, 20, 32, 64, 4, {1, 1, 1, 1}, true},
                                   {1, 5, 5, 8, 40, 4, {0, 0, 0, 0}}};

TEST(Winograd, IsRecognised) {
  for (const Layer& l : layers) {
    SCOPED_TRACE(text(l));
    Schedule s(group_of(l));
    inline_cheap(s);
    const auto p = transformed_product(s.group(), s.group().outputs[0]);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->m, l.tile);
    EXPECT_EQ(p->points.size(), 2u);
    EXPECT_EQ(s.group()[p->acc].axes[p->c].extent, l.out);
  }
}

TEST(Winograd, DefaultsComputeTheFormula) {
  for (const Layer& l : layers) {
    for (int threads : {1, 2}) {
      SCOPED_TRACE(text(l) + ", " + std::to_string(threads) + " threads");
      const StageGroup g = group_of(l);
      const Schedule s = default_schedule(g, machine(threads));
      EXPECT_NE(s.to_text().find("register"), std::string::npos);
      expect_computes(s, g);
    }
  }
}

TEST(Winograd, PointsComputeTheFormula) {
  std::mt19937_64 random(11);
  for (const Layer& l : layers) {
    SCOPED_TRACE(text(l));
    const StageGroup g = group_of(l);
    target_test::expect_points_compute(g, make_space(g, machine(2)).get(), random, false);
  }
}

// The draft takes Winograd where it has fewer operations to do, and not where weights of four times
// the size would have to come from memory for a few pixels.
TEST(Winograd, DraftsComparePlainly) {
  const auto us = [](const StageGroup& g) {
    const auto space = make_space(g, machine(1));
    return space->draft_us(space->default_point());
  };
  const auto direct = [](int size, int channels) {
    GroupBuilder b("conv");
    b.output(target_test::conv(b, "conv", target_test::image(b, channels, size, size),
                               {size, size, channels, channels, 3}));
    return b.group();
  };
  EXPECT_LT(us(group_of({1, 80, 80, 64, 64, 4})), 0.7 * us(direct(80, 64)));
  EXPECT_LT(us(group_of({1, 40, 40, 128, 128, 4})), 0.7 * us(direct(40, 128)));
  EXPECT_GT(us(group_of({1, 4, 4, 512, 512, 4})), us(direct(4, 512)));
}

// The transformed input of a wide image is several times the image: strips keep it in the caches.
TEST(Winograd, StripsStayInTheCaches) {
  const auto strip_of = [](const Layer& l) {
    const auto space = make_space(group_of(l), machine(1));
    const Point p = space->default_point();
    for (size_t i = 0; i < p.size(); ++i) {
      if (space->knobs()[i].name == "strip") return space->knobs()[i].values[p[i]];
    }
    return int64_t{0};
  };
  EXPECT_LE(strip_of({1, 160, 160, 96, 24, 4}), 4);
  // Weights that come from memory pass by once.
  EXPECT_EQ(strip_of({1, 28, 28, 512, 512, 4}), 7);
}

}  // namespace
}  // namespace burnish::llvm_target
