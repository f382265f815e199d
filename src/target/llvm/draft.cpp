#include "target/llvm/draft.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace burnish::llvm_target {

Access::Access(const StageGroup& g, const Expr& load) {
  const Stage& from = g[load.from()];
  width_ = size_of(from.dtype);
  constant_ = from.kind == StageKind::Constant;
  for (size_t i = 0; i < from.axes.size(); ++i) {
    const Index& index = load.indices()[i];
    Dim d{{index.a.terms.begin(), index.a.terms.end()}, from.axes[i].extent};
    for (const Atom& atom : index.atoms) {
      if (atom.value) continue;  // gathered: anything
      d.div = std::max<int64_t>(d.div, atom.div);
      d.terms.insert(d.terms.end(), atom.a.terms.begin(), atom.a.terms.end());
    }
    dims_.push_back(std::move(d));
  }
}

Access::Access(const Stage& written) {
  width_ = size_of(written.dtype);
  for (const Axis& a : written.axes) dims_.push_back({{Term{a.var, 1}}, a.extent});
}

double Access::bytes(const std::vector<int64_t>& counts) const {
  double all = width_;
  for (const Dim& d : dims_) {
    int64_t span = 0;
    for (const Term& t : d.terms) span += std::abs(t.k) * (counts[t.var] - 1);
    all *= static_cast<double>(std::min(d.extent, span / d.div + 1));
  }
  return all;
}

Traffic traffic(const std::vector<Access>& accesses, const std::vector<Level>& levels, size_t vars, const Machine& m) {
  // Bytes of each access with 0, 1, ... loops running.
  std::vector<int64_t> counts(vars, 1);
  std::vector<std::vector<double>> touched;
  std::vector<double> sums;
  for (size_t l = 0; l <= levels.size(); ++l) {
    if (l > 0) counts[levels[l - 1].var] = levels[l - 1].count;
    std::vector<double> bytes;
    double sum = 0;
    for (const Access& a : accesses) sum += bytes.emplace_back(a.bytes(counts));
    touched.push_back(std::move(bytes));
    sums.push_back(sum);
  }
  Traffic cycles{};
  const std::array<double, 3> sizes = {static_cast<double>(m.l1_bytes), static_cast<double>(m.l2_bytes),
                                       static_cast<double>(m.l3_bytes)};
  const std::array<double, 3> bandwidths = {m.l2_bandwidth, m.l3_bandwidth, m.memory_bandwidth};
  for (size_t cache = 0; cache < sizes.size(); ++cache) {
    size_t fits = 0;
    while (fits < levels.size() && sums[fits + 1] <= sizes[cache] * 0.75) ++fits;
    double again = 1;
    for (size_t l = std::min(fits + 1, levels.size()); l < levels.size(); ++l) again *= levels[l].trips;
    const size_t whole = std::min(fits + 1, levels.size());
    double bytes = 0;
    for (size_t a = 0; a < accesses.size(); ++a) {
      if (cache == 2 && !accesses[a].constant() && sums.back() <= sizes[cache]) continue;  // another step left it there
      bytes += touched[whole][a] * again;
    }
    cycles[cache] = bytes / bandwidths[cache];
  }
  return cycles;
}

double overlapped(double compute, const Traffic& t) {
  double powers = std::pow(compute, 4), sum = compute;
  for (double x : t) {
    powers += std::pow(x, 4);
    sum += x;
  }
  return std::sqrt(std::sqrt(powers)) + 0.1 * sum;
}

namespace {

struct Part {
  int64_t size, count;
};

// `extent` in tiles of nearly `size` each.
void balanced(int64_t extent, int64_t size, std::vector<Part>& parts) {
  if (extent <= 0) return;
  const int64_t tiles = ceil_div(extent, size), larger = extent % tiles;
  if (larger) parts.push_back({extent / tiles + 1, larger});
  parts.push_back({extent / tiles, tiles - larger});
}

void tailed(int64_t extent, int64_t size, std::vector<Part>& parts) {
  if (extent / size) parts.push_back({size, extent / size});
  if (extent % size) parts.push_back({extent % size, 1});
}

// Vectors that so many elements take: halves, quarters of one count as one.
int64_t pieces(int64_t elements, int64_t lanes) {
  int64_t n = elements / lanes;
  for (int64_t rest = elements % lanes; rest; rest &= rest - 1) ++n;
  return n;
}

}  // namespace

// Cycles of a load whose line was thrown out of its set since it was read last; measured.
constexpr double thrown_out = 4;

TileDraft::TileDraft(const Schedule& s, const Roles& r, const Machine& m)
    : m_(m), r_(r), out_(s.group()[r.out]), acc_(s.group()[r.acc]), vars_(s.group().vars.size()) {
  const StageGroup& g = s.group();
  depth_ = static_cast<double>(points(acc_.raxes));
  for (const Axis& a : acc_.raxes) longest_ = std::max(longest_, static_cast<double>(a.extent));
  for (bool window : {false, true}) {
    const std::vector<std::string> order = reduce_order(acc_, window);
    for (const std::string& name : order) {
      const Axis& a = *std::ranges::find(acc_.raxes, name, &Axis::name);
      reduces_[window].push_back(&a);
      if (is_unrolled(acc_, r, a, order)) unrolled_[window] *= a.extent;
    }
  }
  long_ = longest_ > 16;
  if (r.tile) inner_ = inner_points(g, acc_, *r.tile);
  const VarId lanes = acc_.axes[r.vector].var;
  visit(acc_.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    accesses_.emplace_back(g, x);
    bool moved = false, by_points = false;
    for (const Index& i : x.indices()) {
      moved |= moves_in_vector(i, lanes);
      if (r.tile) by_points |= moves(i, acc_.axes[*r.tile].var);
    }
    weights_ |= moved && !by_points;
    if (!r.tile || !x.fill()) return;
    // Places of the window that may lie outside, over all of a tile's points; as a share of the window.
    for (const Index& i : x.indices()) {
      const int64_t step = i.a.slope(acc_.axes[*r.tile].var);
      if (step <= 0) continue;
      int64_t window = 1;
      for (const Axis& k : acc_.raxes) window += std::abs(i.a.slope(k.var)) * (k.extent - 1);
      for (int64_t before = -i.a.c; before > 0; before -= step) guards_ += static_cast<double>(before);
      int64_t after = (extent(*r.tile) - 1) * step + i.a.c + window - g[x.from()].axes[&i - x.indices().data()].extent;
      for (; after > 0; after -= step) guards_ += static_cast<double>(after);
      guards_ /= static_cast<double>(window);
    }
  });
  if (r.tile && r.broadcast) {
    visit(acc_.body, [&](const Expr& x) {
      if (x.kind() != ExprKind::Load || strides_) return;
      const Stage& from = g[x.from()];
      Strides t;
      for (const PhysicalDim& d : physical(from.layout, from.shape())) {
        const Index& i = x.indices()[d.dim.axis];
        if (d.dim.mod || moves_in_vector(i, lanes)) return;
        const int64_t bytes = d.stride * size_of(from.dtype);
        const int64_t along_x = i.a.slope(acc_.axes[*r.tile].var);
        for (const Atom& atom : i.atoms) t.group = std::max(t.group, atom.scale * bytes);
        const int64_t along_y = r.outer.empty() ? 0 : i.a.slope(acc_.axes[r.outer.back()].var);
        t.x += along_x * bytes;
        t.y += along_y * bytes;
        for (const Axis& k : acc_.raxes) {
          if (k.extent > 16 || i.a.slope(k.var) == 0) continue;
          if (along_x) t.window_x = k.extent, t.step_x = bytes * i.a.slope(k.var);
          if (along_y) t.window_y = k.extent, t.step_y = bytes * i.a.slope(k.var);
        }
      }
      if (t.x) strides_ = t;
    });
  }
  Stage written = acc_;  // the output, over the reduction's variables
  written.dtype = out_.dtype;
  accesses_.emplace_back(written);
}

double TileDraft::conflicts(const TileChoice& c) const {
  if (!strides_) return 0;
  const Strides& t = *strides_;
  // Sets repeat every page of 4096 bytes; one way is for weights passing by.
  const int64_t ways = std::max<int64_t>(2, m_.l1_bytes / 4096 - 1);
  const int64_t groups = r_.grouped ? ceil_div(c.lanes * c.vectors, r_.grouped) : 1;
  const auto lost = [&](int64_t kx, int64_t ky) {
    std::vector<int64_t> lines;
    for (int64_t y = 0; y < c.patch; ++y) {
      for (int64_t x = 0; x < c.rows; ++x) {
        for (int64_t a = 0; a < ky; ++a) {
          for (int64_t b = 0; b < kx; ++b) {
            const int64_t at = y * t.y + x * t.x + a * t.step_y + b * t.step_x;
            for (int64_t g = 0; g < groups; ++g) lines.push_back((at + g * t.group) / 64);
          }
        }
      }
    }
    std::sort(lines.begin(), lines.end());
    lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
    std::array<int64_t, 64> sets{};
    for (int64_t l : lines) ++sets[static_cast<size_t>(l & 63)];
    int64_t n = 0;
    for (int64_t in_set : sets) n += in_set > ways ? in_set : 0;
    return static_cast<double>(n) / static_cast<double>(kx * ky);
  };
  // With the window inside, what one place of it has read is there for the next, or for the next step of the channels.
  return window_inside(c) ? std::max(lost(1, 1), lost(t.window_x, t.window_y)) : lost(1, 1);
}

bool TileDraft::shared(const TileChoice& c) const {
  return c.share != kShareNothing && worth_sharing(out_, acc_, m_);
}

bool TileDraft::in_registers(const TileChoice& c) const {
  const int64_t others = r_.broadcast ? c.vectors + (c.vectors > 1 ? 1 : 0) : 4;
  // The last panel may be of more vectors than the others, each narrower: 42 = 16 + 16 + 8 + 2.
  const int64_t panel = c.lanes * c.vectors, channels = extent(r_.vector);
  const int64_t vectors = std::max(channels < panel ? 0 : c.vectors, pieces(channels % panel, c.lanes));
  return c.lanes == 1 || c.rows * c.patch * vectors + others <= m_.vector_registers;
}

Result<> TileDraft::fits(const TileChoice& c) const {
  const int64_t sums = c.rows * c.patch * c.vectors;
  if (!in_registers(c)) {
    return refuse("a tile of {} x {} points and {} vectors is more than {} registers hold", c.patch, c.rows, c.vectors,
                  m_.vector_registers);
  }
  const int64_t steps = c.unroll * unrolled_[static_cast<size_t>(c.window)];
  if (sums * steps > 1600) {
    return refuse("{} multiply-adds in straight code: tiles of {} and {} steps of the reduction", sums * steps, sums, steps);
  }
  const int64_t channels = extent(r_.vector), panels = ceil_div(channels, c.lanes * c.vectors);
  if (c.vectors > 1 && c.lanes * (c.vectors - 1) >= channels) return refuse("{} channels have no {} vectors", channels, c.vectors);
  const int64_t width = r_.tile ? extent(*r_.tile) : 1;
  if (!c.phased && c.rows > 1 && ceil_div(width, ceil_div(width, c.rows)) != c.rows) {
    return refuse("{} points are tiles of {}", width, ceil_div(width, ceil_div(width, c.rows)));
  }
  if (c.edges == kEdgeTiles && c.rows >= width) return refuse("one tile has no edges of its own");
  if (c.window && c.unroll > 1) return refuse("the window is the innermost loop and unrolled already");
  const int64_t rows = !r_.outer.empty() ? extent(r_.outer[0]) : width;
  if (c.block > 0) {
    if (panels == 1) return refuse("blocks of rows for one panel of weights");
    if (c.share == kSharePanels) return refuse("blocks of rows inside panels change nothing");
    if (r_.outer.empty() && c.block < 2 * c.rows) return refuse("a block of {} points has no two tiles of {}", c.block, c.rows);
    if (c.patch > 1 && r_.outer.size() == 1 && (c.block % c.patch || rows % c.block)) {
      return refuse("blocks of {} of {} rows do not hold patches of {}", c.block, rows, c.patch);
    }
    const int64_t blocks = ceil_div(rows, c.block);
    if (c.share == kShareRows && blocks < m_.threads && shared(c)) return refuse("{} blocks for {} threads", blocks, m_.threads);
    if (c.share == kShareBoth && blocks < 2) return refuse("one block: share the panels");
    if (c.share == kShareNothing && blocks < 2) return refuse("one block: leave the rows whole");
  }
  if (c.share == kShareBoth) {
    if (c.block == 0) return refuse("panels are shared with blocks of rows");
    if (channels % (c.lanes * c.vectors)) return refuse("{} channels are no whole panels of {}", channels, c.lanes * c.vectors);
  }
  if (c.share == kSharePanels && panels < 2) return refuse("one panel for {} threads", m_.threads);
  return Done{};
}

double TileDraft::compute(const TileChoice& c) const {
  const int64_t width = r_.tile ? extent(*r_.tile) : 1;
  std::vector<Part> rows, patches, panels;
  if (!r_.tile) {
    rows.push_back({1, 1});
  } else if (c.phased) {
    tailed(width, c.rows, rows);
  } else if (inner_ && inner_->first < inner_->second && c.edges == kEdgePoints) {
    balanced(inner_->first, c.rows, rows);
    balanced(inner_->second - inner_->first, c.rows, rows);
    balanced(width - inner_->second, c.rows, rows);
  } else {
    balanced(width, c.rows, rows);
  }
  balanced(r_.outer.empty() ? 1 : extent(r_.outer.back()), c.patch, patches);
  tailed(extent(r_.vector), c.lanes * c.vectors, panels);

  const double lost = conflicts(c) * thrown_out;
  const double entries = r_.broadcast && !window_inside(c) ? depth_ / longest_ : 1;
  // Choices between the input and its fill: before a long loop, or in straight code.
  const bool guarded = c.edges == kEdgesGuarded && c.rows < width;
  const double guards =
      guarded ? 4 * guards_ * (window_inside(c) ? depth_ : depth_ / longest_) : 0;
  const int64_t bytes = size_of(acc_.dtype);
  double cycles = 0;
  for (const Part& p : panels) {
    const double v = static_cast<double>(pieces(p.size, c.lanes));
    // Passes through the units, a point: of all vectors, and of the element that is broadcast to
    // the widest.
    double passes = static_cast<double>(p.size / c.lanes) * m_.passes(c.lanes * bytes);
    for (auto rest = static_cast<uint64_t>(p.size % c.lanes); rest; rest -= std::bit_floor(rest)) {
      passes += m_.passes(static_cast<int64_t>(std::bit_floor(rest)) * bytes);
    }
    // Vectors of different groups share no element.
    const double groups = r_.grouped ? static_cast<double>(ceil_div(p.size, r_.grouped)) : 1;
    const double widest = groups * m_.passes(std::min(p.size, c.lanes) * bytes);
    for (const Part& y : patches) {
      for (const Part& x : rows) {
        const double at = static_cast<double>(x.size * y.size), sums = at * v, fmas = at * passes;
        const double loads =
            r_.broadcast ? at * widest + passes : fmas + (weights_ ? 0.1 : 0.0) * passes;
        const double work =
            sums + (r_.broadcast && v > 1 ? at : 0) + v + 3.0 / static_cast<double>(c.unroll);
        double step = std::max({fmas / m_.fma_per_cycle, loads / m_.loads_per_cycle, work / 7});
        if (r_.broadcast) {
          // Vectors of two widths get in the way of many loads.
          if (p.size > c.lanes && p.size % c.lanes) step *= 1 + 0.4 * std::max(0.0, loads / fmas - 0.5);
          // Weights that the first-level cache does not keep from tile to tile.
          const double row = static_cast<double>(p.size * bytes);
          if (depth_ * row > static_cast<double>(m_.l1_bytes) / 2) step = std::max(step, row / (0.6 * m_.l2_bandwidth));
          step = std::max({step, m_.fma_latency, lost});
        }
        if (c.lanes > 1 && c.lanes * bytes < m_.vector_bytes) step *= 1.02;  // twice as many instructions
        if (fmas < 8) step += 1 / static_cast<double>(c.unroll);  // little to hide the loop behind
        const double tile =
            depth_ * step + guards * static_cast<double>(y.size) + 10 * entries + 15 + fmas * (1 / m_.stores_per_cycle + 0.5);
        cycles += tile * static_cast<double>(p.count * y.count * x.count);
      }
    }
  }
  for (size_t i = 0; i + 1 < r_.outer.size(); ++i) cycles *= static_cast<double>(extent(r_.outer[i]));
  // Of equals, the one with less code.
  return cycles * (1 + 0.001 * static_cast<double>(c.unroll - 1) + 0.001 * static_cast<double>(c.edges));
}

double TileDraft::us(const TileChoice& c) const {
  const int64_t width = r_.tile ? extent(*r_.tile) : 1, channels = extent(r_.vector), panel = c.lanes * c.vectors;
  const int64_t height = r_.outer.empty() ? 1 : extent(r_.outer.back());
  const double threads = m_.threads;

  // Loops from the inside out; one thread's share of the outermost.
  std::vector<Level> levels = {{acc_.axes[r_.vector].var, std::min(panel, channels), 1}};
  if (r_.tile) levels.push_back({acc_.axes[*r_.tile].var, std::min(c.rows, width), 1});
  if (!r_.outer.empty()) levels.push_back({acc_.axes[r_.outer.back()].var, std::min(c.patch, height), 1});
  const auto& reduces = reduces_[static_cast<size_t>(c.window)];
  for (size_t i = reduces.size(); i-- > 0;) {
    levels.push_back({reduces[i]->var, reduces[i]->extent, static_cast<double>(reduces[i]->extent)});
  }
  const double panels = static_cast<double>(ceil_div(channels, panel));
  const bool inside = c.block == 0 && c.share != kSharePanels;
  const Level over_panels{acc_.axes[r_.vector].var, channels, panels};
  if (inside) levels.push_back(over_panels);
  if (r_.tile) {
    const int64_t end = r_.outer.empty() && c.block ? std::min(c.block, width) : width;
    levels.push_back({acc_.axes[*r_.tile].var, end, static_cast<double>(ceil_div(end, c.rows))});
  }
  for (size_t i = r_.outer.size(); i-- > 0;) {
    const int64_t end = i == 0 && c.block ? std::min(c.block, extent(r_.outer[0])) : extent(r_.outer[i]);
    const int64_t step = i + 1 == r_.outer.size() ? c.patch : 1;
    levels.push_back({acc_.axes[r_.outer[i]].var, end, static_cast<double>(ceil_div(end, step))});
  }
  if (!inside) levels.push_back(over_panels);
  const uint32_t blocked = r_.outer.empty() && r_.tile ? *r_.tile : r_.outer.empty() ? r_.vector : r_.outer[0];
  if (c.block) {
    levels.push_back({acc_.axes[blocked].var, extent(blocked), static_cast<double>(ceil_div(extent(blocked), c.block))});
  }
  double share = 1;  // the largest part of the work that one thread has
  if (shared(c)) {
    Level& outermost = levels.back();
    const double n = outermost.trips * (c.share == kShareBoth ? panels : 1);
    share = std::ceil(n / threads) / n;
    if (c.block && c.share == kShareRows) {  // the last block may be short
      share = std::min(1.0, std::ceil(n / threads) * static_cast<double>(c.block) / static_cast<double>(extent(blocked)));
    }
    const double before = outermost.trips;
    outermost.trips = std::max(1.0, outermost.trips * share);
    outermost.count = std::max<int64_t>(1, std::llround(static_cast<double>(outermost.count) * outermost.trips / before));
  }
  const double cycles = overlapped(compute(c) * share, traffic(accesses_, levels, vars_, m_)) + (shared(c) ? 1000 : 0);
  return cycles / (m_.gigahertz * 1e3);
}

}  // namespace burnish::llvm_target
