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

}  // namespace

bool is_product(const Stage& s) {
  return s.op == Combine::Sum && s.dtype == DType::F32 && !s.init && s.body.kind() == ExprKind::Binary && s.body.binary() == BinaryOp::Mul &&
         load_of(s.body.children()[0]).kind() == ExprKind::Load && load_of(s.body.children()[1]).kind() == ExprKind::Load;
}

const Expr& load_of(const Expr& factor) {
  if (factor.kind() == ExprKind::Cast) return load_of(factor.children()[0]);
  const bool guarded = factor.kind() == ExprKind::Select && factor.children()[2].kind() == ExprKind::Const && factor.children()[2].number() == 0;
  return guarded ? load_of(factor.children()[1]) : factor;
}

int64_t depth_for(int64_t channels, const Device& d) {
  int64_t depth = d.depth();
  while (channels % depth) depth /= 2;
  return depth;
}

Layout fragments(uint32_t rank, uint32_t channels, uint32_t depth_axis, int64_t columns, int64_t depth, Depths order) {
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
  l.push_back({depth_axis, pair, kMatrixLanes});
  if (depth > kMatrixDepth) l.push_back({depth_axis, kMatrixDepth, depth / kMatrixDepth});
  l.push_back({depth_axis, 1, pair});
  return l;
}

int64_t piece_padding(int64_t size, DType t) {
  const int64_t piece = vector_of(t);
  // An odd number of pieces. Rows of two meet in pairs.
  return size % (2 * piece) || size == 2 * piece ? 0 : piece;
}

void copy_by_threads(Schedule& t, const std::string& stage, const std::vector<uint32_t>& order, const std::vector<int64_t>& region,
                     int64_t threads) {
  const Stage self = t.group()[*t.group().named(stage)];
  const int64_t width = vector_of(self.dtype);
  constexpr int64_t most_unrolled = 32;  // copies of a thread: their places differ by constants, for which instructions have room
  int64_t unrolled = 1;
  std::vector<std::string> serial, bound, constant;
  std::string vector;
  // A thread's loop of so many iterations inside those outside: the inner ones, or a part of them, as constants.
  const auto own_loop = [&](const std::string& loop, int64_t times) {
    const int64_t parts = ceil_div(times * unrolled, most_unrolled);
    std::string inner = loop;
    if (parts > 1) {
      const int64_t part = ceil_div(times, std::min(parts, times));
      std::string outer = loop;
      if (part > 1) std::tie(outer, inner) = t.split(stage, loop, part);
      serial.insert(serial.begin(), outer);
      times = part;
    }
    if (parts == 1 || times > 1) constant.insert(constant.begin(), inner);
    unrolled *= times;
  };
  for (size_t i = order.size(); i-- > 0;) {
    const bool innermost = i + 1 == order.size();
    const std::string loop = self.axes[order[i]].name;
    const int64_t points = innermost ? ceil_div(region[order[i]], width) : region[order[i]];
    const int64_t times = ceil_div(points, std::min(threads, points)), own = ceil_div(points, times);
    threads /= own;
    if (own == 1 && !innermost) {
      own_loop(loop, times);
      continue;
    }
    auto [outer, inner] = t.split(stage, loop, innermost ? own * width : own);
    if (innermost) std::tie(inner, vector) = t.split(stage, inner, width);
    own_loop(outer, times);
    bound.insert(bound.begin(), inner);
  }
  std::vector<std::string> loops = serial;
  loops.insert(loops.end(), constant.begin(), constant.end());
  loops.insert(loops.end(), bound.begin(), bound.end());
  loops.push_back(vector);
  t.reorder(stage, loops);
  for (const std::string& l : bound) t.bind(stage, l);
  for (const std::string& l : constant) t.unroll(stage, l);
  t.vectorize(stage, vector);
}

void store_by_warps(Schedule& t, const std::string& stage, const WarpLoops& w, uint32_t channel_axis, int64_t columns) {
  std::vector<std::string> order = w.outside, registers = {w.points};
  if (!w.phase.empty()) registers.push_back(w.phase);
  if (!w.tiles.empty()) registers.insert(registers.begin(), w.tiles);
  order.insert(order.end(), w.bound.begin(), w.bound.end());
  const Stage& s = t.group()[*t.group().named(stage)];
  const int64_t width = stored_at_once(columns, s.dtype);
  std::string vector;
  if (s.axes[channel_axis].extent % width == 0 && in_vectors(s.dtype)) {
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

std::string blocks_of(Schedule& t, const std::string& out, const std::vector<std::string>& outside, const std::string& acc) {
  const std::string block = fused(t, out, outside);
  t.parallel(out, block);
  t.compute_at(acc, out, block);
  t.set_scope(acc, Scope::Register);
  t.guard_halo(acc);
  return block;
}

}  // namespace burnish::cuda_target
