// Native code against the interpreter, for three instruction sets and several thread counts.
#include <fstream>

#include "base/text.h"
#include "support.h"

namespace burnish::target_test {
namespace {

// How many lines of a Zen 4's code have one of these instructions.
size_t count_instructions(const std::string& function, std::initializer_list<std::string_view> names) {
  const std::string assembly =
      make_target("llvm:cpu=znver4", 1)->emit(program_of(parse_function(function)), EmitKind::Assembly);
  size_t count = 0;
  for (const std::string& line : split_text(assembly, '\n')) {
    count += std::ranges::any_of(names, [&](std::string_view n) { return line.starts_with("\t" + std::string(n)); });
  }
  return count;
}

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

// Fetching ahead changes nothing, also where it looks behind the end.
TEST(Codegen, Prefetch) {
  const std::string ahead = R"(func f(X: param f32[640] prefetch 4096, O: out f32[32]) {
    vectorize for i in 0..32 { O[i] = 0.0 }
    for k in 0..20 { vectorize for i in 0..32 { O[i] = O[i] + X[32*k + i] } }
  })";
  expect_same(ahead);
  std::string plain = ahead;
  plain.replace(plain.find(" prefetch 4096"), 14, "");
  EXPECT_EQ(count_instructions(ahead, {"prefetcht"}), 2u) << "one a vector";
  EXPECT_EQ(count_instructions(plain, {"prefetcht"}), 0u);
}

// Squares that are transposed in registers, beside what is read as it lies; the last rows and columns are no square.
TEST(Codegen, TransposedSquares) {
  for (int n : {4, 8, 16}) {
    expect_same(fmt::format(R"(func turn(X: param f32[2400], Y: param f32[2400], O: out f32[2400]) {{
      parallel for y in 0..{1} {{
        for x in 0..{2} {{
          unroll for i in 0..{0} {{
            vectorize for j in 0..{0} {{
              O[{6}*y + {0}*x + 48*i + j] = X[{0}*y + {7}*x + i + 50*j] + Y[{6}*y + {0}*x + 48*i + j]
            }}
          }}
        }}
      }}
      for y in 0..{3} {{ vectorize for x in 0..48 {{ O[48*y + x + {5}] = X[y + 50*x + {4}] }} }}
    }})", n, 50 / n, 48 / n, 50 - 50 / n * n, 50 / n * n, 48 * (50 / n * n), 48 * n, 50 * n));
  }
}

TEST(Codegen, TransposedSquaresAreTurnedByShuffles) {
  const std::string square = R"(func turn(X: param f32[256], O: out f32[256]) {
    unroll for i in 0..16 { vectorize for j in 0..16 { O[16*i + j] = X[i + 16*j] } }
  })";
  const size_t shuffles = count_instructions(square, {"vunpck", "vperm", "vshuf", "vinsert", "vblend", "vmovlhps"});
  EXPECT_GE(shuffles, 32u);
  EXPECT_LE(shuffles, 80u) << "four levels of sixteen, not element by element";
  EXPECT_EQ(count_instructions(square, {"vmovss", "vinsertps", "vgather"}), 0u);
}

// Rows whose sums, maxima, ... end in a tree over lanes, from registers and from memory, of one vector and of several.
TEST(Codegen, ReductionOverLanes) {
  for (const char* op : {"R[0] + P[l]", "max(R[0], P[l])", "min(R[0], P[l])", "R[0] * P[l]"}) {
    for (int lanes : {2, 4, 8, 16, 24, 32, 64}) {
      for (const char* scope : {"register", "thread"}) {
        expect_same(fmt::format(R"(func rows(X: param f32[960], O: out f32[5]) {{
          for y in 0..5 {{
            alloc P: {0} f32[{1}] {{ alloc R: {0} f32[1] {{
              vectorize for l in 0..{1} {{ P[l] = X[192*y + l] * 0.3 }}
              for k in 0..2 {{ vectorize for l in 0..{1} {{ P[l] = P[l] - X[192*y + {1}*k + l + {1}] }} }}
              R[0] = 0.75
              unroll for l in 0..{1} {{ R[0] = {2} }}
              O[y] = R[0] + 1.0
            }} }}
          }}
        }})", scope, lanes, op), 1e-4);
      }
    }
  }
}

// Padding rows: the condition is known outside the channel loop.
TEST(Codegen, GuardOutsideTheVector) {
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

// A convolution's guards: on rows outside the channel loop, on columns inside it, unrolled columns decided.
TEST(Codegen, GuardedConvolution) {
  expect_same(R"(func conv(X: param f32[280], W: param f32[432], O: out f32[560]) {
    for y in 0..7 {
      alloc acc: register f32[80] {
        unroll for m in 0..5 { vectorize for n in 0..16 { acc[16*m + n] = 0.0 } }
        for ky in 0..3 { unroll for kx in 0..3 { for c in 0..3 {
          unroll for m in 0..5 { vectorize for n in 0..16 {
            acc[16*m + n] = acc[16*m + n] +
                select([y + ky - 1] >= 0 & [7 - y - ky] >= 0 & [m + kx - 1] >= 0 & [5 - m - kx] >= 0,
                       X[15*y + 15*ky + 3*m + 3*kx + c - 18], 0.0) * W[144*ky + 48*kx + 16*c + n]
          } }
        } } }
        unroll for m in 0..5 { vectorize for n in 0..16 { O[80*y + 16*m + n] = acc[16*m + n] } }
      }
    }
  })");
}

TEST(Codegen, GuardThatDiffersBetweenLanes) {
  expect_same(R"(func shift(X: param f32[40], O: out f32[40], P: out f32[40]) {
    vectorize for i in 0..40 {
      O[i] = select([i - 3] >= 0, X[i - 3], 7.0)
      P[i] = select([36 - i] >= 0, X[i + 3] * 2.0, -1.0)
    }
  })");
}

TEST(Codegen, GuardWithAFillThatIsNotZero) {
  expect_same(R"(func pool(X: param f32[96], O: out f32[96]) {
    for y in 0..6 {
      vectorize for c in 0..16 { O[16*y + c] = -inf }
      unroll for k in 0..3 {
        vectorize for c in 0..16 {
          O[16*y + c] = max(O[16*y + c], select([y + k - 1] >= 0 & [6 - y - k] >= 0, X[16*y + 16*k + c - 16], -inf))
        }
      }
    }
  })");
}

TEST(Codegen, NestedGuardsOnExpressions) {
  expect_same(R"(func f(X: param f32[20], O: out f32[30]) {
    for i in 0..30 {
      O[i] = select([i - 5] >= 0, select([24 - i] >= 0, exp(X[i - 5]) + X[24 - i], 2.0) * 3.0, select([i - 2] >= 0, X[i - 2], 1.0))
    }
  })");
}

TEST(Codegen, StridesAndGathers) {
  expect_same(R"(func f(X: param f32[128], I: param i32[32], O: out f32[64], P: out f32[32], Q: out f32[32]) {
    vectorize for i in 0..32 {
      O[2*i] = X[3*i]
      O[2*i + 1] = X[100 - i]
      P[i] = X[{i / 2} + {i / 3 % 4}]
      Q[i] = X[i + {20 + (I[i])}]
    }
  })");
}

TEST(Codegen, RingOfRowsWithWarmUp) {
  expect_same(R"(func chain(X: param f32[320], O: out f32[256]) {
    parallel for t in 0..2 {
      alloc E: thread f32[48] {
        for w in 0..2 { vectorize for c in 0..16 { E[16*{8*t + w % 3} + c] = X[128*t + 16*w + c] * 2.0 } }
        for y in 0..8 {
          let slot = {8*t + y + 2 % 3} {
          vectorize for c in 0..16 { E[16*slot + c] = X[128*t + 16*y + c + 32] * 2.0 }
          vectorize for c in 0..16 {
            O[128*t + 16*y + c] = E[16*{8*t + y % 3} + c] + E[16*{8*t + y + 1 % 3} + c] * E[16*slot + c]
          }
        } }
      }
    }
  })");
}

TEST(Codegen, ClippedLoops) {
  expect_same(R"(func f(O: out f32[60]) {
    for i in 0..60 { O[i] = 0.0 }
    for t in 0..3 {
      for y in max(0, ceildiv(3 - 2*t, 2))..min(6, -6*t + 16) {
        unroll for m in 0..4 { let at = 4*{y / 2} + {y % 2} + 20*t + m { O[at] = O[at] + f32([100*t + y + m]) } }
        unroll for m in max(0, y - 2)..min(4, 5 - t) { O[20*t + 4*y - 3*y + m] = f32([y + m]) }
      }
    }
  })");
}

TEST(Codegen, WhileIfAndIntegers) {
  expect_same(R"(func collatz(X: param i32[4], O: out i32[8]) {
    for i in 0..4 {
      O[2*i] = abs(X[i]) + 1i32
      O[2*i + 1] = 0i32
      while O[2*i] != 1i32 {
        if mod(O[2*i], 2i32) == 0i32 { O[2*i] = O[2*i] / 2i32 } else { O[2*i] = O[2*i] * 3i32 + 1i32 }
        O[2*i + 1] = O[2*i + 1] + 1i32
      }
    }
  })");
}

TEST(Codegen, SharedMemoryBarriersAndThreads) {
  expect_same(R"(func f(X: param f32[100], O: out f32[101]) {
    alloc S: shared f32[100] {
      parallel for i in 0..100 { S[i] = X[i] * X[i] }
      barrier
      O[100] = 0.0
      for i in 0..100 { O[100] = O[100] + S[i] }
      parallel for i in 0..100 { O[i] = S[99 - i] }
    }
  })");
}

// A register buffer that is cut differently by two statements is kept in memory instead.
TEST(Codegen, RegisterBufferOfTwoWidths) {
  expect_same(R"(func f(X: param f32[16], O: out f32[16]) {
    alloc acc: register f32[16] {
      vectorize for j in 0..16 { acc[j] = X[j] }
      unroll for j in 0..16 { O[j] = acc[15 - j] }
    }
  })");
}

TEST(Codegen, LoadsLeaveALoopOnlyWhereNothingStoresThere) {
  expect_same(R"(func f(X: param f32[16], O: out f32[16]) {
    alloc s: thread f32[16] {
      vectorize for c in 0..16 { s[c] = X[c] }
      for i in 0..5 { vectorize for c in 0..16 { s[c] = s[c] * X[c] + X[c] } }
      vectorize for c in 0..16 { O[c] = s[c] }
    }
  })");
}

struct Types {
  const char* a;
  const char* b;
};

class Casts : public ::testing::TestWithParam<Types> {};

TEST_P(Casts, AreExact) {
  auto [a, b] = GetParam();
  expect_same(fmt::format(R"(func f(X: param {0}[40], O: out {1}[40], P: out {0}[40]) {{
    vectorize for i in 0..40 {{ O[i] = {1}(X[i]) }}
    for i in 0..40 {{ P[i] = {0}({1}(X[i])) }}
  }})", a, b), 0);
}

std::vector<Types> pairs() {
  const char* names[] = {"bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "tf32", "f32", "f64"};
  std::vector<Types> r;
  for (const char* a : names) {
    for (const char* b : names) {
      if (a != b) r.push_back({a, b});
    }
  }
  return r;
}

INSTANTIATE_TEST_SUITE_P(Codegen, Casts, ::testing::ValuesIn(pairs()),
                         [](const auto& info) { return fmt::format("{}_{}", info.param.a, info.param.b); });

TEST(Codegen, IntegerOperations) {
  for (const char* t : {"i8", "u8", "i16", "i32", "u32", "i64", "u64"}) {
    expect_same(fmt::format(R"(func f(X: param {0}[40], Y: param {0}[40], O: out {0}[440]) {{
      vectorize for i in 0..40 {{
        O[i] = X[i] / Y[i]
        O[40 + i] = mod(X[i], Y[i])
        O[80 + i] = floordiv(X[i], Y[i])
        O[120 + i] = floormod(X[i], Y[i])
        O[160 + i] = min(X[i], Y[i])
        O[200 + i] = max(X[i], Y[i]) - X[i] * Y[i]
        O[240 + i] = shl(X[i], Y[i])
        O[280 + i] = shr(X[i], Y[i])
        O[320 + i] = (X[i] & Y[i]) ^ (X[i] | Y[i])
        O[360 + i] = pow(X[i], Y[i])
        O[400 + i] = select(X[i] < Y[i], sign(X[i]), abs(Y[i]))
      }}
    }})", t), 0);
  }
}

TEST(Codegen, FloatOperations) {
  for (const char* t : {"f32", "f64"}) {
    expect_same(fmt::format(R"(func f(X: param {0}[40], Y: param {0}[40], O: out {0}[480]) {{
      vectorize for i in 0..40 {{
        O[i] = X[i] / Y[i]
        O[40 + i] = mod(X[i] * {1}, Y[i])
        O[80 + i] = floordiv(X[i], Y[i])
        O[120 + i] = floormod(X[i] * {1}, Y[i])
        O[160 + i] = min(X[i], Y[i])
        O[200 + i] = max(X[i], Y[i]) - X[i] * Y[i]
        O[240 + i] = pow(abs(X[i]), Y[i])
        O[280 + i] = floor(X[i] * {1})
        O[320 + i] = ceil(X[i] * {1})
        O[360 + i] = round(X[i] * {1})
        O[400 + i] = trunc(X[i] * {1})
        O[440 + i] = sign(X[i]) * rsqrt(abs(Y[i]))
      }}
    }})", t, std::string_view(t) == "f32" ? "10.0" : "10.0f64"));
  }
}

}  // namespace
}  // namespace burnish::target_test
