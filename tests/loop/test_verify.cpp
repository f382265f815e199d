// The verifier: what it accepts, and each thing that it refuses.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "loop/program.h"

namespace burnish {
namespace {

std::string error_of(const Function& f) {
  try {
    verify(f);
  } catch (const InternalError& e) {
    return e.what();
  }
  return "";
}

std::string error_in(std::string_view text) { return error_of(parse_function(text)); }

// The reason alone, of a body over X (input, 64), O (output, 64), N (shared int input, 8).
std::string reason(const std::string& body) {
  std::string e =
      error_in("func f(X: param f32[64], O: out f32[64], N: param i32[8]) {\n" + body + "\n}");
  return e;
}

void accepts(const std::string& body) { EXPECT_EQ(reason(body), "") << body; }
void refuses(const std::string& body, const std::string& why) {
  std::string e = reason(body);
  EXPECT_NE(e.find(why), std::string::npos) << body << "\n  gave: " << e;
  EXPECT_NE(e.find("function f"), std::string::npos) << e;
}

TEST(VerifyLoops, ErrorNamesFunctionStatementAndReason) {
  std::string e = reason("for i in 0..65 { O[i] = 1.0 }");
  EXPECT_NE(
      e.find("function f, O[i] = 1.0: stores to O above its 64 elements: the index spans 0..64"),
      std::string::npos)
      << e;
}

TEST(VerifyLoops, IndicesStayInside) {
  accepts("for i in 0..64 { O[i] = X[-i + 63] }");
  refuses("for i in 0..64 { O[i] = X[i + 1] }", "reads X above its 64 elements");
  refuses("for i in 0..64 { O[i] = X[i - 1] }", "reads X below its 64 elements");
  refuses("for i in 0..64 { O[-i] = 1.0 }", "stores to O below its 64 elements");
  accepts("for i in 0..min(99, 64) { O[i] = 1.0 }");
  accepts("for i in max(0, 2)..4 { O[i - 2] = 1.0 }");
  accepts("for i in 0..0 { O[i + 1000] = 1.0 }");
}

TEST(VerifyLoops, BoundsOfLoopsAreFacts) {
  accepts("for t in 0..7 { for i in 0..min(10, -10*t + 64) { O[10*t + i] = 1.0 } }");
  refuses("for t in 0..7 { for i in 0..10 { O[10*t + i] = 1.0 } }", "above");
  accepts("for t in 0..9 { for i in max(0, -t + 3)..8 { O[t + i - 3] = 1.0 } }");
  refuses("for t in 0..9 { for i in max(0, -t + 2)..8 { O[t + i - 3] = 1.0 } }", "below");
  accepts("for t in 0..9 { for i in 0..min(40, ceildiv(-t + 63, 2)) { O[2*i + t] = 1.0 } }");
  refuses("for t in 0..9 { for i in 0..min(40, ceildiv(-t + 66, 2)) { O[2*i + t] = 1.0 } }",
          "above");
  // Through two levels, and through a let.
  accepts("for a in 0..8 { for b in 0..min(3, -3*a + 20) { let y = 3*a + b { for x in 0..3 { O[3*y "
          "+ x] = 1.0 } } } }");
  refuses("for a in 0..8 { for b in 0..min(3, -3*a + 22) { let y = 3*a + b { for x in 0..3 { O[3*y "
          "+ x] = 1.0 } } } }",
          "above");
}

TEST(VerifyLoops, GuardsAreFacts) {
  accepts("for i in 0..64 { O[i] = select([i - 3] >= 0, X[i - 3], 0.0) }");
  accepts("for i in 0..64 { O[i] = select([i - 3] < 0, 0.0, X[i - 3]) }");
  refuses("for i in 0..64 { O[i] = select([i - 2] >= 0, X[i - 3], 0.0) }", "below");
  refuses("for i in 0..64 { O[i] = select([i - 3] >= 0, 0.0, X[i - 3]) }", "below");
  // A padded image of 8 by 8: four guards together.
  accepts("for y in 0..8 { for x in 0..8 { for ky in 0..3 { for kx in 0..3 { O[8*y + x] = "
          "select([y + ky - 1] >= 0 & [-y - ky + 8] >= 0 & [x + kx - 1] >= 0 & [-x - kx + 8] >= 0, "
          "X[8*y + x + 8*ky + kx - 9], 0.0) } } } }");
  refuses("for y in 0..8 { for x in 0..8 { for ky in 0..3 { for kx in 0..3 { O[8*y + x] = "
          "select([y + ky - 1] >= 0 & [-y - ky + 8] >= 0 & [x + kx - 1] >= 0, "
          "X[8*y + x + 8*ky + kx - 9], 0.0) } } } }",
          "above");
  accepts("for i in 0..99 { if [-i + 63] >= 0 { O[i] = 1.0 } else { O[i - 64] = 2.0 } }");
  refuses("for i in 0..99 { if [-i + 62] >= 0 { O[i] = 1.0 } else { O[i - 64] = 2.0 } }", "below");
  accepts("for i in 0..99 { if [i] < 64 & [i] > 1 { O[i - 2] = X[i] } }");
  refuses("for i in 0..99 { if [i] < 64 | [i] > 1 { O[i] = 0.0 } }", "above");
  // A shared part is checked where it is read, not where it was first guarded.
  refuses("for i in 0..64 { %0 = X[i - 1] O[i] = select([i - 1] >= 0, %0, 0.0) + select([i - 2] >= "
          "0, 0.0, %0) }",
          "below");
}

TEST(VerifyLoops, Atoms) {
  accepts("for i in 0..640 { O[{i / 10}] = X[{i % 64}] }");
  refuses("for i in 0..641 { O[{i / 10}] = 1.0 }", "above");
  // A guard of what is divided narrows the quotient, rounded down; also when the quotient was met
  // before.
  accepts("for i in 0..100 { for j in 0..4 { O[0] = X[{i / 7}] if [-i + 15] >= 0 { O[20*{i / 7} + "
          "4*j + {i / 8}] = 1.0 } } }");
  refuses("for i in 0..100 { for j in 0..4 { O[0] = X[{i / 7}] if [-i + 22] >= 0 { O[20*{i / 7} + "
          "4*j + {i / 8}] = 1.0 } } }",
          "above");
  // So do the bounds of a loop, two variables together.
  accepts("for a in 0..4 { for b in 0..min(4, -4*a + 14) { O[9*{4*a + b / 2} + 9] = 1.0 } }");
  refuses("for a in 0..4 { for b in 0..min(4, -4*a + 15) { O[9*{4*a + b / 2} + 9] = 1.0 } }",
          "above");
  accepts("for i in 0..64 { O[8*{i / 8} + {i % 8}] = 1.0 }");
  accepts("for i in 0..50 { O[8*{i / 7} + {i % 7}] = 1.0 }");
  accepts("for i in 0..64 { O[i - 8*{i / 8}] = 1.0 }");  // that is i % 8
  accepts("for i in 0..64 { O[i] = X[8*{(N[{i / 8}]) % 8} + {i % 8}] }");
  refuses("for i in 0..64 { O[i] = X[{(N[{i / 8}])}] }", "below");
  accepts("for i in 0..64 { O[i] = select([{(N[{i / 8}])}] >= 0 & [63 - {(N[{i / 8}])}] >= 0, "
          "X[{(N[{i / 8}])}], 0.0) }");
}

TEST(VerifyLoops, Variables) {
  refuses("for i in 0..4 { for i in 0..4 { O[i] = 1.0 } }", "variable i is bound already");
  refuses("for i in 0..4 { let i = 3 { O[i] = 1.0 } }", "variable i is bound already");
  accepts("for i in 0..4 { O[i] = 1.0 } for i in 0..64 { O[i] = 1.0 }");
  refuses("for i in 0..4 { O[i] = 1.0 } O[i] = 1.0", "variable i is not bound here");
  refuses("for i in 0..4 { O[i] = 1.0 } for j in 0..min(4, i) { O[j] = 1.0 }",
          "variable i is not bound here");
  Function f = parse_function("func f(O: out f32[4]) { }");
  f.body = make_store(0, Index(Aff::of(7)), constant(1));
  EXPECT_NE(error_of(f).find("variable 7 is not bound here"), std::string::npos);
}

TEST(VerifyLoops, Types) {
  Function f = parse_function("func f(X: param i32[4], O: out f32[4]) { }");
  auto with = [&](Expr value) {
    f.body = make_store(1, Index(0), value);
    return error_of(f);
  };
  EXPECT_EQ(with(constant(1)), "");
  EXPECT_NE(with(load(DType::I32, 0, {Index(0)})).find("a value of i32 is stored to O of f32"),
            std::string::npos);
  EXPECT_NE(with(load(DType::F32, 0, {Index(0)})).find("X of i32 is loaded as f32"),
            std::string::npos);
  EXPECT_NE(with(acc(DType::F32)).find("an accumulator outside a stage"), std::string::npos);
  EXPECT_NE(with(load(DType::F32, 1, {Index(0), Index(0)})).find("O is loaded with 2 indices"),
            std::string::npos);
  EXPECT_NE(with(load(DType::F32, 1, {Index(0)}, constant(0))).find("a load of O with a fill"),
            std::string::npos);
  EXPECT_NE(with(load(DType::F32, 9, {Index(0)})).find("buffer 9 of 2"), std::string::npos);
  f.body = make_store(0, Index(0), constant_int(1, DType::I32));
  EXPECT_NE(error_of(f).find("stores to X, an input"), std::string::npos);
}

TEST(VerifyLoops, Buffers) {
  accepts("alloc T: thread f32[4] { T[3] = 1.0 }");
  refuses("alloc T: thread f32[4] { T[3] = 1.0 } T[3] = 1.0", "T is used outside its alloc");
  refuses("alloc T: thread f32[4] { alloc T { T[3] = 1.0 } }", "buffer T is allocated already");
  refuses("alloc X { O[0] = X[0] }", "parameter X is allocated");
  Function f = parse_function("func f(O: out f32[4]) { O[0] = 1.0 }");
  f.buffers[0].scope = Scope::Thread;
  EXPECT_NE(error_of(f).find("parameter O has scope thread"), std::string::npos);
  f.buffers[0].scope = Scope::Param;
  f.buffers[0].align = 3;
  EXPECT_NE(error_of(f).find("buffer O is aligned to 3 bytes"), std::string::npos);
  f.buffers[0].align = 64;
  f.params = {0, 0};
  EXPECT_NE(error_of(f).find("buffer O is two parameters"), std::string::npos);
  f.params = {};
  EXPECT_NE(error_of(f).find("buffer O has scope param but is no parameter"), std::string::npos);
  f.params = {3};
  EXPECT_NE(error_of(f).find("parameter 3 of 1 buffers"), std::string::npos);
  f.params = {0};
  f.buffers[0].size = -1;
  EXPECT_NE(error_of(f).find("buffer O has -1 elements"), std::string::npos);
}

TEST(VerifyLoops, RegistersAreIndexedByUnrolledLoops) {
  accepts("alloc R: register f32[64] { unroll for i in 0..4 { vectorize for c in 0..16 { R[16*i + "
          "c] = 1.0 } } }");
  refuses("alloc R: register f32[64] { for i in 0..4 { vectorize for c in 0..16 { R[16*i + c] = "
          "1.0 } } }",
          "R is in registers but is indexed by i; unroll that loop");
  accepts("for t in 0..4 { alloc R: register f32[64] { unroll for i in 0..min(4, t) { R[i] = 1.0 } } }");
  accepts("alloc R: register f32[64] { unroll for i in 0..4 { let j = 3*i + 1 { R[j] = 1.0 } } }");
  refuses("for i in 0..4 { alloc R: register f32[64] { let j = 3*i + 1 { R[j] = 1.0 } } }",
          "is indexed by j");
  refuses("alloc R: register f32[64] { R[{(N[0]) % 64}] = 1.0 }", "is indexed by an atom");
}

TEST(VerifyLoops, VectorizedLoopsAreInnermostWithConstantBounds) {
  accepts("vectorize for c in 0..16 { O[c] = X[c] if [c - 3] >= 0 { O[c] = 2.0 } let d = c + 1 { "
          "O[d] = 1.0 } }");
  refuses("vectorize for c in 0..16 { for i in 0..2 { O[c] = 1.0 } }",
          "a vectorized loop holds stores, ifs and lets only");
  refuses("vectorize for c in 0..16 { alloc R: register f32[1] { R[0] = 1.0 } }",
          "holds stores, ifs and lets only");
  refuses("for t in 0..3 { vectorize for c in 0..min(16, t) { O[c] = 1.0 } }",
          "a vectorized loop has constant bounds");
}

TEST(VerifyLoops, ParallelLoops) {
  accepts("parallel for t in 0..8 { for i in 0..8 { O[8*t + i] = X[8*t + i] } }");
  accepts("parallel for t in 0..8 { for i in 0..8 { O[-8*t + i + 56] = 1.0 } }");
  refuses("parallel for t in 0..8 { for i in 0..9 { O[7*t + i] = 1.0 } }",
          "iterations of parallel loop t are not proved to touch different places of O");
  refuses("parallel for t in 0..8 { O[0] = 1.0 }", "iterations of parallel loop t");
  refuses("parallel for t in 0..8 { parallel for i in 0..8 { O[8*t + i] = 1.0 } }",
          "parallel loop i inside parallel loop t");
  refuses("parallel for t in 0..8 { barrier }", "a barrier inside parallel loop t");
  // Bounds that move with the thread.
  accepts("parallel for t in 0..4 { for y in max(0, 4*t)..min(16, 4*t + 4) { for x in 0..4 { O[4*y "
          "+ x] = 1.0 } } }");
  refuses("parallel for t in 0..4 { for y in max(0, 4*t)..min(16, 4*t + 5) { for x in 0..4 { O[4*y "
          "+ x] = 1.0 } } }",
          "iterations of");
  // A ragged end.
  accepts("parallel for t in 0..3 { for y in 0..min(6, -6*t + 16) { let r = 6*t + y { for x in "
          "0..4 { O[4*r + x] = 1.0 } } } }");
  // Fused loops.
  accepts("parallel for f in 0..16 { for c in 0..4 { O[16*{f / 4} + 4*{f % 4} + c] = 1.0 } }");
  refuses("parallel for f in 0..16 { for c in 0..5 { O[15*{f / 4} + 4*{f % 4} + c] = 1.0 } }",
          "iterations of");
  refuses("parallel for f in 0..16 { O[{f / 4}] = 1.0 }", "iterations of");
  accepts("parallel for f in 0..12 { for c in 0..2 { O[30*{f / 6} + 10*{f / 2 % 3} + 4*{f % 2} + "
          "c] = 1.0 } }");
  // Panels of columns, and one of the dimensions in blocks.
  accepts("parallel for n in 0..4 { for m in 0..4 { for c in 0..4 { O[4*n + 16*m + c] = 1.0 } } }");
  refuses("parallel for n in 0..4 { for m in 0..3 { for c in 0..5 { O[4*n + 16*m + c] = 1.0 } } }",
          "iterations of");
  refuses("parallel for n in 0..5 { for m in 0..3 { for c in 0..4 { O[4*n + 16*m + c] = 1.0 } } }",
          "iterations of");
  accepts("parallel for f in 0..8 { let m = {f / 4} { let n = {f % 4} { for y in 0..2 { for c in "
          "0..4 { O[32*m + 16*y + 4*n + c] = 1.0 } } } } }");
  accepts("parallel for y in 0..3 { for k in 0..2 { for r in 0..min(3, -3*y + 8) { for c in 0..4 { "
          "O[12*y + 4*r + 32*k + c] = 1.0 } } } }");
  refuses("parallel for y in 0..3 { for k in 0..2 { for r in 0..min(3, -3*y + 9) { for c in 0..4 { "
          "O[12*y + 4*r + 28*k + c] = 1.0 } } } }",
          "iterations of");
  // Rows in blocks of four, in shares of three: the block is not the thread's own.
  accepts("parallel for t in 0..2 { for y in 0..3 { for x in 0..4 { O[32*{3*t + y / 4} + 4*x + "
          "{3*t + y % 4}] = 1.0 } } }");
  refuses("parallel for t in 0..2 { for y in 0..4 { for x in 0..4 { O[32*{3*t + y / 4} + 4*x + "
          "{3*t + y % 4}] = 1.0 } } }",
          "iterations of");
  // Two statements, and a read of what another iteration writes.
  accepts("parallel for t in 0..8 { O[8*t] = 1.0 for i in 0..7 { O[8*t + i + 1] = O[8*t] } }");
  refuses("parallel for t in 0..8 { O[4*t] = 1.0 O[4*t + 8] = 2.0 }", ", here and in ");
  refuses("parallel for t in 0..8 { O[t + 1] = O[t] }", "iterations of");
  // Private memory.
  accepts("parallel for t in 0..8 { alloc T: thread f32[1] { T[0] = 1.0 O[t] = T[0] } }");
  refuses("alloc T: thread f32[9] { parallel for t in 0..8 { T[t] = 1.0 } }",
          "thread buffer T belongs to one thread but is used inside parallel loop t");
  refuses("parallel for t in 0..8 { alloc T: shared f32[1] { T[0] = 1.0 } }",
          "shared buffer T is allocated inside parallel loop t; move it outside");
}

TEST(VerifyLoops, BarriersStandBetweenDependentStatements) {
  accepts("alloc T: shared f32[8] { parallel for t in 0..8 { T[t] = 1.0 } barrier parallel for t "
          "in 0..8 { O[t] = T[-t + 7] } }");
  refuses("alloc T: shared f32[8] { parallel for t in 0..8 { T[t] = 1.0 } parallel for t in 0..8 { "
          "O[t] = T[-t + 7] } }",
          "reads T, which a parallel loop writes since the last barrier");
  refuses("alloc T: shared f32[8] { T[0] = 1.0 parallel for t in 0..8 { O[t] = T[0] } }",
          "reads T, which thread 0 writes since the last barrier");
  accepts("alloc T: shared f32[8] { T[0] = 1.0 O[0] = T[0] }");
  accepts("parallel for t in 0..8 { O[t] = X[t] } parallel for t in 0..8 { O[t + 8] = X[t] }");
  refuses("alloc T: shared f32[8] { for i in 0..3 { parallel for t in 0..8 { T[t] = 1.0 } barrier "
          "parallel for t in 0..8 { O[t] = T[t] } } }",
          "writes T, which a parallel loop reads since the last barrier");
  accepts("alloc T: shared f32[8] { for i in 0..3 { parallel for t in 0..8 { T[t] = 1.0 } barrier "
          "parallel for t in 0..8 { O[t] = T[t] } barrier } }");
}

const char* program_text = R"(program {
  bytes 64
  input x: f32[8] size 8
  output y: f32[8] size 8
  constant w: f32[] size 4 hash "1"
  arena a: f32[] size 8
  arena b: f32[] size 8 offset 32
  arena c: f32[] size 8
  inputs (x)
  outputs (y)
}
func f(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[i] } }
func g(X: param f32[4], Y: out f32[4]) { for i in 0..4 { Y[i] = X[i] } }
)";

std::string program_error(const std::string& steps, const std::string& from = "",
                          const std::string& to = "") {
  std::string text = program_text + steps;
  if (!from.empty()) text.replace(text.find(from), from.size(), to);
  try {
    verify(parse_program(text));
  } catch (const InternalError& e) {
    return e.what();
  }
  return "";
}

TEST(Verify, Runs) {
  auto error = [](const std::string& buffer, const std::string& body) -> std::string {
    try {
      verify(parse_function("func f(O: out f32[" + buffer + ") { " + body + " }"));
    } catch (const InternalError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(error("28] runs 4 of 8", "for i in 0..4 { for j in 0..4 { O[8*i + j] = 1.0 } }"), "");
  EXPECT_EQ(error("28] runs 4 of 8", "for i in 0..4 { for j in 0..4 { O[8*i - 1*j + 3] = 1.0 } }"), "");
  EXPECT_EQ(error("28] runs 4 of 8",
                  "for i in 0..16 { O[8*{i / 4} + {i % 4}] = 1.0 }"),
            "");
  EXPECT_EQ(error("28] runs 4 of 8",
                  "for i in 0..4 { for a in 0..2 { for b in 0..min(3, -3*a + 4) { O[8*i + 3*a + b] = 1.0 } } }"),
            "");
  auto refuses_run = [&](const std::string& buffer, const std::string& body, const std::string& why) {
    std::string e = error(buffer, body);
    EXPECT_NE(e.find(why), std::string::npos) << body << "\n gave: " << e;
  };
  refuses_run("28] runs 4 of 8", "for i in 0..3 { for j in 0..5 { O[8*i + j] = 1.0 } }",
              "stores to O between its runs of 4 elements every 8");
  refuses_run("28] runs 4 of 8", "for i in 0..28 { O[i] = 1.0 }", "between its runs");
  refuses_run("28] runs 4 of 8", "for i in 0..3 { O[8*i + 6] = 1.0 }", "between its runs");
  refuses_run("32] runs 4 of 8", "O[0] = 1.0", "buffer O of 32 elements has runs of 4 every 8");
}

TEST(Footprint, Meet) {
  // Against the bytes themselves.
  std::mt19937_64 random(5);
  auto pick = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  int apart = 0;
  for (int i = 0; i < 4000; ++i) {
    const int64_t pitch = 4 + pick(5);
    auto any = [&] {
      const int64_t first = pick(24);
      if (pick(3) == 0) return Footprint{first, first + pick(9)};
      const int64_t run = 1 + pick(pitch - 1);
      return Footprint{first, first + pitch * pick(4) + run, run, pitch};
    };
    auto holds = [](const Footprint& f, int64_t at) {
      return at >= f.first && at < f.last && (f.pitch == 0 || (at - f.first) % f.pitch < f.run);
    };
    const Footprint a = any(), b = any();
    bool shared = false, beside = a.first < b.last && b.first < a.last;
    for (int64_t at = 0; at < 80; ++at) shared |= holds(a, at) && holds(b, at);
    if (shared) {
      EXPECT_TRUE(meet(a, b)) << a.first << " " << b.first;
    }
    if (a.pitch && b.pitch && !shared && beside) apart += !meet(a, b);
  }
  EXPECT_GT(apart, 50) << "runs between runs are told apart";
}

TEST(VerifyProgram, Steps) {
  auto refuses_steps = [](const std::string& steps, const std::string& why,
                          const std::string& from = "", const std::string& to = "") {
    std::string e = program_error(steps, from, to);
    EXPECT_NE(e.find(why), std::string::npos) << steps << "\n gave: " << e;
  };
  EXPECT_EQ(program_error("step f(x, a) step f(a, b) step f(b, y)"), "");
  EXPECT_EQ(program_error("step f(x, a) step f(a, b) step f(b, c) step f(c, y)"), "");
  EXPECT_EQ(program_error("step g(x + 16, a + 16) step g(x, a) step f(a, y)"), "");
  refuses_steps("step f(x, a) step f(x, c) step f(a, y)",
                "f reads a, whose place in the arena another tensor has taken");
  refuses_steps("step f(a, y)", "f reads a, which no step has written");
  refuses_steps("step f(x, a)", "output y is written by no step");
  refuses_steps("step f(x, w) step f(x, y)",
                "f is given w of 4 elements from byte 0 on, as Y of 8 elements");
  refuses_steps("step g(x, w) step f(x, y)", "g writes w, an input or a constant");
  refuses_steps("step g(x + 20, y) step f(x, y)",
                "g is given x of 8 elements from byte 20 on, as X of 4 elements");
  refuses_steps("step g(x + 2, y) step f(x, y)", "from byte 2 on");
  refuses_steps("step f(x) step f(x, y)", "f is given 1 arguments, not 2");
  refuses_steps("step f(x, y)", "tensor b of 32 bytes at byte 32 leaves the arena of 60 bytes",
                "bytes 64", "bytes 60");
  refuses_steps("step f(x, y)", "tensor b of f32 stands at byte 30", "offset 32", "offset 30");
  refuses_steps("step f(x, y)", "tensor x of 8 elements has a shape of 7", "x: f32[8]",
                "x: f32[7]");
  refuses_steps("step f(x, y)", "tensor x is not listed among the inputs", "inputs (x)",
                "inputs ()");
  refuses_steps("step f(x, y)", "input y is a tensor of another kind", "inputs (x)",
                "inputs (x, y)");
  refuses_steps("step f(x, y)", "input x is listed twice", "inputs (x)", "inputs (x, x)");
  refuses_steps("step f(x, y)", "x of f32 as X of i32",
                "func f(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[i] } }",
                "func f(X: param i32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = f32(X[i]) } }");
  refuses_steps("step f(x, y)", "function f calls q, which is no function of the program",
                "Y[i] = X[i]", "call q(X[i])");
  refuses_steps("step f(x, y)", "function f calls g with 1 arguments, not 2", "Y[i] = X[i]",
                "call g(X[i])");
  // Columns 0-1 and 2-3 of two rows of four.
  const std::string left =
      "func h(X: param f32[6] runs 2 of 4, Y: out f32[6] runs 2 of 4) "
      "{ for i in 0..2 { for j in 0..2 { Y[4*i + j] = X[4*i + j] } } }\n";
  EXPECT_EQ(program_error("step h(x, y) step h(x, y + 8)", "func g", left + "func g"), "");
  EXPECT_EQ(program_error("step h(x, y) step h(y, y + 8)", "func g", left + "func g"), "");
  EXPECT_EQ(program_error("step h(x, a + 8) step h(a + 8, a) step f(a, y)", "func g", left + "func g"), "");
  refuses_steps("step h(x, y)", "of output y some elements are written by no step", "func g",
                left + "func g");
  refuses_steps("step h(x, a) step h(a + 8, y) step h(a, y + 8)",
                "h reads elements of a that no step has written", "func g", left + "func g");
  refuses_steps("step h(x, y) step h(y, y + 4)", "h writes y over y, which it still reads", "func g",
                left + "func g");
  Program p = parse_program(std::string(program_text) + "step f(x, y)");
  p.tensors[2].data = nullptr;
  EXPECT_THROW(verify(p), InternalError);
}

}  // namespace
}  // namespace burnish
