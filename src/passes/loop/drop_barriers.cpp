// Lets threads go on without waiting where the next step touches nothing that the steps since the last barrier wrote.
//
// A step whose function shares memory of its own between threads (Scope::Shared) keeps the barriers around it: that
// memory is reused by the next function.
#include <algorithm>
#include <set>

#include "passes/loop/passes.h"

namespace burnish {

namespace {

struct Touched {
  std::set<uint32_t> read, written;

  void add(const Function& f, const Step& s) {
    for (size_t i = 0; i < s.args.size(); ++i) {
      (f.buffers[f.params[i]].written ? written : read).insert(s.args[i]);
    }
  }
  bool conflicts(const Touched& o) const {
    auto meet = [](const std::set<uint32_t>& a, const std::set<uint32_t>& b) {
      return std::any_of(a.begin(), a.end(), [&](uint32_t t) { return b.contains(t); });
    };
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
    since.read.merge(now.read);
    since.written.merge(now.written);
    previous_alone = alone;
  }
  return out;
}

}  // namespace burnish
