// Loop nests of the LLVM target. From a group's stages: inline what is cheap, find what part the axes play, choose the
// register tile, build the schedule; whatever does not fit falls back to a plainer nest, in the end to loops as written.
#include "target/llvm/space.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace burnish::llvm_target {

namespace {

std::vector<StageId> consumers_of(const StageGroup& g, StageId s) {
  std::vector<StageId> all;
  for (StageId c = 0; c < g.stages.size(); ++c) {
    if (c == s || !g[c].is_compute()) continue;
    for (StageId p : producers(g, c)) {
      if (p == s) {
        all.push_back(c);
        break;
      }
    }
  }
  return all;
}

bool is_output(const StageGroup& g, StageId s) {
  return std::find(g.outputs.begin(), g.outputs.end(), s) != g.outputs.end();
}

// Work of one element: a transcendental function counts like twenty additions.
int64_t cost(const Expr& e) {
  int64_t sum = 0;
  visit(e, [&](const Expr& x) {
    if (x.kind() == ExprKind::Unary) {
      sum += x.unary() >= UnaryOp::Exp && x.unary() <= UnaryOp::Atanh && x.unary() != UnaryOp::Sqrt ? 20 : 1;
    } else if (x.kind() == ExprKind::Binary) {
      sum += x.binary() == BinaryOp::Pow ? 40 : x.binary() == BinaryOp::Div ? 4 : 1;
    }
  });
  return sum;
}

int64_t points(const std::vector<Axis>& axes) {
  int64_t n = 1;
  for (const Axis& a : axes) n *= a.extent;
  return n;
}

// How often the consumers evaluate an element of `s` on average if it is inlined.
double repeats(const StageGroup& g, StageId s) {
  double reads = 0;
  for (StageId c : consumers_of(g, s)) {
    for (const Expr& e : expressions(g[c])) {
      visit(e, [&](const Expr& x) {
        if (x.kind() != ExprKind::Load || x.from() != s) return;
        reads += static_cast<double>(points(g[c].axes)) * static_cast<double>(points(g[c].raxes));
      });
    }
  }
  return reads / static_cast<double>(points(g[s].axes));
}

// Inlines every stage that costs less to compute again than to store and load.
void inline_cheap(Schedule& s) {
  bool again = true;
  while (again) {
    again = false;
    const StageGroup& g = s.group();
    for (StageId p = 0; p < g.stages.size(); ++p) {
      const Stage& stage = g[p];
      if (!stage.is_compute() || stage.is_reduction() || stage.scan || is_output(g, p)) continue;
      if (static_cast<double>(cost(stage.body)) * (repeats(g, p) - 1) > 8) continue;
      if (s.apply(step::Inline{stage.name})) {
        again = true;
        break;
      }
    }
  }
}

std::vector<std::string> names(const std::vector<Axis>& axes, const std::vector<uint32_t>& which) {
  std::vector<std::string> out;
  for (uint32_t a : which) out.push_back(axes[a].name);
  return out;
}

int lanes_of(const Machine& m, DType t) {
  return std::max(1, m.vector_bytes / std::max(1, size_of(t)));
}

// ---- no reduction: lanes along the innermost axis, threads over the outermost loops

void schedule_elementwise(Schedule& s, const std::string& name, const Machine& m, bool vectors) {
  const StageGroup& g = s.group();
  const Stage stage = g[*g.named(name)];
  std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  s.reorder(name, loops);
  if (loops.empty()) return;
  if (vectors && stage.axes[order.back()].extent > 1) {
    auto [outer, inner] = s.split(name, loops.back(), lanes_of(m, stage.dtype), Tail::Tail);
    s.vectorize(name, inner);
    loops.back() = outer;
  }
  std::vector<std::string> many;
  for (size_t i = 0; i + 1 < loops.size(); ++i) {
    if (stage.axes[order[i]].extent > 1) many.push_back(loops[i]);
  }
  if (points(stage.axes) < 4096 || m.threads == 1) return;
  if (many.size() >= 2 && stage.axes[order[0]].extent < 4 * m.threads) {
    // Two outer loops as one where the outermost alone is too short to share out.
    size_t first = std::find(loops.begin(), loops.end(), many[0]) - loops.begin();
    if (loops[first + 1] == many[1] && first + 2 < loops.size()) {
      s.parallel(name, s.fuse(name, many[0], many[1]));
      return;
    }
  }
  if (!many.empty()) {
    s.parallel(name, many[0]);
  } else {
    s.parallel(name, loops.back());
  }
}

// ---- a reduction in a register tile

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
      if (!index.is_affine()) return;
      if (int64_t k = index.a.slope(lanes)) {
        if (k != 1 || lane_axis) return;
        lane_axis = i;
      }
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
          if (a.name == r && x.indices()[i].a.slope(a.var)) add(i);
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

// The register file holds the tile, one row of weights and a broadcast.
int64_t rows_that_fit(int64_t vectors, const Machine& m) {
  if (vectors == 1) return m.vector_registers >= 32 ? 14 : 8;
  return std::max<int64_t>(1, (m.vector_registers - vectors - 1) / vectors);
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
      const double loads = static_cast<double>(rows) * (nv == 1 ? 0.55 : 0.5) + v;
      cycles += static_cast<double>(tiles) * std::max({fma * (nv == 1 ? 1.02 : 1.0), 4.0, loads}) +
                static_cast<double>(tiles) * 0.05 * v;
    }
    if (cycles < best_cost - 1e-9) {
      best_cost = cycles;
      best.rows = rows;
      best.vectors = nv;
    }
  }
  if (!r.tile) best.rows = 1;
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

namespace {

// O reads acc pointwise. Loops: outer axes | panels of channels and tiles of the row | the tile, unrolled in registers.
void schedule_tile(Schedule& s, const Roles& r, const TileChoice& c, const Machine& m) {
  const std::string o = s.group()[r.out].name;
  std::string acc = s.group()[r.acc].name;
  if (r.acc == r.out) acc = s.cache_write(o);
  if (s.failure()) return;
  const Stage out = s.group()[*s.group().named(o)];
  const Stage red = s.group()[*s.group().named(acc)];
  const int64_t channels = out.axes[r.vector].extent;
  const int64_t panel = c.lanes * c.vectors;
  pack_constants(s, acc, r.vector, std::min(panel, ceil_div(channels, c.lanes) * c.lanes));
  s.set_scope(acc, Scope::Register);
  Layout lanes_inside;  // the accumulators of one vector lie side by side
  for (uint32_t a = 0; a < red.axes.size(); ++a) {
    if (a != r.vector) lanes_inside.push_back({a});
  }
  lanes_inside.push_back({r.vector});
  s.pack(acc, lanes_inside);

  const std::vector<std::string> outer = names(out.axes, r.outer);
  const std::string lane_axis = out.axes[r.vector].name;
  auto [panels, in_panel] = s.split(o, lane_axis, panel, Tail::Tail);
  auto [vectors, lanes] = s.split(o, in_panel, c.lanes, Tail::Tail);
  std::string tiles, in_tile;
  std::optional<Window> window;
  if (r.tile) {
    const std::string tile_axis = out.axes[*r.tile].name;
    window = padded_window(s.group(), red, red.axes[*r.tile].var, out.axes[*r.tile].extent);
    if (window && (window->first > 0 || window->end < out.axes[*r.tile].extent) &&
        window->first < window->end && !c.pad_copy) {
      std::vector<int64_t> cuts;
      if (window->first > 0) cuts.push_back(window->first);
      if (window->end < out.axes[*r.tile].extent) cuts.push_back(window->end);
      s.partition(o, tile_axis, cuts);
    }
    std::tie(tiles, in_tile) = s.split(o, tile_axis, c.rows, Tail::Balanced);
  }

  // Threads own rows, or panels where there are too few rows.
  const int64_t rows = outer.empty() ? 1 : [&] {
    int64_t n = 1;
    for (uint32_t a : r.outer) n *= out.axes[a].extent;
    return n;
  }();
  const bool share = points(out.axes) * points(red.raxes) > 50'000 && m.threads > 1;
  std::vector<std::string> blocks = outer;
  if (r.tile && c.panels_outside && !outer.empty()) {
    blocks.insert(blocks.begin(), panels);
    blocks.push_back(tiles);
  } else if (r.tile && c.panels_outside) {
    blocks = {panels, tiles};
  } else {
    if (r.tile) blocks.push_back(tiles);
    blocks.push_back(panels);
  }
  if (c.parallel_panels) {
    std::erase(blocks, panels);
    blocks.insert(blocks.begin(), panels);
  } else if (c.panels_outside && rows >= 2 * m.threads && share) {
    // rows outermost would read all weights once a row: strips of rows, each of which passes over the panels once
    auto [strip, row] = s.split_parts(o, outer[0], m.threads);
    std::erase(blocks, panels);
    blocks[0] = row;
    blocks.insert(blocks.begin(), {strip, panels});
  }
  std::vector<std::string> order = names(out.axes, r.unit);
  order.insert(order.end(), blocks.begin(), blocks.end());
  if (r.tile) order.push_back(in_tile);
  order.push_back(vectors);
  order.push_back(lanes);
  s.reorder(o, order);
  if (r.tile) s.unroll(o, in_tile);
  s.unroll(o, vectors);
  s.vectorize(o, lanes);
  if (share) s.parallel(o, blocks[0]);

  // The reduction, in registers, inside the innermost block loop.
  s.compute_at(acc, o, blocks.back());
  auto [av, al] = s.split(acc, red.axes[r.vector].name, c.lanes, Tail::Tail);
  std::vector<std::string> inner;
  for (const Axis& a : red.axes) {
    if (a.name != red.axes[r.vector].name && (!r.tile || a.name != red.axes[*r.tile].name)) {
      inner.push_back(a.name);
    }
  }
  const std::vector<std::string> reduces = reduce_order(red);
  inner.insert(inner.end(), reduces.begin(), reduces.end());
  if (r.tile) inner.push_back(red.axes[*r.tile].name);
  inner.insert(inner.end(), {av, al});
  s.reorder(acc, inner);
  if (r.tile) s.unroll(acc, red.axes[*r.tile].name);
  s.unroll(acc, av);
  s.vectorize(acc, al);
  // Windows are unrolled: their guards and offsets become constants.
  for (const Axis& a : red.raxes) {
    const bool small = a.extent <= 7;
    const bool moves_rows = r.tile && window && a.extent <= 7;
    if (r.broadcast ? small && moves_rows && a.name != reduces.front() : small) s.unroll(acc, a.name);
  }
}

// ---- several reductions over common rows: softmax, norms. Everything lives inside one row.

void schedule_rows(Schedule& s, StageId out, const Machine& m) {
  const StageGroup& g = s.group();
  const std::string o = g[out].name;
  const Stage stage = g[out];
  // Axes of the output that every other stage has too, by position of its loads, outermost first.
  size_t common = stage.axes.size();
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (!g[p].is_compute() || p == out) continue;
    size_t same = 0;
    while (same < common && same < g[p].axes.size() && g[p].axes[same].extent == stage.axes[same].extent) ++same;
    common = std::min(common, same);
  }
  if (common == 0) return;
  std::vector<std::string> others;
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (g[p].is_compute() && p != out) others.push_back(g[p].name);
  }
  std::string row = stage.axes[common - 1].name;
  for (const std::string& p : others) s.compute_at(p, o, row);
  int64_t rows = 1;
  size_t first = common;
  for (size_t a = 0; a < common; ++a) {
    rows *= stage.axes[a].extent;
    if (stage.axes[a].extent > 1 && first == common) first = a;
  }
  if (first < common && m.threads > 1 && points(stage.axes) > 4096) s.parallel(o, stage.axes[first].name);
}

bool lowers(const Schedule& s) { return !s.failure() && lower(s).ok(); }

}  // namespace

Schedule default_schedule(const StageGroup& g, const Machine& m) {
  Schedule base(g);
  inline_cheap(base);
  std::vector<StageId> computed;
  for (StageId p = 0; p < base.group().stages.size(); ++p) {
    if (base.group()[p].is_compute()) computed.push_back(p);
  }
  const StageId out = base.group().outputs.back();
  if (base.group().outputs.size() == 1) {
    if (computed.size() == 1 && !base.group()[out].is_reduction()) {
      for (bool vectors : {true, false}) {
        Schedule s = base;
        schedule_elementwise(s, s.group()[out].name, m, vectors);
        if (lowers(s)) return s;
      }
    }
    if (auto roles = roles_of(base, out); roles && computed.size() <= 2) {
      TileChoice c = choose_tile(base, *roles, m);
      for (;;) {
        Schedule s = base;
        schedule_tile(s, *roles, c, m);
        if (lowers(s)) return s;
        if (c.parallel_panels || c.panels_outside) {
          c.parallel_panels = c.panels_outside = false;
        } else if (c.lanes > 1) {
          c.lanes = 1;  // no contiguous lanes: scalars
          c.vectors = 4;
        } else {
          break;
        }
      }
    }
    if (computed.size() > 1) {
      Schedule s = base;
      schedule_rows(s, out, m);
      if (lowers(s)) return s;
    }
  }
  // Every stage on its own, in the order of its axes.
  Schedule plain = base;
  for (StageId p : computed) {
    if (plain.group()[p].is_reduction()) continue;
    Schedule s = plain;
    schedule_elementwise(s, s.group()[p].name, m, true);
    if (lowers(s)) plain = s;
  }
  return plain;
}

}  // namespace burnish::llvm_target
