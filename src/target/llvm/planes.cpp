// Sums over whole planes (global pools): one value a channel. Threads sum the rows that they have
// computed, each for itself; one of them adds up the parts.
//
//   parallel part                    part[c] = sum over rows of this part, columns
//   out[c] = finish(sum over parts)
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

namespace {

struct PlanesChoice {
  int64_t vectors = 1;  // summed side by side
  friend bool operator==(const PlanesChoice&, const PlanesChoice&) = default;
};

Result<Schedule> planes_schedule(const Schedule& inlined, const Roles& roles, const PlanesChoice& c,
                                 const Machine& m) {
  Schedule s = inlined;
  const Stage out = s.group()[roles.out], acc = s.group()[roles.acc];
  const int64_t lanes = lanes_of(m, acc.dtype);
  const std::string part = s.rfactor(acc.name, acc.raxes[0].name, acc.raxes[0].extent / m.threads);
  if (s.failure()) return *s.failure();

  Roles r = roles;
  r.out = r.acc = *s.group().named(part);
  const auto parts = static_cast<uint32_t>(acc.axes.size());
  r.outer = {parts};
  Layout apart = {{parts}};
  for (uint32_t a : roles.unit) apart.push_back({a});
  apart.push_back({roles.vector});
  s.pack(part, apart);
  const TileChoice tile{.lanes = lanes, .vectors = c.vectors};
  const Tiled t = make_tile(s, r, tile);
  std::vector<std::string> outside = names(acc.axes, roles.unit);
  outside.insert(outside.begin(), t.loops.outer[0]);
  outside.push_back(t.loops.panels);
  attach_tile(s, t, r, tile, outside);
  s.parallel(part, t.loops.outer[0]);

  std::vector<std::string> order = names(out.axes, roles.unit);
  auto [panels, in_panel] = s.split(out.name, out.axes[roles.vector].name, lanes, Tail::Tail);
  order.insert(order.end(), {panels, in_panel});
  s.reorder(out.name, order);
  s.vectorize(out.name, in_panel);
  s.compute_at(acc.name, out.name, panels);
  s.set_scope(acc.name, Scope::Register);
  std::vector<std::string> inside = names(acc.axes, roles.unit);
  inside.insert(inside.end(), {acc.raxes[0].name + "o", acc.axes[roles.vector].name});
  s.reorder(acc.name, inside);
  s.vectorize(acc.name, acc.axes[roles.vector].name);
  if (s.failure()) return *s.failure();
  return s;
}

}  // namespace

std::unique_ptr<Space> planes_space(const Schedule& inlined, const Roles& r, const Machine& m) {
  const StageGroup& g = inlined.group();
  const Stage &acc = g[r.acc], &out = g[r.out];
  if (r.acc == r.out || r.broadcast || r.tile || !r.outer.empty() || m.threads == 1) return nullptr;
  if (!worth_sharing(out, acc, m) || acc.raxes.empty() || acc.raxes[0].extent % m.threads != 0)
    return nullptr;
  const int64_t vectors = ceil_div(out.axes[r.vector].extent, lanes_of(m, acc.dtype));
  auto build = [=](const PlanesChoice& c) { return planes_schedule(inlined, r, c, m); };
  const PlanesChoice initial{.vectors = ceil_div(vectors, ceil_div(vectors, 8))};
  auto s = build(initial);
  if (!s || !lowers(*s)) return nullptr;
  // Every order reads the same; only waiting for sums differs.
  auto draft = [=](const PlanesChoice& c) {
    const double steps =
        static_cast<double>(points(acc.raxes) * ceil_div(vectors, c.vectors)) / m.threads;
    return steps * static_cast<double>(std::max<int64_t>(c.vectors, 4)) / (m.gigahertz * 1e3);
  };
  auto space = std::make_unique<Grid<PlanesChoice>>(initial, build, draft);
  space->add("vectors", [](PlanesChoice& c) -> int64_t& { return c.vectors; }, {2, 4, 8});
  return space;
}

}  // namespace burnish::llvm_target
