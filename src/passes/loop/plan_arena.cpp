// Gives arena tensors their offsets: tensors that are not alive at the same time may share memory.
//
// Time is counted in epochs, the spans between barriers: threads may be anywhere within an epoch, so tensors touched
// in one epoch never overlap. The largest tensors are placed first, each at the lowest gap that fits (greedy by size,
// https://arxiv.org/abs/2001.03288).
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr int64_t alignment = 64;

struct Life {
  uint32_t tensor;
  int64_t first = std::numeric_limits<int64_t>::max(), last = -1;  // epochs
  int64_t bytes = 0, offset = 0;

  bool meets(const Life& o) const { return first <= o.last && o.first <= last; }
};

std::vector<Life> lives(const Program& p) {
  std::vector<Life> by_tensor(p.tensors.size());
  int64_t epoch = 0;
  for (const Step& s : p.steps) {
    for (uint32_t t : s.args) {
      by_tensor[t].first = std::min(by_tensor[t].first, epoch);
      by_tensor[t].last = std::max(by_tensor[t].last, epoch);
    }
    epoch += s.barrier;
  }
  std::vector<Life> out;
  for (uint32_t t = 0; t < p.tensors.size(); ++t) {
    if (p.tensors[t].kind != TensorKind::Arena || by_tensor[t].last < 0) continue;
    int64_t bytes = 0;
    require(!__builtin_mul_overflow(p.tensors[t].size, int64_t{size_of(p.tensors[t].dtype)}, &bytes) &&
                bytes < (int64_t{1} << 50),
            "tensor {} of {} elements is too large", p.tensors[t].name, p.tensors[t].size);
    by_tensor[t].tensor = t;
    by_tensor[t].bytes = (std::max<int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    out.push_back(by_tensor[t]);
  }
  return out;
}

// The lowest offset at which `life` overlaps none of the placed ones; they are sorted by offset.
int64_t lowest_gap(const Life& life, const std::vector<Life>& placed) {
  int64_t at = 0;
  for (const Life& o : placed) {
    if (!life.meets(o)) continue;
    if (o.offset - at >= life.bytes) break;
    at = std::max(at, o.offset + o.bytes);
  }
  return at;
}

}  // namespace

Program plan_arena(const Program& p, const Context&) {
  Program out = p;
  std::vector<Life> todo = lives(p);
  std::stable_sort(todo.begin(), todo.end(), [](const Life& a, const Life& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.first < b.first;
  });
  std::vector<Life> placed;
  out.arena_bytes = 0;
  for (Life& life : todo) {
    life.offset = lowest_gap(life, placed);
    out.tensors[life.tensor].offset = life.offset;
    out.arena_bytes = std::max(out.arena_bytes, life.offset + life.bytes);
    auto at = std::upper_bound(placed.begin(), placed.end(), life.offset,
                               [](int64_t offset, const Life& o) { return offset < o.offset; });
    placed.insert(at, life);
  }
  return out;
}

}  // namespace burnish
