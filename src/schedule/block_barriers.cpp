// Barriers inside the blocks of a GPU. A block is a sequence of phases: thread loops, and what stands beside them, which
// its first thread does alone. Where a phase touches what an earlier one has touched since the last barrier, and
// one of the two writes, a barrier stands between them; around a loop, its end stands before its beginning. What every
// iteration of a loop has for itself (rows of an image that it fills) needs none there.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "loop/loads.h"
#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

struct Touched {
  std::set<BufferId> read, written;

  bool meets(const Touched& o) const {
    auto any = [](const std::set<BufferId>& a, const std::set<BufferId>& b) {
      for (BufferId x : a)
        if (b.contains(x)) return true;
      return false;
    };
    return any(written, o.written) || any(written, o.read) || any(read, o.written);
  }
  void add(const Touched& o) {
    read.insert(o.read.begin(), o.read.end());
    written.insert(o.written.begin(), o.written.end());
  }
};

class BlockBarriers {
 public:
  explicit BlockBarriers(const Function& f) : f_(f) {}

  Stmt run() {
    return rewrite(f_.body, [&](const Stmt& s) {
      if (s.kind() != StmtKind::For || s->loop.kind != LoopKind::Parallel || !has_loop(s, LoopKind::Thread)) return Stmt();
      pending_ = {};
      before_.clear();
      reads_.clear();
      reads_ = touched(s->children[0]).read;
      find(s->children[0]);
      const Stmt body = place(s->children[0]);
      return s.with_children({&body, 1});
    });
  }

 private:
  Touched touched(const Stmt& s) const {
    Touched t;
    std::set<BufferId> own;  // a thread's registers, or memory that lives inside
    visit(s, [&](const Stmt& x) {
      if (x.kind() == StmtKind::Alloc) own.insert(x->buffer);
      if (x.kind() == StmtKind::Store) t.written.insert(x->buffer);
      visit_loads(x, [&](const Expr& e) { t.read.insert(e.from()); });
    });
    std::erase_if(t.read, [&](BufferId b) { return own.contains(b) || in_registers(f_.buffers[b].scope); });
    // What a block only writes nobody waits for: every element of it is written by one phase.
    std::erase_if(t.written, [&](BufferId b) {
      const Scope scope = f_.buffers[b].scope;
      return own.contains(b) || in_registers(scope) || (scope == Scope::Param && !reads_.contains(b));
    });
    return t;
  }

  static bool is_phase(const Stmt& s) {
    switch (s.kind()) {
    case StmtKind::For: return s->loop.kind == LoopKind::Thread || !has_loop(s, LoopKind::Thread);
    case StmtKind::Let:
    case StmtKind::Alloc:
    case StmtKind::If:
    case StmtKind::While: return !has_loop(s, LoopKind::Thread);
    case StmtKind::Seq: return false;
    case StmtKind::Store:
    case StmtKind::Barrier:
    case StmtKind::Call: return true;
    }
    return true;
  }

  void find(const Stmt& s) {
    if (is_phase(s)) {
      Touched here = touched(s);
      if (pending_.meets(here)) {
        before_.insert(&*s);
        pending_ = {};
      }
      pending_.add(here);
      return;
    }
    const bool loop = s.kind() == StmtKind::For || s.kind() == StmtKind::While;
    // What a loop has to wait for it waits for once.
    if (loop && pending_.meets(touched(s))) {
      before_.insert(&*s);
      pending_ = {};
    }
    const Touched before_loop = pending_;
    Touched apart;  // what only iterations of this loop have touched, each its own part
    for (int i = 0; i < (loop ? 2 : 1); ++i) {
      if (i == 1 && s.kind() == StmtKind::For) {
        for (auto touches : {&Touched::read, &Touched::written}) {
          std::erase_if(pending_.*touches, [&](BufferId b) {
            const bool own = !before_loop.read.contains(b) && !before_loop.written.contains(b) && separates(s, b);
            if (own) (apart.*touches).insert(b);
            return own;
          });
        }
      }
      if (s.kind() == StmtKind::If) {  // either arm may have been taken
        const Touched before = pending_;
        Touched after;
        for (const Stmt& c : s.children()) {
          pending_ = before;
          find(c);
          after.add(pending_);
        }
        pending_ = after;
        pending_.add(before);
      } else {
        for (const Stmt& c : s.children()) find(c);
      }
    }
    pending_.add(apart);
  }

  // Do different iterations of the loop touch different elements of the buffer? So it is where all places that one touches
  // lie within the step from one to the next, or in such windows that are farther apart than all iterations go.
  bool separates(const Stmt& loop, BufferId b) const {
    const VarId v = loop->loop.var;
    Ranges inner;
    std::optional<Aff> common;  // less what moves inside the loop
    Interval window{0, 0};
    int64_t windows_apart = 0;
    bool fits = true;
    auto place = [&](const Index& i) {
      Aff outer(0), within(i.a.c);
      const int64_t all = std::abs(i.a.slope(v)) * loop->loop.extent;
      for (const Term& t : i.a.terms) {
        if (t.var == v || !inner.knows(t.var))
          outer.add(t.var, t.k);
        else if (std::abs(t.k) >= all && all > 0)
          windows_apart = std::gcd(windows_apart, t.k);
        else
          within.add(t.var, t.k);
      }
      const Interval here = inner.bounds(within);
      fits &= i.is_affine() && (!common || *common == outer);
      window = common ? Interval{std::min(window.lo, here.lo), std::max(window.hi, here.hi)} : here;
      common = outer;
    };
    const auto known = [&](const Aff& a) { return std::ranges::all_of(a.terms, [&](const Term& t) { return inner.knows(t.var); }); };
    visit(loop.children()[0], [&](const Stmt& x) {
      if (x.kind() == StmtKind::For) {
        inner.set(x->loop.var, 0, std::max<int64_t>(0, x->loop.extent - 1));
        for (const Bound& u : x->loop.upper)
          if (known(u.a)) inner.assume(x->loop.var, less_than(x->loop.var, u.a, u.div));
      }
      if (x.kind() == StmtKind::Let) {
        const Interval range = inner.bounds(x->index);
        inner.set(x->var, range.lo, range.hi);
      }
      if (x.kind() == StmtKind::Store && x->buffer == b) place(x->index);
      visit_loads(x, [&](const Expr& e) {
        if (e.from() == b) place(e.indices()[0]);
      });
    });
    if (!fits || !common) return false;
    const int64_t step = std::abs(common->slope(v)), size = window.hi - window.lo;
    return size < step && (windows_apart == 0 || step * (loop->loop.extent - 1) + size < windows_apart);
  }

  Stmt place(const Stmt& s) const {
    Stmt out = s;
    if (!is_phase(s)) {
      std::vector<Stmt> children;
      for (const Stmt& c : s.children()) children.push_back(place(c));
      out = s.with_children(children);
    }
    return before_.contains(&*s) ? make_seq({make_barrier(), out}) : out;
  }

  const Function& f_;
  Touched pending_;
  std::set<BufferId> reads_;  // of the block
  std::set<const StmtNode*> before_;
};

}  // namespace

Stmt with_block_barriers(const Function& f) { return BlockBarriers(f).run(); }

}  // namespace burnish::lowering
