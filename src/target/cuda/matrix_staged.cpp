// Data of a block's tile, with the halo of its filters, in the block's memory: a chunk of channels
// while others are multiplied. All warps and all taps of a filter read it from there, without
// guards. So may weights, which warps of other points share then, and of which as much is on its
// way.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

// What a product loads that moves with the channels of its result, or the other factor; null where that is scaled, of which copies to
// the block's memory know nothing.
const Expr* factor_of(const Stage& acc, const Roles& r, bool channels) {
  const VarId lanes = acc.axes[r.vector].var;
  for (const Expr& factor : acc.body.children()) {
    const Expr& e = load_of(factor);
    if (std::ranges::any_of(e.indices(), [&](const Index& i) { return moves(i, lanes); }) ==
        channels)
      return is_scaled(factor) ? nullptr : &e;
  }
  return nullptr;
}

// Points of a block along an axis of the result.
int64_t points_of_block(uint32_t axis, const Roles& r, bool image, const MatrixTile& t) {
  const int64_t high = 2 * t.rows * t.warps_m;
  if (axis == r.vector) return 8 * t.columns * t.warps_n;
  if (r.tile && axis == *r.tile) return image ? kMatrixGroups : kMatrixGroups * high;
  return image && !r.outer.empty() && axis == r.outer.back() ? high : 1;
}

// By axis of what `e` loads, how much a block reads for a chunk. Empty: indices are not affine.
std::vector<int64_t> region_of(const Expr& e, const Stage& acc, const Roles& r,
                               const Operands& operands, const MatrixTile& t) {
  std::vector<int64_t> region;
  for (const Index& at : e.indices()) {
    if (!at.is_affine()) return {};
    int64_t extent = 1;
    for (uint32_t a = 0; a < acc.axes.size(); ++a)
      extent +=
          std::abs(at.a.slope(acc.axes[a].var)) * (points_of_block(a, r, operands.image, t) - 1);
    for (size_t a = 0; a < acc.raxes.size(); ++a)
      extent += std::abs(at.a.slope(acc.raxes[a].var)) *
                ((a == operands.reduce ? t.staged : acc.raxes[a].extent) - 1);
    region.push_back(extent);
  }
  return region;
}

// Elements between points of neighbouring groups of threads, in rows of `size` and a padding: which
// brings vectors of `depth` / 4 of them to different banks.
int64_t padding_for(int64_t size, int64_t distance, int64_t depth, DType t) {
  for (int64_t pad = 0; pad < banks_of(t); pad += vector_of(t))
    if (floor_mod(distance * (size + pad) - depth, banks_of(t)) == 0) return pad;
  return floor_mod(depth - size, banks_of(t));
}

// The axis that moves so many elements with the variable in parts, each of one remainder. False: it is in blocks already.
bool by_remainders(Layout& l, const Expr& load, VarId v, int64_t stride) {
  const auto at = std::ranges::find_if(l, [&](const LayoutDim& d) { return load.indices()[d.axis].a.slope(v) == stride; });
  if (at == l.end() || at->div > 1 || at->mod > 0) return false;
  const uint32_t axis = at->axis;
  l.insert(l.erase(at), {LayoutDim{axis, 1, stride}, LayoutDim{axis, stride, 0}});
  return true;
}

bool in_blocks(const Layout& l) {
  return std::ranges::any_of(l, [](const LayoutDim& d) { return d.div > 1 || d.mod > 0; });
}

// Rows of a warp, which are a thread's after one another, so that those of its groups of threads
// are: in different banks. False: they are no rows of one axis.
bool groups_together(Staged::Operand& x, const Expr& load, VarId points, const MatrixTile& t) {
  const int64_t own = 2 * t.rows, warp = kMatrixGroups * own;
  const auto axis = std::ranges::find_if(
      x.layout, [&](const LayoutDim& d) { return load.indices()[d.axis].a.slope(points) != 0; });
  if (in_blocks(x.layout) || axis == x.layout.end() ||
      load.indices()[axis->axis].a.slope(points) != 1 || x.region[axis->axis] != warp * t.warps_m)
    return false;
  const uint32_t a = axis->axis;
  const auto at = x.layout.erase(axis);
  x.layout.insert(at,
                  {LayoutDim{a, warp, 0}, LayoutDim{a, 1, own}, LayoutDim{a, own, kMatrixGroups}});
  return true;
}

// A chunk in the block's memory, and all slots of it.
int64_t bytes_of(const Staged::Operand& x, int64_t slots, DType t, bool swizzled) {
  const int64_t line = swizzled ? kSwizzleAlign / size_of(t) : 64;  // elements that slots are multiples of
  return slots * ceil_div(physical_size(x.layout, x.region), line) * line * size_of(t);
}

int64_t elements_of(const std::vector<int64_t>& region) {
  int64_t n = 1;
  for (const int64_t extent : region) n *= extent;
  return n;
}

}  // namespace

std::optional<Staged> staged_operands(const Schedule& s, const Stage& acc, const Roles& r,
                                      const Operands& operands, const MatrixTile& t,
                                      const Device& d) {
  const Expr *e = factor_of(acc, r, false), *f = factor_of(acc, r, true);
  if (e == nullptr || t.staged == 0 || t.warps_k > 1 || operands.lanes || operands.phases() > 1)
    return std::nullopt;
  const Stage& x = s.group()[e->from()];
  const int64_t k = acc.raxes[operands.reduce].extent, depth = depth_for(t.staged, d);
  if (x.kind == StageKind::Constant || x.is_compute() || !in_vectors(x.dtype) || k % t.staged ||
      t.staged % vector_of(x.dtype) || t.stages < 2)
    return std::nullopt;
  Staged found{
      .data = {.name = x.name, .region = region_of(*e, acc, r, operands, t), .layout = x.layout}};
  const std::vector<uint32_t> order = physical_order(x);
  // Vectors are of neighbours along the reduction, which stand innermost.
  if (order.empty() || found.data.region.empty() ||
      e->indices()[order.back()].a.slope(acc.raxes[operands.reduce].var) != 1 ||
      found.data.region[order.back()] != t.staged ||
      x.axes[order.back()].extent % vector_of(x.dtype))
    return std::nullopt;
  // Weights that are packed for it, for channels that come out even.
  const bool packed =
      operands.weights && acc.axes[r.vector].extent % (8 * t.columns * t.warps_n) == 0;
  if (packed && size_of(x.dtype) == size_of(d.storage)) found.depths = Depths::Pieces;
  if (found.data.layout.empty())
    for (const uint32_t a : order) found.data.layout.push_back({a});
  int64_t apart = 1;  // rows between points of neighbouring groups of threads
  for (const Index& i : e->indices())
    apart = std::max(apart, std::abs(i.a.slope(acc.axes[*r.tile].var)));
  const bool together = operands.image || groups_together(found.data, *e, acc.axes[*r.tile].var, t);
  if (!together) apart *= 2 * t.rows;
  if (t.warpgroups) {
    // Rows of a swizzle, eight of neighbouring points after one another: of strides, columns by their remainders.
    // Rounding these in their place takes longer than what instructions save (H200: 55 to 110 us of 43), and of a filter of one point three of
    // four columns and rows would be copied for nothing.
    found.rounds = x.dtype == DType::F32;
    if (operands.image && !found.rounds && points(acc.raxes) > k && apart > 1 && apart <= kMatrixPairs && by_remainders(found.data.layout, *e, acc.axes[*r.tile].var, apart)) {
      found.strides = true;
      apart = 1;
    }
    if (found.depths != Depths::Pieces || d.sm != kWarpgroupsOn || d.products > 1 || t.rows != 1 || t.warps_m % 4 || apart != 1 || !together ||
        !is_swizzle(t.staged * size_of(x.dtype)))
      return std::nullopt;
    found.swizzle = t.staged * size_of(x.dtype);
  }
  found.data.layout.back().pad = t.warpgroups                        ? 0
                                 : found.depths == Depths::Pieces
                                     ? piece_padding(t.staged, x.dtype)
                                     : padding_for(t.staged, apart, depth, x.dtype);
  const int64_t slots = std::min(t.stages, k / t.staged);
  found.bytes = bytes_of(found.data, slots, x.dtype, t.warpgroups);
  found.data.copied = elements_of(found.data.region) * size_of(x.dtype);
  if (!t.weights) return found;
  if (found.depths != Depths::Pieces) return std::nullopt;
  const Stage& w = s.group()[*operands.weights];
  Staged::Operand weights{
      .name = w.name, .region = region_of(*f, acc, r, operands, t), .layout = {}};
  if (weights.region.empty() || size_of(w.dtype) != size_of(x.dtype) ||
      weights.region[operands.channels] != 8 * t.columns * t.warps_n ||
      weights.region[operands.depth] != t.staged)
    return std::nullopt;
  weights.layout = fragments(static_cast<uint32_t>(w.axes.size()), operands.channels,
                             operands.depth, t.columns, t.staged);
  weights.layout.back().pad = t.warpgroups ? 0 : piece_padding(t.staged, w.dtype);
  weights.copied = elements_of(weights.region) * size_of(w.dtype);
  found.bytes += bytes_of(weights, slots, w.dtype, t.warpgroups);
  found.weights = weights;
  return found;
}

bool stage_operands(Schedule& t, const Staged& x, const std::string& reader,
                    const std::string& chunk, const MatrixTile& tile) {
  const auto copied = [&](const Staged::Operand& o) {
    // These instructions cut off what they do not look at.
    const std::string copy = x.rounds && &o == &x.data ? t.cache_read(o.name, reader, DType::TF32) : t.cache_read(o.name);
    if (t.failure()) return false;
    t.compute_at(copy, reader, chunk);
    t.guard_halo(copy);
    t.pack(copy, o.layout);
    if (x.swizzle) t.swizzle(copy, x.swizzle);
    t.multi_buffer(copy, tile.stages);
    if (in_blocks(o.layout)) return copy_in_order(t, copy, o.region, tile.threads());
    copy_by_threads(t, copy, physical_order(t.group()[*t.group().named(copy)]), o.region,
                    tile.threads());
    return !t.failure();
  };
  return copied(x.data) && (!x.weights || copied(*x.weights));
}

}  // namespace burnish::cuda_target
