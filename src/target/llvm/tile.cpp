// A reduction in a register tile: the choice of its size, and the loops around it.
#include "target/llvm/space.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace burnish::llvm_target {

namespace {

// Reduce loops, windows outside and channels inside: the longest one innermost.
std::vector<std::string> reduce_order(const Stage& acc) {
  std::vector<const Axis*> axes;
  for (const Axis& a : acc.raxes) axes.push_back(&a);
  std::stable_sort(axes.begin(), axes.end(), [](const Axis* a, const Axis* b) {
    return (a->extent > 16) < (b->extent > 16);
  });
  std::vector<std::string> out;
  for (const Axis* a : axes) out.push_back(a->name);
  return out;
}

// Constants are stored in the order in which the tile reads them.
void pack_constants(Schedule& s, const std::string& acc_name, uint32_t vector, int64_t panel) {
  const StageGroup& g = s.group();
  const Stage acc = g[*g.named(acc_name)];
  const VarId lanes = acc.axes[vector].var;
  std::vector<std::pair<std::string, Layout>> packs;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || g[x.from()].kind != StageKind::Constant) return;
    const Stage& c = g[x.from()];
    if (c.axes.size() < 2) return;
    std::optional<uint32_t> lane_axis;
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < c.axes.size(); ++i) {
      const Index& index = x.indices()[i];
      if (!moves(index, lanes)) continue;
      if (!index.is_affine() || index.a.slope(lanes) != 1 || lane_axis) return;
      lane_axis = i;
    }
    if (!lane_axis) return;
    Layout layout;
    auto add = [&](uint32_t a) {
      if (a != *lane_axis && std::ranges::none_of(layout, [&](auto& d) { return d.axis == a; })) {
        layout.push_back({a});
      }
    };
    layout.push_back({*lane_axis, panel, 0});
    for (const std::string& r : reduce_order(acc)) {
      for (uint32_t i = 0; i < c.axes.size(); ++i) {
        for (const Axis& a : acc.raxes) {
          if (a.name == r && moves(x.indices()[i], a.var)) add(i);
        }
      }
    }
    for (uint32_t i = 0; i < c.axes.size(); ++i) {
      if (i != *lane_axis && std::ranges::none_of(layout, [&](auto& d) { return d.axis == i; })) {
        layout.insert(layout.begin(), LayoutDim{i});
      }
    }
    layout.push_back({*lane_axis, 1, panel});
    packs.emplace_back(c.name, layout);
  });
  for (auto& [name, layout] : packs) s.pack(name, layout);
}

struct Window {  // a padded load of an input, moved by the tile axis
  std::string input;
  StageId stage;
  int64_t first, end;  // points of the tile axis whose window is inside: [first, end)
};

std::optional<Window> padded_window(const StageGroup& g, const Stage& acc, VarId rows, int64_t extent) {
  std::optional<Window> found;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || !x.fill() || g[x.from()].is_compute()) return;
    const Stage& input = g[x.from()];
    Window w{input.name, x.from(), 0, extent};
    for (size_t i = 0; i < input.axes.size(); ++i) {
      const Aff& a = x.indices()[i].a;
      const int64_t step = a.slope(rows);
      if (step <= 0) continue;
      int64_t lo = a.c, hi = a.c;  // of the window at point 0
      for (const Term& t : a.terms) {
        if (t.var == rows) continue;
        for (const Axis& r : acc.raxes) {
          if (r.var == t.var) (t.k > 0 ? hi : lo) += t.k * (r.extent - 1);
        }
      }
      w.first = std::max(w.first, ceil_div(-lo, step));
      w.end = std::min(w.end, floor_div(input.axes[i].extent - 1 - hi, step) + 1);
    }
    found = w;
  });
  return found;
}

// The points of the tile axis whose window leaves the input are tiles of their own; the others need no guards.
void partition_window(Schedule& s, const Stage& out, const Stage& red, uint32_t tile) {
  const int64_t extent = out.axes[tile].extent;
  const auto window = padded_window(s.group(), red, red.axes[tile].var, extent);
  if (!window || window->first >= window->end) return;
  std::vector<int64_t> cuts;
  if (window->first > 0) cuts.push_back(window->first);
  if (window->end < extent) cuts.push_back(window->end);
  if (!cuts.empty()) s.partition(out.name, out.axes[tile].name, cuts);
}

// The register file holds the tile, one row of weights and a broadcast.
int64_t rows_that_fit(int64_t vectors, const Machine& m) {
  if (vectors == 1) return m.vector_registers >= 32 ? 14 : 8;
  return std::max<int64_t>(1, (m.vector_registers - vectors - 1) / vectors);
}

}  // namespace

namespace {

// Transposed convolution with stride s divides the tile axis by s: tiles that start at a multiple of it know their
// phases.
int64_t phases_of(const Stage& acc, VarId rows) {
  int64_t unit = 1;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    for (const Index& i : x.indices()) {
      for (const Atom& atom : i.atoms) {
        if (!atom.value && atom.a.slope(rows)) unit = std::max({unit, atom.div, atom.mod});
      }
    }
  });
  return unit;
}

}  // namespace

TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m) {
  const StageGroup& g = s.group();
  const Stage& acc = g[r.acc];
  TileChoice best;
  best.lanes = lanes_of(m, acc.dtype);
  const int64_t channels = acc.axes[r.vector].extent;
  const int64_t width = r.tile ? acc.axes[*r.tile].extent : 1;
  const double units = std::ceil(static_cast<double>(channels) / static_cast<double>(best.lanes) * 2) / 2;
  double best_cost = 1e300;
  const int64_t most = r.broadcast ? 6 : 1;
  for (int64_t nv = 1; nv <= most && nv <= std::ceil(units); ++nv) {
    const int64_t fit = r.broadcast ? rows_that_fit(nv, m) : std::min<int64_t>(8, m.vector_registers / 3);
    const int64_t tiles = ceil_div(width, fit), rows = ceil_div(width, tiles);
    const int64_t panels = ceil_div(static_cast<int64_t>(std::ceil(units)), nv);
    // Cycles of one step of k over the whole row: FMAs, latency of short tiles, loads of weights.
    double cycles = 0;
    for (int64_t p = 0; p < panels; ++p) {
      const double v = std::min<double>(static_cast<double>(nv), units - static_cast<double>(p * nv));
      const double fma = static_cast<double>(rows) * v;
      // As many loads as FMAs start in a cycle: a broadcast a row and a vector of weights; short tiles wait for FMAs.
      const double loads = static_cast<double>(rows) + v;
      cycles += static_cast<double>(tiles) * (std::max({fma, 8.0, loads}) + 0.05 * v);
    }
    if (cycles < best_cost - 1e-9) {
      best_cost = cycles;
      best.rows = rows;
      best.vectors = nv;
    }
  }
  if (!r.tile) best.rows = 1;
  if (const int64_t unit = r.tile ? phases_of(acc, acc.axes[*r.tile].var) : 1; unit > 1 && unit <= 8) {
    best.rows = std::max(unit, best.rows / unit * unit);
    best.phased = true;
  }
  // Weights larger than the second-level cache are walked through panel by panel.
  const int64_t weights = points(acc.raxes) * channels * size_of(acc.dtype);
  int64_t rows_outside = 1;
  for (uint32_t a : r.outer) rows_outside *= acc.axes[a].extent;
  const int64_t panels = ceil_div(channels, best.lanes * best.vectors);
  if (r.broadcast) {
    best.panels_outside = weights > m.l2_bytes / 2;
    best.parallel_panels = m.threads > 1 && panels % m.threads == 0 &&
                           (best.panels_outside || rows_outside < 8 * m.threads) && panels >= m.threads;
    if (rows_outside == 1 && best.panels_outside && panels >= 4 * m.threads) best.parallel_panels = true;
  }
  return best;
}


Tiled make_tile(Schedule& s, const Roles& r, const TileChoice& c, bool at_edges) {
  Tiled t;
  t.stage = s.group()[r.out].name;
  t.acc = r.acc == r.out ? s.cache_write(t.stage) : s.group()[r.acc].name;
  if (s.failure()) return t;
  const Stage out = s.group()[*s.group().named(t.stage)];
  const Stage red = s.group()[*s.group().named(t.acc)];
  const int64_t channels = out.axes[r.vector].extent;
  const int64_t panel = c.lanes * c.vectors;
  pack_constants(s, t.acc, r.vector, std::min(panel, ceil_div(channels, c.lanes) * c.lanes));
  s.set_scope(t.acc, Scope::Register);
  Layout lanes_inside;  // the accumulators of one vector lie side by side
  for (uint32_t a = 0; a < red.axes.size(); ++a) {
    if (a != r.vector) lanes_inside.push_back({a});
  }
  lanes_inside.push_back({r.vector});
  s.pack(t.acc, lanes_inside);

  std::string in_panel;
  std::tie(t.loops.panels, in_panel) = s.split(t.stage, out.axes[r.vector].name, panel, Tail::Tail);
  std::tie(t.loops.vectors, t.loops.lanes) = s.split(t.stage, in_panel, c.lanes, Tail::Tail);
  if (r.tile) {
    if (at_edges) partition_window(s, out, red, *r.tile);
    std::tie(t.loops.tiles, t.loops.in_tile) =
        s.split(t.stage, out.axes[*r.tile].name, c.rows, c.phased ? Tail::Tail : Tail::Balanced);
  }
  return t;
}

void attach_tile(Schedule& s, const Tiled& t, const Roles& r, const TileChoice& c, std::vector<std::string> outside) {
  if (s.failure()) return;
  const Stage red = s.group()[*s.group().named(t.acc)];
  const std::string place = outside.back();
  if (r.tile) outside.push_back(t.loops.in_tile);
  outside.insert(outside.end(), {t.loops.vectors, t.loops.lanes});
  s.reorder(t.stage, outside);
  if (r.tile) s.unroll(t.stage, t.loops.in_tile);
  s.unroll(t.stage, t.loops.vectors);
  s.vectorize(t.stage, t.loops.lanes);

  // The reduction: reduce loops outside, the tile's rows and vectors inside.
  s.compute_at(t.acc, t.stage, place);
  std::vector<std::string> order;
  const std::string rows = r.tile ? red.axes[*r.tile].name : "";
  for (uint32_t a = 0; a < red.axes.size(); ++a) {
    if (a != r.vector && (!r.tile || a != *r.tile)) order.push_back(red.axes[a].name);
  }
  const std::vector<std::string> loops = s.loops(t.acc);
  for (const std::string& reduce : reduce_order(red)) {
    for (const std::string& l : loops) {
      if (l == reduce || l.starts_with(reduce + ".")) order.push_back(l);
    }
  }
  if (r.tile) order.push_back(rows);
  auto [vectors, lanes] = s.split(t.acc, red.axes[r.vector].name, c.lanes, Tail::Tail);
  order.insert(order.end(), {vectors, lanes});
  s.reorder(t.acc, order);
  if (r.tile) s.unroll(t.acc, rows);
  s.unroll(t.acc, vectors);
  s.vectorize(t.acc, lanes);
  // Windows of a depthwise stage are unrolled whole: their weights and offsets become constants. Of a dense one only
  // the innermost window axis, so that guards of its columns are decided.
  const std::vector<std::string> reduces = reduce_order(red);
  for (const Axis& a : red.raxes) {
    if (a.extent <= 7 && (!r.broadcast || (red.raxes.size() > 1 && a.name != reduces.front()))) s.unroll(t.acc, a.name);
  }
}

void schedule_tile(Schedule& s, const Roles& r, const TileChoice& c, const Machine& m) {
  const Stage out = s.group()[r.out];
  const Stage red = s.group()[r.acc];
  const Tiled t = make_tile(s, r, c, true);
  if (s.failure()) return;
  const std::vector<std::string> outer = names(out.axes, r.outer);
  int64_t rows = 1;
  for (uint32_t a : r.outer) rows *= out.axes[a].extent;
  const bool share = points(out.axes) * points(red.raxes) > 50'000 && m.threads > 1;
  std::vector<std::string> blocks = outer;
  if (c.panels_outside) {
    blocks.insert(blocks.begin(), t.loops.panels);
    if (r.tile) blocks.push_back(t.loops.tiles);
  } else {
    if (r.tile) blocks.push_back(t.loops.tiles);
    blocks.push_back(t.loops.panels);
  }
  if (c.parallel_panels) {
    std::erase(blocks, t.loops.panels);
    blocks.insert(blocks.begin(), t.loops.panels);
  } else if (c.panels_outside && rows >= 2 * m.threads && share) {
    // Rows outermost would read all weights once a row: strips of rows, each of which passes over the panels once.
    auto [strip, row] = s.split_parts(t.stage, outer[0], m.threads);
    std::erase(blocks, t.loops.panels);
    blocks[0] = row;
    blocks.insert(blocks.begin(), {strip, t.loops.panels});
  }
  std::vector<std::string> order = names(out.axes, r.unit);
  order.insert(order.end(), blocks.begin(), blocks.end());
  attach_tile(s, t, r, c, order);
  if (share) s.parallel(t.stage, blocks[0]);
}
}  // namespace burnish::llvm_target
