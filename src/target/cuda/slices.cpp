// A tile whose sum is in parts, each another block's: these blocks, neighbours, add up a slice of it each, as a cluster, or the last of them
// all of it. That takes one kernel (c_like/cluster.cpp).
#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

struct Slice {
  size_t axis;     // of the tile, that is cut
  int64_t vector;  // of channels
};

// An axis that tiles cut without a rest; of the channels vectors of 4, or pairs.
std::optional<Slice> slice_of(const Stage& o, const std::vector<TileAxis>& tile, int64_t parts) {
  for (const int64_t w : {4, 2, 1}) {
    if (tile.empty() || tile.back().size % w || o.axes[tile.back().axis].extent % w) continue;
    for (size_t i = 0; i < tile.size(); ++i) {
      const int64_t least = i + 1 == tile.size() ? w : 1;
      if (o.axes[tile[i].axis].extent % tile[i].size == 0 && tile[i].size % (parts * least) == 0)
        return Slice{i, w};
    }
  }
  return std::nullopt;
}

}  // namespace

int64_t points_of(const std::vector<TileAxis>& tile) {
  int64_t all = 1;
  for (const TileAxis& x : tile) all *= x.size;
  return all;
}

bool can_slice(const Stage& o, const std::vector<TileAxis>& tile, int64_t adders) {
  return slice_of(o, tile, adders).has_value();
}

Layout parts_by_tiles(uint32_t part, const std::vector<uint32_t>& outside,
                      const std::vector<TileAxis>& tile) {
  Layout l;
  for (const uint32_t a : outside) l.push_back({a});
  for (const TileAxis& x : tile) l.push_back({x.axis, x.size, 0});
  l.push_back({part});
  for (const TileAxis& x : tile) l.push_back({x.axis, 1, x.size});
  return l;
}

bool by_slices(Schedule& t, const std::string& out, const std::vector<uint32_t>& outside,
               const std::vector<TileAxis>& tile, int64_t adders, int64_t threads) {
  const Stage o = t.group()[*t.group().named(out)];
  const auto found = slice_of(o, tile, adders);
  if (!found) return false;
  const size_t cut = found->axis;
  const int64_t width = in_vectors(o.dtype) ? found->vector : 1;
  const bool vectors = width > 1;
  std::vector<std::string> blocks = names(o.axes, outside), inner;
  std::vector<int64_t> sizes;
  for (const TileAxis& x : tile) {
    auto [block, within] = t.split(out, o.axes[x.axis].name, x.size, Tail::Whole);
    blocks.push_back(block);
    inner.push_back(within);
    sizes.push_back(x.size);
  }
  sizes[cut] /= adders;
  auto [slice, rest] = t.split(out, inner[cut], sizes[cut], Tail::Whole);
  blocks.push_back(slice);
  inner[cut] = rest;
  std::string lanes;
  if (vectors) std::tie(inner.back(), lanes) = t.split(out, inner.back(), width, Tail::Whole);
  sizes.back() /= width;
  // Neighbours to threads, as many as there are.
  std::vector<std::string> serial, bound;
  for (size_t i = inner.size(); i-- > 0;) {
    int64_t own = std::min(threads, sizes[i]);
    while (sizes[i] % own) --own;
    threads /= own;
    if (own == sizes[i]) {
      bound.insert(bound.begin(), inner[i]);
      continue;
    }
    auto [outer, some] = t.split(out, inner[i], own, Tail::Whole);
    serial.insert(serial.begin(), outer);
    bound.insert(bound.begin(), some);
  }
  std::vector<std::string> order = blocks;
  order.insert(order.end(), serial.begin(), serial.end());
  order.insert(order.end(), bound.begin(), bound.end());
  if (vectors) order.push_back(lanes);
  t.reorder(out, order);
  for (const std::string& l : bound) t.bind(out, l);
  if (vectors) t.vectorize(out, lanes);
  t.parallel(out, fused(t, out, blocks));
  return !t.failure();
}

}  // namespace burnish::cuda_target
