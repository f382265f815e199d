// Attention as one kernel: the interpreter's result, that of the kernels, and when it is chosen.
#include <gtest/gtest.h>

#include <random>

#include "cuda/kernels.h"
#include "graph/op.h"
#include "target/cuda/tiles.h"
#include "target/groups.h"
#include "target/roles.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::AttentionTile;
using cuda_target::Precision;
using schedule_test::Case;

struct AttentionCase {
  int64_t heads = 2, queries = 40, keys = 50, depth = 16, channels = 24;
  bool mask = false;
  std::string text() const { return fmt::format("{} heads, {} queries, {} keys, {}, {}{}", heads, queries, keys, depth, channels, mask ? ", mask" : ""); }
};

StageGroup attention(const AttentionCase& c) {
  Graph g;
  const auto input = [&](const char* name, Shape shape) { return g.add_input(name, {DType::F32, std::move(shape), {}}); };
  std::vector<ValueId> operands = {input("q", {1, c.heads, c.queries, c.depth}), input("k", {1, c.heads, c.depth, c.keys}), input("v", {1, c.heads, c.keys, c.channels})};
  if (c.mask) operands.push_back(input("m", {1, 1, 1, c.keys}));
  Attrs attrs;
  attrs.set("scale", 0.25);
  const ValueId out = g.add(op_named("attention"), operands, attrs, "attention");
  return stages_of(g, g.nodes[g.values[out].producer]);
}

AttentionCase random_case(std::mt19937_64& random) {
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  return {.heads = any(1, 3), .queries = any(1, 70), .keys = any(16, 150), .depth = 8 * any(1, 5), .channels = 8 * any(1, 5), .mask = any(0, 1) > 0};
}

Schedule inlined(const StageGroup& g) {
  Schedule s(g);
  inline_cheap(s);
  return s;
}

TEST(Attention, Schedules) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(12); ++i) {
    const AttentionCase c = random_case(random);
    const auto d = device(static_cast<Precision>(i % 4));
    const StageGroup g = attention(c);
    const auto tiles = cuda_target::attention_tiles(inlined(g), d);
    ASSERT_FALSE(tiles.empty()) << c.text();
    Schedule s = inlined(g);
    const AttentionTile x = tiles[static_cast<size_t>(i) % tiles.size()];
    ASSERT_TRUE(cuda_target::by_attention(s, x, d)) << fmt::format("{}, {} rows, {} warps", c.text(), x.rows, x.warps);
    if (i % 4 == 0) expect_same(Case(g, s), c.text());  // else operands are rounded
  }
}

TEST_P(Kernels, Attention) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(12); ++i) {
    const AttentionCase c = random_case(random);
    const auto p = static_cast<Precision>(i % 4);
    const StageGroup g = attention(c);
    const auto tiles = cuda_target::attention_tiles(inlined(g), device(p));
    const AttentionTile x = tiles[std::uniform_int_distribution<size_t>(0, tiles.size() - 1)(random)];
    Schedule s = inlined(g);
    ASSERT_TRUE(cuda_target::by_attention(s, x, device(p)));
    EXPECT_EQ(c_like::kernels_of(schedule_test::lowered(s), cuda_target::dialect(p)).size(), 1u) << c.text();
    expect_right(Case(g, s), fmt::format("{}, {} rows, {} warps, kept {}", c.text(), x.rows, x.warps, x.kept), p);
  }
}

// Where its scores fit in a block's memory.
TEST(Attention, Chosen) {
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
    const StageGroup g = attention({.heads = 12, .queries = 197, .keys = 197, .depth = 64, .channels = 64});
    EXPECT_TRUE(cuda_target::prefers_one_kernel(g, device(p)));
    const auto space = cuda_target::make_space(g, device(p));
    EXPECT_EQ(space->knobs()[0].text(space->default_point()[0]).substr(0, 10), "attention:");
    EXPECT_FALSE(cuda_target::prefers_one_kernel(attention({.keys = 6000}), device(p)));
    EXPECT_FALSE(cuda_target::prefers_one_kernel(attention({.depth = 20}), device(p))) << "no whole instructions";
  }
}

}  // namespace
}  // namespace burnish::cuda_test
