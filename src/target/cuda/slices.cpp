// A tile whose sum is in parts, each another block's: these blocks, neighbours, add up a slice of it each. Where GPUs have clusters
// that takes one kernel (c_like/cluster.cpp), the parts going through the second-level cache.
#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

Layout parts_by_tiles(uint32_t part, const std::vector<uint32_t>& outside, const std::vector<TileAxis>& tile) {
  Layout l;
  for (const uint32_t a : outside) l.push_back({a});
  for (const TileAxis& x : tile) l.push_back({x.axis, x.size, 0});
  l.push_back({part});
  for (const TileAxis& x : tile) l.push_back({x.axis, 1, x.size});
  return l;
}

bool by_slices(Schedule& t, const std::string& out, const std::vector<uint32_t>& outside, const std::vector<TileAxis>& tile, int64_t parts,
               int64_t threads) {
  const Stage o = t.group()[*t.group().named(out)];
  // A slice of an axis that tiles cut without a rest; of the channels vectors of 4, or pairs.
  int64_t width = 0;
  size_t cut = tile.size();
  for (const int64_t w : {4, 2, 1}) {
    for (size_t i = 0; i < tile.size() && cut == tile.size(); ++i) {
      const int64_t size = tile[i].size, least = i + 1 == tile.size() ? w : 1;
      if (tile.back().size % w == 0 && o.axes[tile.back().axis].extent % w == 0 && o.axes[tile[i].axis].extent % size == 0 &&
          size % (parts * least) == 0)
        cut = i, width = w;
    }
  }
  if (cut == tile.size()) return false;
  if (!in_vectors(o.dtype)) width = 1;
  const bool vectors = width > 1;
  std::vector<std::string> blocks = names(o.axes, outside), inner;
  std::vector<int64_t> sizes;
  for (const TileAxis& x : tile) {
    auto [block, within] = t.split(out, o.axes[x.axis].name, x.size, Tail::Whole);
    blocks.push_back(block);
    inner.push_back(within);
    sizes.push_back(x.size);
  }
  sizes[cut] /= parts;
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
