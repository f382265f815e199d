// Lets threads go on without waiting where the next step touches nothing that the steps since the last barrier wrote,
// where thread 0 did and does both alone, and where each thread finds what it wrote itself: loops over as many
// iterations are shared out alike, and iteration p of the one leaves what iteration p of the other reads.
//
// All tensors between two barriers are alive together (plan_arena), so the last is done only where the threads'
// second-level caches hold these.
//
//   parallel for head in 0..12 { scores of it }   barrier   parallel for head in 0..12 { softmax of its scores }
//
// Memory that functions share between threads (Scope::Shared) is one for all of them: a tensor that they write.
#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "loop/affinity.h"
#include "passes/loop/one_thread.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

struct Use {
  uint32_t tensor;
  Footprint bytes;
  bool alone;         // by thread 0
  uint32_t function;  // as its parameter
  BufferId param = 0;
};

// What iterations of functions touch, as far as somebody asked.
class Affinity {
 public:
  explicit Affinity(const Program& p) : p_(p), shares_(p.functions.size()) {}

  // Whether only one and the same thread touches what both touch.
  bool keeps(const Use& a, const Use& b) {
    const Buffer &x = p_.functions[a.function].buffers[a.param], &y = p_.functions[b.function].buffers[b.param];
    if (a.alone || b.alone || a.bytes.first != b.bytes.first || x.dtype != y.dtype) return false;
    return of(a.function).apart(a.param, of(b.function), b.param);
  }

 private:
  const Shares& of(uint32_t f) {
    if (!shares_[f]) shares_[f].emplace(p_.functions[f]);
    return *shares_[f];
  }
  const Program& p_;
  std::vector<std::optional<Shares>> shares_;
};

constexpr uint32_t shared_memory = ~uint32_t{0};

// `affinity`: null where each thread is taken to touch everything.
bool conflict(const Use& a, const Use& b, Affinity* affinity) {
  if (a.tensor != b.tensor || (a.alone && b.alone) || !meet(a.bytes, b.bytes)) return false;
  return a.tensor == shared_memory || !affinity || !affinity->keeps(a, b);
}

bool any_conflict(const std::vector<Use>& a, const std::vector<Use>& b, Affinity* affinity) {
  return std::ranges::any_of(a, [&](const Use& x) {
    return std::ranges::any_of(b, [&](const Use& y) { return conflict(x, y, affinity); });
  });
}

struct Touched {
  std::vector<Use> read, written;

  void add(const Program& p, const Step& s) {
    const Function& f = p.functions[s.function];
    const bool alone = on_one_thread(f);
    for (size_t i = 0; i < s.args.size(); ++i) {
      const Buffer& b = f.buffers[f.params[i]];
      (b.written ? written : read).push_back({s.args[i], footprint(b, s.offsets.empty() ? 0 : s.offsets[i]), alone, s.function,
                                          f.params[i]});
    }
    if (std::ranges::any_of(f.buffers, [](const Buffer& b) { return b.scope == Scope::Shared; })) {
      written.push_back({shared_memory, {.first = 0, .last = 1}, alone, s.function});
    }
  }
  void add(const Touched& o) {
    read.insert(read.end(), o.read.begin(), o.read.end());
    written.insert(written.end(), o.written.begin(), o.written.end());
  }
  bool conflicts(const Touched& o, Affinity* affinity) const {
    return any_conflict(written, o.read, affinity) || any_conflict(written, o.written, affinity) ||
           any_conflict(read, o.written, affinity);
  }
  // Of the arena, each tensor once.
  int64_t bytes(const Program& p) const {
    std::set<uint32_t> tensors;
    for (const auto* uses : {&read, &written}) {
      for (const Use& u : *uses) {
        if (u.tensor != shared_memory && p.tensors[u.tensor].kind == TensorKind::Arena) tensors.insert(u.tensor);
      }
    }
    int64_t sum = 0;
    for (const uint32_t t : tensors) sum += p.tensors[t].size * size_of(p.tensors[t].dtype);
    return sum;
  }
};

}  // namespace

Program drop_barriers(const Program& p, const Context& context) {
  Program out = p;
  if (context.target && context.target->machine().device) return out;  // its steps never meet: what dies makes room at once
  int64_t most = std::numeric_limits<int64_t>::max();  // bytes of a span
  if (context.target) most = context.target->machine().threads * context.target->machine().l2_bytes;
  Affinity affinity(p);
  Touched since;  // by the steps since the last barrier
  for (size_t i = 0; i < out.steps.size(); ++i) {
    Touched now;
    now.add(out, out.steps[i]);
    Touched span = since;
    span.add(now);
    if (i > 0) {
      bool& barrier = out.steps[i - 1].barrier;
      barrier = barrier && since.conflicts(now, nullptr) && (span.bytes(out) > most || since.conflicts(now, &affinity));
      if (barrier) span = std::move(now);
    }
    since = std::move(span);
  }
  return out;
}

}  // namespace burnish
