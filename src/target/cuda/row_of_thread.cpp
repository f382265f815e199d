// Short rows along another axis than the contiguous one (softmax over channels that are planes): a
// thread has a row, neighbouring threads neighbouring rows. All stages are computed in its
// registers.
//
//   block: rows.o
//     thread row:  registers: every stage but the output, along the row
//                  output, along the row
#include <algorithm>

#include "target/cuda/row_group.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 128;  // of a block
constexpr int64_t kLongest = 32;   // row: it is unrolled

// The output's rows become threads; the innermost loop of these.
std::string rows_to_threads(Schedule& t, const Stage& out, uint32_t along) {
  std::vector<uint32_t> order = physical_order(out);
  std::erase(order, along);
  std::vector<std::string> threads, blocks = names(out.axes, order);
  int64_t inner = 1;
  while (!blocks.empty() && inner < kThreads) {
    const int64_t extent = out.axes[order[blocks.size() - 1]].extent;
    const bool last = blocks.size() == 1 || inner * extent > kThreads;
    std::string own = blocks.back();
    if (last)
      std::tie(blocks.back(), own) = t.split(out.name, own, std::min(extent, kThreads / inner));
    else
      blocks.pop_back();
    threads.insert(threads.begin(), own);
    inner *= extent;
    if (last) break;
  }
  if (threads.empty()) return "";
  std::vector<std::string> all = blocks;
  all.insert(all.end(), threads.begin(), threads.end());
  all.push_back(out.axes[along].name);
  t.reorder(out.name, all);
  t.parallel(out.name, fused(t, out.name, blocks));
  for (const std::string& l : threads) t.bind(out.name, l);
  t.unroll(out.name, out.axes[along].name);
  return threads.back();
}

bool by_rows_along(Schedule& s, const RowGroup& r) {
  Schedule t = s;
  const Stage out = t.group()[r.out];
  const std::string thread = rows_to_threads(t, out, *r.along);
  if (thread.empty() || t.failure()) return false;
  for (const auto& [id, axes] : r.axes) {
    if (id == r.out) continue;
    const Stage& x = t.group()[id];
    t.compute_at(x.name, out.name, thread);
    t.set_scope(x.name, Scope::Register);
    t.guard_halo(x.name);
    for (const std::vector<Axis>* loops : {&x.axes, &x.raxes})
      for (const Axis& a : *loops) t.unroll(x.name, a.name);
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace

bool by_row_of_thread(Schedule& s) {
  const StageGroup& g = s.group();
  if (g.outputs.size() != 1) return false;
  const Stage& out = g[g.outputs[0]];
  const std::vector<uint32_t> order = physical_order(out);
  for (uint32_t along = 0; along < out.axes.size(); ++along) {
    if (out.axes[along].extent > kLongest || along == order.back()) continue;
    const auto r = row_group(g, along, false);
    if (r && by_rows_along(s, *r)) return true;
  }
  return false;
}

}  // namespace burnish::cuda_target
