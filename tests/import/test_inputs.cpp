// Which shapes the inputs of a model take.
#include <gtest/gtest.h>

#include "base/error.h"
#include "import/import.h"
#include "model_writer.h"

namespace burnish::test {
namespace {

std::string pass_through(const std::vector<Dim>& dims) {
  return model({.nodes = {node("Relu", {"x"}, {"y"})},
                .inputs = {value_info("x", kFloat, dims)},
                .outputs = {value_info("y", kFloat, {})}});
}

Shape output_shape(const std::string& bytes, const ImportOptions& options = {}) {
  const Graph g = import_model(bytes, "m.onnx", {}, options);
  return g.type(g.outputs.at(0)).shape;
}

std::string failure(const std::string& bytes, const ImportOptions& options = {}) {
  try {
    import_model(bytes, "m.onnx", {}, options);
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Inputs, FixedShapesAreTaken) {
  EXPECT_EQ(output_shape(pass_through({2, 3, 4})), (Shape{2, 3, 4}));
}

TEST(Inputs, GivenShapesBeatDeclaredOnes) {
  EXPECT_EQ(output_shape(pass_through({10, 3, 32, 32}), {.shapes = {{"x", {1, 3, 544, 960}}}}),
            (Shape{1, 3, 544, 960}));
  EXPECT_EQ(output_shape(pass_through({10, 3, 32, 32}), {.shapes = {{"x", {-1, -1, 64, 96}}}}),
            (Shape{10, 3, 64, 96}));
}

TEST(Inputs, AFreeBatchIsOne) {
  EXPECT_EQ(output_shape(pass_through({"batch", 3, 8, 8})), (Shape{1, 3, 8, 8}));
}

TEST(Inputs, AllFreeSizesAreListedWithAnExample) {
  const std::string message = failure(pass_through({"N", 3, "height", "?"}));
  for (const char* part :
       {"axis 2 (height) of input 'x'", "axis 3 of input 'x'", "--shape x=1x3x320x320"}) {
    EXPECT_TRUE(contains(message, part)) << part << " is not in: " << message;
  }
  EXPECT_FALSE(contains(message, "axis 0")) << message;
}

TEST(Inputs, ASymbolHoldsForAllInputs) {
  const std::string two =
      model({.nodes = {node("Add", {"a", "b"}, {"y"})},
             .inputs = {value_info("a", kFloat, {1, "n"}), value_info("b", kFloat, {1, "n"})},
             .outputs = {value_info("y", kFloat, {})}});
  EXPECT_EQ(output_shape(two, {.shapes = {{"a", {1, 7}}}}), (Shape{1, 7}));
  EXPECT_TRUE(contains(failure(two, {.shapes = {{"a", {1, 7}}, {"b", {1, 8}}}}), "'n'"));
}

TEST(Inputs, WrongGivenShapes) {
  EXPECT_TRUE(contains(failure(pass_through({1, 3}), {.shapes = {{"z", {1, 3}}}}), "'z'"));
  EXPECT_TRUE(
      contains(failure(pass_through({1, 3}), {.shapes = {{"x", {1, 3, 4}}}}), "3 dimensions"));
  EXPECT_TRUE(contains(failure(pass_through({1, 3}), {.shapes = {{"x", {1, -5}}}}), "-5"));
}

TEST(Inputs, MessagesForPython) {
  const std::string message = failure(pass_through({"N", 3, "height", "?"}), {.python = true});
  EXPECT_TRUE(contains(message, "shapes={\"x\": (1, 3, 320, 320)}")) << message;
  EXPECT_TRUE(
      contains(failure(pass_through({"N", "n"}), {.shapes = {{"x", {1, -5}}}, .python = true}),
               "shapes gives input 'x' the negative size -5"));
}

TEST(Inputs, WeightsListedAsInputsAreConstants) {
  const std::string m =
      model({.nodes = {node("Add", {"x", "w"}, {"y"})},
             .initializers = {tensor("w", kFloat, {2}, raw<float>({1, 2}))},
             .inputs = {value_info("x", kFloat, {2}), value_info("w", kFloat, {2})},
             .outputs = {value_info("y", kFloat, {2})}});
  EXPECT_EQ(import_model(m, "m.onnx", {}).inputs.size(), 1u);
  EXPECT_TRUE(contains(failure(m, {.shapes = {{"w", {3}}}}), "'w'"));
}

TEST(Inputs, OutputsKeepTheirNames) {
  const Graph g =
      import_model(model({.nodes = {node("Identity", {"x"}, {"y"}), node("Identity", {"x"}, {"z"})},
                          .inputs = {value_info("x", kFloat, {2})},
                          .outputs = {value_info("y", kFloat, {2}), value_info("z", kFloat, {2})}}),
                   "m.onnx", {});
  ASSERT_EQ(g.outputs.size(), 2u);
  EXPECT_EQ(g.values[g.outputs[0]].name, "y");
  EXPECT_EQ(g.values[g.outputs[1]].name, "z");
  EXPECT_EQ(g.values[g.inputs[0]].name, "x");
}

}  // namespace
}  // namespace burnish::test
