// Attention: one nest against the formula, for blocks that divide the rows and blocks that do not.
#include "target/llvm/attention.h"

#include <gtest/gtest.h>

#include <random>

#include "graph/op.h"
#include "groups.h"
#include "support.h"

namespace burnish::llvm_target {
namespace {

using target_test::expect_computes;
using target_test::machine;

struct Heads {
  Shape batch;
  int64_t queries, depth, keys, values;
  Shape mask{};  // none when empty
  double scale = 0.125;
  bool transposed = true;  // q, k, v and the output lie as [queries, heads, depth]
};

std::string text(const Heads& h) {
  return shape_text(h.batch) + " times " + shape_text({h.queries, h.depth, h.keys, h.values}) +
         " mask " + shape_text(h.mask);
}

StageGroup group_of(const Heads& h) {
  Graph g;
  const auto rank = static_cast<uint32_t>(h.batch.size() + 2);
  const auto input = [&](const char* name, int64_t rows, int64_t columns, bool turned) {
    Shape s = h.batch;
    s.insert(s.end(), {rows, columns});
    Layout layout;
    if (h.transposed &&
        rank > 2) {  // rows outside the batch, and those of keys before their columns
      layout.push_back({turned ? rank - 1 : rank - 2});
      for (uint32_t a = 0; a + 2 < rank; ++a) layout.push_back({a});
      layout.push_back({turned ? rank - 2 : rank - 1});
    }
    return g.add_input(name, {DType::F32, s, layout});
  };
  std::vector<ValueId> inputs{input("q", h.queries, h.depth, false),
                              input("k", h.depth, h.keys, true),
                              input("v", h.keys, h.values, false)};
  if (!h.mask.empty()) inputs.push_back(g.add_input("mask", {DType::F32, h.mask, {}}));
  Attrs attrs;
  attrs.set("scale", h.scale);
  const NodeId node = g.add_node(op_named("attention"), inputs, attrs, "");
  g.outputs = g.nodes[node].outputs;
  if (h.transposed && rank > 2) g.values[g.outputs[0]].type.layout = g.type(inputs[0]).layout;
  return stages_of(g, g.nodes[node]);
}

const std::vector<Heads> cases = {
    {{2}, 32, 16, 32, 16},           {{1, 3}, 48, 32, 40, 32, {1, 1, 1, 40}},
    {{2}, 37, 24, 19, 40, {37, 19}}, {{1, 2}, 70, 8, 53, 72, {}, 1},
    {{}, 17, 5, 3, 7, {17, 3}},      {{2, 2}, 33, 20, 33, 64, {2, 1, 33, 33}, 0.25, false},
};

TEST(Attention, IsRecognised) {
  for (const Heads& h : cases) {
    SCOPED_TRACE(text(h));
    Schedule s(group_of(h));
    inline_cheap(s);
    const auto a = attention_stages(s.group(), s.group().outputs[0]);
    ASSERT_TRUE(a);
    EXPECT_EQ(s.group()[a->exp].axes[a->row].extent, h.queries);
    EXPECT_EQ(s.group()[a->exp].axes[a->row + 1].extent, h.keys);
    EXPECT_EQ(s.group()[a->acc].axes[a->row + 1].extent, h.values);
    EXPECT_TRUE(attention_pays(group_of(h), machine(1)));
  }
  Heads few = cases[0];
  few.queries = 3;
  EXPECT_FALSE(attention_pays(group_of(few), machine(1)));
  EXPECT_FALSE(attention_pays(target_test::softmax(64, 64), machine(1)));
}

TEST(Attention, DefaultsComputeTheFormula) {
  for (const Heads& h : cases) {
    for (int threads : {1, 2}) {
      SCOPED_TRACE(text(h) + ", " + std::to_string(threads) + " threads");
      const StageGroup g = group_of(h);
      const Schedule s = default_schedule(g, machine(threads));
      EXPECT_NE(s.to_text().find("pack(attention.exp"), std::string::npos);
      expect_computes(s, g);
    }
  }
}

TEST(Attention, ScoresNeverAreAWholeTensor) {
  const Heads h{{1, 2}, 128, 32, 128, 32, {1, 1, 1, 128}};
  const auto f = lower(default_schedule(group_of(h), machine(2)));
  ASSERT_TRUE(f.ok()) << f.reason();
  for (const Buffer& b : f->buffers) {
    if (b.scope != Scope::Param) EXPECT_LE(b.size, 64 * 128) << b.name;
  }
}

TEST(Attention, PointsComputeTheFormula) {
  std::mt19937_64 random(5);
  for (const Heads& h : cases) {
    SCOPED_TRACE(text(h));
    const StageGroup g = group_of(h);
    target_test::expect_points_compute(g, make_space(g, machine(2)).get(), random, true);
  }
}

TEST(Attention, CodeComputesWhatTheLoopsSay) {
  for (const Heads& h : {cases[1], cases[2]}) {
    SCOPED_TRACE(text(h));
    const auto f = lower(default_schedule(group_of(h), machine(2)));
    ASSERT_TRUE(f.ok()) << f.reason();
    target_test::expect_same(*f, 1e-5, {"native"});
  }
}

}  // namespace
}  // namespace burnish::llvm_target
