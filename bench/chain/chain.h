// The chain of an inverted residual block as one group, and its schedule: 1x1 expand, depthwise
// 3x3, 1x1 project
// (+ residual) in one nest, with a ring of expanded rows per thread. Used by tests and by
// bench/chain.
#pragma once

#include <string>
#include <vector>

#include "schedule/schedule.h"
#include "te/builder.h"

namespace burnish::chain {

struct Conv {
  int64_t outputs, inputs, kernel = 1, stride = 1, pad = 0;
  bool relu = true, depthwise = false;
};

// Stages `name`.acc (the reduction, beginning at the bias) and `name` (the epilogue) over HWC axes
// y, x, c.
inline StageId conv(GroupBuilder& b, const std::string& name, StageId x, StageId w, StageId bias,
                    int64_t rows, int64_t columns, Conv p, const StageId* residual = nullptr) {
  DType t = DType::F32;
  std::vector<NamedExtent> axes = {{"y", rows}, {"x", columns}, {"c", p.outputs}}, raxes;
  if (p.kernel > 1 || p.depthwise) raxes = {{"ky", p.kernel}, {"kx", p.kernel}};
  if (!p.depthwise) raxes.push_back({"k", p.inputs});
  StageId sum = b.reduce(
      name + ".acc", t, axes, raxes, Combine::Sum,
      [&](AxisVars a, AxisVars r) {
        Aff y = a[0] * p.stride - Aff(p.pad), xx = a[1] * p.stride - Aff(p.pad);
        std::vector<Index> weight;
        if (p.kernel > 1 || p.depthwise) {
          y += r[0];
          xx += r[1];
          weight = {r[0], r[1]};
        }
        Aff channel = p.depthwise ? a[2] : r[r.size() - 1];
        if (!p.depthwise) weight.push_back(channel);
        weight.push_back(a[2]);
        Expr fill = p.pad ? constant(0.0, t) : Expr();
        return b.at(x, {y, xx, channel}, fill) * b.at(w, weight);
      },
      [&](AxisVars a) { return b.at(bias, {a[2]}); });
  return b.compute(name, t, axes, [&](AxisVars a) {
    Expr e = b.at(sum, {a[0], a[1], a[2]});
    if (residual) e = e + b.at(*residual, {a[0], a[1], a[2]});
    return p.relu ? max(e, constant(0.0, t)) : e;
  });
}

struct Shape {
  int64_t height = 136, width = 232, inputs = 24, expanded = 144, outputs = 24, stride = 1;
  bool last_relu = false;
};

inline StageGroup group(const Shape& s) {
  GroupBuilder b("chain");
  DType t = DType::F32;
  int64_t rows = (s.height - 1) / s.stride + 1, columns = (s.width - 1) / s.stride + 1;
  StageId x = b.input("X", t, {{"y", s.height}, {"x", s.width}, {"c", s.inputs}});
  StageId we = b.constant("We", t, {{"k", s.inputs}, {"c", s.expanded}}),
          be = b.constant("Be", t, {{"c", s.expanded}});
  StageId wd = b.constant("Wd", t, {{"ky", 3}, {"kx", 3}, {"c", s.expanded}});
  StageId bd = b.constant("Bd", t, {{"c", s.expanded}});
  StageId wp = b.constant("Wp", t, {{"k", s.expanded}, {"c", s.outputs}}),
          bp = b.constant("Bp", t, {{"c", s.outputs}});
  bool residual = s.stride == 1 && s.inputs == s.outputs;
  StageId e = conv(b, "E", x, we, be, s.height, s.width, {s.expanded, s.inputs});
  StageId d = conv(b, "D", e, wd, bd, rows, columns,
                   {.outputs = s.expanded,
                    .inputs = s.expanded,
                    .kernel = 3,
                    .stride = s.stride,
                    .pad = 1,
                    .depthwise = true});
  StageId o = conv(b, "O", d, wp, bp, rows, columns,
                   {.outputs = s.outputs, .inputs = s.expanded, .relu = s.last_relu},
                   residual ? &x : nullptr);
  b.output(o);
  return std::move(b.group());
}

struct Tile {
  std::string c_outer, x_outer, x_inner, c_vectors, c_lanes;  // c_vectors may be empty
};

// The register tile of one convolution: `columns` balanced columns by `channels` channels in
// vectors of 16, its sums in registers at the column tile; the reduction's own loops stand outside
// the tile's in the order `reduction`.
inline Tile conv_tile(Schedule& s, const std::string& stage, int64_t columns, int64_t channels,
                      std::vector<std::string> reduction) {
  std::string sum = stage + ".acc";
  s.set_scope(sum, Scope::Register);
  Tile t;
  std::string block;
  std::tie(t.c_outer, block) = s.split(stage, "c", channels, Tail::Tail);
  if (channels > 16)
    std::tie(t.c_vectors, t.c_lanes) = s.split(stage, block, 16, Tail::Tail);
  else
    t.c_lanes = block;
  std::tie(t.x_outer, t.x_inner) = s.split(stage, "x", columns, Tail::Balanced);
  s.unroll(stage, t.x_inner);
  s.vectorize(stage, t.c_lanes);
  if (!t.c_vectors.empty()) s.unroll(stage, t.c_vectors);
  s.compute_at(sum, stage, t.x_outer);
  auto [vectors, lanes] = s.split(sum, "c", 16, Tail::Tail);
  s.unroll(sum, "x");
  s.unroll(sum, vectors);
  s.vectorize(sum, lanes);
  reduction.insert(reduction.end(), {"x", vectors, lanes});
  s.reorder(sum, reduction);
  return t;
}

// `outside`, then the loops of the tile that exist.
inline std::vector<std::string> tile_order(std::vector<std::string> outside, const Tile& t) {
  for (const std::string* l : {&t.x_outer, &t.x_inner, &t.c_vectors, &t.c_lanes})
    if (!l->empty()) outside.push_back(*l);
  return outside;
}

inline const Layout kBlocked = {{2, 16, 0}, {0}, {1}, {2, 1, 16}};  // NCHW16c of HWC axes

struct Options {
  int64_t rows = 2, threads = 2, columns = 14, expand_columns = 14;
  bool blocked = true;
};

inline Schedule schedule(StageGroup g, const Options& o) {
  Schedule s(std::move(g));
  if (o.blocked) {
    for (const char* t : {"X", "E", "D", "O"}) s.pack(t, kBlocked);
    s.pack("We", {{1, 16, 0}, {0}, {1, 1, 16}});
  }
  // Output: threads own strips of rows; a few rows a step; tiles of columns with all channels in
  // registers.
  auto [strip, rest] = s.split_parts("O", "y", o.threads);
  auto [step, row] = s.split("O", rest, o.rows);
  Tile t = conv_tile(s, "O", o.columns, 32, {});
  s.reorder("O", tile_order({strip, step, row, t.c_outer}, t));
  s.parallel("O", strip);
  auto [ko, ki] = s.split("O.acc", "k", 16, Tail::Tail);
  s.reorder("O.acc", {ko, ki, "x", "c.o", "c.i"});
  // Expand: computed a step at a time, kept per thread, rows rolled.
  s.compute_at("E", "O", step);
  s.store_at("E", "O", strip);
  s.fold_storage("E", "y");
  t = conv_tile(s, "E", o.expand_columns, 16, {});
  s.reorder("E", tile_order({"y", t.c_outer}, t));
  std::tie(ko, ki) = s.split("E.acc", "k", 16, Tail::Tail);
  s.reorder("E.acc", {ko, ki, "x", "c.o", "c.i"});
  // Depthwise: the rows of one step.
  s.compute_at("D", "O", step);
  t = conv_tile(s, "D", 8, 16, {"ky", "kx"});
  s.reorder("D", tile_order({t.c_outer, "y"}, t));
  s.unroll("D.acc", "ky");
  s.unroll("D.acc", "kx");
  return s;
}

}  // namespace burnish::chain
