// Narrow convolutions of one tensor, and the same network afterwards.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

struct Case {
  const char* name;
  size_t convolutions, wheres;  // afterwards
  const char* text;
};

const Case cases[] = {
    {"heads, one with an activation, one without a bias", 1, 1, R"(graph g {
  input %x: f32[1,6,5,8]
  const %a: f32[1,6,1,1] = #1
  const %b: f32[2,6,1,1] = #2
  const %c: f32[5,6,1,1] = #3
  const %p: f32[1] = #4
  const %q: f32[5] = #5
  %u: f32[1,1,5,8] = conv(%x, %a, %p)
  %v: f32[1,2,5,8] = conv(%x, %b)
  %w: f32[1,5,5,8] = conv(%x, %c, %q)
  %s: f32[1,1,5,8] = sigmoid(%u)
  output %w, %s, %v
})"},
    {"activations of two kinds and none, and all of one", 2, 2, R"(graph g {
  input %x: f32[1,6,5,8]
  const %a: f32[3,6,3,3] = #1
  const %b: f32[2,6,3,3] = #2
  const %c: f32[5,6,3,3] = #3
  const %d: f32[4,6,1,1] = #4
  const %e: f32[4,6,1,1] = #5
  %t: f32[1,3,5,8] = conv(%x, %a) {pads=[1,1,1,1]}
  %u: f32[1,2,5,8] = conv(%x, %b) {pads=[1,1,1,1]}
  %v: f32[1,5,5,8] = conv(%x, %c) {pads=[1,1,1,1]}
  %w: f32[1,4,5,8] = conv(%x, %d)
  %z: f32[1,4,5,8] = conv(%x, %e)
  %s: f32[1,3,5,8] = sigmoid(%t)
  %r: f32[1,5,5,8] = tanh(%v)
  %k: f32[1,4,5,8] = relu(%w)
  %l: f32[1,4,5,8] = relu(%z)
  output %s, %u, %r, %k, %l
})"},
    {"what another operator reads than the one whose result is put out", 2, 0, R"(graph g {
  input %x: f32[1,6,5,8]
  const %a: f32[3,6,1,1] = #1
  const %b: f32[3,6,1,1] = #2
  %u: f32[1,3,5,8] = conv(%x, %a)
  %v: f32[1,3,5,8] = conv(%x, %b)
  %s: f32[1,3,5,8] = sigmoid(%u)
  %t: f32[1,3,5,8] = add(%u, %v)
  output %s, %t
})"},
    {"more than go together", 3, 0, R"(graph g {
  input %x: f32[1,6,6,8]
  const %a: f32[16,6,1,1] = #1
  const %b: f32[10,6,1,1] = #2
  const %c: f32[16,6,1,1] = #3
  const %d: f32[10,6,1,1] = #4
  const %e: f32[12,6,1,1] = #5
  %t: f32[1,16,6,8] = conv(%x, %a)
  %u: f32[1,10,6,8] = conv(%x, %b)
  %v: f32[1,16,6,8] = conv(%x, %c)
  %w: f32[1,10,6,8] = conv(%x, %d)
  %y: f32[1,12,6,8] = conv(%x, %e)
  %z: f32[1,10,6,8] = add(%u, %w)
  output %t, %u, %v, %y, %z
})"},
    {"parts that are no outputs", 4, 0, R"(graph g {
  input %x: f32[1,6,6,8]
  const %a: f32[8,6,1,1] = #1
  const %b: f32[8,6,1,1] = #2
  const %c: f32[8,8,3,3] = #3
  const %d: f32[8,8,3,3] = #4
  %t: f32[1,8,6,8] = conv(%x, %a)
  %u: f32[1,8,6,8] = conv(%x, %b)
  %v: f32[1,8,6,8] = conv(%t, %c) {pads=[1,1,1,1]}
  %w: f32[1,8,6,8] = conv(%u, %d) {pads=[1,1,1,1]}
  output %v, %w
})"},
    {"other windows, other strides, wide ones", 5, 0, R"(graph g {
  input %x: f32[1,6,6,8]
  const %a: f32[3,6,1,1] = #1
  const %b: f32[3,6,3,3] = #2
  const %c: f32[17,6,1,1] = #3
  const %d: f32[17,6,1,1] = #4
  %u: f32[1,3,6,8] = conv(%x, %a)
  %v: f32[1,3,6,8] = conv(%x, %b) {pads=[1,1,1,1]}
  %w: f32[1,3,3,4] = conv(%x, %a) {strides=[2,2]}
  %y: f32[1,17,6,8] = conv(%x, %c)
  %z: f32[1,17,6,8] = conv(%x, %d)
  output %u, %v, %w, %y, %z
})"},
    {"several images, groups", 4, 0, R"(graph g {
  input %x: f32[2,6,6,8]
  input %y: f32[1,6,6,8]
  const %a: f32[3,6,1,1] = #1
  const %b: f32[3,6,1,1] = #2
  const %c: f32[2,3,1,1] = #3
  const %d: f32[2,3,1,1] = #4
  %t: f32[2,3,6,8] = conv(%x, %a)
  %u: f32[2,3,6,8] = conv(%x, %b)
  %v: f32[1,2,6,8] = conv(%y, %c) {groups=2}
  %w: f32[1,2,6,8] = conv(%y, %d) {groups=2}
  output %t, %u, %v, %w
})"},
};

TEST(MergeConvolutions, MeanTheSame) {
  const test::PlainDevice device;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Graph before = parse_graph(c.text);
    EXPECT_EQ(to_text(merge_convolutions(before, {.target = &test::plain_target()})), to_text(before)) << "on a CPU";
    const Graph after = merge_convolutions(before, {.target = &device});
    verify(after);
    EXPECT_EQ(test::count(after, "conv"), c.convolutions) << to_text(after);
    EXPECT_EQ(test::count(after, "where"), c.wheres) << to_text(after);
    for (size_t i = 0; i < before.outputs.size(); ++i)
      EXPECT_EQ(after.values[after.outputs[i]].name, before.values[before.outputs[i]].name);
    const auto inputs = test::random_inputs(before, 3);
    const auto wanted = test::evaluate_graph(before, inputs);
    test::expect_close(test::evaluate_graph(after, inputs), wanted, 1e-5, c.name);
    Context context{.target = &device};
    context.options.verify = true;
    const Program p = compile_graph(before, context);
    test::expect_close(test::interpret_program(p, before, inputs), wanted, 1e-5, c.name);
  }
}

// One step stores all heads where they are wanted, behind another that brings the channels together.
TEST(MergeConvolutions, HeadsAreOneStep) {
  const test::PlainDevice device;
  const Graph g = parse_graph(cases[0].text);
  const Program p = compile_graph(g, {.target = &device});
  ASSERT_EQ(p.steps.size(), 2u) << to_text(p);
  const Function& f = p.functions[p.steps[1].function];
  EXPECT_EQ(std::ranges::count_if(f.params, [&](BufferId b) { return f.buffers[b].written; }), 3);
}

}  // namespace
}  // namespace burnish
