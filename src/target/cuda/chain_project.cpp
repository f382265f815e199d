// The projection of a chain: matrix instructions whose operand is what comes before, chunk by chunk of its channels. Where
// there are few points, warps share the channels of a chunk, and add up what they have in the block's memory.
#include <algorithm>
#include <tuple>
#include <utility>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// Loops outside of a block's tile: parts of one tile are neighbours.
std::vector<std::string> outside_of(const Stage& self, const Roles& p, const std::string& yo, const std::string& xo, std::optional<uint32_t> part) {
  std::vector<std::string> all = names(self.axes, p.unit);
  all.insert(all.end(), {yo, xo});
  if (part) all.push_back(self.axes[*part].name);
  return all;
}

// Loops of a stage whose tile is the block's, from those of its points; the loop over chunks is not among them.
WarpLoops loops_of(Schedule& t, const std::string& stage, const Stage& self, const Roles& p, const ChainTile& c, int64_t columns,
                   std::optional<uint32_t> part) {
  const auto axis = [&](uint32_t i) { return self.axes[i].name; };
  auto [yo, y] = t.split(stage, axis(p.outer[0]), c.high(), Tail::Whole);
  auto [y_warp, group] = t.split(stage, y, c.groups * c.rows, Tail::Whole);
  auto [xo, xi] = t.split(stage, axis(*p.tile), c.columns, Tail::Whole);
  auto [x_warp, points] = t.split(stage, xi, c.columns / c.warps_x, Tail::Whole);
  auto [c_warp, within] = t.split(stage, axis(p.vector), 8 * columns, Tail::Whole);
  auto [lane, own] = t.split(stage, within, kMatrixPairs * columns, Tail::Whole);
  std::string rows;  // a pair of an instruction's rows, instead of two columns
  if (c.rows > 1) std::tie(group, rows) = t.split(stage, group, c.rows, Tail::Whole);
  WarpLoops w{.outside = outside_of(self, p, yo, xo, part), .bound = {y_warp, x_warp, c_warp, group, lane}, .points = points, .channels = own, .groups = c.groups};
  if (c.rows > 1) w.tiles = std::exchange(w.points, rows);
  return w;
}

// The tile of `out`, which reads what all threads have written: vectors of 4 channels to threads. The loop over blocks.
std::string store_by_points(Schedule& t, const std::string& out, const Stage& o, const Roles& p, const ChainTile& c, int64_t channels,
                            std::optional<uint32_t> part) {
  const auto axis = [&](uint32_t i) { return o.axes[i].name; };
  const int64_t high = c.high(), vectors = channels / 4;
  const int64_t across = std::clamp<int64_t>(c.threads() / vectors, 1, c.columns), down = std::clamp<int64_t>(c.threads() / (vectors * across), 1, high);
  auto [yo, y] = t.split(out, axis(p.outer[0]), high, Tail::Whole);
  auto [ys, y_thread] = t.split(out, y, down, Tail::Whole);
  auto [xo, x] = t.split(out, axis(*p.tile), c.columns, Tail::Whole);
  auto [xs, x_thread] = t.split(out, x, across, Tail::Whole);
  auto [vector, lanes] = t.split(out, axis(p.vector), 4, Tail::Whole);
  const std::vector<std::string> blocks = outside_of(o, p, yo, xo, part);
  std::vector<std::string> order = blocks;
  order.insert(order.end(), {ys, xs, y_thread, x_thread, vector, lanes});
  t.reorder(out, order);
  for (const std::string& l : {y_thread, x_thread, vector}) t.bind(out, l);
  t.vectorize(out, lanes);
  const std::string block = fused(t, out, blocks);
  t.parallel(out, block);
  return block;
}

}  // namespace

void in_fragments(Schedule& t, const Stage& acc, VarId channel, VarId depth_axis, int64_t columns, int64_t depth, Depths order) {
  for (const StageId weights : producers(t.group(), *t.group().named(acc.name))) {
    const Stage& w = t.group()[weights];
    const auto c = axis_moved(acc, weights, channel), k = axis_moved(acc, weights, depth_axis);
    if (w.kind != StageKind::Constant || !c || !k || *c == *k) continue;
    t.pack(w.name, fragments(static_cast<uint32_t>(w.axes.size()), *c, *k, columns, depth, order, w.dtype));
    return;
  }
}

std::string in_parts(Schedule& t, const std::string& acc, const Roles& p, int64_t splits) {
  const StageGroup& g = t.group();
  const Axis all = *std::ranges::max_element(g[*g.named(acc)].raxes, {}, &Axis::extent);
  const std::string parts = t.rfactor(acc, all.name, all.extent / splits);
  t.expand(acc);
  t.inline_stage(acc);
  if (t.failure()) return "";
  const Stage s = g[*g.named(parts)];
  const auto part = static_cast<uint32_t>(s.axes.size() - 1);
  Layout layout = {{part}};
  for (const uint32_t u : p.unit) layout.push_back({u});
  layout.insert(layout.end(), {{p.outer[0]}, {*p.tile}, {p.vector}});
  t.pack(parts, layout);
  return parts;
}

Projection project(Schedule& t, const std::string& out, std::string acc, const Roles& p, const Chain& chain, const ChainTile& c,
                   const Device& d) {
  const StageGroup& g = t.group();
  const auto split = c.splits > 1 ? std::optional(static_cast<uint32_t>(g[*g.named(out)].axes.size() - 1)) : std::nullopt;  // the axis of the parts
  const int64_t columns = chain.channels / 8 / c.warps_n, depth = depth_for(c.chunk / c.warps_k, d);
  const Axis all = *std::ranges::max_element(g[*g.named(acc)].raxes, {}, &Axis::extent);
  if (c.warps_k == 1) {
    if (acc == out) acc = t.cache_write(out);
    if (t.failure()) return {};
    const Stage o = g[*g.named(out)], a = g[*g.named(acc)];
    in_fragments(t, a, a.axes[p.vector].var, all.var, columns, depth);
    if (!o.layout.empty()) t.pack(acc, o.layout);
    const WarpLoops stored = loops_of(t, out, o, p, c, columns, split);
    store_by_warps(t, out, stored, p.vector, columns);
    const std::string block = blocks_of(t, out, stored.outside, acc);
    WarpLoops summed = loops_of(t, acc, a, p, c, columns, split);
    auto [chunk, within] = t.split(acc, all.name, c.chunk);
    summed.outside.push_back(chunk);
    sum_by_warps(t, acc, summed, all, within, depth);
    return {block, acc, chunk};
  }
  const std::string part = t.rfactor(acc, all.name, c.warps_k, true, c.chunk / c.warps_k);
  t.expand(acc);
  if (acc != out) t.inline_stage(acc);
  const std::string sums = t.cache_write(part);
  if (t.failure()) return {};
  const Stage o = g[*g.named(out)], part_stage = g[*g.named(part)], a = g[*g.named(sums)];
  const auto warp = static_cast<uint32_t>(part_stage.axes.size() - 1);
  const Axis chunk = a.raxes[0], k = a.raxes[1];
  in_fragments(t, a, a.axes[p.vector].var, k.var, columns, depth);
  // [row][warp][column][channel]: rows and the channels of threads lie in different banks.
  Layout layout;
  for (const uint32_t u : p.unit) layout.push_back({u});
  if (split) layout.push_back({*split});
  layout.insert(layout.end(), {{p.outer[0]}, {warp}, {*p.tile}, {p.vector}});
  t.pack(part, layout);
  t.pack(sums, layout);
  t.storage_align(part, floor_mod(4 - c.warps_k * c.columns * chain.channels, 32));
  const std::string block = store_by_points(t, out, o, p, c, chain.channels, split);
  for (const std::string& stage : {part, sums}) {
    const Stage& self = stage == part ? part_stage : a;
    WarpLoops w = loops_of(t, stage, self, p, c, columns, split);
    w.bound.insert(w.bound.begin(), self.axes[warp].name);
    if (stage == part) {
      store_by_warps(t, part, w, p.vector, columns);
    } else {
      w.outside.push_back(chunk.name);
      sum_by_warps(t, sums, w, k, k.name, depth);
    }
    t.compute_at(stage, out, block);
    t.guard_halo(stage);
  }
  t.set_scope(sums, Scope::Register);
  return {block, sums, chunk.name};
}

}  // namespace burnish::cuda_target
