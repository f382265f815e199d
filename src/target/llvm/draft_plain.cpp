// Estimates of nests without register tiles.
#include <algorithm>
#include <cmath>

#include "target/llvm/draft.h"

namespace burnish::llvm_target {

namespace {

// Largest part of the work of `n` iterations that one of `threads` threads has.
double largest_share(double n, int threads) { return std::ceil(n / threads) / n; }

double bytes_of(const StageGroup& g) {
  double bytes = 0;
  for (const Stage& s : g.stages) {
    if (!s.is_compute()) bytes += static_cast<double>(points(s.axes) * size_of(s.dtype));
  }
  for (StageId o : g.outputs) bytes += static_cast<double>(points(g[o].axes) * size_of(g[o].dtype));
  return bytes;
}

double bandwidth(double bytes, const Machine& m) {
  return bytes <= static_cast<double>(m.l1_bytes)   ? 2 * m.l2_bandwidth
         : bytes <= static_cast<double>(m.l2_bytes) ? m.l2_bandwidth
         : bytes <= static_cast<double>(m.l3_bytes) ? m.l3_bandwidth
                                                    : m.memory_bandwidth;
}

constexpr double kFork = 1000;  // cycles that it costs threads to share a kernel

}  // namespace

ElementwiseDraft::ElementwiseDraft(const Schedule& s, StageId out, const Machine& m) : m_(m) {
  const StageGroup& g = s.group();
  const Stage& stage = g[out];
  const std::vector<uint32_t> order = physical_order(stage);
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    if (stage.axes[order[i]].extent > 1) loops_.push_back(stage.axes[order[i]].extent);
  }
  if (!order.empty()) inner_ = std::max<int64_t>(1, stage.axes[order.back()].extent);
  points_ = points(stage.axes);
  work_ = static_cast<double>(cost(stage.body)) + 2;
  bytes_ = bytes_of(g);
}

double ElementwiseDraft::us(int64_t lanes, int64_t shared) const {
  const int64_t natural = std::max<int64_t>(1, lanes_of(m_, DType::F32));
  const double vectors = std::ceil(static_cast<double>(lanes) / static_cast<double>(natural));
  const double steps = static_cast<double>(points_ / inner_) * std::ceil(static_cast<double>(inner_) / static_cast<double>(lanes));
  double cycles = steps * (vectors * work_ / 2 + 2) + static_cast<double>(points_ / inner_) * 5;
  double share = 1, spent = 0;
  if (shared > 0 && m_.threads > 1) {
    double n = loops_.empty() ? std::ceil(static_cast<double>(inner_) / static_cast<double>(lanes)) : 1;
    for (size_t i = 0; i < loops_.size() && static_cast<int64_t>(i) < shared; ++i) n *= static_cast<double>(loops_[i]);
    share = largest_share(n, m_.threads);
    spent = kFork + (shared > 1 ? n * share * 10 : 0);
  }
  cycles = std::max(cycles * share, bytes_ * share / bandwidth(bytes_ * share, m_)) + spent;
  return cycles / (m_.gigahertz * 1e3);
}

RowsDraft::RowsDraft(const Schedule& s, StageId out, size_t common, const Machine& m) : m_(m) {
  const StageGroup& g = s.group();
  for (const Stage& p : g.stages) {
    if (!p.is_compute()) continue;
    parts_.push_back({static_cast<double>(points(p.axes) * points(p.raxes)), static_cast<double>(cost(p.body)) + 2,
                      p.is_reduction()});
  }
  for (size_t a = 0; a < common; ++a) {
    if (!loops_.empty() || g[out].axes[a].extent > 1) loops_.push_back(g[out].axes[a].extent);
  }
  bytes_ = bytes_of(g);
  lanes_ = lanes_of(m, g[out].dtype);
}

double RowsDraft::us(bool vectors, int64_t sums, int64_t wide, int64_t shared) const {
  double cycles = 0;
  for (const Part& p : parts_) {
    const double n = vectors ? p.elements / static_cast<double>(lanes_) : p.elements;
    // A reduction waits for its own sum.
    const double step = p.reduces ? std::max(p.work / 2, m_.fma_latency / static_cast<double>(sums)) : p.work / 2;
    cycles += n * (step + 1.0 / static_cast<double>(p.reduces ? sums : wide));
  }
  double share = 1, spent = 0;
  if (shared > 0 && m_.threads > 1) {
    double n = 1;
    for (size_t i = 0; i < loops_.size() && static_cast<int64_t>(i) < shared; ++i) n *= static_cast<double>(loops_[i]);
    share = largest_share(n, m_.threads);
    spent = kFork;
  }
  cycles = std::max(cycles * share, bytes_ * share / bandwidth(bytes_ * share, m_)) + spent;
  return cycles / (m_.gigahertz * 1e3);
}

}  // namespace burnish::llvm_target
