// Two convolutions with nothing between them as one, and the same network afterwards.
#include <gtest/gtest.h>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

struct Case {
  const char* name;
  size_t convolutions;  // afterwards
  const char* text;
};

const Case cases[] = {
    {"through a narrow result, both with biases", 1, R"(graph g {
  input %x: f32[2,24,5,7]
  const %a: f32[16,24,1,1] = #1
  const %p: f32[16] = #2
  const %b: f32[3,16,1,1] = #3
  const %q: f32[3] = #4
  %u: f32[2,16,5,7] = conv(%x, %a, %p)
  %v: f32[2,3,5,7] = conv(%u, %b, %q)
  output %v
})"},
    {"a window with padding and a stride before it, no biases", 1, R"(graph g {
  input %x: f32[1,4,9,8]
  const %a: f32[16,4,3,3] = #1
  const %b: f32[5,16,1,1] = #2
  %u: f32[1,16,5,4] = conv(%x, %a) {strides=[2,2], pads=[1,1,1,1]}
  %v: f32[1,5,5,4] = conv(%u, %b)
  output %v
})"},
    {"three of them, one bias in the middle", 1, R"(graph g {
  input %x: f32[1,24,5,7]
  const %a: f32[20,24,1,1] = #1
  const %b: f32[16,20,1,1] = #2
  const %p: f32[16] = #3
  const %c: f32[2,16,1,1] = #4
  %u: f32[1,20,5,7] = conv(%x, %a)
  %v: f32[1,16,5,7] = conv(%u, %b, %p)
  %w: f32[1,2,5,7] = conv(%v, %c)
  output %w
})"},
    {"not half as much", 2, R"(graph g {
  input %x: f32[1,24,5,7]
  const %a: f32[16,24,1,1] = #1
  const %b: f32[14,16,1,1] = #2
  %u: f32[1,16,5,7] = conv(%x, %a)
  %v: f32[1,14,5,7] = conv(%u, %b)
  output %v
})"},
    {"a bottleneck, which multiplies less as two", 2, R"(graph g {
  input %x: f32[1,24,5,7]
  const %a: f32[4,24,1,1] = #1
  const %b: f32[24,4,1,1] = #2
  %u: f32[1,4,5,7] = conv(%x, %a)
  %v: f32[1,24,5,7] = conv(%u, %b)
  output %v
})"},
    {"what somebody else reads, or is put out", 4, R"(graph g {
  input %x: f32[1,24,5,7]
  const %a: f32[16,24,1,1] = #1
  const %b: f32[3,16,1,1] = #2
  const %c: f32[16,24,1,1] = #3
  %u: f32[1,16,5,7] = conv(%x, %a)
  %v: f32[1,3,5,7] = conv(%u, %b)
  %s: f32[1,16,5,7] = sigmoid(%u)
  %t: f32[1,16,5,7] = conv(%x, %c)
  %w: f32[1,3,5,7] = conv(%t, %b)
  output %v, %s, %t, %w
})"},
    {"something between, windows, strides and padding behind, groups", 10, R"(graph g {
  input %x: f32[1,24,6,8]
  const %a: f32[16,24,1,1] = #1
  const %b: f32[2,16,1,1] = #2
  const %c: f32[2,16,3,3] = #3
  const %d: f32[2,8,1,1] = #4
  %k: f32[1,16,6,8] = conv(%x, %a)
  %l: f32[1,16,6,8] = relu(%k)
  %m: f32[1,2,6,8] = conv(%l, %b)
  %n: f32[1,16,6,8] = conv(%x, %a)
  %o: f32[1,2,4,6] = conv(%n, %c)
  %p: f32[1,16,6,8] = conv(%x, %a)
  %q: f32[1,2,3,4] = conv(%p, %b) {strides=[2,2]}
  %r: f32[1,16,6,8] = conv(%x, %a)
  %s: f32[1,2,8,10] = conv(%r, %b) {pads=[1,1,1,1]}
  %t: f32[1,16,6,8] = conv(%x, %a)
  %u: f32[1,2,6,8] = conv(%t, %d) {groups=2}
  output %m, %o, %q, %s, %u
})"},
};

TEST(ComposeConvolutions, MeanTheSame) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Graph before = parse_graph(c.text);
    const Context context{.target = &test::plain_target()};
    const Graph after = compose_convolutions(before, context);
    verify(after);
    EXPECT_EQ(test::count(after, "conv"), c.convolutions) << to_text(after);
    if (&c == &cases[1]) {
      EXPECT_EQ(after.nodes[0].inputs.size(), 2u) << "no bias where there was none";
    }
    for (size_t i = 0; i < before.outputs.size(); ++i)
      EXPECT_EQ(after.values[after.outputs[i]].name, before.values[before.outputs[i]].name);
    const auto inputs = test::random_inputs(before, 3);
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(before, inputs), 1e-5, c.name);
  }
}

// Weights that would overflow stay apart.
TEST(ComposeConvolutions, NotWhereNumbersOverflow) {
  Graph g = parse_graph(cases[0].text);
  for (Value& v : g.values) {
    if (!v.is_constant()) continue;
    auto large = std::make_shared<Tensor>(*v.constant);
    for (int64_t i = 0; i < large->size(); ++i) large->data<float>()[i] = 1e30f;
    v.constant = large;
  }
  EXPECT_EQ(test::count(compose_convolutions(g, {.target = &test::plain_target()}), "conv"), 2u);
}

}  // namespace
}  // namespace burnish
