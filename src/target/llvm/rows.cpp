// Reductions over rows: softmax, norms, means along the contiguous axis. Everything lives inside one row.
#include <algorithm>

#include "target/llvm/draft.h"
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

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

namespace {

struct RowsChoice {
  bool vectors = true;  // else scalars
  int64_t sums = 1;     // vectors that a reduction adds up in, side by side
  int64_t wide = 1;     // vectors of a loop that reduces nothing
  int64_t shared = 1;   // loops that threads share as one; 0: none
  friend bool operator==(const RowsChoice&, const RowsChoice&) = default;
};

void vectorize_row(Schedule& s, const std::string& name, size_t common, const RowsChoice& c, const Machine& m) {
  const Stage stage = s.group()[*s.group().named(name)];
  const uint32_t inner = physical_order(stage).back();
  if (inner < common || stage.is_reduction() || stage.axes[inner].extent < 2) return;
  auto [outer, in] = s.split(name, stage.axes[inner].name, lanes_of(m, stage.dtype) * c.wide, Tail::Tail);
  s.vectorize(name, in);
}

// Axes of the output that every other stage has too, by position, outermost first.
size_t common_axes(const StageGroup& g, StageId out) {
  const Stage& stage = g[out];
  size_t common = stage.axes.size();
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (!g[p].is_compute() || p == out) continue;
    size_t same = 0;
    while (same < common && same < g[p].axes.size() && g[p].axes[same].extent == stage.axes[same].extent) ++same;
    common = same;
  }
  return common;
}

int64_t work_of(const StageGroup& g, StageId out) {
  int64_t work = points(g[out].axes);
  for (const Stage& p : g.stages) work = std::max(work, p.is_compute() ? points(p.axes) * points(p.raxes) : 0);
  return work;
}

void schedule(Schedule& s, StageId out, const RowsChoice& c, const Machine& m) {
  const StageGroup& g = s.group();
  const std::string o = g[out].name;
  const Stage stage = g[out];
  const size_t common = common_axes(g, out);
  std::vector<std::string> others;
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (g[p].is_compute() && p != out) others.push_back(g[p].name);
  }
  if (common == 0) return;
  const int64_t work = work_of(g, out);
  const std::string row = stage.axes[common - 1].name;
  std::vector<std::string> all = others;
  all.push_back(o);
  for (const std::string& name : all) {
    const Stage reduction = g[*g.named(name)];
    if (!c.vectors || !reduces_contiguous(g, reduction)) continue;
    const Axis k = reduction.raxes[0];
    int64_t lanes = lanes_of(m, reduction.dtype);
    if (lanes < 2 || k.extent < 2 * lanes) continue;
    if (k.extent >= 2 * lanes * c.sums) lanes *= c.sums;
    const std::string part = s.rfactor(name, k.name, lanes, true);
    if (s.failure()) return;
    s.reorder(part, {k.name + "o", k.name + "i"});
    s.vectorize(part, k.name + "i");
    s.set_scope(part, Scope::Register);
    s.unroll(name, k.name + "i");  // a tree
    others.push_back(part);
    if (g.named(name + ".rest")) others.push_back(name + ".rest");
  }
  for (const std::string& p : others) {
    s.compute_at(p, o, row);
    // What a row has one of stays in a register.
    const Stage of = s.group()[*s.group().named(p)];
    if (of.axes.size() == common) s.set_scope(p, Scope::Register);
  }
  if (c.vectors) {
    for (const std::string& p : all) vectorize_row(s, p, common, c, m);
  }
  if (m.threads == 1 || work <= 16384 || c.shared == 0) return;
  for (size_t a = 0; a < common; ++a) {
    if (stage.axes[a].extent == 1) continue;
    std::string loops = stage.axes[a].name;
    for (int64_t n = 1; n < c.shared && a + static_cast<size_t>(n) + 1 < common; ++n) {
      loops = s.fuse(o, loops, stage.axes[a + static_cast<size_t>(n)].name);
    }
    s.parallel(o, loops);
    break;
  }
}

}  // namespace

std::unique_ptr<Space> rows_space(const Schedule& inlined, StageId out, bool vectors, const Machine& m) {
  const StageGroup& g = inlined.group();
  const int64_t lanes = lanes_of(m, g[out].dtype);
  auto build = [=](const RowsChoice& c) -> Result<Schedule> {
    Schedule s = inlined;
    schedule(s, out, c, m);
    if (s.failure()) return *s.failure();
    return s;
  };
  const RowsChoice initial{.vectors = vectors};
  auto s = build(initial);
  if (!s || !lowers(*s)) return nullptr;
  const size_t common = common_axes(g, out);
  auto draft = [d = RowsDraft(inlined, out, common, m)](const RowsChoice& c) { return d.us(c.vectors, c.sums, c.wide, c.shared); };
  auto space = std::make_unique<Grid<RowsChoice>>(initial, build, draft);
  if (common == 0) return space;
  if (vectors) {
    int64_t longest = 0;
    for (StageId p = 0; p < g.stages.size(); ++p) {
      if (g[p].is_compute() && reduces_contiguous(g, g[p])) longest = std::max(longest, g[p].raxes[0].extent);
    }
    std::vector<int64_t> sums;
    for (int64_t n : {1, 2, 4}) {
      if (longest >= 2 * n * lanes && n * lanes <= 64) sums.push_back(n);
    }
    space->add("sums", [](RowsChoice& c) -> int64_t& { return c.sums; }, sums);
    std::vector<int64_t> wide;
    for (int64_t n : {1, 2, 4}) {
      if (n * lanes <= std::min<int64_t>(64, g[out].axes.back().extent)) wide.push_back(n);
    }
    space->add("wide", [](RowsChoice& c) -> int64_t& { return c.wide; }, wide);
  }
  if (m.threads > 1 && work_of(g, out) > 16384) {
    std::vector<int64_t> shared = {0, 1};
    if (common > 2) shared.push_back(2);
    space->add("shared", [](RowsChoice& c) -> int64_t& { return c.shared; }, shared);
  }
  return space;
}

}  // namespace burnish::llvm_target
