// Operators on shapes, and those that move elements.
#include <limits>

#include "ops/support.h"

namespace burnish::test {
namespace {

using Ints = std::vector<int64_t>;

Arg ints(std::vector<int64_t> v) {
  int64_t n = std::ssize(v);
  return constant_arg(integers({n}, std::move(v)));
}

TEST(Reshape, KeepsTheOrderOfElements) {
  const std::pair<Shape, Shape> pairs[] = {{{2, 3, 4}, {4, 6}},  {{2, 3, 4}, {24}},     {{24}, {2, 3, 4}}, {{4, 6}, {3, 8}},
                                           {{2, 3, 4}, {2, 12}}, {{6, 4}, {2, 3, 4}}, {{1, 6, 1}, {2, 1, 3}}, {{}, {1, 1}},
                                           {{1}, {}},            {{2, 1, 3}, {3, 2}}};
  for (const auto& [from, to] : pairs) {
    SCOPED_TRACE(shape_text(from) + " to " + shape_text(to));
    Tensor x = counting(from);
    expect_values(apply("reshape", {given(x), ints(to)}), to, values(x));
  }
}

TEST(Reshape, WithoutDivisionsWhereAxesOnlyMerge) {
  Graph g;
  ValueId x = g.add_input("x", {DType::F32, {2, 3, 4}, {}});
  NodeId n = g.add_node(op_named("unsqueeze"), {x}, [] { Attrs a; a.set("axes", Ints{1}); return a; }(), "node");
  StageGroup s = stages_of(g, g.nodes[n]);
  visit(s[s.outputs[0]].body, [](const Expr& e) {
    if (e.kind() != ExprKind::Load) return;
    for (const Index& i : e.indices()) EXPECT_TRUE(i.is_affine());
  });
}

TEST(Reshape, OpenCopiedAndEmptyExtents) {
  Tensor x = counting({2, 3, 4});
  EXPECT_EQ(apply("reshape", {given(x), ints({0, -1})}).shape, (Shape{2, 12}));
  EXPECT_EQ(apply("reshape", {given(Tensor(DType::F32, {0, 3})), constant_arg(integers({2}, {3, 0}))},
                  {{"allowzero", int64_t{1}}}).shape, (Shape{3, 0}));
  EXPECT_NE(refusal("reshape", {given(x), ints({5, -1})}).find("do not divide into 5"), std::string::npos);
  EXPECT_NE(refusal("reshape", {given(x), ints({-1, -1})}).find("two extents open"), std::string::npos);
  EXPECT_NE(refusal("reshape", {given(x), ints({23})}).find("24 elements become 23"), std::string::npos);
  EXPECT_NE(refusal("reshape", {given(x), ints({-2})}).find("an extent of -2"), std::string::npos);
  EXPECT_NE(refusal("reshape", {given(x), ints({1ll << 40, 1ll << 40})}).find("overflows"), std::string::npos);
  EXPECT_NE(refusal("reshape", {given(x), given(integers({1}, {24}))}).find("unsupported: input 'shape'"),
            std::string::npos);
}

TEST(Reshape, Relatives) {
  Tensor x = counting({1, 2, 1, 3});
  EXPECT_EQ(apply("squeeze", {given(x)}).shape, (Shape{2, 3}));
  EXPECT_EQ(apply("squeeze", {given(x)}, {{"axes", Ints{-2}}}).shape, (Shape{1, 2, 3}));
  EXPECT_EQ(apply("unsqueeze", {given(counting({2, 3}))}, {{"axes", Ints{0, -1}}}).shape, (Shape{1, 2, 3, 1}));
  EXPECT_EQ(apply("flatten", {given(counting({2, 3, 4}))}, {{"axis", int64_t{2}}}).shape, (Shape{6, 4}));
  EXPECT_EQ(apply("flatten", {given(counting({2, 3, 4}))}, {{"axis", int64_t{0}}}).shape, (Shape{1, 24}));
  EXPECT_EQ(apply("flatten", {given(counting({2, 3, 4}))}, {{"axis", int64_t{-1}}}).shape, (Shape{6, 4}));
  EXPECT_NE(refusal("squeeze", {given(x)}, {{"axes", Ints{1}}}).find("its extent is 2"), std::string::npos);
  EXPECT_NE(refusal("unsqueeze", {given(x)}, {{"axes", Ints{6}}}).find("out of range"), std::string::npos);
}

TEST(Shape, IsKnownFromTheType) {
  Tensor x = counting({2, 3, 4});
  expect_values(apply("shape", {given(x)}), {3}, {2, 3, 4});
  expect_values(apply("shape", {given(x)}, {{"start", int64_t{-2}}}), {2}, {3, 4});
  expect_values(apply("shape", {given(x)}, {{"start", int64_t{1}}, {"end", int64_t{-1}}}), {1}, {3});
  expect_values(apply("size", {given(x)}), {}, {24});
}

TEST(Make, RangesFillsAndDiagonals) {
  auto scalar = [](double v) { return constant_arg(floats({}, {v})); };
  expect_values(apply("range", {scalar(1), scalar(2), scalar(0.25)}), {4}, {1, 1.25, 1.5, 1.75});
  expect_values(apply("range", {constant_arg(integers({}, {10})), constant_arg(integers({}, {4})), constant_arg(integers({}, {-4}))}),
                {2}, {10, 6});
  EXPECT_NE(refusal("range", {scalar(1), scalar(2), scalar(0)}).find("in steps of 0"), std::string::npos);
  EXPECT_NE(refusal("range", {scalar(0), scalar(1e30), scalar(1)}).find("elements"), std::string::npos);
  expect_values(apply("constant_of_shape", {ints({2, 2})}), {2, 2}, {0, 0, 0, 0});
  expect_values(apply("constant_of_shape", {ints({2})}, {{"value", std::make_shared<const Tensor>(integers({1}, {7}))}}), {2}, {7, 7});
  expect_values(apply("eye_like", {given(counting({2, 3}))}, {{"k", int64_t{1}}}), {2, 3}, {0, 1, 0, 0, 0, 1});
  Tensor x = floats({3, 3}, std::vector<double>(9, 1));
  expect_values(apply("tri", {given(x)}), {3, 3}, {1, 1, 1, 0, 1, 1, 0, 0, 1});
  expect_values(apply("tri", {given(x), constant_arg(integers({}, {-1}))}, {{"upper", int64_t{0}}}), {3, 3},
                {0, 0, 0, 1, 0, 0, 1, 1, 0});
}

TEST(Transpose, PermutesAxes) {
  Tensor x = counting({2, 3});
  expect_values(apply("transpose", {given(x)}), {3, 2}, {0, 3, 1, 4, 2, 5});
  Tensor y = apply("transpose", {given(counting({2, 3, 4}))}, {{"perm", Ints{1, 2, 0}}});
  EXPECT_EQ(y.shape, (Shape{3, 4, 2}));
  EXPECT_EQ(at(y, {2, 1, 1}), 1 * 12 + 2 * 4 + 1);
  EXPECT_NE(refusal("transpose", {given(x)}, {{"perm", Ints{0, 0}}}).find("twice"), std::string::npos);
  EXPECT_NE(refusal("transpose", {given(x)}, {{"perm", Ints{0}}}).find("1 values"), std::string::npos);
}

TEST(Concat, AlongAnyAxisAndWithEmptyParts) {
  AttrList axis{{"axis", int64_t{-1}}};
  expect_values(apply("concat", {given(counting({2, 1})), given(counting({2, 2})), given(counting({2, 1}))}, axis), {2, 4},
                {0, 0, 1, 0, 1, 2, 3, 1});
  expect_values(apply("concat", {given(Tensor(DType::F32, {2, 0})), given(counting({2, 1}))}, axis), {2, 1}, {0, 1});
  EXPECT_NE(refusal("concat", {given(counting({2, 1})), given(counting({3, 1}))}, axis).find("concat of 2x1 and 3x1"),
            std::string::npos);
}

TEST(Split, IntoSizesOrParts) {
  auto y = apply_all("split", {given(counting({5}))}, {{"num_outputs", int64_t{2}}});
  expect_values(y[0], {3}, {0, 1, 2});
  expect_values(y[1], {2}, {3, 4});
  y = apply_all("split", {given(counting({2, 3}))}, {{"axis", int64_t{1}}, {"sizes", Ints{1, 2}}});
  expect_values(y[1], {2, 2}, {1, 2, 4, 5});
  EXPECT_NE(refusal("split", {given(counting({5}))}, {{"sizes", Ints{2, 2}}}).find("4 elements together, not 5"),
            std::string::npos);
  EXPECT_NE(refusal("split", {given(counting({5}))}, {{"sizes", Ints{-1, 6}}}).find("-1 elements"), std::string::npos);
  EXPECT_NE(refusal("split", {given(counting({5}))}, {}).find("into 0 parts"), std::string::npos);
}

TEST(Slice, ClampsStartsAndEndsAndWalksBackwards) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  auto cut = [&](int64_t start, int64_t end, int64_t step) {
    return values(apply("slice", {given(counting({6})), ints({start}), ints({end}), ints({0}), ints({step})}));
  };
  using D = std::vector<double>;
  EXPECT_EQ(cut(1, 4, 1), (D{1, 2, 3}));
  EXPECT_EQ(cut(-3, most, 1), (D{3, 4, 5}));
  EXPECT_EQ(cut(0, most, 4), (D{0, 4}));
  EXPECT_EQ(cut(-1, least, -2), (D{5, 3, 1}));
  EXPECT_EQ(cut(most, 2, -1), (D{5, 4, 3}));
  EXPECT_EQ(cut(4, 1, 1), (D{}));
  EXPECT_EQ(cut(least, most, most), (D{0}));
  expect_values(apply("slice", {given(counting({2, 3})), ints({1}), ints({3}), ints({-1})}), {2, 2}, {1, 2, 4, 5});
  EXPECT_NE(refusal("slice", {given(counting({6})), ints({0}), ints({1}), ints({0}), ints({0})}).find("steps of 0"),
            std::string::npos);
  EXPECT_NE(refusal("slice", {given(counting({6})), ints({0, 0}), ints({1, 1})}).find("out of range"), std::string::npos);
}

TEST(Pad, Modes) {
  auto pad = [](std::string mode, std::vector<int64_t> pads) {
    return values(apply("pad", {given(floats({3}, {1, 2, 3})), ints(std::move(pads))}, {{"mode", mode}}));
  };
  using D = std::vector<double>;
  EXPECT_EQ(pad("constant", {1, 2}), (D{0, 1, 2, 3, 0, 0}));
  EXPECT_EQ(pad("constant", {-1, 1}), (D{2, 3, 0}));
  EXPECT_EQ(pad("edge", {2, 1}), (D{1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(pad("reflect", {2, 2}), (D{3, 2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(pad("wrap", {2, 4}), (D{2, 3, 1, 2, 3, 1, 2, 3, 1}));
  expect_values(apply("pad", {given(counting({2, 2})), ints({1, 0}), constant_arg(floats({}, {9})), ints({-1})}), {2, 3},
                {9, 0, 1, 9, 2, 3});
  expect_values(apply("pad", {given(counting({1})), ints({1, 1}), given(floats({}, {7}))}), {3}, {7, 0, 7});
  EXPECT_NE(refusal("pad", {given(counting({3})), ints({-2, -2})}).find("leave nothing"), std::string::npos);
  EXPECT_NE(refusal("pad", {given(counting({3})), ints({1})}).find("1 values for 1 axes"), std::string::npos);
}

TEST(TileAndExpand, Repeat) {
  expect_values(apply("tile", {given(counting({1, 2})), ints({2, 2})}), {2, 4}, {0, 1, 0, 1, 0, 1, 0, 1});
  expect_values(apply("expand", {given(counting({2, 1})), ints({3, 1, 2})}), {3, 2, 2}, {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1});
  EXPECT_NE(refusal("tile", {given(counting({2})), ints({1ll << 62})}).find("overflows"), std::string::npos);
  EXPECT_NE(refusal("tile", {given(counting({2})), ints({1, 1})}).find("2 repeats"), std::string::npos);
  EXPECT_NE(refusal("expand", {given(counting({2})), ints({3})}).find("do not broadcast"), std::string::npos);
}

TEST(Blocks, ThereAndBack) {
  Tensor x = counting({1, 8, 2, 3});
  Tensor dcr = apply("depth_to_space", {given(x)}, {{"blocksize", int64_t{2}}});
  EXPECT_EQ(dcr.shape, (Shape{1, 2, 4, 6}));
  EXPECT_EQ(at(dcr, {0, 1, 3, 2}), at(x, {0, (1 * 2 + 0) * 2 + 1, 1, 1}));
  Tensor crd = apply("depth_to_space", {given(x)}, {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}});
  EXPECT_EQ(at(crd, {0, 1, 3, 2}), at(x, {0, 1 * 4 + 1 * 2 + 0, 1, 1}));
  expect_values(apply("space_to_depth", {given(dcr)}, {{"blocksize", int64_t{2}}}), x.shape, values(x));
  EXPECT_NE(refusal("depth_to_space", {given(x)}, {{"blocksize", int64_t{3}}}).find("do not divide"), std::string::npos);
}

TEST(ReverseSequence, TurnsTheFirstElementsAround) {
  Tensor x = counting({3, 2});
  expect_values(apply("reverse_sequence", {given(x), given(integers({2}, {2, 3}))}), {3, 2}, {2, 5, 0, 3, 4, 1});
  AttrList other{{"time_axis", int64_t{1}}, {"batch_axis", int64_t{0}}};
  expect_values(apply("reverse_sequence", {given(counting({2, 3})), given(integers({2}, {1, 3}))}, other), {2, 3},
                {0, 1, 2, 5, 4, 3});
}

}  // namespace
}  // namespace burnish::test
