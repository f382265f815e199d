// A product or convolution and the 1x1 product behind it as one kernel: the interpreter's result, that of the kernels, and when it is chosen.
#include <gtest/gtest.h>

#include <random>

#include "cuda/kernels.h"
#include "target/cuda/tiles.h"
#include "target/cuda/ways.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::Device;
using cuda_target::PairTile;
using cuda_target::Precision;
using schedule_test::Case;

struct PairCase {
  int height = 9, width = 11, in = 16, between = 24, out = 15, kernel = 3, stride = 1, images = 1;
  bool planes = true, residual = false, relu = true, finished = true, scaled = false;
  Precision precision = Precision::Tf32;
  std::string text() const {
    return fmt::format("{} x {} x {} x {}-{}-{}, window {}, stride {}{}{}{}{}, precision {}", images, height, width, in, between, out, kernel, stride, planes ? ", planes" : "",
                       residual ? ", residual" : "", scaled ? ", scaled" : "", finished ? "" : ", bare", static_cast<int>(precision));
  }
};

// Tensors between kernels, weights among them, are of the precision's type; the last result is f32, and of the size of what was summed first.
StageGroup pair(const PairCase& c) {
  GroupBuilder b("pair");
  const DType type = device(c.precision).storage;
  const int pad = c.kernel / 2, height = (c.height - 1) / c.stride + 1, width = (c.width - 1) / c.stride + 1;
  const auto image = [&](int channels, int h, int w) { return std::vector<NamedExtent>{{"n", c.images}, {"c", channels}, {"y", h}, {"x", w}}; };
  const auto weights = [&](const std::string& name, int to, int from, int kernel) {
    return b.constant(name, type, {{"c", to}, {"k", from}, {"ky", kernel}, {"kx", kernel}});
  };
  const auto convolved = [&](const std::string& name, StageId x, int to, int from, int kernel, int stride, int around) {
    const StageId w = weights(name + ".w", to, from, kernel);
    return b.reduce(name + ".acc", DType::F32, image(to, height, width), {{"k", from}, {"ky", kernel}, {"kx", kernel}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
      return f32(b.at(x, {a[0], r[0], a[2] * stride + r[1] - Aff(around), a[3] * stride + r[2] - Aff(around)}, around ? constant(0, type) : Expr{})) * f32(b.at(w, {a[1], r[0], r[1], r[2]}));
    });
  };
  const auto finished = [&](const std::string& name, StageId acc, int channels, bool relu, StageId residual, DType stored, double scale = 1) {
    const StageId bias = b.constant(name + ".b", DType::F32, {{"c", channels}});
    return b.compute(name, stored, image(channels, height, width), [&](AxisVars a) {
      Expr v = b.at(acc, target_test::at(a));
      if (scale != 1) v = v * constant(scale);
      v = v + b.at(bias, {a[1]});
      if (residual != target_test::none) v = v + f32(b.at(residual, target_test::at(a)));
      if (relu) v = max(v, constant(0));
      return stored == DType::F32 ? v : cast(stored, v);
    });
  };
  StageId x = b.input("X", type, image(c.in, c.height, c.width), target_test::nhwc);
  if (c.scaled) {
    const StageId gate = b.input("G", type, image(c.in, 1, 1)), scaled = b.compute("S", type, image(c.in, c.height, c.width), [&](AxisVars a) {
      return cast(type, f32(b.at(x, target_test::at(a))) * f32(b.at(gate, {a[0], a[1], Aff(0), Aff(0)})));
    });
    b[scaled].layout = target_test::nhwc;
    x = scaled;
  }
  StageId a = convolved("A", x, c.between, c.in, c.kernel, c.stride, pad);
  if (c.finished || type != DType::F32) a = finished("A", a, c.between, c.relu, target_test::none, type);
  b[a].layout = target_test::nhwc;
  const StageId r = c.residual ? b.input("R", type, image(c.out, height, width), target_test::nhwc) : target_test::none;
  const StageId o = finished("O", convolved("O", a, c.out, c.between, 1, 1, 0), c.out, false, r, DType::F32, 0.125);
  if (!c.planes) b[o].layout = target_test::nhwc;
  b.output(o);
  return b.group();
}

Schedule inlined(const StageGroup& g) {
  Schedule s(g);
  inline_cheap(s);
  if (s.group().named("S") && s.group()[*s.group().named("S")].is_compute()) s.inline_stage("S");
  return s;
}

// [m, k] x [k, between] x [between, n]: points of one axis.
StageGroup products(int64_t m, int64_t k, int64_t between, int64_t n) {
  GroupBuilder b("products");
  const auto product = [&](const std::string& name, StageId x, int64_t from, int64_t to) {
    const StageId w = b.constant(name + ".w", DType::F32, {{"k", from}, {"n", to}});
    return b.reduce(name, DType::F32, {{"m", m}, {"n", to}}, {{"k", from}}, Combine::Sum, [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}) * b.at(w, {r[0], a[1]}); });
  };
  const StageId a = product("A", b.input("X", DType::F32, {{"m", m}, {"k", k}}), k, between);
  const StageId f = b.compute("F", DType::F32, {{"m", m}, {"n", between}}, [&](AxisVars v) { return unary(UnaryOp::Tanh, b.at(a, {v[0], v[1]})); });
  b.output(product("O", f, between, n));
  return b.group();
}

PairCase random_pair(std::mt19937_64& random, int i) {
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  return {.height = any(7, 21), .width = any(3, 21), .in = 8 * any(1, 4), .between = 8 * any(1, 5), .out = any(0, 1) ? 8 * any(1, 5) : any(8, 40), .kernel = any(0, 2) ? 3 : 1,
          .stride = any(1, 2), .images = any(0, 3) ? 1 : 2, .planes = any(0, 1) > 0, .residual = any(0, 1) > 0, .relu = any(0, 2) > 0, .finished = any(0, 4) > 0,
          .precision = static_cast<Precision>(i % 4)};
}

// Some of the tiles, of all kinds.
template <class F> void for_some(const std::vector<PairTile>& tiles, int n, std::mt19937_64& random, const F& f) {
  for (int i = 0; i < n; ++i) f(tiles[std::uniform_int_distribution<size_t>(0, tiles.size() - 1)(random)]);
}

TEST(Pairs, Schedules) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(16); ++i) {
    const PairCase c = random_pair(random, i);
    const StageGroup g = pair(c);
    const Schedule s = inlined(g);
    const auto tiles = cuda_target::pair_tiles(s, device(c.precision));
    ASSERT_FALSE(tiles.empty()) << c.text();
    for_some(tiles, 2, random, [&](const PairTile& x) {
      Schedule t = s;
      const std::string what = fmt::format("{}: {} rows, {} warps, {} staged, {} ahead, weights {}, {} columns, kept {}", c.text(), x.first.rows, x.first.warps_m, x.first.staged, x.first.ahead,
                                           x.first.weights, x.columns, x.kept);
      ASSERT_TRUE(cuda_target::by_pair(t, x, device(c.precision))) << what;
      EXPECT_NE(t.to_text().find(", warp)"), std::string::npos) << what;
      expect_same(Case(g, t), what);
    });
  }
}

TEST_P(Kernels, Pairs) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(12); ++i) {
    const PairCase c = random_pair(random, i);
    const StageGroup g = pair(c);
    const Schedule s = inlined(g);
    for_some(cuda_target::pair_tiles(s, device(c.precision)), 1, random, [&](const PairTile& x) {
      Schedule t = s;
      ASSERT_TRUE(cuda_target::by_pair(t, x, device(c.precision)));
      SCOPED_TRACE(c.text());
      const auto kernels = c_like::kernels_of(schedule_test::lowered(t), cuda_target::dialect(c.precision));
      EXPECT_EQ(kernels.size(), 1u);
      EXPECT_EQ(kernels[0].source.find("of_later_thread"), std::string::npos);
      expect_right(Case(g, t), c.text(), c.precision);
    });
  }
}

TEST_P(Kernels, PairsOfScaledData) {
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
    const StageGroup g = pair({.height = 10, .width = 9, .in = 16, .between = 16, .out = 12, .kernel = 1, .scaled = true, .precision = p});
    Schedule s = inlined(g);
    const auto tiles = cuda_target::pair_tiles(s, device(p));
    ASSERT_FALSE(tiles.empty());
    ASSERT_TRUE(cuda_target::by_pair(s, tiles[0], device(p)));
    expect_right(Case(g, s), fmt::format("precision {}", static_cast<int>(p)), p);
  }
}

TEST_P(Kernels, PairsOfMatrices) {
  std::mt19937_64 random(schedule_test::seed());
  for (const StageGroup& g : {products(45, 32, 24, 16), products(130, 16, 40, 27)}) {
    const Schedule s = inlined(g);
    for_some(cuda_target::pair_tiles(s, {}), 2, random, [&](const PairTile& x) {
      Schedule t = s;
      ASSERT_TRUE(cuda_target::by_pair(t, x, {}));
      expect_right(Case(g, t), to_text(g));
    });
  }
}

// The way of the default schedule, by its space.
std::string chosen(const StageGroup& g, const Device& d) {
  const auto space = cuda_target::make_space(g, d);
  const auto& knob = space->knobs()[0];
  return knob.text(space->default_point()[0]);
}

// A detector's last convolution and its heads.
TEST(Pairs, Tails) {
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
    const StageGroup g = pair({.height = 136, .width = 240, .in = 24, .between = 24, .out = 15, .precision = p});
    EXPECT_TRUE(cuda_target::prefers_one_kernel(g, device(p)));
    EXPECT_EQ(chosen(g, device(p)).substr(0, 5), "pair:");
    // Of few points a warp with all channels has too long a way.
    EXPECT_FALSE(cuda_target::prefers_one_kernel(pair({.height = 14, .width = 14, .in = 128, .between = 128, .out = 512, .planes = false, .precision = p}), device(p)));
    // What is expanded is for a chain.
    EXPECT_FALSE(cuda_target::prefers_one_kernel(pair({.height = 112, .width = 112, .in = 32, .between = 16, .out = 96, .kernel = 1, .planes = false, .precision = p}), device(p)));
  }
  EXPECT_TRUE(cuda_target::pair_tiles(inlined(pair({.between = 20})), {}).empty()) << "no whole instructions";
  EXPECT_TRUE(cuda_target::pair_tiles(inlined(pair({})), {.sm = 75}).empty()) << "no instructions";
}

}  // namespace
}  // namespace burnish::cuda_test
