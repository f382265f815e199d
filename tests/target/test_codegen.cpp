// Native code against the interpreter, for three instruction sets and several thread counts.
#include "support.h"

namespace burnish::target_test {
namespace {

TEST(Codegen, Elementwise) {
  expect_same(R"(func f(X: param f32[37], Y: param f32[37], O: out f32[37]) {
    vectorize for i in 0..37 { O[i] = max(X[i] * Y[i] + 1.0, 0.0) }
  })");
}

TEST(Codegen, MatrixProductWithRegisterTile) {
  expect_same(R"(func matmul(A: param f32[60], B: param f32[120], bias: param f32[24], C: out f32[288]) {
    parallel for m in 0..4 {
      alloc acc: register f32[72] {
        unroll for i in 0..3 { vectorize for j in 0..24 { acc[24*i + j] = bias[j] } }
        for k in 0..5 {
          unroll for i in 0..3 {
            vectorize for j in 0..24 { acc[24*i + j] = acc[24*i + j] + A[15*m + 5*i + k] * B[24*k + j] }
          }
        }
        unroll for i in 0..3 { vectorize for j in 0..24 { C[72*m + 24*i + j] = max(acc[24*i + j], 0.0) } }
      }
    }
  })");
}

TEST(Codegen, Softmax) {
  expect_same(R"(func softmax(X: param f32[105], O: out f32[105]) {
    alloc m: thread f32[1] { alloc s: thread f32[1] {
      for y in 0..5 {
        m[0] = X[21*y]
        for x in 0..21 { m[0] = max(m[0], X[21*y + x]) }
        s[0] = 0.0
        vectorize for x in 0..21 { O[21*y + x] = exp(X[21*y + x] - m[0]) }
        for x in 0..21 { s[0] = s[0] + O[21*y + x] }
        vectorize for x in 0..21 { O[21*y + x] = O[21*y + x] / s[0] }
      }
    } }
  })");
}

TEST(Codegen, GuardedWindow) {
  expect_same(R"(func window(X: param f32[160], W: param f32[48], O: out f32[160]) {
    parallel for y in 0..10 {
      vectorize for c in 0..16 { O[16*y + c] = 0.0 }
      for k in 0..3 {
        vectorize for c in 0..16 {
          O[16*y + c] = O[16*y + c] + select([y + k - 1] >= 0 & [10 - y - k] >= 0, X[16*y + 16*k + c - 16], 0.0) * W[16*k + c]
        }
      }
    }
  })");
}

}  // namespace
}  // namespace burnish::target_test
