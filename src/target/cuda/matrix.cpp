// Products of matrices and convolutions by matrix instructions. A warp has `rows` x 8 points and 8 * `columns` channels, whose
// sums its threads hold in registers; both operands come from memory as vectors along the reduction, weights in the order in
// which warps ask for them. Operands are shared by caches alone; the block's memory is for sums on their way out.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

// The number of phases of an axis of which alone quotients and remainders are read, all by that number: y / 2, (y + 1) % 2; 1 where
// there are none, 0 where they are others.
int64_t phases_of(const Expr& body, VarId axis) {
  int64_t phases = 1;
  visit(body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load) return;
    for (const Index& i : e.indices()) {
      for (const Atom& atom : i.atoms) {
        if (atom.value || atom.a.slope(axis) == 0) continue;
        const int64_t n = atom.div > 1 ? atom.div : atom.mod;
        const bool alone = atom.a - Aff(atom.a.c) == Aff::of(axis) && (atom.div == 1 || atom.mod == 0);
        phases = alone && (phases == 1 || phases == n) ? n : 0;
      }
    }
  });
  return phases;
}

}  // namespace

bool moves_beyond(const Index& i, VarId v) {
  return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& x) { return x.value || (x.a.slope(v) != 0 && x.mod == 0); });
}

std::optional<Operands> operands_of(const Schedule& s, const Stage& acc, const Roles& r) {
  const StageGroup& g = s.group();
  if (!is_product(acc)) return std::nullopt;
  const Expr& body = acc.body;
  Operands found;
  // Several axes in one (flatten): steps of instructions in any order of it.
  const bool by_lanes = acc.raxes.size() == 2 && acc.raxes[0].extent % kFlatStep == 0 && acc.raxes[1].extent % kMatrixLanes == 0;
  const bool flat = acc.raxes.size() == 1 || by_lanes;
  bool divided = false;
  // The reduction's longest axis that both operands read neighbours along.
  const VarId lanes = acc.axes[r.vector].var;
  const std::optional<VarId> columns = r.tile ? std::optional(acc.axes[*r.tile].var) : std::nullopt;
  const std::optional<VarId> rows = r.outer.empty() ? std::nullopt : std::optional(acc.axes[r.outer.back()].var);
  if (columns) found.column_phases = phases_of(body, *columns);
  if (rows) found.row_phases = phases_of(body, *rows);
  constexpr int64_t most_phases = 16;  // of a thread's registers
  if (found.phases() == 0 || found.row_phases > most_phases || found.column_phases > most_phases / found.row_phases) return std::nullopt;
  const auto in_phase = [&](const Atom& x) {  // or of axes of one point
    const auto one = [&](const Term& t) { return std::ranges::any_of(r.unit, [&](uint32_t a) { return acc.axes[a].var == t.var; }); };
    return !x.value && ((columns && x.a.slope(*columns) != 0) || (rows && x.a.slope(*rows) != 0) || std::ranges::all_of(x.a.terms, one));
  };
  std::vector<int64_t> fit(acc.raxes.size(), 0);
  int with_channels = 0;
  for (const Expr& factor : body.children()) {
    const Expr& e = load_of(factor);
    bool channels = false;
    for (const Index& i : e.indices()) {
      for (const Atom& atom : i.atoms)
        if (!in_phase(atom)) {
          if (!flat || atom.value || atom.a.slope(acc.raxes[0].var) == 0) return std::nullopt;
          divided = true;
        }
      channels |= moves(i, lanes);
    }
    with_channels += channels;
    if (channels && rows) found.image = std::ranges::none_of(e.indices(), [&](const Index& i) { return moves_beyond(i, *rows); });
    for (size_t k = 0; k < acc.raxes.size(); ++k) {
      int along = 0;
      if (std::ranges::any_of(e.indices(), [&](const Index& i) { return !std::ranges::all_of(i.atoms, in_phase); })) {
        ++fit[k];
        continue;
      }
      for (const Index& i : e.indices()) along += i.a.slope(acc.raxes[k].var) == 1 ? 1 : moves(i, acc.raxes[k].var) ? 2 : 0;
      fit[k] += along == 1;
    }
    if (!channels || g[e.from()].kind != StageKind::Constant || (e.fill() && !by_lanes)) continue;
    found.weights = e.from();
  }
  if (with_channels != 1) return std::nullopt;
  if (!found.image && found.row_phases > 1) return std::nullopt;
  int64_t longest = 0;
  for (size_t k = 0; k < acc.raxes.size(); ++k) {
    if (fit[k] != 2 || acc.raxes[k].extent % kMatrixDepth || acc.raxes[k].extent <= longest) continue;
    longest = acc.raxes[k].extent;
    found.reduce = k;
  }
  if (by_lanes && (divided || longest == 0)) {
    found.reduce = 0;
    found.lanes = 1;
    longest = acc.raxes[0].extent;
  }
  if (longest == 0) return std::nullopt;
  if (found.weights) {
    for (const Expr& factor : body.children()) {
      const Expr& e = load_of(factor);
      if (e.from() != *found.weights) continue;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (moves(e.indices()[i], lanes)) found.channels = i;
        if (moves(e.indices()[i], acc.raxes[found.lanes.value_or(found.reduce)].var)) found.depth = i;
      }
    }
    if (found.channels == found.depth) found.weights.reset();
  }
  return found;
}

WarpLoops warp_loops(Schedule& t, const Stage& x, const Roles& r, const Operands& operands, const MatrixTile& tile, const std::string& split,
                     std::optional<uint32_t> last) {
  const bool image = operands.image;
  const auto axis = [&](uint32_t i) { return x.axes[i].name; };
  const int64_t high = 2 * tile.rows;
  WarpLoops w{.outside = names(x.axes, r.unit)};
  const auto in_block = [&](const std::string& loop, int64_t size) {
    auto [outer, inner] = t.split(x.name, loop, size, Tail::Whole);
    w.outside.push_back(outer);
    return inner;
  };
  const int64_t rows = operands.row_phases, columns = operands.column_phases;
  for (size_t i = 0; i + (image ? 1 : 0) < r.outer.size(); ++i)
    if (r.outer[i] != last) w.outside.push_back(axis(r.outer[i]));
  std::string points_warp, group, groups;
  const auto of_group = [&](const std::string& loop, int64_t points) {
    std::string own;
    std::tie(groups, own) = t.split(x.name, loop, points, Tail::Whole);
    return own;
  };
  if (image) {
    const std::string y = in_block(axis(r.outer.back()), high * tile.warps_m * rows);
    group = in_block(axis(*r.tile), kMatrixGroups * columns);
    if (columns > 1) std::tie(group, w.phase) = t.split(x.name, group, columns, Tail::Whole);
    const std::string own = tile.warpgroups ? of_group(y, kMatrixGroups) : y;
    std::tie(points_warp, w.points) = t.split(x.name, own, high * rows, Tail::Whole);
    w.point_phases = rows;
  } else {
    const std::string y = in_block(axis(*r.tile), kMatrixGroups * high * tile.warps_m * columns);
    const std::string own = tile.warpgroups ? of_group(y, kWarpgroupPoints) : y;
    auto [warp, within] = t.split(x.name, own, kMatrixGroups * high * columns, Tail::Whole);
    std::tie(group, w.points) = t.split(x.name, within, high * columns, Tail::Whole);
    w.point_phases = columns;
    points_warp = warp;
  }
  const std::string channels = in_block(axis(r.vector), 8 * tile.columns * tile.warps_n);
  if (last) w.outside.push_back(axis(*last));
  auto [channels_warp, within] = t.split(x.name, channels, 8 * tile.columns, Tail::Whole);
  auto [lane, own] = t.split(x.name, within, kMatrixPairs * tile.columns, Tail::Whole);
  if (!split.empty()) w.bound.push_back(split);
  if (tile.warpgroups)
    w.bound.insert(w.bound.end(), {groups, channels_warp, points_warp, group, lane});
  else
    w.bound.insert(w.bound.end(), {points_warp, channels_warp, group, lane});
  w.channels = own;
  return w;
}

namespace {

// The block's tile of what is stored, dealt out to all threads: vectors of channels, columns, rows. The loop of all blocks, and
// the innermost of threads.
std::pair<std::string, std::string> store_by_block(Schedule& t, const std::string& out, const Roles& r, bool image, const MatrixTile& tile,
                                                   std::optional<uint32_t> last) {
  const Stage x = t.group()[*t.group().named(out)];
  const auto axis = [&](uint32_t i) { return x.axes[i].name; };
  const int64_t high = 2 * tile.rows * tile.warps_m, wide = 8 * tile.columns * tile.warps_n;
  std::vector<std::string> outside = names(x.axes, r.unit), bound, registers;
  int64_t left = tile.threads();
  // So many neighbours, or more, to a thread.
  const auto deal = [&](const std::string& loop, int64_t extent, int64_t least) {
    int64_t each = least;
    while (extent % each || extent / each > left) each += least;
    auto [threads, own] = t.split(out, loop, each, Tail::Whole);
    left /= extent / each;
    bound.insert(bound.begin(), threads);
    return own;
  };
  const auto in_block = [&](const std::string& loop, int64_t size) {
    auto [outer, inner] = t.split(out, loop, size, Tail::Whole);
    outside.push_back(outer);
    return inner;
  };
  for (size_t i = 0; i + (image ? 1 : 0) < r.outer.size(); ++i)
    if (r.outer[i] != last) outside.push_back(axis(r.outer[i]));
  std::string y, points;
  if (image) y = in_block(axis(r.outer.back()), high);
  points = in_block(axis(*r.tile), image ? kMatrixGroups : kMatrixGroups * high);
  const std::string channels = in_block(axis(r.vector), wide);
  if (last) outside.push_back(axis(*last));
  const int64_t width = x.axes[r.vector].extent % 4 == 0 && in_vectors(x.dtype) ? 4 : 2;
  std::string own = deal(channels, wide, width);
  auto [more, vector] = t.split(out, own, width, Tail::Whole);
  registers.push_back(more);
  registers.insert(registers.begin(), deal(points, image ? kMatrixGroups : kMatrixGroups * high, 1));
  if (image) registers.insert(registers.begin(), deal(y, high, 1));
  std::vector<std::string> order = outside;
  order.insert(order.end(), bound.begin(), bound.end());
  order.insert(order.end(), registers.begin(), registers.end());
  order.push_back(vector);
  t.reorder(out, order);
  for (const std::string& l : bound) t.bind(out, l);
  for (const std::string& l : registers) t.unroll(out, l);
  if (x.axes[r.vector].extent % width == 0 && in_vectors(x.dtype))
    t.vectorize(out, vector);
  else
    t.unroll(out, vector);
  const std::string block = fused(t, out, outside);
  t.parallel(out, block);
  return {block, bound.back()};
}

}  // namespace

bool sum_operands(Schedule& t, const std::string& stage, WarpLoops w, const Axis& k, const std::string& loop, int64_t depth, const MatrixTile& tile,
                  const std::optional<Staged>& staged, const std::string& out, const std::string& block) {
  std::string chunk, within = loop;
  if (staged) {
    std::tie(chunk, within) = t.split(stage, loop, tile.staged);
    w.outside.push_back(chunk);
  }
  sum_by_warps(t, stage, w, k, within, depth, tile.ahead);
  if (staged && staged->strides)  // of a filter's columns, remainders are constants
    for (const Axis& other : t.group()[*t.group().named(stage)].raxes)
      if (other.name != k.name && other.extent > 1) t.unroll(stage, other.name);
  t.compute_at(stage, out, block);
  t.set_scope(stage, Scope::Register);
  t.guard_halo(stage);
  return !staged || stage_operands(t, *staged, stage, chunk, tile);
}

namespace {

// Warps have parts of the reduction each, or one all of it, whose sums meet in the block's memory:
//   acc = sum over ko of acc.rf[.., ko],   acc.rf = acc.rf.acc,   acc.rf.acc = sum over ki, by instructions
bool by_parts(Schedule& t, const std::string& out, const std::string& acc, const Roles& r, const Operands& operands, const MatrixTile& tile,
              int64_t depth, const std::optional<Staged>& staged, std::optional<uint32_t> last) {
  const bool image = operands.image;
  const Axis k = t.group()[*t.group().named(acc)].raxes[operands.reduce];
  const std::string parts = t.rfactor(acc, k.name, k.extent / tile.warps_k);
  if (t.failure()) return false;
  const std::string sums = t.cache_write(parts);
  if (t.failure()) return false;
  const auto stage = [&](const std::string& name) { return t.group()[*t.group().named(name)]; };
  const auto [block, innermost] = store_by_block(t, out, r, image, tile, last);

  // In the block's memory: parts outermost, rows of channels that neighbouring threads find in different banks.
  const Stage p = stage(parts);
  const auto part = static_cast<uint32_t>(p.axes.size() - 1);
  const Layout layout = stage(out).layout;
  Layout in_block = {{part}};
  if (layout.empty())
    for (uint32_t a = 0; a < part; ++a) in_block.push_back({a});
  in_block.insert(in_block.end(), layout.begin(), layout.end());
  in_block.back().pad = 4;
  t.pack(parts, in_block);
  in_block.back().pad = 0;
  t.pack(sums, in_block);
  if (!layout.empty()) t.pack(acc, layout);

  const WarpLoops stored = warp_loops(t, p, r, operands, tile, p.axes[part].name, last);
  store_by_warps(t, parts, stored, r.vector, tile.columns);
  t.compute_at(parts, out, block);
  t.guard_halo(parts);
  const Stage s = stage(sums);
  const WarpLoops summed = warp_loops(t, s, r, operands, tile, s.axes[part].name, last);
  const auto inner = std::ranges::find_if(s.raxes, [&](const Axis& a) { return a.name.starts_with(k.name); });
  if (operands.lanes) {
    sum_by_lanes(t, sums, summed, s.raxes[inner == s.raxes.begin() ? 1 : 0], *inner, depth);
    t.compute_at(sums, out, block);
    t.set_scope(sums, Scope::Register);
    t.guard_halo(sums);
  } else {
    if (!sum_operands(t, sums, summed, *inner, inner->name, depth, tile, staged, out, block)) return false;
  }

  // A thread's points, of all parts.
  const Stage a = stage(acc);
  std::vector<std::string> order = {a.raxes[0].name};
  for (const std::string& l : names(a.axes, physical_order(a))) order.push_back(l);
  const bool vector = stage(out).axes[r.vector].extent % 4 == 0 && in_vectors(stage(out).dtype);
  std::string lanes = order.back();
  if (vector) {
    auto [more, four] = t.split(acc, order.back(), 4, Tail::Whole);
    order.back() = more;
    lanes = four;
    order.push_back(four);
  }
  t.reorder(acc, order);
  for (size_t i = 0; i < order.size(); ++i) {
    if (vector && i + 1 == order.size())
      t.vectorize(acc, lanes);
    else
      t.unroll(acc, order[i]);
  }
  t.compute_at(acc, out, innermost);
  t.set_scope(acc, Scope::Register);
  t.guard_halo(acc);
  return true;
}

// Constants that are the points' operand, weights of what is stored by planes: the reduction's axis innermost.
void pack_points(Schedule& t, const Stage& acc, const Operands& operands) {
  const VarId depth = acc.raxes[operands.reduce].var;
  for (const Expr& factor : acc.body.children()) {
    const Expr& e = load_of(factor);
    if (t.group()[e.from()].kind != StageKind::Constant || e.from() == operands.weights || !t.group()[e.from()].layout.empty() ||
        !std::ranges::all_of(e.indices(), &Index::is_affine))
      continue;
    const auto along = std::ranges::find_if(e.indices(), [&](const Index& i) { return moves(i, depth); });
    if (along != e.indices().end())
      t.pack(t.group()[e.from()].name, axes_in_order(e.indices().size(), {}, {static_cast<uint32_t>(along - e.indices().begin())}));
  }
}

}  // namespace

void pack_weights(Schedule& t, int64_t channels, const Operands& operands, const MatrixTile& tile, int64_t depth, const std::optional<Staged>& staged) {
  if (!operands.weights) return;
  const Stage w = t.group()[*operands.weights];
  const auto rank = static_cast<uint32_t>(w.axes.size());
  // Warps beyond the channels are guarded: by rows, which the guards' bounds are those of.
  const bool whole = channels % (8 * tile.columns * tile.warps_n) == 0;
  if (staged && staged->weights)
    t.pack(w.name, fragments(rank, operands.channels, operands.depth, tile.columns, tile.staged));
  else
    t.pack(w.name, whole ? fragments(rank, operands.channels, operands.depth, tile.columns, operands.lanes ? kMatrixLanes : depth,
                                     staged ? staged->depths : Depths::Neighbours, w.dtype)
                         : axes_in_order(rank, {operands.channels}, {operands.depth}));
}

std::pair<std::vector<TileAxis>, std::vector<uint32_t>> tile_of(const Schedule& s, const Roles& r, const MatrixTile& tile) {
  const auto operands = operands_of(s, s.group()[r.acc], r);
  if (!operands || !r.tile) return {};
  const int64_t high = 2 * tile.rows * tile.warps_m;
  std::vector<uint32_t> outside = r.unit;
  outside.insert(outside.end(), r.outer.begin(), r.outer.end() - (operands->image ? 1 : 0));
  std::vector<TileAxis> axes;
  if (operands->image) axes.push_back({r.outer.back(), high * operands->row_phases});
  axes.push_back({*r.tile, kMatrixGroups * operands->column_phases * (operands->image ? 1 : high)});
  axes.push_back({r.vector, 8 * tile.columns * tile.warps_n});
  return {axes, outside};
}

bool by_matrix(Schedule& s, const Roles& r, const MatrixTile& tile, const Device& d, std::optional<uint32_t> last) {
  Schedule t = s;
  const std::string out = t.group()[r.out].name;
  const std::string acc = sum_of(t, r);
  if (t.failure()) return false;
  const Stage o = t.group()[*t.group().named(out)], a = t.group()[*t.group().named(acc)];
  const auto operands = operands_of(t, a, r);
  if (d.sm < 80 || !r.tile || r.grouped || !operands) return false;
  if (operands->phases() > 1 && (through_block(tile) || tile.ahead > 0)) return false;
  const Axis k = a.raxes[operands->reduce];
  if (operands->lanes ? tile.warps_k > 1 || tile.ahead > 0 : k.extent % (kMatrixDepth * tile.warps_k) != 0) return false;
  const std::optional<Staged> staged = staged_operands(t, a, r, *operands, tile, d);
  if (tile.staged && !staged) return false;
  const int64_t depth = operands->lanes ? kFlatStep : tile.warpgroups ? instruction_depth(d) : depth_for(staged ? tile.staged : k.extent / tile.warps_k, d);
  if (tile.ahead > 1 && (staged ? tile.staged : k.extent / tile.warps_k) % (depth * tile.ahead)) return false;
  pack_weights(t, o.axes[r.vector].extent, *operands, tile, depth, staged);
  pack_points(t, a, *operands);
  if (through_block(tile)) {
    if (!by_parts(t, out, acc, r, *operands, tile, depth, staged, last)) return false;
  } else {
    if (!o.layout.empty()) t.pack(acc, o.layout);
    const WarpLoops stored = warp_loops(t, o, r, *operands, tile, "", last);
    store_by_warps(t, out, stored, r.vector, tile.columns);
    const WarpLoops summed = warp_loops(t, a, r, *operands, tile, "", last);
    if (operands->lanes) {
      blocks_of(t, out, stored.outside, acc);
      sum_by_lanes(t, acc, summed, a.raxes[*operands->lanes], k, depth);
    } else {
      const std::string block = fused(t, out, stored.outside);
      t.parallel(out, block);
      if (!sum_operands(t, acc, summed, k, k.name, depth, tile, staged, out, block)) return false;
    }
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
