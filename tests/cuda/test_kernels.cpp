// Kernels of the CUDA dialect against the interpreter.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

#include "cuda/machines.h"
#include "loop/interpreter.h"
#include "schedule/blocks.h"
#include "target/cuda/tiles.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::Precision;
using schedule_test::Case;

class Kernels : public OnMachine {
 protected:
  void expect_right(const Case& c, const std::string& what, Precision precision = Precision::Strict) const;
};

void Kernels::expect_right(const Case& c, const std::string& what, Precision precision) const {
  SCOPED_TRACE(what);
  const Function f = schedule_test::lowered(c.schedule);
  std::mt19937_64 random(schedule_test::seed());
  std::uniform_real_distribution<float> real(-1, 1);
  std::vector<std::vector<float>> memory;
  std::vector<void*> args;
  for (BufferId b : f.params) {
    ASSERT_EQ(f.buffers[b].dtype, DType::F32);
    auto& m = memory.emplace_back(static_cast<size_t>(f.buffers[b].size));
    if (!f.buffers[b].written)
      for (float& x : m) x = real(random);
  }
  for (auto& m : memory) args.push_back(m.data());
  interpret(f, args);
  const auto expected = memory;
  for (const bool reversed : {false, true}) {
    for (size_t i = 0; i < memory.size(); ++i)
      if (f.buffers[f.params[i]].written) std::fill(memory[i].begin(), memory[i].end(), NAN);
    ASSERT_TRUE(run_function(GetParam(), f, precision, args, reversed));
    for (size_t i = 0; i < memory.size(); ++i) {
      double worst = 0;
      for (size_t k = 0; k < memory[i].size(); ++k) {
        const double error = std::abs(double(memory[i][k]) - expected[i][k]) / (1 + std::abs(double(expected[i][k])));
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      EXPECT_LT(worst, precision == Precision::Strict ? 1e-5 : 1e-2)
          << f.buffers[f.params[i]].name << (reversed ? ", reversed\n" : "\n") 
          << cuda_target::source_of(c_like::kernels_of(f, cuda_target::dialect(precision)));
    }
  }
}

TEST_P(Kernels, MatrixProducts) {
  expect_right(schedule_test::block_matmul(64, 64, 32), "whole tiles");
  expect_right(schedule_test::block_matmul(37, 52, 20), "tails");
  expect_right(schedule_test::block_matmul(37, 51, 19), "odd tails");
}

TEST_P(Kernels, MatrixInstructions) {
  for (const Precision p : {Precision::Strict, Precision::Tf32}) {
    expect_right(schedule_test::tensor_matmul(64, 16, 16, 8), "whole tiles", p);
    expect_right(schedule_test::tensor_matmul(67, 21, 32, 16), "tails", p);
  }
  for (const int64_t depth : {8, 16, 32})
    expect_right(schedule_test::tensor_matmul(67, 21, 64, depth), fmt::format("{} halves deep", depth), Precision::Fp16);
}

TEST_P(Kernels, DefaultSchedules) {
  const auto conv = [](const target_test::Conv& c) {
    GroupBuilder b("conv");
    b.output(target_test::conv(b, "O", target_test::image(b, c.in, c.height, c.width), c));
    return b.group();
  };
  for (const auto& c : {target_test::Conv{.height = 9, .width = 11, .in = 24, .out = 40},
                        target_test::Conv{.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3, .stride = 2}}) {
    const StageGroup g = conv(c);
    expect_right(Case(g, cuda_target::default_schedule(g, {})), fmt::format("{} x {} convolution", c.kernel, c.kernel));
  }
}

// Parts of the reduction to warps, operands loaded ahead.
TEST_P(Kernels, TilesOfMatrixInstructions) {
  for (const int kernel : {1, 3}) {
    GroupBuilder b("conv");
    const target_test::Conv c{.height = 5, .width = 11, .in = 64, .out = 48, .kernel = kernel};
    b.output(target_test::conv(b, "O", target_test::image(b, c.in, c.height, c.width), c));
    const StageGroup g = b.group();
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    for (const cuda_target::MatrixTile& t : {cuda_target::MatrixTile{1, 2, 1, 1, 4, 0}, {2, 3, 1, 2, 1, 1}, {1, 3, 2, 1, 2, 2}, {1, 6, 1, 1, 8, 0}}) {
      Schedule x = s;
      ASSERT_TRUE(cuda_target::by_matrix(x, *roles, t, {}));
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        expect_right(Case(g, x), fmt::format("{} x {}, {} parts, {} steps ahead", kernel, kernel, t.warps_k, t.ahead), p);
      }
    }
  }
}

// Expansion, depthwise convolution and projection by matrix instructions in one kernel; several blocks in both directions.
TEST_P(Kernels, ChainsByMatrixInstructions) {
  using cuda_target::ChainTile;
  for (const int stride : {1, 2}) {
    for (const ChainTile& t : {ChainTile{.columns = 6, .expand_n = 1},
                               ChainTile{.columns = 6, .warps_y = 2, .warps_x = 3, .expand_y = 2, .expand_rows = 4}}) {
      const StageGroup g = target_test::chain(21, 19, stride, 24, 96);
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, t, {}));
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        expect_right(Case(g, s), fmt::format("stride {}, {} threads", stride, t.threads()), p);
      }
    }
  }
}

// Sums over the threads of a warp, or of a part of it.
TEST_P(Kernels, FewPoints) {
  using target_test::product;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 40, 384}, {2, 13, 1023}, {5, 7, 30}, {1, 10, 4}}) {
    const StageGroup g = product(m, n, k);
    expect_right(Case(g, cuda_target::default_schedule(g, {})), fmt::format("{} x {} x {}", m, n, k));
  }
}

TEST_P(Kernels, RowsAndColumns) {
  using target_test::softmax;
  const auto by_default = [&](const StageGroup& g, const std::string& what) { expect_right(Case(g, cuda_target::default_schedule(g, {})), what); };
  by_default(softmax(6, 50), "softmax of a warp");
  by_default(softmax(1, 1000), "softmax of several warps");
  by_default(target_test::layer_norm(5, 384), "layer norm");
  by_default(target_test::mean(9, 43, true), "means of rows");
  by_default(target_test::mean(43, 24, false), "means of columns");
}

TEST_P(Kernels, Chains) {
  expect_right(schedule_test::block_chain(11, 13, 8, 24, 1), "tails");
  expect_right(schedule_test::block_chain(11, 13, 8, 16, 2), "stride 2");
}

TEST_P(Kernels, Softmax) { expect_right(schedule_test::block_softmax(5, 45, 32), "tail"); }

BURNISH_ON_MACHINES(Kernels);

}  // namespace
}  // namespace burnish::cuda_test
