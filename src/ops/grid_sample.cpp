// Sampling at positions given by data: out[n,c,o…] = x[n,c] at grid[n,o…], with interpolation.
//
// The grid holds coordinates in -1..1, innermost spatial axis first. They are first turned into positions in elements
// (a stage of its own, shared by all channels); positions outside are moved inside (border, reflection) or read zeros.
#include <cmath>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec sample_attrs[] = {{"mode", AttrType::String},
                                     {"padding_mode", AttrType::String},
                                     {"align_corners", AttrType::Int}};

std::vector<TensorType> infer_grid_sample(const InferContext& c) {
  const Shape &x = c.inputs[0].shape, &grid = c.inputs[1].shape;
  require_float(c.inputs[0], "the input");
  require_float(c.inputs[1], "the grid");
  require_rank(c.inputs[0], 3, 5, "the input");
  size_t spatial = x.size() - 2;
  require(grid.size() == x.size() && grid[0] == x[0] &&
              grid.back() == static_cast<int64_t>(spatial),
          "a grid of {} does not fit an input of {}", shape_text(grid), shape_text(x));
  std::string mode = c.attrs.s("mode", "linear"), padding = c.attrs.s("padding_mode", "zeros");
  require(mode == "nearest" || mode == "linear" || mode == "cubic",
          "attribute 'mode' is \"{}\"; it may be nearest, linear or cubic", mode);
  require(padding == "zeros" || padding == "border" || padding == "reflection",
          "attribute 'padding_mode' is \"{}\"; it may be zeros, border or reflection", padding);
  for (size_t i = 2; i < x.size(); ++i) require(x[i] > 0, "the input {} is empty", shape_text(x));
  Shape out{x[0], x[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

struct Sampling {
  std::string mode, padding;
  bool align;
  DType t;
  double lowest() const { return align ? 0 : -0.5; }
  double highest(int64_t extent) const {
    return static_cast<double>(extent) - (align ? 1 : 0.5);
  }
};

// Mirrored at both ends as often as needed: the distance from the lower end, folded.
Expr reflected(const Expr& x, double lowest, double highest) {
  DType t = x.dtype();
  double range = highest - lowest;
  if (range <= 0) return constant(lowest, t);
  Expr distance = unary(UnaryOp::Abs, x - constant(lowest, t));
  Expr times = unary(UnaryOp::Floor, distance / constant(range, t));
  Expr rest = distance - times * constant(range, t);
  Expr half = times * constant(0.5, t);
  Expr even = binary(BinaryOp::Eq, unary(UnaryOp::Floor, half), half);
  return select(even, constant(lowest, t) + rest, constant(highest, t) - rest);
}

// A coordinate of the grid as a position in elements.
Expr located(const Expr& grid, int64_t extent, const Sampling& s) {
  DType t = grid.dtype();
  double n = static_cast<double>(extent);
  Expr one_up = grid + constant(1, t);
  Expr x = s.align ? one_up * constant((n - 1) / 2, t)
                   : (one_up * constant(n, t) - constant(1, t)) * constant(0.5, t);
  if (s.mode == "nearest") x = unary(UnaryOp::Round, x);
  Expr outside = binary(BinaryOp::Or, binary(BinaryOp::Lt, x, constant(s.lowest(), t)),
                        binary(BinaryOp::Gt, x, constant(s.highest(extent), t)));
  if (s.padding == "border") {
    return select(outside, min(max(x, constant(0, t)), constant(n - 1, t)), x);
  }
  if (s.padding == "reflection") {
    return select(outside, reflected(x, s.lowest(), s.highest(extent)), x);
  }
  return x;
}

struct Tap {
  Index at;
  Expr inside;  // null: always
  Expr weight;  // null: 1
};

Tap tap_at(Expr index, int64_t extent, const Sampling& s, Expr weight) {
  Expr last = constant_int(extent - 1), first = constant_int(0);
  if (s.padding == "zeros") {
    Expr inside = binary(BinaryOp::And, binary(BinaryOp::Ge, index, first),
                         binary(BinaryOp::Le, index, last));
    return {position(index, extent), inside, std::move(weight)};
  }
  if (s.padding == "reflection") {
    Expr mirrored = reflected(cast(DType::F64, index), s.lowest(), s.highest(extent));
    index = cast(DType::I64, mirrored);
  }
  return {position(min(max(index, first), last), extent), {}, std::move(weight)};
}

std::vector<Tap> taps_at(const Expr& x, int64_t extent, const Sampling& s) {
  DType t = x.dtype();
  Expr base = unary(UnaryOp::Floor, x), from = cast(DType::I64, base);
  auto tap = [&](int64_t offset, Expr weight) {
    return tap_at(from + constant_int(offset), extent, s, std::move(weight));
  };
  if (s.mode == "nearest") return {tap(0, {})};
  Expr f = x - base, rest = constant(1, t) - f;
  if (s.mode == "linear") return {tap(0, rest), tap(1, f)};
  return {tap(-1, cubic_far(f + constant(1, t), -0.75)), tap(0, cubic_near(f, -0.75)),
          tap(1, cubic_near(rest, -0.75)), tap(2, cubic_far(rest + constant(1, t), -0.75))};
}

struct Sampler {
  ComputeContext& c;
  std::vector<std::vector<Tap>> taps;
  std::vector<Index> at;

  Expr sum(size_t axis, const Expr& inside) {
    DType t = c.types[0].dtype;
    if (axis == taps.size()) {
      Expr x = c.builder.at(c.inputs[0], at);
      return inside ? select(inside, x, zero(t)) : x;
    }
    Expr total;
    for (const Tap& tap : taps[axis]) {
      at.push_back(tap.at);
      Expr both = !tap.inside ? inside
                  : inside    ? binary(BinaryOp::And, inside, tap.inside)
                              : tap.inside;
      Expr e = sum(axis + 1, both);
      at.pop_back();
      if (tap.weight) e = cast(t, tap.weight) * e;
      total = total ? total + e : e;
    }
    return total;
  }
};

std::vector<StageId> compute_grid_sample(ComputeContext& c) {
  const Shape &x = c.types[0].shape, &grid = c.types[1].shape;
  size_t spatial = x.size() - 2;
  Sampling s{c.attrs.s("mode", "linear"), c.attrs.s("padding_mode", "zeros"),
             c.attrs.i("align_corners") != 0, c.types[1].dtype};
  std::vector<StageId> positions;  // one a spatial axis: [n, o…]
  std::vector<NamedExtent> points{{"n", grid[0]}};
  for (size_t i = 0; i < spatial; ++i) points.push_back({spatial_name(i, spatial), grid[1 + i]});
  for (size_t i = 0; i < spatial; ++i) {
    std::string name = c.builder.unique(c.prefix + ".at_" + spatial_name(i, spatial));
    positions.push_back(c.builder.compute(name, s.t, points, [&](AxisVars a) {
      std::vector<Index> from = indices_of(a);
      from.push_back(Index(Aff(static_cast<int64_t>(spatial - 1 - i))));
      return located(c.builder.at(c.inputs[1], from), x[2 + i], s);
    }));
  }
  return {map(c, c.outputs[0], "", [&](AxisVars a) {
    std::vector<Index> point{Index(a[0])};
    for (size_t i = 2; i < a.size(); ++i) point.push_back(a[i]);
    Sampler sampler{c, {}, {Index(a[0]), Index(a[1])}};
    for (size_t i = 0; i < spatial; ++i) {
      sampler.taps.push_back(taps_at(c.builder.at(positions[i], point), x[2 + i], s));
    }
    return sampler.sum(0, {});
  })};
}

}  // namespace

std::span<const OpDef> grid_sample_ops() {
  static const OpDef table[] = {{.name = "grid_sample",
                                 .min_inputs = 2,
                                 .max_inputs = 2,
                                 .attrs = sample_attrs,
                                 .fusion = Fusion::Opaque,
                                 .infer = infer_grid_sample,
                                 .compute = compute_grid_sample}};
  return table;
}

}  // namespace burnish::ops
