// The arena: what shares memory, what must not, and that the verifier and the interpreter agree.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "loop/interpreter.h"
#include "passes/loop/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

bool overwrites(const std::string& body, const std::string& in = "param f32[8]") {
  return may_overwrite(
      parse_function(fmt::format("func f(X: {}, V: param f32[8], N: param i32[8], Y: out f32[8]) {{ {} }}", in, body)),
      0, 3);
}

TEST(Arena, OutputsInThePlaceOfInputs) {
  EXPECT_TRUE(overwrites("for i in 0..8 { Y[i] = X[i] * X[i] }"));
  EXPECT_TRUE(overwrites("parallel for i in 0..4 { vectorize for j in 0..2 { Y[2*i + j] = X[2*i + j] + V[-i + 7] } }"));
  EXPECT_TRUE(overwrites("for i in 0..4 { Y[i] = X[i] } for i in 0..4 { Y[i + 4] = neg(X[i + 4]) }"));
  EXPECT_TRUE(overwrites("for i in 0..8 { Y[i] = V[i] }")) << "not reading at all";
  EXPECT_TRUE(overwrites("parallel for p in 0..8 { let a = {p / 4} { let b = {p % 4} { Y[4*a + b] = X[4*a + b] } } }"))
      << "loops that were fused";
  EXPECT_FALSE(overwrites("for p in 0..8 { let a = {p / 4} { let b = {p % 4} { Y[4*a + b] = X[4*b + a] } } }"));
  EXPECT_FALSE(overwrites("for i in 0..8 { Y[i] = X[-i + 7] }")) << "another element";
  EXPECT_FALSE(overwrites("for i in 0..8 { Y[i] = X[i] + X[0] }")) << "one element again and again";
  EXPECT_FALSE(overwrites("for i in 0..4 { Y[i] = X[i] } for i in 0..5 { Y[i + 3] = X[i + 3] }")) << "written twice";
  EXPECT_FALSE(overwrites("for i in 0..8 { Y[i] = V[i] Y[i] = Y[i] + X[i] }")) << "written before it is read";
  EXPECT_FALSE(overwrites("alloc T: register f32[2] { for i in 0..4 { unroll for j in 0..2 { T[j] = X[2*i + j] } "
                          "unroll for j in 0..2 { Y[2*i + j] = T[j] } } }"))
      << "read by another statement";
  EXPECT_FALSE(overwrites("for i in 0..7 { Y[i] = X[i] }", "param f32[7]")) << "of another size";
}

const char* const program_text = R"(program {
  bytes 0
  input x: f32[8] size 8
  output y: f32[8] size 8
  arena a: f32[] size 8
  arena b: f32[] size 8
  arena c: f32[] size 8
  arena d: f32[] size 8
  inputs (x)
  outputs (y)
}
func neg(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = neg(X[i]) } }
func reverse(X: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[-i + 7] } }
func add(X: param f32[8], Z: param f32[8], Y: out f32[8]) { for i in 0..8 { Y[i] = X[i] + Z[i] } }
)";

Program planned(const std::string& steps) {
  const Program p = plan_arena(parse_program(program_text + steps), {});
  verify(p);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
  interpret(p, {x}, {y});
  return p;
}

TEST(Arena, InPlace) {
  // One place for a chain; a second one where elements change places.
  EXPECT_EQ(planned("step neg(x, a) step neg(a, b) step neg(b, c) step neg(c, y)").arena_bytes, 64);
  EXPECT_EQ(planned("step neg(x, a) step reverse(a, b) step neg(b, c) step neg(c, y)").arena_bytes, 128);
  // The sum may go into either operand, but not into one that is read later.
  EXPECT_EQ(planned("step neg(x, a) step reverse(a, b) step add(a, b, c) step neg(c, y)").arena_bytes, 128);
  const Program p = planned("step neg(x, a) step reverse(a, b) step add(a, b, c) step add(c, a, y)");
  EXPECT_EQ(p.tensors[4].offset, p.tensors[3].offset) << "c in the place of b";
  EXPECT_NE(p.tensors[4].offset, p.tensors[2].offset);
}

TEST(Arena, ReversingInPlaceIsRefused) {
  Program p = planned("step neg(x, a) step reverse(a, b) step neg(b, y)");
  p.tensors[3].offset = p.tensors[2].offset;
  try {
    verify(p);
    ADD_FAILURE() << "accepted";
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("reverse writes b over a, which it still reads"), std::string::npos)
        << e.what();
  }
  float x[8] = {}, y[8];
  EXPECT_THROW(interpret(p, {x}, {y}), InternalError);
}

// Without a barrier another thread may still read what a step would write over.
TEST(Arena, NotInPlaceWithinAnEpoch) {
  std::string text = program_text;
  for (size_t at = 0; (at = text.find("for i", at)) != std::string::npos; at += 15) text.insert(at, "parallel ");
  Program p = parse_program(text + "step neg(x, a) step neg(a, b) step reverse(a, c) "
                                                        "step add(b, c, y)");
  p.steps[1].barrier = false;
  Program late = p;
  std::swap(late.steps[1], late.steps[2]);
  late.steps[1].barrier = false;
  late.steps[2].barrier = true;
  for (const Program& q : {plan_arena(p, {}), plan_arena(late, {})}) {
    verify(q);
    EXPECT_NE(q.tensors[2].offset, q.tensors[3].offset);
    EXPECT_NE(q.tensors[2].offset, q.tensors[4].offset);
  }
}

// Random networks: some step writes over its input, and the interpreter finds what the graph says.
TEST(Arena, RandomNetworks) {
  int in_place = 0;
  for (uint64_t seed = 100; seed < 130; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph g = test::random_network(seed);
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    Context context;
    context.target = &test::plain_target();
    context.options.verify = true;
    context.options.disable = {"fuse_chains"};
    const Program p = compile_graph(g, context);
    for (const Step& s : p.steps) {
      const Function& f = p.functions[s.function];
      for (size_t i = 0; i + 1 < s.args.size(); ++i) {
        const ProgramTensor &a = p.tensors[s.args[i]], &b = p.tensors[s.args.back()];
        in_place += a.kind == TensorKind::Arena && b.kind == TensorKind::Arena && a.offset == b.offset &&
                    !f.buffers[f.params[i]].written;
      }
    }
    test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 1e-4, "program");
  }
  EXPECT_GT(in_place, 0);
}

}  // namespace
}  // namespace burnish
