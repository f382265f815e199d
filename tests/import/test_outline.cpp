// What is told of a model whose sizes are open.
#include <gtest/gtest.h>

#include "base/error.h"
#include "import/import.h"
#include "model_writer.h"

namespace burnish::test {
namespace {

using Strings = std::vector<std::string>;
using Counts = std::map<std::string, int64_t>;

std::optional<ModelOutline> outline(const std::string& bytes, const ImportOptions& options = {}) {
  return outline_of_open_model(bytes, "m.onnx", {}, options);
}

GraphParts open_parts() {
  Message value = Message().bytes(1, "value").number(20, 4);
  value.message(5, tensor("", kFloat, {5}, raw<float>({1, 2, 3, 4, 5})));
  return {.nodes = {node("Constant", {}, {"c"}, {value}), node("Mul", {"x", "c"}, {"a"}),
                    node("Add", {"a", "b"}, {"d"}), node("Add", {"d", "w"}, {"y"})},
          .initializers = {tensor("w", kFloat, {4, 5}, raw(std::vector<float>(20)))},
          .inputs = {value_info("x", kFloat, {"batch", "height", 5}),
                     value_info("b", kHalf, {1, "?", 5}), value_info("w", kFloat, {4, 5})},
          .outputs = {value_info("y", kFloat, {"batch", "height", 5})}};
}

TEST(Outline, PortsOperatorsAndParameters) {
  const auto o = outline(model(open_parts()));
  ASSERT_TRUE(o.has_value());
  ASSERT_EQ(o->inputs.size(), 2u);  // w is a weight
  EXPECT_EQ(o->inputs[0].name, "x");
  EXPECT_EQ(o->inputs[0].dtype, "f32");
  EXPECT_EQ(o->inputs[0].dims, (Strings{"batch", "height", "5"}));
  EXPECT_EQ(o->inputs[1].dtype, "f16");
  EXPECT_EQ(o->inputs[1].dims, (Strings{"1", "?", "5"}));
  ASSERT_EQ(o->outputs.size(), 1u);
  EXPECT_EQ(o->outputs[0].dims, (Strings{"batch", "height", "5"}));
  EXPECT_EQ(o->operators, (Counts{{"Mul", 1}, {"Add", 2}}));
  EXPECT_EQ(o->parameters, 25);
}

TEST(Outline, GivenSizesAreFilledInUntilNoneIsOpen) {
  const std::string m = model(open_parts());
  const auto o = outline(m, {.shapes = {{"x", {2, 4, -1}}}});
  ASSERT_TRUE(o.has_value());
  EXPECT_EQ(o->inputs[0].dims, (Strings{"2", "4", "5"}));
  EXPECT_EQ(o->inputs[1].dims, (Strings{"1", "?", "5"}));
  EXPECT_FALSE(outline(m, {.shapes = {{"x", {2, 4, 5}}, {"b", {1, 4, 5}}}}).has_value());
  GraphParts p = open_parts();
  p.inputs = {value_info("x", kFloat, {"batch", 4, 5}), value_info("b", kFloat, {"batch", 4, 5})};
  EXPECT_FALSE(outline(model(p)).has_value());  // a free batch is 1
}

TEST(Outline, AnInputWithoutAnyShape) {
  GraphParts p = open_parts();
  p.inputs[0] =
      Message().bytes(1, "x").message(2, Message().message(1, Message().number(1, kFloat)));
  const auto o = outline(model(p));
  ASSERT_TRUE(o.has_value());
  EXPECT_FALSE(o->inputs[0].has_shape);
  try {
    import_model(model(p), "m.onnx", {});
    FAIL() << "no error";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("input 'x', which declares no shape"), std::string::npos)
        << e.what();
    EXPECT_NE(std::string(e.what()).find("--shape x=1x3x224x224"), std::string::npos) << e.what();
  }
}

std::string failure(const std::string& bytes) {
  try {
    outline(bytes);
  } catch (const UserError& e) {
    return e.what();
  } catch (const Unsupported& e) {
    return std::string("unsupported: ") + e.what();
  }
  return "";
}

TEST(Outline, AllUnknownOperatorsAreListed) {
  const GraphParts branch{.nodes = {node("Inner", {"x"}, {"i"}, {}, "inside")},
                          .outputs = {value_info("i", kFloat, {})}};
  GraphParts p = open_parts();
  p.nodes.push_back(node("Magic", {"x"}, {"m"}, {}, "m1"));
  p.nodes.push_back(node("Fused", {"m"}, {"n"}, {}, "", "com.vendor"));
  p.nodes.push_back(node("If", {"n"}, {"o"},
                         {graph_attribute("then_branch", graph(branch)),
                          graph_attribute("else_branch", graph(branch))},
                         "choice"));
  const std::string message = failure(model(p));
  for (const char* part : {"unsupported: m.onnx", "Magic (1x)", "m1", "com.vendor.Fused (1x)",
                           "Fused#5", "Inner (2x)", "choice/inside"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  }
}

TEST(Outline, WhatIsBrokenWithoutSizesIsFound) {
  GraphParts p = open_parts();
  p.initializers = {tensor("w", kFloat, {2'500'000'000}, "abcd")};
  EXPECT_NE(failure(model(p)).find("tensor 'w'"), std::string::npos);
  p = open_parts();
  p.nodes.push_back(node("Relu", {"ghost"}, {"z"}, {}, "act"));
  EXPECT_NE(failure(model(p)).find("'ghost'"), std::string::npos);
  p = open_parts();
  p.initializers = {tensor("w", kFloat, {int64_t{1} << 40, int64_t{1} << 40}, "")};
  EXPECT_NE(failure(model(p)).find("overflows"), std::string::npos);
}

}  // namespace
}  // namespace burnish::test
