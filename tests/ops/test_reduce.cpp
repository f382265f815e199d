#include <cmath>
#include <limits>

#include "ops/support.h"

namespace burnish::test {
namespace {

using Ints = std::vector<int64_t>;
const double inf = std::numeric_limits<double>::infinity();

TEST(Reduce, EveryKindOverEveryWayOfNamingAxes) {
  Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  AttrList last{{"axes", Ints{-1}}, {"keepdims", int64_t{0}}};
  expect_values(apply("reduce_sum", {given(x)}, last), {2}, {6, 15});
  expect_values(apply("reduce_mean", {given(x)}, last), {2}, {2, 5});
  expect_values(apply("reduce_max", {given(x)}, last), {2}, {3, 6});
  expect_values(apply("reduce_min", {given(x)}, last), {2}, {1, 4});
  expect_values(apply("reduce_prod", {given(x)}, last), {2}, {6, 120});
  expect_values(apply("reduce_l1", {given(apply("neg", {given(x)}))}, last), {2}, {6, 15});
  expect_values(apply("reduce_l2", {given(x)}, last), {2}, {std::sqrt(14.0), std::sqrt(77.0)});
  expect_values(apply("reduce_log_sum", {given(x)}, last), {2}, {std::log(6.0), std::log(15.0)});
  expect_values(apply("reduce_sum_square", {given(x)}, last), {2}, {14, 77});
  expect_values(apply("reduce_log_sum_exp", {given(x)}, last), {2},
                {std::log(std::exp(1) + std::exp(2) + std::exp(3)), 3 + std::log(std::exp(1) + std::exp(2) + std::exp(3))});
  expect_values(apply("reduce_sum", {given(x)}), {1, 1}, {21});
  expect_values(apply("reduce_sum", {given(x)}, {{"axes", Ints{0}}}), {1, 3}, {5, 7, 9});
  expect_values(apply("reduce_sum", {given(x)}, {{"axes", Ints{}}}), {2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(apply("reduce_sum", {given(counting({2, 3, 2}))}, {{"axes", Ints{0, 2}}, {"keepdims", int64_t{0}}}),
                {3}, {14, 22, 30});
  expect_values(apply("reduce_mean", {given(counting({4}, DType::I32))}), {1}, {1});
}

TEST(Reduce, LogSumExpKeepsLargeAndInfiniteValues) {
  expect_values(apply("reduce_log_sum_exp", {given(floats({2}, {1000, 1000}))}), {1}, {1000 + std::log(2.0)});
  expect_values(apply("reduce_log_sum_exp", {given(floats({2}, {-inf, -inf}))}), {1}, {-inf});
  expect_values(apply("reduce_log_sum_exp", {given(floats({2}, {inf, 1}))}), {1}, {inf});
}

TEST(Reduce, OfNothingIsNeutral) {
  Tensor x(DType::F32, {2, 0});
  expect_values(apply("reduce_sum", {given(x)}, {{"axes", Ints{1}}}), {2, 1}, {0, 0});
  expect_values(apply("reduce_prod", {given(x)}, {{"axes", Ints{1}}}), {2, 1}, {1, 1});
  expect_values(apply("reduce_max", {given(x)}, {{"axes", Ints{1}}}), {2, 1}, {-inf, -inf});
}

TEST(Arg, FirstAndLast) {
  Tensor x = floats({2, 3}, {1, 5, 5, 2, 2, 0});
  expect_values(apply("argmax", {given(x)}, {{"axis", int64_t{1}}}), {2, 1}, {1, 0});
  expect_values(apply("argmax", {given(x)}, {{"axis", int64_t{1}}, {"select_last_index", int64_t{1}}}), {2, 1}, {2, 1});
  expect_values(apply("argmin", {given(x)}, {{"axis", int64_t{0}}, {"keepdims", int64_t{0}}}), {3}, {0, 1, 1});
  EXPECT_NE(refusal("argmax", {given(x)}, {{"axis", int64_t{2}}}).find("axis 2 is out of range"), std::string::npos);
}

TEST(Cumsum, Directions) {
  Tensor x = counting({2, 3});
  AttrList one{{"axis", int64_t{1}}};
  expect_values(apply("cumsum", {given(x)}, one), {2, 3}, {0, 1, 3, 3, 7, 12});
  one.push_back({"exclusive", int64_t{1}});
  expect_values(apply("cumsum", {given(x)}, one), {2, 3}, {0, 0, 1, 0, 3, 7});
  one.push_back({"reverse", int64_t{1}});
  expect_values(apply("cumsum", {given(x)}, one), {2, 3}, {3, 2, 0, 9, 5, 0});
  expect_values(apply("cumsum", {given(x)}, {{"axis", int64_t{-2}}}), {2, 3}, {0, 1, 2, 3, 5, 7});
}

TEST(Softmax, SumsToOneAndKeepsLargeValues) {
  Tensor x = floats({2, 3}, {1000, 1001, 1002, 0, 0, 0});
  double e1 = std::exp(-1.0), e2 = std::exp(-2.0), s = 1 + e1 + e2;
  expect_values(apply("softmax", {given(x)}), {2, 3}, {e2 / s, e1 / s, 1 / s, 1. / 3, 1. / 3, 1. / 3});
  expect_values(apply("log_softmax", {given(x)}), {2, 3},
                {-2 - std::log(s), -1 - std::log(s), -std::log(s), -std::log(3.), -std::log(3.), -std::log(3.)}, 1e-5);
  expect_values(apply("softmax", {given(floats({2, 1, 2}, {0, 0, 0, std::log(3.)}))}, {{"axis", int64_t{0}}}), {2, 1, 2},
                {0.5, 0.25, 0.5, 0.75});
  expect_values(apply("hardmax", {given(floats({2, 3}, {1, 3, 3, 2, 1, 0}))}), {2, 3}, {0, 1, 0, 1, 0, 0});
}

TEST(Reduce, Refuses) {
  auto x = given(counting({2, 3}));
  EXPECT_NE(refusal("reduce_sum", {x}, {{"axes", Ints{2}}}).find("axis 2 is out of range"), std::string::npos);
  EXPECT_NE(refusal("reduce_sum", {x}, {{"axes", Ints{1, -1}}}).find("named twice"), std::string::npos);
  EXPECT_NE(refusal("softmax", {given(counting({2}, DType::I32))}).find("must be floats"), std::string::npos);
  EXPECT_NE(refusal("softmax", {x}, {{"axis", int64_t{-3}}}).find("out of range"), std::string::npos);
}

// ---- norms

std::vector<double> normalised(std::vector<double> v, double epsilon) {
  double mean = 0, var = 0;
  for (double x : v) mean += x / static_cast<double>(v.size());
  for (double x : v) var += (x - mean) * (x - mean) / static_cast<double>(v.size());
  for (double& x : v) x = (x - mean) / std::sqrt(var + epsilon);
  return v;
}

TEST(Norm, Batch) {
  Tensor x = counting({1, 2, 2});
  auto p = [](std::vector<double> v) { return given(floats({2}, v)); };
  expect_values(apply("batch_norm", {given(x), p({1, 2}), p({0, 1}), p({0.5, 2.5}), p({4, 0.25})}, {{"epsilon", 0.0}}),
                {1, 2, 2}, {-0.25, 0.25, -1, 3});
  EXPECT_NE(refusal("batch_norm", {given(x), p({1, 2}), p({0, 1}), given(counting({3})), p({4, 0.25})})
                .find("mean has the shape 3 for 2 channels"), std::string::npos);
}

TEST(Norm, OverRowsOfEachKind) {
  Tensor x = floats({1, 4, 2}, {1, 4, -2, 0, 3, 3, 8, 1});
  std::vector<double> v = values(x);
  auto scale = given(floats({4}, {1, 2, 1, 1})), bias = given(floats({4}, {0, 1, 0, 0}));
  std::vector<double> instance, group;
  for (int c = 0; c < 4; ++c)
    for (double y : normalised({v[2 * c], v[2 * c + 1]}, 1e-5)) instance.push_back(c == 1 ? 2 * y + 1 : y);
  expect_values(apply("instance_norm", {given(x), scale, bias}), {1, 4, 2}, instance, 1e-5);
  for (int g = 0; g < 2; ++g) {
    auto y = normalised({v.begin() + 4 * g, v.begin() + 4 * g + 4}, 1e-5);
    for (int i = 0; i < 4; ++i) group.push_back(g == 0 && i >= 2 ? 2 * y[i] + 1 : y[i]);
  }
  expect_values(apply("group_norm", {given(x), scale, bias}, {{"num_groups", int64_t{2}}}), {1, 4, 2}, group, 1e-5);
  std::vector<double> layer = normalised(v, 1e-5);
  expect_values(apply("layer_norm", {given(x), given(floats({4, 2}, std::vector<double>(8, 1)))}, {{"axis", int64_t{1}}}),
                {1, 4, 2}, layer, 1e-5);
  EXPECT_NE(refusal("group_norm", {given(x), scale, bias}, {{"num_groups", int64_t{3}}}).find("4 channels do not divide"),
            std::string::npos);
}

TEST(Norm, SurvivesALargeMean) {
  Tensor x = floats({1, 1, 4}, {10000, 10001, 10002, 10003});
  expect_values(apply("instance_norm", {given(x), given(floats({1}, {1})), given(floats({1}, {0}))}, {{"epsilon", 0.0}}),
                {1, 1, 4}, normalised({0, 1, 2, 3}, 0), 1e-5);
}

TEST(Norm, RootMeanSquareLpAndLocalResponse) {
  Tensor x = floats({1, 2}, {3, 4});
  double rms = std::sqrt(12.5);
  expect_values(apply("rms_norm", {given(x), given(floats({2}, {1, 2}))}, {{"epsilon", 0.0}}), {1, 2}, {3 / rms, 8 / rms});
  expect_values(apply("lp_norm", {given(x)}), {1, 2}, {0.6, 0.8});
  expect_values(apply("lp_norm", {given(x)}, {{"p", int64_t{1}}}), {1, 2}, {3. / 7, 4. / 7});
  expect_values(apply("lp_norm", {given(floats({1, 2}, {0, 0}))}), {1, 2}, {0, 0});
  Tensor c = floats({1, 3, 1}, {1, 2, 3});
  auto lrn = [](double v, double sum) { return v / std::pow(1 + 0.5 / 3 * sum, 0.75); };
  expect_values(apply("lrn", {given(c)}, {{"size", int64_t{3}}, {"alpha", 0.5}}), {1, 3, 1},
                {lrn(1, 5), lrn(2, 14), lrn(3, 13)});
  expect_values(apply("mean_variance_norm", {given(floats({2, 1, 1, 2}, {1, 2, 3, 4}))}), {2, 1, 1, 2},
                normalised({1, 2, 3, 4}, 0), 1e-5);
}

}  // namespace
}  // namespace burnish::test
