// Layouts of the whole graph: how many kernels only move elements, and the same network afterwards.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "graph/graph.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"

namespace burnish {
namespace {

// Conversions and transposes that are no views.
size_t moves(const Graph& g) {
  size_t count = 0;
  for (const Node& n : g.nodes) {
    const bool moving =
        n.op->name == "layout_transform" || n.op->name == "transpose" || is_reshape(*n.op);
    count += moving && !is_view(g, n);
  }
  return count;
}

struct Case {
  const char* name;
  size_t moves, device_moves;
  const char* text;
};

const Case cases[] = {
    // Channels-last is row-major for the product, and back; the output is converted, where a
    // convolution cannot write it.
    {"product_between_convolutions", 1, 1, R"(graph g {
  input %x: f32[1,3,6,5]
  const %w: f32[8,3,1,1] = #1
  const %v: f32[8,8,1,1] = #2
  const %m: f32[8,8] = #3
  %a: f32[1,8,6,5] = conv(%x, %w)
  %b: f32[1,6,5,8] = transpose(%a) {perm=[0,2,3,1]}
  %c: f32[1,6,5,8] = matmul(%b, %m)
  %d: f32[1,8,6,5] = transpose(%c) {perm=[0,3,1,2]}
  %e: f32[1,8,6,5] = conv(%d, %v)
  output %e
})"},
    // Pixels become tokens.
    {"tokens", 0, 0, R"(graph g {
  input %x: f32[1,3,6,5]
  const %w: f32[8,3,1,1] = #1
  const %m: f32[8,4] = #3
  const %s: i64[3] = [1, 8, 30]
  %a: f32[1,8,6,5] = conv(%x, %w)
  %b: f32[1,8,30] = reshape(%a, %s)
  %c: f32[1,30,8] = transpose(%b) {perm=[0,2,1]}
  %d: f32[1,30,4] = matmul(%c, %m)
  output %d
})"},
    // Shuffled channels: one copy, the reshapes around it are views; the other is the output's
    // conversion.
    {"shuffled_channels", 2, 2, R"(graph g {
  input %x: f32[1,3,6,5]
  const %w: f32[8,3,1,1] = #1
  const %v: f32[8,8,1,1] = #2
  const %s: i64[5] = [1, 2, 4, 6, 5]
  const %t: i64[4] = [1, 8, 6, 5]
  %a: f32[1,8,6,5] = conv(%x, %w)
  %b: f32[1,2,4,6,5] = reshape(%a, %s)
  %c: f32[1,4,2,6,5] = transpose(%b) {perm=[0,2,1,3,4]}
  %d: f32[1,8,6,5] = reshape(%c, %t)
  %e: f32[1,8,6,5] = conv(%d, %v)
  output %e
})"},
    // A reshape across channels and pixels is a view in row-major order only.
    {"flattened", 1, 1, R"(graph g {
  input %x: f32[1,3,6,5]
  const %w: f32[8,3,1,1] = #1
  const %s: i64[2] = [4, 60]
  %a: f32[1,8,6,5] = conv(%x, %w)
  %b: f32[4,60] = reshape(%a, %s)
  output %b
})"},
    // Convolutions on a device write what the network's outputs want.
    {"planes", 3, 1, R"(graph g {
  input %x: f32[1,3,6,9]
  const %w: f32[8,3,1,1] = #1
  const %v: f32[6,8,1,1] = #2
  const %u: f32[8,1,3,3] = #3
  %a: f32[1,8,6,9] = conv(%x, %w)
  %b: f32[1,6,6,9] = conv(%a, %v)
  %c: f32[1,6,6,9] = sigmoid(%b)
  %d: f32[1,6,6,9] = conv(%a, %v)
  %e: f32[1,8,4,7] = conv(%a, %u) {groups=8}
  output %c, %d, %e
})"},
    // Queries, keys and values by heads: products on a device read and write through the
    // transposes, but for the one that would have
    // them read a matrix neither whose rows nor whose columns are side by side.
    {"heads", 5, 1, R"(graph g {
  input %x: f32[1,7,12]
  const %q: f32[12,12] = #1
  const %k: f32[12,12] = #2
  const %s: i64[4] = [1, 7, 3, 4]
  const %t: i64[3] = [1, 7, 12]
  %a: f32[1,7,12] = matmul(%x, %q)
  %b: f32[1,7,3,4] = reshape(%a, %s)
  %c: f32[1,3,7,4] = transpose(%b) {perm=[0,2,1,3]}
  %d: f32[1,7,12] = matmul(%x, %k)
  %e: f32[1,7,3,4] = reshape(%d, %s)
  %f: f32[1,3,4,7] = transpose(%e) {perm=[0,2,3,1]}
  %g: f32[1,3,7,7] = matmul(%c, %f)
  %v: f32[1,3,7,4] = transpose(%e) {perm=[0,2,1,3]}
  %h: f32[1,3,7,4] = matmul(%g, %v)
  %i: f32[1,7,3,4] = transpose(%h) {perm=[0,2,1,3]}
  %j: f32[1,7,12] = reshape(%i, %t)
  %l: f32[1,7,4,3] = transpose(%b) {perm=[0,1,3,2]}
  %m: f32[1,7,4,4] = matmul(%l, %b)
  output %j, %m
})"},
};

TEST(ChooseLayout, MovesNoMoreThanNeeded) {
  const test::PlainDevice device;
  for (const Case& c : cases)
    for (const bool on_device : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", c.name, on_device ? ", on a device" : ""));
      const Context context{.target = on_device ? &device : &test::plain_target()};
      const Graph g = parse_graph(c.text);
      const Graph after = choose_layout(g, context);
      verify(after);
      EXPECT_EQ(moves(after), on_device ? c.device_moves : c.moves) << to_text(after);
      const std::vector<Tensor> inputs = test::random_inputs(g, 7);
      const std::vector<Tensor> wanted = test::evaluate_graph(g, inputs);
      test::expect_close(test::evaluate_graph(after, inputs), wanted, 1e-5, c.name);
      const Graph groups = fuse(after, context);
      test::expect_close(test::interpret_program(to_program(groups, context), groups, inputs),
                         wanted, 1e-5, c.name);
    }
}

// Where the elements of an axis-ordering layout lie, by the row-major position of each.
std::vector<int64_t> row_major_positions(const Shape& shape, const Layout& layout) {
  std::vector<int64_t> strides(shape.size(), 0), out;
  for (const PhysicalDim& d : physical(layout, shape)) strides[d.dim.axis] = d.stride;
  for (int64_t e = 0; e < element_count(shape); ++e) {
    int64_t place = 0, rest = e;
    for (size_t a = shape.size(); a-- > 0; rest /= shape[a]) place += rest % shape[a] * strides[a];
    out.push_back(place);
  }
  return out;
}

// A view keeps every element of the row-major sequence where it is.
TEST(ChooseLayout, ReshapedViewsAddressTheSameElements) {
  size_t views = 0;
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random(seed);
    // Both shapes join neighbours of one list of factors.
    Shape factors;
    for (size_t k = 2 + random() % 4; k > 0; --k)
      factors.push_back(1 + static_cast<int64_t>(random() % 3));
    const auto joined = [&] {
      Shape s{factors[0]};
      for (size_t k = 1; k < factors.size(); ++k) {
        if (random() % 2 != 0)
          s.push_back(factors[k]);
        else
          s.back() *= factors[k];
      }
      return s;
    };
    const Shape from = joined(), to = joined();
    std::vector<uint32_t> order;
    for (uint32_t a = 0; a < from.size(); ++a) order.push_back(a);
    std::ranges::shuffle(order, random);
    const auto view = reshaped_view(from, permuted(order), to);
    EXPECT_TRUE(reshaped_view(from, {}, to));
    if (!view) continue;
    ++views;
    EXPECT_EQ(row_major_positions(to, *view), row_major_positions(from, permuted(order)));
  }
  EXPECT_GT(views, 100u);
}

}  // namespace
}  // namespace burnish
