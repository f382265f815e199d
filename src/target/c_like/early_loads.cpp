// What a kernel's results need of memory besides their sums, as biases and residuals, is asked for before the sums:
//
//   thread t { sums of t }   barrier   thread t { y[t] = sums'[t] + x[t] }     ->
//   thread t { held[t] = x[t] }   thread t { sums of t }   barrier   thread t { y[t] = sums'[t] + held[t] }
//
// Behind a barrier it would be waited for once more, and where results are stored one after the other, once a result:
// compilers move loads neither over barriers nor, where nothing tells them that they may, over stores. What takes many
// registers is asked for before the last barrier, when those of the sums are free.
#include "target/c_like/early_loads.h"

#include <algorithm>
#include <array>
#include <optional>

#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

// Bytes of a thread, of one load: a vector is held from the beginning, so many from before the last barrier.
constexpr int64_t most_early = 16, most_late = 256;
constexpr int64_t most_unrolled = 16;  // iterations of a loop outside of those of threads

// A load of a statement that stores results, and where its value is held.
struct Held {
  Expr load;
  BufferId buffer = 0;
  Index place;
};

class Hoister {
 public:
  explicit Hoister(const Function& f) : f_(f) {}

  Function run() {
    if (!f_.body) return f_;
    f_.body = top_level(f_.body);
    return std::move(f_);
  }

 private:
  Stmt top_level(const Stmt& s) {
    const bool parallel = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel;
    if (!parallel && s.kind() != StmtKind::Seq && s.kind() != StmtKind::Alloc) return s;
    if (!parallel || !has_loop(s, LoopKind::Thread)) return parallel ? s : of_children(s, [&](const Stmt& c) { return top_level(c); });
    return make_for(s->loop, in_block(s.children()[0]));
  }

  template <class F> Stmt of_children(const Stmt& s, const F& f) {
    std::vector<Stmt> children;
    for (const Stmt& c : s.children()) children.push_back(f(c));
    return s.with_children(children);
  }

  // The statements of a block, of which the first now hold what the others need.
  Stmt in_block(const Stmt& s) {
    if (s.kind() == StmtKind::Let || s.kind() == StmtKind::Alloc)
      return of_children(s, [&](const Stmt& c) { return in_block(c); });
    std::vector<Stmt> all;
    size_t early = 0, late = 0;  // where those go that are held from the beginning, and the others
    held_.clear();
    for (const Stmt& c : s.kind() == StmtKind::Seq ? s.children() : std::span(&s, 1)) {
      Stmt now = c;
      if (has_loop(c, LoopKind::Thread)) {
        path_.clear();
        threads_ = threads_inside(c);
        early_.clear();
        late_.clear();
        now = stored(c);
        all.insert(all.begin() + static_cast<ptrdiff_t>(late), late_.begin(), late_.end());
        all.insert(all.begin() + static_cast<ptrdiff_t>(early), early_.begin(), early_.end());
        early += early_.size();
        late += early_.size();
      }
      if (c.kind() == StmtKind::Barrier) late = all.size();
      all.push_back(now);
    }
    if (held_.empty()) return s;
    Stmt body = make_seq(std::move(all));
    for (const BufferId b : held_) body = make_alloc(b, std::move(body));
    return body;
  }

  // A nest with its loads from registers; the loops around, outermost first, are the path.
  Stmt stored(const Stmt& s) {
    switch (s.kind()) {
    case StmtKind::For: {
      const bool within = std::ranges::any_of(path_, [](const Stmt& p) { return p.kind() == StmtKind::For && p->loop.kind == LoopKind::Thread; });
      const LoopKind kind = s->loop.kind;
      ForStmt loop = s->loop;
      if (kind == LoopKind::Serial && !within && loop.extent <= most_unrolled && loop.in_flight < 0)
        loop.kind = LoopKind::Unroll;
      else if (kind == LoopKind::Serial || kind == LoopKind::Tensor || kind == LoopKind::Parallel)
        return s;
      const size_t before = held_.size();
      path_.push_back(make_for(loop, s.children()[0]));
      Stmt body = stored(s.children()[0]);
      path_.pop_back();
      return held_.size() == before ? s : make_for(loop, std::move(body));
    }
    case StmtKind::Let: {
      path_.push_back(s);
      Stmt out = of_children(s, [&](const Stmt& c) { return stored(c); });
      path_.pop_back();
      return out;
    }
    case StmtKind::Alloc:
    case StmtKind::Seq: return of_children(s, [&](const Stmt& c) { return stored(c); });
    case StmtKind::Store: return f_.buffers[s->buffer].scope == Scope::Param ? from_held(s) : s;
    case StmtKind::If:
    case StmtKind::While:
    case StmtKind::Barrier:
    case StmtKind::Call: break;
    }
    return s;
  }

  Stmt from_held(const Stmt& store) {
    std::vector<Held> found;
    const Expr value = replaced(store->value, found);
    return found.empty() ? store : make_store(store->buffer, store->index, value);
  }

  // Not what arms of a select load: it may not be there.
  Expr replaced(const Expr& e, std::vector<Held>& found) {
    if (e.kind() == ExprKind::Load) {
      for (const Held& h : found)
        if (equal(h.load, e)) return load(e.dtype(), h.buffer, {h.place});
      if (const auto h = hold(e)) {
        found.push_back(*h);
        return load(e.dtype(), h->buffer, {h->place});
      }
      return e;
    }
    if (e.kind() == ExprKind::Binary) return binary(e.binary(), replaced(e.children()[0], found), replaced(e.children()[1], found));
    if (e.kind() == ExprKind::Unary) return unary(e.unary(), replaced(e.children()[0], found));
    if (e.kind() == ExprKind::Cast) return cast(e.dtype(), replaced(e.children()[0], found));
    return e;
  }

  static bool moves_with(const Index& i, VarId v) {
    return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& x) { return x.a.slope(v) != 0; });
  }

  // Whether the loop has no iterations for some values of what the load moves with, which may then not be there.
  static bool says_what_is_there(const ForStmt& l, const Index& at) {
    const auto says = [&](const Bound& b) { return std::ranges::any_of(b.a.terms, [&](const Term& t) { return moves_with(at, t.var); }); };
    return std::ranges::any_of(l.lower, says) || std::ranges::any_of(l.upper, says);
  }

  // In loops that the load moves with.
  std::optional<Held> hold(const Expr& e) {
    const Buffer& from = f_.buffers[e.from()];
    const Index& at = e.indices()[0];
    if (from.scope != Scope::Param || from.written || e.fill() || std::ranges::any_of(at.atoms, [](const Atom& x) { return bool(x.value); }))
      return std::nullopt;
    std::vector<Stmt> around;
    int64_t own = 1;
    Aff place(0), thread(0);
    const auto needs = [&](VarId v) {
      return moves_with(at, v) || std::ranges::any_of(around, [&](const Stmt& s) {
               const auto moved = [&](const Bound& b) { return b.a.slope(v) != 0; };
               return s.kind() == StmtKind::Let ? moves_with(s->index, v) : std::ranges::any_of(s->loop.lower, moved) || std::ranges::any_of(s->loop.upper, moved);
             });
    };
    for (size_t i = path_.size(); i-- > 0;) {
      const Stmt& p = path_[i];
      if (p.kind() == StmtKind::For && p->loop.kind != LoopKind::Thread) {
        const ForStmt& l = p->loop;
        if (!needs(l.var) && !says_what_is_there(l, at)) continue;
        place = place + Aff::of(l.var) * own;
        own *= l.extent;
      }
      around.push_back(p);
    }
    const int64_t bytes = own * size_of(e.dtype());
    if (bytes > most_late) return std::nullopt;
    int64_t threads = 1;
    for (const Stmt& p : around)
      if (p.kind() == StmtKind::For && p->loop.kind == LoopKind::Thread) {
        thread = thread + Aff::of(p->loop.var) * threads;
        threads *= p->loop.extent;
      }
    if (threads != threads_) return std::nullopt;  // numbers of threads have other digits there
    Held h{.load = e, .buffer = f_.add_buffer({.name = from.name + ".held", .dtype = e.dtype(), .scope = Scope::Register, .size = own * threads}),
           .place = Index(place + thread * own)};
    Stmt first = make_store(h.buffer, h.place, e);
    for (const Stmt& p : around) first = p.with_children(std::array{first});
    (bytes > most_early ? late_ : early_).push_back(first);
    held_.push_back(h.buffer);
    return h;
  }

  Function f_;
  std::vector<Stmt> path_, early_, late_;
  std::vector<BufferId> held_;
  int64_t threads_ = 1;  // of the nest
};

}  // namespace

Function with_early_loads(const Function& f) {
  return Hoister(f).run();
}

}  // namespace burnish::c_like
