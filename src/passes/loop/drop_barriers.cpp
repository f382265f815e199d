// Lets threads go on without waiting where the next step touches nothing that the steps since the last barrier wrote.
//
// A step whose function shares memory of its own between threads (Scope::Shared) keeps the barriers around it: that
// memory is reused by the next function.
#include <algorithm>
#include <vector>

#include "passes/loop/passes.h"

namespace burnish {

namespace {

struct Bytes {
  uint32_t tensor;
  int64_t first, last;
};

bool meet(const std::vector<Bytes>& a, const std::vector<Bytes>& b) {
  return std::ranges::any_of(a, [&](const Bytes& x) {
    return std::ranges::any_of(
        b, [&](const Bytes& y) { return x.tensor == y.tensor && x.first < y.last && y.first < x.last; });
  });
}

struct Touched {
  std::vector<Bytes> read, written;

  void add(const Function& f, const Step& s) {
    for (size_t i = 0; i < s.args.size(); ++i) {
      const Buffer& b = f.buffers[f.params[i]];
      const int64_t first = s.offsets.empty() ? 0 : s.offsets[i];
      (b.written ? written : read).push_back({s.args[i], first, first + b.size * size_of(b.dtype)});
    }
  }
  bool conflicts(const Touched& o) const {
    return meet(written, o.read) || meet(written, o.written) || meet(read, o.written);
  }
};

bool shares_memory(const Function& f) {
  return std::any_of(f.buffers.begin(), f.buffers.end(),
                     [](const Buffer& b) { return b.scope == Scope::Shared; });
}

}  // namespace

Program drop_barriers(const Program& p, const Context&) {
  Program out = p;
  Touched since;  // by the steps since the last barrier
  bool previous_alone = false;
  for (size_t i = 0; i < out.steps.size(); ++i) {
    const Function& f = out.functions[out.steps[i].function];
    Touched now;
    now.add(f, out.steps[i]);
    const bool alone = shares_memory(f);
    if (i > 0) {
      bool& barrier = out.steps[i - 1].barrier;
      barrier = barrier && (alone || previous_alone || since.conflicts(now));
      if (barrier) since = {};
    }
    since.read.insert(since.read.end(), now.read.begin(), now.read.end());
    since.written.insert(since.written.end(), now.written.begin(), now.written.end());
    previous_alone = alone;
  }
  return out;
}

}  // namespace burnish
