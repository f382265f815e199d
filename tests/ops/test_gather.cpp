#include "ops/support.h"

namespace burnish::test {
namespace {

using Ints = std::vector<int64_t>;

TEST(Gather, AlongAnAxisWithNegativeIndices) {
  Tensor x = counting({3, 2});
  expect_values(apply("gather", {given(x), given(integers({2}, {2, -3}))}), {2, 2}, {4, 5, 0, 1});
  expect_values(apply("gather", {given(x), given(integers({1, 2}, {1, 0}, DType::I32))}, {{"axis", int64_t{1}}}), {3, 1, 2},
                {1, 0, 3, 2, 5, 4});
  expect_values(apply("gather", {given(x), given(integers({}, {1}))}), {2}, {2, 3});
}

TEST(Gather, HostileIndicesReadInside) {
  Tensor y = apply("gather", {given(counting({3})), given(integers({2}, {1ll << 62, -(1ll << 62)}))});
  for (double v : values(y)) EXPECT_TRUE(v == 0 || v == 1 || v == 2);
}

TEST(Gather, ElementsAndTuples) {
  Tensor x = floats({2, 2}, {1, 2, 3, 4});
  expect_values(apply("gather_elements", {given(x), given(integers({2, 2}, {0, 0, 1, -2}))}, {{"axis", int64_t{1}}}), {2, 2},
                {1, 1, 4, 3});
  expect_values(apply("gather_nd", {given(x), given(integers({2, 2}, {0, 0, 1, -1}))}), {2}, {1, 4});
  expect_values(apply("gather_nd", {given(x), given(integers({2, 1}, {1, 0}))}), {2, 2}, {3, 4, 1, 2});
  expect_values(apply("gather_nd", {given(counting({2, 2, 2})), given(integers({2, 1}, {1, 0}))}, {{"batch_dims", int64_t{1}}}),
                {2, 2}, {2, 3, 4, 5});
  EXPECT_NE(refusal("gather_nd", {given(x), given(integers({1, 3}, {0, 0, 0}))}).find("name 3 axes"), std::string::npos);
  EXPECT_NE(refusal("gather", {given(x), given(counting({2}))}).find("i32 or i64"), std::string::npos);
}

TEST(Scatter, Elements) {
  Tensor x = counting({1, 5});
  auto index = given(integers({1, 3}, {1, 3, -4})), updates = given(floats({1, 3}, {10, 20, 30}));
  auto run = [&](std::string reduction) {
    return values(apply("scatter_elements", {given(x), index, updates}, {{"axis", int64_t{1}}, {"reduction", reduction}}));
  };
  using D = std::vector<double>;
  EXPECT_EQ(run("none"), (D{0, 30, 2, 20, 4}));  // the last update wins
  EXPECT_EQ(run("add"), (D{0, 41, 2, 23, 4}));
  EXPECT_EQ(run("mul"), (D{0, 300, 2, 60, 4}));
  EXPECT_EQ(run("max"), (D{0, 30, 2, 20, 4}));
  EXPECT_EQ(run("min"), (D{0, 1, 2, 3, 4}));
  Tensor zeros(DType::F32, {3, 3});
  expect_values(apply("scatter_elements", {given(zeros), given(integers({1, 2}, {2, 0})), given(floats({1, 2}, {1, 2}))}), {3, 3},
                {0, 2, 0, 0, 0, 0, 1, 0, 0});
}

TEST(Scatter, Tuples) {
  Tensor x = counting({4});
  auto index = given(integers({3, 1}, {2, 0, 2})), updates = given(floats({3}, {10, 20, 30}));
  expect_values(apply("scatter_nd", {given(x), index, updates}), {4}, {20, 1, 30, 3});
  expect_values(apply("scatter_nd", {given(x), index, updates}, {{"reduction", std::string("add")}}), {4}, {20, 1, 42, 3});
  expect_values(apply("scatter_nd", {given(counting({2, 2})), given(integers({1, 1}, {-1})), given(floats({1, 2}, {8, 9}))}), {2, 2},
                {0, 1, 8, 9});
  expect_values(apply("scatter_nd", {given(counting({2, 2})), given(integers({2, 1, 2}, {0, 0, 1, 1})), given(floats({2, 1}, {8, 9}))}),
                {2, 2}, {8, 1, 2, 9});
  EXPECT_NE(refusal("scatter_nd", {given(x), index, given(counting({2}))}).find("needs updates 3, not 2"), std::string::npos);
}

TEST(OneHot, WrapsNegativesAndLeavesOthersOff) {
  auto depth = constant_arg(integers({}, {3}));
  auto levels = given(floats({2}, {-1, 5}));
  expect_values(apply("one_hot", {given(integers({3}, {1, -1, 7})), depth, levels}), {3, 3},
                {-1, 5, -1, -1, -1, 5, -1, -1, -1});
  expect_values(apply("one_hot", {given(integers({2}, {0, 2})), depth, levels}, {{"axis", int64_t{0}}}), {3, 2},
                {5, -1, -1, -1, -1, 5});
}

TEST(TopK, BreaksTiesByPosition) {
  Tensor x = floats({2, 4}, {3, 1, 3, 2, 0, 0, 0, 0});
  auto k = constant_arg(integers({1}, {3}));
  auto y = apply_all("top_k", {given(x), k});
  expect_values(y[0], {2, 3}, {3, 3, 2, 0, 0, 0});
  expect_values(y[1], {2, 3}, {0, 2, 3, 0, 1, 2});
  y = apply_all("top_k", {given(x), constant_arg(integers({1}, {1}))}, {{"axis", int64_t{0}}, {"largest", int64_t{0}}});
  expect_values(y[0], {1, 4}, {0, 0, 0, 0});
  expect_values(y[1], {1, 4}, {1, 1, 1, 1});
  EXPECT_NE(refusal("top_k", {given(x), constant_arg(integers({1}, {5}))}).find("5 elements out of 4"), std::string::npos);
}

// ---- quantisation

TEST(Quantize, RoundsHalfToEvenAndSaturates) {
  Tensor x = floats({6}, {0, 1, 3, 5, 1000, -1000});
  auto two = given(floats({}, {2}));
  expect_values(apply("quantize_linear", {given(x), two, given(integers({}, {128}, DType::U8))}), {6},
                {128, 128, 130, 130, 255, 0});
  expect_values(apply("quantize_linear", {given(x), two}, {{"to", std::string("i8")}}), {6}, {0, 0, 2, 2, 127, -128});
  Tensor axes = floats({1, 2, 2}, {2, 4, 9, 27});
  expect_values(apply("quantize_linear", {given(axes), given(floats({2}, {2, 9})), given(integers({2}, {1, 0}, DType::U8))}),
                {1, 2, 2}, {2, 3, 1, 3});
}

TEST(Quantize, BackAndBlocked) {
  Tensor y = integers({4}, {0, 3, 128, 255}, DType::U8);
  expect_values(apply("dequantize_linear", {given(y), given(floats({}, {2})), given(integers({}, {128}, DType::U8))}), {4},
                {-256, -250, 0, 254});
  Tensor b = integers({1, 4}, {1, 2, 3, 4}, DType::I8);
  expect_values(apply("dequantize_linear", {given(b), given(floats({1, 2}, {1, 10}))}, {{"block_size", int64_t{2}}}), {1, 4},
                {1, 2, 30, 40});
  EXPECT_NE(refusal("dequantize_linear", {given(b), given(floats({3}, {1, 2, 3}))}).find("for an axis of 4"), std::string::npos);
}

TEST(Quantize, Dynamic) {
  auto y = apply_all("dynamic_quantize_linear", {given(floats({6}, {0, 2, -3, -2.5, 1.34, 0.5}))});
  expect_values(y[0], {6}, {153, 255, 0, 26, 221, 179});
  expect_values(y[1], {}, {5.0 / 255});
  expect_values(y[2], {}, {153});
}

// ---- resize

AttrList resize_attrs(std::string mode, std::string coordinates, std::string nearest = "round_prefer_floor") {
  return {{"mode", mode}, {"coordinate_mode", coordinates}, {"nearest_mode", nearest}};
}
Arg scales(std::vector<double> v) {
  int64_t n = std::ssize(v);
  return constant_arg(floats({n}, std::move(v)));
}

TEST(Resize, NearestReadsWithoutRoundingErrors) {
  Tensor x = counting({4});
  auto run = [&](double scale, AttrList attrs) { return values(apply("resize", {given(x), absent(), scales({scale})}, attrs)); };
  using D = std::vector<double>;
  EXPECT_EQ(run(2, resize_attrs("nearest", "asymmetric", "floor")), (D{0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(run(2, resize_attrs("nearest", "half_pixel")), (D{0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(run(0.5, resize_attrs("nearest", "half_pixel")), (D{0, 2}));
  EXPECT_EQ(run(0.5, resize_attrs("nearest", "half_pixel", "ceil")), (D{1, 3}));
  EXPECT_EQ(run(1.75, resize_attrs("nearest", "asymmetric", "floor")), (D{0, 0, 1, 1, 2, 2, 3}));
  EXPECT_EQ(run(3, resize_attrs("nearest", "align_corners")), (D{0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3}));
}

TEST(Resize, IntegerUpscalingIsOneDivision) {
  Graph g;
  ValueId x = g.add_input("x", {DType::F32, {1, 1, 4, 4}, {}});
  ValueId s = g.add_constant("s", std::make_shared<Tensor>(floats({4}, {1, 1, 2, 2})));
  Attrs attrs;
  for (const auto& [name, value] : resize_attrs("nearest", "asymmetric", "floor")) attrs.set(name, value);
  NodeId n = g.add_node(op_named("resize"), {x, no_value, s}, attrs, "node");
  StageGroup stages = stages_of(g, g.nodes[n]);
  const Expr& body = stages[stages.outputs[0]].body;
  ASSERT_EQ(body.kind(), ExprKind::Load);
  ASSERT_EQ(body.indices()[2].atoms.size(), 1u);
  EXPECT_EQ(body.indices()[2].atoms[0].div, 2);
  EXPECT_FALSE(body.indices()[2].atoms[0].value);
}

TEST(Resize, LinearAndCubic) {
  Tensor x = floats({1, 1, 2, 2}, {1, 2, 3, 4});
  expect_values(apply("resize", {given(x), absent(), scales({1, 1, 2, 2})}, resize_attrs("linear", "half_pixel")), {1, 1, 4, 4},
                {1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4});
  expect_values(apply("resize", {given(x), absent(), scales({1, 1, 2, 2})}, resize_attrs("linear", "align_corners")), {1, 1, 4, 4},
                {1, 4. / 3, 5. / 3, 2, 5. / 3, 2, 7. / 3, 8. / 3, 7. / 3, 8. / 3, 3, 10. / 3, 3, 10. / 3, 11. / 3, 4});
  Tensor row = floats({4}, {1, 2, 3, 4});
  expect_values(apply("resize", {given(row), absent(), absent(), constant_arg(integers({1}, {3}))}, resize_attrs("linear", "half_pixel")),
                {3}, {1 + 1. / 6, 2.5, 4 - 1. / 6});
  // half_pixel by two: the taps lie at distances 1.75 0.75 0.25 1.25
  Tensor cubic = apply("resize", {given(row), absent(), scales({2})}, resize_attrs("cubic", "half_pixel"));
  double far = -0.03515625, near = 0.26171875, mid = 0.87890625, out = -0.10546875;
  EXPECT_NEAR(at(cubic, {3}), far * 4 + near * 3 + mid * 2 + out * 1, 1e-6);
}

TEST(Resize, CropsAndExtrapolates) {
  Tensor x = counting({5});
  AttrList attrs = resize_attrs("linear", "tf_crop_and_resize");
  attrs.push_back({"extrapolation_value", 10.0});
  expect_values(apply("resize", {given(x), constant_arg(floats({2}, {0.25, 1.25})), absent(), constant_arg(integers({1}, {5}))}, attrs),
                {5}, {1, 2, 3, 4, 10});
}

TEST(Resize, KeepsProportionsOnRequest) {
  Tensor x = counting({2, 4});
  auto sizes = constant_arg(integers({2}, {6, 6}));
  auto with = [](std::string policy) { return AttrList{{"keep_aspect_ratio_policy", policy}}; };
  EXPECT_EQ(apply("resize", {given(x), absent(), absent(), sizes}, with("not_larger")).shape, (Shape{3, 6}));
  EXPECT_EQ(apply("resize", {given(x), absent(), absent(), sizes}, with("not_smaller")).shape, (Shape{6, 12}));
}

TEST(Resize, Refuses) {
  auto x = given(counting({4}));
  EXPECT_NE(refusal("resize", {x}).find("either scales or sizes"), std::string::npos);
  EXPECT_NE(refusal("resize", {x, absent(), scales({0})}).find("resize by 0"), std::string::npos);
  EXPECT_NE(refusal("resize", {x, absent(), scales({2, 2})}).find("2 scales for 1 axes"), std::string::npos);
  EXPECT_NE(refusal("resize", {x, absent(), scales({2})}, resize_attrs("bilinear", "half_pixel")).find("'mode' is \"bilinear\""),
            std::string::npos);
  EXPECT_NE(refusal("resize", {x, absent(), given(floats({1}, {2}))}).find("unsupported: input 'scales'"), std::string::npos);
}

}  // namespace
}  // namespace burnish::test
