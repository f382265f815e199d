// What the runner compares and how: random tensors, tolerances, guard zones, and the reference schedule itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/error.h"
#include "loop/interpreter.h"
#include "search/measure/kernel.h"
#include "search/measure/tolerance.h"
#include "search/worker/buffers.h"
#include "search/worker/values.h"
#include "te/pack_constant.h"

namespace burnish::search {
namespace {

std::span<const std::byte> bytes_of(const std::vector<float>& v) { return std::as_bytes(std::span(v)); }

Parameter floats(int64_t n) { return {.name = "y", .shape = {n}, .output = true}; }

TEST(Values, AreTheSameForTheSameSeedOnly) {
  const Parameter p{.name = "x", .shape = {3, 50}};
  const Tensor a = random_tensor(p, 1), b = random_tensor(p, 1), c = random_tensor(p, 2);
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_NE(a.bytes, c.bytes);
  Parameter other = p;
  other.name = "z";
  EXPECT_NE(random_tensor(other, 1).bytes, a.bytes);
  float low = 0, high = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    low = std::min(low, a.data<float>()[i]);
    high = std::max(high, a.data<float>()[i]);
  }
  EXPECT_LT(low, -0.9f);
  EXPECT_GE(low, -1);
  EXPECT_GT(high, 0.9f);
  EXPECT_LE(high, 1);
}

TEST(Values, WeightsKeepSumsAsLargeAsTheirTerms) {
  const Tensor w = random_tensor({.name = "w", .shape = {8, 512, 3, 3}, .constant = true}, 1);
  double squares = 0;
  for (int64_t i = 0; i < w.size(); ++i) squares += std::pow(w.data<float>()[i], 2);
  EXPECT_NEAR(squares / 8, 1, 0.1);  // of the weights of one output
}

TEST(Values, IntegersAreOfTheirType) {
  const Tensor b = random_tensor({.name = "b", .dtype = DType::Bool, .shape = {1000}}, 1);
  for (std::byte x : b.bytes) EXPECT_LE(static_cast<int>(x), 1);
  const Tensor i = random_tensor({.name = "i", .dtype = DType::I64, .shape = {1000}}, 1);
  for (int64_t k = 0; k < i.size(); ++k) {
    EXPECT_GE(i.data<int64_t>()[k], 0);
    EXPECT_LT(i.data<int64_t>()[k], 100);
  }
}

TEST(Difference, OfFloatsIsRelativeToTheTensor) {
  std::vector<float> want(1000, 1.f), got = want;
  want[5] = got[5] = 1e-9f;
  const Tolerance t{.relative = 1e-4};
  EXPECT_EQ(difference(floats(1000), bytes_of(got), bytes_of(want), t), "");
  got[5] = 5e-5f;  // large against the element, small against the tensor
  EXPECT_EQ(difference(floats(1000), bytes_of(got), bytes_of(want), t), "");
  got[17] = 1.01f;
  const std::string why = difference(floats(1000), bytes_of(got), bytes_of(want), t);
  EXPECT_NE(why.find("y[17] is 1.00999"), std::string::npos) << why;
  EXPECT_NE(why.find("expected 1 "), std::string::npos) << why;
  EXPECT_NE(why.find("1 of 1000"), std::string::npos) << why;
  got[400] = 3;
  EXPECT_NE(difference(floats(1000), bytes_of(got), bytes_of(want), t).find("y[400]"), std::string::npos);  // the worst
}

TEST(Difference, NanAndInfinityMustBeTheSame) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const Tolerance t{.relative = 0.5};
  const auto same = [&](float got, float want) {
    return difference(floats(3), bytes_of({1, got, 1}), bytes_of({1, want, 1}), t).empty();
  };
  EXPECT_TRUE(same(nan, nan));
  EXPECT_TRUE(same(inf, inf));
  EXPECT_FALSE(same(inf, -inf));
  EXPECT_FALSE(same(1, inf));
  EXPECT_FALSE(same(inf, 1));
  EXPECT_FALSE(same(nan, 1));
  EXPECT_FALSE(same(1, nan));
  EXPECT_TRUE(same(0.f, -0.f));
}

TEST(Difference, OfIntegersIsNone) {
  const Parameter p{.name = "y", .dtype = DType::U8, .shape = {4, 500}, .output = true};
  std::vector<std::byte> want(2000, std::byte{7}), got = want;
  got[501] = std::byte{8};
  EXPECT_NE(difference(p, got, want, {}).find("y[1, 1] is 8, expected 7"), std::string::npos);
  const Tolerance steps{.relative = 0, .outliers = 1e-3};
  EXPECT_EQ(difference(p, got, want, steps), "");
  got[501] = std::byte{9};
  EXPECT_NE(difference(p, got, want, steps), "");
  for (int i = 0; i < 3; ++i) got[500 + i] = std::byte{8};
  EXPECT_NE(difference(p, got, want, steps), "");
}

TEST(Difference, LeavesOutWhatLiesBetweenRows) {
  const Parameter p{.name = "y", .shape = {10, 3}, .layout = {{0}, {1, 1, 0, 5}}, .output = true};
  const size_t n = search::bytes_of(p) / 4;
  ASSERT_EQ(n, 75u);  // 9 pitches of 8, and a row of 3
  std::vector<float> want(n, 1), got = want;
  got[3] = 9;
  EXPECT_EQ(difference(p, bytes_of(got), bytes_of(want), {}), "");
  got[8] = 9;
  EXPECT_NE(difference(p, bytes_of(got), bytes_of(want), {}).find("y[1, 0 in memory] is 9"), std::string::npos)
      << difference(p, bytes_of(got), bytes_of(want), {});
}

TEST(Guards, TellOfDamage) {
  for (auto place : {GuardedBuffer::Place::Start, GuardedBuffer::Place::End}) {
    for (size_t size : {size_t{4}, size_t{4000}, size_t{4096}, size_t{5} << 20}) {
      GuardedBuffer b(size, place, 13);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % 64, 0u);
      b.fill(std::byte{1});
      EXPECT_FALSE(b.damage());
      if (place == GuardedBuffer::Place::Start || size % 64 != 0) {
        b.data()[size] = std::byte{0};
        EXPECT_EQ(b.damage(), static_cast<int64_t>(size));
        b.repair();
      }
      if (place == GuardedBuffer::Place::Start || size % 4096 != 0) {
        *(b.data() - 3) = std::byte{0};
        EXPECT_EQ(b.damage(), -3);
        b.repair();
      }
      EXPECT_FALSE(b.damage());
    }
  }
}

TEST(Tolerance, GrowsWithSumsAndCoarseTypes) {
  const auto of = [](const char* text) { return tolerance_of(parse_stages(text)); };
  const Tolerance plain = of("group g {\n  input X: f32[i:64]\n  compute Y: f32[i:64]\n  inputs X\n  outputs Y\n"
                             "  Y {\n    body exp(X[i])\n  }\n}\n");
  EXPECT_LT(plain.relative, 1e-5);
  EXPECT_EQ(plain.outliers, 0);
  const Tolerance sum = of("group g {\n  input X: f32[i:64, k:1024]\n  compute Y: f32[i:64] sum[k:1024]\n  inputs X\n"
                           "  outputs Y\n  Y {\n    body X[i, k]\n  }\n}\n");
  EXPECT_GT(sum.relative, 20 * plain.relative);
  EXPECT_LT(sum.relative, 1e-3);
  const Tolerance half = of("group g {\n  input X: f16[i:64]\n  compute Y: f16[i:64]\n  inputs X\n  outputs Y\n"
                            "  Y {\n    body X[i] + X[i]\n  }\n}\n");
  EXPECT_GT(half.relative, 1e-3);
  EXPECT_LT(half.relative, 1e-2);
  const Tolerance integers = of("group g {\n  input X: i32[i:64]\n  compute Y: i32[i:64]\n  inputs X\n  outputs Y\n"
                                "  Y {\n    body X[i] + X[i]\n  }\n}\n");
  EXPECT_EQ(integers.relative, 0);
  const Tolerance steps = of("group g {\n  input X: f32[i:64]\n  compute Y: i32[i:64]\n  inputs X\n  outputs Y\n"
                             "  Y {\n    body i32(X[i])\n  }\n}\n");
  EXPECT_GT(steps.outliers, 0);
}

// ---- the reference is itself compared with the formulas

void expect_reference_right(const char* text, int vectors_at_least) {
  const StageGroup g = parse_stages(text);
  Machine m;
  m.vector_bytes = 32;
  m.threads = 2;
  const Schedule s = plain_schedule(g, m);
  const std::string trace = s.to_text();
  int vectors = 0;
  for (size_t at = 0; (at = trace.find("vectorize", at)) != trace.npos; ++at) ++vectors;
  EXPECT_GE(vectors, vectors_at_least) << trace;
  EXPECT_NE(trace.find("parallel"), std::string::npos) << trace;
  const Function f = lower(s).expect("lowering the reference");
  std::vector<Tensor> inputs;
  std::vector<const Tensor*> pointers;
  std::vector<std::vector<std::byte>> memory;
  for (StageId id : g.inputs) {
    const Stage& stage = g[id];
    const bool constant = stage.kind == StageKind::Constant;
    inputs.push_back(random_tensor({.name = stage.name, .dtype = stage.dtype, .shape = stage.shape(), .constant = constant}, 7));
    memory.push_back(*pack_constant(inputs.back(), packed_layout(s, id)));
  }
  for (const Tensor& t : inputs) pointers.push_back(&t);
  const std::vector<Tensor> want = evaluate(g, pointers);
  for (StageId id : g.outputs) memory.emplace_back(static_cast<size_t>(physical_size(g[id].layout, g[id].shape()) * size_of(g[id].dtype)));
  std::vector<void*> args;
  for (auto& b : memory) args.push_back(b.data());
  interpret(f, args);
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    const Stage& stage = g[g.outputs[i]];
    const Parameter p{.name = stage.name, .dtype = stage.dtype, .shape = stage.shape(), .layout = stage.layout, .output = true};
    EXPECT_EQ(difference(p, memory[g.inputs.size() + i], *pack_constant(want[i], stage.layout), tolerance_of(g)), "") << trace;
  }
}

TEST(Reference, OfAConvolution) {
  expect_reference_right(R"(group conv_relu {
  input in0: f32[n:1, c:5, y:9, x:11] layout(n, y, x, c)
  constant w1: f32[n:20, c:5, y:3, x:3]
  constant w2: f32[c:20]
  compute conv.acc: f32[n:1, c:20, y:9, x:11] sum[k:5, ky:3, kx:3]
  compute conv: f32[n:1, c:20, y:9, x:11] layout(n, y, x, c)
  compute relu: f32[n:1, c:20, y:9, x:11] layout(n, y, x, c)
  inputs in0, w1, w2
  outputs relu
  conv.acc {
    body in0[n, k, y + ky - 1, x + kx - 1 else 0.0] * w1[c, k, ky, kx]
  }
  conv {
    body conv.acc[n, c, y, x] + w2[c]
  }
  relu {
    body max(conv[n, c, y, x], 0.0)
  }
}
)", 3);
}

TEST(Reference, OfASoftmax) {
  expect_reference_right(R"(group softmax {
  input X: f32[i:7, j:33]
  compute m: f32[i:7] max[j:33]
  compute e: f32[i:7, j:33]
  compute s: f32[i:7] sum[j:33]
  compute Y: f32[i:7, j:33]
  inputs X
  outputs Y
  m {
    body X[i, j]
  }
  e {
    body exp(X[i, j] - m[i])
  }
  s {
    body e[i, j]
  }
  Y {
    body e[i, j] / s[i]
  }
}
)", 2);
}

TEST(Reference, OfAMatrixProduct) {
  expect_reference_right(R"(group matmul {
  input a: f32[i:12, k:19]
  constant b: f32[j:24, k:19]
  compute c: f32[i:12, j:24] sum[k:19]
  inputs a, b
  outputs c
  c {
    body a[i, k] * b[j, k]
  }
}
)", 1);
}

}  // namespace
}  // namespace burnish::search
