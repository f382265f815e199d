// Products that are cut into parts, and the same network afterwards.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"

namespace burnish {
namespace {

struct Case {
  const char* name;
  size_t products;  // afterwards
  const char* text;
};

const Case cases[] = {
    {"heads", 3, R"(graph g {
  input %x: f32[1,7,6]
  const %w: f32[6,24] = #1
  const %b: f32[24] = #2
  const %s: i64[5] = [1, 7, 3, 2, 4]
  const %half: f32[] = [0.5]
  %y: f32[1,7,24] = matmul(%x, %w)
  %z: f32[1,7,24] = add(%b, %y)
  %r: f32[1,7,3,2,4] = reshape(%z, %s)
  %t: f32[3,1,2,7,4] = transpose(%r) {perm=[2,0,3,1,4]}
  %q: f32[1,1,2,7,4], %k: f32[1,1,2,7,4], %v: f32[1,1,2,7,4] = split(%t) {axis=0, sizes=[1,1,1]}
  %a: f32[1,2,7,4] = squeeze(%q) {axes=[0]}
  %m: f32[1,2,7,4] = mul(%a, %half)
  output %m, %k, %v
})"},
    {"uneven parts, no views between", 2, R"(graph g {
  input %x: f32[5,6]
  const %w: f32[6,10] = #1
  %y: f32[5,10] = matmul(%x, %w)
  %a: f32[5,3], %b: f32[5,7] = split(%y) {axis=-1, sizes=[3,7]}
  %c: f32[5,7] = relu(%b)
  output %a, %c
})"},
    {"rows are cut", 1, R"(graph g {
  input %x: f32[6,6]
  const %w: f32[6,10] = #1
  %y: f32[6,10] = matmul(%x, %w)
  %a: f32[3,10], %b: f32[3,10] = split(%y) {axis=0, sizes=[3,3]}
  output %a, %b
})"},
    {"within heads", 1, R"(graph g {
  input %x: f32[1,7,6]
  const %w: f32[6,24] = #1
  const %s: i64[4] = [1, 7, 2, 12]
  %y: f32[1,7,24] = matmul(%x, %w)
  %r: f32[1,7,2,12] = reshape(%y, %s)
  %a: f32[1,7,2,4], %b: f32[1,7,2,8] = split(%r) {axis=3, sizes=[4,8]}
  output %a, %b
})"},
    {"the whole is read, too", 1, R"(graph g {
  input %x: f32[5,6]
  const %w: f32[6,10] = #1
  %y: f32[5,10] = matmul(%x, %w)
  %a: f32[5,3], %b: f32[5,7] = split(%y) {axis=1, sizes=[3,7]}
  %c: f32[5,10] = relu(%y)
  output %a, %b, %c
})"},
};

TEST(SplitProducts, MeanTheSame) {
  const test::PlainDevice device;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Graph before = parse_graph(c.text);
    EXPECT_EQ(test::count(split_products(before, {.target = &test::plain_target()}), "matmul"), 1u)
        << "one product on a CPU";
    const Graph after = split_products(before, {.target = &device});
    verify(after);
    EXPECT_EQ(test::count(after, "matmul"), c.products) << to_text(after);
    EXPECT_EQ(test::count(after, "mul"), 0u) << "scaled weights";
    EXPECT_EQ(test::count(after, "split"), c.products == 1 ? 1u : 0u);
    const auto inputs = test::random_inputs(before, 3);
    const auto wanted = test::evaluate_graph(before, inputs);
    test::expect_close(test::evaluate_graph(after, inputs), wanted, 1e-5, c.name);
    const Context context{.target = &device};
    const Graph groups = fuse(choose_layout(after, context), context);
    test::expect_close(test::interpret_program(to_program(groups, context), groups, inputs), wanted,
                       1e-5, c.name);
  }
}

}  // namespace
}  // namespace burnish
