// A product or convolution whose finish adds another one, as one kernel: the interpreter's result, that of the kernels, and when it is chosen.
#include <gtest/gtest.h>

#include <random>

#include "cuda/kernels.h"
#include "target/cuda/tiles.h"
#include "target/cuda/ways.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::MatrixTile;
using cuda_target::Precision;
using schedule_test::Case;

struct AddedCase {
  int height = 10, width = 14, out = 24, first = 16, second = 32;
  bool transposed = true;  // the first: a window of 2x2 with stride 2, transposed; else 3x3
  int stride = 1;          // of the second
  bool relu = true;        // of what is added
  Precision precision = Precision::Tf32;
  std::string text() const {
    return fmt::format("{} x {} x {} from {} and {}{}, stride {}{}, precision {}", height, width, out, first, second, transposed ? ", transposed" : "", stride, relu ? ", relu" : "",
                       static_cast<int>(precision));
  }
};

StageGroup added(const AddedCase& c) {
  GroupBuilder b("added");
  const DType type = device(c.precision).storage;
  const auto image = [&](int channels, int h, int w) { return std::vector<NamedExtent>{{"n", 1}, {"c", channels}, {"y", h}, {"x", w}}; };
  const auto sum = [&](const std::string& name, int from, int kernel, const std::function<Expr(AxisVars, AxisVars, StageId)>& body) {
    const StageId w = b.constant(name + ".w", type, {{"c", c.out}, {"k", from}, {"ky", kernel}, {"kx", kernel}});
    const int window = c.transposed ? 1 : kernel;
    return b.reduce(name + ".acc", DType::F32, image(c.out, c.height, c.width), {{"k", from}, {"ky", window}, {"kx", window}}, Combine::Sum,
                    [&](AxisVars a, AxisVars r) { return body(a, r, w); });
  };
  const auto part = [](VarId v, int64_t div, int64_t mod) {
    Index i;
    i.atoms.push_back({Aff::of(v), {}, div, mod, 1});
    return i;
  };
  const StageId x = c.transposed ? b.input("X", type, image(c.first, c.height / 2, c.width / 2), target_test::nhwc) : b.input("X", type, image(c.first, c.height, c.width), target_test::nhwc);
  const StageId y = b.input("Y", type, image(c.second, c.height * c.stride, c.width * c.stride), target_test::nhwc);
  StageId first;
  if (c.transposed) {
    first = sum("A", c.first, 2, [&](AxisVars a, AxisVars r, StageId w) {
      const VarId v = a[2].terms[0].var, u = a[3].terms[0].var;
      return f32(b.at(x, {a[0], r[0], part(v, 2, 0), part(u, 2, 0)})) * f32(b.at(w, {a[1], r[0], part(v, 1, 2), part(u, 1, 2)}));
    });
  } else {
    first = sum("A", c.first, 3, [&](AxisVars a, AxisVars r, StageId w) {
      return f32(b.at(x, {a[0], r[0], a[2] + r[1] - Aff(1), a[3] + r[2] - Aff(1)}, constant(0, type))) * f32(b.at(w, {a[1], r[0], r[1], r[2]}));
    });
  }
  const StageId v = b.constant("B.w", type, {{"c", c.out}, {"k", c.second}});
  const StageId second = b.reduce("B.acc", DType::F32, image(c.out, c.height, c.width), {{"k", c.second}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
    return f32(b.at(y, {a[0], r[0], a[2] * c.stride, a[3] * c.stride})) * f32(b.at(v, {a[1], r[0]}));
  });
  const StageId bias = b.constant("A.b", DType::F32, {{"c", c.out}}), other = b.constant("B.b", DType::F32, {{"c", c.out}});
  const StageId o = b.compute("O", type, image(c.out, c.height, c.width), [&](AxisVars a) {
    Expr more = b.at(second, target_test::at(a)) + b.at(other, {a[1]});
    if (c.relu) more = max(more, constant(0));
    const Expr all = max(b.at(first, target_test::at(a)) + b.at(bias, {a[1]}), constant(0)) + more;
    return type == DType::F32 ? all : cast(type, all);
  });
  b[o].layout = target_test::nhwc;
  b.output(o);
  return b.group();
}

AddedCase random_case(std::mt19937_64& random, int i) {
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  const bool transposed = any(0, 1) > 0;
  return {.height = 2 * any(2, 9), .width = 2 * any(2, 11), .out = 8 * any(1, 5), .first = 8 * any(1, 4), .second = 8 * any(1, 6), .transposed = transposed, .stride = any(1, 2),
          .relu = any(0, 1) > 0, .precision = static_cast<Precision>(i % 4)};
}

const MatrixTile& any_of(const std::vector<MatrixTile>& tiles, std::mt19937_64& random) { return tiles[std::uniform_int_distribution<size_t>(0, tiles.size() - 1)(random)]; }

TEST(Added, Schedules) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(16); ++i) {
    const AddedCase c = random_case(random, i);
    const StageGroup g = added(c);
    Schedule s(g);
    inline_cheap(s);
    const auto tiles = cuda_target::added_tiles(s, device(c.precision));
    ASSERT_FALSE(tiles.empty()) << c.text();
    ASSERT_TRUE(cuda_target::by_added(s, any_of(tiles, random), device(c.precision))) << c.text();
    expect_same(Case(g, s), c.text());
  }
}

TEST_P(Kernels, Added) {
  std::mt19937_64 random(schedule_test::seed());
  for (int i = 0; i < schedule_test::cases(12); ++i) {
    const AddedCase c = random_case(random, i);
    const StageGroup g = added(c);
    Schedule s(g);
    inline_cheap(s);
    ASSERT_TRUE(cuda_target::by_added(s, any_of(cuda_target::added_tiles(s, device(c.precision)), random), device(c.precision)));
    EXPECT_EQ(c_like::kernels_of(schedule_test::lowered(s), cuda_target::dialect(c.precision)).size(), 1u) << c.text();
    expect_right(Case(g, s), c.text(), c.precision);
  }
}

// The smaller maps of a pyramid, whose launches cost more than what they compute.
TEST(Added, Chosen) {
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
    const StageGroup g = added({.height = 136, .width = 240, .first = 24, .second = 24, .precision = p});
    EXPECT_TRUE(cuda_target::prefers_one_kernel(g, device(p)));
    const auto space = cuda_target::make_space(g, device(p));
    EXPECT_EQ(space->knobs()[0].text(space->default_point()[0]).substr(0, 6), "added:");
  }
  // Sums that are multiplied are none.
  GroupBuilder b("one");
  const StageId x = b.input("X", DType::F32, {{"m", 64}, {"k", 32}}), w = b.constant("W", DType::F32, {{"k", 32}, {"n", 32}});
  b.output(b.reduce("O", DType::F32, {{"m", 64}, {"n", 32}}, {{"k", 32}}, Combine::Sum, [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}) * b.at(w, {r[0], a[1]}); }));
  EXPECT_TRUE(cuda_target::added_tiles(Schedule(b.group()), device(Precision::Tf32)).empty());
}

}  // namespace
}  // namespace burnish::cuda_test
