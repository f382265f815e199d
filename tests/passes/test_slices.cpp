// Concats and splits along the outermost axis: producers write slices, readers read them, no step copies.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "graph/op.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

Program checked(const Graph& g, uint64_t seed = 3) {
  verify(g);
  const std::vector<Tensor> inputs = test::random_inputs(g, seed);
  Context context;
  context.target = &test::plain_target();
  context.options.verify = true;
  Program p = compile_graph(g, context);
  test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 1e-5, "program");
  return p;
}

Program checked(const std::string& body) {
  return checked(parse_graph("graph g {\n  input %x: f32[1,2,6]\n  input %z: f32[1,3,6]\n" + body + "\n}"));
}

TEST(Slices, ConcatIsWrittenByItsProducers) {
  const Program p = checked(R"(
  %a: f32[1,2,6] = relu(%x)
  %b: f32[1,3,6] = sigmoid(%z)
  %c: f32[1,5,6] = concat(%a, %b) {axis=1}
  output %c)");
  ASSERT_EQ(p.steps.size(), 2u);
  EXPECT_EQ(p.arena_bytes, 0);
  EXPECT_EQ(p.steps[1].args.back(), p.outputs[0]);
  EXPECT_EQ(p.steps[1].offsets, (std::vector<int64_t>{0, 2 * 6 * 4}));
  EXPECT_FALSE(p.steps[0].barrier) << "the slices do not meet";
}

TEST(Slices, SplitIsReadWhereItLies) {
  const Program p = checked(R"(
  %a: f32[1,3,6] = relu(%z)
  %p: f32[1,1,6], %q: f32[1,2,6] = split(%a) {axis=-2, sizes=[1,2]}
  %y: f32[1,1,6] = softmax(%p) {axis=2}
  %w: f32[1,2,6] = softmax(%q) {axis=2}
  output %y, %w, %a)");
  ASSERT_EQ(p.steps.size(), 3u);
  EXPECT_EQ(p.steps[2].offsets, (std::vector<int64_t>{6 * 4, 0}));
}

TEST(Slices, NestedConcatsAndViews) {
  const Program p = checked(R"(
  const %s: i64[3] = [1, 30, 1]
  const %t: i64[3] = [1, 12, 1]
  %a: f32[1,2,6] = relu(%x)
  %b: f32[1,3,6] = sigmoid(%z)
  %c: f32[1,5,6] = concat(%a, %b) {axis=1}
  %d: f32[1,30,1] = reshape(%c, %s)
  %e: f32[1,2,6] = tanh(%x)
  %s2: f32[1,12,1] = reshape(%e, %t)
  %f: f32[1,42,1] = concat(%s2, %d) {axis=1}
  output %f)");
  EXPECT_EQ(p.steps.size(), 3u);
  EXPECT_EQ(p.arena_bytes, 0);
}

TEST(Slices, WhatCannotShareIsCopied) {
  auto steps = [](const std::string& body) { return checked(body).steps.size(); };
  EXPECT_EQ(steps("%c: f32[1,5,6] = concat(%x, %z) {axis=1}\n output %c"), 1u) << "inputs of the network";
  EXPECT_EQ(steps("%a: f32[1,2,6] = relu(%x)\n %c: f32[1,4,6] = concat(%a, %a) {axis=1}\n output %c"), 2u)
      << "one operand twice";
  EXPECT_EQ(steps("%a: f32[1,2,6] = relu(%x)\n %b: f32[1,3,6] = sigmoid(%z)\n"
                  "%c: f32[1,5,6] = concat(%a, %b) {axis=1}\n output %c, %a"),
            3u)
      << "an output of its own";
  EXPECT_EQ(steps("%a: f32[1,2,6] = relu(%x)\n %b: f32[1,2,6] = sigmoid(%x)\n"
                  "%c: f32[1,2,12] = concat(%a, %b) {axis=2}\n output %c"),
            3u)
      << "rows side by side";
}

TEST(Slices, RandomGraphs) {
  size_t sliced = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
    Graph g;
    std::vector<ValueId> all{g.add_input("x", {DType::F32, {1, 2, 5}, {}}), g.add_input("z", {DType::F32, {1, 4, 5}, {}})};
    auto rows = [&](ValueId v) { return g.type(v).shape[1]; };
    for (int i = 0; i < 14; ++i) {
      const ValueId v = all[pick(all.size())];
      Attrs attrs;
      switch (pick(5)) {
        case 0:
        case 1: {
          const ValueId w = all[pick(all.size())];
          if (rows(v) + rows(w) > 40) break;
          attrs.set("axis", int64_t{1});
          all.push_back(g.add(op_named("concat"), {v, w}, attrs, fmt::format("concat{}", i)));
          break;
        }
        case 2: {
          if (rows(v) < 2) break;
          const auto first = static_cast<int64_t>(1 + pick(static_cast<size_t>(rows(v) - 1)));
          attrs.set("axis", int64_t{1});
          attrs.set("sizes", std::vector<int64_t>{first, rows(v) - first});
          const NodeId n = g.add_node(op_named("split"), {v}, attrs, fmt::format("split{}", i));
          for (ValueId o : g.nodes[n].outputs) all.push_back(o);
          break;
        }
        case 3: {
          attrs.set("axis", int64_t{2});
          all.push_back(g.add(op_named("softmax"), {v}, attrs, fmt::format("softmax{}", i)));
          break;
        }
        default: all.push_back(g.add(op_named("tanh"), {v}, {}, fmt::format("tanh{}", i)));
      }
    }
    for (size_t v = 2; v < all.size(); ++v) {
      if (v + 1 == all.size() || pick(4) == 0) g.outputs.push_back(all[v]);
    }
    for (size_t i = 0; i < g.outputs.size(); ++i) {
      if (g.values[g.outputs[i]].name.empty()) g.values[g.outputs[i]].name = fmt::format("y{}", i);
    }
    for (const Step& s : checked(without_dead_code(g), seed).steps) sliced += !s.offsets.empty();
  }
  EXPECT_GT(sliced, 30u);
}

}  // namespace
}  // namespace burnish
