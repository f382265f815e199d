// Steps that become one, in the place of the first of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "graph/op.h"
#include "loop/interpreter.h"
#include "passes/loop/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

// A device that takes all steps together that may be, but for functions of these names.
class EagerTarget : public test::PlainTarget {
 public:
  explicit EagerTarget(std::set<std::string> apart = {}, bool device = true)
      : apart_(std::move(apart)) {
    machine_.device = device;
  }
  bool prefers_one_launch(std::span<const Function* const> functions) const override {
    for (const Function* f : functions)
      if (apart_.contains(f->name)) return false;
    return true;
  }

 private:
  std::set<std::string> apart_;
};

const char* const functions_text = R"(
func up(X: param f32[8], Y: out f32[8]) { parallel for i in 0..8 { Y[i] = X[i] + 1.0 } }
func half(X: param f32[4], Y: out f32[4]) { parallel for i in 0..4 { alloc T: stack f32[1] { T[0] = X[-i + 3] Y[i] = T[0] * 2.0 } } }
func both(X: param f32[8], Y: param f32[8], Z: out f32[8]) { for i in 0..min(8, 9) { let j = -i + 7 { Z[j] = X[j] - Y[j] } } }
)";

// Tensors a, b and c are in the arena.
Program program_of(const std::string& steps) {
  std::string text =
      "program { bytes 0 input x: f32[8] size 8 output y: f32[8] size 8 output z: f32[8] size 8\n";
  for (const char* name : {"a", "b", "c"})
    if (steps.find(fmt::format("({}", name)) != std::string::npos ||
        steps.find(fmt::format(" {}", name)) != std::string::npos)
      text += fmt::format("arena {}: f32[] size 8\n", name);
  return plan_arena(parse_program(text + "inputs (x) outputs (y, z) }" + functions_text + steps),
                    {});
}

Program joined_program(const std::string& steps, const Target& target) {
  Context c;
  c.target = &target;
  const Program before = program_of(steps);
  Program p = plan_arena(join_steps(before, c), c);
  verify(p);
  verify(parse_program(to_text(p)));
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8], z[8], wanted_y[8], wanted_z[8];
  interpret(before, {x}, {wanted_y, wanted_z});
  interpret(p, {x}, {y, z});
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(y[i], wanted_y[i]) << steps;
    EXPECT_EQ(z[i], wanted_z[i]) << steps;
  }
  return p;
}

std::string functions_of(const Program& p) {
  std::string out;
  for (const Step& s : p.steps) out += (out.empty() ? "" : " ") + p.functions[s.function].name;
  return out;
}
std::string joined_functions(const std::string& steps, const Target& target = EagerTarget()) {
  return functions_of(joined_program(steps, target));
}

TEST(JoinSteps, WhatDoesNotDependOnOneAnotherIsOneStep) {
  EXPECT_EQ(joined_functions("step up(x, y) step up(x, z)"), "up_and_up");
  EXPECT_EQ(joined_functions("step up(x, y) step up(y, z)"), "up up")
      << "the second reads what the first writes";
  EXPECT_EQ(joined_functions("step up(x, a) step up(x, b) step up(x, z) step both(a, b, y)"),
            "up_and_2_more both");
  EXPECT_EQ(joined_functions("step half(x, y) step half(x + 16, y + 16) step up(x, z)"),
            "half_and_2_more")
      << "halves of one tensor";
}

TEST(JoinSteps, StepsMoveForwardToThoseThatTheyMayJoin) {
  EXPECT_EQ(joined_functions("step up(x, a) step up(a, y) step up(x, b) step up(b, z)"),
            "up_and_up up_and_up");
  EXPECT_EQ(joined_functions("step up(x, a) step up(a, y) step up(x, a) step up(a, z)"),
            "up up up up")
      << "a is written again";
  EXPECT_EQ(
      joined_functions("step up(x, y) step half(x, z) step half(y + 16, z + 16) step up(x, a)"),
      "up_and_2_more half");
}

TEST(JoinSteps, TheTargetDecides) {
  EXPECT_EQ(joined_functions("step up(x, y) step half(x, z) step half(x + 16, z + 16)",
                             EagerTarget({"up"})),
            "up half_and_half");
  EXPECT_EQ(joined_functions("step up(x, y) step up(x, z)", EagerTarget({}, false)), "up up");
  EXPECT_EQ(joined_functions("step up(x, y) step up(x, z)", test::plain_target()), "up up");
}

TEST(JoinSteps, EqualSetsShareAFunctionAndOthersOfTheNameHaveTheirOwn) {
  const Program p = joined_program("step up(x, a) step up(x, b) step both(a, b, c) step up(c, a) "
                                   "step up(c, b) step both(a, b, y) step up(x, z)",
                                   EagerTarget({"both"}));
  EXPECT_EQ(functions_of(p), "up_and_2_more both up_and_up both");
  EXPECT_EQ(p.functions.size(), 3u);
  const Program q = joined_program(
      "step up(x, a) step both(x, x, b) step both(a, b, y) step up(a, z) step up(a, c)",
      EagerTarget());
  EXPECT_EQ(functions_of(q), "up_and_both both_and_2_more");
}

TEST(JoinSteps, RandomNetworks) {
  const EagerTarget target;
  size_t joined = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Graph g = test::random_network(seed);
    Context c;
    c.target = &target;
    c.options.verify = true;
    const Program p = compile_graph(g, c);
    c.options.disable = {"join_steps"};
    joined += compile_graph(g, c).steps.size() - p.steps.size();
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 1e-4,
                       fmt::format("seed {}", seed));
  }
  EXPECT_GT(joined, 0u);
}

}  // namespace
}  // namespace burnish
