// Loops of a warp's tile: what products, convolutions and chains by matrix instructions share.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

void lay_out(Schedule& t, const std::string& stage, const WarpLoops& w, std::vector<std::string> order, const std::vector<std::string>& registers,
             const std::string& vector) {
  order.insert(order.end(), registers.begin(), registers.end());
  if (!vector.empty()) order.push_back(vector);
  t.reorder(stage, order);
  for (const std::string& l : w.bound) t.bind(stage, l, w.groups < kMatrixGroups && &l == &w.bound.end()[-2] ? kMatrixGroups : 0);
  for (const std::string& l : registers) t.unroll(stage, l);
  if (!vector.empty()) t.vectorize(stage, vector);
}

// The loops of a thread's part of a tile; phases are innermost, as they are of their axes.
std::vector<std::string> tiles_of_warp(Schedule& t, const std::string& stage, const WarpLoops& w) {
  auto [tiles_down, pair_down] = t.split(stage, w.points, kMatrixPairs * w.point_phases, Tail::Whole);
  auto [tiles_across, pair_across] = t.split(stage, w.channels, kMatrixPairs, Tail::Whole);
  std::vector<std::string> phases;
  if (w.point_phases > 1) std::tie(pair_down, phases.emplace_back()) = t.split(stage, pair_down, w.point_phases, Tail::Whole);
  if (!w.phase.empty()) phases.push_back(w.phase);
  std::vector<std::string> loops = {tiles_down, tiles_across, pair_down, pair_across};
  if (!w.tiles.empty()) loops.insert(loops.begin(), w.tiles);
  loops.insert(loops.end(), phases.begin(), phases.end());
  return loops;
}

// That a load moves with.
size_t variables_of(const Expr& load) {
  if (load.kind() != ExprKind::Load) return 0;
  size_t n = 0;
  for (const Index& i : load.indices()) n += i.a.terms.size() + i.atoms.size();
  return n;
}

}  // namespace

bool is_scaled(const Expr& factor) {
  if (factor.kind() == ExprKind::Cast || factor.kind() == ExprKind::Select) return is_scaled(factor.children()[factor.kind() == ExprKind::Select ? 1 : 0]);
  return factor.kind() == ExprKind::Binary;
}

bool is_product(const Stage& s) {
  return s.op == Combine::Sum && s.dtype == DType::F32 && s.body.kind() == ExprKind::Binary && s.body.binary() == BinaryOp::Mul &&
         load_of(s.body.children()[0]).kind() == ExprKind::Load && load_of(s.body.children()[1]).kind() == ExprKind::Load;
}

const Expr& load_of(const Expr& factor) {
  if (factor.kind() == ExprKind::Cast) return load_of(factor.children()[0]);
  if (factor.kind() == ExprKind::Binary && factor.binary() == BinaryOp::Mul) {
    const Expr &a = load_of(factor.children()[0]), &b = load_of(factor.children()[1]);
    const size_t with_a = variables_of(a), with_b = variables_of(b);
    return with_a == with_b ? factor : with_a > with_b ? a : b;
  }
  const bool guarded = factor.kind() == ExprKind::Select && factor.children()[2].kind() == ExprKind::Const && factor.children()[2].number() == 0;
  return guarded ? load_of(factor.children()[1]) : factor;
}

int64_t depth_for(int64_t channels, const Device& d) {
  int64_t depth = d.depth();
  while (channels % depth) depth /= 2;
  return depth;
}

int64_t instruction_depth(const Device& d) { return (d.halves() ? 2 : 1) * kMatrixDepth; }

Layout fragments(uint32_t rank, uint32_t channels, uint32_t depth_axis, int64_t columns, int64_t depth, Depths order, DType type) {
  const int64_t warp = 8 * columns, pair = kMatrixPairs;
  Layout l = {{channels, warp, 0}};
  for (uint32_t a = 0; a < rank; ++a)
    if (a != channels && a != depth_axis) l.push_back({a});
  l.push_back({depth_axis, depth, 0});
  if (columns > 1) l.push_back({channels, pair, columns});
  l.push_back({channels, pair * columns, kMatrixLanes});
  l.push_back({channels, 1, pair});
  if (order == Depths::Neighbours) {
    l.push_back({depth_axis, 1, depth});
    return l;
  }
  const int64_t piece = vector_of(type), own = piece / kMatrixLanes;
  l.push_back({depth_axis, own, kMatrixLanes});
  if (depth > piece) l.push_back({depth_axis, piece, depth / piece});
  if (own > 1) l.push_back({depth_axis, 1, own});
  return l;
}

void store_by_warps(Schedule& t, const std::string& stage, const WarpLoops& w, uint32_t channel_axis, int64_t columns) {
  std::vector<std::string> order = w.outside, registers = {w.points};
  if (!w.phase.empty()) registers.push_back(w.phase);
  if (!w.tiles.empty()) registers.insert(registers.begin(), w.tiles);
  order.insert(order.end(), w.bound.begin(), w.bound.end());
  const Stage& s = t.group()[*t.group().named(stage)];
  const int64_t width = stored_at_once(columns, s.dtype);
  std::vector<uint32_t> order_in_memory = physical_order(s);
  std::erase_if(order_in_memory, [&](uint32_t a) { return a != channel_axis && s.axes[a].extent == 1; });
  std::string vector;
  if (order_in_memory.back() == channel_axis && s.axes[channel_axis].extent % width == 0 && in_vectors(s.dtype)) {
    std::string more;
    std::tie(more, vector) = t.split(stage, w.channels, width, Tail::Whole);
    registers.push_back(more);
  } else {
    registers.push_back(w.channels);
  }
  lay_out(t, stage, w, std::move(order), registers, vector);
}

void sum_by_warps(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& k, const std::string& depth_loop, int64_t depth,
                  int64_t ahead) {
  const std::vector<std::string> registers = tiles_of_warp(t, stage, w);
  auto [steps, step] = t.split(stage, depth_loop, depth * std::max<int64_t>(1, ahead));
  std::vector<std::string> order = w.outside, reduction, within = {step};
  order.insert(order.end(), w.bound.begin(), w.bound.end());
  const Stage self = t.group()[*t.group().named(stage)];
  for (const Axis& other : self.raxes)
    if (other.name != k.name && std::ranges::find(order, other.name) == order.end() && (ahead == 0 || other.extent > 1)) reduction.push_back(other.name);
  reduction.push_back(steps);
  if (ahead > 1) {
    auto [more, last] = t.split(stage, step, depth);
    within = {more, last};
    t.unroll(stage, more);
  }
  t.tensorize(stage, within.back());
  order.insert(order.end(), reduction.begin(), reduction.end());
  order.insert(order.end(), within.begin(), within.end());
  lay_out(t, stage, w, std::move(order), registers, "");
  if (ahead == 0) return;
  fused(t, stage, reduction);
  for (const StageId p : producers(t.group(), *t.group().named(stage)))
    if (const Stage& x = t.group()[p]; !x.is_compute()) t.prefetch(x.name, depth * ahead * size_of(x.dtype));
}

void sum_by_lanes(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& lanes, const Axis& rest, int64_t n) {
  constexpr int64_t most_unrolled = 64;  // of `rest`: what instructions are made of their numbers has to be computed otherwise
  std::vector<std::string> registers = tiles_of_warp(t, stage, w);
  auto [fours, lane] = t.split(stage, lanes.name, kMatrixLanes);
  auto [steps, own] = t.split(stage, rest.name, n);
  std::vector<std::string> order = w.outside;
  order.insert(order.end(), w.bound.begin(), w.bound.end());
  order.insert(order.end(), {steps, fours, lane});
  if (rest.extent <= most_unrolled) t.unroll(stage, steps);
  t.unroll(stage, fours);
  t.tensorize(stage, lane);
  registers.insert(registers.begin(), own);
  lay_out(t, stage, w, std::move(order), registers, "");
}

void sum_by_owners(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& k) {
  std::vector<std::string> registers = tiles_of_warp(t, stage, w);
  auto [lane, own] = t.split(stage, k.name, k.extent / kMatrixLanes);
  std::vector<std::string> order = w.outside;
  order.insert(order.end(), w.bound.begin(), w.bound.end());
  for (const Axis& other : t.group()[*t.group().named(stage)].raxes)
    if (other.name != k.name) order.push_back(other.name);
  order.push_back(lane);
  t.tensorize(stage, lane);
  registers.insert(registers.begin(), own);
  lay_out(t, stage, w, std::move(order), registers, "");
}

std::string blocks_of(Schedule& t, const std::string& out, const std::vector<std::string>& outside, const std::string& acc) {
  const std::string block = fused(t, out, outside);
  t.parallel(out, block);
  t.compute_at(acc, out, block);
  t.set_scope(acc, Scope::Register);
  t.guard_halo(acc);
  return block;
}

}  // namespace burnish::cuda_target
