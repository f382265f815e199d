// Attention written out in products and softmax, and the transposes around it.
#include <gtest/gtest.h>

#include "graph/op.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

class OneNest : public test::PlainTarget {
 public:
  bool prefers_one_nest(const StageGroup&) const override { return true; }
};

Graph one_head_each(std::string_view scaling, std::string_view extra = "") {
  return parse_graph(std::string(R"(graph g {
  input %x: f32[1,5,8]
  input %mask: f32[1,1,1,5]
  const %heads: i64[4] = [1, 5, 2, 4]
  const %whole: i64[3] = [1, 5, 8]
  const %c: f32[] = [3.0]
  %r: f32[1,5,2,4] = reshape(%x, %heads)
  %q: f32[1,2,5,4] = transpose(%r) {perm=[0,2,1,3]}
  %k: f32[1,2,4,5] = transpose(%r) {perm=[0,2,3,1]}
  %v: f32[1,2,5,4] = transpose(%r) {perm=[0,2,1,3]}
)") + std::string(scaling) +
                     R"(
  %p: f32[1,2,5,5] = softmax(%m) {axis=3}
  %o: f32[1,2,5,4] = matmul(%p, %v)
  %t: f32[1,5,2,4] = transpose(%o) {perm=[0,2,1,3]}
  %y: f32[1,5,8] = reshape(%t, %whole)
  output %y)" + std::string(extra) +
                     R"(
})");
}

const std::string_view divided = R"(  %s: f32[1,2,5,5] = matmul(%q, %k)
  %d: f32[1,2,5,5] = div(%s, %c)
  %m: f32[1,2,5,5] = add(%mask, %d))";
const std::string_view before = R"(  %qs: f32[1,2,5,4] = mul(%c, %q)
  %s: f32[1,2,5,5] = matmul(%qs, %k)
  %m: f32[1,2,5,5] = mul(%s, %c))";

std::vector<const Node*> attentions(const Graph& g) {
  std::vector<const Node*> found;
  for (const Node& n : g.nodes) {
    if (n.op->name == "attention") found.push_back(&n);
  }
  return found;
}

TEST(RecognizeAttention, WithItsScaleAndMask) {
  const OneNest target;
  Context c;
  c.target = &target;
  for (const auto& [text, scale, operands] :
       {std::tuple{divided, 1.0 / 3, size_t{4}}, {before, 9.0, size_t{3}}}) {
    const Graph g = one_head_each(text);
    const Graph after = recognize_attention(g, c);
    verify(after);
    const auto found = attentions(after);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_DOUBLE_EQ(found[0]->attrs.f("scale", 1), scale);
    EXPECT_EQ(found[0]->inputs.size(), operands);
    const std::vector<Tensor> inputs = test::random_inputs(g, 3);
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-5,
                       "attention");
  }
}

TEST(RecognizeAttention, NotWhereScoresAreReadElsewhereNorWhereTheTargetPrefersKernels) {
  const OneNest target;
  Context c;
  c.target = &target;
  for (const char* extra : {", %p", ", %d", ", %s"}) {
    EXPECT_TRUE(attentions(recognize_attention(one_head_each(divided, extra), c)).empty()) << extra;
  }
  c.target = &test::plain_target();
  EXPECT_TRUE(attentions(recognize_attention(one_head_each(divided), c)).empty());
}

TEST(RecognizeAttention, TransposesAroundItAreViews) {
  const OneNest target;
  Context c;
  c.target = &target;
  const Graph g = one_head_each(divided);
  const Graph after = choose_layout(recognize_attention(g, c), c);
  verify(after);
  int transposes = 0;
  for (const Node& n : after.nodes) {
    if (n.op->name != "transpose") continue;
    EXPECT_TRUE(is_view(after, n)) << to_text(after);
    ++transposes;
  }
  EXPECT_EQ(transposes, 4);
  const std::vector<Tensor> inputs = test::random_inputs(g, 3);
  const Program p = compile_graph(g, c);
  test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 1e-5,
                     "program");
}

}  // namespace
}  // namespace burnish
