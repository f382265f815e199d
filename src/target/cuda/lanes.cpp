// Sums of few points: products of a matrix with one vector or a few, convolutions of maps of one point. Threads share a
// sum: neighbours along the reduction are read by neighbouring threads, a vector each, so that all weights are read once
// and as they lie in memory; what these threads have is combined by shuffles. A thread holds all rows that share weights.
//
//   block: outputs.o
//     rf:   thread outputs, lanes:  registers rows x vector: sums along k, lanes * vector at a time
//     rf2:  thread outputs, lanes:  registers rows: sums of a vector
//     thread outputs.i:             registers rows: thread lanes: sums of rf2; stored
#include <algorithm>

#include "loop/thread_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kMostRows = 8;     // that share a weight in registers
constexpr int64_t kThreads = 128;    // of a block
constexpr int64_t kMostUnrolled = 16;  // loads of one operand under way

// Constants that move with the reduction axis `k`: neighbours along it lie together.
void pack_along(Schedule& t, const Stage& acc, VarId k) {
  visit(acc.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || t.group()[e.from()].kind != StageKind::Constant) return;
    const Stage& x = t.group()[e.from()];
    std::optional<uint32_t> along;
    for (uint32_t i = 0; i < e.indices().size(); ++i)
      if (e.indices()[i].a.slope(k) != 0) along = i;
    if (!along) return;
    t.pack(x.name, axes_in_order(x.axes.size(), {}, {*along}));
  });
}

// The loops of a part of the sum, `k` of which are lanes: outputs and lanes to threads, rows unrolled.
struct Part {
  std::string name;
  std::vector<std::string> serial;  // loops of the reduction
  std::string lanes, vector;
};

void lay_out(Schedule& t, const Roles& r, const Part& p) {
  const Stage x = t.group()[*t.group().named(p.name)];
  std::vector<std::string> order = names(x.axes, r.unit), rows = names(x.axes, r.outer);
  if (r.tile) rows.push_back(x.axes[*r.tile].name);
  const std::string outputs = x.axes[r.vector].name;
  order.push_back(outputs);
  t.bind(p.name, outputs);
  if (!p.lanes.empty()) {
    order.push_back(p.lanes);
    t.bind(p.name, p.lanes);
  }
  order.insert(order.end(), p.serial.begin(), p.serial.end());
  order.insert(order.end(), rows.begin(), rows.end());
  if (!p.vector.empty()) order.push_back(p.vector);
  t.reorder(p.name, order);
  for (const std::string& l : rows) t.unroll(p.name, l);
  if (!p.vector.empty()) t.vectorize(p.name, p.vector);
}

}  // namespace

void combine_lanes(Schedule& t, const std::string& acc, std::vector<std::string> points, const std::string& lanes) {
  t.set_scope(acc, Scope::Register);
  for (const std::string& l : points) t.unroll(acc, l);
  points.push_back(lanes);
  t.reorder(acc, std::move(points));
  t.bind(acc, lanes);
}

void sum_over_lanes(Schedule& t, const LaneSum& x, const Roles& r) {
  const Stage a = t.group()[*t.group().named(x.acc)];
  const Axis k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  // Parts of the sum: first by lane and place in a vector, then by lane.
  Part all{.name = x.acc, .lanes = k.name + "i"}, by_lane, by_place{.name = t.rfactor(x.acc, k.name, x.lanes * x.vector, true, 1, true)};
  if (x.vector > 1) {
    by_lane = {.name = t.rfactor(x.acc, k.name + "i", x.vector), .serial = {k.name + "ii"}, .lanes = k.name + "io"};
    all.lanes = by_lane.lanes;
  }
  if (t.failure()) return;
  for (const Part* p : {&by_lane, &by_place}) {
    if (p->name.empty()) continue;
    t.compute_at(p->name, x.owner, x.block);
    t.set_scope(p->name, Scope::Register);
    t.guard_halo(p->name);
  }
  const std::string along = k.name + "o";
  const int64_t whole = k.extent / (x.lanes * x.vector), steps = ceil_div(k.extent, x.lanes * x.vector);
  if (whole > 0 && whole < steps) t.partition(by_place.name, along, {whole});
  by_place.serial = {along};
  if (steps > kMostUnrolled) {
    auto [outer, inner] = t.split(by_place.name, along, kMostUnrolled / 2, Tail::Tail);
    by_place.serial = {outer, inner};
  }
  for (const Axis& axis : a.raxes)
    if (axis.name != k.name) by_place.serial.insert(by_place.serial.begin(), axis.name);
  by_place.lanes = k.name + "i";
  if (x.vector > 1) std::tie(by_place.lanes, by_place.vector) = t.split(by_place.name, by_place.lanes, x.vector, Tail::Exact);
  lay_out(t, r, by_place);
  t.unroll(by_place.name, by_place.serial.back());
  if (x.vector > 1) {
    lay_out(t, r, by_lane);
    t.unroll(by_lane.name, by_lane.serial.back());
  }
  // The sum itself, of one output.
  t.compute_at(x.acc, x.out, x.own);
  combine_lanes(t, x.acc, names(a.axes, physical_order(a)), all.lanes);
}

bool by_lanes(Schedule& s, const Roles& r, int64_t vector, const Device& d) {
  Schedule t = s;
  const std::string out = t.group()[r.out].name;
  const std::string acc = sum_of(t, r);
  if (t.failure()) return false;
  const Stage o = t.group()[*t.group().named(out)], a = t.group()[*t.group().named(acc)];
  const int64_t outputs = o.axes[r.vector].extent, rows = points(o.axes) / outputs;
  if (!r.broadcast || r.grouped || rows > kMostRows || outputs < 2 || a.raxes.empty()) return false;
  const Axis k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  if (k.extent < 2 * vector || k.extent % vector != 0) return false;
  const int64_t lanes = power_below(std::min(kWarp, k.extent / vector));
  if (lanes < 2) return false;
  // Blocks enough for all multiprocessors, where there are outputs enough.
  int64_t share = std::max<int64_t>(2, kThreads / lanes);
  while (share > 2 && outputs / share < d.multiprocessors && share * lanes > kWarp) share /= 2;
  pack_along(t, a, k.var);

  auto [block, own] = t.split(out, o.axes[r.vector].name, share, Tail::Whole);
  std::vector<std::string> more = names(o.axes, r.outer);
  if (r.tile) more.push_back(o.axes[*r.tile].name);
  std::vector<std::string> outside = names(o.axes, r.unit);
  outside.push_back(block);
  std::vector<std::string> order = outside;
  order.push_back(own);
  order.insert(order.end(), more.begin(), more.end());
  t.reorder(out, order);
  block = fused(t, out, outside);
  t.parallel(out, block);
  t.bind(out, own);
  for (const std::string& l : more) t.unroll(out, l);

  sum_over_lanes(t, {.out = out, .acc = acc, .own = own, .owner = out, .block = block, .lanes = lanes, .vector = vector}, r);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
