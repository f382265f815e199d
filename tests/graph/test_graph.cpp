#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace burnish {
namespace {

template <class F>
std::string user_error(F f) {
  try {
    f();
  } catch (const UserError& e) {
    return e.what();
  }
  return "no UserError";
}

Graph small() {
  return parse_graph(R"(graph small {
  input %x: f32[1,3,4,4]
  const %w: f32[2,3,1,1] = [0.5, 1.0, -1.0, 2.0, 0.25, 1.0]
  %y: f32[1,2,4,4]{0,2,3,1} = conv(%x, %w, _) {groups=1} from "conv one"
  %"odd name": f32[1,2,4,4] = relu(%y)
  output %"odd name"
}
)");
}

TEST(Graph, TextRoundTrips) {
  const std::string text = to_text(small());
  EXPECT_EQ(to_text(parse_graph(text)), text);
  EXPECT_NE(text.find("%\"odd name\": f32[1,2,4,4] = relu(%y)"), std::string::npos) << text;
}

TEST(Graph, UnknownAttributeNamesOperatorAttributeAndSource) {
  Graph g = small();
  Attrs attrs;
  attrs.set("strids", std::vector<int64_t>{1, 1});
  const std::string e = user_error([&] { g.add(op_named("conv"), {0, 1}, attrs, "node7"); });
  for (const char* part : {"conv", "strids", "node7"}) EXPECT_NE(e.find(part), std::string::npos) << e;
}

TEST(Graph, AttributeOfAnotherTypeIsRefused) {
  Graph g = small();
  Attrs attrs;
  attrs.set("strides", int64_t{1});
  const std::string e = user_error([&] { g.add(op_named("conv"), {0, 1}, attrs, "node7"); });
  EXPECT_NE(e.find("must be integers, but it is an integer"), std::string::npos) << e;
}

TEST(Graph, ElementCountRefusesOverflowAndNegatives) {
  EXPECT_EQ(element_count({2, 3, 4}), 24);
  EXPECT_EQ(element_count({}), 1);
  EXPECT_THROW(element_count({int64_t{1} << 40, int64_t{1} << 40}), UserError);
  EXPECT_THROW(element_count({-1}), UserError);
}

TEST(Graph, ParserNamesTheLine) {
  const std::string e = user_error([] { parse_graph("graph g {\n  input %x: f32[1]\n  %y: f32[1] = nope(%x)\n}"); });
  EXPECT_NE(e.find("line 3"), std::string::npos) << e;
  EXPECT_NE(e.find("nope"), std::string::npos) << e;
}

TEST(Graph, ParserRefusesBrokenText) {
  const std::string text = to_text(small());
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_THROW(parse_graph(text.substr(0, length)), UserError) << text.substr(0, length);
  }
  EXPECT_THROW(parse_graph("graph g { input %x: f32[99999999999,99999999999] }"), UserError);
  EXPECT_THROW(parse_graph("graph g { const %x: f32[9999999999] = #00 }"), UserError);
}

TEST(Graph, VerifyFindsATypeThatInferDoesNotGive) {
  Graph g = small();
  g.values[g.nodes[1].outputs[0]].type.shape = {1, 2, 4, 5};
  EXPECT_THROW(verify(g), InternalError);
}

TEST(Graph, VerifyFindsAReaderBeforeItsProducer) {
  Graph g = small();
  verify(g);
  std::swap(g.nodes[0], g.nodes[1]);
  EXPECT_THROW(verify(g), InternalError);
}

TEST(Graph, DeadCodeKeepsInputsAndDropsTheRest) {
  Graph g = small();
  g.add(op_named("relu"), {0}, {}, "dead");
  g.add_input("unused", {DType::F32, {1}, {}});
  const Graph live = without_dead_code(g);
  EXPECT_EQ(live.nodes.size(), 2u);
  EXPECT_EQ(live.inputs.size(), 2u);
  verify(live);
}

TEST(Graph, RewriterKeepsOutputNamesWhenAnInputBecomesAnOutput) {
  const Graph g = small();
  GraphRewriter rewriter(g);
  rewriter.set(g.outputs[0], rewriter.map(g.inputs[0]));
  const Graph out = rewriter.finish();
  EXPECT_EQ(out.values[out.outputs[0]].name, "odd name");
  EXPECT_EQ(out.values[out.inputs[0]].name, "x");
}

TEST(Graph, ConsumersNameEachReaderOnce) {
  Graph g = small();
  const ValueId y = g.nodes[0].outputs[0];
  g.add(op_named("add"), {y, y}, {}, "twice");
  EXPECT_EQ(consumers(g)[y], (std::vector<NodeId>{1, 2}));
}

TEST(Graph, EvaluatesANodeOfConstants) {
  Graph g = small();
  const ValueId w = 1;
  const ValueId doubled = g.add(op_named("add"), {w, w}, {}, "");
  const auto values = evaluate_node(g, g.nodes[g.values[doubled].producer]);
  ASSERT_EQ(values.size(), 1u);
  EXPECT_EQ(values[0]->get(3).f, 4.0);
  EXPECT_TRUE(evaluate_node(g, g.nodes[0]).empty());
}

}  // namespace
}  // namespace burnish
