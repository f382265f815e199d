// Forms that ONNX's own tests of today no longer show: older operator sets, functions, branches and
// loops.
#include <gtest/gtest.h>

#include "base/error.h"
#include "evaluate_graph.h"
#include "import/import.h"
#include "model_writer.h"

namespace burnish::test {
namespace {

using Values = std::vector<float>;

struct Result {
  Shape shape;
  Values values;
  friend bool operator==(const Result&, const Result&) = default;
};

void PrintTo(const Result& r, std::ostream* out) {
  *out << shape_text(r.shape) << " " << testing::PrintToString(r.values);
}

Result run(const GraphParts& p, const Shape& shape, const Values& x, int64_t version,
           const std::vector<Message>& functions = {}) {
  const Graph g =
      import_model(model(p, version, functions), "m.onnx", {}, {.shapes = {{"x", shape}}});
  const TensorPtr y = evaluate_graph(g, {floats(shape, x)}).at(0);
  return {y->shape, {y->data<float>(), y->data<float>() + y->size()}};
}

GraphParts around(std::vector<Message> nodes, std::vector<Message> initializers = {}) {
  return {.nodes = std::move(nodes),
          .initializers = std::move(initializers),
          .inputs = {value_info("x", kFloat, {"a"})},
          .outputs = {value_info("y", kFloat, {})}};
}

Result run_node(const std::string& op, const std::vector<Message>& attributes, int64_t version,
                const Shape& shape, const Values& x, std::vector<Message> initializers = {},
                std::vector<std::string> more = {}) {
  std::vector<std::string> in{"x"};
  in.insert(in.end(), more.begin(), more.end());
  GraphParts p = around({node(op, in, {"y"}, attributes)}, std::move(initializers));
  std::vector<Dim> dims;
  for (int64_t d : shape) dims.emplace_back(d);
  p.inputs = {value_info("x", kFloat, dims)};
  return run(p, shape, x, version);
}

Message floats_attribute(const std::string& name, const Values& vs) {
  Message m;
  m.bytes(1, name).number(20, 6);
  for (float v : vs) m.floating(7, v);
  return m;
}

TEST(Convert, OperandsAlignedAtAnAxisBeforeOpset7) {
  const Result got =
      run_node("Add", {int_attribute("broadcast", 1), int_attribute("axis", 0)}, 6, {2, 2},
               {1, 2, 3, 4}, {tensor("b", kFloat, {2}, raw<float>({10, 20}))}, {"b"});
  EXPECT_EQ(got, (Result{{2, 2}, {11, 12, 23, 24}}));
}

TEST(Convert, SliceByAttributes) {
  const Result got = run_node(
      "Slice",
      {ints_attribute("starts", {1}), ints_attribute("ends", {-1}), ints_attribute("axes", {0})}, 9,
      {4}, {1, 2, 3, 4});
  EXPECT_EQ(got, (Result{{2}, {2, 3}}));
}

TEST(Convert, PadByAttributes) {
  const Result got = run_node("Pad", {ints_attribute("pads", {1, 2}), float_attribute("value", 9)},
                              10, {2}, {1, 2});
  EXPECT_EQ(got, (Result{{5}, {9, 1, 2, 9, 9}}));
}

TEST(Convert, ClipByAttributes) {
  EXPECT_EQ(
      run_node("Clip", {float_attribute("min", 0), float_attribute("max", 6)}, 6, {3}, {-1, 3, 9}),
      (Result{{3}, {0, 3, 6}}));
  EXPECT_EQ(run_node("Clip", {float_attribute("max", 6)}, 6, {3}, {-1, 3, 9}),
            (Result{{3}, {-1, 3, 6}}));
  EXPECT_EQ(run_node("Clip", {}, 13, {3}, {-1, 3, 9}, {tensor("hi", kFloat, {}, raw<float>({2}))},
                     {"", "hi"}),
            (Result{{3}, {-1, 2, 2}}));
}

TEST(Convert, SoftmaxOverSeveralAxesBeforeOpset13) {
  const Result old = run_node("Softmax", {int_attribute("axis", 1)}, 11, {1, 2, 2}, {0, 0, 0, 0});
  EXPECT_EQ(old, (Result{{1, 2, 2}, {0.25f, 0.25f, 0.25f, 0.25f}}));
  const Result now = run_node("Softmax", {int_attribute("axis", 1)}, 13, {1, 2, 2}, {0, 0, 0, 0});
  EXPECT_EQ(now, (Result{{1, 2, 2}, {0.5f, 0.5f, 0.5f, 0.5f}}));
}

TEST(Convert, AxesAsAttributeAndAsInput) {
  EXPECT_EQ(run_node("Unsqueeze", {ints_attribute("axes", {0, -1})}, 11, {2}, {1, 2}).shape,
            (Shape{1, 2, 1}));
  EXPECT_EQ(run_node("Unsqueeze", {}, 13, {2}, {1, 2}, {int_tensor("a", {0, -1})}, {"a"}).shape,
            (Shape{1, 2, 1}));
  EXPECT_EQ(run_node("ReduceSum", {ints_attribute("axes", {0})}, 11, {2, 2}, {1, 2, 3, 4}),
            (Result{{1, 2}, {4, 6}}));
  EXPECT_EQ(run_node("ReduceSum", {int_attribute("keepdims", 0)}, 13, {2, 2}, {1, 2, 3, 4},
                     {int_tensor("a", {-1})}, {"a"}),
            (Result{{2}, {3, 7}}));
  EXPECT_EQ(
      run_node("ReduceSumSquare", {int_attribute("noop_with_empty_axes", 1)}, 18, {2}, {2, 3}),
      (Result{{2}, {4, 9}}));
}

TEST(Convert, UpsampleByAttribute) {
  const Result got =
      run_node("Upsample", {floats_attribute("scales", {1, 1, 1, 2})}, 7, {1, 1, 1, 2}, {1, 2});
  EXPECT_EQ(got, (Result{{1, 1, 1, 4}, {1, 1, 2, 2}}));
}

TEST(Convert, PaddingThatKeepsTheSize) {
  const Message ones = tensor("w", kFloat, {1, 1, 2}, raw<float>({1, 1}));
  EXPECT_EQ(run_node("Conv", {string_attribute("auto_pad", "SAME_UPPER")}, 11, {1, 1, 3}, {1, 2, 4},
                     {ones}, {"w"}),
            (Result{{1, 1, 3}, {3, 6, 4}}));
  EXPECT_EQ(run_node("Conv", {string_attribute("auto_pad", "SAME_LOWER")}, 11, {1, 1, 3}, {1, 2, 4},
                     {ones}, {"w"}),
            (Result{{1, 1, 3}, {1, 3, 6}}));
}

TEST(Convert, DropoutIsNothing) {
  EXPECT_EQ(run_node("Dropout", {float_attribute("ratio", 0.5f)}, 7, {2}, {1, 2}),
            (Result{{2}, {1, 2}}));
}

TEST(Convert, FunctionsWithAttributesAndDefaults) {
  // F(a; slope = 0.5) = LeakyRelu(a; alpha = slope)
  Message reference = Message().bytes(1, "alpha").bytes(21, "slope").number(20, 1);
  Message f;
  f.bytes(1, "F").bytes(4, "a").bytes(5, "b").message(7,
                                                      node("LeakyRelu", {"a"}, {"b"}, {reference}));
  f.message(9, opset("", 17)).bytes(10, "local").message(11, float_attribute("slope", 0.5f));
  GraphParts p = around({node("F", {"x"}, {"y"}, {}, "", "local")});
  EXPECT_EQ(run(p, {2}, {-4, 4}, 17, {f}), (Result{{2}, {-2, 4}}));
  p.nodes = {node("F", {"x"}, {"y"}, {float_attribute("slope", 0.25f)}, "", "local")};
  EXPECT_EQ(run(p, {2}, {-4, 4}, 17, {f}), (Result{{2}, {-1, 4}}));
}

TEST(Convert, KnownBranchesSeeTheNamesAroundThem) {
  const Message minus =
      graph({.nodes = {node("Neg", {"x"}, {"b"})}, .outputs = {value_info("b", kFloat, {})}});
  const Message same =
      graph({.nodes = {node("Identity", {"x"}, {"b"})}, .outputs = {value_info("b", kFloat, {})}});
  for (const bool yes : {true, false}) {
    const GraphParts p = around(
        {node("If", {"c"}, {"y"},
              {graph_attribute("then_branch", minus), graph_attribute("else_branch", same)})},
        {tensor("c", kBool, {}, std::string(1, yes ? '\1' : '\0'))});
    EXPECT_EQ(run(p, {2}, {1, 2}, 17), (Result{{2}, yes ? Values{-1, -2} : Values{1, 2}}));
  }
}

TEST(Convert, ABranchOnDataIsAGap) {
  const Message same =
      graph({.nodes = {node("Identity", {"x"}, {"b"})}, .outputs = {value_info("b", kFloat, {})}});
  const GraphParts p =
      around({node("ReduceSum", {"x"}, {"s"}, {int_attribute("keepdims", 0)}),
              node("Cast", {"s"}, {"c"}, {int_attribute("to", kBool)}),
              node("If", {"c"}, {"y"},
                   {graph_attribute("then_branch", same), graph_attribute("else_branch", same)})});
  EXPECT_THROW(run(p, {2}, {1, 2}, 17), Unsupported);
}

TEST(Convert, LoopsOfKnownLengthAreUnrolled) {
  // state = state + x, three times; every state is stacked.
  Message body = graph({.nodes = {node("Add", {"s", "x"}, {"t"}), node("Identity", {"c"}, {"go"}),
                                  node("Identity", {"t"}, {"e"})},
                        .inputs = {value_info("i", kInt64, {}), value_info("c", kBool, {}),
                                   value_info("s", kFloat, {})},
                        .outputs = {value_info("go", kBool, {}), value_info("t", kFloat, {}),
                                    value_info("e", kFloat, {})}});
  GraphParts p =
      around({node("Loop", {"m", "", "x"}, {"last", "y"}, {graph_attribute("body", body)})},
             {tensor("m", kInt64, {}, raw<int64_t>({3}))});
  EXPECT_EQ(run(p, {2}, {1, 2}, 17), (Result{{3, 2}, {2, 4, 3, 6, 4, 8}}));
  p.initializers = {tensor("m", kInt64, {}, raw<int64_t>({int64_t{1} << 40}))};
  EXPECT_THROW(run(p, {2}, {1, 2}, 17), Unsupported);
}

TEST(Convert, ShapesComputedByTheModel) {
  // y = Reshape(x, [Shape(x)[1], -1]): nothing of it is left but the reshape.
  GraphParts p = around({node("Shape", {"x"}, {"s"}), node("Gather", {"s", "one"}, {"d"}),
                         node("Concat", {"d", "rest"}, {"t"}, {int_attribute("axis", 0)}),
                         node("Reshape", {"x", "t"}, {"y"})},
                        {int_tensor("one", {1}), int_tensor("rest", {-1})});
  p.inputs = {value_info("x", kFloat, {"a", "b", "c"})};
  const Graph g = import_model(model(p), "m.onnx", {}, {.shapes = {{"x", {2, 3, 4}}}});
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.type(g.outputs[0]).shape, (Shape{3, 8}));
}

TEST(Convert, InputsFixedToValues) {
  GraphParts p = around({node("Reshape", {"x", "shape"}, {"y"})});
  p.inputs = {value_info("x", kFloat, {4}), value_info("shape", kInt64, {2})};
  EXPECT_THROW(import_model(model(p), "m.onnx", {}), Unsupported);
  auto shape = std::make_shared<Tensor>(DType::I64, Shape{2});
  shape->data<int64_t>()[0] = shape->data<int64_t>()[1] = 2;
  const Graph g = import_model(model(p), "m.onnx", {}, {.constants = {{"shape", shape}}});
  EXPECT_EQ(g.inputs.size(), 1u);
  EXPECT_EQ(g.type(g.outputs[0]).shape, (Shape{2, 2}));
  EXPECT_THROW(import_model(model(p), "m.onnx", {}, {.constants = {{"nothing", shape}}}),
               UserError);
}

TEST(Convert, TypedTensorDataAndHalf) {
  // float_data, and f16 as bits in int32_data
  Message w =
      Message().number(1, 2).number(2, kFloat).bytes(8, "w").floating(4, 1.5f).floating(4, -2);
  EXPECT_EQ(run_node("Add", {}, 17, {2}, {0, 0}, {w}, {"w"}), (Result{{2}, {1.5f, -2}}));
  Message h =
      Message().number(1, 2).number(2, kHalf).bytes(8, "h").number(5, 0x3e00).number(5, 0xc000);
  const GraphParts p = around(
      {node("Cast", {"h"}, {"f"}, {int_attribute("to", kFloat)}), node("Add", {"x", "f"}, {"y"})},
      {h});
  EXPECT_EQ(run(p, {2}, {0, 0}, 17), (Result{{2}, {1.5f, -2}}));
}

}  // namespace
}  // namespace burnish::test
