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
