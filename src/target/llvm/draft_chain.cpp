// Estimates of chains: the links' arithmetic, the weights that pass by once or more a step, the rings between.
#include <algorithm>
#include <cmath>

#include "target/llvm/chain.h"

namespace burnish::llvm_target {

ChainDraft::ChainDraft(const Schedule& inlined, const std::vector<Link>& links, const Machine& m) : m_(m) {
  const StageGroup& g = inlined.group();
  for (size_t i = 0; i < links.size(); ++i) {
    const Link& l = links[i];
    const Stage& acc = g[l.roles.acc];
    Part p{.tile = std::make_unique<TileDraft>(inlined, l.roles, m)};
    p.height = acc.axes[l.roles.outer[0]].extent;
    p.width = acc.axes[*l.roles.tile].extent;
    p.channels = acc.axes[l.roles.vector].extent;
    images_ = l.image ? acc.axes[*l.image].extent : 1;
    p.row = static_cast<double>(points(acc.axes) / images_ / p.height * size_of(g[l.roles.out].dtype));
    p.weights = 0;
    for (StageId from : producers(g, l.roles.acc)) {
      const double bytes = static_cast<double>(points(g[from].axes) * size_of(g[from].dtype));
      if (g[from].kind == StageKind::Constant) p.weights += bytes;
      if (g[from].kind == StageKind::Input) input_ += bytes;
    }
    p.overlap = l.overlap;
    p.stride = l.stride;
    p.window = l.window;
    p.depthwise = !l.roles.broadcast;
    if (i + 1 == links.size()) output_ = p.row * static_cast<double>(p.height * images_);
    parts_.push_back(std::move(p));
  }
}

Result<> ChainDraft::fits(const ChainChoice& c) const {
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& p = parts_[i];
    const TileChoice& t = c.tiles[i];
    if (auto fit = p.tile->fits(t); !fit) return refuse("link {}: {}", i, fit.reason());
    if (ceil_div(p.channels, t.lanes * t.vectors) == 1 && c.orders[i] != kRowsPanelsTiles) {
      return refuse("link {} has one panel: its order changes nothing", i);
    }
    if (t.patch > 1 && c.step % t.patch) return refuse("link {}: steps of {} rows do not hold patches of {}", i, c.step, t.patch);
  }
  const int64_t height = parts_.back().height, strip = ceil_div(height, strips_of(c, images_, m_));
  const bool patches = std::ranges::any_of(c.tiles, [](const TileChoice& t) { return t.patch > 1; });
  if (patches && (height % strip || strip % c.step)) {
    return refuse("patches need whole strips and steps: {} rows, strips of {}, steps of {}", height, strip, c.step);
  }
  if (c.step > strip) return refuse("strips have {} rows, a step would have {}", strip, c.step);
  const int64_t width = parts_.back().width;
  if (c.stretches > 1 && width / c.stretches < shortest_stretch) {
    return refuse("{} columns are too few for {} stretches", width, c.stretches);
  }
  if (c.strips > 1 && strip < 2 * c.step) return refuse("strips of {} rows for steps of {}", strip, c.step);
  return Done{};
}

double ChainDraft::us(const ChainChoice& c) const {
  const double height = static_cast<double>(parts_.back().height);
  const int64_t strips = strips_of(c, images_, m_);
  const double strip = static_cast<double>(ceil_div(parts_.back().height, strips));
  const double each = static_cast<double>(ceil_div(images_ * strips, m_.threads));  // strips of the busiest thread
  double compute = 0, from_l2 = 0, scratch = 0, weights = 0;
  double rows = strip;                       // of this link, a strip; its overlaps with the strip before included
  double step = static_cast<double>(c.step);  // rows of this link, a step
  const double stretches = static_cast<double>(c.stretches);
  double columns = static_cast<double>(parts_.back().width) / stretches;  // of this link, a stretch
  for (size_t i = parts_.size(); i-- > 0;) {
    const Part& p = parts_[i];
    const TileChoice& t = c.tiles[i];
    if (i + 1 < parts_.size()) {
      rows = std::min(static_cast<double>(p.height), rows * static_cast<double>(p.stride) + static_cast<double>(p.overlap));
      step *= static_cast<double>(p.stride);
      // Windows are taken for as wide as they are high.
      if (c.stretches > 1) columns = columns * static_cast<double>(p.stride) + static_cast<double>(p.overlap);
      else columns = static_cast<double>(p.width);
      const double alive = step + static_cast<double>(p.overlap);
      const double row = p.row * std::min(1.0, columns / static_cast<double>(p.width));
      scratch += alive * row;
      from_l2 += each * rows * stretches * row * (2 + static_cast<double>(p.overlap) / static_cast<double>(p.stride));
    }
    const double again = std::max(1.0, columns * stretches / static_cast<double>(p.width));
    compute += p.tile->compute(t) / static_cast<double>(p.height) * rows * each * again;
    weights += p.weights;
    const double panel = p.weights / std::ceil(static_cast<double>(p.channels) / static_cast<double>(t.lanes * t.vectors));
    const double tiles = static_cast<double>(ceil_div(p.width, t.rows));
    double passes = c.orders[i] == kPanelsRowsTiles ? rows / step : rows;
    passes *= stretches;
    if (c.orders[i] == kRowsTilesPanels) {
      if (p.weights > static_cast<double>(m_.l1_bytes) / 2) passes *= tiles / stretches;
    } else if (panel > static_cast<double>(m_.l1_bytes) * 0.75) {
      passes = rows * tiles;
    }
    from_l2 += each * passes * p.weights;
    compute += each * stretches * rows / step * 30;  // what a step costs outside its tiles
  }
  Traffic t{};
  const bool fits = scratch + weights <= static_cast<double>(m_.l2_bytes) * 0.8;
  t[fits ? 0 : 1] = from_l2 / (fits ? m_.l2_bandwidth : m_.l3_bandwidth);
  // Panels outside the columns jump from line to line.
  const bool far = parts_[0].depthwise && parts_[0].row >= static_cast<double>(parts_[0].width * far_apart);
  const double jumps = far && c.orders[0] != kRowsTilesPanels ? 2 : 1;
  const double outside = (input_ * jumps + output_) * strip * each / (height * static_cast<double>(images_));
  const bool near = input_ + output_ + weights <= static_cast<double>(m_.l3_bytes);
  (near ? t[1] : t[2]) += outside / (near ? m_.l3_bandwidth : m_.memory_bandwidth);
  t[2] += weights / m_.memory_bandwidth;
  return (overlapped(compute, t) + (m_.threads > 1 ? 1000 : 0)) / (m_.gigahertz * 1e3);
}

}  // namespace burnish::llvm_target
