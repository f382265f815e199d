#include "loop/touches.h"

#include <algorithm>

namespace burnish {

namespace {

// Bytes by position, of which ends are summed: a Fenwick tree.
class Sums {
 public:
  explicit Sums(size_t n) : tree_(n + 1, 0) {}
  void add(size_t at, int64_t bytes) {
    all_ += bytes;
    for (size_t i = at + 1; i < tree_.size(); i += i & -i) tree_[i] += bytes;
  }
  int64_t from(size_t at) const {
    int64_t before = 0;
    for (size_t i = at; i > 0; i -= i & -i) before += tree_[i];
    return all_ - before;
  }

 private:
  std::vector<int64_t> tree_;
  int64_t all_ = 0;
};

}  // namespace

std::vector<std::vector<Touch>> touches_of(const Program& p) {
  const size_t steps = p.steps.size();
  std::vector<std::vector<Touch>> all(steps);
  std::vector<int64_t> bytes(p.tensors.size(), 0);  // the largest part that a step touches
  for (size_t s = 0; s < steps; ++s) {
    const Function& f = p.functions[p.steps[s].function];
    for (size_t a = 0; a < f.params.size(); ++a) {
      const Buffer& b = f.buffers[f.params[a]];
      all[s].push_back({own_elements(b) * size_of(b.dtype), 0});
      bytes[p.steps[s].args[a]] = std::max(bytes[p.steps[s].args[a]], all[s][a].bytes);
    }
  }
  // Two runs; each tensor's bytes stand at the step that touched it last. In the second run all
  // have been touched.
  Sums sums(2 * steps);
  constexpr size_t never = ~size_t{0};
  std::vector<size_t> last(p.tensors.size(), never);
  for (size_t now = 0; now < 2 * steps; ++now) {
    const std::vector<uint32_t>& own = p.steps[now % steps].args;
    std::vector<uint32_t> different = own;
    std::ranges::sort(different);
    different.erase(std::ranges::unique(different).begin(), different.end());
    for (size_t a = 0; now >= steps && a < own.size(); ++a) {
      all[now - steps][a].distance = sums.from(last[own[a]]);
    }
    for (const uint32_t t : different) {
      if (last[t] != never) sums.add(last[t], -bytes[t]);
      sums.add(now, bytes[t]);
      last[t] = now;
    }
  }
  return all;
}

}  // namespace burnish
