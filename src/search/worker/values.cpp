#include "search/worker/values.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "expr/half.h"

namespace burnish::search {

namespace {

// splitmix64: every element is a function of seed and position.
uint64_t next(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};
struct Rounded {  // TF32
  float value;
};
double value(Rounded x) { return x.value; }
double value(Half h) { return float_of_half(h.bits); }
double value(Bfloat b) { return float_of_bfloat(b.bits); }
template <class T>
double value(T v) {
  return static_cast<double>(v);
}

// f(T{}) with the type that holds a `t`.
template <class F>
auto with_type(DType t, F&& f) {
  switch (t) {
    case DType::Bool: case DType::U8: return f(uint8_t{});
    case DType::I8: return f(int8_t{});
    case DType::I16: return f(int16_t{});
    case DType::U16: return f(uint16_t{});
    case DType::I32: return f(int32_t{});
    case DType::U32: return f(uint32_t{});
    case DType::I64: return f(int64_t{});
    case DType::U64: return f(uint64_t{});
    case DType::F16: return f(Half{});
    case DType::BF16: return f(Bfloat{});
    case DType::TF32: return f(Rounded{});
    case DType::F32: return f(float{});
    case DType::F64: break;
  }
  return f(double{});
}

template <class T>
void fill_floats(Tensor& t, uint64_t state, double most) {
  T* out = t.data<T>();
  for (int64_t i = 0, n = t.size(); i < n; ++i) {
    const auto unit = static_cast<float>(static_cast<int64_t>(next(state)) >> 11) * 0x1p-52f;  // [-1, 1]
    const float v = unit * static_cast<float>(most);
    if constexpr (std::is_same_v<T, Half>) out[i] = {half_of_float(v)};
    else if constexpr (std::is_same_v<T, Rounded>) out[i] = {tf32_of_float(v)};
    else if constexpr (std::is_same_v<T, Bfloat>) out[i] = {bfloat_of_float(v)};
    else out[i] = v;
  }
}

template <class T>
void fill_integers(Tensor& t, uint64_t state, uint64_t count) {
  T* out = t.data<T>();
  for (int64_t i = 0, n = t.size(); i < n; ++i) out[i] = static_cast<T>(count ? next(state) % count : next(state));
}

// Weights: rows by output channel (convolutions) or columns (matrices); the longer is taken as the count of outputs.
double scale_of(const Parameter& p) {
  if (!p.constant || p.shape.size() < 2) return 1;
  double n = 1;
  for (int64_t d : p.shape) n *= static_cast<double>(d);
  const double outputs = static_cast<double>(std::max(p.shape.front(), p.shape.size() == 2 ? p.shape.back() : 1));
  return std::min(1.0, std::sqrt(3 * std::max(outputs, 1.0) / std::max(n, 1.0)));
}

struct Elements {
  int64_t count;
  Runs runs;
  bool used(int64_t i) const { return runs.pitch == 0 || i % runs.pitch < runs.run; }
};

std::string place(const Parameter& p, int64_t element) {
  if (!p.layout.empty()) {
    std::vector<std::string> at;
    for (const PhysicalDim& d : physical(p.layout, p.shape)) {
      at.push_back(std::to_string(d.stride ? element / d.stride : 0));
      if (d.stride) element %= d.stride;
    }
    return fmt::format("{}[{} in memory]", p.name, join(at, ", "));
  }
  std::vector<std::string> at(p.shape.size());
  for (size_t a = p.shape.size(); a-- > 0;) {
    at[a] = std::to_string(element % std::max<int64_t>(p.shape[a], 1));
    element /= std::max<int64_t>(p.shape[a], 1);
  }
  return fmt::format("{}[{}]", p.name, join(at, ", "));
}

template <class T>
std::string float_difference(const Parameter& p, const T* got, const T* expected, const Elements& e,
                             const Tolerance& t) {
  double squares = 0;
  int64_t finite = 0;
  for (int64_t i = 0; i < e.count; ++i) {
    if (!e.used(i)) continue;
    const double v = value(expected[i]);
    if (std::isfinite(v)) squares += v * v, ++finite;
  }
  const double rms = finite ? std::sqrt(squares / static_cast<double>(finite)) : 0;
  int64_t wrong = 0, worst = 0;
  double worst_ratio = -1;
  for (int64_t i = 0; i < e.count; ++i) {
    const double g = value(got[i]), w = value(expected[i]);
    if (g == w || !e.used(i) || (std::isnan(g) && std::isnan(w))) continue;
    const double allowed = t.relative * std::max(std::fabs(w), rms), off = std::fabs(g - w);
    if (std::isfinite(g) && std::isfinite(w) && off <= allowed) continue;
    ++wrong;
    const double ratio = std::isfinite(off) ? off / std::max(allowed, 1e-300) : std::numeric_limits<double>::infinity();
    if (ratio > worst_ratio) worst_ratio = ratio, worst = i;
  }
  const auto spared = t.outliers > 0 ? std::max<int64_t>(1, static_cast<int64_t>(t.outliers * static_cast<double>(e.count))) : 0;
  if (wrong <= spared) return {};
  return fmt::format("{} is {:.9g}, expected {:.9g} (off by more than {:.2g}); {} of {} elements are wrong",
                     place(p, worst), value(got[worst]), value(expected[worst]),
                     t.relative * std::max(std::fabs(value(expected[worst])), rms), wrong, e.count);
}

template <class T>
std::string integer_difference(const Parameter& p, const T* got, const T* expected, const Elements& e,
                               const Tolerance& t) {
  int64_t wrong = 0, far = 0, first = -1;
  for (int64_t i = 0; i < e.count; ++i) {
    if (got[i] == expected[i] || !e.used(i)) continue;
    ++wrong;
    const bool by_one = got[i] == static_cast<T>(expected[i] + 1) || expected[i] == static_cast<T>(got[i] + 1);
    if (!by_one) ++far;
    if (first < 0 || (far == 1 && !by_one)) first = i;
  }
  const auto spared = t.outliers > 0 ? std::max<int64_t>(1, static_cast<int64_t>(t.outliers * static_cast<double>(e.count))) : 0;
  if (far == 0 && wrong <= spared) return {};
  return fmt::format("{} is {}, expected {}; {} of {} elements are wrong", place(p, first), +got[first], +expected[first],
                     wrong, e.count);
}

}  // namespace

Tensor random_tensor(const Parameter& p, uint64_t seed) {
  Tensor t(p.dtype, p.shape);
  const uint64_t state = hash_bytes(p.name, seed * 0x9e3779b97f4a7c15u + 0xcbf29ce484222325u);
  constexpr uint64_t small = 100;
  switch (p.dtype) {
    case DType::Bool: fill_integers<uint8_t>(t, state, 2); break;
    case DType::I8: fill_integers<int8_t>(t, state, 0); break;
    case DType::U8: fill_integers<uint8_t>(t, state, 0); break;
    case DType::I16: fill_integers<int16_t>(t, state, small); break;
    case DType::U16: fill_integers<uint16_t>(t, state, small); break;
    case DType::I32: fill_integers<int32_t>(t, state, small); break;
    case DType::U32: fill_integers<uint32_t>(t, state, small); break;
    case DType::I64: fill_integers<int64_t>(t, state, small); break;
    case DType::U64: fill_integers<uint64_t>(t, state, small); break;
    case DType::F16: fill_floats<Half>(t, state, scale_of(p)); break;
    case DType::BF16: fill_floats<Bfloat>(t, state, scale_of(p)); break;
    case DType::TF32: fill_floats<Rounded>(t, state, scale_of(p)); break;
    case DType::F32: fill_floats<float>(t, state, scale_of(p)); break;
    case DType::F64: fill_floats<double>(t, state, scale_of(p)); break;
  }
  return t;
}

size_t bytes_of(const Parameter& p) {
  return static_cast<size_t>(physical_size(p.layout, p.shape)) * static_cast<size_t>(size_of(p.dtype));
}

std::string difference(const Parameter& p, std::span<const std::byte> got, std::span<const std::byte> expected,
                       const Tolerance& t) {
  check(got.size() == expected.size(), "answers of {} and {} bytes", got.size(), expected.size());
  if (got.empty() || std::memcmp(got.data(), expected.data(), got.size()) == 0) return {};
  const Elements e{static_cast<int64_t>(got.size()) / size_of(p.dtype), runs_of(p.layout, p.shape)};
  return with_type(p.dtype, [&]<class T>(T) {
    const auto *g = reinterpret_cast<const T*>(got.data()), *w = reinterpret_cast<const T*>(expected.data());
    if constexpr (std::is_integral_v<T>) return integer_difference(p, g, w, e, t);
    else return float_difference(p, g, w, e, t);
  });
}

double deviation(DType t, std::span<const std::byte> got, std::span<const std::byte> expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  return with_type(t, [&]<class T>(T) {
    const auto *g = reinterpret_cast<const T*>(got.data()), *w = reinterpret_cast<const T*>(expected.data());
    const size_t n = got.size() / sizeof(T);
    double squares = 0, most = 0;
    for (size_t i = 0; i < n; ++i) {
      const double a = value(g[i]), b = value(w[i]);
      if (std::isfinite(b)) squares += b * b;
      if (a == b || (std::isnan(a) && std::isnan(b))) continue;
      const double off = std::fabs(a - b);
      most = std::isnan(off) ? std::numeric_limits<double>::infinity() : std::max(most, off);
      if (std::isinf(most)) return most;
    }
    return most > 0 ? most / std::sqrt(squares / static_cast<double>(n)) : 0.0;
  });
}

}  // namespace burnish::search
