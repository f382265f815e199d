// Products of matrices and convolutions by matrix instructions. A warp has `rows` x 8 points and 8 * `columns` channels, whose
// sums its threads hold in registers; both operands come from memory as vectors along the reduction, weights in the order in
// which warps ask for them. Nothing is shared but by caches: no barriers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

// What a sum of products reads.
struct Operands {
  std::optional<StageId> weights;  // a constant that moves with the channels
  uint32_t channels = 0, depth = 0;  // its axes
  size_t reduce = 0;               // of acc.raxes: the axis that instructions sum along
};

std::optional<Operands> operands_of(const Schedule& s, const Stage& acc, const Roles& r) {
  const StageGroup& g = s.group();
  if (!is_product(acc)) return std::nullopt;
  const Expr& body = acc.body;
  Operands found;
  // The reduction's longest axis that both operands read neighbours along.
  const VarId lanes = acc.axes[r.vector].var;
  std::vector<int64_t> fit(acc.raxes.size(), 0);
  int with_channels = 0;
  for (const Expr& e : body.children()) {
    bool channels = false;
    for (const Index& i : e.indices()) {
      if (!i.is_affine()) return std::nullopt;
      channels |= moves(i, lanes);
    }
    with_channels += channels;
    for (size_t k = 0; k < acc.raxes.size(); ++k) {
      int along = 0;
      for (const Index& i : e.indices()) along += i.a.slope(acc.raxes[k].var) == 1 ? 1 : moves(i, acc.raxes[k].var) ? 2 : 0;
      fit[k] += along == 1;
    }
    if (!channels || g[e.from()].kind != StageKind::Constant) continue;
    found.weights = e.from();
  }
  if (with_channels != 1) return std::nullopt;
  int64_t longest = 0;
  for (size_t k = 0; k < acc.raxes.size(); ++k) {
    if (fit[k] != 2 || acc.raxes[k].extent % kMatrixDepth || acc.raxes[k].extent <= longest) continue;
    longest = acc.raxes[k].extent;
    found.reduce = k;
  }
  if (longest == 0) return std::nullopt;
  if (found.weights) {
    for (const Expr& e : body.children()) {
      if (e.from() != *found.weights) continue;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (moves(e.indices()[i], lanes)) found.channels = i;
        if (moves(e.indices()[i], acc.raxes[found.reduce].var)) found.depth = i;
      }
    }
    if (found.channels == found.depth) found.weights.reset();
  }
  return found;
}

std::vector<MatrixTile> tiles_of(const Schedule& s, const Roles& r, const Device& d) {
  std::vector<MatrixTile> tiles;
  const Stage& o = s.group()[r.out];
  if (d.sm < 80 || !r.tile || r.grouped || !operands_of(s, s.group()[r.acc], r)) return tiles;
  const int64_t n = o.axes[r.vector].extent;
  for (const int64_t rows : {1, 2, 4}) {
    for (int64_t columns = 1; columns <= 10; ++columns) {
      for (const int64_t warps_n : {1, 2, 4}) {
        if (n % (8 * columns * warps_n)) continue;
        for (const int64_t warps_m : {1, 2, 4, 8}) {
          if (warps_m * warps_n <= 8 && warps_m * warps_n >= 2) tiles.push_back({rows, columns, warps_m, warps_n});
        }
      }
    }
  }
  return tiles;
}

double cycles_of(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d) {
  const Stage &o = s.group()[r.out], &acc = s.group()[r.acc];
  double blocks = 1, steps = 1;
  for (const uint32_t a : r.outer) blocks *= static_cast<double>(o.axes[a].extent);
  const int64_t x = o.axes[*r.tile].extent;
  const int64_t high = 2 * t.rows * t.warps_m;
  if (r.outer.empty()) {
    blocks *= static_cast<double>(ceil_div(x, 8 * high));
  } else {
    const int64_t y = o.axes[r.outer.back()].extent;
    blocks = blocks / static_cast<double>(y) * static_cast<double>(ceil_div(y, high) * ceil_div(x, int64_t{8}));
  }
  blocks *= static_cast<double>(ceil_div(o.axes[r.vector].extent, 8 * t.columns * t.warps_n));
  for (const Axis& k : acc.raxes) steps *= static_cast<double>(k.extent);
  steps /= kMatrixDepth;
  // A step of a warp: instructions, the memory that they wait for; those of a multiprocessor's quarter run one after the other.
  const double warps = static_cast<double>(t.warps_m * t.warps_n);
  const double tiles = static_cast<double>(t.rows * t.columns);
  const double sums = tiles * 6.2 * d.products, loads = static_cast<double>(16 * t.rows + 8 * t.columns);
  const double resident = std::min(8.0, std::floor(48.0 / (warps * (1 + tiles / 16))));  // blocks of a multiprocessor
  const double slots = std::max(1.0, resident) * d.multiprocessors;
  const double waves = std::ceil(blocks / slots);
  const double busy = std::min(blocks, slots) / d.multiprocessors * warps / 4;  // warps of a quarter
  const double step = std::max(std::max(1.0, busy) * std::max(sums, loads), 40 + sums);  // latency of a step where few warps hide it
  double inner = 1, bytes = 0;  // what one reads and the other writes
  for (const Axis& k : acc.raxes) inner = std::max(inner, static_cast<double>(k.extent));
  bytes = 4 * static_cast<double>(points(o.axes)) * (1 + inner / static_cast<double>(o.axes[r.vector].extent));
  const double start = 1500;
  return start + std::max(waves * (400 + steps * step), bytes / d.bytes_per_cycle);
}

}  // namespace

std::vector<MatrixTile> matrix_tiles(const Schedule& s, const Roles& r, const Device& d) {
  return from_the_best(tiles_of(s, r, d), [&](const MatrixTile& t) { return cycles_of(s, r, t, d); });
}

double matrix_cycles(const Schedule& s, const Roles& r, const Device& d) {
  double best = std::numeric_limits<double>::infinity();
  for (const MatrixTile& t : tiles_of(s, r, d)) best = std::min(best, cycles_of(s, r, t, d));
  return best;
}

bool by_matrix(Schedule& s, const Roles& r, const MatrixTile& tile, const Device& d) {
  Schedule t = s;
  const std::string out = t.group()[r.out].name;
  std::string acc = t.group()[r.acc].name;
  if (r.acc == r.out) acc = t.cache_write(out);
  if (t.failure()) return false;
  const Stage o = t.group()[*t.group().named(out)], a = t.group()[*t.group().named(acc)];
  const auto operands = operands_of(t, a, r);
  if (d.sm < 80 || !r.tile || r.grouped || !operands) return false;
  const Axis k = a.raxes[operands->reduce];
  const int64_t depth = depth_for(k.extent);
  if (operands->weights) {
    const Stage w = t.group()[*operands->weights];
    t.pack(w.name, fragments(static_cast<uint32_t>(w.axes.size()), operands->channels, operands->depth, tile.columns, depth));
  }
  if (!o.layout.empty()) t.pack(acc, o.layout);

  const bool image = !r.outer.empty();
  const int64_t high = 2 * tile.rows;
  for (const std::string& stage : {out, acc}) {
    const Stage& x = stage == out ? o : a;
    const auto axis = [&](uint32_t i) { return x.axes[i].name; };
    WarpLoops w{.outside = names(x.axes, r.unit)};
    const auto in_block = [&](const std::string& loop, int64_t size) {
      auto [outer, inner] = t.split(stage, loop, size, Tail::Whole);
      w.outside.push_back(outer);
      return inner;
    };
    for (size_t i = 0; i + 1 < r.outer.size(); ++i) w.outside.push_back(axis(r.outer[i]));
    std::string points_warp, group;
    if (image) {
      const std::string y = in_block(axis(r.outer.back()), high * tile.warps_m);
      group = in_block(axis(*r.tile), kMatrixGroups);
      std::tie(points_warp, w.points) = t.split(stage, y, high, Tail::Whole);
    } else {
      const std::string y = in_block(axis(*r.tile), kMatrixGroups * high * tile.warps_m);
      auto [warp, within] = t.split(stage, y, kMatrixGroups * high, Tail::Whole);
      std::tie(group, w.points) = t.split(stage, within, high, Tail::Whole);
      points_warp = warp;
    }
    const std::string channels = in_block(axis(r.vector), 8 * tile.columns * tile.warps_n);
    auto [channels_warp, within] = t.split(stage, channels, 8 * tile.columns, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * tile.columns, Tail::Whole);
    w.bound = {points_warp, channels_warp, group, lane};
    w.channels = own;
    if (stage == out) {
      store_by_warps(t, out, w, r.vector, tile.columns);
      blocks_of(t, out, w.outside, acc);
    } else {
      sum_by_warps(t, acc, w, k, k.name, depth);
    }
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
