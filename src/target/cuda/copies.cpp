// Copies in the block's memory by all of its threads.
#include <algorithm>
#include <utility>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

// A dimension of a stage in memory, in vectors where it has them; threads have so many of it at
// once.
struct Part {
  LayoutDim dim;
  int64_t unit, extent, at_once = 1;
  bool bind = false;
  std::string serial = {}, bound = {};  // its loops
};

// In the order of memory but for those of one axis, of which the coarser ones come first.
std::vector<Part> parts_of(const Stage& s, const std::vector<int64_t>& region) {
  std::vector<PhysicalDim> dims = physical(s.layout, region);
  std::vector<Part> parts;
  for (const PhysicalDim& d : dims) parts.push_back({d.dim, d.dim.div, d.extent - d.dim.pad});
  for (uint32_t a = 0; a < region.size(); ++a) {
    std::vector<size_t> places;
    std::vector<Part> own;
    for (size_t i = 0; i < parts.size(); ++i)
      if (parts[i].dim.axis == a) places.push_back(i), own.push_back(parts[i]);
    std::ranges::stable_sort(own, std::ranges::greater(), [](const Part& p) { return p.dim.div; });
    for (size_t i = 0; i < places.size(); ++i) parts[places[i]] = own[i];
  }
  Part& last = parts.back();
  if (const int64_t width = vector_of(s.dtype); last.dim.div == 1 && last.extent % width == 0) {
    last.unit = width;
    last.extent /= width;
  }
  return parts;
}

// Of a loop of `extent` iterations, those that so many threads take at once: all, or a part that
// comes out even where that is not few.
int64_t part_of(int64_t extent, int64_t threads, bool may_be_guarded) {
  const int64_t most = std::min(extent, threads);
  int64_t even = most;
  while (extent % even) --even;
  return may_be_guarded && 4 * even <= most ? most : even;
}

}  // namespace

int64_t piece_padding(int64_t size, DType t) {
  const int64_t piece = vector_of(t);
  // An odd number of pieces. Rows of two meet in pairs.
  return size % (2 * piece) || size == 2 * piece ? 0 : piece;
}

void copy_by_threads(Schedule& t, const std::string& stage, const std::vector<uint32_t>& order,
                     const std::vector<int64_t>& region, int64_t threads) {
  const Stage self = t.group()[*t.group().named(stage)];
  const int64_t width = vector_of(self.dtype);
  // Copies of a thread: their places differ by constants, for which instructions have room.
  constexpr int64_t most_unrolled = 32;
  int64_t unrolled = 1;
  std::vector<std::string> serial, bound, constant;
  std::string vector;
  for (size_t i = order.size(); i-- > 0;) {
    const bool innermost = i + 1 == order.size();
    const int64_t unit = innermost ? width : 1, points = ceil_div(region[order[i]], unit);
    const int64_t times = ceil_div(points, std::min(threads, points)), own = ceil_div(points, times);
    threads /= own;
    // Of a thread's turns so many as constants: split from the outside in.
    const int64_t part = ceil_div(times, std::min(times, ceil_div(times * unrolled, most_unrolled)));
    unrolled *= part;
    std::string rest = self.axes[order[i]].name, outer;
    if (part > 1 && part < times) {
      std::tie(outer, rest) = t.split(stage, rest, part * own * unit);
      serial.insert(serial.begin(), outer);
    }
    std::string turn = rest;
    if (own > 1 || innermost) {
      std::tie(turn, rest) = t.split(stage, rest, own * unit);
      if (innermost) std::tie(rest, vector) = t.split(stage, rest, width);
      bound.insert(bound.begin(), rest);
    }
    auto& turns = part == 1 && times > 1 ? serial : constant;
    turns.insert(turns.begin(), turn);
  }
  std::vector<std::string> loops = serial;
  loops.insert(loops.end(), constant.begin(), constant.end());
  loops.insert(loops.end(), bound.begin(), bound.end());
  loops.push_back(vector);
  t.reorder(stage, loops);
  for (const std::string& l : bound) t.bind(stage, l);
  for (const std::string& l : constant) t.unroll(stage, l);
  t.vectorize(stage, vector);
}

bool copy_in_order(Schedule& t, const std::string& stage, const std::vector<int64_t>& region,
                   int64_t threads) {
  const Stage self = t.group()[*t.group().named(stage)];
  std::vector<Part> parts = parts_of(self, region);
  // From the innermost on; of an axis nothing outside of a part that is not taken whole.
  std::vector<bool> partly(self.axes.size());
  for (size_t i = parts.size(); i-- > 0; threads /= parts[i].at_once) {
    Part& part = parts[i];
    if (partly[part.dim.axis]) continue;
    part.at_once = part_of(part.extent, threads, part.dim.mod == 0);
    partly[part.dim.axis] = part.at_once < part.extent;
    part.bind = part.at_once > 1 || !partly[part.dim.axis];
  }
  std::string vector;
  std::vector<std::string> rest;
  for (const Axis& a : self.axes) rest.push_back(a.name);
  std::vector<int64_t> above(self.axes.size());
  for (Part& part : parts) {
    const LayoutDim& dim = part.dim;
    if (dim.mod * dim.div != std::exchange(above[dim.axis], dim.div)) return false;
    std::string& inner = rest[dim.axis];
    const bool of_vectors = part.unit > dim.div;
    const auto split_off = [&](int64_t factor) {
      std::string outer;
      std::tie(outer, inner) = t.split(
          stage, inner, factor, of_vectors && factor == part.unit ? Tail::Whole : Tail::Guard);
      return outer;
    };
    const auto loop = [&](int64_t factor) { return factor > 1 ? split_off(factor) : inner; };
    if (part.at_once < part.extent || !part.bind) part.serial = loop(part.at_once * part.unit);
    if (part.bind) part.bound = loop(part.unit);
    if (of_vectors) vector = inner;
  }
  if (std::ranges::any_of(above, [](int64_t div) { return div != 1; })) return false;
  constexpr int64_t most_unrolled = 32;
  int64_t unrolled = 1;
  std::vector<std::string> order, bound, constant;
  for (size_t i = parts.size(); i-- > 0;) {
    const Part& part = parts[i];
    if (!part.bound.empty()) bound.insert(bound.begin(), part.bound);
    if (part.serial.empty()) continue;
    order.insert(order.begin(), part.serial);
    unrolled *= ceil_div(part.extent, part.at_once);
    if (unrolled <= most_unrolled) constant.push_back(part.serial);
  }
  order.insert(order.end(), bound.begin(), bound.end());
  if (!vector.empty()) order.push_back(vector);
  t.reorder(stage, order);
  for (const std::string& l : bound) t.bind(stage, l);
  for (const std::string& l : constant) t.unroll(stage, l);
  if (!vector.empty()) t.vectorize(stage, vector);
  return !t.failure();
}

}  // namespace burnish::cuda_target
