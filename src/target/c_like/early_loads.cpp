// What a kernel's results need of memory besides their sums, as biases and residuals, is asked for
// before the sums:
//
//   thread t { sums of t }   barrier   thread t { y[t] = sums'[t] + x[t] }     ->
//   thread t { held[t] = x[t] }   thread t { sums of t }   barrier
//   thread t { y[t] = sums'[t] + held[t] }
//
// Behind a barrier it would be waited for once more, and where results are stored one after the
// other, once a result: compilers move loads neither over barriers nor, where nothing tells them
// that they may, over stores. What takes more registers is asked for before the last barrier, when
// those of the sums are free; where there is none, from the beginning, too.
#include "target/c_like/early_loads.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "expr/interval.h"
#include "loop/matrix_sum.h"
#include "target/c_like/kernel.h"

namespace burnish::c_like {

namespace {

// Bytes of a thread, of one load: a vector is held from the beginning, so many from before the last
// barrier.
constexpr int64_t most_early = 16, most_late = 256;
constexpr int64_t most_unrolled = 16;  // iterations of a loop outside of those of threads

// A load of a statement that stores results, and where its value is held.
struct Held {
  Expr load;
  BufferId buffer = 0;
  Index place;
};

bool is_loaded(const Index& i) {
  return std::ranges::any_of(i.atoms, [](const Atom& x) { return bool(x.value); });
}

bool is_loop(const Stmt& s, LoopKind kind) { return s.kind() == StmtKind::For && s->loop.kind == kind; }

class Hoister {
 public:
  explicit Hoister(const Function& f) : f_(f) {}

  Function run() {
    if (!f_.body) return f_;
    f_.body = top_level(f_.body);
    return std::move(f_);
  }

 private:
  template <class F> Stmt of_children(const Stmt& s, const F& f) {
    std::vector<Stmt> children;
    for (const Stmt& c : s.children()) children.push_back(f(c));
    return s.with_children(children);
  }

  Stmt top_level(const Stmt& s) {
    if (is_loop(s, LoopKind::Parallel)) {
      if (!has_loop(s, LoopKind::Thread)) return s;
      enter(s);
      return make_for(s->loop, in_block(s.children()[0]));
    }
    if (s.kind() != StmtKind::Seq && s.kind() != StmtKind::Alloc) return s;
    return of_children(s, [&](const Stmt& c) { return top_level(c); });
  }

  void enter(const Stmt& s) {
    if (s.kind() == StmtKind::For) ranges_.set(s->loop.var, 0, s->loop.extent - 1);
    if (s.kind() != StmtKind::Let) return;
    const Interval range = ranges_.bounds(s->index);
    ranges_.set(s->var, range.lo, range.hi);
  }

  // The statements of a block, of which the first now hold what the others need.
  Stmt in_block(const Stmt& s) {
    if (s.kind() == StmtKind::Let || s.kind() == StmtKind::Alloc) {
      enter(s);
      return of_children(s, [&](const Stmt& c) { return in_block(c); });
    }
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
      const bool within = std::ranges::any_of(path_, [](const Stmt& p) { return is_loop(p, LoopKind::Thread); });
      const LoopKind kind = s->loop.kind;
      ForStmt loop = s->loop;
      if (kind == LoopKind::Serial && !within && loop.extent <= most_unrolled && loop.in_flight < 0)
        loop.kind = LoopKind::Unroll;
      else if (kind == LoopKind::Serial || kind == LoopKind::Tensor || kind == LoopKind::Parallel)
        return s;
      const size_t before = held_.size();
      enter(s);
      path_.push_back(make_for(loop, s.children()[0]));
      Stmt body = stored(s.children()[0]);
      path_.pop_back();
      return held_.size() == before ? s : make_for(loop, std::move(body));
    }
    case StmtKind::Let: {
      if (is_loaded(s->index)) return s;  // perhaps of what is not written yet
      enter(s);
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
    found_.clear();
    replaced_.clear();
    const Expr value = replaced(store->value);
    return found_.empty() ? store : make_store(store->buffer, store->index, value);
  }

  // Each node once: what is shared stays shared. Not what arms of a select load, which may not be there.
  Expr replaced(const Expr& e) {
    if (const auto known = replaced_.find(e.get()); known != replaced_.end()) return known->second;
    Expr now = e;
    const auto child = [&](size_t i) { return replaced(e.children()[i]); };
    switch (e.kind()) {
    case ExprKind::Load: now = from_register(e); break;
    case ExprKind::Binary: {
      const Expr a = child(0), b = child(1);
      if (!a.same_as(e.children()[0]) || !b.same_as(e.children()[1])) now = binary(e.binary(), a, b);
      break;
    }
    case ExprKind::Unary:
      if (const Expr a = child(0); !a.same_as(e.children()[0])) now = unary(e.unary(), a);
      break;
    case ExprKind::Cast:
      if (const Expr a = child(0); !a.same_as(e.children()[0])) now = cast(e.dtype(), a);
      break;
    case ExprKind::Const:
    case ExprKind::Affine:
    case ExprKind::Acc:
    case ExprKind::Select:
    case ExprKind::Call: break;
    }
    replaced_.emplace(e.get(), now);
    return now;
  }

  Expr from_register(const Expr& e) {
    const auto same = std::ranges::find_if(found_, [&](const Held& h) { return equal(h.load, e); });
    if (same == found_.end()) {
      const auto h = hold(e);
      if (!h) return e;
      found_.push_back(*h);
      return load(e.dtype(), h->buffer, {h->place});
    }
    return load(e.dtype(), same->buffer, {same->place});
  }

  // Around it are the loops that it moves with; with bounds also others, which say whether it is
  // there where that is not known.
  std::optional<Held> hold(const Expr& e) {
    const Buffer& from = f_.buffers[e.from()];
    const Index& at = e.indices()[0];
    if (from.scope != Scope::Param || from.written || e.fill() || is_loaded(at)) return std::nullopt;
    const Interval range = ranges_.bounds(at);
    const bool always_there = range.lo >= 0 && range.hi < from.size;
    std::vector<Stmt> around;
    int64_t own = 1;
    Aff place(0);
    const auto needed = [&](VarId v) {
      return depends_on(at, v) || std::ranges::any_of(around, [&](const Stmt& s) {
               const auto moved = [&](const Bound& b) { return b.a.slope(v) != 0; };
               return s.kind() == StmtKind::Let ? depends_on(s->index, v)
                                                : std::ranges::any_of(s->loop.lower, moved) || std::ranges::any_of(s->loop.upper, moved);
             });
    };
    for (size_t i = path_.size(); i-- > 0;) {
      const Stmt& p = path_[i];
      if (p.kind() == StmtKind::For && p->loop.kind != LoopKind::Thread) {
        const ForStmt& l = p->loop;
        const bool bounded = !l.lower.empty() || !l.upper.empty();
        if (!needed(l.var) && (always_there || !bounded)) continue;
        place = place + Aff::of(l.var) * own;
        own *= l.extent;
      }
      around.push_back(p);
    }
    const int64_t bytes = own * size_of(e.dtype());
    if (bytes > most_late) return std::nullopt;
    int64_t threads = 1;
    Aff thread(0);
    for (const Stmt& p : around)
      if (is_loop(p, LoopKind::Thread)) {
        thread = thread + Aff::of(p->loop.var) * threads;
        threads *= p->loop.extent;
      }
    if (threads != threads_) return std::nullopt;  // numbers of threads have other digits there
    Held h{.load = e,
           .buffer = f_.add_buffer({.name = from.name + ".held", .dtype = e.dtype(), .scope = Scope::Register, .size = own * threads}),
           .place = Index(place + thread * own)};
    Stmt first = make_store(h.buffer, h.place, e);
    for (const Stmt& p : around) first = p.with_children(std::array{first});
    (bytes > most_early ? late_ : early_).push_back(first);
    held_.push_back(h.buffer);
    return h;
  }

  Function f_;
  Ranges ranges_;
  std::vector<Stmt> path_, early_, late_;
  std::vector<BufferId> held_;
  int64_t threads_ = 1;  // of the nest
  std::vector<Held> found_;  // of the store
  std::unordered_map<const ExprNode*, Expr> replaced_;
};

}  // namespace

Function with_early_loads(const Function& f) { return Hoister(f).run(); }

}  // namespace burnish::c_like
