// Convolutions and products by multiply-adds: input and weights pass through the block's memory.
#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

struct Tile {
  int64_t rows, columns, channels;       // of a block: points of the second axis from inside, of the innermost but one, vector axis
  int64_t thread_columns, thread_channels;
  int64_t depth;
};

int64_t cut(int64_t extent, int64_t most) {
  int64_t size = 1;
  while (size < extent && size < most) size *= 2;
  return size;
}

// A thread's share of so many points of a block: registers need whole ones.
int64_t part(int64_t extent) { return extent % 4 == 0 ? 4 : extent % 3 == 0 ? 3 : extent % 2 == 0 ? 2 : 1; }

}  // namespace

// A convolution or product: a block has `rows` x `columns` points and `channels` channels, its threads tiles of them; input
// and weights of `depth` channels at a time go through the block's memory.
bool by_tile(Schedule& s, const Roles& r) {
  Schedule t = s;
  std::string out = t.group()[r.out].name;
  const std::string acc = sum_of(t, r);
  const Stage o = t.group()[*t.group().named(out)], a = t.group()[*t.group().named(acc)];
  if (!r.broadcast || !r.tile || a.raxes.empty() || a.op != Combine::Sum) return false;
  // The reduction's channels: the axis that is contiguous in an input.
  std::vector<std::string> inputs;
  visit(a.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load) return;
    const std::string& name = t.group()[e.from()].name;
    if (std::ranges::find(inputs, name) == inputs.end()) inputs.push_back(name);
  });
  if (inputs.size() != 2) return false;
  const Axis& k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  if (k.extent < 8) return false;
  const Axis& vector = o.axes[r.vector];
  const Axis& column = o.axes[*r.tile];
  const bool has_rows = !r.outer.empty();
  Tile c{};
  c.channels = cut(vector.extent, 64);
  c.thread_channels = part(std::min(vector.extent, c.channels));
  c.columns = cut(column.extent, has_rows ? 16 : 64);
  c.rows = has_rows ? cut(o.axes[r.outer.back()].extent, 64 / c.columns) : 1;
  c.thread_columns = part(std::min(column.extent, c.columns));
  for (c.depth = std::min<int64_t>(16, k.extent); k.extent % c.depth; --c.depth) {}
  if (c.depth < 4) c.depth = std::min<int64_t>(16, k.extent);
  const int64_t threads = c.rows * ceil_div(std::min(column.extent, c.columns), c.thread_columns) *
                          ceil_div(std::min(vector.extent, c.channels), c.thread_channels);

  t.pack(acc, o.layout);
  // Weights: the output's channels innermost, those of the reduction outside them.
  for (const std::string& input : inputs) {
    const Stage& x = t.group()[*t.group().named(input)];
    if (x.kind != StageKind::Constant) continue;
    std::optional<uint32_t> in, over;
    visit(a.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || t.group()[e.from()].name != input) return;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (e.indices()[i].a.slope(a.axes[r.vector].var)) in = i;
        if (e.indices()[i].a.slope(k.var)) over = i;
      }
    });
    if (!in || !over || in == over) continue;
    t.pack(input, axes_in_order(x.axes.size(), {}, {*over, *in}));
  }

  // The output.
  std::vector<std::string> blocks = names(o.axes, r.unit);
  std::string row_inner;
  std::vector<std::string> more = names(o.axes, r.outer);
  if (has_rows) std::tie(more.back(), row_inner) = t.split(out, more.back(), c.rows);
  blocks.insert(blocks.end(), more.begin(), more.end());
  auto [co, ci] = t.split(out, column.name, c.columns);
  auto [vo, vi] = t.split(out, vector.name, c.channels);
  auto [ct, cr] = t.split(out, ci, c.thread_columns);
  auto [vt, vr] = t.split(out, vi, c.thread_channels);
  blocks.push_back(co);
  blocks.push_back(vo);
  std::vector<std::string> order = blocks, threads_of;
  if (has_rows) threads_of.push_back(row_inner);
  threads_of.push_back(ct);
  threads_of.push_back(vt);
  order.insert(order.end(), threads_of.begin(), threads_of.end());
  order.push_back(cr);
  order.push_back(vr);
  t.reorder(out, order);
  const std::string block = fused(t, out, blocks);
  t.parallel(out, block);
  for (const std::string& l : threads_of) t.bind(out, l);
  t.unroll(out, cr);
  if (vector.extent % c.thread_channels == 0 && c.thread_channels > 1)
    t.vectorize(out, vr);
  else
    t.unroll(out, vr);

  // The sums.
  t.compute_at(acc, out, block);
  t.set_scope(acc, Scope::Register);
  t.guard_halo(acc);
  const auto axis = [&](uint32_t i) { return a.axes[i].name; };
  auto [at, ar] = t.split(acc, axis(*r.tile), c.thread_columns);
  auto [nt, nr] = t.split(acc, axis(r.vector), c.thread_channels);
  auto [ko, ki] = t.split(acc, k.name, c.depth, Tail::Tail);
  std::vector<std::string> nest = {ko}, bound;
  for (uint32_t i : r.unit) nest.push_back(axis(i));
  for (size_t i = 0; i + 1 < r.outer.size(); ++i) nest.push_back(axis(r.outer[i]));
  if (has_rows) bound.push_back(axis(r.outer.back()));
  bound.push_back(at);
  bound.push_back(nt);
  nest.insert(nest.end(), bound.begin(), bound.end());
  for (const Axis& x : a.raxes)
    if (x.name != k.name) nest.push_back(x.name);
  nest.insert(nest.end(), {ki, ar, nr});
  t.reorder(acc, nest);
  for (const std::string& l : bound) t.bind(acc, l);
  t.unroll(acc, ar);
  t.unroll(acc, nr);
  t.unroll(acc, ki);

  // What both read: all threads fill the block's memory.
  for (const std::string& input : inputs) {
    const std::string cached = t.cache_read(input);
    if (t.failure()) return false;
    t.compute_at(cached, acc, ko);
    t.guard_halo(cached);
    const Stage x = t.group()[*t.group().named(cached)];
    std::vector<std::string> loops = names(x.axes, physical_order(x));
    // The innermost loops to threads, as many as there are.
    if (loops.empty()) return false;
    const std::string last = loops.back();
    loops.pop_back();
    std::vector<std::string> all = loops, bound_here;
    int64_t left = threads;
    auto [lo, li] = t.split(cached, last, std::min<int64_t>(left, cut(x.axes[physical_order(x).back()].extent, 16)));
    left /= std::min<int64_t>(left, cut(x.axes[physical_order(x).back()].extent, 16));
    bound_here.push_back(li);
    if (!loops.empty() && left > 1) {
      auto [po, pi] = t.split(cached, loops.back(), left);
      all.back() = po;
      bound_here.insert(bound_here.begin(), pi);
    }
    all.push_back(lo);
    all.insert(all.end(), bound_here.begin(), bound_here.end());
    t.reorder(cached, all);
    for (const std::string& l : bound_here) t.bind(cached, l);
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
