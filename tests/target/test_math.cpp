// Elementary functions against double and long double libm, in units of the last place.
#include <bit>
#include <cmath>
#include <cstring>

#include "support.h"

namespace burnish::target_test {
namespace {

constexpr int batch = 4096;

// O = a formula of X[i], natively. `lanes`: of a vector.
class Formula {
 public:
  Formula(const std::string& formula, const std::string& dtype, const std::string& target, int lanes = batch)
      : target_(make_target(target, 1)),
        program_(program_of(parse_function(fmt::format(
            "func f(X: param {1}[{2}], O: out {1}[{2}]) {{ for j in 0..{3} {{ vectorize for l in 0..{4} {{ "
            "let i = {4}*j + l {{ O[i] = {0} }} }} }} }}",
            formula, dtype, batch, batch / lanes, lanes)))),
        library_(target_->build(program_, "{}")) {}
  template <class T>
  std::vector<T> operator()(std::vector<T> x) const {
    std::vector<T> o(batch);
    x.resize(batch);
    EXPECT_EQ(library_.run(program_, *target_, {x.data(), o.data()}, 1), 0);
    return o;
  }

 private:
  std::shared_ptr<const Target> target_;
  Program program_;
  Library library_;
};

class Unary : public Formula {
 public:
  Unary(const std::string& op, const std::string& dtype, const std::string& target) : Formula(op + "(X[i])", dtype, target) {}
};

// Distance in floats of the exact value's size; denormals count in their own unit.
double ulps(float got, double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  float nearest = float(want);
  if (std::isinf(nearest) || std::isinf(got)) return nearest == got ? 0 : INFINITY;
  double unit = std::max(std::ldexp(1.0, std::ilogb(want == 0 ? 1e-300 : want) - 23), 0x1p-149);
  return std::fabs(double(got) - want) / unit;
}

struct Bound {
  const char* op;
  double (*exact)(double);
  double ulps;
};

double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

const Bound bounds[] = {
    {"exp", std::exp, 2},        {"log", std::log, 2},   {"tanh", std::tanh, 3},   {"erf", std::erf, 2},
    {"sigmoid", sigmoid, 3},     {"sqrt", std::sqrt, 0.5}, {"sin", std::sin, 1},   {"cos", std::cos, 1},
    {"tan", std::tan, 1},        {"asin", std::asin, 1}, {"acos", std::acos, 1},   {"atan", std::atan, 1},
    {"sinh", std::sinh, 1},      {"cosh", std::cosh, 1}, {"asinh", std::asinh, 1}, {"acosh", std::acosh, 1},
    {"atanh", std::atanh, 1},
};

class MathF32 : public ::testing::TestWithParam<Bound> {};

// Every 2^14 + 3rd float of all that exist, both signs, denormals and NaN among them, and the special ones.
TEST_P(MathF32, IsWithinItsBoundEverywhere) {
  const Bound& b = GetParam();
  for (const char* target : {"native", "llvm:cpu=x86-64-v3", "llvm:cpu=x86-64"}) {
    Unary f(b.op, "f32", target);
    double slack = std::string_view(target) == "llvm:cpu=x86-64" ? 1 : 0;  // without fused operations
    bool periodic = std::string_view(b.op) == "sin" || std::string_view(b.op) == "cos" || std::string_view(b.op) == "tan";
    std::vector<float> x = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, -1.0f, 1e-45f, -1e-45f, 88.72284f, -103.97f,
                            std::nextafter(1.0f, 0.0f), std::nextafter(1.0f, 2.0f), 0x1p-126f};
    if (!periodic) x.insert(x.end(), {3.4e38f, -3.4e38f});
    double worst = 0;
    float at = 0;
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += (1 << 14) + 3) {
      float v = std::bit_cast<float>(uint32_t(bits));
      if (!periodic || std::fabs(v) < 1.6e6f) x.push_back(v);
      if (x.size() < batch && bits + (1 << 14) + 3 < (uint64_t{1} << 32)) continue;
      std::vector<float> o = f(x);
      for (size_t i = 0; i < x.size(); ++i) {
        double u = ulps(o[i], b.exact(double(x[i])));
        if (u > worst || std::isnan(u)) worst = u, at = x[i];
      }
      x.clear();
    }
    EXPECT_LE(worst, b.ulps + slack) << b.op << "(" << at << ") on " << target << " is " << f(std::vector<float>{at})[0]
                                     << ", not " << b.exact(double(at));
  }
}

INSTANTIATE_TEST_SUITE_P(Target, MathF32, ::testing::ValuesIn(bounds), [](const auto& i) { return std::string(i.param.op); });

// x * sigmoid(x) has code of its own where vectors can be permuted. Its relative error grows with -x; below -88, where it
// is less than 1e-36, only its error against x is small.
TEST(MathF32, SiluIsWithinItsBoundEverywhere) {
  for (const auto& [target, lanes] : {std::pair("native", 16), std::pair("native", 8), std::pair("llvm:cpu=x86-64-v3", 8)}) {
    Formula f("X[i] * sigmoid(X[i])", "f32", target, lanes);
    std::vector<float> x = {0.0f, -0.0f, INFINITY, NAN, 88.0f, -88.0f, -87.9f, -88.1f, 3.4e38f, 1e-45f, -1e-45f, 0x1p-126f, -20.0f};
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += (1 << 14) + 3) {
      const float sample = std::bit_cast<float>(uint32_t(bits));
      if (sample > -1e30f) x.push_back(sample);
      if (x.size() < batch && bits + (1 << 14) + 3 < (uint64_t{1} << 32)) continue;
      const std::vector<float> o = f(x);
      for (size_t i = 0; i < x.size(); ++i) {
        const double v = double(x[i]), want = v * sigmoid(v);
        if (v < -88) {
          ASSERT_LE(std::fabs(double(o[i]) - want), -v * 0x1p-125) << v << " on " << target;
        } else {
          ASSERT_LE(ulps(o[i], want), 4 + std::max(0.0, -v) / 20) << v << " on " << target << " is " << o[i] << ", not " << want;
        }
      }
      x.clear();
    }
  }
}

struct Wide {
  const char* op;
  long double (*exact)(long double);
  double low, high;
};

const Wide wides[] = {
    {"exp", std::exp, -745, 709},     {"log", std::log, 1e-310, 1e300},    {"tanh", std::tanh, -25, 25},
    {"erf", std::erf, -7, 7},         {"sin", std::sin, -1e5, 1e5},        {"cos", std::cos, -1e5, 1e5},
    {"tan", std::tan, -1e3, 1e3},     {"asin", std::asin, -1, 1},          {"acos", std::acos, -1, 1},
    {"atan", std::atan, -50, 50},     {"sinh", std::sinh, -710, 710},      {"cosh", std::cosh, -710, 710},
    {"asinh", std::asinh, -1e9, 1e9}, {"acosh", std::acosh, 1, 1e9},       {"atanh", std::atanh, -1, 1},
    {"sqrt", std::sqrt, 0, 1e300},
};

class MathF64 : public ::testing::TestWithParam<Wide> {};

TEST_P(MathF64, HasFourteenDigits) {
  const Wide& b = GetParam();
  std::mt19937_64 random(seed());
  for (const char* target : {"native", "llvm:cpu=x86-64"}) {
    Unary f(b.op, "f64", target);
    for (int round = 0; round < 20; ++round) {
      std::vector<double> x(batch);
      double scale = std::pow(10.0, -round);  // also near 0
      for (double& v : x) {
        double u = std::uniform_real_distribution<double>(0, 1)(random);
        v = round % 2 && b.low < 0 ? (u - 0.5) * scale * std::min(b.high, 2.0) : b.low + (b.high - b.low) * u;
        if (b.low > 0 && round % 2) v = b.low + u * scale;
      }
      std::vector<double> o = f(x);
      for (int i = 0; i < batch; ++i) {
        long double want = b.exact(x[size_t(i)]);
        double relative = double(std::fabs((long double)o[size_t(i)] - want) / std::max(std::fabs(want), 1e-300L));
        ASSERT_LE(relative, 1e-14) << b.op << "(" << x[size_t(i)] << ") on " << target << " is " << o[size_t(i)] << ", not "
                                   << double(want) << ", seed " << seed();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Target, MathF64, ::testing::ValuesIn(wides), [](const auto& i) { return std::string(i.param.op); });

TEST(Math, PowerMeetsTheSpecialCasesOfC) {
  std::vector<double> values = {0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 2.5, -2.5, 1e300, -1e300, 1e-300, 1e-310,
                                INFINITY, -INFINITY, NAN, 1000001, -1000001, 0x1p53, 1.0000001};
  int64_t n = int64_t(values.size()) * int64_t(values.size());
  Function f = parse_function(fmt::format(
      "func f(X: param f64[{0}], Y: param f64[{0}], O: out f64[{0}]) {{ vectorize for i in 0..{0} {{ O[i] = pow(X[i], Y[i]) }} }}", n));
  std::vector<double> x, y, o(static_cast<size_t>(n));
  for (double a : values) {
    for (double b : values) x.push_back(a), y.push_back(b);
  }
  auto t = make_target("native", 1);
  Program p = program_of(f);
  Library library(t->build(p, "{}"));
  ASSERT_EQ(library.run(p, *t, {x.data(), y.data(), o.data()}, 1), 0);
  for (size_t i = 0; i < x.size(); ++i) {
    double want = std::pow(x[i], y[i]);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(o[i])) << x[i] << "^" << y[i] << " is " << o[i];
    } else if (std::isinf(want) || want == 0) {
      EXPECT_EQ(o[i], want) << x[i] << "^" << y[i];
    } else {
      EXPECT_NEAR(o[i], want, std::max(1e-14 * std::fabs(want), 0x1p-1074)) << x[i] << "^" << y[i];
    }
  }
}

}  // namespace
}  // namespace burnish::target_test
