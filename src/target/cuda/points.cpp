// Stages whose points are independent, or short sums: points to threads.
#include <algorithm>
#include <limits>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 128;  // of a block whose threads are all alike

// What a reduction reads besides its input: constants with the stage's innermost axis innermost, as the lanes want them.
void weights_in_lanes(Schedule& s, const Stage& acc, VarId lanes) {
  for (const StageId from : producers(s.group(), *s.group().named(acc.name))) {
    const Stage& w = s.group()[from];
    if (w.kind != StageKind::Constant || !w.layout.empty()) continue;
    std::optional<uint32_t> last;
    bool once = true;
    visit(acc.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || e.from() != from) return;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (!moves(e.indices()[i], lanes)) continue;
        once &= (!last || *last == i) && e.indices()[i].is_affine() && e.indices()[i].a.slope(lanes) == 1;
        last = i;
      }
    });
    if (!last || !once) continue;
    s.pack(w.name, axes_in_order(w.axes.size(), {}, {*last}));
  }
}

// The sum that the thread of `out`'s loop `at` finishes is in its registers; short windows are unrolled, so that neighbours
// share what they read.
void sum_of_thread(Schedule& s, const std::string& acc, const std::string& out, const std::string& at, const Share& share) {
  const Layout layout = s.group()[*s.group().named(out)].layout;
  if (!layout.empty()) s.pack(acc, layout);
  s.compute_at(acc, out, at);
  s.set_scope(acc, Scope::Register);
  s.guard_halo(acc);
  if (s.failure()) return;
  const Stage stage = s.group()[*s.group().named(acc)];
  const std::vector<uint32_t> order = physical_order(s.group()[*s.group().named(out)]);
  std::vector<std::string> nest, unrolled, loops = names(stage.axes, order);
  constexpr int64_t most = 16, at_once = 4;
  int64_t terms = 1;
  for (size_t i = stage.raxes.size(); i-- > 0;) {
    const Axis& k = stage.raxes[i];
    if (terms * k.extent <= most) {
      unrolled.insert(unrolled.begin(), k.name);
      terms *= k.extent;
    } else if (terms == 1 && k.extent % at_once == 0) {
      auto [serial, inner] = s.split(acc, k.name, at_once, Tail::Exact);
      nest.insert(nest.begin(), serial);
      unrolled.push_back(inner);
      terms = most;
    } else {
      nest.insert(nest.begin(), k.name);
      terms = most;
    }
  }
  nest.insert(nest.end(), unrolled.begin(), unrolled.end());
  std::string lanes;
  if (share.vector > 1) {
    weights_in_lanes(s, stage, stage.axes[order.back()].var);
    lanes = loops.back();
    loops.pop_back();
  }
  nest.insert(nest.end(), loops.begin(), loops.end());
  if (!lanes.empty()) nest.push_back(lanes);
  s.reorder(acc, nest);
  for (const std::string& l : loops) s.unroll(acc, l);
  if (!lanes.empty()) s.vectorize(acc, lanes);
  for (const std::string& l : unrolled) s.unroll(acc, l);
}

// Points of the stage one after the other in memory to threads; the innermost loop of threads. A reduction's sum is in
// registers of its thread.
std::string points_to_threads(Schedule& s, const std::string& name, const Share& share) {
  const Stage stage = s.group()[*s.group().named(name)];
  const std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  if (loops.empty() || (share.columns > 1 && loops.size() < 2)) return "";
  const std::string acc = stage.is_reduction() ? s.cache_write(name) : "";
  // The block's threads: the innermost loops as long as they fit, the next one in part.
  const auto own_part = [&](size_t i) { return i + 1 == loops.size() ? share.vector : i + 2 == loops.size() ? share.columns : 1; };
  const auto shares_of = [&](size_t i) { return stage.axes[order[i]].extent / own_part(i); };
  int64_t inner = 1;
  size_t first = loops.size();
  const Tail tail = share.points() > 1 ? Tail::Whole : Tail::Guard;
  while (first > 0 && inner * shares_of(first - 1) <= kThreads) inner *= shares_of(--first);
  std::vector<std::string> blocks(loops.begin(), loops.begin() + static_cast<ptrdiff_t>(first));
  if (first > 0) {
    --first;
    const int64_t most = std::max<int64_t>(1, kThreads / inner);
    int64_t part = most;  // without a tail where that leaves threads enough
    while (part > 1 && shares_of(first) % part) --part;
    if (3 * part < 2 * most) part = most;
    std::tie(blocks.back(), loops[first]) = s.split(name, loops[first], part * own_part(first), tail);
  } else {  // one block: a loop of one iteration stands for it
    std::tie(blocks.emplace_back(), loops[0]) = s.split(name, loops[0], shares_of(0) * own_part(0));
  }
  std::string lanes, columns;
  for (size_t i = first; i < loops.size(); ++i) {
    if (own_part(i) == 1) continue;
    std::tie(loops[i], i + 1 == loops.size() ? lanes : columns) = s.split(name, loops[i], own_part(i), tail);
  }
  const std::vector<std::string> threads(loops.begin() + static_cast<ptrdiff_t>(first), loops.end());
  std::vector<std::string> all = blocks;
  all.insert(all.end(), threads.begin(), threads.end());
  if (!columns.empty()) all.push_back(columns);
  if (!lanes.empty()) all.push_back(lanes);
  s.reorder(name, all);
  s.parallel(name, fused(s, name, blocks));
  for (const std::string& t : threads) s.bind(name, t);
  if (!columns.empty()) s.unroll(name, columns);
  if (!lanes.empty()) s.vectorize(name, lanes);
  if (!acc.empty()) sum_of_thread(s, acc, name, threads.back(), share);
  return threads.back();
}

}  // namespace

Layout axes_in_order(size_t rank, const std::vector<uint32_t>& outermost, const std::vector<uint32_t>& innermost) {
  Layout l;
  for (const uint32_t a : outermost) l.push_back({a});
  for (uint32_t a = 0; a < rank; ++a)
    if (!std::ranges::count(outermost, a) && !std::ranges::count(innermost, a)) l.push_back({a});
  for (const uint32_t a : innermost) l.push_back({a});
  return l;
}

std::string sum_of(Schedule& s, const Roles& r) {
  const std::string acc = s.group()[r.acc].name;
  return r.acc == r.out ? s.cache_write(acc) : acc;
}

std::string fused(Schedule& s, const std::string& stage, const std::vector<std::string>& loops) {
  std::string all = loops.front();
  for (size_t i = 1; i < loops.size(); ++i) all = s.fuse(stage, all, loops[i]);
  return all;
}

bool by_points(Schedule& s, const std::string& name, const Share& share) {
  Schedule t = s;
  points_to_threads(t, name, share);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

bool finished_by_points(Schedule& s, const Roles& r, const Share& share) {
  if (r.acc == r.out) return false;
  Schedule t = s;
  const std::string acc = t.group()[r.acc].name, out = t.group()[r.out].name;
  const std::string at = points_to_threads(t, out, share);
  if (t.failure()) return false;
  sum_of_thread(t, acc, out, at, share);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

double finished_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const Stage& acc = s.group()[r.acc];
  bool shared = physical_order(s.group()[r.out]).back() == r.vector;
  visit(acc.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || s.group()[e.from()].kind == StageKind::Constant) return;
    shared &= std::ranges::none_of(e.indices(), [&](const Index& i) { return moves(i, acc.axes[r.vector].var); });
  });
  if (!shared) return std::numeric_limits<double>::infinity();
  // As measured on an H100 of convolutions of 24 and 32 channels.
  constexpr double start = 1300, term = 50, terms_per_cycle = 2900;
  const double terms = static_cast<double>(points(acc.raxes));
  return start + term * terms + static_cast<double>(points(acc.axes)) * terms / terms_per_cycle * (d.halves() ? 0.7 : 1);
}

std::vector<Share> shares(const Stage& s, const Device& d, bool in_lanes) {
  std::vector<Share> all;
  if (s.axes.empty()) return all;
  const std::vector<uint32_t> order = physical_order(s);
  const int64_t innermost = s.axes[order.back()].extent, before = order.size() > 1 ? s.axes[order[order.size() - 2]].extent : 1;
  for (const int64_t vector : {8, 4, 2, 1}) {
    if (innermost % vector || (vector > 1 && (!in_vectors(s.dtype) || vector > vector_of(s.dtype)))) continue;
    for (const int64_t columns : {8, 4, 2, 1})
      if (before % columns == 0) all.push_back({vector, columns});
  }
  // Threads share more of their reads the more points they have, as long as there are enough of them to hide what reads take;
  // pairs of lanes are better than none then. As measured on an H100.
  const double wanted = 1536.0 * d.multiprocessors;
  const auto of_vector = [&](const Share& x) {
    if (!in_lanes) return static_cast<double>(x.vector * x.vector);
    return x.vector == 1 ? 4 : x.vector == 2 && x.columns > 1 ? 1.2 : 1;
  };
  return from_the_best(all, [&](const Share& x) {
    const double threads = static_cast<double>(points(s.axes)) / static_cast<double>(x.points());
    return std::max(threads / wanted, wanted / threads) * of_vector(x);
  });
}

std::vector<Share> finished_shares(const Schedule& s, const Roles& r, const Device& d) {
  const Stage &out = s.group()[r.out], &acc = s.group()[r.acc];
  const std::vector<uint32_t> order = physical_order(out);
  bool in_lanes = true;
  if (!order.empty()) {
    visit(acc.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || s.group()[e.from()].kind == StageKind::Constant) return;
      const uint32_t innermost = physical_order(s.group()[e.from()]).back();
      for (uint32_t i = 0; i < e.indices().size(); ++i) in_lanes &= i == innermost || !moves(e.indices()[i], acc.axes[order.back()].var);
    });
  }
  return shares(out, d, in_lanes);
}

}  // namespace burnish::cuda_target
