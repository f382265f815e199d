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

// Operands are copied one step ahead, into the other half of twice the memory.
TEST(Blocks, DoubleBuffers) {
  const BlockTile ahead{.ahead = true};
  expect_same(block_matmul(64, 64, 32, ahead), "whole tiles");
  expect_same(block_matmul(37, 52, 20, ahead), "tails");
  expect_same(block_matmul(37, 51, 19, ahead), "odd tails");
  expect_same(block_matmul(3, 8, 5, ahead), "one step");
  std::mt19937_64 random(seed());
  const auto any = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(1, most)(random); };
  for (int i = 0; i < 6; ++i) {
    const int64_t m = 32 + any(40), n = 32 + any(40), k = any(40);
    expect_same(block_matmul(m, n, k, ahead), fmt::format("{} x {} x {}", m, n, k));
  }
}

// Twice the memory, in lines of 64 elements, and one barrier less in an iteration.
TEST(Blocks, DoubleBuffersHaveTwoHalves) {
  const auto count = [](const Function& f, const std::string& buffer) {
    int64_t size = 0, barriers = 0;
    for (const Buffer& b : f.buffers)
      if (b.name == buffer) size = b.size;
    visit(f.body, [&](const Stmt& s) { barriers += s.kind() == StmtKind::Barrier; });
    return std::pair{size, barriers};
  };
  const Function once = *lower(block_matmul(64, 64, 32).schedule), twice = *lower(block_matmul(64, 64, 32, {.ahead = true}).schedule);
  EXPECT_EQ(count(once, "A.cached"), (std::pair<int64_t, int64_t>{32 * 8, 2}));
  EXPECT_EQ(count(twice, "A.cached"), (std::pair<int64_t, int64_t>{2 * 32 * 8, 1}));
}

// What is computed in the block needs what comes before it; outputs have no second half.
TEST(Blocks, DoubleBuffersThatAreRefused) {
  Case c = block_chain(8, 16, 8, 16, 1);
  EXPECT_FALSE(c.schedule.apply(step::DoubleBuffer{"O"}));
  c.schedule.double_buffer("D");
  const auto f = lower(c.schedule);
  ASSERT_FALSE(f);
  EXPECT_NE(f.reason().find("double_buffer"), std::string::npos) << f.reason();
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
