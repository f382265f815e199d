// The space of one tiled reduction: which tiles and nests are worth trying, and the one taken without tuning.
#include <algorithm>
#include <cmath>

#include "target/llvm/draft.h"
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

namespace {

// The register file holds the tile, one row of weights and a broadcast.
int64_t rows_that_fit(int64_t vectors, const Machine& m) {
  if (vectors == 1) return m.vector_registers >= 32 ? 14 : 8;
  return std::max<int64_t>(1, (m.vector_registers - vectors - 1) / vectors);
}

bool worth_sharing(const Stage& out, const Stage& acc, const Machine& m) {
  return points(out.axes) * points(acc.raxes) > 50'000 && m.threads > 1;
}

}  // namespace

TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m) {
  const StageGroup& g = s.group();
  const Stage& acc = g[r.acc];
  TileChoice best;
  best.lanes = lanes_of(m, acc.dtype);
  const int64_t channels = acc.axes[r.vector].extent;
  const int64_t width = r.tile ? acc.axes[*r.tile].extent : 1;
  const double units = std::ceil(static_cast<double>(channels) / static_cast<double>(best.lanes) * 2) / 2;
  double best_cost = 1e300;
  const int64_t most = r.broadcast ? 6 : 1;
  for (int64_t nv = 1; nv <= most && nv <= std::ceil(units); ++nv) {
    const int64_t fit = r.broadcast ? rows_that_fit(nv, m) : std::min<int64_t>(8, m.vector_registers / 3);
    const int64_t tiles = ceil_div(width, fit), rows = ceil_div(width, tiles);
    const int64_t panels = ceil_div(static_cast<int64_t>(std::ceil(units)), nv);
    // Cycles of one step of k over the whole row: FMAs, latency of short tiles, loads of weights.
    double cycles = 0;
    for (int64_t p = 0; p < panels; ++p) {
      const double v = std::min<double>(static_cast<double>(nv), units - static_cast<double>(p * nv));
      const double fma = static_cast<double>(rows) * v;
      // As many loads as FMAs start in a cycle: a broadcast a row and a vector of weights; short tiles wait for FMAs.
      const double loads = static_cast<double>(rows) + v;
      cycles += static_cast<double>(tiles) * (std::max({fma, 8.0, loads}) + 0.05 * v);
    }
    if (cycles < best_cost - 1e-9) {
      best_cost = cycles;
      best.rows = rows;
      best.vectors = nv;
    }
  }
  if (!r.tile) best.rows = 1;
  if (const int64_t unit = r.tile ? phases_of(acc, acc.axes[*r.tile].var) : 1; unit > 1 && unit <= 8) {
    best.rows = std::max(unit, best.rows / unit * unit);
    best.phased = true;
  }
  // Weights larger than the second-level cache are walked through panel by panel.
  const int64_t weights = points(acc.raxes) * channels * size_of(acc.dtype);
  int64_t rows_outside = 1;
  for (uint32_t a : r.outer) rows_outside *= acc.axes[a].extent;
  const int64_t panels = ceil_div(channels, best.lanes * best.vectors);
  if (!r.broadcast) return best;
  const bool large = weights > m.l2_bytes / 2;
  if (m.threads > 1 && panels % m.threads == 0 && (large || rows_outside < 8 * m.threads) && panels >= m.threads) {
    best.share = kSharePanels;
  } else if (large && rows_outside >= 2 * m.threads && worth_sharing(g[r.out], acc, m)) {
    // Rows outermost would read all weights once a row: strips of rows, each of which passes over the panels once.
    best.block = ceil_div(acc.axes[r.outer[0]].extent, m.threads);
  } else if (large) {
    best.share = kSharePanels;
  }
  return best;
}

namespace {

// May points of the axis be in one tile: does what moves with the lanes stay?
bool shares_weights(const Stage& acc, const Roles& r, uint32_t axis) {
  bool same = true;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    bool with_lanes = false, with_axis = false;
    for (const Index& i : x.indices()) {
      with_lanes |= moves(i, acc.axes[r.vector].var);
      with_axis |= moves(i, acc.axes[axis].var);
    }
    same &= !(with_lanes && with_axis);
  });
  return same;
}

// Sizes of at most `most` that cut `extent` into different numbers of equal tiles.
std::vector<int64_t> tile_sizes(int64_t extent, std::initializer_list<int64_t> sizes) {
  std::vector<int64_t> out;
  for (int64_t n : sizes) {
    if (n <= extent || out.empty()) out.push_back(ceil_div(extent, ceil_div(extent, std::min(n, extent))));
  }
  return out;
}

}  // namespace

Result<> fits(const Schedule& s, const Roles& r, const TileChoice& c, const Machine& m) {
  const Stage& acc = s.group()[r.acc];
  const int64_t sums = c.rows * c.patch * c.vectors;
  const int64_t others = r.broadcast ? c.vectors + (c.vectors > 1 ? 1 : 0) : 4;
  if (c.lanes > 1 && sums + others > m.vector_registers) {
    return refuse("a tile of {} x {} points and {} vectors needs {} registers, there are {}", c.patch, c.rows, c.vectors,
                  sums + others, m.vector_registers);
  }
  int64_t steps = c.unroll;
  const std::vector<std::string> reduces = reduce_order(acc, c.window);
  for (const Axis& a : acc.raxes) {
    if (a.extent <= 7 && (!r.broadcast || (acc.raxes.size() > 1 && a.name != reduces.front()))) steps *= a.extent;
  }
  if (sums * steps > 1600) {
    return refuse("{} multiply-adds in straight code: tiles of {} and {} steps of the reduction", sums * steps, sums, steps);
  }
  const int64_t channels = acc.axes[r.vector].extent, panels = ceil_div(channels, c.lanes * c.vectors);
  if (c.vectors > 1 && c.lanes * (c.vectors - 1) >= channels) return refuse("{} channels have no {} vectors", channels, c.vectors);
  const int64_t width = r.tile ? acc.axes[*r.tile].extent : 1;
  if (!c.phased && c.rows > 1 && ceil_div(width, ceil_div(width, c.rows)) != c.rows) {
    return refuse("{} points are tiles of {}", width, ceil_div(width, ceil_div(width, c.rows)));
  }
  if (c.edges == kEdgeTiles && c.rows >= width) return refuse("one tile has no edges of its own");
  if (c.window && c.unroll > 1) return refuse("the window is the innermost loop and unrolled already");
  const int64_t rows = !r.outer.empty() ? acc.axes[r.outer[0]].extent : width;
  if (c.block > 0) {
    if (panels == 1) return refuse("blocks of rows for one panel of weights");
    if (c.share == kSharePanels) return refuse("blocks of rows inside panels change nothing");
    if (r.outer.empty() && c.block < 2 * c.rows) return refuse("a block of {} points has no two tiles of {}", c.block, c.rows);
    if (c.patch > 1 && r.outer.size() == 1 && (c.block % c.patch || rows % c.block)) {
      return refuse("blocks of {} of {} rows do not hold patches of {}", c.block, rows, c.patch);
    }
    const int64_t blocks = ceil_div(rows, c.block);
    if (c.share == kShareRows && blocks < m.threads && worth_sharing(acc, acc, m)) {
      return refuse("{} blocks for {} threads", blocks, m.threads);
    }
    if (c.share == kShareBoth && blocks < 2) return refuse("one block: share the panels");
    if (c.share == kShareNothing && blocks < 2) return refuse("one block: leave the rows whole");
  }
  if (c.share == kShareBoth) {
    if (c.block == 0) return refuse("panels are shared with blocks of rows");
    if (channels % (c.lanes * c.vectors)) return refuse("{} channels are no whole panels of {}", channels, c.lanes * c.vectors);
  }
  if (c.share == kSharePanels && panels < 2) return refuse("one panel for {} threads", m.threads);
  return Done{};
}

std::unique_ptr<Space> tile_space(const Schedule& inlined, const Roles& r, int64_t lanes, const Machine& m) {
  const Stage& acc = inlined.group()[r.acc];
  const Stage& out = inlined.group()[r.out];
  auto plain = [=](const TileChoice& c) -> Result<Schedule> {
    Schedule s = inlined;
    schedule_tile(s, r, c, m);
    if (s.failure()) return *s.failure();
    return s;
  };
  TileChoice initial = choose_tile(inlined, r, m);
  if (lanes == 1) {  // no contiguous lanes: scalars
    initial.lanes = 1;
    initial.vectors = 4;
    initial.block = 0;
    initial.share = kShareRows;
  }
  for (;;) {
    auto s = plain(initial);
    if (s && lowers(*s)) break;
    if (initial.block == 0 && initial.share == kShareRows) return nullptr;
    initial.block = 0;
    initial.share = kShareRows;
  }
  auto build = [=](const TileChoice& c) -> Result<Schedule> {
    if (auto fit = fits(inlined, r, c, m); !fit && c != initial) return Reason{fit.reason()};
    return plain(c);
  };
  auto draft = [=, d = TileDraft(inlined, r, m)](const TileChoice& c) {
    return fits(inlined, r, c, m) || c == initial ? d.us(c) : std::numeric_limits<double>::infinity();
  };
  auto space = std::make_unique<Grid<TileChoice>>(initial, build, draft);
  const int64_t channels = acc.axes[r.vector].extent, width = r.tile ? acc.axes[*r.tile].extent : 1;
  const bool long_reduce = std::ranges::any_of(acc.raxes, [](const Axis& a) { return a.extent > 16; });
  const bool scalar = lanes == 1;

  std::vector<int64_t> rows;
  if (initial.phased) {
    const int64_t unit = phases_of(acc, acc.axes[*r.tile].var);
    for (int64_t n = unit; n <= 14; n += unit) rows.push_back(n);
  } else if (r.tile && r.broadcast) {
    rows = tile_sizes(width, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14});
    if (width >= 8) std::erase_if(rows, [](int64_t n) { return n < 3; });
  } else if (r.tile) {
    rows = tile_sizes(width, {1, 2, 3, 4, 5, 6, 8});
  }
  space->add("rows", [](TileChoice& c) -> int64_t& { return c.rows; }, rows);
  std::vector<int64_t> patches;
  if (!r.outer.empty() && (!r.broadcast || shares_weights(acc, r, r.outer.back()))) {
    const int64_t height = acc.axes[r.outer.back()].extent;
    if (r.broadcast && width <= 14) patches = {2, 3, 4, 7};
    if (!r.broadcast || width <= 56) patches.push_back(2);
    std::erase_if(patches, [&](int64_t n) { return n > height; });
  }
  space->add("patch", [](TileChoice& c) -> int64_t& { return c.patch; }, patches);
  std::vector<int64_t> vectors;
  for (int64_t n = 1; n <= (r.broadcast || scalar ? 6 : 3) && n <= ceil_div(channels, lanes); ++n) vectors.push_back(n);
  space->add("vectors", [](TileChoice& c) -> int64_t& { return c.vectors; }, vectors);
  std::vector<int64_t> lane_counts;
  if (lanes >= 8 && channels % lanes && channels % lanes <= lanes / 2) lane_counts.push_back(lanes / 2);
  space->add("lanes", [](TileChoice& c) -> int64_t& { return c.lanes; }, lane_counts);
  if (r.tile) {
    const auto inner = inner_points(inlined.group(), acc, *r.tile);
    if (inner && inner->first < inner->second && (inner->first > 0 || inner->second < width)) {
      space->add("edges", [](TileChoice& c) -> int64_t& { return c.edges; }, {kEdgesGuarded, kEdgePoints, kEdgeTiles});
    }
  }
  std::vector<int64_t> blocks;
  if (channels > lanes) {
    const int64_t n = !r.outer.empty() ? acc.axes[r.outer[0]].extent : width;
    if (r.outer.empty()) {
      for (int64_t b : {64, 128, 256}) blocks.push_back(b);
    } else {
      for (int64_t b : {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{8}, ceil_div(n, 2 * m.threads), ceil_div(n, m.threads)}) {
        blocks.push_back(b);
      }
    }
    std::erase_if(blocks, [&](int64_t b) { return b >= n && b != 1; });
    if (n > 1 || r.tile) blocks.push_back(0);
  }
  space->add("block", [](TileChoice& c) -> int64_t& { return c.block; }, blocks);
  std::vector<int64_t> shares = {kShareRows};
  if (channels > lanes) shares.push_back(kSharePanels);
  if (m.threads > 1) {
    if (channels > lanes && !blocks.empty()) shares.push_back(kShareBoth);
    const int64_t work = points(out.axes) * points(acc.raxes);
    if (work > 50'000 && work < 1'000'000) shares.push_back(kShareNothing);
  }
  space->add("share", [](TileChoice& c) -> int64_t& { return c.share; }, shares);
  if (r.broadcast && !scalar) {
    const bool window = acc.raxes.size() > 1 && long_reduce;
    if (window) space->add("window", [](TileChoice& c) -> int64_t& { return c.window; }, {0, 1});
    if (long_reduce) space->add("unroll", [](TileChoice& c) -> int64_t& { return c.unroll; }, {1, 2, 4});
  }
  return space;
}

}  // namespace burnish::llvm_target
