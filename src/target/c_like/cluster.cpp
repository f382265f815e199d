// Which neighbouring blocks alone meet between two loops over blocks, without the end of a kernel: those of a cluster, or those of a group
// whose last one goes on.
#include <algorithm>
#include <map>
#include <set>

#include "expr/interval.h"
#include "loop/loads.h"
#include "target/c_like/kernel.h"

namespace burnish::c_like {

namespace {

using Places = std::map<BufferId, Interval>;  // the hull of what is accessed

struct Accesses {
  Places read, written;
};

void widen(Places& all, BufferId b, Interval i) {
  const auto [at, fresh] = all.emplace(b, i);
  if (!fresh) at->second = {std::min(at->second.lo, i.lo), std::max(at->second.hi, i.hi)};
}

// What iteration `n` of the loop accesses of the function's parameters and what is shared among
// blocks. Bounds of loops and conditions are left out: it may be less.
Accesses accesses_of(const Function& f, const Stmt& loop, int64_t n) {
  Accesses out;
  Ranges ranges;
  ranges.set(loop->loop.var, n, n);
  const auto common = [&](BufferId b) {
    return f.buffers[b].scope == Scope::Param || f.buffers[b].scope == Scope::Shared;
  };
  visit(loop->children[0],
        [&](const Stmt& s) {  // from outside to inside: variables are known where they are used
          if (s.kind() == StmtKind::For)
            ranges.set(s->loop.var, 0, std::max<int64_t>(0, s->loop.extent - 1));
          if (s.kind() == StmtKind::Let) {
            const Interval x = ranges.bounds(s->index);
            ranges.set(s->var, x.lo, x.hi);
          }
          if (s.kind() == StmtKind::Store && common(s->buffer))
            widen(out.written, s->buffer, ranges.bounds(s->index));
          visit_loads(s, [&](const Expr& e) {
            if (common(e.from())) widen(out.read, e.from(), ranges.bounds(e.indices()[0]));
          });
        });
  return out;
}

bool plain(const Stmt& s) {
  bool yes = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel &&
             s->loop.lower.empty() && s->loop.upper.empty();
  visit(s,
        [&](const Stmt& x) { yes &= x.kind() != StmtKind::Call && x.kind() != StmtKind::While; });
  return yes;
}

// What two loops one after the other hand on by memory.
class Handing {
 public:
  Handing(const Function& f, const Stmt& before, const Stmt& after) {
    if (!plain(before) || !plain(after) || std::max(before->loop.extent, after->loop.extent) > kMostBlocksThatMeet ||
        std::min(before->loop.extent, after->loop.extent) < 1)
      return;
    first_ = {accesses_of(f, before, 0)}, second_ = {accesses_of(f, after, 0)};
    // All iterations have the same buffers. What is written twice, or after it was read, is not
    // looked into.
    for (const auto& [b, where] : second_[0].written)
      if (first_[0].read.contains(b) || first_[0].written.contains(b)) return;
    for (const auto& [b, where] : first_[0].written)
      if (second_[0].read.contains(b)) shared_.push_back(b);
    if (shared_.empty()) return;
    for (int64_t n = 1; n < before->loop.extent; ++n) first_.push_back(accesses_of(f, before, n));
    for (int64_t n = 1; n < after->loop.extent; ++n) second_.push_back(accesses_of(f, after, n));
  }

  // Each group of `second` blocks reads what those `first` have written before that are as far behind the beginning, and nothing that
  // others have.
  bool apart(int64_t first, int64_t second) const {
    const int64_t groups = std::ssize(first_) / first;
    if (shared_.empty() || std::ssize(first_) % first || std::ssize(second_) != groups * second) return false;
    return std::ranges::all_of(shared_, [&](BufferId b) {
      std::vector<Interval> written;
      for (int64_t g = 0; g < groups; ++g) {
        Interval all = first_[static_cast<size_t>(g * first)].written.at(b);
        for (int64_t j = g * first; j < (g + 1) * first; ++j) {
          const Interval w = first_[static_cast<size_t>(j)].written.at(b);
          all = {std::min(all.lo, w.lo), std::max(all.hi, w.hi)};
        }
        for (int64_t j = g * second; j < (g + 1) * second; ++j) {
          const Interval r = second_[static_cast<size_t>(j)].read.at(b);
          if (r.lo < all.lo || r.hi > all.hi) return false;
        }
        written.push_back(all);
      }
      std::ranges::sort(written, {}, &Interval::lo);
      for (size_t i = 1; i < written.size(); ++i)
        if (written[i].lo <= written[i - 1].hi) return false;
      return true;
    });
  }

 private:
  std::vector<Accesses> first_, second_;
  std::vector<BufferId> shared_;
};

}  // namespace

int64_t blocks_that_meet(const Function& f, const Stmt& before, const Stmt& after, int64_t most) {
  const int64_t blocks = before->loop.extent;
  if (blocks != after->loop.extent || blocks < 2) return 0;
  const Handing handing(f, before, after);
  for (int64_t n = 1; n <= std::min(most, blocks); ++n)
    if (handing.apart(n, n)) return n;
  return 0;
}

int64_t blocks_that_gather(const Function& f, const Stmt& before, const Stmt& after) {
  const int64_t groups = after->loop.extent, n = groups ? before->loop.extent / groups : 0;
  if (groups < 2 || n < 2 || n > kMostOfACluster || before->loop.extent % groups) return 0;
  return Handing(f, before, after).apart(n, 1) ? n : 0;
}

std::vector<Handed> handed_on(const Function& f, const Stmt& before, const Stmt& after) {
  constexpr int64_t widest = 4;  // elements that are read at once
  std::vector<Handed> all;
  std::vector<Accesses> first;
  for (int64_t n = 0; n < before->loop.extent; ++n) first.push_back(accesses_of(f, before, n));
  for (const auto& [b, where] : first[0].written) {
    if (f.buffers[b].scope != Scope::Shared || first[0].read.contains(b)) continue;
    const Handed h{b, first[1].written.at(b).lo};
    bool fits = h.piece > 0 && h.piece % widest == 0;
    for (int64_t n = 0; fits && n < std::ssize(first); ++n) {
      const Interval w = first[static_cast<size_t>(n)].written.at(b);
      fits = w.lo == n * h.piece && w.hi < (n + 1) * h.piece;
    }
    // By these two loops alone.
    int64_t uses = 0;
    const auto count = [&](const Stmt& s, int64_t each) {
      visit(s, [&](const Stmt& x) {
        if (x.kind() == StmtKind::Store && x->buffer == b) uses += each;
        visit_loads(x, [&](const Expr& e) {
          if (e.from() != b) return;
          uses += each;
          fits &= e.indices()[0].is_affine();
        });
      });
    };
    count(f.body, 1);
    count(before, -1);
    count(after, -1);
    if (fits && uses == 0) all.push_back(h);
  }
  return all;
}

namespace {

// A nest of threads that only copies, from and to buffers of a kind.
bool copies(const Stmt& s, const auto& from, const auto& to) {
  bool fits = s.kind() == StmtKind::For && has_loop(s, LoopKind::Thread);
  visit(s, [&](const Stmt& x) {
    fits &= x.kind() == StmtKind::For || x.kind() == StmtKind::Seq || x.kind() == StmtKind::Store;
    if (x.kind() == StmtKind::Store) fits &= to(x->buffer);
    visit_loads(x, [&](const Expr& e) { fits &= from(e.from()); });
  });
  return fits;
}

}  // namespace

bool copies_constants(const Function& f, const Stmt& s) {
  return copies(s, [&](BufferId b) { return f.buffers[b].constant; }, [&](BufferId b) { return f.buffers[b].scope == Scope::Thread; });
}

std::vector<Stmt> early_copies(const Function& f, const Stmt& before, const Stmt& after) {
  std::set<BufferId> used, own;
  visit(before, [&](const Stmt& s) {
    if (s.kind() == StmtKind::Store) used.insert(s->buffer);
  });
  const auto is_read_only = [&](BufferId b) { return f.buffers[b].scope == Scope::Param && !f.buffers[b].written; };
  const auto of_second = [&](BufferId b) { return own.contains(b) && !used.contains(b); };
  std::vector<Stmt> all;
  Stmt s = after->children[0];
  for (; s.kind() == StmtKind::Alloc; s = s.children()[0])
    if (f.buffers[s->buffer].scope == Scope::Thread) own.insert(s->buffer);
  if (s.kind() != StmtKind::Seq) return all;
  for (const Stmt& c : s.children()) {
    if (c.kind() == StmtKind::Barrier) break;
    if (copies(c, is_read_only, of_second)) all.push_back(c);
  }
  return all;
}

}  // namespace burnish::c_like
