// Loop nests of the LLVM target. From a group's stages: inline what is cheap, find what part the axes play, choose the
// register tile, build the schedule; whatever does not fit falls back to a plainer nest, in the end to loops as written.
#include "target/llvm/space.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace burnish::llvm_target {

int64_t points(const std::vector<Axis>& axes) {
  int64_t n = 1;
  for (const Axis& a : axes) n *= a.extent;
  return n;
}

std::vector<std::string> names(const std::vector<Axis>& axes, const std::vector<uint32_t>& which) {
  std::vector<std::string> out;
  for (uint32_t a : which) out.push_back(axes[a].name);
  return out;
}

namespace {

// ---- no reduction: lanes along the innermost axis, threads over the outermost loops

// Where conditions on the axis alone change: concat selects its operands by ranges of an axis.
std::vector<int64_t> cuts_of(const Stage& stage, uint32_t axis) {
  std::vector<int64_t> cuts;
  visit(stage.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Select) return;
    const auto conditions = as_nonnegative(x.children()[0]);
    if (!conditions) return;
    for (const Index& i : *conditions) {
      if (!i.is_affine() || i.a.terms.size() != 1 || i.a.terms[0].var != stage.axes[axis].var) continue;
      const int64_t k = i.a.terms[0].k;
      const int64_t cut = k == 1 ? -i.a.c : k == -1 ? i.a.c + 1 : 0;
      if (cut > 0 && cut < stage.axes[axis].extent) cuts.push_back(cut);
    }
  });
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

void schedule_elementwise(Schedule& s, const std::string& name, const Machine& m, bool vectors) {
  const StageGroup& g = s.group();
  const Stage stage = g[*g.named(name)];
  std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  s.reorder(name, loops);
  if (loops.empty()) return;
  if (vectors && stage.axes[order.back()].extent > 1) {
    if (auto cuts = cuts_of(stage, order.back()); !cuts.empty() && cuts.size() <= 16) {
      s.partition(name, loops.back(), std::move(cuts));
    }
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

// ---- reductions over rows: softmax, norms, means along the contiguous axis. Everything lives inside one row.

// Do all loads of the reduction that move along its only reduce axis run along the contiguous one?
bool reduces_contiguous(const StageGroup& g, const Stage& stage) {
  if (!stage.is_reduction() || stage.raxes.size() != 1) return false;
  const VarId k = stage.raxes[0].var;
  bool contiguous = true;
  visit(stage.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    const Stage& from = g[x.from()];
    if (from.axes.empty()) return;
    const uint32_t inner = physical_order(from).back();
    for (uint32_t i = 0; i < x.indices().size(); ++i) {
      if (!moves(x.indices()[i], k)) continue;
      contiguous &= i == inner && x.indices()[i].is_affine() && x.indices()[i].a.slope(k) == 1;
    }
  });
  return contiguous;
}

void vectorize_row(Schedule& s, const std::string& name, size_t common, const Machine& m) {
  const Stage stage = s.group()[*s.group().named(name)];
  const uint32_t inner = physical_order(stage).back();
  if (inner < common || stage.is_reduction() || stage.axes[inner].extent < 2) return;
  auto [outer, lanes] = s.split(name, stage.axes[inner].name, lanes_of(m, stage.dtype), Tail::Tail);
  s.vectorize(name, lanes);
}

void schedule_rows(Schedule& s, StageId out, const Machine& m, bool vectors) {
  const StageGroup& g = s.group();
  const std::string o = g[out].name;
  const Stage stage = g[out];
  // Axes of the output that every other stage has too, by position, outermost first.
  size_t common = stage.axes.size();
  std::vector<std::string> others;
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (!g[p].is_compute() || p == out) continue;
    size_t same = 0;
    while (same < common && same < g[p].axes.size() && g[p].axes[same].extent == stage.axes[same].extent) ++same;
    common = same;
    others.push_back(g[p].name);
  }
  if (common == 0) return;
  const std::string row = stage.axes[common - 1].name;
  std::vector<std::string> all = others;
  all.push_back(o);
  for (const std::string& name : all) {
    const Stage reduction = g[*g.named(name)];
    if (!vectors || !reduces_contiguous(g, reduction)) continue;
    const Axis k = reduction.raxes[0];
    const int64_t lanes = lanes_of(m, reduction.dtype);
    if (lanes < 2 || k.extent < 2 * lanes) continue;
    const std::string part = s.rfactor(name, k.name, lanes, true);
    if (s.failure()) return;
    s.reorder(part, {k.name + "o", k.name + "i"});
    s.vectorize(part, k.name + "i");
    others.push_back(part);
    if (g.named(name + ".rest")) others.push_back(name + ".rest");
  }
  for (const std::string& p : others) s.compute_at(p, o, row);
  if (vectors) {
    for (const std::string& p : all) vectorize_row(s, p, common, m);
  }
  for (size_t a = 0; a < common; ++a) {
    if (stage.axes[a].extent == 1) continue;
    int64_t work = points(stage.axes);
    for (const Stage& p : g.stages) work = std::max(work, p.is_compute() ? points(p.axes) * points(p.raxes) : 0);
    if (m.threads > 1 && work > 16384) s.parallel(o, stage.axes[a].name);
    break;
  }
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
    if (auto s = best_chain(base, out, m)) return std::move(*s);
    if (auto roles = roles_of(base, out); roles && computed.size() <= 2) {
      TileChoice c = choose_tile(base, *roles, m);
      for (;;) {
        Schedule s = base;
        schedule_tile(s, *roles, c, m);
        if (lowers(s)) return s;
        if (c.parallel_panels || c.panels_outside) {
          c.parallel_panels = c.panels_outside = false;
        } else if (c.lanes > 1) {
          if (reduces_contiguous(base.group(), base.group()[roles->acc])) {
            Schedule rows = base;
            schedule_rows(rows, out, m, true);
            if (lowers(rows)) return rows;
          }
          c.lanes = 1;  // no contiguous lanes: scalars
          c.vectors = 4;
        } else {
          break;
        }
      }
    }
    for (bool vectors : {true, false}) {
      if (computed.size() < 2) break;
      Schedule s = base;
      schedule_rows(s, out, m, vectors);
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
