// Copies of parts that whoever makes the whole stores in their place.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "loop/interpreter.h"
#include "passes/loop/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

const char* const functions_text = R"(
func up(X: param f32[12], Y: out f32[12]) { parallel for i in 0..12 { Y[i] = X[i] + 1.0 } }
func turned(X: param f32[12], Y: out f32[12]) { parallel for i in 0..3 { for j in 0..4 { let k = {-4*i - j + 11} { Y[k] = X[4*i + j] } } } }
func vectors(X: param f32[12], Y: out f32[12]) { parallel for i in 0..3 { vectorize for j in 0..4 { Y[4*i + j] = X[4*i + j] * 2.0 } } }
func summed(X: param f32[12], Y: out f32[12]) { parallel for i in 0..12 { Y[i] = 0.0 for k in 0..2 { Y[i] = Y[i] + X[i] } } }
func twice(X: param f32[12], Y: out f32[12], Z: out f32[4]) { parallel for i in 0..12 { Y[i] = X[i] + 1.0 } parallel for i in 0..4 { Z[i] = X[i] } }
func copy4(X: param f32[4], Y: out f32[4]) { parallel for i in 0..4 { Y[i] = X[i] } }
func copy8(X: param f32[8], Y: out f32[8]) { parallel for i in 0..2 { vectorize for j in 0..4 { Y[4*i + j] = X[4*i + j] } } }
func copy6(X: param f32[6], Y: out f32[6]) { for i in 0..6 { Y[i] = X[i] } }
func back4(X: param f32[4], Y: out f32[4]) { for i in 0..4 { Y[i] = X[-i + 3] } }
func add8(X: param f32[12], Y: param f32[8], Z: out f32[8]) { for i in 0..8 { Z[i] = X[i] - Y[i] } }
)";

Program program_of(const std::string& steps) {
  std::string text = "program { bytes 0 input x: f32[12] size 12 output y: f32[4] size 4 output z: f32[8] size 8 output v: f32[6] size 6 arena a: f32[] size 12\n";
  if (steps.find(" b)") != std::string::npos) text += "arena b: f32[] size 8\n";
  return plan_arena(parse_program(text + "inputs (x) outputs (y, z, v) }" + functions_text + steps), {});
}

// The functions of the steps that are left, which do the same.
std::string left(const std::string& steps, const Target& target) {
  const Context c{.target = &target};
  const Program before = program_of(steps);
  const Program p = plan_arena(elide_copies(before, c), c);
  verify(p);
  verify(parse_program(to_text(p)));
  float x[12], y[4] = {}, z[8] = {}, v[6] = {}, wanted_y[4] = {}, wanted_z[8] = {}, wanted_v[6] = {};
  for (int i = 0; i < 12; ++i) x[i] = static_cast<float>(i * i);
  interpret(before, {x}, {wanted_y, wanted_z, wanted_v});
  interpret(p, {x}, {y, z, v});
  const auto same = [&](const float* got, const float* wanted, int n) {
    for (int i = 0; i < n; ++i) EXPECT_EQ(got[i], wanted[i]) << steps << " at " << i;
  };
  same(y, wanted_y, 4);
  same(z, wanted_z, 8);
  same(v, wanted_v, 6);
  std::string out;
  for (const Step& s : p.steps) out += (out.empty() ? "" : " ") + p.functions[s.function].name;
  return out;
}

TEST(ElideCopies, PartsAreStoredInTheirPlaces) {
  const test::PlainDevice device;
  const std::string rest = " step copy6(x, v)";
  EXPECT_EQ(left("step up(x, a) step copy4(a, y) step copy8(a + 16, z)" + rest, device), "up copy6");
  EXPECT_EQ(left("step turned(x, a) step copy4(a, y) step copy8(a + 16, z)" + rest, device), "turned copy6") << "by a variable";
  EXPECT_EQ(left("step vectors(x, a) step copy4(a + 32, y) step copy8(a, z)" + rest, device), "vectors copy6");
  EXPECT_EQ(left("step up(x, a) step copy4(a + 8, y) step copy8(a + 16, z)" + rest, device), "up copy6") << "parts that share elements, others that nobody wants";
  EXPECT_EQ(left("step twice(x, a, y) step copy8(a + 8, z)" + rest, device), "twice copy6") << "another output stays";
  EXPECT_EQ(left("step up(x, a) step copy4(a, y) step copy8(a + 16, b) step add8(x, b, z)" + rest, device), "up add8 copy6") << "parts may be read";
}

TEST(ElideCopies, WhereCopiesStay) {
  const test::PlainDevice device;
  const std::string rest = " step copy6(x, v)";
  EXPECT_EQ(left("step up(x, a) step copy4(a, y) step copy8(a + 16, z)" + rest, test::plain_target()), "up copy4 copy8 copy6") << "on a CPU";
  EXPECT_EQ(left("step summed(x, a) step copy4(a, y) step copy8(a + 16, z)" + rest, device), "summed copy4 copy8 copy6") << "read by its maker";
  EXPECT_EQ(left("step up(x, a) step back4(a, y) step copy8(a + 16, z)" + rest, device), "up back4 copy8 copy6") << "another order";
  EXPECT_EQ(left("step up(x, a) step copy4(a, y) step copy8(a, b) step add8(a, b, z)" + rest, device), "up copy4 copy8 add8 copy6") << "somebody reads the whole";
  EXPECT_EQ(left("step vectors(x, a) step copy4(a, y) step copy8(x, z) step copy6(a + 8, v)", device), "vectors copy4 copy8 copy6") << "vectors across the parts' ends";
  EXPECT_EQ(left("step up(x, a) step copy4(a, y) step up(x, a) step copy8(a, z)" + rest, device), "up copy4 up copy8 copy6") << "written twice";
}

TEST(ElideCopies, RandomNetworks) {
  const test::PlainDevice device;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Graph g = test::random_network(seed);
    Context c{.target = &device};
    c.options.verify = true;
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    test::expect_close(test::interpret_program(compile_graph(g, c), g, inputs), test::evaluate_graph(g, inputs), 1e-4, fmt::format("seed {}", seed));
  }
}

}  // namespace
}  // namespace burnish
