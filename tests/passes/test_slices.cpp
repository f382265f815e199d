// Concats and splits: producers write slices, readers read them, no step copies.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "graph/op.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"
#include "target/target.h"

namespace burnish {
namespace {

Program checked(const Graph& g, uint64_t seed = 3, const Target& target = test::plain_target()) {
  verify(g);
  const std::vector<Tensor> inputs = test::random_inputs(g, seed);
  Context context;
  context.target = &target;
  context.options.verify = true;
  Program p = compile_graph(g, context);
  verify(parse_program(to_text(p)));
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

Program checked_image(const std::string& body) {
  return checked(parse_graph("graph g {\n  input %x: f32[1,3,4,16]\n  input %z: f32[1,3,4,32]\n" +
                             body + "\n}"));
}

std::string parameters(const Program& p, size_t step) {
  const std::string text = to_text(p.functions[p.steps[step].function]);
  return text.substr(text.find('('), text.find(')') - text.find('('));
}

TEST(Slices, ChannelsAreWrittenBetweenEachOther) {
  const Program p = checked_image(R"(
  %a: f32[1,3,4,16] = relu(%x)
  %b: f32[1,3,4,32] = sigmoid(%z)
  %c: f32[1,3,4,48] = concat(%a, %b) {axis=3}
  %d: f32[1,3,4,48] = softmax(%c) {axis=3}
  %y: f32[1,3,4,48] = softmax(%d) {axis=3}
  output %y, %d)");
  ASSERT_EQ(p.steps.size(), 4u);
  EXPECT_EQ(p.steps[1].offsets, (std::vector<int64_t>{0, 16 * 4}));
  EXPECT_EQ(p.steps[0].args.back(), p.steps[1].args.back());
  EXPECT_FALSE(p.steps[0].barrier) << "the slices do not meet";
  EXPECT_NE(parameters(p, 0).find("out f32[544] runs 16 of 48"), std::string::npos) << parameters(p, 0);
  EXPECT_NE(parameters(p, 1).find("out f32[560] runs 32 of 48"), std::string::npos) << parameters(p, 1);
  EXPECT_EQ(p.steps[0].bytes, 2 * 16 * 12 * 4) << "what lies between is not counted";
}

TEST(Slices, OutputsAreWrittenBetweenEachOther) {
  const Program p = checked(parse_graph(R"(graph g {
  input %x: f32[1,3,16]
  input %z: f32[1,3,32]
  %a: f32[1,3,16] = relu(%x)
  %b: f32[1,3,32] = sigmoid(%z)
  %c: f32[1,3,48] = concat(%a, %b) {axis=2}
  output %c
})"));
  EXPECT_EQ(p.steps.size(), 2u);
  EXPECT_EQ(p.arena_bytes, 0);
}

// Half of what a group makes goes on, and is joined with all that was made (YOLOv8's C2f).
TEST(Slices, SplitChannelsInsideOfAConcat) {
  const Program p = checked_image(R"(
  %a: f32[1,3,4,32] = relu(%z)
  %p: f32[1,3,4,16], %q: f32[1,3,4,16] = split(%a) {axis=3, sizes=[16,16]}
  %r: f32[1,3,4,16] = softmax(%q) {axis=3}
  %s: f32[1,3,4,16] = softmax(%r) {axis=3}
  %c: f32[1,3,4,64] = concat(%p, %q, %r, %s) {axis=3}
  %d: f32[1,3,4,64] = softmax(%c) {axis=3}
  output %d)");
  ASSERT_EQ(p.steps.size(), 4u);
  EXPECT_EQ(p.steps[1].offsets, (std::vector<int64_t>{16 * 4, 32 * 4}));
  EXPECT_EQ(p.steps[2].offsets, (std::vector<int64_t>{32 * 4, 48 * 4}));
  EXPECT_EQ(p.steps[1].function, p.steps[2].function);
}

TEST(Slices, SlicesInAnotherOrderAreCopied) {
  for (const char* order : {"%q, %p", "%p, %p", "%q, %q", "%p, %t", "%t, %q"}) {
    SCOPED_TRACE(order);
    const Program p = checked_image(fmt::format(R"(
  %a: f32[1,3,4,32] = relu(%z)
  %p: f32[1,3,4,16], %q: f32[1,3,4,16] = split(%a) {{axis=3, sizes=[16,16]}}
  %r: f32[1,3,4,16] = softmax(%q) {{axis=3}}
  %t: f32[1,3,4,16] = softmax(%p) {{axis=3}}
  %c: f32[1,3,4,48] = concat({}, %r) {{axis=3}}
  %d: f32[1,3,4,48] = softmax(%c) {{axis=3}}
  %u: f32[1,3,4,16] = softmax(%t) {{axis=3}}
  output %d, %u)", order));
    EXPECT_EQ(p.steps.size(), 6u);
  }
}

TEST(Slices, WhatCannotLieApartIsCopied) {
  auto steps = [](const std::string& body, bool runs = false) {
    const Program p = checked_image(body);
    EXPECT_EQ(to_text(p).find(" runs ") != std::string::npos, runs) << body;
    return p.steps.size();
  };
  EXPECT_EQ(steps("%a: f32[1,3,4,32] = relu(%z)\n"
                  "%p: f32[1,3,4,30], %q: f32[1,3,4,2] = split(%a) {axis=3, sizes=[30,2]}\n"
                  "%r: f32[1,3,4,30] = softmax(%p) {axis=3}\n output %r, %q"),
            3u)
      << "rows of two elements";
  EXPECT_EQ(steps("const %s: i64[2] = [3, -1]\n %a: f32[1,3,4,32] = relu(%z)\n"
                  "%p: f32[1,3,4,16], %q: f32[1,3,4,16] = split(%a) {axis=3, sizes=[16,16]}\n"
                  "%r: f32[3,64] = reshape(%p, %s)\n %w: f32[3,64] = softmax(%r) {axis=1}\n output %w, %q"),
            3u)
      << "rows that a view joins";
  EXPECT_EQ(steps("%a: f32[1,3,4,32] = relu(%z)\n"
                  "%p: f32[1,3,4,16], %q: f32[1,3,4,16] = split(%a) {axis=3, sizes=[16,16]}\n"
                  "%b: f32[1,3,4,16] = relu(%x)\n %c: f32[1,6,4,16] = concat(%q, %b) {axis=1}\n"
                  "%d: f32[1,6,4,16] = softmax(%c) {axis=3}\n"
                  "%e: f32[1,3,4,16] = softmax(%p) {axis=3}\n output %d, %e",
                  true),
            5u)
      << "a slice of channels as rows of another tensor";
}

// The LLVM target's schedules, in the interpreter.
TEST(Slices, RandomImages) {
  size_t between = 0;
  const auto llvm = make_target("llvm:cpu=x86-64-v3", 2);
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
    auto weights = [&](Graph& g, Shape shape) {
      auto t = std::make_shared<Tensor>(DType::F32, std::move(shape));
      for (int64_t i = 0; i < t->size(); ++i) t->set(i, {.dtype = DType::F32, .f = 0.2 * std::sin(double(random() % 999))});
      return g.add_constant(fmt::format("w{}", g.values.size()), t);
    };
    Graph g;
    std::vector<ValueId> all{g.add_input("x", {DType::F32, {1, 16, 3, 4}, {}}),
                             g.add_input("z", {DType::F32, {1, 20, 3, 4}, {}})};
    for (int i = 0; i < 12; ++i) {
      const ValueId v = all[pick(2) == 0 ? all.size() - 1 : pick(all.size())];
      const Shape shape = g.type(v).shape;
      const int64_t channels = shape[1];
      const std::string name = fmt::format("n{}", i);
      Attrs attrs;
      switch (pick(7)) {
        case 0:
        case 1: {
          const ValueId w = all[pick(all.size())];
          const Shape other = g.type(w).shape;
          const int64_t axis = other[1] == channels && other[3] == shape[3] && pick(4) == 0 ? 2 : 1;
          if (axis == 1 && (other[2] != shape[2] || channels + other[1] > 120)) break;
          attrs.set("axis", axis);
          all.push_back(g.add(op_named("concat"), {v, w}, attrs, name));
          break;
        }
        case 2: {
          if (channels < 32) break;
          attrs.set("axis", int64_t{1});
          attrs.set("sizes", std::vector<int64_t>{16, channels - 16});
          const NodeId n = g.add_node(op_named("split"), {v}, attrs, name);
          for (ValueId o : g.nodes[n].outputs) all.push_back(o);
          break;
        }
        case 3: all.push_back(g.add(op_named("max_pool"), {v}, [] {
                  Attrs a;
                  a.set("kernel", std::vector<int64_t>{3, 3});
                  a.set("pads", std::vector<int64_t>{1, 1, 1, 1});
                  return a;
                }(), name));
                break;
        case 4: all.push_back(g.add(op_named("tanh"), {v}, {}, name)); break;
        default: {
          const bool wide = pick(2) == 0;
          const int64_t out = std::array<int64_t, 3>{16, 24, 32}[pick(3)];
          if (wide) attrs.set("pads", std::vector<int64_t>{1, 1, 1, 1});
          const ValueId w = weights(g, {out, channels, wide ? 3 : 1, wide ? 3 : 1});
          const ValueId c = g.add(op_named("conv"), {v, w}, attrs, name);
          all.push_back(pick(2) == 0 && out == channels ? g.add(op_named("add"), {c, v}, {}, name + "a")
                                                        : g.add(op_named("relu"), {c}, {}, name + "r"));
        }
      }
    }
    for (size_t v = 2; v < all.size(); ++v) {
      if (v + 1 == all.size() || pick(6) == 0) g.outputs.push_back(all[v]);
    }
    if (g.outputs.empty()) continue;
    for (size_t i = 0; i < g.outputs.size(); ++i) {
      if (g.values[g.outputs[i]].name.empty()) g.values[g.outputs[i]].name = fmt::format("y{}", i);
    }
    for (const Target* target : {&test::plain_target(), llvm.get()}) {
      const Program p = checked(without_dead_code(g), seed, *target);
      for (const Function& f : p.functions) {
        for (const Buffer& b : f.buffers) between += b.pitch != 0;
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_GT(between, 60u);
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
