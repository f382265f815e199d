// Barriers inside the blocks of a GPU. A block is a sequence of phases: thread loops, and what stands beside them, which
// its first thread does alone. Where a phase touches what an earlier one has touched since the last barrier, and
// one of the two writes, a barrier stands between them; around a loop, its end stands before its beginning.
#include <map>
#include <set>

#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

bool has(const Stmt& s, LoopKind kind) {
  bool found = false;
  visit(s, [&](const Stmt& x) { found |= x.kind() == StmtKind::For && x->loop.kind == kind; });
  return found;
}

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
      if (s.kind() != StmtKind::For || s->loop.kind != LoopKind::Parallel || !has(s, LoopKind::Thread)) return Stmt();
      pending_ = {};
      before_.clear();
      find(s->children[0]);
      const Stmt body = place(s->children[0]);
      return s.with_children({&body, 1});
    });
  }

 private:
  Touched touched(const Stmt& s) const {
    Touched t;
    std::set<BufferId> own;  // a thread's registers, or memory that lives inside
    auto reads = [&](const Expr& e) {
      if (e)
        visit(e, [&](const Expr& x) {
          if (x.kind() == ExprKind::Load) t.read.insert(x.from());
        });
    };
    visit(s, [&](const Stmt& x) {
      if (x.kind() == StmtKind::Alloc) own.insert(x->buffer);
      if (x.kind() == StmtKind::Store) t.written.insert(x->buffer);
      reads(x->value);
      for (const Atom& a : x->index.atoms) reads(a.value);
      for (const Expr& e : x->args) reads(e);
    });
    std::erase_if(t.read, [&](BufferId b) { return own.contains(b) || f_.buffers[b].scope == Scope::Register; });
    std::erase_if(t.written, [&](BufferId b) { return own.contains(b) || f_.buffers[b].scope == Scope::Register; });
    return t;
  }

  static bool is_phase(const Stmt& s) {
    switch (s.kind()) {
    case StmtKind::For: return s->loop.kind == LoopKind::Thread || !has(s, LoopKind::Thread);
    case StmtKind::Let:
    case StmtKind::Alloc:
    case StmtKind::If:
    case StmtKind::While: return !has(s, LoopKind::Thread);
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
    for (int i = 0; i < (loop ? 2 : 1); ++i) {
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
  std::set<const StmtNode*> before_;
};

}  // namespace

Stmt with_block_barriers(const Function& f) { return BlockBarriers(f).run(); }

}  // namespace burnish::lowering
