#include "target/llvm/draft.h"

#include <algorithm>
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

double memory_cycles(const std::vector<Access>& accesses, const std::vector<Level>& levels, size_t vars,
                     const Machine& m) {
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
  double cycles = 0;
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
    cycles += bytes / bandwidths[cache];
  }
  return cycles;
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

TileDraft::TileDraft(const Schedule& s, const Roles& r, const Machine& m)
    : m_(m), r_(r), out_(s.group()[r.out]), acc_(s.group()[r.acc]), vars_(s.group().vars.size()) {
  const StageGroup& g = s.group();
  if (r.tile) inner_ = inner_points(g, acc_, *r.tile);
  const VarId lanes = acc_.axes[r.vector].var;
  visit(acc_.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    accesses_.emplace_back(g, x);
    bool moved = false, by_points = false;
    for (const Index& i : x.indices()) {
      moved |= moves(i, lanes);
      if (r.tile) by_points |= moves(i, acc_.axes[*r.tile].var);
    }
    weights_ |= moved && !by_points;
  });
  Stage written = acc_;  // the output, over the reduction's variables
  written.dtype = out_.dtype;
  accesses_.emplace_back(written);
}

double TileDraft::us(const TileChoice& c) const {
  auto extent = [&](uint32_t a) { return acc_.axes[a].extent; };
  const int64_t width = r_.tile ? extent(*r_.tile) : 1, channels = extent(r_.vector), panel = c.lanes * c.vectors;
  const double threads = m_.threads;

  // What the tiles are.
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
  const int64_t height = r_.outer.empty() ? 1 : extent(r_.outer.back());
  balanced(height, c.patch, patches);
  tailed(channels, panel, panels);

  // Cycles of a tile.
  const double depth = static_cast<double>(points(acc_.raxes));
  double inner = 1;  // steps of the innermost loop that stays one
  for (const Axis& a : acc_.raxes) inner = std::max(inner, static_cast<double>(a.extent));
  double compute = 0;
  int64_t tiles = 0;
  for (const Part& p : panels) {
    const double v = static_cast<double>(pieces(p.size, c.lanes));
    for (const Part& y : patches) {
      for (const Part& x : rows) {
        const double at = static_cast<double>(x.size * y.size), fmas = at * v;
        const double loads = r_.broadcast ? at + v : fmas + (weights_ ? 0.1 : 0.0) * v;
        const double work = fmas + (r_.broadcast && v > 1 ? at : 0) + v + 3.0 / static_cast<double>(c.unroll);
        double step = std::max({fmas / m_.fma_per_cycle, loads / m_.loads_per_cycle, work / 7});
        if (r_.broadcast) step = std::max(step, m_.fma_latency);
        const double entries = r_.broadcast && !c.window ? depth / inner : 1;
        const double tile = depth * step + 10 * entries + 15 + fmas * (1 / m_.stores_per_cycle + 0.5);
        const int64_t n = p.count * y.count * x.count;
        compute += tile * static_cast<double>(n);
        tiles += n;
      }
    }
  }
  for (size_t i = 0; i + 1 < r_.outer.size(); ++i) compute *= static_cast<double>(extent(r_.outer[i]));

  // Loops from the inside out; one thread's share.
  std::vector<Level> levels;
  const std::vector<std::string> reduces = reduce_order(acc_, c.window);
  for (size_t i = reduces.size(); i-- > 0;) {
    const auto a = std::ranges::find(acc_.raxes, reduces[i], &Axis::name);
    levels.push_back({a->var, a->extent, static_cast<double>(a->extent)});
  }
  std::vector<Level> tile = {{acc_.axes[r_.vector].var, std::min(panel, channels), 1}};
  if (r_.tile) tile.push_back({acc_.axes[*r_.tile].var, std::min(c.rows, width), 1});
  if (!r_.outer.empty()) tile.push_back({acc_.axes[r_.outer.back()].var, std::min(c.patch, height), 1});
  levels.insert(levels.begin(), tile.begin(), tile.end());
  const double panel_count = static_cast<double>(ceil_div(channels, panel));
  double share = 1;  // the largest part of the work that one thread has
  auto shared = [&](double n) { return std::ceil(n / threads) / n; };
  const bool parallel = c.share != kShareNothing && depth * static_cast<double>(points(out_.axes)) > 50'000 && threads > 1;
  const bool inside = c.block == 0 && c.share != kSharePanels;
  Level over_panels{acc_.axes[r_.vector].var, channels, panel_count};
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
  if (c.block) {
    const uint32_t axis = r_.outer.empty() ? *r_.tile : r_.outer[0];
    levels.push_back({acc_.axes[axis].var, extent(axis), static_cast<double>(ceil_div(extent(axis), c.block))});
  }
  if (parallel) {
    Level& outermost = levels.back();
    double n = outermost.trips;
    if (c.share == kShareBoth) n *= panel_count;
    share = shared(n);
    if (c.block && c.share == kShareRows) {  // the last block may be short
      const double all = static_cast<double>(extent(r_.outer.empty() ? *r_.tile : r_.outer[0]));
      share = std::min(1.0, std::ceil(n / threads) * static_cast<double>(c.block) / all);
    }
    const double before = outermost.trips;
    outermost.trips = std::max(1.0, outermost.trips * share);
    outermost.count = std::max<int64_t>(1, std::llround(static_cast<double>(outermost.count) * outermost.trips / before));
  }
  compute *= share;
  const double memory = memory_cycles(accesses_, levels, vars_, m_);
  const double cycles = std::sqrt(compute * compute + memory * memory) + (parallel ? 1000 : 0);
  return cycles / (m_.gigahertz * 1e3);
}

}  // namespace burnish::llvm_target
