// Vectorized loops: every statement of the body is executed by all lanes, reads before writes,
// before the next one begins. That is what vector code does; a loop for which it differs from
// serial execution is thus run as it will be.
#include <algorithm>

#include "base/error.h"
#include "loop/machine.h"

namespace burnish::loop {

namespace {
// A vectorized loop is as long as a register or a few; more is no vector.
constexpr int64_t most_lanes = 1 << 16;
}  // namespace

// The lanes that take part, and the values of what was bound inside the loop, by lane.
struct Machine::Lanes {
  VarId var;
  int64_t lo;  // the loop variable of lane 0
  std::vector<uint32_t> active;
  struct Bound {
    VarId var;
    const std::vector<int64_t>* values;  // by lane
  };
  std::vector<Bound> bound;

  void enter(uint32_t lane, std::vector<int64_t>& vars) const {
    vars[var] = lo + lane;
    for (const Bound& b : bound) vars[b.var] = (*b.values)[lane];
  }
  Lanes with(std::vector<uint32_t> which) const {
    Lanes out = *this;
    out.active = std::move(which);
    return out;
  }
};

void Machine::exec_vector(const Node& n, int64_t lo, int64_t hi) {
  if (hi <= lo) return;
  if (hi - lo > most_lanes) {
    fail(fmt::format("a vectorized loop of {} iterations; at most {}", hi - lo, most_lanes));
  }
  Lanes all{n.source->loop.var, lo, {}, {}};
  for (int64_t i = lo; i < hi; ++i) all.active.push_back(static_cast<uint32_t>(i - lo));
  bound_[all.var] = true;
  lanes(n.children[0], all);
  bound_[all.var] = false;
}

void Machine::lanes(uint32_t index, const Lanes& active) {
  if (active.active.empty()) return;
  const Node& n = code_.nodes[index];
  at_ = n.source;
  step();
  switch (n.source->kind) {
  case StmtKind::For: lanes_for(n, active); break;
  case StmtKind::Let: {
    std::vector<int64_t> values(active.active.back() + size_t{1});
    for (uint32_t lane : active.active) {
      active.enter(lane, vars_);
      evaluate(n.code);
      values[lane] = registers_[static_cast<size_t>(n.a)].i;
    }
    Lanes inner = active;
    inner.bound.push_back({n.source->var, &values});
    bound_[n.source->var] = true;
    lanes(n.children[0], inner);
    bound_[n.source->var] = false;
    break;
  }
  case StmtKind::Store: lanes_store(n, active); break;
  case StmtKind::Seq:
    for (uint32_t c : n.children) lanes(c, active);
    break;
  case StmtKind::If: {
    auto yes = lanes_where(n, active, true);
    std::vector<uint32_t> no;
    std::set_difference(active.active.begin(), active.active.end(), yes.begin(), yes.end(),
                        std::back_inserter(no));
    lanes(n.children[0], active.with(std::move(yes)));
    if (n.children.size() > 1) lanes(n.children[1], active.with(std::move(no)));
    break;
  }
  case StmtKind::While: {
    Lanes now = active;
    for (;;) {
      at_ = n.source;
      now.active = lanes_where(n, now, true);
      if (now.active.empty()) break;
      lanes(n.children[0], now);
    }
    break;
  }
  case StmtKind::Alloc: fail("an alloc inside a vectorized loop");
  case StmtKind::Barrier: fail("a barrier inside a vectorized loop");
  case StmtKind::Call: fail("a call inside a vectorized loop");
  }
}

std::vector<uint32_t> Machine::lanes_where(const Node& n, const Lanes& active, bool wanted) {
  std::vector<uint32_t> out;
  for (uint32_t lane : active.active) {
    active.enter(lane, vars_);
    evaluate(n.code);
    if (bool(registers_[static_cast<size_t>(n.a)].i) == wanted) out.push_back(lane);
  }
  return out;
}

void Machine::lanes_store(const Node& n, const Lanes& active) {
  struct Pending {
    int64_t at;
    Cell value;
    uint32_t lane;
  };
  std::vector<Pending> pending;
  pending.reserve(active.active.size());
  for (uint32_t lane : active.active) {
    active.enter(lane, vars_);
    evaluate(n.code);
    pending.push_back({store_position(n), registers_[static_cast<size_t>(n.b)], lane});
  }
  for (const Pending& p : pending) {
    active.enter(p.lane, vars_);
    write(n.source->buffer, p.at, p.value);
  }
  // One value must win where lanes meet: theirs have to agree.
  std::sort(pending.begin(), pending.end(),
            [](const Pending& a, const Pending& b) { return a.at < b.at; });
  for (size_t i = 1; i < pending.size(); ++i) {
    const Pending &a = pending[i - 1], &b = pending[i];
    if (a.at != b.at || a.value.i == b.value.i) continue;
    fail(fmt::format("lanes {} and {} of a vectorized loop store different values to {}[{}]",
                     a.lane, b.lane, f_.buffers[n.source->buffer].name, a.at));
  }
}

void Machine::lanes_for(const Node& n, const Lanes& active) {
  if (n.source->loop.kind != LoopKind::Serial && n.source->loop.kind != LoopKind::Unroll) {
    fail(fmt::format("a {} loop inside a vectorized loop", name_of(n.source->loop.kind)));
  }
  size_t count = active.active.back() + size_t{1};
  std::vector<int64_t> lo(count), hi(count), values(count);
  int64_t first = n.source->loop.extent, last = 0;
  for (uint32_t lane : active.active) {
    active.enter(lane, vars_);
    std::tie(lo[lane], hi[lane]) = bounds(n);
    first = std::min(first, lo[lane]);
    last = std::max(last, hi[lane]);
  }
  Lanes inner = active;
  inner.bound.push_back({n.source->loop.var, &values});
  bound_[n.source->loop.var] = true;
  for (int64_t i = first; i < last; ++i) {
    std::fill(values.begin(), values.end(), i);
    inner.active.clear();
    for (uint32_t lane : active.active) {
      if (lo[lane] <= i && i < hi[lane]) inner.active.push_back(lane);
    }
    lanes(n.children[0], inner);
  }
  bound_[n.source->loop.var] = false;
}

}  // namespace burnish::loop
