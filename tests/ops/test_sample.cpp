// Sampling: grids, antialiased resizing.
#include <cmath>

#include "ops/support.h"

namespace burnish::test {
namespace {

AttrList sample(std::string mode, std::string padding, int64_t align = 0) {
  return {{"mode", mode}, {"padding_mode", padding}, {"align_corners", align}};
}

// A row of four elements 0 1 2 3, read at positions given in elements.
std::vector<double> row_at(std::vector<double> positions, const std::string& mode, const std::string& padding) {
  int64_t n = std::ssize(positions);
  std::vector<double> grid;
  for (double x : positions) grid.insert(grid.end(), {(2 * x + 1) / 4 - 1, 0});
  return values(apply("grid_sample", {given(counting({1, 1, 1, 4})), given(floats({1, 1, n, 2}, grid))}, sample(mode, padding)));
}

void expect_near(const std::vector<double>& got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 1e-5) << i;
}

TEST(GridSample, ReadsZerosBordersOrReflections) {
  expect_near(row_at({0, 1.25, 3, 3.5, 5}, "linear", "zeros"), {0, 1.25, 3, 1.5, 0});
  expect_near(row_at({-2, 0.5, 3.4, 9}, "linear", "border"), {0, 0.5, 3, 3});
  expect_near(row_at({-1.5, 4.5, 8.25}, "linear", "reflection"), {0.5, 2.5, 0.25});
  expect_near(row_at({0.4, 0.6, 4, -1}, "nearest", "zeros"), {0, 1, 0, 0});
  expect_near(row_at({4, -1}, "nearest", "border"), {3, 0});
  expect_near(row_at({1, 2}, "cubic", "zeros"), {1, 2});
  expect_near(row_at({1.5}, "cubic", "border"), {1.5});
}

TEST(GridSample, CoordinatesAreInnermostFirst) {
  Tensor x = counting({1, 2, 2, 3});
  Tensor y = apply("grid_sample", {given(x), given(floats({1, 1, 2, 2}, {1, -1, -1, 1}))}, sample("linear", "zeros", 1));
  expect_values(y, {1, 2, 1, 2}, {2, 3, 8, 9}, 1e-5);
  Tensor v = counting({1, 1, 2, 2, 2});
  Tensor w = apply("grid_sample", {given(v), given(floats({1, 1, 1, 1, 3}, {1, -1, -1}))}, sample("nearest", "zeros", 1));
  expect_values(w, {1, 1, 1, 1, 1}, {1});
}

TEST(GridSample, SurvivesHostileGrids) {
  Tensor y = apply("grid_sample", {given(counting({1, 1, 2, 2})),
                                   given(floats({1, 1, 3, 2}, {NAN, NAN, INFINITY, 1e30, -1e30, 0}))},
                   sample("nearest", "zeros"));
  EXPECT_EQ(y.size(), 3);
  EXPECT_NE(refusal("grid_sample", {given(counting({1, 1, 2, 2})), given(counting({1, 1, 1, 3}))}).find("does not fit"),
            std::string::npos);
}

TEST(Resize, AntialiasingAveragesWhatItSkips) {
  AttrList attrs{{"mode", std::string("linear")}, {"antialias", int64_t{1}}};
  auto half = constant_arg(floats({1}, {0.5}));
  // half_pixel by a half: weights 1/8 3/8 3/8 1/8, the edge repeated
  Tensor y = apply("resize", {given(floats({4}, {0, 8, 16, 32})), absent(), half}, attrs);
  expect_values(y, {2}, {(3 * 0 + 3 * 8 + 16 + 0) / 8., (8 + 3 * 16 + 3 * 32 + 32) / 8.}, 1e-5);
  Tensor flat = apply("resize", {given(floats({1, 7}, std::vector<double>(7, 5))), absent(), absent(),
                                 constant_arg(integers({2}, {1, 3}))},
                      {{"mode", std::string("cubic")}, {"antialias", int64_t{1}}});
  expect_values(flat, {1, 3}, {5, 5, 5}, 1e-5);
  Tensor grown = apply("resize", {given(floats({2}, {0, 4})), absent(), constant_arg(floats({1}, {2}))}, attrs);
  expect_values(grown, {4}, {0, 1, 3, 4}, 1e-5);
}

TEST(Cumprod, Directions) {
  Tensor x = floats({4}, {1, 2, 3, 4});
  AttrList one{{"axis", int64_t{0}}};
  expect_values(apply("cumprod", {given(x)}, one), {4}, {1, 2, 6, 24});
  one.push_back({"exclusive", int64_t{1}});
  expect_values(apply("cumprod", {given(x)}, one), {4}, {1, 1, 2, 6});
  one.push_back({"reverse", int64_t{1}});
  expect_values(apply("cumprod", {given(x)}, one), {4}, {24, 12, 4, 1});
}

}  // namespace
}  // namespace burnish::test
