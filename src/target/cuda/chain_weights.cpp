// Weights of a chain in the block's memory: every block asks for all of them at once, while it waits for its input, instead of
// piece by piece where instructions want them. Not those of the expansion, which warps hold in registers over all their rows.
#include <algorithm>

#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// A loop of a stage, and how often it runs.
struct Part {
  std::string loop;
  int64_t extent;
};

// Splits the stage's loops into those of its layout, in that order but for those of one axis, of which the coarser ones come first.
// Empty where they are no splits of its axes.
std::vector<Part> loops_in_memory(Schedule& t, const std::string& stage) {
  const Stage self = t.group()[*t.group().named(stage)];
  const std::vector<PhysicalDim> dims = physical(self.layout, self.shape());
  std::vector<Part> parts(dims.size());
  for (uint32_t a = 0; a < self.axes.size(); ++a) {
    std::vector<size_t> places, coarsest_first;  // of the axis
    for (size_t i = 0; i < dims.size(); ++i)
      if (dims[i].dim.axis == a) places.push_back(i);
    coarsest_first = places;
    std::ranges::sort(coarsest_first, std::ranges::greater(), [&](size_t i) { return dims[i].dim.div; });
    std::string rest = self.axes[a].name;
    int64_t above = 0;
    for (size_t i = 0; i < places.size(); ++i) {
      const auto& [dim, extent, stride] = dims[coarsest_first[i]];
      if (dim.pad || dim.mod * dim.div != above || (i + 1 == places.size()) != (dim.div == 1)) return {};
      above = dim.div;
      Part& part = parts[places[i]] = {rest, extent};
      if (dim.div > 1) std::tie(part.loop, rest) = t.split(stage, rest, dim.div);
    }
  }
  return parts;
}

// Its elements to the block's threads, about in their order in memory, in vectors where these are whole.
bool fill_in_order(Schedule& t, const std::string& stage, int64_t threads) {
  std::vector<Part> parts = loops_in_memory(t, stage);
  if (parts.empty() || t.failure()) return false;
  const int64_t width = vector_of(t.group()[*t.group().named(stage)].dtype);
  std::string vector;
  if (Part& last = parts.back(); last.extent % width == 0) {
    const int64_t vectors = last.extent / width;
    if (vectors > threads) {
      auto [more, rest] = t.split(stage, last.loop, threads * width);
      parts.insert(parts.end() - 1, {more, ceil_div(vectors, threads)});
      parts.back() = {rest, threads * width};
    }
    std::tie(parts.back().loop, vector) = t.split(stage, parts.back().loop, width, Tail::Whole);
    parts.back().extent /= width;
  }
  constexpr int64_t most_unrolled = 16;
  int64_t unrolled = 1;
  std::vector<std::string> order, bound, constant;
  for (size_t i = parts.size(); i-- > 0;) {
    const bool fits = parts[i].extent <= threads;
    if (fits) {
      bound.insert(bound.begin(), parts[i].loop);
    } else {
      order.insert(order.begin(), parts[i].loop);
      unrolled *= parts[i].extent;
      if (unrolled <= most_unrolled) constant.push_back(parts[i].loop);
    }
    threads = fits ? threads / parts[i].extent : 0;
  }
  order.insert(order.end(), bound.begin(), bound.end());
  if (!vector.empty()) order.push_back(vector);
  t.reorder(stage, order);
  for (const std::string& l : bound) t.bind(stage, l);
  for (const std::string& l : constant) t.unroll(stage, l);
  if (!vector.empty()) t.vectorize(stage, vector);
  return !t.failure();
}

}  // namespace

bool weights_in_block(Schedule& t, const std::string& sum, const std::string& reader, const std::string& at, const std::string& left_out,
                      int64_t threads) {
  std::vector<std::string> weights;
  for (const StageId p : producers(t.group(), *t.group().named(sum)))
    if (const Stage& s = t.group()[p]; s.kind == StageKind::Constant && s.name != left_out) weights.push_back(s.name);
  for (const std::string& w : weights) {
    const Stage& self = t.group()[*t.group().named(w)];
    const Layout layout = self.layout.empty() ? axes_in_order(self.axes.size(), {}, {}) : self.layout;
    const std::string copy = t.cache_read(w);
    if (t.failure()) return false;
    t.compute_at(copy, reader, at);
    t.pack(copy, layout);
    if (!fill_in_order(t, copy, threads)) return false;
  }
  return true;
}

}  // namespace burnish::cuda_target
