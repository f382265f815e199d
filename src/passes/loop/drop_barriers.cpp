// Lets threads go on without waiting where the next step touches nothing that the steps since the last barrier wrote.
//
// A step whose function shares memory of its own between threads (Scope::Shared) keeps the barriers around it: that
// memory is reused by the next function.
#include <algorithm>
#include <vector>

#include "passes/loop/passes.h"

namespace burnish {

namespace {

struct Use {
  uint32_t tensor;
  Footprint bytes;
};

bool any_meet(const std::vector<Use>& a, const std::vector<Use>& b) {
  return std::ranges::any_of(a, [&](const Use& x) {
    return std::ranges::any_of(b, [&](const Use& y) { return x.tensor == y.tensor && meet(x.bytes, y.bytes); });
  });
}

struct Touched {
  std::vector<Use> read, written;

  void add(const Function& f, const Step& s) {
    for (size_t i = 0; i < s.args.size(); ++i) {
      const Buffer& b = f.buffers[f.params[i]];
      (b.written ? written : read).push_back({s.args[i], footprint(b, s.offsets.empty() ? 0 : s.offsets[i])});
    }
  }
  bool conflicts(const Touched& o) const {
    return any_meet(written, o.read) || any_meet(written, o.written) || any_meet(read, o.written);
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
