// Time is counted in statements and barriers outside of thread loops; a loop around these is one. A
// buffer is needed from the first that accesses it to the last, so that what follows a loop may lie
// where buffers of the loop did: the sums of a block's threads over the data that they have summed.
// Threads then meet between the two.
#include "target/c_like/block_memory.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <set>

#include "loop/loads.h"

namespace burnish::c_like {

namespace {

constexpr int64_t kAlign = 16;

struct Lifetime {
  BufferId buffer;
  int64_t first = std::numeric_limits<int64_t>::max(), last = -1;
  Stmt begin = {};
};

class Lifetimes {
 public:
  Lifetimes(const Function& f, const Stmt& block) : f_(f) { walk(block); }

  std::vector<Lifetime> all;  // in the order of their allocation
  std::vector<int64_t> barriers;

 private:
  void walk(const Stmt& s) {
    const StmtKind kind = s.kind();
    if (kind == StmtKind::Barrier) return barriers.push_back(time_++);
    if (kind != StmtKind::Alloc && kind != StmtKind::Let && kind != StmtKind::Seq) return step(s);
    if (kind == StmtKind::Alloc && !in_registers(f_.buffers[s->buffer].scope))
      all.push_back({.buffer = s->buffer});
    if (kind == StmtKind::Let) {
      std::set<BufferId> loaded;
      visit_loads(s, [&](const Expr& e) { loaded.insert(e.from()); });
      access(loaded, s);
    }
    for (const Stmt& c : s.children()) walk(c);
  }

  void access(const std::set<BufferId>& buffers, const Stmt& s) {
    for (Lifetime& l : all) {
      if (!buffers.contains(l.buffer)) continue;
      if (l.last < 0) l.first = time_, l.begin = s;
      l.last = time_;
    }
    ++time_;
  }

  void step(const Stmt& s) {
    std::set<BufferId> accessed;
    bool in_threads = false;
    const std::function<void(const Stmt&)> inside = [&](const Stmt& x) {
      const bool known =
          x.kind() == StmtKind::Alloc &&
          std::ranges::any_of(all, [&](const Lifetime& l) { return l.buffer == x->buffer; });
      if (x.kind() == StmtKind::Alloc && !known && !in_threads && has_loop(s, LoopKind::Thread) &&
          !in_registers(f_.buffers[x->buffer].scope))
        all.push_back({.buffer = x->buffer});
      if (x.kind() == StmtKind::Store) accessed.insert(x->buffer);
      visit_loads(x, [&](const Expr& e) { accessed.insert(e.from()); });
      const bool thread = x.kind() == StmtKind::For && x->loop.kind == LoopKind::Thread,
                 before = in_threads;
      in_threads |= thread;
      for (const Stmt& c : x.children()) inside(c);
      in_threads = before;
    };
    inside(s);
    access(accessed, s);
  }

  const Function& f_;
  int64_t time_ = 0;
};

}  // namespace

BlockMemory block_memory(const Function& f, const Stmt& block) {
  const Lifetimes lives(f, block);
  struct Placed {
    const Lifetime* life;
    int64_t begin, end;
  };
  BlockMemory memory;
  std::vector<Placed> placed;
  for (const Lifetime& l : lives.all) {
    const Buffer& buffer = f.buffers[l.buffer];
    const int64_t align = buffer.swizzle ? kSwizzleAlign : kAlign, bytes = ceil_div(buffer.size * size_of(buffer.dtype), align) * align;
    // The first place that is free all the time.
    int64_t at = 0;
    const auto taken = [&]() -> const Placed* {
      for (const Placed& p : placed) {
        const bool together =
            l.last < 0 || p.life->last < 0 || (p.life->first <= l.last && l.first <= p.life->last);
        if (together && p.begin < at + bytes && at < p.end) return &p;
      }
      return nullptr;
    };
    while (const Placed* p = taken()) at = ceil_div(p->end, align) * align;
    placed.push_back({&l, at, at + bytes});
    memory.offset[l.buffer] = at;
    memory.bytes = std::max(memory.bytes, at + bytes);
  }
  const auto met_before = [&](const Lifetime& l) {
    return std::ranges::any_of(memory.met, [&](const Stmt& s) { return s.same_as(l.begin); });
  };
  for (const Placed& p : placed) {
    for (const Placed& q : placed) {
      if (p.life->last < 0 || p.life->last >= q.life->first || p.end <= q.begin ||
          q.end <= p.begin || met_before(*q.life))
        continue;
      if (std::ranges::none_of(lives.barriers,
                               [&](int64_t b) { return p.life->last < b && b < q.life->first; }))
        memory.met.push_back(q.life->begin);
    }
  }
  return memory;
}

}  // namespace burnish::c_like
