// Text in, text out, one case a rule. test_passes --update rewrites tests/passes/golden.
#include <fmt/format.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

using GraphFunction = Graph (*)(const Graph&, const Context&);

struct Case {
  const char* name;
  GraphFunction pass;
  const char* text;
};

constexpr Case cases[] = {
    {"fold_constants", fold_constants, R"(graph g {
  input %x: f32[2]
  const %a: f32[2] = [1.0, 2.0]
  const %b: f32[2] = [3.0, 4.0]
  %c: f32[2] = mul(%a, %b)
  %y: f32[2] = add(%x, %c)
  output %y
})"},
    {"simplify_moves", simplify, R"(graph g {
  input %x: f32[1,4,3]
  const %s1: i64[2] = [4, 3]
  const %s2: i64[3] = [1, 2, 6]
  %a: f32[4,3] = reshape(%x, %s1) from "a"
  %b: f32[1,2,6] = reshape(%a, %s2) from "b"
  %t: f32[6,1,2] = transpose(%b) {perm=[2,0,1]}
  %u: f32[1,2,6] = transpose(%t) {perm=[1,2,0]}
  %v: f32[1,2,6] = concat(%u) {axis=0}
  %i: f32[1,2,6] = identity(%v)
  %y: f32[1,2,6] = relu(%i)
  output %y
})"},
    {"simplify_gates", simplify, R"(graph g {
  input %x: f32[8]
  const %three: f32[] = [3.0]
  const %zero: f32[] = [0.0]
  const %six: f32[] = [6.0]
  const %sixth: f32[] = [0.1666666716337204]
  %s: f32[8] = sigmoid(%x)
  %silu: f32[8] = mul(%s, %x)
  %a: f32[8] = add(%silu, %three)
  %c: f32[8] = clip(%a, %zero, %six)
  %d: f32[8] = mul(%c, %sixth)
  %e: f32[8] = mul(%silu, %d)
  %h: f32[8] = hard_sigmoid(%e) {alpha=0.1666666716337204, beta=0.5}
  %y: f32[8] = mul(%e, %h)
  output %y
})"},
    {"simplify_gelu", simplify, R"(graph g {
  input %x: f32[8]
  const %root: f32[] = [1.4142135381698608]
  const %one: f32[] = [1.0]
  const %half: f32[] = [0.5]
  const %c: f32[] = [0.7978845834732056]
  const %cubic: f32[] = [0.044714998453855515]
  const %three: f32[] = [3.0]
  %a: f32[8] = div(%x, %root)
  %b: f32[8] = erf(%a)
  %d: f32[8] = add(%b, %one)
  %e: f32[8] = mul(%x, %d)
  %erf: f32[8] = mul(%e, %half)
  %f: f32[8] = pow(%erf, %three)
  %g: f32[8] = mul(%cubic, %f)
  %h: f32[8] = add(%erf, %g)
  %i: f32[8] = mul(%h, %c)
  %j: f32[8] = tanh(%i)
  %k: f32[8] = add(%one, %j)
  %l: f32[8] = mul(%half, %erf)
  %tanh: f32[8] = mul(%l, %k)
  %m: f32[8] = erf(%tanh)
  %n: f32[8] = add(%m, %one)
  %other: f32[8] = mul(%tanh, %n)
  output %other
})"},
    {"simplify_layer_norm", simplify, R"(graph g {
  input %x: f32[2,3,4]
  input %scale: f32[4]
  const %two: f32[] = [2.0]
  const %epsilon: f32[] = [0.0009765625]
  const %bias: f32[1,4] = [1.0, 2.0, 3.0, 4.0]
  %mean: f32[2,3,1] = reduce_mean(%x) {axes=[-1], keepdims=1}
  %centred: f32[2,3,4] = sub(%x, %mean)
  %again: f32[2,3,4] = sub(%x, %mean)
  %square: f32[2,3,4] = pow(%again, %two)
  %variance: f32[2,3,1] = reduce_mean(%square) {axes=[2], keepdims=1}
  %sum: f32[2,3,1] = add(%variance, %epsilon)
  %root: f32[2,3,1] = sqrt(%sum)
  %hat: f32[2,3,4] = div(%centred, %root)
  %scaled: f32[2,3,4] = mul(%scale, %hat)
  %y: f32[2,3,4] = add(%scaled, %bias)
  %shifted: f32[2,3,4] = add(%scaled, %centred)
  output %y, %shifted
})"},
    {"simplify_pad", simplify, R"(graph g {
  input %x: f32[1,1,5,5]
  const %w: f32[1,1,3,3] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
  const %p: i64[8] = [0, 0, 1, 1, 0, 0, 0, 1]
  const %q: i64[8] = [0, 1, 0, 0, 0, 0, 0, 0]
  %a: f32[1,1,6,7] = pad(%x, %p) from "pad"
  %y: f32[1,1,6,7] = conv(%a, %w) {pads=[1,1,1,1]} from "conv"
  %b: f32[1,2,5,5] = pad(%x, %q) from "channels"
  output %y, %b
})"},
    {"fold_batch_norm", fold_batch_norm, R"(graph g {
  input %x: f32[1,1,2,2]
  const %w: f32[2,1,1,1] = [1.0, 2.0]
  const %scale: f32[2] = [2.0, 3.0]
  const %bias: f32[2] = [0.5, 0.25]
  const %mean: f32[2] = [1.0, 1.0]
  const %var: f32[2] = [3.0, 8.0]
  const %m: f32[2,1,1] = [10.0, 20.0]
  %c: f32[1,2,2,2] = conv(%x, %w) from "conv"
  %n: f32[1,2,2,2] = batch_norm(%c, %scale, %bias, %mean, %var) {epsilon=1.0} from "norm"
  %y: f32[1,2,2,2] = mul(%m, %n) from "mul"
  output %y
})"},
    {"fold_batch_norm_alone", fold_batch_norm, R"(graph g {
  input %x: f32[1,2,2,2]
  const %scale: f32[2] = [2.0, 3.0]
  const %bias: f32[2] = [0.5, 0.25]
  const %mean: f32[2] = [1.0, 1.0]
  const %var: f32[2] = [3.0, 8.0]
  %y: f32[1,2,2,2] = batch_norm(%x, %scale, %bias, %mean, %var) {epsilon=1.0} from "norm"
  output %y
})"},
    {"common_subexpressions", common_subexpressions, R"(graph g {
  input %x: f32[2]
  const %a: f32[2] = [1.0, 2.0]
  const %b: f32[2] = [1.0, 2.0]
  %p: f32[2] = mul(%x, %a) from "first"
  %q: f32[2] = mul(%x, %b) from "second"
  %y: f32[2] = add(%p, %q)
  output %y
})"},
    {"dead_code", dead_code, R"(graph g {
  input %x: f32[2]
  const %a: f32[2] = [1.0, 2.0]
  %p: f32[2] = mul(%x, %a)
  %y: f32[2] = relu(%x)
  output %y
})"},
    {"choose_layout", choose_layout, R"(graph g {
  input %x: f32[1,3,4,4]
  const %w: f32[8,3,1,1] = #1
  const %v: f32[8,8,1,1] = #2
  const %s: i64[2] = [8, 16]
  %a: f32[1,8,4,4] = conv(%x, %w)
  %b: f32[1,8,4,4] = relu(%a)
  %c: f32[1,8,4,4] = conv(%b, %v)
  %d: f32[1,8,4,4] = add(%c, %b)
  %r: f32[8,16] = reshape(%d, %s)
  %t: f32[1,4,4,8] = transpose(%d) {perm=[0,2,3,1]}
  output %r, %t, %d
})"},
    {"fuse", fuse, R"(graph g {
  input %x: f32[1,4,4,4]
  const %w: f32[4,4,1,1] = #1
  %a: f32[1,4,4,4] = conv(%x, %w) from "a"
  %b: f32[1,4,4,4] = sigmoid(%a) from "b"
  %c: f32[1,4,4,4] = mul(%a, %b) from "c"
  %d: f32[1,4,4,4] = conv(%c, %w) from "d"
  %e: f32[1,4,4,4] = add(%d, %c) from "e"
  %f: f32[1,4,4,4] = relu(%e) from "f"
  %g: f32[1,4,1,1] = global_average_pool(%f) from "g"
  %h: f32[1,4,4,4] = mul(%f, %g) from "h"
  output %h
})"},
};

TEST(Golden, Passes) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Graph g = parse_graph(c.text);
    verify(g);
    const Graph after = c.pass(g, {});
    verify(after);
    const std::vector<Tensor> inputs = test::random_inputs(g, 7);
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-5, c.name);
    test::expect_golden(c.name, to_text(g) + "\n-> " + c.name + "\n\n" + to_text(after));
  }
}

// The flag's own test: a difference fails, and under --update it becomes the expected text.
TEST(Golden, UpdateRewritesTheExpectedText) {
  static const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "burnish_golden";
  std::filesystem::remove_all(folder);
  const bool asked = std::exchange(test::update_golden, true);
  test::expect_golden("case", "old\n", folder);
  test::update_golden = false;
  EXPECT_NONFATAL_FAILURE(test::expect_golden("case", "new\n", folder), "--update rewrites");
  test::update_golden = true;
  test::expect_golden("case", "new\n", folder);
  test::update_golden = false;
  test::expect_golden("case", "new\n", folder);
  test::update_golden = asked;
}

// What looks like a layer norm up to one condition stays as it is.
TEST(Recognize, NearlyLayerNorms) {
  struct Norm {
    const char *mean = "reduce_mean(%x) {axes=[1], keepdims=1}", *mean_type = "f32[4,1]", *square = "mul(%c, %c)",
               *variance = "reduce_mean(%s) {axes=[1], keepdims=1}", *variance_type = "f32[4,1]";
  };
  const auto recognised = [](const Norm& n) {
    const Graph g = parse_graph(fmt::format(R"(graph g {{
  input %x: f32[4,4]
  input %z: f32[4,4]
  input %scale: f32[4]
  const %epsilon: f32[] = [0.0009765625]
  const %bias: f32[4] = [1.0, 2.0, 3.0, 4.0]
  %m: {} = {}
  %c: f32[4,4] = sub(%x, %m)
  %s: f32[4,4] = {}
  %v: {} = {}
  %e: {} = add(%v, %epsilon)
  %r: {} = sqrt(%e)
  %h: f32[4,4] = div(%c, %r)
  %t: f32[4,4] = mul(%h, %scale)
  %y: f32[4,4] = add(%t, %bias)
  output %y
}})",
                                            n.mean_type, n.mean, n.square, n.variance_type, n.variance, n.variance_type,
                                            n.variance_type));
    return to_text(simplify(g, {})).find("layer_norm") != std::string::npos;
  };
  EXPECT_TRUE(recognised({}));
  EXPECT_FALSE(recognised({.mean = "reduce_mean(%x) {axes=[0], keepdims=1}", .mean_type = "f32[1,4]"})) << "other axes";
  EXPECT_FALSE(recognised({.mean = "reduce_mean(%x) {axes=[0], keepdims=1}",
                           .mean_type = "f32[1,4]",
                           .variance = "reduce_mean(%s) {axes=[0], keepdims=1}",
                           .variance_type = "f32[1,4]"}))
      << "not the last axes";
  EXPECT_FALSE(recognised({.mean = "reduce_mean(%x) {axes=[1], keepdims=0}",
                           .mean_type = "f32[4]",
                           .variance = "reduce_mean(%s) {axes=[1], keepdims=0}",
                           .variance_type = "f32[4]"}))
      << "means of rows, subtracted from columns";
  EXPECT_FALSE(recognised({.mean = "reduce_mean(%z) {axes=[1], keepdims=1}"})) << "the mean of another tensor";
  EXPECT_FALSE(recognised({.square = "mul(%c, %x)"})) << "no square";
  EXPECT_FALSE(recognised({.square = "mul(%z, %z)"})) << "the square of another tensor";
}

}  // namespace
}  // namespace burnish
