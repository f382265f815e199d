// Loops bound to the threads of blocks: the interpreter finds races between them, and registers that leave their thread.
#include "blocks.h"

namespace burnish::schedule_test {
namespace {

TEST(Blocks, MatrixProducts) {
  expect_same(block_matmul(64, 64, 32), "whole tiles");
  expect_same(block_matmul(37, 52, 20), "tails");
  expect_same(block_matmul(37, 51, 19), "odd tails");
  expect_same(block_matmul(3, 8, 5), "less than a tile");
}

// Operands are copied ahead, into the next of so many slots of memory.
TEST(Blocks, MultiBuffers) {
  std::mt19937_64 random(seed());
  const auto any = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(1, most)(random); };
  for (const int64_t slots : {2, 3, 4, 5}) {
    const BlockTile ahead{.slots = slots};
    expect_same(block_matmul(64, 64, 32, ahead), fmt::format("whole tiles, {} slots", slots));
    expect_same(block_matmul(37, 52, 20, ahead), fmt::format("tails, {} slots", slots));
    expect_same(block_matmul(37, 51, 19, ahead), fmt::format("odd tails, {} slots", slots));
    expect_same(block_matmul(3, 8, 5, ahead), fmt::format("one step, {} slots", slots));
    for (int i = 0; i < 3; ++i) {
      const int64_t m = 32 + any(40), n = 32 + any(40), k = any(70);
      expect_same(block_matmul(m, n, k, ahead), fmt::format("{} x {} x {}, {} slots", m, n, k, slots));
    }
  }
}

// What threads have copied they round where it is, once more: to the same values. A swizzle is a matter of places, whose slots are whole.
TEST(Blocks, MultiBuffersThatRound) {
  for (const int64_t slots : {1, 2, 3, 4}) {
    const BlockTile rounded{.slots = slots, .rounded = true};
    for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{64, 64, 32}, {37, 52, 20}, {3, 8, 5}}) {
      const Case c = block_matmul(m, n, k, rounded);
      expect_same(c, fmt::format("{} x {} x {}, {} slots", m, n, k, slots));
      const Function f = lowered(c.schedule);
      int again = 0;
      visit(f.body, [&](const Stmt& s) {
        if (s.kind() != StmtKind::Store) return;
        visit(s->value, [&](const Expr& e) { again += e.kind() == ExprKind::Load && e.from() == s->buffer && f.buffers[s->buffer].dtype == DType::TF32; });
      });
      EXPECT_EQ(again > 0, slots > 1 && k > 8) << again;
      for (const Buffer& b : f.buffers) {
        if (b.dtype != DType::TF32) continue;
        EXPECT_EQ(b.swizzle, 32);
        EXPECT_EQ(b.align, kSwizzleAlign);
        EXPECT_TRUE(slots == 1 || k <= 8 || b.size * 4 % kSwizzleAlign == 0) << b.size;
      }
      const std::string text = to_text(f);
      EXPECT_NE(text.find("swizzle 32"), std::string::npos) << text;
      EXPECT_EQ(to_text(parse_function(text)), text);
    }
  }
}

// Slots are lines of 64 elements, as many as there are iterations at most; one barrier less in an iteration. With three and more,
// barriers leave copies on their way.
TEST(Blocks, MultiBuffersHaveSlots) {
  const auto count = [](const Function& f, const std::string& buffer) {
    int64_t size = 0, barriers = 0;
    for (const Buffer& b : f.buffers)
      if (b.name == buffer) size = b.size;
    visit(f.body, [&](const Stmt& s) { barriers += s.kind() == StmtKind::Barrier; });
    return std::pair{size, barriers};
  };
  const auto in_flight = [](const Function& f) {
    std::vector<int64_t> all;
    visit(f.body, [&](const Stmt& s) {
      if (s.kind() == StmtKind::For && s->loop.in_flight >= 0) all.push_back(s->loop.in_flight);
    });
    return all;
  };
  const auto slots = [](int64_t n) { return *lower(block_matmul(64, 64, 32, {.slots = n}).schedule); };
  const Function once = *lower(block_matmul(64, 64, 32).schedule);
  EXPECT_EQ(count(once, "A.cached"), (std::pair<int64_t, int64_t>{32 * 8, 2}));
  for (const int64_t n : {2, 3, 4, 5}) {
    const int64_t made = std::min<int64_t>(n, 4);
    EXPECT_EQ(count(slots(n), "A.cached"), (std::pair<int64_t, int64_t>{made * 32 * 8, 1})) << n;
    EXPECT_EQ(in_flight(slots(n)), n == 2 ? std::vector<int64_t>() : std::vector<int64_t>(2, made - 2)) << n;
  }
  // Text says it, too.
  const std::string text = to_text(slots(3));
  EXPECT_NE(text.find("in_flight 1"), std::string::npos) << text;
  EXPECT_EQ(to_text(parse_function(text)), text);
}

// Where what is computed in the loop writes to the block's memory as well, barriers wait for all.
TEST(Blocks, MultiBuffersBesideOtherMemory) {
  Case c = block_matmul(64, 64, 32);
  Schedule& s = c.schedule;
  s.multi_buffer("A.cached", 3);
  expect_same(c, "another buffer is filled in the loop");
  visit(lower(s)->body, [&](const Stmt& x) {
    if (x.kind() != StmtKind::For) return;
    EXPECT_EQ(x->loop.in_flight, -1);
  });
}

// Records know it by its first name.
TEST(Blocks, MultiBuffersOfRecords) {
  for (const char* text : {"bind(A, i)", "bind(A, i, 8)", "cache_read(A, B)", "cache_read(A, B, tf32)", "set_scope(A, warp)", "swizzle(A, 64)", "join_axes(A, y, x)"}) EXPECT_EQ(to_text(parse_step(text)), text);
  EXPECT_EQ(to_text(parse_step("double_buffer(A)")), "multi_buffer(A, 2)");
  EXPECT_EQ(to_text(parse_step("multi_buffer(A, 4)")), "multi_buffer(A, 4)");
}

// What is computed in the block needs what comes before it; outputs have one place; loops have one number of slots.
TEST(Blocks, MultiBuffersThatAreRefused) {
  Case c = block_chain(8, 16, 8, 16, 1);
  EXPECT_FALSE(c.schedule.apply(step::MultiBuffer{"O"}));
  EXPECT_FALSE(c.schedule.apply(step::MultiBuffer{"D", 1}));
  EXPECT_FALSE(c.schedule.apply(step::MultiBuffer{"D", 17}));
  for (const int64_t slots : {2, 3}) {
    Schedule s = c.schedule;
    s.multi_buffer("D", slots);
    const auto f = lower(s);
    ASSERT_FALSE(f);
    EXPECT_NE(f.reason().find("multi_buffer"), std::string::npos) << f.reason();
  }
  Case m = block_matmul(64, 64, 32, {.slots = 3});
  m.schedule.multi_buffer("A.cached", 2);
  const auto f = lower(m.schedule);
  ASSERT_FALSE(f);
  EXPECT_NE(f.reason().find("slots"), std::string::npos) << f.reason();
}

TEST(Blocks, MatrixInstructions) {
  expect_same(tensor_matmul(64, 16, 16, 8), "whole tiles");
  expect_same(tensor_matmul(67, 21, 32, 16), "tails");
}

TEST(Blocks, ChainsInMemoryOfTheBlock) {
  expect_same(block_chain(8, 16, 8, 16, 1), "whole tiles");
  expect_same(block_chain(11, 13, 8, 24, 1), "tails");
  expect_same(block_chain(11, 13, 8, 16, 2), "stride 2");
}

TEST(Blocks, Softmax) {
  expect_same(block_softmax(3, 64, 32), "whole");
  expect_same(block_softmax(5, 45, 32), "tail");
}

}  // namespace
}  // namespace burnish::schedule_test
