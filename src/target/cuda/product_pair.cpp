// A product or convolution and the 1x1 product that alone reads it, as one kernel. A warp has some points and all channels of the first
// sum in registers, and hands them to the second product's instructions:
//
//   block: A.acc += X * weights        matrix instructions; X perhaps in the block's memory, with its halo
//     for columns of O: O.acc += finish(A.acc) * weights        matrix instructions, whose operand is what the thread has summed
//       O
//
// Instructions leave a thread of four neighbouring channels of its points, and ask for any depths of it as long as both operands agree
// (c_like/matrix.cpp): those that it has. So nothing is exchanged, and no point is computed twice. Where the second product stores planes
// of channels, points are the columns of its instructions and channels the rows, so that threads store neighbours: the column of a thread
// as that operand is the row that it has summed.
#include <algorithm>
#include <utility>

#include "loop/matrix_sum.h"
#include "target/cuda/product_pair.h"

namespace burnish::cuda_target {

namespace {

// The axis that is all of the index, or none where that stays 0; reduce axes of one iteration are nothing. False: it is something else.
bool lone_axis(const Index& i, const Stage& s, std::optional<VarId>& axis) {
  if (!i.is_affine() || i.a.c != 0) return false;
  for (const Term& t : i.a.terms) {
    if (std::ranges::any_of(s.raxes, [&](const Axis& k) { return k.var == t.var && k.extent == 1; })) continue;
    if (t.k != 1 || axis) return false;
    axis = t.var;
  }
  return true;
}

// Roles of a 1x1 product by those of what it reads: the same points, and as lanes the channels, however it is stored.
std::optional<Roles> roles_after(const Schedule& s, const Link& first, const Link& second) {
  const Stage &acc = s.group()[second.roles.acc], &made = s.group()[first.roles.out];
  std::vector<std::optional<uint32_t>> at(made.axes.size());  // by axis of what is read
  bool pointwise = true, along_channels = false;
  visit(acc.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || e.from() != second.input) return;
    for (uint32_t i = 0; i < e.indices().size(); ++i) {
      std::optional<VarId> v;
      pointwise &= lone_axis(e.indices()[i], acc, v);
      if (!v) continue;
      const auto axis = std::ranges::find(acc.axes, *v, &Axis::var);
      if (axis == acc.axes.end()) {
        along_channels |= i == first.roles.vector;
        pointwise &= i == first.roles.vector;
        continue;
      }
      at[i] = static_cast<uint32_t>(axis - acc.axes.begin());
      pointwise &= axis->extent == made.axes[i].extent;
    }
  });
  if (!pointwise || !along_channels) return std::nullopt;
  Roles r{.out = second.roles.out, .acc = second.roles.acc, .broadcast = true};
  std::vector<bool> taken(acc.axes.size(), false);
  const auto same = [&](uint32_t axis) {
    if (at[axis]) taken[*at[axis]] = true;
    return at[axis];
  };
  r.tile = same(*first.roles.tile);
  if (!r.tile) return std::nullopt;
  for (const uint32_t a : first.roles.outer) {
    const auto own = same(a);
    if (!own) return std::nullopt;
    r.outer.push_back(*own);
  }
  std::optional<uint32_t> channels;
  for (uint32_t a = 0; a < acc.axes.size(); ++a) {
    if (taken[a]) continue;
    if (axis_moved(acc, second.weights, acc.axes[a].var) && !channels)
      channels = a;
    else if (acc.axes[a].extent == 1)
      r.unit.push_back(a);
    else
      return std::nullopt;
  }
  if (!channels) return std::nullopt;
  r.vector = *channels;
  return r;
}

}  // namespace

std::optional<Pair> pair_of(const Schedule& s, const Device& d) {
  const StageGroup& g = s.group();
  if (d.sm < 80 || g.outputs.size() != 1) return std::nullopt;
  const auto second = product_of(s, g.outputs[0]);
  if (!second || !g[second->input].is_compute()) return std::nullopt;
  const auto first = product_of(s, second->input, true);
  if (!first || !first->roles.broadcast || g[first->input].is_compute()) return std::nullopt;
  const auto stages_of = [](const Link& l) { return l.roles.acc != l.roles.out ? 2 : 1; };
  if (std::ranges::count_if(g.stages, &Stage::is_compute) != stages_of(*first) + stages_of(*second)) return std::nullopt;
  const auto roles = roles_after(s, *first, *second);
  if (!roles) return std::nullopt;
  Pair p{.first = *first, .second = *second, .between = g[first->roles.out].axes[first->roles.vector].extent, .channels = g[roles->out].axes[roles->vector].extent};
  p.second.roles = *roles;
  if (p.between % kMatrixDepth || points(g[roles->acc].raxes) != p.between) return std::nullopt;
  const auto operands = operands_of(s, g[first->roles.acc], first->roles);
  if (!operands || operands->lanes || operands->phases() > 1 || !operands->weights) return std::nullopt;
  std::vector<uint32_t> order = physical_order(g[roles->out]);
  std::erase_if(order, [&](uint32_t a) { return g[roles->out].axes[a].extent == 1; });
  p.planes = operands->image && !order.empty() && order.back() == *roles->tile;
  return p;
}

int64_t wide(const Pair& p, const PairTile& x) { return 8 * (p.planes ? ceil_div(x.columns, kMatrixPairs) * kMatrixPairs : x.columns); }
int64_t passes_of(const Pair& p, const PairTile& x) { return ceil_div(p.channels, wide(p, x)); }

namespace {

void pack_second(Schedule& t, const Stage& acc, const Pair& p, const std::string& weights, const Axis& k, int64_t columns) {
  const Roles& r = p.second.roles;
  const StageId id = *t.group().named(weights);
  const auto c = axis_moved(acc, id, acc.axes[r.vector].var), depth = axis_moved(acc, id, k.var);
  if (!c || !depth || *c == *depth) return;
  const auto rank = static_cast<uint32_t>(t.group()[id].axes.size());
  // Channels beyond the last are guarded: by rows, which the guards' bounds are those of.
  const bool whole = !p.planes && acc.axes[r.vector].extent % (8 * columns) == 0;
  t.pack(weights, whole ? fragments(rank, *c, *depth, columns, k.extent) : axes_in_order(rank, {*c}, {*depth}));
}

// These in the block's memory, zeros beyond the last channel.
bool keep_second(Schedule& t, const Stage& acc, const Pair& p, const PairTile& x, const std::string& weights, const std::string& reader, const std::string& at) {
  const StageId id = *t.group().named(weights);
  const Layout layout = t.group()[id].layout;
  std::vector<int64_t> region = t.group()[id].shape();
  const auto c = axis_moved(acc, id, acc.axes[p.second.roles.vector].var);
  if (!c) return false;
  const bool rows = region[*c] % wide(p, x) != 0 || p.planes;
  region[*c] = wide(p, x) * passes_of(p, x);
  const std::string copy = t.cache_read(weights);
  if (t.failure()) return false;
  t.compute_at(copy, reader, at);
  t.guard_halo(copy);
  t.pack(copy, layout);
  if (!rows) return copy_in_order(t, copy, region, x.first.threads());
  copy_by_threads(t, copy, physical_order(t.group()[*t.group().named(copy)]), region, x.first.threads());
  return !t.failure();
}

// Loops of the second product's tile, of the first one's points and threads; what is outside ends with its channels.
WarpLoops loops_of_second(Schedule& t, const std::string& stage, const Pair& p, const PairTile& x, bool image) {
  const Stage self = t.group()[*t.group().named(stage)];
  const Roles& r = p.second.roles;
  if (!p.planes) {
    MatrixTile tile = x.first;
    tile.columns = x.columns;
    return warp_loops(t, self, r, {.image = image}, tile, "", {});
  }
  const auto axis = [&](uint32_t i) { return self.axes[i].name; };
  WarpLoops w{.outside = names(self.axes, r.unit)};
  for (size_t i = 0; i + 1 < r.outer.size(); ++i) w.outside.push_back(axis(r.outer[i]));
  const int64_t high = 2 * x.first.rows;
  auto [yo, y] = t.split(stage, axis(r.outer.back()), high * x.first.warps_m, Tail::Whole);
  auto [warp, rows] = t.split(stage, y, high, Tail::Whole);
  auto [xo, columns] = t.split(stage, axis(*r.tile), kMatrixGroups, Tail::Whole);
  auto [lane, own_columns] = t.split(stage, columns, kMatrixPairs, Tail::Whole);
  auto [co, channels] = t.split(stage, axis(r.vector), wide(p, x), Tail::Whole);
  auto [group, own_channels] = t.split(stage, channels, wide(p, x) / kMatrixGroups, Tail::Whole);
  w.outside.insert(w.outside.end(), {yo, xo, co});
  w.bound = {warp, group, lane};
  w.points = own_channels;
  w.channels = own_columns;
  w.tiles = rows;
  return w;
}

// A thread's rows innermost, so that all that it has lies within one step of its group's.
Layout rows_of_threads(const Roles& r, int64_t high) {
  Layout l;
  for (const uint32_t u : r.unit) l.push_back({u});
  for (size_t i = 0; i + 1 < r.outer.size(); ++i) l.push_back({r.outer[i]});
  if (r.outer.empty()) {
    l.insert(l.end(), {{*r.tile}, {r.vector}});
  } else {
    l.insert(l.end(), {{r.outer.back(), high, 0}, {*r.tile}, {r.vector}, {r.outer.back(), 1, high}});
  }
  return l;
}

// The second product, of which a block goes through the channels that a warp has at once; the loop of `out` over all blocks.
std::string second_in_registers(Schedule& t, const std::string& out, const std::string& acc, const std::string& weights, const Pair& p, const PairTile& x, bool image) {
  const Stage o = t.group()[*t.group().named(out)], sum = t.group()[*t.group().named(acc)];
  const Roles& r = p.second.roles;
  const Axis k = *std::ranges::max_element(sum.raxes, {}, &Axis::extent);
  pack_second(t, sum, p, weights, k, x.columns);
  if (!o.layout.empty()) t.pack(acc, o.layout);
  const WarpLoops stored = loops_of_second(t, out, p, x, image);
  store_by_warps(t, out, stored, p.planes ? *r.tile : r.vector, p.planes ? 1 : x.columns);
  std::vector<std::string> outside = stored.outside;
  std::string pass;
  if (passes_of(p, x) > 1) {
    pass = outside.back();
    outside.pop_back();
  }
  const std::string block = fused(t, out, outside);
  t.parallel(out, block);
  sum_by_owners(t, acc, loops_of_second(t, acc, p, x, image), k);
  t.compute_at(acc, out, pass.empty() ? block : pass);
  t.set_scope(acc, Scope::Register);
  t.guard_halo(acc);
  return block;
}

}  // namespace

bool by_pair(Schedule& s, const PairTile& x, const Device& d) {
  const auto pair = pair_of(s, d);
  if (!pair || 8 * x.first.columns != pair->between || x.first.warps_n != 1 || x.first.warps_k != 1) return false;
  const Roles &r1 = pair->first.roles, &r2 = pair->second.roles;
  Schedule t = s;
  const auto stage = [&](const std::string& name) { return t.group()[*t.group().named(name)]; };
  const std::string out = t.group()[r2.out].name, between = t.group()[r1.out].name, weights = t.group()[pair->second.weights].name;
  const bool finished = r1.acc != r1.out;
  const std::string summed = finished ? t.group()[r1.acc].name : t.cache_write(between);
  const std::string acc = r2.acc != r2.out ? s.group()[r2.acc].name : t.cache_write(out);
  if (t.failure()) return false;
  const Stage a = stage(summed);
  const auto operands = operands_of(t, a, r1);
  if (!operands) return false;
  const Axis k = a.raxes[operands->reduce];
  const auto staged = staged_operands(t, a, r1, *operands, x.first, d);
  if (x.first.staged && !staged) return false;
  const int64_t of_step = staged ? x.first.staged : k.extent, depth = depth_for(of_step, d);
  if (x.first.ahead > 1 && of_step % (depth * x.first.ahead)) return false;
  pack_weights(t, pair->between, *operands, x.first, depth, staged);
  // Instructions add to what they are given; not where the error of f32 is wanted, of which a large bias would cost digits.
  if (finished && d.products <= 1) (void)t.apply(step::AbsorbAddend{summed});
  t.inline_stage(between);
  if (t.failure()) return false;
  const std::string block = second_in_registers(t, out, acc, weights, *pair, x, operands->image);
  t.pack(summed, rows_of_threads(r1, 2 * x.first.rows));
  if (!sum_operands(t, summed, warp_loops(t, a, r1, *operands, x.first, "", {}), k, k.name, depth, x.first, staged, out, block)) return false;
  t.set_scope(summed, Scope::Warp);
  if (x.kept && !keep_second(t, stage(acc), *pair, x, weights, out, block)) return false;
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
