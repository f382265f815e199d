// A reduction in a register tile: the choice of its size, and the loops around it.
#include "target/llvm/space.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace burnish::llvm_target {

// Windows outside and channels inside, or the other way round: what is longer than 16 counts as channels.
std::vector<std::string> reduce_order(const Stage& acc, bool window_inside) {
  std::vector<const Axis*> axes;
  for (const Axis& a : acc.raxes) axes.push_back(&a);
  std::stable_sort(axes.begin(), axes.end(), [&](const Axis* a, const Axis* b) {
    return window_inside ? (a->extent > 16) > (b->extent > 16) : (a->extent > 16) < (b->extent > 16);
  });
  std::vector<std::string> out;
  for (const Axis* a : axes) out.push_back(a->name);
  return out;
}

namespace {

// Constants are stored in the order in which the tile reads them.
void pack_constants(Schedule& s, const std::string& acc_name, uint32_t vector, int64_t panel,
                    const std::vector<std::string>& reduces) {
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
    for (const std::string& r : reduces) {
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

}  // namespace

bool is_unrolled(const Stage& acc, const Roles& r, const Axis& reduce, const std::vector<std::string>& order) {
  return reduce.extent <= 7 && (!r.broadcast || (acc.raxes.size() > 1 && reduce.name != order.front()));
}

bool worth_sharing(const Stage& out, const Stage& acc, const Machine& m) {
  return points(out.axes) * points(acc.raxes) > 50'000 && m.threads > 1;
}

std::optional<std::pair<int64_t, int64_t>> inner_points(const StageGroup& g, const Stage& acc, uint32_t tile) {
  const VarId rows = acc.axes[tile].var;
  std::optional<std::pair<int64_t, int64_t>> found;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || !x.fill() || g[x.from()].is_compute()) return;
    const Stage& input = g[x.from()];
    int64_t first = 0, end = acc.axes[tile].extent;
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
      first = std::max(first, ceil_div(-lo, step));
      end = std::min(end, floor_div(input.axes[i].extent - 1 - hi, step) + 1);
    }
    found = {first, end};
  });
  return found;
}

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

namespace {

void partition_window(Schedule& s, const Stage& out, const Stage& red, uint32_t tile, const TileChoice& c) {
  if (c.edges == kEdgesGuarded) return;
  const int64_t extent = out.axes[tile].extent;
  const auto inner = inner_points(s.group(), red, tile);
  if (!inner || inner->first >= inner->second) return;
  auto [first, end] = *inner;
  if (c.edges == kEdgeTiles) {
    const int64_t tiles = ceil_div(extent, c.rows), rows = ceil_div(extent, tiles);
    if (tiles == 1) return;
    if (first > 0) first = std::max(first, rows);
    if (end < extent) end = std::min(end, extent - (tiles == 2 ? extent - rows : rows));
    if (first > end) return;
  }
  std::vector<int64_t> cuts;
  if (first > 0) cuts.push_back(first);
  if (end < extent && (cuts.empty() || end > cuts.back())) cuts.push_back(end);
  if (!cuts.empty()) s.partition(out.name, out.axes[tile].name, cuts);
}

}  // namespace

Tiled make_tile(Schedule& s, const Roles& r, const TileChoice& c, int64_t stretch) {
  Tiled t;
  t.stage = s.group()[r.out].name;
  if (c.parked) t.parked = s.group()[r.acc].name;
  t.acc = c.parked         ? s.cache_write(t.parked)
          : r.acc == r.out ? s.cache_write(t.stage)
                           : s.group()[r.acc].name;
  if (s.failure()) return t;
  const Stage out = s.group()[*s.group().named(t.stage)];
  const Stage red = s.group()[*s.group().named(t.acc)];
  const int64_t channels = out.axes[r.vector].extent;
  const int64_t panel = c.lanes * c.vectors;
  pack_constants(s, t.acc, r.vector, std::min(panel, ceil_div(channels, c.lanes) * c.lanes),
                 reduce_order(red, c.window));
  s.set_scope(t.acc, Scope::Register);
  Layout lanes_inside;  // the accumulators of one vector lie side by side
  for (uint32_t a = 0; a < red.axes.size(); ++a) {
    if (a != r.vector) lanes_inside.push_back({a});
  }
  lanes_inside.push_back({r.vector});
  s.pack(t.acc, lanes_inside);
  if (c.parked) s.pack(t.parked, lanes_inside);

  std::string in_panel;
  std::tie(t.loops.panels, in_panel) = s.split(t.stage, out.axes[r.vector].name, panel, Tail::Tail);
  std::tie(t.loops.vectors, t.loops.lanes) =
      s.split(t.stage, in_panel, c.parked ? panel : c.lanes, Tail::Tail);
  t.loops.outer = names(out.axes, r.outer);
  std::string points = r.tile ? out.axes[*r.tile].name : "";
  if (r.tile && stretch > 0) {
    const int64_t last = out.axes[*r.tile].extent - stretch;
    s.partition(t.stage, points, last > stretch ? std::vector{stretch, last} : std::vector{stretch});
    std::tie(t.loops.stretches, points) = s.split(t.stage, points, stretch, Tail::Balanced);
  } else if (r.tile) {
    partition_window(s, out, red, *r.tile, c);
  }
  if (c.block > 0 && !t.loops.outer.empty()) {
    // Patches need constant extents.
    const Tail tail = c.patch > 1 && t.loops.outer.size() == 1 ? Tail::Tail : Tail::Guard;
    std::tie(t.loops.blocks, t.loops.outer[0]) = s.split(t.stage, t.loops.outer[0], c.block, tail);
  } else if (c.block > 0 && r.tile) {
    std::tie(t.loops.blocks, points) = s.split(t.stage, points, c.block, Tail::Tail);
  }
  if (c.patch > 1 && !t.loops.outer.empty()) {
    std::tie(t.loops.outer.back(), t.loops.in_patch) = s.split(t.stage, t.loops.outer.back(), c.patch, Tail::Balanced);
  }
  if (r.tile) {
    std::tie(t.loops.tiles, t.loops.in_tile) = s.split(t.stage, points, c.rows, c.phased ? Tail::Tail : Tail::Balanced);
  }
  return t;
}

void attach_tile(Schedule& s, const Tiled& t, const Roles& r, const TileChoice& c, std::vector<std::string> outside) {
  if (s.failure()) return;
  const Stage red = s.group()[*s.group().named(t.acc)];
  const std::string place = outside.back();
  for (const std::string& l : {t.loops.in_patch, t.loops.in_tile}) {
    if (!l.empty()) outside.push_back(l);
  }
  outside.insert(outside.end(), {t.loops.vectors, t.loops.lanes});
  s.reorder(t.stage, outside);
  for (const std::string& l : {t.loops.in_patch, t.loops.in_tile}) {
    if (!l.empty()) s.unroll(t.stage, l);
  }
  s.unroll(t.stage, t.loops.vectors);
  s.vectorize(t.stage, t.loops.lanes);

  if (!t.parked.empty()) {
    const Stage parked = s.group()[*s.group().named(t.parked)];
    s.set_scope(t.parked, Scope::Stack);
    s.compute_at(t.parked, t.stage, place);
    for (const Axis& a : parked.axes) s.unroll(t.parked, a.name);
  }
  // The reduction: reduce loops outside, the tile's points and vectors inside.
  s.compute_at(t.acc, t.stage, place);
  std::vector<std::string> order, inside;
  if (!t.loops.in_patch.empty()) inside.push_back(red.axes[r.outer.back()].name);
  if (r.tile) inside.push_back(red.axes[*r.tile].name);
  for (uint32_t a = 0; a < red.axes.size(); ++a) {
    const std::string& name = red.axes[a].name;
    if (a != r.vector && std::ranges::find(inside, name) == inside.end()) order.push_back(name);
  }
  const std::vector<std::string> reduces = reduce_order(red, c.window);
  std::vector<std::string> whole;
  std::string innermost;
  for (const std::string& name : reduces) {
    const auto axis = std::ranges::find(red.raxes, name, &Axis::name);
    if (is_unrolled(red, r, *axis, reduces)) {
      whole.push_back(name);
    } else {
      innermost = name;
    }
  }
  std::string steps;
  const std::vector<std::string> before = s.loops(t.acc);
  if (c.unroll > 1 && std::ranges::find(before, innermost) != before.end()) {
    steps = s.split(t.acc, innermost, c.unroll, Tail::Tail).second;
  }
  const std::vector<std::string> loops = s.loops(t.acc);
  for (const std::string& reduce : reduces) {
    for (const std::string& l : loops) {
      if (l == reduce || l.starts_with(reduce + ".")) order.push_back(l);
    }
  }
  order.insert(order.end(), inside.begin(), inside.end());
  auto [vectors, lanes] = s.split(t.acc, red.axes[r.vector].name, c.lanes, Tail::Tail);
  order.insert(order.end(), {vectors, lanes});
  s.reorder(t.acc, order);
  for (const std::string& l : inside) s.unroll(t.acc, l);
  s.unroll(t.acc, vectors);
  s.vectorize(t.acc, lanes);
  for (const std::string& l : whole) s.unroll(t.acc, l);
  if (!steps.empty()) s.unroll(t.acc, steps);
}

// Weights that no cache near the core still holds when a kernel starts are fetched ahead of the first tile that reads
// them: hardware follows them within a page only, and a page lasts a tile a fraction of a microsecond.
void prefetch_weights(Schedule& s, const Stage& red, uint32_t vector, const Machine& m) {
  constexpr int64_t ahead = 8192;
  std::vector<std::string> weights;
  visit(red.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    const Stage& c = s.group()[x.from()];
    const bool with_lanes = std::ranges::any_of(x.indices(), [&](const Index& i) { return moves(i, red.axes[vector].var); });
    if (c.kind == StageKind::Constant && with_lanes && points(c.axes) * size_of(c.dtype) > m.l2_bytes / 8) {
      weights.push_back(c.name);
    }
  });
  for (const std::string& name : weights) s.prefetch(name, ahead);
}

// Loops outside the tile, outermost first:
//   rows                outer.., tiles, panels          weights pass by once a tile
//   rows, in blocks     blocks, panels, outer.., tiles  weights pass by once a block
//   panels              panels, outer.., tiles          weights pass by once
//   both                blocks@panels, outer.., tiles
void schedule_tile(Schedule& s, const Roles& r, const TileChoice& c, const Machine& m) {
  const Stage out = s.group()[r.out];
  const Stage red = s.group()[r.acc];
  const Tiled t = make_tile(s, r, c);
  if (s.failure()) return;
  if (r.broadcast) prefetch_weights(s, red, r.vector, m);
  const bool share = c.share != kShareNothing && worth_sharing(out, red, m);
  std::vector<std::string> blocks;
  const bool inside = c.block == 0 && c.share != kSharePanels;  // panels are innermost
  if (!t.loops.blocks.empty()) blocks.push_back(t.loops.blocks);
  if (!inside) blocks.push_back(t.loops.panels);
  blocks.insert(blocks.end(), t.loops.outer.begin(), t.loops.outer.end());
  if (r.tile) blocks.push_back(t.loops.tiles);
  if (inside) blocks.push_back(t.loops.panels);
  std::vector<std::string> order = names(out.axes, r.unit);
  order.insert(order.end(), blocks.begin(), blocks.end());
  if (c.share == kShareBoth) {
    for (const std::string& l : {t.loops.in_patch, t.loops.in_tile, t.loops.vectors, t.loops.lanes}) {
      if (!l.empty()) order.push_back(l);
    }
    s.reorder(t.stage, order);
    blocks.erase(blocks.begin());
    blocks[0] = s.fuse(t.stage, t.loops.blocks, t.loops.panels);
    order = names(out.axes, r.unit);
    order.insert(order.end(), blocks.begin(), blocks.end());
  }
  attach_tile(s, t, r, c, order);
  if (share) s.parallel(t.stage, blocks[0]);
}

}  // namespace burnish::llvm_target
