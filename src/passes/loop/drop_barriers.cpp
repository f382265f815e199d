// Lets threads go on without waiting where the next step touches nothing that the steps since the last barrier wrote,
// and where thread 0 did and does both alone.
//
// Memory that functions share between threads (Scope::Shared) is one for all of them: a tensor that they write.
#include <algorithm>
#include <vector>

#include "passes/loop/one_thread.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

struct Use {
  uint32_t tensor;
  Footprint bytes;
  bool alone;  // by thread 0
};

bool conflict(const Use& a, const Use& b) {
  return a.tensor == b.tensor && !(a.alone && b.alone) && meet(a.bytes, b.bytes);
}

bool any_conflict(const std::vector<Use>& a, const std::vector<Use>& b) {
  return std::ranges::any_of(a, [&](const Use& x) {
    return std::ranges::any_of(b, [&](const Use& y) { return conflict(x, y); });
  });
}

constexpr uint32_t shared_memory = ~uint32_t{0};

struct Touched {
  std::vector<Use> read, written;

  void add(const Function& f, const Step& s) {
    const bool alone = on_one_thread(f);
    for (size_t i = 0; i < s.args.size(); ++i) {
      const Buffer& b = f.buffers[f.params[i]];
      (b.written ? written : read).push_back({s.args[i], footprint(b, s.offsets.empty() ? 0 : s.offsets[i]), alone});
    }
    if (std::ranges::any_of(f.buffers, [](const Buffer& b) { return b.scope == Scope::Shared; })) {
      written.push_back({shared_memory, {.first = 0, .last = 1}, alone});
    }
  }
  void add(const Touched& o) {
    read.insert(read.end(), o.read.begin(), o.read.end());
    written.insert(written.end(), o.written.begin(), o.written.end());
  }
  bool conflicts(const Touched& o) const {
    return any_conflict(written, o.read) || any_conflict(written, o.written) || any_conflict(read, o.written);
  }
};

}  // namespace

Program drop_barriers(const Program& p, const Context&) {
  Program out = p;
  Touched since;  // by the steps since the last barrier
  for (size_t i = 0; i < out.steps.size(); ++i) {
    Touched now;
    now.add(out.functions[out.steps[i].function], out.steps[i]);
    if (i > 0) {
      bool& barrier = out.steps[i - 1].barrier;
      barrier = barrier && since.conflicts(now);
      if (barrier) since = {};
    }
    since.add(now);
  }
  return out;
}

}  // namespace burnish
