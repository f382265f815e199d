// The interpreter: results worked out by hand, every fault that it finds, all dtypes, whole
// programs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "expr/half.h"
#include "loop/interpreter.h"

namespace burnish {
namespace {

template <class... Args> std::string error_running(std::string_view text, Args&... args) {
  Function f = parse_function(text);
  std::vector<void*> memory = {args.data()...};
  try {
    interpret(f, memory);
  } catch (const InternalError& e) {
    return e.what();
  }
  return "";
}

template <class... Args>
void run(std::string_view text, const InterpretOptions& options, Args&... args) {
  interpret(parse_function(text), {static_cast<void*>(args.data())...}, options);
}

std::vector<float> ramp(size_t n) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}

#define EXPECT_SAYS(error, what) EXPECT_NE((error).find(what), std::string::npos) << (error)

TEST(Interpreter, MatrixProductWithRegisterTile) {
  std::vector<float> a = ramp(4 * 3), b = ramp(3 * 8), c(4 * 8);
  run(R"(func matmul(A: param f32[12], B: param f32[24], C: out f32[32]) {
    parallel for m in 0..2 {
      alloc acc: register f32[16] {
        unroll for i in 0..2 { vectorize for j in 0..8 { acc[8*i + j] = 0.0 } }
        for k in 0..3 {
          unroll for i in 0..2 {
            vectorize for j in 0..8 { acc[8*i + j] = acc[8*i + j] + A[6*m + 3*i + k] * B[8*k + j] }
          }
        }
        unroll for i in 0..2 { vectorize for j in 0..8 { C[16*m + 8*i + j] = max(acc[8*i + j], 0.0) } }
      }
    }
  })",
      {}, a, b, c);
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      float want = 0;
      for (size_t k = 0; k < 3; ++k) want += a[3 * i + k] * b[8 * k + j];
      EXPECT_EQ(c[8 * i + j], want);
    }
  }
}

TEST(Interpreter, ClippedLoopsLetsAndAtoms) {
  std::vector<float> o(16, -1);
  run(R"(func f(O: out f32[16]) {
    for t in 0..3 {
      for y in max(0, ceildiv(3 - 2*t, 2))..min(6, -6*t + 16) {
        let at = 4*{y / 2} + {y % 2} + t { O[at] = f32([100*t + y]) }
      }
    }
  })",
      {}, o);
  std::vector<float> want(16, -1);
  for (int t = 0; t < 3; ++t) {
    for (int y = std::max<int>(0, int(std::ceil((3 - 2 * t) / 2.0))); y < std::min(6, 16 - 6 * t);
         ++y) {
      want[size_t(4 * (y / 2) + y % 2 + t)] = float(100 * t + y);
    }
  }
  EXPECT_EQ(o, want);
}

TEST(Interpreter, GuardedLoadsAreNotReadAndSharedPartsAreEvaluatedWhereNeeded) {
  std::vector<float> x = ramp(8), o(8);
  run(R"(func f(X: param f32[8], O: out f32[8]) {
    for i in 0..8 {
      %0 = X[i - 2]
      %1 = exp(%0)
      O[i] = select([i - 2] >= 0, %1 + %1, 0.0) + select([i - 1] >= 2, %1, 1.0)
    }
  })",
      {}, x, o);
  for (size_t i = 0; i < 8; ++i) {
    float e = i < 2 ? 0 : float(std::exp(double(x[i - 2])));
    EXPECT_EQ(o[i], (i < 2 ? 0 : e + e) + (i < 3 ? 1 : e)) << i;
  }
}

// A chain of shared parts under conditions would take 2^60 evaluations, were each use evaluated
// anew.
TEST(Interpreter, SharingUnderConditionsIsLinear) {
  Function f = parse_function("func f(X: param f32[1], O: out f32[1]) { }");
  Expr e = load(DType::F32, 0, {Index(0)});
  Expr positive = binary(BinaryOp::Gt, load(DType::F32, 0, {Index(0)}), constant(0));
  for (int i = 0; i < 60; ++i) e = select(positive, e + constant(1), e * e + e);
  f.body = make_store(1, Index(0), e);
  float x = 1, o = 0;
  interpret(f, {&x, &o});
  EXPECT_EQ(o, 61);
}

TEST(Interpreter, WhileAndIf) {
  std::vector<int32_t> x = {27}, o(2);
  run(R"(func collatz(X: param i32[1], O: out i32[2]) {
    O[0] = X[0]
    O[1] = 0i32
    while O[0] != 1i32 {
      if mod(O[0], 2i32) == 0i32 { O[0] = O[0] / 2i32 } else { O[0] = O[0] * 3i32 + 1i32 }
      O[1] = O[1] + 1i32
    }
  })",
      {}, x, o);
  EXPECT_EQ(o, (std::vector<int32_t>{1, 111}));
}

TEST(Interpreter, GatherByLoadedIndex) {
  std::vector<int64_t> ids = {3, 0, 2};
  std::vector<float> x = ramp(8), o(6);
  run(R"(func gather(I: param i64[3], X: param f32[8], O: out f32[6]) {
    for i in 0..3 { for j in 0..2 { O[2*i + j] = X[2*{(I[i])} + j] } }
  })",
      {}, ids, x, o);
  EXPECT_EQ(o, (std::vector<float>{7, 8, 1, 2, 5, 6}));
}

TEST(Interpreter, ReportsAccessOutsideABuffer) {
  std::vector<float> x(8), o(8);
  std::string e = error_running(
      "func f(X: param f32[8], O: out f32[8]) { for i in 0..8 { O[i] = X[i + 1] } }", x, o);
  EXPECT_SAYS(e, "function f, O[i] = X[i + 1] with i = 7: reads X[8], which has 8 elements");
  e = error_running("func f(X: param f32[8], O: out f32[8]) { for i in 0..8 { O[i - 1] = X[i] } }",
                    x, o);
  EXPECT_SAYS(e, "with i = 0: stores to O[-1], which has 8 elements");
  e = error_running(
      "func f(X: param f32[8], O: out f32[8]) { alloc T: thread f32[2] { } T[0] = 1.0 }", x, o);
  EXPECT_SAYS(e, "stores to T, which is not allocated here");
  e = error_running("func f(X: param f32[8], O: out f32[8]) { X[0] = 1.0 }", x, o);
  EXPECT_SAYS(e, "stores to X, which is an input");
}

TEST(Interpreter, ReportsReadsOfWhatWasNotWritten) {
  std::vector<float> o(8);
  EXPECT_SAYS(error_running("func f(O: out f32[8]) { O[0] = O[1] }", o),
              "reads O[1], which was not written");
  EXPECT_SAYS(
      error_running(
          "func f(O: out f32[8]) { alloc T: thread f32[4] { T[0] = 1.0 O[0] = T[0] + T[2] } }", o),
      "reads T[2], which was not written");
  // A second life of the buffer starts unwritten.
  EXPECT_SAYS(error_running("func f(O: out f32[8]) { for i in 0..2 { alloc T: thread f32[4] { "
                            "if [i] == 0 { T[0] = 1.0 } O[i] = T[0] } } }",
                            o),
              "with i = 1: reads T[0], which was not written");
  EXPECT_EQ(error_running("func f(O: out f32[8]) { O[1] = 2.0 O[0] = O[1] }", o), "");
}

TEST(Interpreter, RefusesBuffersBeyondMemory) {
  std::vector<float> o(1);
  EXPECT_SAYS(error_running("func f(O: out f32[1]) { alloc T: thread f32[9999999999999] { } }", o),
              "a buffer of 9999999999999 elements is more than the interpreter holds");
}

TEST(Interpreter, LeavesUnwrittenOutputsAlone) {
  std::vector<float> o = {5, 6};
  run("func f(O: out f32[2]) { O[1] = 1.0 }", {}, o);
  EXPECT_EQ(o, (std::vector<float>{5, 1}));
}

TEST(Interpreter, ReportsRaces) {
  std::vector<float> o(16);
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { O[0] = 1.0 } }", o),
              "with t = 1: race: stores to O[0]");
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { O[t + 1] = 1.0 if "
                            "[t] > 1 { O[8] = O[t] } } }",
                            o),
              "race: reads O[2]");
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { O[15] = 1.0 barrier parallel for t in 0..4 { "
                            "if [t] == 3 { O[15] = 1.0 } else { O[t] = O[15] } } }",
                            o),
              "race: stores to O[15]");
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { O[t] = 1.0 } "
                            "parallel for t in 0..4 { O[t + 4] = O[-t + 3] } }",
                            o),
              "race: reads O[3]");
  EXPECT_SAYS(
      error_running(
          "func f(O: out f32[16]) { O[0] = 1.0 parallel for t in 0..4 { O[t + 4] = O[0] } }", o),
      "race: reads O[0]");
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { alloc S: shared f32[4] { parallel for t in "
                            "0..4 { S[0] = 1.0 } } }",
                            o),
              "race: stores to S[0]");
  EXPECT_EQ(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { O[t] = 1.0 } barrier "
                          "parallel for t in 0..4 { O[t + 4] = O[-t + 3] } }",
                          o),
            "");
  EXPECT_EQ(error_running("func f(O: out f32[16]) { O[0] = 1.0 barrier parallel for t in 0..4 { "
                          "O[t + 4] = O[0] } }",
                          o),
            "");
  EXPECT_EQ(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { alloc T: thread "
                          "f32[1] { T[0] = 2.0 O[t] = T[0] } } }",
                          o),
            "");
  EXPECT_EQ(error_running("func f(O: out f32[16]) { alloc S: shared f32[4] { for i in 0..3 { "
                          "parallel for t in 0..4 { S[t] = 1.0 } barrier } } }",
                          o),
            "");
  InterpretOptions off{.check_races = false};
  EXPECT_NO_THROW(run("func f(O: out f32[16]) { parallel for t in 0..4 { O[0] = 1.0 } }", off, o));
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { parallel for u in "
                            "0..4 { O[4*t + u] = 1.0 } } }",
                            o),
              "a parallel loop inside a parallel loop");
  EXPECT_SAYS(error_running("func f(O: out f32[16]) { parallel for t in 0..4 { barrier } }", o),
              "a barrier inside a parallel loop");
}

// Serially x[i + 1] = x[i] spreads the first element; as a vector it shifts.
TEST(Interpreter, VectorizedLoopsReadBeforeTheyWrite) {
  std::vector<float> x = ramp(5), o(5);
  const char* text = R"(func shift(X: param f32[5], O: out f32[5]) {
    for i in 0..5 { O[i] = X[i] }
    KIND for i in 0..4 { O[i + 1] = O[i] }
  })";
  std::string vector(text), serial(text);
  vector.replace(vector.find("KIND"), 4, "vectorize");
  serial.replace(serial.find("KIND"), 4, "unroll");
  run(vector, {}, x, o);
  EXPECT_EQ(o, (std::vector<float>{1, 1, 2, 3, 4}));
  run(serial, {}, x, o);
  EXPECT_EQ(o, (std::vector<float>{1, 1, 1, 1, 1}));
}

TEST(Interpreter, VectorizedLoopsGoStatementByStatement) {
  std::vector<float> o(8);
  run(R"(func f(O: out f32[8]) {
    vectorize for i in max(0, 1)..4 {
      O[i] = f32([i])
      O[i + 4] = O[-i + 4]
      if [i] >= 2 { let j = 2*i { O[j] = O[i + 4] * 10.0 } } else { O[0] = 9.0 }
    }
  })",
      {}, o);
  // O[1..3] = 1 2 3; O[5..7] = 3 2 1; O[4] = 10 O[6], O[6] = 10 O[7]; O[0] = 9
  EXPECT_EQ(o, (std::vector<float>{9, 1, 2, 3, 20, 3, 10, 1}));
  EXPECT_SAYS(
      error_running("func f(O: out f32[8]) { vectorize for i in 0..4 { O[0] = f32([i]) } }", o),
      "lanes 0 and 1 of a vectorized loop store different values to O[0]");
  EXPECT_EQ(error_running("func f(O: out f32[8]) { vectorize for i in 0..4 { O[0] = 2.0 } }", o),
            "");
  EXPECT_SAYS(
      error_running(
          "func f(O: out f32[8]) { O[0] = 0.0 vectorize for i in 0..4 { O[0] = O[0] + f32([i]) } }",
          o),
      "store different values to O[0]");
  EXPECT_SAYS(error_running("func f(O: out f32[8]) { vectorize for i in 0..4 { alloc T: thread "
                            "f32[1] { T[0] = 1.0 } } }",
                            o),
              "an alloc inside a vectorized loop");
}

TEST(Interpreter, LoopsInsideVectorizedLoops) {
  std::vector<float> o(8);
  run(R"(func f(O: out f32[8]) {
    vectorize for i in 0..4 {
      O[i] = 0.0
      for k in 0..min(9, i) { O[i] = O[i] + f32([k + 1]) }
      while O[i] > 2.0 { O[i] = O[i] - 1.0 }
    }
  })",
      {}, o);
  EXPECT_EQ((std::vector<float>(o.begin(), o.begin() + 4)), (std::vector<float>{0, 1, 2, 2}));
}

TEST(Interpreter, StopsAfterTooManySteps) {
  std::vector<float> o(1);
  InterpretOptions options{.max_steps = 1000};
  Function f = parse_function("func f(O: out f32[1]) { while true { O[0] = 1.0 } }");
  try {
    interpret(f, {o.data()}, options);
    FAIL();
  } catch (const InternalError& e) {
    EXPECT_SAYS(std::string(e.what()), "more than 1000 steps");
  }
}

TEST(Interpreter, UnknownCallsAreNamed) {
  std::vector<float> o(1);
  EXPECT_SAYS(error_running("func f(O: out f32[1]) { call helper(O[0]) }", o),
              "call of helper, which is no function of the program");
  EXPECT_SAYS(error_running("func f(O: out f32[1]) { O[0] = @magic:f32(1.0) }", o),
              "does not know the intrinsic magic of 1 arguments");
}

TEST(Interpreter, HoldsAllDTypes) {
  // Each: a value that wraps or rounds on the way through the dtype.
  auto one = [](const std::string& t, const std::string& expr, auto zero) {
    std::vector<decltype(zero)> o(1, zero);
    run("func f(O: out " + t + "[1]) { alloc T: thread " + t + "[1] { T[0] = " + expr +
            " O[0] = T[0] } }",
        {}, o);
    return o[0];
  };
  EXPECT_EQ(one("i8", "i8([300])", int8_t{}), 44);
  EXPECT_EQ(one("u8", "200u8 + 100u8", uint8_t{}), 44);
  EXPECT_EQ(one("i16", "i16(40000.0)", int16_t{}), 32767);
  EXPECT_EQ(one("u16", "neg(1u16)", uint16_t{}), 65535);
  EXPECT_EQ(one("i32", "2147483647i32 + 1i32", int32_t{}), INT32_MIN);
  EXPECT_EQ(one("u32", "4000000000u32", uint32_t{}), 4000000000u);
  EXPECT_EQ(one("i64", "-9223372036854775808", int64_t{}), INT64_MIN);
  EXPECT_EQ(one("u64", "18446744073709551615u64 / 2u64", uint64_t{}), UINT64_MAX / 2);
  EXPECT_EQ(one("bool", "3.0 > 2.0", uint8_t{}), 1);
  EXPECT_EQ(one("f64", "0.1f64 + 0.2f64", double{}), 0.1 + 0.2);
  EXPECT_EQ(one("f32", "0.1 + 0.2", float{}), 0.1f + 0.2f);
  EXPECT_EQ(one("f16", "f16(0.1)", uint16_t{}), half_of_float(0.1f));
  EXPECT_EQ(one("bf16", "bf16(0.1)", uint16_t{}), bfloat_of_float(0.1f));
  EXPECT_EQ(one("tf32", "tf32(0.1)", float{}), tf32_of_float(0.1f));
  EXPECT_EQ(one("f16", "1000.0f16 * 100.0f16", uint16_t{}), 0x7c00);
}

TEST(Interpreter, ReadsAllDTypes) {
  auto back = []<class T>(const std::string& t, std::vector<T> x) {
    std::vector<T> o(x.size());
    run(fmt::format(
            "func f(X: param {0}[{1}], O: out {0}[{1}]) {{ for i in 0..{1} {{ O[i] = X[i] }} }}", t,
            x.size()),
        {}, x, o);
    EXPECT_EQ(o, x) << t;
  };
  back("i8", std::vector<int8_t>{-128, 127});
  back("u8", std::vector<uint8_t>{0, 255});
  back("i16", std::vector<int16_t>{-32768, 32767});
  back("u16", std::vector<uint16_t>{0, 65535});
  back("i32", std::vector<int32_t>{INT32_MIN, INT32_MAX});
  back("u32", std::vector<uint32_t>{0, UINT32_MAX});
  back("i64", std::vector<int64_t>{INT64_MIN, INT64_MAX});
  back("u64", std::vector<uint64_t>{0, UINT64_MAX});
  back("f32", std::vector<float>{-0.0f, INFINITY, 1e-45f});
  back("f64", std::vector<double>{-0.0, INFINITY, 5e-324});
  std::vector<uint16_t> halves;
  for (uint32_t h = 0; h < 65536; ++h) {
    if ((h & 0x7c00) != 0x7c00 || (h & 0x3ff) == 0) halves.push_back(uint16_t(h));
  }
  back("f16", halves);
  std::vector<uint16_t> brains;
  for (uint32_t h = 0; h < 65536; ++h) {
    if ((h & 0x7f80) != 0x7f80 || (h & 0x7f) == 0) brains.push_back(uint16_t(h));
  }
  back("bf16", brains);
}

TEST(Interpreter, ComputesInDouble) {
  const char* text = R"(func f(X: param f32[2], O: out f32[1]) {
    alloc T: thread f16[1] { T[0] = f16(X[0]) O[0] = f32(T[0]) + X[1] }
  })";
  std::vector<double> x = {0.1, 1e-12}, o(1);
  run(text, {.in_double = true}, x, o);
  EXPECT_EQ(o[0], 0.1 + 1e-12);
}

TEST(CountStores, WalksTheLoops) {
  Function f = parse_function(R"(func f(O: out f32[4096]) {
    alloc E: thread f32[4096] {
      for t in 0..4 {
        for y in max(0, t - 1)..min(10, 3*t + 2) { for x in 0..1000 { for c in 0..1000 { E[y + x] = 1.0 } } }
        if [t] >= 2 { for i in 0..7 { O[i] = 1.0 } } else { O[0] = 1.0 }
        let r = {t / 2} { for i in 0..min(9, r) { O[i] = 1.0 } }
      }
    }
  })");
  // t: rows 0..2, 0..5, 1..8, 2..10
  EXPECT_EQ(count_stores(f, "E"), int64_t{2 + 5 + 7 + 8} * 1000000);
  EXPECT_EQ(count_stores(f, "O"), 1 + 1 + 7 + 7 + 0 + 0 + 1 + 1);
  EXPECT_THROW(count_stores(f, "Q"), InternalError);
  Function g =
      parse_function("func g(O: out f32[4]) { O[0] = 1.0 while O[0] > 0.0 { O[0] = 0.0 } }");
  EXPECT_THROW(count_stores(g, "O"), InternalError);
}

const char* chain = R"(program {
  bytes 64
  input x: f32[8] size 8
  output y: f32[8] size 8
  constant w: f32[] size 4 hash "1"
  arena a: f32[] size 8
  arena b: f32[] size 8 offset 32
  arena h: u8[] size 8 offset 4
  inputs (x)
  outputs (y)
}
func inc(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[i] + 1.0 } }
func half(X: param f32[4], Y: out f32[4]) { for i in 0..4 { Y[i] = X[i] * 2.0 } }
func fade(X: param f32[8], W: param f32[4], Y: out f32[8]) { for i in 0..8 { Y[i] = X[i] + W[{i % 4}] } }
func bytes(X: param f32[8], H: out u8[8]) { for i in 0..8 { H[i] = u8(X[i]) } }
func wide(H: param u8[8], Y: out f32[8]) { for i in 0..8 { Y[i] = f32(H[i]) } }
func outer(X: param f32[8], Y: out f32[8]) { call half(X[0], Y[4]) call half(X[4], Y[0]) }
)";

std::vector<float> run_program(const std::string& steps, InterpretOptions options = {}) {
  Program p = parse_program(chain + steps);
  auto w = std::make_shared<std::vector<std::byte>>(16);
  float values[] = {10, 20, 30, 40};
  std::memcpy(w->data(), values, 16);
  p.tensors[2].data = w;
  std::vector<float> x = ramp(8), y(8);
  interpret(p, {x.data()}, {y.data()}, options);
  return y;
}

std::string program_error(const std::string& steps) {
  try {
    run_program(steps);
  } catch (const InternalError& e) {
    return e.what();
  }
  return "";
}

TEST(InterpretProgram, RunsStepsOverTheArena) {
  EXPECT_EQ(run_program("step inc(x, a) step inc(a, b) step fade(b, w, y)"),
            (std::vector<float>{13, 24, 35, 46, 17, 28, 39, 50}));
  EXPECT_EQ(run_program("step half(x, a) step half(x + 16, a + 16) step inc(a, y)"),
            (std::vector<float>{3, 5, 7, 9, 11, 13, 15, 17}));
  EXPECT_EQ(run_program("step outer(x, y)"), (std::vector<float>{10, 12, 14, 16, 2, 4, 6, 8}));
  // Bytes over part of a tensor that is read no more.
  EXPECT_EQ(run_program("step inc(x, a) step inc(a, b) step bytes(b, h) step wide(h, y)"),
            (std::vector<float>{3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(InterpretProgram, FindsFaults) {
  EXPECT_SAYS(program_error("step inc(x, a) step inc(a, b) step bytes(b, h) step inc(a, y)"),
              "reads X[1], which was not written");
  EXPECT_SAYS(program_error("step inc(a, y)"), "reads X[0], which was not written");
  EXPECT_SAYS(program_error("step half(x, y)"), "output y: element 4 is never written");
  EXPECT_SAYS(program_error("step half(x + 20, y)"),
              "tensor x of 8 elements is given from byte 20 on");
  EXPECT_SAYS(program_error("step inc(x, w)"),
              "tensor w of 4 elements is given from byte 0 on as Y of 8 elements");
  EXPECT_SAYS(program_error("step half(x, w)"),
              "tensor w is an input or a constant but Y is written");
}

TEST(InterpretProgram, StepsWithoutBarrierMustNotMeet) {
  EXPECT_EQ(program_error("step half(x, a) nobarrier step half(x + 16, a + 16) step inc(a, y)"),
            "");
  std::string text = std::string(chain) + "func spread(X: param f32[8], Y: out f32[8]) { parallel "
                                          "for i in 0..8 { Y[i] = X[-i + 7] } }\n"
                                          "step spread(x, a) nobarrier step spread(a, y)";
  std::vector<float> x = ramp(8), y(8);
  auto run_text = [&] { interpret(parse_program(text), {x.data()}, {y.data()}); };
  EXPECT_THROW(run_text(), InternalError);
  text.replace(text.find(" nobarrier"), 10, "");
  EXPECT_NO_THROW(run_text());
  // The same iteration of loops over as many is on one thread.
  text.replace(text.find("-i + 7"), 6, "i");
  text.replace(text.find(" step spread(a"), 0, " nobarrier");
  EXPECT_NO_THROW(run_text());
}

TEST(InterpretProgram, ComputesInDouble) {
  Program p = parse_program(std::string(chain) + "step inc(x, a) step inc(a, b) step inc(b, y)");
  std::vector<double> x(8, 1e-12), y(8);
  interpret(p, {x.data()}, {y.data()}, {.in_double = true});
  EXPECT_EQ(y[7], 1e-12 + 1 + 1 + 1);
}

// Registers that threads of a warp read of one another: of what was written before, and of their own warp.
TEST(Interpreter, RegistersOfAWarp) {
  const auto kernel = [](int threads, std::string_view reads) {
    return fmt::format(R"(func f(X: param f32[64], Y: out f32[64]) {{
      parallel for b in 0..1 {{
        alloc R: warp f32[{0}] {{
          thread for t in 0..{0} {{ R[t] = X[t] }}
          {1}
        }}
      }}
    }})", threads, reads);
  };
  std::vector<float> x = ramp(64), y(64);
  run(kernel(32, "thread for u in 0..31 { Y[u] = R[u + 1] }"), {}, x, y);
  EXPECT_EQ(y[0], x[1]);
  EXPECT_EQ(y[30], x[31]);
  EXPECT_SAYS(error_running(kernel(64, "thread for u in 0..63 { Y[u] = R[u + 1] }"), x, y), "race");
  EXPECT_SAYS(error_running(kernel(32, "thread for u in 0..31 { R[u] = 1.0 Y[u] = R[u + 1] }"), x, y), "race");
  EXPECT_SAYS(error_running(kernel(32, "thread for u in 0..31 { R[u + 1] = 1.0 }"), x, y), "race");
}

}  // namespace
}  // namespace burnish
