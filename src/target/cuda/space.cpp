// From a group's stages to blocks and threads: what is cheap is inlined; a product of matrices, or a convolution, becomes
// tiles in registers fed from the block's memory; any other stage gives each point, or a vector of them, to a thread.
#include "target/cuda/space.h"

#include <algorithm>

#include "schedule/nest.h"
#include "target/roles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 128;  // of a block whose threads are all alike

std::string fused(Schedule& s, const std::string& stage, const std::vector<std::string>& loops) {
  std::string all = loops.front();
  for (size_t i = 1; i < loops.size(); ++i) all = s.fuse(stage, all, loops[i]);
  return all;
}

// Points of the stage one after the other in memory to threads, `vector` neighbours each. A reduction's sum is a
// register of its thread.
void by_points(Schedule& s, const std::string& name, int64_t vector) {
  const Stage stage = s.group()[*s.group().named(name)];
  const std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  if (loops.empty()) return;
  std::string lanes;
  if (vector > 1) std::tie(loops.back(), lanes) = s.split(name, loops.back(), vector, Tail::Exact);
  // The block's threads: the innermost loops as long as they fit, the next one in part.
  int64_t inner = 1;
  size_t first = loops.size();
  std::string block, thread;
  const auto extent = [&](size_t i) {
    const int64_t n = stage.axes[order[i]].extent;
    return i + 1 == loops.size() ? n / vector : n;
  };
  while (first > 0 && inner * extent(first - 1) <= kThreads) inner *= extent(--first);
  std::vector<std::string> blocks(loops.begin(), loops.begin() + static_cast<ptrdiff_t>(first)), threads(loops.begin() + static_cast<ptrdiff_t>(first), loops.end());
  if (first > 0) {
    auto [o, i] = s.split(name, loops[first - 1], std::max<int64_t>(1, kThreads / inner));
    blocks.back() = o;
    threads.insert(threads.begin(), i);
  } else {  // one block: a loop of one iteration stands for it
    auto [o, i] = s.split(name, threads.front(), extent(0));
    blocks.push_back(o);
    threads.front() = i;
  }
  std::vector<std::string> all = blocks;
  all.insert(all.end(), threads.begin(), threads.end());
  std::string acc;
  if (stage.is_reduction()) acc = s.cache_write(name);
  if (!lanes.empty()) all.push_back(lanes);
  s.reorder(name, all);
  s.parallel(name, fused(s, name, blocks));
  for (const std::string& t : threads) s.bind(name, t);
  if (!lanes.empty()) s.vectorize(name, lanes);
  if (acc.empty()) return;
  s.compute_at(acc, name, threads.back());
  s.set_scope(acc, Scope::Register);
  std::vector<std::string> nest;
  for (const Axis& a : stage.raxes) nest.push_back(a.name);
  for (const std::string& l : names(stage.axes, order)) nest.push_back(l);
  s.reorder(acc, nest);
  for (const Axis& a : stage.axes) s.unroll(acc, a.name);
}

// The same for a reduction and the stage that finishes it.
bool finished_by_points(Schedule& s, const Roles& r, int64_t vector) {
  if (r.acc == r.out) return false;
  Schedule t = s;
  const std::string acc = t.group()[r.acc].name, out = t.group()[r.out].name;
  by_points(t, out, vector);
  if (t.failure()) return false;
  std::string at;
  for (const std::string& l : t.loops(out)) {
    const auto& n = t.nest(*t.group().named(out));
    if (n.loops[*n.leaf(l)].kind == LoopKind::Thread) at = l;
  }
  t.compute_at(acc, out, at);
  t.set_scope(acc, Scope::Register);
  const Stage stage = t.group()[*t.group().named(acc)];
  std::vector<std::string> nest;
  for (const Axis& a : stage.raxes) nest.push_back(a.name);
  for (const std::string& l : names(stage.axes, physical_order(t.group()[*t.group().named(out)]))) nest.push_back(l);
  t.reorder(acc, nest);
  for (const Axis& a : stage.axes) t.unroll(acc, a.name);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

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

// A convolution or product: a block has `rows` x `columns` points and `channels` channels, its threads tiles of them; input
// and weights of `depth` channels at a time go through the block's memory.
bool tiled(Schedule& s, const Roles& r, const Device& d) {
  Schedule t = s;
  std::string out = t.group()[r.out].name;
  std::string acc = t.group()[r.acc].name;
  if (r.acc == r.out) acc = t.cache_write(out);
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
    Layout layout;
    std::optional<uint32_t> in, over;
    visit(a.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || t.group()[e.from()].name != input) return;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (e.indices()[i].a.slope(a.axes[r.vector].var)) in = i;
        if (e.indices()[i].a.slope(k.var)) over = i;
      }
    });
    if (!in || !over || in == over) continue;
    for (uint32_t i = 0; i < x.axes.size(); ++i)
      if (i != *in && i != *over) layout.push_back({i});
    layout.push_back({*over});
    layout.push_back({*in});
    t.pack(input, layout);
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
  (void)d;
  if (!lowers(t)) return false;
  s = t;
  return true;
}

bool points_fit(Schedule& s, const std::string& name, int64_t vector) {
  Schedule t = s;
  by_points(t, name, vector);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace

Schedule default_schedule(const StageGroup& g, const Device& d) {
  Schedule s(g);
  inline_cheap(s);
  std::vector<std::string> stages;
  for (const Stage& x : s.group().stages)
    if (x.is_compute()) stages.push_back(x.name);
  if (stages.size() <= 2) {
    if (const auto roles = roles_of(s, s.group().outputs.back())) {
      if (tiled(s, *roles, d)) return s;
      const int64_t innermost = s.group()[roles->out].axes[roles->vector].extent;
      for (const int64_t vector : {4, 1})
        if (innermost % vector == 0 && finished_by_points(s, *roles, vector)) return s;
    }
  }
  for (const std::string& name : stages) {
    const Stage x = s.group()[*s.group().named(name)];
    const int64_t innermost = x.axes.empty() ? 1 : x.axes[physical_order(x).back()].extent;
    if (x.dtype == DType::F32 && innermost % 4 == 0 && points_fit(s, name, 4)) continue;
    points_fit(s, name, 1);
  }
  return s;
}

}  // namespace burnish::cuda_target
