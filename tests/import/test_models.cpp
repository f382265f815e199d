// The networks that the project is measured with: they import, and every shape is known.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "graph/op.h"
#include "import/import.h"

namespace burnish::test {
namespace {

struct Model {
  std::string file, input;
  Shape shape;
  std::vector<Shape> outputs;
};

class Models : public testing::TestWithParam<Model> {};

TEST_P(Models, Import) {
  const Model& m = GetParam();
  const auto file = std::filesystem::path(BURNISH_SOURCE_DIR) / "build" / "models" / m.file;
  if (!std::filesystem::exists(file))
    GTEST_SKIP() << file << " is missing: run tools/fetch_models.py and make_models.py";
  const Graph g = import_model(file, {.shapes = {{m.input, m.shape}}});
  verify(g);
  ASSERT_EQ(g.inputs.size(), 1u);
  EXPECT_EQ(g.type(g.inputs[0]).shape, m.shape);
  std::vector<Shape> shapes;
  for (ValueId v : g.outputs) shapes.push_back(g.type(v).shape);
  EXPECT_EQ(shapes, m.outputs);
  // Arithmetic on shapes is gone.
  for (const Node& n : g.nodes) {
    for (const char* op : {"shape", "size", "range", "gather", "constant_of_shape"})
      EXPECT_NE(n.op->name, op) << n.source;
  }
  EXPECT_TRUE(find_unsupported(file, {.shapes = {{m.input, m.shape}}}).empty());
}

// Four of them leave sizes open.
TEST(OpenModels, AreOutlined) {
  const auto folder = std::filesystem::path(BURNISH_SOURCE_DIR) / "build" / "models";
  const auto outline = [&](const char* file) -> std::optional<ModelOutline> {
    return outline_of_open_model(folder / file);
  };
  for (const char* file :
       {"nudenet_320n.onnx", "ppocr_det.onnx", "ppocr_cls.onnx", "centerface.onnx"}) {
    if (!std::filesystem::exists(folder / file)) GTEST_SKIP() << file << " is missing";
  }
  const auto det = outline("ppocr_det.onnx");
  ASSERT_TRUE(det.has_value());
  EXPECT_EQ(det->operators.at("Conv"), 62);
  EXPECT_FALSE(det->operators.contains("Constant"));
  EXPECT_GT(det->parameters, 1'000'000);  // they stand in nodes
  EXPECT_EQ(outline("nudenet_320n.onnx")->inputs[0].dims,
            (std::vector<std::string>{"batch", "3", "height", "width"}));
  EXPECT_EQ(outline("ppocr_cls.onnx")->inputs[0].dims,
            (std::vector<std::string>{"?", "3", "?", "?"}));
  EXPECT_FALSE(outline("centerface.onnx").has_value());
}

INSTANTIATE_TEST_SUITE_P(
    All, Models,
    testing::Values(
        Model{"centerface.onnx",
              "input.1",
              {1, 3, 544, 960},
              {{1, 1, 136, 240}, {1, 2, 136, 240}, {1, 2, 136, 240}, {1, 10, 136, 240}}},
        Model{"centerface.onnx",
              "input.1",
              {2, 3, 64, 32},
              {{2, 1, 16, 8}, {2, 2, 16, 8}, {2, 2, 16, 8}, {2, 10, 16, 8}}},
        Model{"nudenet_320n.onnx", "images", {1, 3, 320, 320}, {{1, 22, 2100}}},
        Model{"nudenet_320n.onnx", "images", {1, 3, 640, 640}, {{1, 22, 8400}}},
        Model{"ppocr_det.onnx", "x", {1, 3, 640, 640}, {{1, 1, 640, 640}}},
        Model{"ppocr_rec.onnx", "x", {1, 3, 48, 320}, {{1, 40, 6625}}},
        Model{"ppocr_cls.onnx", "x", {1, 3, 48, 192}, {{1, 2}}},
        Model{"mobilenetv2.onnx", "input", {1, 3, 224, 224}, {{1, 1000}}},
        Model{"efficientnet_b0.onnx", "input", {1, 3, 224, 224}, {{1, 1000}}},
        Model{"resnet50.onnx", "input", {1, 3, 224, 224}, {{1, 1000}}}),
    [](const auto& info) {
      std::string name = info.param.file + "_" + shape_text(info.param.shape);
      std::replace_if(
          name.begin(), name.end(),
          [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
      return name;
    });

}  // namespace
}  // namespace burnish::test
