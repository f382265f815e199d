// Estimates of transformed products: the product's tiles, the transforms, and what passes between
// the caches.
#include <algorithm>
#include <bit>
#include <cmath>

#include "target/llvm/winograd.h"

namespace burnish::llvm_target {

namespace {

double bytes_of(const Stage& s) { return static_cast<double>(points(s.axes) * size_of(s.dtype)); }

// Vectors that so many elements take: parts of one count like a whole one.
double vectors(int64_t elements, int64_t lanes) {
  return static_cast<double>(elements / lanes +
                             std::popcount(static_cast<uint64_t>(elements % lanes)));
}

}  // namespace

WinogradDraft::WinogradDraft(const Schedule& inlined, const TransformedProduct& p, const Machine& m)
    : m_(m), product_(inlined, product_roles(p), m) {
  const StageGroup& g = inlined.group();
  const Stage &out = g[p.out], &acc = g[p.acc];
  shared_ = worth_sharing(out, acc, m);
  points_ = 1;
  for (uint32_t a : p.points) points_ *= acc.axes[a].extent;
  along_ = acc.axes[p.points[0]].extent;
  tile_ = p.m;
  rows_ = acc.axes[p.ty].extent;
  columns_ = acc.axes[p.tx].extent;
  batch_ = 1;
  for (uint32_t a : p.batch) batch_ *= acc.axes[a].extent;
  depth_ = acc.raxes[0].extent;
  channels_ = acc.axes[p.c].extent;
  weights_ = bytes_of(g[p.weights]);
  output_ = bytes_of(out);
  input_ = 0;
  for (StageId s : producers(g, p.rows)) input_ += bytes_of(g[s]);
  // What the last stage does besides its own transform: bias, activation, the sum with another
  // tensor.
  epilogue_ = 1;
  for (StageId s : producers(g, p.out)) {
    if (s == p.columns) continue;
    epilogue_ += 1;
    if (g[s].kind == StageKind::Input) output_ += bytes_of(g[s]);
  }
}

Result<> WinogradDraft::fits(const WinogradChoice& c) const {
  if (auto fit = product_.fits(c.tile); !fit) return fit;
  if (c.strip > rows_) return refuse("strips of {} of {} rows of tiles", c.strip, rows_);
  if (c.tile.patch > c.strip)
    return refuse("strips of {} rows do not hold patches of {}", c.strip, c.tile.patch);
  if (c.tile.patch > 1 && rows_ % c.strip) {
    return refuse("patches need whole strips: {} rows, strips of {}", rows_, c.strip);
  }
  if (c.tile.share == kSharePanels && channels_ % (c.tile.lanes * c.tile.vectors)) {
    return refuse("{} channels are no whole panels of {}", channels_,
                  c.tile.lanes * c.tile.vectors);
  }
  if (c.tile.share == kSharePanels && depth_ % c.tile.lanes) {
    return refuse("{} channels are no whole vectors of {}", depth_, c.tile.lanes);
  }
  return Done{};
}

// Cycles of all transforms on one thread: what stores take, and additions beside them.
double WinogradDraft::transforms(const WinogradChoice& c) const {
  const double along = static_cast<double>(along_);
  const double step = 2 * along;  // operations of one transform along one axis
  const double tiles = static_cast<double>(batch_ * rows_ * columns_),
               m = static_cast<double>(tile_);
  const double block = static_cast<double>(c.columns);
  const double in_columns = m + (along - m) / block;  // columns transformed a tile
  const double passes = m_.passes(c.tile.lanes * int64_t{4});
  const auto cycles = [&](double operations, double loads, double stores) {
    return passes * std::max({operations / m_.fma_per_cycle, loads / m_.loads_per_cycle,
                              stores / m_.stores_per_cycle}) +
           (operations + loads + stores) / 8;
  };
  const double in = cycles(in_columns * step + along * step, (in_columns + along) * along,
                           (in_columns + along) * along);
  const double out = cycles(along * step + m * step + m * m * epilogue_,
                            along * along + m * m * (epilogue_ - 1), m * m);
  return tiles * (in * vectors(depth_, c.tile.lanes) + out * vectors(channels_, c.tile.lanes));
}

double WinogradDraft::us(const WinogradChoice& c) const {
  const double threads = shared_ ? m_.threads : 1;
  const double panel = static_cast<double>(std::min(c.tile.lanes * c.tile.vectors, channels_));
  const double panels = std::ceil(static_cast<double>(channels_) / panel);
  const double strips = static_cast<double>(batch_ * ceil_div(rows_, c.strip));
  const bool by_panels = c.tile.share == kSharePanels;
  double share = 1;  // of the busiest thread
  if (shared_ && by_panels) share = std::ceil(panels / threads) / panels;
  if (shared_ && !by_panels) {
    share = std::min(1.0, std::ceil(strips / threads) * static_cast<double>(c.strip) /
                              static_cast<double>(batch_ * rows_));
  }
  const double width = 4;  // bytes of an element
  const double tiles = static_cast<double>(batch_ * rows_ * columns_),
               in_strip = static_cast<double>(c.strip * columns_);
  const double transformed =
      static_cast<double>(points_ * depth_) * width;  // bytes of a tile's input
  const double results =
      static_cast<double>(points_) * panel * width;  // of a tile's products, one panel
  const double whole = by_panels ? tiles : in_strip;
  const double scratch = whole * transformed + in_strip * results;
  const double l2 = static_cast<double>(m_.l2_bytes) * 0.75;

  Traffic t{};
  // The transformed input is written, and read for every panel; products are written and read.
  const double passed =
      tiles * share * (transformed * (by_panels ? 1 : 1 + panels) + 2 * panels * results) +
      (by_panels ? tiles * transformed * panels * share : 0);
  const double weight_passes = by_panels ? std::max(1.0, strips) : std::max(1.0, strips * share);
  const double passed_weights = weights_ * (by_panels ? share : 1) * weight_passes;
  t[0] = (passed + passed_weights) / m_.l2_bandwidth;
  if (scratch > l2) t[1] += passed / m_.l3_bandwidth;
  // A strip is written as a whole before it is read again, beside what other work keeps in a cache that is shared.
  const bool in_memory = scratch * (by_panels ? 1 : threads) > static_cast<double>(m_.l3_bytes) / 4;
  const bool weights_stay = scratch + weights_ * (by_panels ? share : 1) <= l2;
  t[1] += (weights_stay ? weights_ * (by_panels ? share : 1) : passed_weights) / m_.l3_bandwidth;
  if (in_memory) t[2] += passed / m_.memory_bandwidth;
  const double outside = input_ + output_;
  t[1] += outside * share / m_.l3_bandwidth;
  const bool weights_near = weights_ <= static_cast<double>(m_.l3_bytes) / 2;  // after the first pass
  t[2] += weights_ * (by_panels ? share : 1 / threads) * (weights_near ? 1 : weight_passes) / m_.memory_bandwidth;
  if (outside > static_cast<double>(m_.l3_bytes)) t[2] += outside * share / m_.memory_bandwidth;

  const double compute = (product_.compute(c.tile) + transforms(c)) * share;
  const double forks = shared_ ? (by_panels ? 2000 : 1000) : 0;
  return (overlapped(compute, t) + forks) / (m_.gigahertz * 1e3);
}

}  // namespace burnish::llvm_target
