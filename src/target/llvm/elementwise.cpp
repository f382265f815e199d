// Stages without a reduction: lanes along the innermost axis, threads over the outermost loops.
#include <algorithm>

#include "target/llvm/draft.h"
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

namespace {

struct ElementwiseChoice {
  int64_t lanes = 1;    // elements of a vector loop: one vector or several
  int64_t shared = 0;   // loops, from the outermost with more than one iteration, that threads share as one; 0: none
  friend bool operator==(const ElementwiseChoice&, const ElementwiseChoice&) = default;
};

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

// Axes with more than one point but the innermost, outermost first.
std::vector<uint32_t> long_axes(const Stage& stage) {
  std::vector<uint32_t> order = physical_order(stage), out;
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    if (stage.axes[order[i]].extent > 1) out.push_back(order[i]);
  }
  return out;
}

// An axis along which something is read that is read with a stride along the lanes: squares of both are transposed in
// registers.
std::optional<uint32_t> turned_axis(const StageGroup& g, const Stage& stage, int64_t lanes) {
  const std::vector<uint32_t> order = physical_order(stage);
  std::optional<uint32_t> turned;
  if (order.empty() || stage.axes[order.back()].extent < lanes) return turned;
  const VarId along = stage.axes[order.back()].var;
  visit(stage.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || x.fill() || g[x.from()].axes.empty()) return;
    if (size_of(g[x.from()].dtype) < 4 || size_of(stage.dtype) < 4) return;
    const Index& inner = x.indices()[physical_order(g[x.from()]).back()];
    if (!inner.is_affine() || moves(inner, along)) return;
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      const Axis& a = stage.axes[order[i]];
      if (inner.a.slope(a.var) == 1 && a.extent >= lanes) turned = order[i];
    }
  });
  return turned;
}

// What one thread takes, with everything in its caches.
double alone_us(const Stage& stage, int64_t lanes, const Machine& m) {
  const double steps = static_cast<double>(points(stage.axes)) / static_cast<double>(lanes);
  return steps * static_cast<double>(cost(stage.body) + 4) / 2 / (m.gigahertz * 1e3);
}

ElementwiseChoice choose(const Stage& stage, const Machine& m, bool scalar = false) {
  ElementwiseChoice c;
  const std::vector<uint32_t> order = physical_order(stage);
  if (order.empty()) return c;
  if (stage.axes[order.back()].extent > 1 && !scalar) c.lanes = lanes_of(m, stage.dtype);
  // Sooner than another thread could fetch its share from the cache where all of it is, and write it over there.
  constexpr double worth_sharing_us = 3;
  if (m.threads == 1 || alone_us(stage, c.lanes, m) < worth_sharing_us) return c;
  const std::vector<uint32_t> many = long_axes(stage);
  // Two outer loops as one where the outermost alone is too short to share out.
  const auto first = std::ranges::find(order, many.empty() ? order[0] : many[0]);
  c.shared = many.size() >= 2 && stage.axes[order[0]].extent < 4 * m.threads && first[1] == many[1] ? 2 : 1;
  return c;
}

void schedule(Schedule& s, const std::string& name, const ElementwiseChoice& c) {
  const StageGroup& g = s.group();
  const Stage stage = g[*g.named(name)];
  const std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  s.reorder(name, loops);
  if (loops.empty()) return;
  if (c.lanes > 1 && stage.axes[order.back()].extent > 1) {
    auto cuts = cuts_of(stage, order.back());
    const bool cut = !cuts.empty() && cuts.size() <= 16;
    if (cut) s.partition(name, loops.back(), std::move(cuts));
    auto [outer, inner] = s.split(name, loops.back(), c.lanes, Tail::Tail);
    s.vectorize(name, inner);
    loops.back() = outer;
    if (const auto turned = cut ? std::nullopt : turned_axis(g, stage, c.lanes)) {
      std::string& along = loops[std::ranges::find(order, *turned) - order.begin()];
      std::string square;
      std::tie(along, square) = s.split(name, along, c.lanes, Tail::Tail);
      std::vector<std::string> all = loops;
      all.insert(all.end(), {square, inner});
      s.reorder(name, all);
      s.unroll(name, square);
    }
  }
  if (c.shared == 0) return;
  const std::vector<uint32_t> many = long_axes(stage);
  if (many.empty()) {
    s.parallel(name, loops.back());
    return;
  }
  const auto place = [&](uint32_t axis) { return std::ranges::find(order, axis) - order.begin(); };
  std::string all = loops[place(many[0])];
  const auto last = many[std::min<size_t>(many.size(), c.shared) - 1];
  for (auto i = place(many[0]) + 1; i <= place(last); ++i) all = s.fuse(name, all, loops[i]);
  s.parallel(name, all);
}

}  // namespace

void schedule_elementwise(Schedule& s, const std::string& name, const Machine& m) {
  schedule(s, name, choose(s.group()[*s.group().named(name)], m));
}

std::unique_ptr<Space> elementwise_space(const Schedule& inlined, const Machine& m) {
  const StageId out = inlined.group().outputs.back();
  const Stage stage = inlined.group()[out];
  auto build = [=](const ElementwiseChoice& c) -> Result<Schedule> {
    Schedule s = inlined;
    schedule(s, stage.name, c);
    if (s.failure()) return *s.failure();
    return s;
  };
  ElementwiseChoice initial = choose(stage, m);
  for (;;) {
    auto s = build(initial);
    if (s && lowers(*s)) break;
    if (initial.lanes == 1) return nullptr;
    initial = choose(stage, m, true);
  }
  auto draft = [d = ElementwiseDraft(inlined, out, m)](const ElementwiseChoice& c) { return d.us(c.lanes, c.shared); };
  auto space = std::make_unique<Grid<ElementwiseChoice>>(initial, build, draft);
  if (initial.lanes > 1 && !turned_axis(inlined.group(), stage, initial.lanes)) {
    std::vector<int64_t> lanes;
    for (int64_t n : {1, 2, 4}) {
      if (n * initial.lanes <= std::min<int64_t>(64, stage.axes[physical_order(stage).back()].extent)) {
        lanes.push_back(n * initial.lanes);
      }
    }
    space->add("lanes", [](ElementwiseChoice& c) -> int64_t& { return c.lanes; }, lanes);
  }
  if (m.threads > 1 && points(stage.axes) > 1024) {
    std::vector<int64_t> shared = {0, 1};
    for (size_t i = 2; i <= std::min<size_t>(3, long_axes(stage).size()); ++i) shared.push_back(static_cast<int64_t>(i));
    space->add("shared", [](ElementwiseChoice& c) -> int64_t& { return c.shared; }, shared);
  }
  return space;
}

}  // namespace burnish::llvm_target
