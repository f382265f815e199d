// Barriers: between which steps one is needed, and that the interpreter agrees.
#include <fmt/format.h>
#include <gtest/gtest.h>

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

TEST(Barriers, ADroppedOneTooManyIsARace) {
  Program p = parse_program(std::string(program_text) + "step shared(x, a) step alone(a, y)");
  p = plan_arena(p, {});
  p.steps[0].barrier = false;
  float x[8] = {}, y[8];
  EXPECT_THROW(interpret(p, {x}, {y}), InternalError);
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
