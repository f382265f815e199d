// The space of one tiled reduction: which tiles and nests are worth trying, and the one taken without tuning.
#include <algorithm>
#include <cmath>
#include <numeric>

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

}  // namespace

TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m) {
  const Stage& acc = s.group()[r.acc];
  TileChoice best;
  best.lanes = std::gcd<int64_t>(lanes_of(m, acc.dtype), r.grouped);
  const int64_t channels = acc.axes[r.vector].extent;
  const int64_t width = r.tile ? acc.axes[*r.tile].extent : 1;
  const double units = std::ceil(static_cast<double>(channels) / static_cast<double>(best.lanes) * 2) / 2;
  double best_cost = 1e300;
  const int64_t most = r.broadcast ? 6 : r.tile ? 1 : 8;  // sums of a plane wait for nothing but themselves
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
  // Guards in front of a long loop cost nothing; in straight code they cost as much as the rest.
  const bool long_reduce = std::ranges::any_of(acc.raxes, [](const Axis& a) { return a.extent > 16; });
  best.edges = long_reduce || best.rows >= width ? kEdgesGuarded : kEdgeTiles;
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
      with_lanes |= moves_in_vector(i, acc.axes[r.vector].var);
      with_axis |= moves(i, acc.axes[axis].var);
    }
    same &= !(with_lanes && with_axis);
  });
  return same;
}

}  // namespace

std::vector<int64_t> tile_sizes(int64_t extent, std::initializer_list<int64_t> sizes) {
  std::vector<int64_t> out;
  for (int64_t n : sizes) {
    if (n <= extent || out.empty()) out.push_back(ceil_div(extent, ceil_div(extent, std::min(n, extent))));
  }
  return out;
}

namespace {

// What each number of a choice may be, besides what it is without tuning.
struct Values {
  std::vector<int64_t> rows, patch, vectors, lanes, edges, block, share, window, unroll;
};

Values values_of(const Schedule& s, const Roles& r, const TileChoice& first, const Machine& m) {
  const Stage& acc = s.group()[r.acc];
  const Stage& out = s.group()[r.out];
  const int64_t channels = acc.axes[r.vector].extent, width = r.tile ? acc.axes[*r.tile].extent : 1;
  const int64_t lanes = first.lanes;
  const bool long_reduce = std::ranges::any_of(acc.raxes, [](const Axis& a) { return a.extent > 16; });
  const bool scalar = lanes == 1;
  Values v;
  if (first.phased) {
    const int64_t unit = phases_of(acc, acc.axes[*r.tile].var);
    for (int64_t n = unit; n <= 14; n += unit) v.rows.push_back(n);
  } else if (r.tile && r.broadcast) {
    v.rows = tile_sizes(width, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14});
    if (width > 16) std::erase_if(v.rows, [](int64_t n) { return n < 3; });
  } else if (r.tile) {
    v.rows = tile_sizes(width, {1, 2, 3, 4, 5, 6, 8});
  }
  if (!r.outer.empty() && (!r.broadcast || shares_weights(acc, r, r.outer.back()))) {
    const int64_t height = acc.axes[r.outer.back()].extent;
    if (r.broadcast && width <= 14) v.patch = {3, 4, 7};
    if (!r.broadcast || width <= 56) v.patch.push_back(2);
    std::erase_if(v.patch, [&](int64_t n) { return n > height; });
    v.patch.push_back(1);
  }
  // Halves of vectors waste nothing where the last vector of the channels would be half full.
  if (lanes >= 8 && channels % lanes && channels % lanes <= lanes / 2) v.lanes = {lanes / 2, lanes};
  const int64_t narrowest = v.lanes.empty() ? lanes : lanes / 2;
  for (int64_t n = 1; n <= (r.broadcast || scalar ? 6 : 3) && n <= ceil_div(channels, narrowest);
       ++n)
    v.vectors.push_back(n);
  if (r.tile) {
    const auto inner = inner_points(s.group(), acc, *r.tile);
    if (inner && inner->first < inner->second && (inner->first > 0 || inner->second < width)) {
      v.edges = {kEdgesGuarded, kEdgePoints, kEdgeTiles};
    }
  }
  if (channels > lanes && !r.outer.empty()) {
    const int64_t n = acc.axes[r.outer[0]].extent;
    v.block = {1, 2, 4, 8, ceil_div(n, 2 * m.threads), ceil_div(n, m.threads)};
    std::erase_if(v.block, [&](int64_t b) { return b >= n && b != 1; });
    v.block.push_back(0);
  } else if (channels > lanes && r.tile) {
    v.block = {0, 64, 128, 256};
    std::erase_if(v.block, [&](int64_t b) { return b >= width; });
  }
  v.share = {kShareRows};
  if (channels > lanes) v.share.push_back(kSharePanels);
  if (m.threads > 1) {
    if (v.block.size() > 1) v.share.push_back(kShareBoth);
    if (const int64_t work = points(out.axes) * points(acc.raxes); work > 50'000 && work < 1'000'000) {
      v.share.push_back(kShareNothing);
    }
  }
  if (r.broadcast && !scalar && long_reduce) {
    if (acc.raxes.size() > 1) v.window = {0, 1};
    v.unroll = {1, 2, 4};
  }
  return v;
}

// The choice that the draft likes best, in a coarser grid: what only tuning can tell is left as it is.
TileChoice drafted(const TileDraft& draft, const TileChoice& first, const Values& v) {
  TileChoice best = first, c = first;
  double least = std::numeric_limits<double>::infinity();
  const auto or_first = [](std::vector<int64_t> values, int64_t first) {
    if (values.empty()) values.push_back(first);
    return values;
  };
  std::vector<int64_t> edges = {kEdgesGuarded};
  if (!v.edges.empty()) edges.push_back(kEdgeTiles);
  for (int64_t rows : or_first(v.rows, first.rows)) {
    for (int64_t patch : or_first(v.patch, 1)) {
      for (int64_t vectors : or_first(v.vectors, first.vectors)) {
        for (int64_t lanes : or_first(v.lanes, first.lanes)) {
          c.rows = rows;
          c.patch = patch;
          c.vectors = vectors;
          c.lanes = lanes;
          c.block = 0;
          c.share = kShareRows;
          c.unroll = rows * patch <= 2 && !v.unroll.empty() ? 4 : 1;
          if (!draft.in_registers(c)) continue;
          for (int64_t edge : edges) {
            for (int64_t share : v.share) {
              for (int64_t block : or_first(v.block, 0)) {
                c.edges = edge;
                c.share = share;
                c.block = block;
                if (!draft.fits(c)) continue;
                if (const double us = draft.us(c); us < least) {
                  least = us;
                  best = c;
                }
              }
            }
          }
        }
      }
    }
  }
  return best;
}

}  // namespace

TileChoice choose_link(const Schedule& s, const Roles& r, bool last, const Machine& m) {
  const TileDraft draft(s, r, m);
  const TileChoice first = choose_tile(s, r, m);
  if (!r.broadcast || first.phased) return first;
  const Values v = values_of(s, r, first, m);
  TileChoice best = first;
  double least = draft.in_registers(first) ? draft.compute(first) : std::numeric_limits<double>::infinity();
  for (int64_t rows : v.rows) {
    for (int64_t vectors : v.vectors) {
      TileChoice c = first;
      c.rows = rows;
      c.vectors = vectors;
      // Rings lie in blocks of whole vectors.
      if (last && !v.lanes.empty()) c.lanes = v.lanes.front();
      for (; c.lanes <= first.lanes; c.lanes *= 2) {
        if (!draft.in_registers(c) || !draft.fits(c)) continue;
        if (const double cycles = draft.compute(c); cycles < least * 0.98) {
          least = cycles;
          best = c;
        }
      }
    }
  }
  return best;
}

std::unique_ptr<Space> tile_space(const Schedule& inlined, const Roles& r, int64_t lanes,
                                  const Machine& m) {
  auto plain = [=](const TileChoice& c) -> Result<Schedule> {
    Schedule s = inlined;
    schedule_tile(s, r, c, m);
    if (s.failure()) return *s.failure();
    return s;
  };
  auto draft = std::make_shared<const TileDraft>(inlined, r, m);
  const Stage &acc = inlined.group()[r.acc], &out = inlined.group()[r.out];
  TileChoice initial = choose_tile(inlined, r, m);
  if (lanes == 1) {  // no contiguous lanes: scalars
    initial.lanes = 1;
    initial.vectors = 4;
  }
  TileChoice simple = initial;
  if (const int64_t width = out.axes[r.vector].extent;
      lanes == 1 && r.acc != r.out && cost(out.body) >= 16 && width >= 8) {
    initial.parked = true;
    initial.rows = initial.phased ? phases_of(acc, acc.axes[*r.tile].var) : 1;
    initial.vectors = initial.rows == 1 && width >= 16 ? 16 : 8;
  }
  const Values values = values_of(inlined, r, initial, m);
  if (lanes > 1 && r.broadcast) initial = drafted(*draft, initial, values);
  // What is refused falls back to a plainer nest.
  simple.edges = initial.edges;
  bool found = false;
  for (const TileChoice& c : {initial, simple}) {
    auto s = plain(c);
    found = s && lowers(*s);
    if (!found) continue;
    initial = c;
    break;
  }
  if (!found) return nullptr;
  auto build = [=](const TileChoice& c) -> Result<Schedule> {
    if (auto fit = draft->fits(c); !fit && c != initial) return Reason{fit.reason()};
    return plain(c);
  };
  auto estimate = [=](const TileChoice& c) {
    return draft->fits(c) || c == initial ? draft->us(c) : std::numeric_limits<double>::infinity();
  };
  auto space = std::make_unique<Grid<TileChoice>>(initial, build, estimate);
  space->add("rows", [](TileChoice& c) -> int64_t& { return c.rows; }, values.rows);
  space->add("patch", [](TileChoice& c) -> int64_t& { return c.patch; }, values.patch);
  space->add("vectors", [](TileChoice& c) -> int64_t& { return c.vectors; }, values.vectors);
  space->add("lanes", [](TileChoice& c) -> int64_t& { return c.lanes; }, values.lanes);
  space->add("edges", [](TileChoice& c) -> int64_t& { return c.edges; }, values.edges);
  space->add("block", [](TileChoice& c) -> int64_t& { return c.block; }, values.block);
  space->add("share", [](TileChoice& c) -> int64_t& { return c.share; }, values.share);
  space->add("window", [](TileChoice& c) -> int64_t& { return c.window; }, values.window);
  space->add("unroll", [](TileChoice& c) -> int64_t& { return c.unroll; }, values.unroll);
  return space;
}

}  // namespace burnish::llvm_target
