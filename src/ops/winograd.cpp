// Winograd convolution F(m x m, 3 x 3): a tile of m x m outputs of a 3x3 convolution from (m+2) x
// (m+2) products instead of 9 m x m, the products of all tiles being (m+2)^2 matrix products over
// the channels. Of an input x and transformed weights u (winograd.h), along both axes:
//
//   rows[n,k,i,ty,x]         = sum over r of Bt[i,r] x[n,k, m ty + r - p, x]          columns
//   transformed tiles[n,i,j,ty,tx,k]     = sum over q of Bt[j,q] rows[n,k,i,ty, m tx + q - p]
//   acc[n,i,j,ty,tx,c]       = sum over k of tiles[n,i,j,ty,tx,k] u[i,j,k,c]
//   columns[n,a,j,ty,tx,c]   = sum over i of At[a,i] acc[n,i,j,ty,tx,c]
//   out[n,c,y,x]             = bias[c] + sum over j of At[x mod m,j] columns[n, y mod m, j, y/m,
//   x/m, c]
//
// The sums of the transforms are written out, with a choice by i, j, y mod m, x mod m: where those
// loops are expanded, nothing is left of coefficients that are 0 or 1, and what lines have in
// common is computed once.
#include "ops/winograd.h"

#include <algorithm>
#include <cmath>

#include "ops/common.h"

namespace burnish::ops {

namespace {

using Polynomial = std::vector<long double>;  // the coefficient of t^i at i

Polynomial times_root(const Polynomial& p, long double root) {  // p * (t - root)
  Polynomial out(p.size() + 1, 0);
  for (size_t i = 0; i < p.size(); ++i) {
    out[i + 1] += p[i];
    out[i] -= root * p[i];
  }
  return out;
}

// Products of square roots are whole quarters but for the last bits.
double exact(long double v) {
  const long double quarters = std::round(4 * v) / 4;
  return static_cast<double>(std::abs(v - quarters) < 1e-15L ? quarters : v);
}

}  // namespace

WinogradTransforms winograd_transforms(int64_t m) {
  check(m == 2 || m == 4, "Winograd transforms of tiles of {}", m);
  const long double half = std::sqrt(0.5L), two = std::sqrt(2.0L);
  const std::vector<long double> points = m == 2
                                              ? std::vector<long double>{0, 1, -1}
                                              : std::vector<long double>{0, half, -half, two, -two};
  const size_t n = points.size() + 1, taps = 3;
  WinogradTransforms t{Matrix(n, std::vector<double>(n)), Matrix(n, std::vector<double>(taps)),
                       Matrix(static_cast<size_t>(m), std::vector<double>(n))};
  Polynomial all{1};  // the product of t - p over all points
  for (long double p : points) all = times_root(all, p);
  for (size_t i = 0; i + 1 < n; ++i) {
    Polynomial others{1};
    long double at_point = 1, power = 1;
    for (size_t j = 0; j + 1 < n; ++j) {
      if (j == i) continue;
      others = times_root(others, points[j]);
      at_point *= points[i] - points[j];
    }
    for (size_t j = 0; j < others.size(); ++j) t.input[i][j] = exact(others[j]);
    for (size_t j = 0; j < n; ++j, power *= points[i]) {
      if (j < taps) t.weights[i][j] = static_cast<double>(power / at_point);
      if (j < static_cast<size_t>(m)) t.output[j][i] = exact(power);
    }
  }
  for (size_t j = 0; j < n; ++j) t.input[n - 1][j] = exact(all[j]);
  t.weights[n - 1][taps - 1] = 1;
  t.output[static_cast<size_t>(m) - 1][n - 1] = 1;
  return t;
}

TensorPtr winograd_weights(const Tensor& w, int64_t m) {
  check(w.dtype == DType::F32 && w.shape.size() == 4 && w.shape[2] == 3 && w.shape[3] == 3,
        "Winograd convolution takes weights of 3x3 in f32");
  const Matrix g = winograd_transforms(m).weights;
  const int64_t n = m + 2, channels = w.shape[0], depth = w.shape[1];
  auto out = std::make_shared<Tensor>(DType::F32, Shape{n, n, depth, channels});
  std::vector<double> rows(static_cast<size_t>(n) * 3);  // G w
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < depth; ++k) {
      const float* taps = w.data<float>() + (c * depth + k) * 9;
      for (int64_t i = 0; i < n; ++i) {
        const auto& line = g[static_cast<size_t>(i)];
        for (int64_t x = 0; x < 3; ++x) {
          rows[static_cast<size_t>(i * 3 + x)] =
              line[0] * taps[x] + line[1] * taps[3 + x] + line[2] * taps[6 + x];
        }
      }
      for (int64_t i = 0; i < n; ++i) {
        const double* row = rows.data() + i * 3;
        for (int64_t j = 0; j < n; ++j) {
          const auto& line = g[static_cast<size_t>(j)];
          const double sum = line[0] * row[0] + line[1] * row[1] + line[2] * row[2];
          out->data<float>()[((i * n + j) * depth + k) * channels + c] = static_cast<float>(sum);
        }
      }
    }
  }
  return out;
}

namespace {

// ---- formulas

using Values = std::function<Expr(size_t)>;

// sum of factor * value; what is taken as it is comes first, so that every product is part of a
// multiply-add.
struct Summand {
  double factor;
  Expr value;
};

Expr sum_of(std::vector<Summand> terms, DType t) {
  std::stable_partition(terms.begin(), terms.end(), [](const Summand& s) { return s.factor == 1; });
  Expr sum;
  for (const Summand& s : terms) {
    if (s.factor == 0) continue;
    const bool minus = sum && s.factor < 0;
    const double factor = minus ? -s.factor : s.factor;
    Expr value = factor == 1 ? s.value : s.value * constant(factor, t);
    sum = !sum ? value : minus ? sum - value : sum + value;
  }
  return sum ? sum : zero(t);
}

// A line of Bt. Lines of points p and -p differ in the sign of the odd places: their parts are the
// same expressions.
Expr input_line(const std::vector<double>& line, const Values& value, DType t) {
  Expr parts[2];
  double last[2] = {0, 0};
  for (size_t odd : {0, 1}) {
    for (size_t q = odd; q < line.size(); q += 2) last[odd] = line[q] != 0 ? line[q] : last[odd];
    if (last[odd] == 0) continue;
    std::vector<Summand> terms;
    for (size_t q = odd; q < line.size(); q += 2) {
      if (line[q] != 0) terms.push_back({exact(line[q] / last[odd]), value(q)});
    }
    parts[odd] = sum_of(std::move(terms), t);
  }
  std::vector<Summand> both;
  for (size_t odd : {0, 1}) {
    if (parts[odd]) both.push_back({last[odd], parts[odd]});
  }
  return sum_of(std::move(both), t);
}

// A line of At: points p and -p stand side by side, and each pair's sum or difference is used by
// every second line.
Expr output_line(const std::vector<double>& line, const Values& value, DType t) {
  std::vector<Summand> terms;
  if (line.front() != 0) terms.push_back({line.front(), value(0)});
  if (line.back() != 0) terms.push_back({line.back(), value(line.size() - 1)});
  for (size_t q = 1; q + 1 < line.size(); q += 2) {
    const Expr a = value(q), b = value(q + 1);
    terms.push_back({line[q], line[q] == line[q + 1] ? a + b : a - b});
  }
  return sum_of(std::move(terms), t);
}

// The line whose number `which` is.
Expr choice(const Index& which, const Matrix& lines,
            Expr (*line)(const std::vector<double>&, const Values&, DType), const Values& value,
            DType t) {
  Expr out = line(lines.back(), value, t);
  for (size_t i = lines.size() - 1; i-- > 0;) {
    Index at_most = which;  // i - which >= 0
    at_most.a = Aff(static_cast<int64_t>(i)) - which.a;
    for (Atom& a : at_most.atoms) a.scale = -a.scale;
    out = select(all_nonnegative(std::span(&at_most, 1)), line(lines[i], value, t), out);
  }
  return out;
}

constexpr AttrSpec attrs[] = {{"tile", AttrType::Int, true}, {"pads", AttrType::Ints, true}};

struct Geometry {
  int64_t m;              // outputs of a tile along an axis
  int64_t top, left;      // padding
  int64_t height, width;  // of the output
  int64_t rows, columns;  // tiles
};

Geometry geometry_of(const Attrs& a, const Shape& x) {
  const std::vector<int64_t> pads = a.ints("pads");
  const int64_t m = a.i("tile");
  require(m == 2 || m == 4, "attribute 'tile' is {}; it may be 2 or 4", m);
  require(pads.size() == 4 &&
              std::ranges::all_of(pads, [](int64_t p) { return p >= 0 && p < max_extent; }),
          "attribute 'pads' needs four sizes that are not negative");
  Geometry g{m, pads[0], pads[1], x[2] + pads[0] + pads[2] - 2, x[3] + pads[1] + pads[3] - 2, 0, 0};
  require(g.height > 0 && g.width > 0, "a window of 3x3 does not fit into {} with these pads",
          shape_text(x));
  g.rows = ceil_div(g.height, m);
  g.columns = ceil_div(g.width, m);
  return g;
}

std::vector<TensorType> infer_winograd(const InferContext& c) {
  const TensorType &x = c.inputs[0], &u = c.inputs[1];
  require_rank(x, 4, 4, "the input");
  require_rank(u, 4, 4, "the transformed weights");
  require_same_dtype(x, u);
  require_float(x, "the input");
  const Geometry g = geometry_of(c.attrs, x.shape);
  require(u.shape[0] == g.m + 2 && u.shape[1] == g.m + 2 && u.shape[2] == x.shape[1],
          "the transformed weights {} do not fit the input {} in tiles of {}", shape_text(u.shape),
          shape_text(x.shape), g.m);
  if (c.has(2)) {
    require_same_dtype(x, c.inputs[2]);
    require(c.inputs[2].shape == Shape{u.shape[3]},
            "the bias has the shape {} for {} output channels", shape_text(c.inputs[2].shape),
            u.shape[3]);
  }
  return {{x.dtype, {x.shape[0], u.shape[3], g.height, g.width}, {}}};
}

std::vector<StageId> compute_winograd(ComputeContext& c) {
  const Geometry g = geometry_of(c.attrs, c.types[0].shape);
  const WinogradTransforms transforms = winograd_transforms(g.m);
  const DType t = c.outputs[0].dtype;
  const int64_t batch = c.types[0].shape[0], depth = c.types[0].shape[1],
                width = c.types[0].shape[3];
  const int64_t points = g.m + 2, channels = c.types[1].shape[3];
  GroupBuilder& b = c.builder;
  const auto name = [&](const char* suffix) { return b.unique(c.prefix + suffix); };

  const StageId rows = b.compute(
      name(".rows"), t, {{"n", batch}, {"i", points}, {"ty", g.rows}, {"x", width}, {"k", depth}},
      [&](AxisVars a) {
        const auto value = [&](size_t r) {
          const Aff y = a[2] * g.m + Aff(static_cast<int64_t>(r) - g.top);
          return b.at(c.inputs[0], {a[0], a[4], y, a[3]}, zero(t));
        };
        return choice(Index(a[1]), transforms.input, input_line, value, t);
      });
  const StageId tiles = b.compute(
      name(".tiles"), t,
      {{"n", batch}, {"i", points}, {"j", points}, {"ty", g.rows}, {"tx", g.columns}, {"k", depth}},
      [&](AxisVars a) {
        const auto value = [&](size_t q) {
          const Aff x = a[4] * g.m + Aff(static_cast<int64_t>(q) - g.left);
          return b.at(rows, {a[0], a[1], a[3], x, a[5]}, zero(t));
        };
        return choice(Index(a[2]), transforms.input, input_line, value, t);
      });
  const StageId acc = b.reduce(name(".acc"), t,
                               {{"n", batch},
                                {"i", points},
                                {"j", points},
                                {"ty", g.rows},
                                {"tx", g.columns},
                                {"c", channels}},
                               {{"k", depth}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
                                 return b.at(tiles, {a[0], a[1], a[2], a[3], a[4], r[0]}) *
                                        b.at(c.inputs[1], {a[1], a[2], r[0], a[5]});
                               });
  const StageId columns = b.compute(
      name(".columns"), t,
      {{"n", batch}, {"a", g.m}, {"j", points}, {"ty", g.rows}, {"tx", g.columns}, {"c", channels}},
      [&](AxisVars a) {
        const auto value = [&](size_t i) {
          return b.at(acc, {a[0], Aff(static_cast<int64_t>(i)), a[2], a[3], a[4], a[5]});
        };
        return choice(Index(a[1]), transforms.output, output_line, value, t);
      });
  return {b.compute(name(""), t, named_axes(c.outputs[0].shape), [&](AxisVars a) {
    const auto value = [&](size_t j) {
      return b.at(columns, {a[0], quotient(a[2], 1, g.m), Aff(static_cast<int64_t>(j)),
                            quotient(a[2], g.m), quotient(a[3], g.m), a[1]});
    };
    Expr sum = choice(quotient(a[3], 1, g.m), transforms.output, output_line, value, t);
    return c.has(2) ? sum + b.at(c.inputs[2], {Index(a[1])}) : sum;
  })};
}

// Of the matrix products; the transforms are additions for the most part.
int64_t winograd_macs(const InferContext& c, std::span<const TensorType>) {
  const Geometry g = geometry_of(c.attrs, c.inputs[0].shape);
  return checked_mul(checked_mul(c.inputs[0].shape[0], element_count(c.inputs[1].shape)),
                     checked_mul(g.rows, g.columns));
}

}  // namespace

std::span<const OpDef> winograd_ops() {
  static const OpDef table[] = {
      {.name = "winograd_conv",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = attrs,
       .fusion = Fusion::Anchor,
       .layout = LayoutRule::ChannelsLast,
       .infer = infer_winograd,
       .compute = compute_winograd,
       .macs = winograd_macs,
       .rounding = 2},
  };
  return table;
}

}  // namespace burnish::ops
