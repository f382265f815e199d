#include <cmath>
#include <limits>
#include <random>

#include "ops/support.h"

namespace burnish::test {
namespace {

using Ints = std::vector<int64_t>;

TEST(Pool, AgreesWithWindowsVisitedOneByOne) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 r(seed);
    auto pick = [&](int64_t lo, int64_t hi) {
      return lo + static_cast<int64_t>(r() % static_cast<uint64_t>(hi - lo + 1));
    };
    size_t rank = 1 + seed % 3;
    Ints spatial, kernel, strides, dilations, pads(2 * rank);
    for (size_t i = 0; i < rank; ++i) {
      spatial.push_back(pick(5, 9));
      kernel.push_back(pick(1, 3));
      strides.push_back(pick(1, 3));
      dilations.push_back(pick(1, 2));
      pads[i] = pick(0, kernel[i] - 1);
      pads[rank + i] = pick(0, kernel[i] - 1);
    }
    bool ceil = pick(0, 1), include = pick(0, 1);
    SCOPED_TRACE("seed " + std::to_string(seed) + " kernel " + shape_text(kernel) + " strides " +
                 shape_text(strides) + " pads " + shape_text(pads));
    Shape shape{2, 3};
    shape.insert(shape.end(), spatial.begin(), spatial.end());
    Tensor x = random_floats(shape, seed);
    AttrList attrs{{"kernel", kernel},       {"strides", strides}, {"dilations", dilations},
                   {"pads", pads}, {"ceil_mode", int64_t{ceil}}};
    Tensor top = apply("max_pool", {given(x)}, attrs);
    attrs.push_back({"count_include_pad", int64_t{include}});
    Tensor mean = apply("average_pool", {given(x)}, attrs);
    ASSERT_EQ(top.shape, mean.shape);
    std::vector<double> tops, means;
    each_position(top.shape, [&](const Shape& p, int64_t) {
      double most = -std::numeric_limits<double>::infinity(), sum = 0, count = 0;
      each_position(kernel, [&](const Shape& k, int64_t) {
        Shape from{p[0], p[1]};
        bool padded = true, inside = true;
        for (size_t i = 0; i < rank; ++i) {
          int64_t v = p[2 + i] * strides[i] + k[i] * dilations[i] - pads[i];
          from.push_back(v);
          inside = inside && v >= 0 && v < spatial[i];
          padded = padded && v < spatial[i] + pads[rank + i];
        }
        if (inside) most = std::max(most, at(x, from)), sum += at(x, from);
        count += include ? padded : inside;
      });
      tops.push_back(most);
      means.push_back(sum / count);
    });
    expect_values(top, top.shape, tops);
    expect_values(mean, mean.shape, means, 1e-5);
  }
}

TEST(Pool, CeilModeDropsWindowsThatStartInThePadding) {
  Tensor x = counting({1, 1, 2, 2});
  Tensor y = apply("max_pool", {given(x)},
                   {{"kernel", Ints{1, 1}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}});
  expect_values(y, {1, 1, 1, 1}, {0});
}

TEST(Pool, ReturnsPositionsOfTheFirstMaximum) {
  Tensor x = floats({1, 2, 2, 3}, {1, 5, 5, 0, 5, 2, 7, 7, 7, 7, 7, 7});
  AttrList attrs{{"kernel", Ints{2, 2}}, {"with_indices", int64_t{1}}};
  std::vector<Tensor> y = apply_all("max_pool", {given(x)}, attrs);
  expect_values(y[0], {1, 2, 1, 2}, {5, 5, 7, 7});
  expect_values(y[1], {1, 2, 1, 2}, {1, 1, 6, 7});
  attrs.push_back({"storage_order", int64_t{1}});
  y = apply_all("max_pool", {given(x)}, attrs);
  expect_values(y[1], {1, 2, 1, 2}, {2, 2, 6, 8});
}

TEST(Pool, PositionsIgnorePaddingEvenWhereAllIsLowest) {
  double low = -std::numeric_limits<double>::infinity();
  std::vector<Tensor> y = apply_all(
      "max_pool", {given(floats({1, 1, 1, 2}, {low, low}))},
      {{"kernel", Ints{1, 2}}, {"pads", Ints{0, 1, 0, 0}}, {"with_indices", int64_t{1}}});
  expect_values(y[1], {1, 1, 1, 2}, {0, 0});
}

TEST(Pool, OfBytes) {
  Tensor x = integers({1, 1, 1, 3}, {-5, -7, -3}, DType::I8);
  Tensor y = apply("max_pool", {given(x)}, {{"kernel", Ints{1, 2}}, {"pads", Ints{0, 1, 0, 0}}});
  expect_values(y, {1, 1, 1, 3}, {-5, -5, -3});
}

TEST(Pool, Norms) {
  Tensor x = floats({1, 1, 4}, {3, -4, 1, 2});
  expect_values(apply("lp_pool", {given(x)}, {{"kernel", Ints{2}}, {"strides", Ints{2}}}), {1, 1, 2},
                {5, std::sqrt(5.0)});
  expect_values(apply("lp_pool", {given(x)}, {{"kernel", Ints{2}}, {"strides", Ints{2}}, {"p", int64_t{3}}}),
                {1, 1, 2}, {std::cbrt(91.0), std::cbrt(9.0)}, 1e-5);
  expect_values(apply("global_lp_pool", {given(x)}, {{"p", int64_t{1}}}), {1, 1, 1}, {10});
}

TEST(Pool, Global) {
  Tensor x = counting({1, 2, 2, 3});
  expect_values(apply("global_average_pool", {given(x)}), {1, 2, 1, 1}, {2.5, 8.5});
  expect_values(apply("global_max_pool", {given(x)}), {1, 2, 1, 1}, {5, 11});
}

TEST(Pool, Refuses) {
  auto x = given(counting({1, 1, 4, 4}));
  EXPECT_NE(refusal("max_pool", {x}, {{"kernel", Ints{2}}}).find("'kernel' has 1 values"),
            std::string::npos);
  EXPECT_NE(refusal("max_pool", {x}, {{"kernel", Ints{5, 5}}}).find("does not fit 4 elements"),
            std::string::npos);
  EXPECT_NE(refusal("max_pool", {x}, {}).find("lacks its attribute 'kernel'"), std::string::npos);
  EXPECT_NE(refusal("average_pool", {given(counting({1, 1, 4}, DType::I32))}, {{"kernel", Ints{2}}})
                .find("must be floats, but it is i32"),
            std::string::npos);
}

}  // namespace
}  // namespace burnish::test
