// Barriers: between which steps one is needed, and that the interpreter agrees.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "loop/interpreter.h"
#include "passes/loop/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

const char* const program_text = R"(program {
  bytes 0
  input x: f32[8] size 8
  output y: f32[8] size 8
  arena a: f32[] size 8
  arena b: f32[] size 8
  arena c: f32[] size 8
  inputs (x)
  outputs (y)
}
func alone(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[-i + 7] } }
func temporary(X: param f32[8], Y: out f32[8]) {
  alloc T: shared f32[8] { for i in 0..8 { T[i] = X[i] } for i in 0..8 { Y[i] = T[-i + 7] } }
}
func half(X: param f32[4], Y: out f32[4]) { parallel for i in 0..4 { Y[i] = X[-i + 3] } }
func shared(X: param f32[8], Y: out f32[8]) { parallel for i in 0..8 { Y[i] = X[-i + 7] } }
)";

// One letter a step but the last: is there a barrier after it?
std::string barriers(const std::string& steps) {
  const Program p = plan_arena(drop_barriers(parse_program(program_text + steps), {}), {});
  verify(p);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
  interpret(p, {x}, {y});
  std::string out;
  for (size_t i = 0; i + 1 < p.steps.size(); ++i) out += p.steps[i].barrier ? 'B' : '-';
  EXPECT_EQ(y[0] + y[7], 9) << steps;
  return out;
}

TEST(Barriers, OneThreadNeedsNoneBetweenItsSteps) {
  EXPECT_EQ(barriers("step alone(x, a) step alone(a, b) step alone(b, y)"), "--");
  EXPECT_EQ(barriers("step shared(x, a) step shared(a, b) step shared(b, y)"), "BB");
  EXPECT_EQ(barriers("step shared(x, a) step alone(a, b) step alone(b, c) step shared(c, y)"),
            "B-B");
  EXPECT_EQ(barriers("step alone(x, a) step shared(x, b) step alone(a, c) step alone(c, y)"), "---")
      << "what others do meanwhile is apart";
  EXPECT_EQ(barriers("step temporary(x, a) step temporary(a, b) step temporary(b, y)"), "--");
}

TEST(Barriers, SlicesThatDoNotMeetNeedNoneButTheirReadersDo) {
  EXPECT_EQ(barriers("step half(x, a) step half(x + 16, a + 16) step shared(a, y)"), "-B");
  EXPECT_EQ(
      barriers("step shared(x, a) step half(a, b) step half(a + 16, b + 16) step shared(b, y)"),
      "B-B");
}

TEST(Barriers, ADroppedOneTooManyIsARace) {
  Program p = parse_program(std::string(program_text) + "step shared(x, a) step alone(a, y)");
  p = plan_arena(p, {});
  p.steps[0].barrier = false;
  float x[8] = {}, y[8];
  EXPECT_THROW(interpret(p, {x}, {y}), InternalError);
}

// Each thread finds its own rows; others' it waits for.
TEST(Barriers, ThreadsKeepTheirRows) {
  const std::string rows = R"(
func rows(X: param f32[8], Y: out f32[8]) { parallel for i in 0..4 { for j in 0..2 { Y[2*i + j] = X[2*i + j] } } }
func turned(X: param f32[8], Y: out f32[8]) { parallel for i in 0..4 { for j in 0..2 { Y[2*i + j] = X[-2*i - j + 7] } } }
func halo(X: param f32[8], Y: out f32[8]) {
  parallel for i in 0..4 { for j in 0..2 { Y[2*i + j] = select([2*i + j - 1] >= 0, X[2*i + j - 1], 8.0) } }
}
func single(X: param f32[8], Y: out f32[8]) { parallel for i in 0..8 { Y[i] = X[i] } }
)";
  const auto kept = [&](const std::string& steps) {
    const Program p = plan_arena(drop_barriers(parse_program(program_text + rows + steps), {}), {});
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
    interpret(p, {x}, {y});
    std::string out;
    for (size_t i = 0; i + 1 < p.steps.size(); ++i) out += p.steps[i].barrier ? 'B' : '-';
    return out;
  };
  EXPECT_EQ(kept("step rows(x, a) step rows(a, b) step rows(b, y)"), "--");
  EXPECT_EQ(kept("step rows(x, a) step turned(a, b) step rows(b, y)"), "B-");
  EXPECT_EQ(kept("step turned(x, a) step rows(a, b) step halo(b, y)"), "-B");
  EXPECT_EQ(kept("step rows(x, a) step single(a, b) step rows(b, y)"), "BB")
      << "shares of 8 and of 4 are not cut alike";
  EXPECT_EQ(kept("step rows(x, a) step alone(a, y)"), "B");
  EXPECT_EQ(kept("step rows(x, a) step rows(a, b) step turned(a, y)"), "-B")
      << "not only of the step just before";
}

// Two loops over as many iterations, with random places: a barrier goes exactly where no thread
// count makes a race.
TEST(Barriers, RandomRowsAgreeWithTheInterpreter) {
  const uint64_t seed = 11;
  std::mt19937_64 random(seed);
  int dropped = 0, needed = 0, unproved = 0;
  for (int round = 0; round < 200; ++round) {
    const int64_t n = 1 + static_cast<int64_t>(random() % 5),
                  row = 1 + static_cast<int64_t>(random() % 4);
    const int64_t size = n * row, shift = static_cast<int64_t>(random() % 3) - 1,
                  reads = 1 + static_cast<int64_t>(random() % 4);
    const std::string at = fmt::format("{}*i + j", row);
    const std::string from = fmt::format("{}*i + k{:+}", row, shift);
    const std::string text = fmt::format(R"(program {{
  bytes 0
  input x: f32[{0}] size {0}
  output y: f32[{0}] size {0}
  arena a: f32[] size {0}
  inputs (x)
  outputs (y)
}}
func first(X: param f32[{0}], Y: out f32[{0}]) {{ parallel for i in 0..{1} {{ for j in 0..{2} {{ Y[{3}] = X[{3}] }} }} }}
func second(X: param f32[{0}], Y: out f32[{0}]) {{
  parallel for i in 0..{1} {{
    for j in 0..{2} {{ Y[{3}] = 0.0 }}
    for k in 0..{4} {{ for j in 0..{2} {{ Y[{3}] = select([{5}] >= 0 & [-{2}*i - k + {6}] >= 0, X[{5}], 0.0) }} }}
  }}
}}
step first(x, a) step second(a, y)
)",
                                         size, n, row, at, reads, from, size - 1 - shift);
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round << "\n" << text);
    const Program p = plan_arena(drop_barriers(parse_program(text), {}), {});
    std::vector<float> x(static_cast<size_t>(size), 1.0F), y(x.size());
    Program without = p;
    without.steps[0].barrier = false;
    bool race = false;
    try {
      interpret(without, {x.data()}, {y.data()});
    } catch (const InternalError&) {
      race = true;
    }
    EXPECT_FALSE(race && !p.steps[0].barrier);
    dropped += !p.steps[0].barrier;
    needed += race;
    unproved += !race && p.steps[0].barrier;
  }
  EXPECT_GT(dropped, 20);
  EXPECT_GT(needed, 20);
  EXPECT_LE(unproved, 20);
}

// What thread 0 does alone is over when it begins the next: its places in the arena are free.
TEST(Barriers, PlacesAreFreeStepByStep) {
  const std::string chain = "step alone(x, a) step alone(a, b) step alone(b, c) step alone(c, y)";
  EXPECT_EQ(plan_arena(drop_barriers(parse_program(program_text + chain), {}), {}).arena_bytes,
            128);
  // A shared step in between may be running at any time of these.
  const std::string beside = "step alone(x, a) step alone(a, b) step shared(x, c) step alone(b, y)";
  const Program p = plan_arena(drop_barriers(parse_program(program_text + beside), {}), {});
  EXPECT_FALSE(p.steps[1].barrier);
  EXPECT_EQ(p.arena_bytes, 192);
}

}  // namespace
}  // namespace burnish
