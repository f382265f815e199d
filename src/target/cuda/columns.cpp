// Sums of columns: reductions over other axes than the contiguous one (global pools, sums over the rows of a matrix) with
// too few results to keep the GPU busy. Neighbouring threads have neighbouring vectors of columns; slices of the reduction
// are those of different threads, and meet in the block's memory.
//
//   block: columns.o
//     rf:     thread slice, columns:  registers along the slice; stored to the block's memory
//     rf2:    thread slices.o, columns:  of eight slices each, where there are many
//     output: thread columns:  registers: sums over slices; stored
#include <algorithm>

#include "loop/thread_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 256;      // of a block, at most
constexpr int64_t kBusy = 64;          // threads of a multiprocessor that hide latencies without slices
constexpr int64_t kShortest = 16;      // terms of a sum that is worth slices
constexpr int64_t kTogether = 8;       // slices that one thread sums
constexpr int64_t kMostUnrolled = 16;  // loads under way

// A part of the sum by slices in the block's memory, each summed in registers along `serial`, the innermost last.
void lay_out_part(Schedule& t, const ColumnSum& c, const std::string& part, std::vector<std::string> serial) {
  const std::string acc = t.cache_write(part);
  if (t.failure()) return;
  for (const std::string& name : {part, acc}) t.guard_halo(name);
  t.compute_at(part, c.owner, c.block);
  const Stage p = t.group()[*t.group().named(part)];
  const auto slices = static_cast<uint32_t>(p.axes.size() - 1);
  for (const std::string& name : {part, acc}) t.pack(name, axes_in_order(p.axes.size(), {slices}, {c.axis}));
  std::vector<std::string> others;
  for (uint32_t a = 0; a < slices; ++a)
    if (a != c.axis) others.push_back(p.axes[a].name);
  auto [columns, vector] = t.split(part, p.axes[c.axis].name, c.vector, Tail::Whole);
  std::vector<std::string> order = others;
  order.insert(order.end(), {p.axes[slices].name, columns, vector});
  t.reorder(part, order);
  t.bind(part, p.axes[slices].name);
  t.bind(part, columns);
  t.vectorize(part, vector);

  t.compute_at(acc, part, columns);
  t.set_scope(acc, Scope::Register);
  const Stage a = t.group()[*t.group().named(acc)];
  const auto extent = [&](const std::string& loop) {
    return std::ranges::find(a.raxes, loop, &Axis::name)->extent;
  };
  if (extent(serial.back()) > kMostUnrolled) {
    auto [o, i] = t.split(acc, serial.back(), kMostUnrolled / 2, Tail::Tail);
    serial.back() = o;
    serial.push_back(i);
  } else if (const int64_t together = kMostUnrolled / extent(serial.back()); serial.size() > 1 && together > 1 && extent(serial[serial.size() - 2]) > 1) {
    std::string& before = serial[serial.size() - 2];
    auto [o, i] = t.split(acc, before, std::min(together, extent(before)), Tail::Tail);
    before = i;
    serial.insert(serial.end() - 2, o);
    t.unroll(acc, i);
  }
  std::vector<std::string> inner = serial;
  for (uint32_t x = 0; x < a.axes.size(); ++x)
    if (x != c.axis) inner.push_back(a.axes[x].name);
  inner.push_back(a.axes[c.axis].name);
  t.reorder(acc, inner);
  t.unroll(acc, serial.back());
  for (uint32_t x = 0; x < a.axes.size(); ++x)
    if (x != c.axis) t.unroll(acc, a.axes[x].name);
  t.vectorize(acc, a.axes[c.axis].name);
}

}  // namespace

void sum_over_slices(Schedule& t, const ColumnSum& c) {
  const Stage a = t.group()[*t.group().named(c.acc)];
  const Axis k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  const std::string part = t.rfactor(c.acc, k.name, c.slices, true, 1, true);
  std::string left = k.name + "i";
  std::vector<std::string> serial = {k.name + "o"};
  for (const Axis& x : a.raxes)
    if (x.name != k.name) serial.push_back(x.name);
  std::string more;
  if (c.slices > 2 * kTogether) {
    more = t.rfactor(c.acc, left, kTogether);
    if (t.failure()) return;
  }
  lay_out_part(t, c, part, serial);
  if (!more.empty()) {
    lay_out_part(t, c, more, {left + "i"});
    left += "o";
  }
  t.compute_at(c.acc, c.out, c.column);
  t.set_scope(c.acc, Scope::Register);
  t.guard_halo(c.acc);
  std::vector<std::string> sum = {left};
  for (uint32_t x = 0; x < a.axes.size(); ++x)
    if (x != c.axis) sum.push_back(a.axes[x].name);
  for (const std::string& l : sum) t.unroll(c.acc, l);
  sum.push_back(a.axes[c.axis].name);
  t.reorder(c.acc, sum);
  t.vectorize(c.acc, sum.back());
}

bool by_columns(Schedule& s, const Roles& r, int64_t vector, const Device& d) {
  Schedule t = s;
  const std::string out = t.group()[r.out].name;
  const std::string acc = sum_of(t, r);
  if (t.failure()) return false;
  const Stage o = t.group()[*t.group().named(out)], a = t.group()[*t.group().named(acc)];
  const int64_t columns = o.axes[r.vector].extent, vectors = points(o.axes) / vector;
  if (r.broadcast || a.raxes.empty() || columns % vector || vectors > kBusy * d.multiprocessors || points(a.raxes) < kShortest) return false;
  const Axis k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  int64_t share = 8;  // vectors of a block, whose threads fill a warp
  const auto slices_of = [&](int64_t n) { return std::min(k.extent, kThreads / n); };
  while (share > 2 && vectors / share < d.multiprocessors && share / 2 * slices_of(share / 2) >= kWarp) share /= 2;
  const int64_t slices = slices_of(share);
  if (slices < 2) return false;

  auto [block, own] = t.split(out, o.axes[r.vector].name, share * vector, Tail::Whole);
  std::vector<std::string> outside = names(o.axes, r.unit);
  for (const std::string& l : names(o.axes, r.outer)) outside.push_back(l);
  if (r.tile) outside.push_back(o.axes[*r.tile].name);
  outside.push_back(block);
  auto [column, lanes] = t.split(out, own, vector, Tail::Whole);
  std::vector<std::string> order = outside;
  order.insert(order.end(), {column, lanes});
  t.reorder(out, order);
  const std::string blocks = fused(t, out, outside);
  t.parallel(out, blocks);
  t.bind(out, column);
  t.vectorize(out, lanes);

  sum_over_slices(t, {.out = out, .acc = acc, .column = column, .owner = out, .block = blocks, .axis = r.vector, .vector = vector, .slices = slices});
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
