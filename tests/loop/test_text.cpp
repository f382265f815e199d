// Functions and programs as text.
#include <gtest/gtest.h>

#include "base/error.h"
#include "loop/program.h"
#include "random_function.h"

namespace burnish {
namespace {

const char* example = R"(func conv(X: param f32[4096], O: out f32[1024]) {
  parallel for t in 0..2 {
    alloc E: thread f32[512] align 128 {
      for y in max(0, t - 3)..min(8, 68*t + 4, ceildiv(t + 9, 2)) {
        unroll for c in 0..16 {
          alloc sum: register f32[16] {
            %0 = X[16*y + c]
            E[16*y + c] = max(%0 + 1.5, 0.0) * %0
            if [y - 1] >= 0 & [-y + 7] >= 0 {
              sum[c] = select([y - 4] >= 0, E[16*y + c - 64], 0.0)
            } else {
              sum[c] = 0.0
            }
            let row = c + 8*{y / 2 % 3} {
              O[row] = sum[c]
            }
          }
        }
      }
    }
  }
  barrier
  while O[0] < 3.0 {
    O[0] = O[0] + 1.0
  }
  call helper(X[0], O[16])
}
)";

std::string error_of(std::string_view text) {
  try {
    parse_function(text);
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

TEST(LoopText, ExampleReadsBackAsItself) {
  Function f = parse_function(example);
  EXPECT_EQ(to_text(f), example);
  EXPECT_EQ(f.vars, (std::vector<std::string>{"t", "y", "c", "row"}));
  EXPECT_EQ(f.params, (std::vector<BufferId>{0, 1}));
  EXPECT_TRUE(f.buffers[1].written);
  EXPECT_EQ(f.buffers[2].align, 128);
}

// Numbers that the order of the text does not give are written as tables.
TEST(LoopText, KeepsNumbers) {
  Function f;
  f.name = "g";
  f.add_buffer({.name = "unused", .dtype = DType::F32, .scope = Scope::Shared, .size = 3});
  BufferId x = f.add_buffer({.name = "X", .dtype = DType::F32, .size = 8});
  BufferId y = f.add_buffer({.name = "X", .dtype = DType::F32, .size = 8, .written = true});
  f.fresh("i");
  VarId v = f.fresh("i");
  f.body = make_for({.var = v, .extent = 8},
                    make_store(y, Index(Aff::of(v)), load(DType::F32, x, {Index(Aff::of(v))})));
  EXPECT_EQ(to_text(f), "func g(X: param f32[8], X#2: out f32[8]) {\n"
                        "  vars i, i#1\n"
                        "  buffers unused: shared f32[3], X, X#2\n"
                        "  for i#1 in 0..8 {\n"
                        "    X#2[i#1] = X[i#1]\n"
                        "  }\n"
                        "}\n");
  Function back = parse_function(to_text(f));
  EXPECT_TRUE(equal(back.body, f.body));
  EXPECT_EQ(back.params, f.params);
  EXPECT_EQ(back.vars, f.vars);
  EXPECT_EQ(to_text(back), to_text(f));
}

TEST(LoopText, RandomFunctionsRoundTrip) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Function f = test::RandomFunction(seed).make();
    std::string once = to_text(f);
    Function back;
    ASSERT_NO_THROW(back = parse_function(once)) << once;
    ASSERT_EQ(to_text(back), once);
    ASSERT_TRUE(equal(back.body, f.body)) << once;
    ASSERT_EQ(back.vars, f.vars);
    ASSERT_EQ(back.params, f.params);
    ASSERT_EQ(back.buffers.size(), f.buffers.size());
  }
}

TEST(LoopText, SurvivesDamage) {
  std::mt19937_64 rng(11);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string t = example;
    if (i % 2)
      t[rng() % t.size()] = "()[]{}%@.,0'\"-\n\\#:ex"[rng() % 21];
    else
      t.resize(rng() % t.size());
    refused += !error_of(t).empty();
  }
  EXPECT_GT(refused, 2000);
}

TEST(LoopText, SaysWhatIsWrongAndWhere) {
  auto in = [](const std::string& body) { return "func f(X: out f32[8]) {\n" + body + "\n}"; };
  EXPECT_EQ(error_of(in("Y[0] = 1.0")), "function, line 2: buffer Y is not declared");
  EXPECT_EQ(error_of(in("X[i] = 1.0")), "function, line 2: i is not a variable in scope");
  EXPECT_EQ(error_of(in("for i in 1..3 { }")),
            "function, line 2: a loop begins at 0, or at max(0, ...)");
  EXPECT_EQ(error_of(in("for i in 0..-3 { }")), "function, line 2: a loop's extent is -3");
  EXPECT_EQ(error_of(in("for i in max(0, i)..3 { }")),
            "function, line 2: a loop's bound uses the loop's own variable");
  EXPECT_EQ(error_of(in("for i in 0..min(3, ceildiv(4, 0)) { }")),
            "function, line 2: a loop bound is divided by 0");
  EXPECT_EQ(error_of(in("if 1 { }")), "function, line 2: the condition of if is i64");
  EXPECT_EQ(error_of(in("alloc Q { }")), "function, line 2: Q is not declared");
  EXPECT_EQ(error_of(in("alloc Q: heap f32[3] { }")),
            "function, line 2: 'heap' is not a scope: param, out, shared, thread, stack, register");
  EXPECT_EQ(error_of(in("alloc Q: thread f32[-3] { }")),
            "function, line 2: a buffer of -3 elements");
  EXPECT_EQ(error_of(in("alloc X: thread f32[3] { }")),
            "function, line 2: buffer X is declared twice");
  EXPECT_EQ(error_of("func f() {"), "function, line 1: expected '}', found the end");
  EXPECT_EQ(error_of("func f() { } 3"), "function, line 1: expected the end, found '3'");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "for i in 0..2 { ";
  EXPECT_EQ(error_of(in(deep)), "function, line 2: statements nested deeper than 200");
}

TEST(LoopText, ProgramsRoundTrip) {
  const char* text = R"(program {
  bytes 128
  input x: f32[1, 8] size 8
  output y: f32[1, 8] size 8
  constant w: f32[] size 4 offset 64 hash "0123456789abcdef"
  arena t: f32[] size 16 offset 64
  arena t#4: f32[] size 16
  inputs (x)
  outputs (y)
}

func a(X: param f32[8], Y: out f32[8]) {
  for i in 0..8 {
    Y[i] = X[i] + 1.0
  }
}

func a#1(X: param f32[8], W: param f32[4], Y: out f32[8]) {
  for i in 0..8 {
    Y[i] = X[i] * W[{i % 4}]
  }
}

step a(x, t + 32) nobarrier macs 8 bytes 64 from "conv \"1\"", "relu" schedule "split y\n"
step a#1(t + 32, w, y)
)";
  Program p = parse_program(text);
  EXPECT_EQ(to_text(p), text);
  EXPECT_EQ(p.functions[1].name, "a");
  EXPECT_EQ(p.steps[0].offsets, (std::vector<int64_t>{0, 32}));
  EXPECT_EQ(p.steps[0].sources[0], "conv \"1\"");
  EXPECT_EQ(p.tensors[2].data->size(), 16u);
  std::string broken(text);
  broken.replace(broken.find("a#1(t"), 5, "b(t");
  EXPECT_THROW(parse_program(broken), UserError);
  std::string huge(text);
  huge.replace(huge.find("size 4 "), 7, "size 999999999999 ");
  EXPECT_THROW(parse_program(huge), UserError);
}

}  // namespace
}  // namespace burnish
