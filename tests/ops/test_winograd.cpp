// Winograd convolution against the textbook, and its transforms against the sums they stand for.
#include <cmath>
#include <random>

#include "ops/support.h"
#include "ops/winograd.h"

namespace burnish::test {
namespace {

// At ((G g) * (Bt d)) is the correlation of g and d: an identity of polynomials, so a few random
// ones prove it.
TEST(Winograd, TransformsGiveCorrelations) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int64_t m : {2, 4}) {
    const ops::WinogradTransforms t = ops::winograd_transforms(m);
    const size_t n = static_cast<size_t>(m) + 2;
    ASSERT_EQ(t.input.size(), n);
    ASSERT_EQ(t.weights.size(), n);
    ASSERT_EQ(t.output.size(), static_cast<size_t>(m));
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<double> d(n), g(3), product(n);
      for (double& v : d) v = uniform(random);
      for (double& v : g) v = uniform(random);
      for (size_t i = 0; i < n; ++i) {
        double x = 0, w = 0;
        for (size_t j = 0; j < n; ++j) x += t.input[i][j] * d[j];
        for (size_t j = 0; j < 3; ++j) w += t.weights[i][j] * g[j];
        product[i] = x * w;
      }
      for (size_t y = 0; y < static_cast<size_t>(m); ++y) {
        double sum = 0;
        for (size_t i = 0; i < n; ++i) sum += t.output[y][i] * product[i];
        EXPECT_NEAR(sum, g[0] * d[y] + g[1] * d[y + 1] + g[2] * d[y + 2], 1e-14)
            << "F(" << m << ",3) output " << y;
      }
    }
  }
}

// Multiplications that cost: none by 0 or 1 and exact halves and quarters, so that fp32 loses
// nothing there.
TEST(Winograd, TransformsAreSparse) {
  for (int64_t m : {2, 4}) {
    const ops::WinogradTransforms t = ops::winograd_transforms(m);
    int64_t zeros = 0;
    for (const auto& row : t.input) zeros += std::ranges::count(row, 0.0);
    EXPECT_EQ(zeros, m == 2 ? 8 : 14) << m;
    for (const auto& row : t.input) {
      for (double v : row) EXPECT_TRUE(v == 0 || std::abs(v) > 0.1) << v;
    }
  }
}

TEST(Winograd, AgreesWithConvolution) {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    std::mt19937_64 random(seed);
    auto pick = [&](int64_t lo, int64_t hi) {
      return lo + static_cast<int64_t>(random() % static_cast<uint64_t>(hi - lo + 1));
    };
    const int64_t m = seed % 2 ? 4 : 2, batch = pick(1, 2), in = pick(1, 4), out = pick(1, 4);
    const Shape x{batch, in, pick(3, 11), pick(3, 11)};
    std::vector<int64_t> pads;
    for (int i = 0; i < 4; ++i) pads.push_back(pick(0, 2));
    const bool bias = pick(0, 1);
    SCOPED_TRACE("seed " + std::to_string(seed) + " x " + shape_text(x) + " pads " +
                 shape_text(pads) + " tile " + std::to_string(m));
    const Tensor weights = random_floats({out, in, 3, 3}, seed + 1);
    std::vector<Arg> args{given(random_floats(x, seed)), given(*ops::winograd_weights(weights, m))};
    std::vector<Arg> direct{args[0], given(weights)};
    if (bias) {
      args.push_back(given(random_floats({out}, seed + 2)));
      direct.push_back(args.back());
    }
    const Tensor y = apply("winograd_conv", args, {{"tile", m}, {"pads", pads}});
    const Tensor wanted = apply("conv", direct, {{"pads", pads}});
    expect_values(y, wanted.shape, values(wanted), 2e-5);
  }
}

TEST(Winograd, RefusesWhatDoesNotFit) {
  const Tensor x = random_floats({1, 3, 8, 8}, 1), u = random_floats({6, 6, 3, 4}, 2);
  EXPECT_NE(refusal("winograd_conv", {given(x), given(u)},
                    {{"tile", int64_t{3}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}})
                .find("'tile' is 3"),
            std::string::npos);
  EXPECT_NE(refusal("winograd_conv", {given(x), given(u)},
                    {{"tile", int64_t{2}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}})
                .find("tiles of 2"),
            std::string::npos);
}

}  // namespace
}  // namespace burnish::test
