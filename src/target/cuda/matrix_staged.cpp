// Data of a block's tile, with the halo of its filters, in the block's memory: a chunk of channels
// while the one before is multiplied. All warps and all taps of a filter read it from there,
// without guards.
#include <algorithm>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

// What a product loads that does not move with the channels of its result.
const Expr* data_of(const Stage& acc, const Roles& r) {
  const VarId lanes = acc.axes[r.vector].var;
  for (const Expr& factor : acc.body.children()) {
    const Expr& e = load_of(factor);
    if (std::ranges::none_of(e.indices(), [&](const Index& i) { return moves(i, lanes); }))
      return &e;
  }
  return nullptr;
}

// Points of a block along an axis of the result.
int64_t points_of_block(uint32_t axis, const Roles& r, bool image, const MatrixTile& t) {
  const int64_t high = 2 * t.rows * t.warps_m;
  if (r.tile && axis == *r.tile) return image ? kMatrixGroups : kMatrixGroups * high;
  return image && !r.outer.empty() && axis == r.outer.back() ? high : 1;
}

// Elements between points of neighbouring groups of threads, in rows of `size` and a padding: which
// brings vectors of `depth` / 4 of them to different banks.
int64_t padding_for(int64_t size, int64_t distance, int64_t depth, DType t) {
  for (int64_t pad = 0; pad < banks_of(t); pad += vector_of(t))
    if (floor_mod(distance * (size + pad) - depth, banks_of(t)) == 0) return pad;
  return floor_mod(depth - size, banks_of(t));
}

}  // namespace

std::optional<Staged> staged_data(const Schedule& s, const Stage& acc, const Roles& r,
                                  const Operands& operands, const MatrixTile& t, const Device& d) {
  const Expr* e = data_of(acc, r);
  if (e == nullptr || t.staged == 0 || t.warps_k > 1 || operands.lanes || operands.phases() > 1) return std::nullopt;
  const Stage& x = s.group()[e->from()];
  const int64_t k = acc.raxes[operands.reduce].extent, depth = depth_for(t.staged, d);
  if (x.kind == StageKind::Constant || x.is_compute() || !in_vectors(x.dtype) || k % t.staged ||
      t.staged % vector_of(x.dtype))
    return std::nullopt;
  Staged found{.input = x.name};
  for (size_t i = 0; i < e->indices().size(); ++i) {
    const Index& at = e->indices()[i];
    if (!at.is_affine()) return std::nullopt;
    int64_t extent = 1;
    for (uint32_t a = 0; a < acc.axes.size(); ++a)
      extent +=
          std::abs(at.a.slope(acc.axes[a].var)) * (points_of_block(a, r, operands.image, t) - 1);
    for (size_t a = 0; a < acc.raxes.size(); ++a)
      extent += std::abs(at.a.slope(acc.raxes[a].var)) *
                ((a == operands.reduce ? t.staged : acc.raxes[a].extent) - 1);
    found.region.push_back(extent);
  }
  found.order = physical_order(x);
  // Vectors are of neighbours along the reduction, which stand innermost.
  if (found.order.empty() ||
      e->indices()[found.order.back()].a.slope(acc.raxes[operands.reduce].var) != 1 ||
      found.region[found.order.back()] != t.staged || x.axes[found.order.back()].extent != k)
    return std::nullopt;
  // Points of the groups of a warp: neighbours of an image, else so many apart.
  int64_t stride = 1;
  for (const Index& i : e->indices())
    stride = std::max(stride, std::abs(i.a.slope(acc.axes[*r.tile].var)));
  if (x.dtype == DType::F16 && operands.image) found.depths = Depths::Pairs;
  found.pad = found.depths == Depths::Pairs ? piece_padding(t.staged, x.dtype) : padding_for(t.staged, stride * (operands.image ? 1 : 2 * t.rows), depth, x.dtype);
  int64_t elements = 1;
  for (const uint32_t a : found.order)
    elements *= a == found.order.back() ? t.staged + found.pad : found.region[a];
  found.bytes = (k > t.staged ? 2 : 1) * ceil_div(elements, int64_t{64}) * 64 * size_of(x.dtype);
  found.copied = elements / (t.staged + found.pad) * t.staged * size_of(x.dtype);
  return found;
}

void stage_data(Schedule& t, const Staged& x, const std::string& reader, const std::string& chunk,
                int64_t threads) {
  const std::string copy = t.cache_read(x.input);
  if (t.failure()) return;
  t.compute_at(copy, reader, chunk);
  t.guard_halo(copy);
  Layout layout = t.group()[*t.group().named(copy)].layout;
  if (layout.empty())
    for (const uint32_t a : x.order) layout.push_back({a});
  layout.back().pad = x.pad;
  t.pack(copy, layout);
  copy_by_threads(t, copy, x.order, x.region, threads);
  t.multi_buffer(copy);
}

}  // namespace burnish::cuda_target
