// Zeros outside of an image, for halves. Most blocks have no point there, and take a loop that does
// not ask:
//
//   for i: thread t { y[t] = inside(b, i, t) ? x : 0 }     ->
//   if inside(b, all i, all t): for i: thread t { y[t] = x }
//   else: for i: thread t { y[t] = inside(b, i, t) ? x : 0 }
//
// The question costs an instruction a value; of floats that are ReLU's it is a part of that.
#include "target/c_like/inside_loops.h"

#include <algorithm>
#include <map>
#include <optional>

#include "expr/interval.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

// What the loop asks of every iteration, without the variables that are its own.
class Questions {
 public:
  explicit Questions(const Stmt& loop) {
    visit(loop, [&](const Stmt& s) {
      if (s.kind() == StmtKind::For) ranges_.set(s->loop.var, 0, s->loop.extent - 1);
      if (s.kind() == StmtKind::Let) lets_.emplace(s->var, s->index);
    });
    visit(loop, [&](const Stmt& s) {
      if (s.kind() == StmtKind::Store) visit(s->value, [&](const Expr& e) { ask(e); });
    });
  }

  std::vector<Index> all;

  // Is the value its first arm where all of these are at least 0?
  bool answered(const Expr& e) const {
    return std::ranges::any_of(selects_, [&](const Expr& x) { return equal(x, e); });
  }

 private:
  void ask(const Expr& e) {
    if (e.kind() != ExprKind::Select || !is_half(e.dtype()) || !is_zero(e.children()[2]) ||
        e.children()[1].kind() == ExprKind::Load)
      return;
    const auto conditions = as_nonnegative(e.children()[0]);
    if (!conditions) return;
    std::vector<Index> least;
    for (const Index& i : *conditions) {
      const auto a = i.is_affine() ? least_of(i.a) : std::nullopt;
      if (!a || (a->is_const() && a->c < 0)) return;
      if (!a->is_const()) least.push_back(Index(*a));
    }
    selects_.push_back(e);
    for (const Index& i : least)
      if (std::ranges::none_of(all, [&](const Index& x) { return equal(x, i); })) all.push_back(i);
  }

  std::optional<Aff> least_of(const Aff& a) const {
    const Aff whole = substitute(a, [&](VarId v) -> const Aff* {
      const auto let = lets_.find(v);
      return let != lets_.end() && let->second.is_affine() ? &let->second.a : nullptr;
    });
    Aff least(whole.c);
    for (const Term& t : whole.terms) {
      if (lets_.contains(t.var)) return std::nullopt;
      if (ranges_.knows(t.var))
        least.c += ranges_.bounds(Aff::of(t.var, t.k)).lo;
      else
        least.add(t.var, t.k);
    }
    return least;
  }

  std::vector<Expr> selects_;
  Ranges ranges_;  // of the loop's own variables
  std::map<VarId, Index> lets_;
};

// A loop of the block's threads, or a statement around such.
Stmt parted(const Stmt& s) {
  if (!has_loop(s, LoopKind::Thread)) return s;
  const bool loop = s.kind() == StmtKind::For;
  if (loop && s->loop.kind == LoopKind::Thread) return s;
  std::vector<Stmt> children;
  bool same = true;
  for (const Stmt& c : s.children()) {
    children.push_back(parted(c));
    same &= children.back().same_as(c);
  }
  if (!same) return s.with_children(children);
  if (!loop || s->loop.kind != LoopKind::Serial) return s;
  const Questions q(s);
  if (q.all.empty()) return s;
  const Stmt inside =
      rewrite_exprs(s, [&](const Expr& e) { return q.answered(e) ? e.children()[1] : Expr{}; });
  return make_if(all_nonnegative(q.all), inside, s);
}

}  // namespace

Function with_inside_loops(const Function& f) {
  Function g = f;
  if (g.body) g.body = parted(g.body);
  return g;
}

}  // namespace burnish::c_like
