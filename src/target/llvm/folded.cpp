// Reductions to so few channels that no lanes run along the output (one channel of an image whose
// channels lie side by side): lanes run along the reduction instead. A block of points adds up
// vectors of partial sums, a tree over lanes ends them, and the epilogue takes the block's sums
// from the stack, a vector at a time.
//
//   for y.o, x.o:  partial[y, x, lanes] over the reduction, in registers
//                  sums[y, x] = partial[y, x, 0] + partial[y, x, 1] + ...        a tree
//                  out[y, x lanes] = f(sums[y, x lanes])
#include <algorithm>
#include <cmath>

#include "target/llvm/draft.h"
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

namespace {

struct FoldedChoice {
  int64_t lanes = 8;   // of partial sums
  int64_t width = 8;   // points of the contiguous axis
  int64_t height = 2;  // of the axis outside it
  int64_t share = 1;
  friend bool operator==(const FoldedChoice&, const FoldedChoice&) = default;
};

// The reduce axis along which what is no constant lies side by side.
std::optional<Axis> contiguous_axis(const StageGroup& g, const Stage& acc) {
  for (const Axis& k : acc.raxes) {
    bool contiguous = true, found = false;
    visit(acc.body, [&](const Expr& x) {
      if (x.kind() != ExprKind::Load) return;
      const Stage& from = g[x.from()];
      for (uint32_t i = 0; i < x.indices().size(); ++i) {
        const Index& index = x.indices()[i];
        if (!moves(index, k.var)) continue;
        const bool along = index.is_affine() && index.a.slope(k.var) == 1;
        contiguous &=
            along && (from.kind == StageKind::Constant || i == physical_order(from).back());
        found |= from.kind != StageKind::Constant;
      }
    });
    if (found && contiguous) return k;
  }
  return std::nullopt;
}

// Constants are stored along the reduction.
void pack_along(Schedule& s, const Stage& acc, const Axis& k) {
  std::vector<std::pair<std::string, Layout>> packs;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || s.group()[x.from()].kind != StageKind::Constant) return;
    Layout layout;
    std::optional<uint32_t> last;
    for (uint32_t i = 0; i < x.indices().size(); ++i) {
      if (moves(x.indices()[i], k.var))
        last = i;
      else
        layout.push_back({i});
    }
    if (!last || x.indices().size() < 2) return;
    layout.push_back({*last});
    packs.emplace_back(s.group()[x.from()].name, layout);
  });
  for (const auto& [name, layout] : packs) s.pack(name, layout);
}

void schedule(Schedule& s, const Roles& r, const Axis& k, const FoldedChoice& c, const Machine& m) {
  const std::string name = s.group()[r.out].name;
  const std::string sums = r.acc == r.out ? s.cache_write(name) : s.group()[r.acc].name;
  if (s.failure()) return;
  const Stage out = s.group()[*s.group().named(name)], acc = s.group()[*s.group().named(sums)];
  pack_along(s, acc, k);
  const std::string partial = s.rfactor(sums, k.name, c.lanes, true);
  if (s.failure()) return;
  const Stage part = s.group()[*s.group().named(partial)];

  std::vector<std::string> outside = names(out.axes, r.unit), inside;
  for (const std::string& l : names(out.axes, r.outer)) outside.push_back(l);
  const size_t first = outside.size() - r.outer.size();
  if (r.tile) {
    const auto [o, i] = s.split(name, out.axes[*r.tile].name, c.height, Tail::Tail);
    outside.push_back(o);
    inside.push_back(i);
    s.unroll(name, i);
  }
  const auto [blocks, lanes] = s.split(name, out.axes[r.vector].name, c.width, Tail::Tail);
  outside.push_back(blocks);
  inside.push_back(lanes);
  std::vector<std::string> order = outside;
  order.insert(order.end(), inside.begin(), inside.end());
  s.reorder(name, order);
  s.vectorize(name, lanes);

  s.set_scope(sums, Scope::Stack);
  Layout layout;
  for (uint32_t a = 0; a < acc.axes.size(); ++a) {
    if (a != r.vector) layout.push_back({a});
  }
  layout.push_back({r.vector});
  s.pack(sums, layout);
  s.compute_at(sums, name, blocks);
  for (const std::string& l : s.loops(sums)) s.unroll(sums, l);

  s.set_scope(partial, Scope::Register);
  s.compute_at(partial, name, blocks);
  order.clear();
  for (const std::string& l : reduce_order(part, false)) order.push_back(l);
  for (const Axis& a : part.axes) order.push_back(a.name);
  s.reorder(partial, order);
  for (size_t a = 0; a + 1 < part.axes.size(); ++a) s.unroll(partial, part.axes[a].name);
  s.vectorize(partial, part.axes.back().name);
  int64_t steps = c.width * c.height;  // multiply-adds in straight code
  for (size_t i = part.raxes.size(); i-- > 0;) {
    const Axis& a = *std::ranges::find(part.raxes, order[i], &Axis::name);
    if ((steps *= a.extent) > 256) break;
    s.unroll(partial, a.name);
  }
  if (c.share && worth_sharing(out, acc, m)) s.parallel(name, outside[first]);
}

}  // namespace

std::unique_ptr<Space> folded_space(const Schedule& inlined, const Roles& r, const Machine& m) {
  const StageGroup& g = inlined.group();
  const Stage &acc = g[r.acc], &out = g[r.out];
  const auto k = contiguous_axis(g, acc);
  if (acc.op != Combine::Sum || acc.init || acc.finish || !k || out.axes[r.vector].extent < 4)
    return nullptr;
  const int64_t widest = lanes_of(m, acc.dtype);
  std::vector<int64_t> lanes;
  for (int64_t n = 4; n <= widest; n *= 2) {
    if (k->extent % n == 0) lanes.push_back(n);
  }
  if (lanes.empty()) return nullptr;
  const int64_t width = r.tile ? out.axes[*r.tile].extent : 1;
  const int64_t phases = r.tile ? phases_of(acc, acc.axes[*r.tile].var) : 1;
  const int64_t phases_x = phases_of(acc, acc.axes[r.vector].var);
  if (phases > 4 || phases_x > 4) return nullptr;
  auto build = [=, axis = *k](const FoldedChoice& c) -> Result<Schedule> {
    if (c.width * c.height + 4 > m.vector_registers) {
      return refuse("{} sums are more than {} registers hold", c.width * c.height,
                    m.vector_registers);
    }
    Schedule s = inlined;
    schedule(s, r, axis, c, m);
    if (s.failure()) return *s.failure();
    return s;
  };
  // Vectors of products, and a tree for every point; points outside whole blocks take as long as a
  // block.
  const double steps = static_cast<double>(points(acc.raxes));
  const double all = static_cast<double>(points(out.axes));
  const bool shared = worth_sharing(out, acc, m);
  auto estimate = [=](const FoldedChoice& c) {
    if (c.width * c.height + 4 > m.vector_registers) return std::numeric_limits<double>::infinity();
    const double passes =
        steps / static_cast<double>(c.lanes) * m.passes(c.lanes * size_of(acc.dtype));
    const double loads = passes * (0.5 + 1.0 / static_cast<double>(c.height));
    const double block = static_cast<double>(c.width * c.height);
    const double tree = 1.5 * std::log2(static_cast<double>(c.lanes));
    const double point =
        std::max(passes / m.fma_per_cycle, loads / m.loads_per_cycle) + tree + 12 / block;
    const double threads = shared && c.share ? m.threads : 1;
    return all * point / threads / (m.gigahertz * 1e3) + (threads > 1 ? 0.3 : 0);
  };
  FoldedChoice initial;
  const int64_t room = m.vector_registers / 2;
  initial.lanes = lanes.back();
  initial.height = std::min(width, std::max<int64_t>(phases, 2));
  initial.width = 4;
  while (initial.width * 2 <= std::min(widest, out.axes[r.vector].extent) &&
         initial.width * 2 * initial.height <= room)
    initial.width *= 2;
  double least = estimate(initial);
  for (int64_t n : lanes) {
    FoldedChoice c = initial;
    c.lanes = n;
    if (const double us = estimate(c); us < least) least = us, initial = c;
  }
  if (auto s = build(initial); !s || !lowers(*s)) return nullptr;
  auto space = std::make_unique<Grid<FoldedChoice>>(initial, build, estimate);
  space->add("lanes", [](FoldedChoice& c) -> int64_t& { return c.lanes; }, lanes);
  std::vector<int64_t> widths, heights;
  for (int64_t n = 4; n <= std::min(widest, out.axes[r.vector].extent); n *= 2) widths.push_back(n);
  for (int64_t n = phases; n <= std::min<int64_t>(width, 4); n *= 2) heights.push_back(n);
  space->add("width", [](FoldedChoice& c) -> int64_t& { return c.width; }, widths);
  space->add("height", [](FoldedChoice& c) -> int64_t& { return c.height; }, heights);
  if (shared && m.threads > 1)
    space->add("share", [](FoldedChoice& c) -> int64_t& { return c.share; }, {0, 1});
  return space;
}

}  // namespace burnish::llvm_target
