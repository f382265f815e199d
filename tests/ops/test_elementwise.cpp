#include <cmath>
#include <limits>

#include "ops/support.h"

namespace burnish::test {
namespace {

const double inf = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Row {
  std::string op;
  std::function<double(double)> f;
  std::vector<double> points;
  AttrList attrs = {};
};

TEST(Elementwise, UnaryOperatorsAgreeWithTheirDefinitions) {
  const std::vector<double> all{-30, -3, -1, -0.6, -0.5, -0.1, 0, 0.2, 0.5, 1, 2.5, 6, 30};
  const std::vector<double> unit{-0.99, -0.5, 0, 0.3, 0.99}, positive{0.01, 0.5, 1, 2, 100},
      above{1, 1.5, 3, 50};
  const Row rows[] = {
      {"identity", [](double x) { return x; }, all},
      {"neg", [](double x) { return -x; }, all},
      {"abs", [](double x) { return std::fabs(x); }, all},
      {"sign", [](double x) { return (x > 0) - (x < 0); }, all},
      {"exp", [](double x) { return std::exp(x); }, all},
      {"log", [](double x) { return std::log(x); }, positive},
      {"sqrt", [](double x) { return std::sqrt(x); }, positive},
      {"rsqrt", [](double x) { return 1 / std::sqrt(x); }, positive},
      {"reciprocal", [](double x) { return 1 / x; }, positive},
      {"tanh", [](double x) { return std::tanh(x); }, all},
      {"sigmoid", sigmoid, all},
      {"erf", [](double x) { return std::erf(x); }, all},
      {"sin", [](double x) { return std::sin(x); }, all},
      {"cos", [](double x) { return std::cos(x); }, all},
      {"tan", [](double x) { return std::tan(x); }, unit},
      {"asin", [](double x) { return std::asin(x); }, unit},
      {"acos", [](double x) { return std::acos(x); }, unit},
      {"atan", [](double x) { return std::atan(x); }, all},
      {"sinh", [](double x) { return std::sinh(x); }, unit},
      {"cosh", [](double x) { return std::cosh(x); }, unit},
      {"asinh", [](double x) { return std::asinh(x); }, all},
      {"acosh", [](double x) { return std::acosh(x); }, above},
      {"atanh", [](double x) { return std::atanh(x); }, unit},
      {"floor", [](double x) { return std::floor(x); }, all},
      {"ceil", [](double x) { return std::ceil(x); }, all},
      {"round", [](double x) { return std::nearbyint(x); }, {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6}},
      {"relu", [](double x) { return std::max(x, 0.0); }, all},
      {"leaky_relu", [](double x) { return x < 0 ? 0.1 * x : x; }, all, {{"alpha", 0.1}}},
      {"elu", [](double x) { return x < 0 ? 2 * (std::exp(x) - 1) : x; }, all, {{"alpha", 2.0}}},
      {"celu", [](double x) { return std::max(0.0, x) + std::min(0.0, 2 * (std::exp(x / 2) - 1)); },
       all, {{"alpha", 2.0}}},
      {"selu", [](double x) {
         return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * (std::exp(x) - 1)); }, all},
      {"thresholded_relu", [](double x) { return x > 0.5 ? x : 0; }, all, {{"alpha", 0.5}}},
      {"softplus", [](double x) { return std::log1p(std::exp(x)); }, all},
      {"softsign", [](double x) { return x / (1 + std::fabs(x)); }, all},
      {"silu", [](double x) { return x * sigmoid(x); }, all},
      {"swish", [](double x) { return x * sigmoid(2 * x); }, all, {{"alpha", 2.0}}},
      {"mish", [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }, all},
      {"hard_sigmoid", [](double x) { return std::clamp(0.2 * x + 0.5, 0.0, 1.0); }, all},
      {"hard_swish", [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }, all},
      {"gelu", [](double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }, all},
      {"gelu", [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
       }, all, {{"approximate", std::string("tanh")}}},
      {"shrink", [](double x) { return x < -1 ? x + 0.5 : x > 1 ? x - 0.5 : 0; }, all,
       {{"lambd", 1.0}, {"bias", 0.5}}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.op);
    std::vector<double> wanted;
    for (double p : row.points) wanted.push_back(row.f(static_cast<float>(p)));
    Shape s{1, std::ssize(row.points)};
    expect_values(apply(row.op, {given(floats(s, row.points))}, row.attrs), s, wanted, 2e-6);
  }
}

TEST(Elementwise, EveryRankBroadcasts) {
  Tensor a = counting({2, 1, 3}), b = counting({4, 1});
  std::vector<double> wanted;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int k = 0; k < 3; ++k) wanted.push_back(i * 3 + k + j);
  expect_values(apply("add", {given(a), given(b)}), {2, 4, 3}, wanted);
  expect_values(apply("mul", {given(counting({3})), given(floats({}, {2}))}), {3}, {0, 2, 4});
  Tensor six = counting({1, 2, 1, 1, 1, 2}), one = counting({2});
  expect_values(apply("sub", {given(six), given(one)}), {1, 2, 1, 1, 1, 2}, {0, 0, 2, 2});
}

TEST(Elementwise, IntegersWrapAndDivideTowardsZero) {
  auto i8 = [](std::vector<int64_t> v) { return given(integers({std::ssize(v)}, v, DType::I8)); };
  expect_values(apply("add", {i8({100, -100}), i8({100, -100})}), {2}, {-56, 56});
  expect_values(apply("div", {i8({-7, 7, 5}), i8({2, -2, 0})}), {3}, {-3, -3, 0});
  expect_values(apply("mod", {i8({-7, 7, -6}), i8({3, -3, 3})}), {3}, {2, -2, 0});
  expect_values(apply("mod", {i8({-7, 7}), i8({3, -3})}, {{"fmod", int64_t{1}}}), {2}, {-1, 1});
  expect_values(apply("mod", {given(floats({2}, {-4.5, 4.5})), given(floats({2}, {2, -2}))},
                      {{"fmod", int64_t{1}}}), {2}, {-0.5, 0.5});
  auto u8 = [](std::vector<int64_t> v) { return given(integers({std::ssize(v)}, v, DType::U8)); };
  expect_values(apply("bit_shift", {u8({16, 4}), u8({1, 2})}, {{"direction", std::string("right")}}), {2}, {8, 1});
  expect_values(apply("bit_shift", {u8({16, 200}), u8({1, 1})}, {{"direction", std::string("left")}}), {2}, {32, 144});
  expect_values(apply("bit_xor", {u8({12}), u8({10})}), {1}, {6});
  expect_values(apply("bit_not", {u8({12})}), {1}, {243});
  expect_values(apply("max", {u8({200}), u8({100}), u8({201})}), {1}, {201});
}

TEST(Elementwise, LogicComparisonsAndChoice) {
  auto b = [](std::vector<int64_t> v) { return given(integers({std::ssize(v)}, v, DType::Bool)); };
  expect_values(apply("and", {b({0, 0, 1, 1}), b({0, 1, 0, 1})}), {4}, {0, 0, 0, 1});
  expect_values(apply("or", {b({0, 0, 1, 1}), b({0, 1, 0, 1})}), {4}, {0, 1, 1, 1});
  expect_values(apply("xor", {b({0, 0, 1, 1}), b({0, 1, 0, 1})}), {4}, {0, 1, 1, 0});
  expect_values(apply("not", {b({0, 1})}), {2}, {1, 0});
  auto f = [](std::vector<double> v) { return given(floats({std::ssize(v)}, v)); };
  expect_values(apply("less", {f({1, 2, nan}), f({2, 2, 1})}), {3}, {1, 0, 0});
  expect_values(apply("greater_equal", {f({1, 2, nan}), f({2, 2, 1})}), {3}, {0, 1, 0});
  expect_values(apply("equal", {b({0, 1}), b({1, 1})}), {2}, {0, 1});
  expect_values(apply("where", {b({1, 0}), f({1, 2}), f({3, 4})}), {2}, {1, 4});
  expect_values(apply("is_nan", {f({nan, 1, inf})}), {3}, {1, 0, 0});
  expect_values(apply("is_inf", {f({-inf, 1, inf})}), {3}, {1, 0, 1});
  expect_values(apply("is_inf", {f({-inf, 1, inf})}, {{"detect_negative", int64_t{0}}}), {3}, {0, 0, 1});
  expect_values(apply("is_inf", {f({-inf, 1, inf})}, {{"detect_positive", int64_t{0}}}), {3}, {1, 0, 0});
}

TEST(Elementwise, NotANumberGoesThroughMinAndMax) {
  auto f = [](std::vector<double> v) { return given(floats({std::ssize(v)}, v)); };
  expect_values(apply("max", {f({nan, 1}), f({1, nan})}), {2}, {nan, nan});
  expect_values(apply("min", {f({nan, 1}), f({1, nan})}), {2}, {nan, nan});
  expect_values(apply("relu", {f({nan})}), {1}, {nan});
}

TEST(Elementwise, PowersOfMixedTypes) {
  auto x = given(floats({3}, {2, -3, 0.5}));
  for (bool constant : {false, true}) {
    auto exponent = [&](Tensor t) { return Arg{std::move(t), constant}; };
    expect_values(apply("pow", {x, exponent(floats({}, {2}))}), {3}, {4, 9, 0.25});
    expect_values(apply("pow", {x, exponent(integers({}, {3}))}), {3}, {8, -27, 0.125});
  }
  expect_values(apply("pow", {given(integers({2}, {2, 9}, DType::I32)), given(floats({2}, {3.0, 0.5}))}), {2}, {8, 3});
}

TEST(Elementwise, ClipsByConstantsAndByTensors) {
  auto x = given(floats({4}, {-3, 0, 3, 9}));
  Tensor lo = floats({}, {-1}), hi = floats({}, {4});
  expect_values(apply("clip", {x, constant_arg(lo), constant_arg(hi)}), {4}, {-1, 0, 3, 4});
  expect_values(apply("clip", {x, given(lo), given(hi)}), {4}, {-1, 0, 3, 4});
  expect_values(apply("clip", {x, absent(), constant_arg(hi)}), {4}, {-3, 0, 3, 4});
  expect_values(apply("clip", {x}), {4}, {-3, 0, 3, 9});
}

TEST(Elementwise, Casts) {
  auto to = [](std::string t) { return AttrList{{"to", t}}; };
  auto x = given(floats({5}, {-1.7, 0, 1.7, 300, nan}));
  expect_values(apply("cast", {x}, to("i32")), {5}, {-1, 0, 1, 300, 0});
  expect_values(apply("cast", {x}, to("u8")), {5}, {0, 0, 1, 255, 0});
  expect_values(apply("cast", {x}, to("bool")), {5}, {1, 0, 1, 1, 1});
  expect_values(apply("cast", {given(floats({2}, {1.0009765625, 70000}))}, to("f16")), {2}, {1.0009765625, inf});
  EXPECT_NE(refusal("cast", {x}, to("f8")).find("\"f8\", which is no element type"), std::string::npos);
}

TEST(Elementwise, PreluSlopesBroadcastToTheInputOnly) {
  Tensor x = floats({1, 2, 2}, {-1, 2, -3, 4});
  expect_values(apply("prelu", {given(x), given(floats({2, 1}, {0.5, 0.1}))}), {1, 2, 2}, {-0.5, 2, -0.3, 4});
  EXPECT_NE(refusal("prelu", {given(x), given(counting({3, 1, 1}))}).find("does not broadcast to 1x2x2"),
            std::string::npos);
  EXPECT_NE(refusal("prelu", {given(counting({1, 2})), given(counting({3, 2}))}).find("does not broadcast to 1x2"),
            std::string::npos);
}

TEST(Elementwise, Refuses) {
  EXPECT_NE(refusal("add", {given(counting({2, 3})), given(counting({4}))}).find("2x3 and 4 do not broadcast"),
            std::string::npos);
  EXPECT_NE(refusal("add", {given(counting({2})), given(counting({2}, DType::I32))}).find("f32 and i32"),
            std::string::npos);
  EXPECT_NE(refusal("exp", {given(counting({2}, DType::I32))}).find("must be floats"), std::string::npos);
  EXPECT_NE(refusal("and", {given(counting({2})), given(counting({2}))}).find("must be bool"), std::string::npos);
  EXPECT_NE(refusal("gelu", {given(counting({2}))}, {{"aproximate", std::string("tanh")}})
                .find("no attribute 'aproximate'"), std::string::npos);
  EXPECT_NE(refusal("clip", {given(counting({2})), given(counting({2}))}).find("not a scalar"), std::string::npos);
}

TEST(Operators, AreFoundByName) {
  EXPECT_EQ(find_op("no_such_operator"), nullptr);
  for (const OpDef* op : all_ops()) {
    EXPECT_EQ(find_op(op->name), op);
    EXPECT_NE(op->infer, nullptr) << op->name;
    EXPECT_NE(op->compute, nullptr) << op->name;
    EXPECT_LE(op->min_inputs, op->max_inputs) << op->name;
  }
}

}  // namespace
}  // namespace burnish::test
