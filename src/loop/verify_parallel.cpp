// What the verifier says about threads: iterations of a parallel loop meet nowhere, and barriers
// stand where one top-level statement depends on another.
#include <fmt/core.h>

#include <algorithm>

#include "loop/verify.h"

namespace burnish::loop {

namespace {

constexpr size_t most_splits = 3;

// Does the fact say no more than that the place is above or below some number?
bool bounds_place(const SharedAccess& x, const Aff& fact) { return (fact - x.at).is_const() || (fact + x.at).is_const(); }

// Both iterations in one prover: ids of the outside shared, all others twice.
class TwoIterations {
 public:
  TwoIterations(const std::set<Prover::Id>& outer) : outer_(outer) {}

  Aff enter(const SharedAccess& x, int side, bool of_place) {
    for (const auto& [id, range] : x.ranges) {
      bool shared = outer_.contains(id);
      auto& map = shared ? shared_ : own_[side];
      if (!map.contains(id)) map[id] = prover.fresh(range.first, range.second);
    }
    for (const Aff& fact : x.facts)
      if (of_place || !bounds_place(x, fact)) prover.assume(renamed(fact, side));
    return renamed(x.at, side);
  }
  Prover::Id own(Prover::Id id, int side) const { return own_[side].at(id); }
  bool has_own(Prover::Id id, int side) const { return own_[side].contains(id); }

  Prover prover;

 private:
  Aff renamed(const Aff& a, int side) const {
    Aff out(a.c);
    for (const Term& t : a.terms) {
      auto it = own_[side].find(t.var);
      out.add(it != own_[side].end() ? it->second : shared_.at(t.var), t.k);
    }
    return out;
  }

  const std::set<Prover::Id>& outer_;
  std::map<Prover::Id, Prover::Id> shared_, own_[2];
};

// Proves `difference` != 0: it is positive, or negative, or its digits are: with strides divided
// into those that g divides and smaller ones, whose sum stays between -g and g, it is zero only if
// both parts are.
bool apart(Prover& prover, const Aff& difference) {
  if (prover.never_negative(difference - Aff(1)) || prover.never_negative(-difference - Aff(1)))
    return true;
  std::set<int64_t> strides;
  for (const Term& t : difference.terms) strides.insert(std::abs(t.k));
  for (auto g = strides.rbegin(); g != strides.rend() && *g > 1; ++g) {
    Aff large, small;
    for (const Term& t : difference.terms)
      (t.k % *g ? small : large).add(t.var, t.k % *g ? t.k : t.k / *g);
    if (small.terms.empty() || large.terms.empty()) continue;
    for (int64_t c : {floor_mod(difference.c, *g), floor_mod(difference.c, *g) - *g}) {
      small.c = c;
      large.c = (difference.c - c) / *g;
      if (!prover.never_negative(Aff(*g - 1) - small) ||
          !prover.never_negative(Aff(*g - 1) + small))
        continue;
      if (apart(prover, small) || apart(prover, large)) return true;
    }
  }
  return false;
}

// The same for each case of the quotients: that of the later iteration is larger, the same, or
// smaller.
bool apart(Prover& prover, const Aff& difference, const std::vector<Aff>& growths, size_t next) {
  if (apart(prover, difference)) return true;
  if (next == growths.size()) return false;
  const Aff& growth = growths[next];
  auto in_case = [&](std::initializer_list<Aff> facts) {
    auto mark = prover.mark();
    for (const Aff& fact : facts) prover.assume(fact);
    bool proved = apart(prover, difference, growths, next + 1);
    prover.reset(mark);
    return proved;
  };
  return in_case({growth - Aff(1)}) && in_case({growth, -growth}) &&
         (prover.never_negative(growth) || in_case({-growth - Aff(1)}));
}

}  // namespace

namespace {

bool never_meet(const SharedAccess& a, VarId a_var, const SharedAccess& b, VarId b_var,
                const std::set<Prover::Id>& outer, bool of_place) {
  TwoIterations both(outer);
  Aff at_a = both.enter(a, 0, of_place), at_b = both.enter(b, 1, of_place);
  both.prover.assume(Aff::of(both.own(b_var, 1)) - Aff::of(both.own(a_var, 0)) - Aff(1));
  // Quotients that both accesses have; outer ones first.
  std::vector<Aff> growths;
  for (const Prover::AtomId& q : a.quotients) {
    for (const Prover::AtomId& r : b.quotients) {
      if (growths.size() == most_splits || !same_atom(q.atom, r.atom)) continue;
      if (!both.has_own(q.id, 0) || !both.has_own(r.id, 1)) continue;
      growths.push_back(Aff::of(both.own(r.id, 1)) - Aff::of(both.own(q.id, 0)));
    }
  }
  return apart(both.prover, at_b - at_a, growths, 0);
}

}  // namespace

bool never_meet(const SharedAccess& a, VarId a_var, const SharedAccess& b, VarId b_var,
                const std::set<Prover::Id>& outer) {
  // That a place lies within a part of a tensor leads searches astray where the rest tells iterations apart.
  const auto bounded = [](const SharedAccess& x) { return std::ranges::any_of(x.facts, [&](const Aff& fact) { return bounds_place(x, fact); }); };
  return never_meet(a, a_var, b, b_var, outer, true) || ((bounded(a) || bounded(b)) && never_meet(a, a_var, b, b_var, outer, false));
}

namespace {

// `a op b` over indices, as forms that are >= 0.
void compare(Prover& prover, BinaryOp op, const Expr& x, const Expr& y, std::vector<Aff>& out) {
  auto form = [&](const Expr& e) -> std::optional<Aff> {
    if (e.dtype() != DType::I64) return std::nullopt;
    if (e.kind() == ExprKind::Affine) return prover.flatten(e.index());
    if (e.kind() == ExprKind::Const) return Aff(e.integer());
    return std::nullopt;
  };
  auto a = form(x), b = form(y);
  if (!a || !b) return;
  if (op == BinaryOp::Ge) out.push_back(*a - *b);
  if (op == BinaryOp::Gt) out.push_back(*a - *b - Aff(1));
  if (op == BinaryOp::Le) out.push_back(*b - *a);
  if (op == BinaryOp::Lt) out.push_back(*b - *a - Aff(1));
  if (op == BinaryOp::Eq) {
    out.push_back(*a - *b);
    out.push_back(*b - *a);
  }
}

BinaryOp negated(BinaryOp op) {
  if (op == BinaryOp::Ge) return BinaryOp::Lt;
  if (op == BinaryOp::Gt) return BinaryOp::Le;
  if (op == BinaryOp::Le) return BinaryOp::Gt;
  if (op == BinaryOp::Lt) return BinaryOp::Ge;
  if (op == BinaryOp::Ne) return BinaryOp::Eq;
  return BinaryOp::Ne;  // of Eq; says nothing affine
}

}  // namespace

// One after the other: quotients in a part of it are bounded by what the parts before say.
void assume_condition(Prover& prover, const Expr& e, bool holds) {
  if (e.kind() == ExprKind::Unary && e.unary() == UnaryOp::Not) assume_condition(prover, e.children()[0], !holds);
  if (e.kind() != ExprKind::Binary) return;
  const Expr &a = e.children()[0], &b = e.children()[1];
  if (e.dtype() == DType::Bool && e.binary() == (holds ? BinaryOp::And : BinaryOp::Or)) {
    assume_condition(prover, a, holds);
    assume_condition(prover, b, holds);
  } else if (is_comparison(e.binary())) {
    std::vector<Aff> facts;
    compare(prover, holds ? e.binary() : negated(e.binary()), a, b, facts);
    for (const Aff& f : facts) prover.assume(f);
  }
}

namespace {

class BarrierCheck {
 public:
  explicit BarrierCheck(const Function& f) : f_(f) {}

  std::pair<std::string, const StmtNode*> run() {
    if (f_.body) walk(f_.body);
    return {reason_, where_};
  }

 private:
  struct Access {
    BufferId buffer;
    bool write;
    const StmtNode* agent;  // the parallel loop; null: statements of thread 0
  };

  void touch(BufferId b, bool write, const StmtNode* stmt, const StmtNode* agent) {
    for (const Access& old : pending_) {
      if (old.buffer != b || old.agent == agent || old.write == write || !reason_.empty()) continue;
      reason_ =
          fmt::format("{} {}, which {} {} since the last barrier", write ? "writes" : "reads",
                      b < f_.buffers.size() ? f_.buffers[b].name : "?",
                      old.agent ? "a parallel loop" : "thread 0", old.write ? "writes" : "reads");
      where_ = stmt;
    }
    auto same = [&](const Access& x) {
      return x.buffer == b && x.write == write && x.agent == agent;
    };
    if (std::none_of(pending_.begin(), pending_.end(), same)) pending_.push_back({b, write, agent});
  }

  void touch_exprs(const StmtNode& s, const StmtNode* agent) {
    auto loads = [&](const Expr& root) {
      if (!root) return;
      visit(root, [&](const Expr& e) {
        if (e.kind() == ExprKind::Load && !inner_.contains(e.from()))
          touch(e.from(), false, &s, agent);
      });
    };
    loads(s.value);
    for (const Atom& x : s.index.atoms) loads(x.value);
    for (const Expr& e : s.args) {
      loads(e);
      // A called function may write what it is given.
      if (e.kind() == ExprKind::Load && !inner_.contains(e.from()))
        touch(e.from(), true, &s, agent);
    }
    if (s.kind == StmtKind::Store && !inner_.contains(s.buffer)) touch(s.buffer, true, &s, agent);
  }

  static bool has_parallel(const Stmt& s) {
    bool found = false;
    visit(s, [&](const Stmt& x) {
      found |= x.kind() == StmtKind::For && x->loop.kind == LoopKind::Parallel;
    });
    return found;
  }

  void walk(const Stmt& s) {
    bool loop = s.kind() == StmtKind::For || s.kind() == StmtKind::While;
    if (s.kind() == StmtKind::Barrier) {
      pending_.clear();
    } else if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel) {
      inner_.clear();
      visit(s, [&](const Stmt& x) {
        if (x.kind() == StmtKind::Alloc) inner_.insert(x->buffer);
      });
      visit(s, [&](const Stmt& x) { touch_exprs(*x, s.operator->()); });
      inner_.clear();
    } else {
      touch_exprs(*s, nullptr);
      for (const Stmt& c : s.children()) walk(c);
      // Around a loop, the end of the body stands before its beginning.
      if (loop && has_parallel(s)) {
        touch_exprs(*s, nullptr);
        for (const Stmt& c : s.children()) walk(c);
      }
    }
  }

  const Function& f_;
  std::vector<Access> pending_;
  std::unordered_set<BufferId> inner_;
  std::string reason_;
  const StmtNode* where_ = nullptr;
};

}  // namespace

std::pair<std::string, const StmtNode*> missing_barrier(const Function& f) {
  return BarrierCheck(f).run();
}

}  // namespace burnish::loop
