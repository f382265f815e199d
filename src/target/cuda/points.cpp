// Stages whose points are independent, or short sums: points to threads.
#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 128;  // of a block whose threads are all alike

// The sum that the thread of `out`'s loop `at` finishes is in its registers.
void sum_of_thread(Schedule& s, const std::string& acc, const std::string& out, const std::string& at) {
  s.compute_at(acc, out, at);
  s.set_scope(acc, Scope::Register);
  if (s.failure()) return;
  const Stage stage = s.group()[*s.group().named(acc)];
  std::vector<std::string> nest;
  for (const Axis& a : stage.raxes) nest.push_back(a.name);
  for (const std::string& l : names(stage.axes, physical_order(s.group()[*s.group().named(out)]))) nest.push_back(l);
  s.reorder(acc, nest);
  for (const Axis& a : stage.axes) s.unroll(acc, a.name);
}

// Points of the stage one after the other in memory to threads, `vector` neighbours each; the innermost loop of threads. A
// reduction's sum is a register of its thread.
std::string points_to_threads(Schedule& s, const std::string& name, int64_t vector) {
  const Stage stage = s.group()[*s.group().named(name)];
  const std::vector<uint32_t> order = physical_order(stage);
  std::vector<std::string> loops = names(stage.axes, order);
  if (loops.empty()) return "";
  const std::string acc = stage.is_reduction() ? s.cache_write(name) : "";
  std::string lanes;
  if (vector > 1) std::tie(loops.back(), lanes) = s.split(name, loops.back(), vector, Tail::Exact);
  // The block's threads: the innermost loops as long as they fit, the next one in part.
  int64_t inner = 1;
  size_t first = loops.size();
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
  if (!lanes.empty()) all.push_back(lanes);
  s.reorder(name, all);
  s.parallel(name, fused(s, name, blocks));
  for (const std::string& t : threads) s.bind(name, t);
  if (!lanes.empty()) s.vectorize(name, lanes);
  if (!acc.empty()) sum_of_thread(s, acc, name, threads.back());
  return threads.back();
}

}  // namespace

std::string fused(Schedule& s, const std::string& stage, const std::vector<std::string>& loops) {
  std::string all = loops.front();
  for (size_t i = 1; i < loops.size(); ++i) all = s.fuse(stage, all, loops[i]);
  return all;
}

bool by_points(Schedule& s, const std::string& name, int64_t vector) {
  Schedule t = s;
  points_to_threads(t, name, vector);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

bool finished_by_points(Schedule& s, const Roles& r, int64_t vector) {
  if (r.acc == r.out) return false;
  Schedule t = s;
  const std::string acc = t.group()[r.acc].name, out = t.group()[r.out].name;
  const std::string at = points_to_threads(t, out, vector);
  if (t.failure()) return false;
  sum_of_thread(t, acc, out, at);
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
