#include "loop/stmt.h"

#include <unordered_map>

#include "base/error.h"

namespace burnish {

std::string_view name_of(LoopKind k) {
  switch (k) {
  case LoopKind::Serial: return "serial";
  case LoopKind::Unroll: return "unroll";
  case LoopKind::Vectorize: return "vectorize";
  case LoopKind::Parallel: return "parallel";
  case LoopKind::Thread: return "thread";
  case LoopKind::Tensor: return "tensor";
  }
  return "?";
}

StmtKind Stmt::kind() const { return node_->kind; }
std::span<const Stmt> Stmt::children() const { return node_->children; }

Stmt Stmt::with_children(std::span<const Stmt> children) const {
  check(children.size() == node_->children.size(), "a statement of {} children is given {}",
        node_->children.size(), children.size());
  bool same = true;
  for (size_t i = 0; i < children.size(); ++i) same &= children[i].same_as(node_->children[i]);
  if (same) return *this;
  // A Seq never holds a Seq.
  if (kind() == StmtKind::Seq) return make_seq({children.begin(), children.end()});
  auto n = std::make_shared<StmtNode>(*node_);
  n->children.assign(children.begin(), children.end());
  return Stmt(std::move(n));
}

namespace {

StmtNode of_kind(StmtKind kind) {
  StmtNode n;
  n.kind = kind;
  return n;
}

Stmt node(StmtNode n) { return Stmt(std::make_shared<const StmtNode>(std::move(n))); }

void check_condition(const Expr& condition, const char* what) {
  check(bool(condition), "{} without a condition", what);
  check(condition.dtype() == DType::Bool, "the condition of {} is {}, not bool", what,
        name_of(condition.dtype()));
}

bool same_exprs(const std::vector<Expr>& a, const std::vector<Expr>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool same_loop(const ForStmt& a, const ForStmt& b) {
  return a.var == b.var && a.kind == b.kind && a.extent == b.extent && a.lower == b.lower &&
         a.upper == b.upper && a.in_flight == b.in_flight;
}

}  // namespace

Stmt make_for(ForStmt loop, Stmt body) {
  check(bool(body), "a loop without a body");
  check(loop.extent >= 0, "a loop's extent is {}; it must not be negative", loop.extent);
  for (const auto* bounds : {&loop.lower, &loop.upper}) {
    for (const Bound& b : *bounds) {
      check(b.div > 0, "a loop bound is divided by {}; divisors are positive", b.div);
      check(b.a.slope(loop.var) == 0, "a loop's bound uses the loop's own variable {}", loop.var);
    }
  }
  StmtNode n = of_kind(StmtKind::For);
  n.loop = std::move(loop);
  n.children = {std::move(body)};
  return node(std::move(n));
}

Stmt make_let(VarId v, Index value, Stmt body) {
  check(bool(body), "a let without a body");
  StmtNode n = of_kind(StmtKind::Let);
  n.var = v;
  n.index = std::move(value);
  n.children = {std::move(body)};
  return node(std::move(n));
}

Stmt make_alloc(BufferId b, Stmt body) {
  check(bool(body), "an alloc without a body");
  StmtNode n = of_kind(StmtKind::Alloc);
  n.buffer = b;
  n.children = {std::move(body)};
  return node(std::move(n));
}

Stmt make_store(BufferId b, Index at, Expr value) {
  check(bool(value), "a store without a value");
  StmtNode n = of_kind(StmtKind::Store);
  n.buffer = b;
  n.index = std::move(at);
  n.value = std::move(value);
  return node(std::move(n));
}

Stmt make_seq(std::vector<Stmt> stmts) {
  std::vector<Stmt> flat;
  flat.reserve(stmts.size());
  for (Stmt& s : stmts) {
    if (!s) continue;
    if (s.kind() == StmtKind::Seq) {
      flat.insert(flat.end(), s->children.begin(), s->children.end());
    } else {
      flat.push_back(std::move(s));
    }
  }
  if (flat.size() == 1) return flat[0];
  StmtNode n = of_kind(StmtKind::Seq);
  n.children = std::move(flat);
  return node(std::move(n));
}

Stmt make_if(Expr condition, Stmt then, Stmt otherwise) {
  check_condition(condition, "an if");
  check(bool(then), "an if without a body");
  StmtNode n = of_kind(StmtKind::If);
  n.value = std::move(condition);
  n.children.push_back(std::move(then));
  if (otherwise) n.children.push_back(std::move(otherwise));
  return node(std::move(n));
}

Stmt make_while(Expr condition, Stmt body) {
  check_condition(condition, "a while");
  check(bool(body), "a while without a body");
  StmtNode n = of_kind(StmtKind::While);
  n.value = std::move(condition);
  n.children = {std::move(body)};
  return node(std::move(n));
}

Stmt make_barrier() { return node(of_kind(StmtKind::Barrier)); }

Stmt make_call(std::string callee, std::vector<Expr> args) {
  check(!callee.empty(), "a call without a callee");
  StmtNode n = of_kind(StmtKind::Call);
  n.callee = std::move(callee);
  n.args = std::move(args);
  return node(std::move(n));
}

bool equal(const Stmt& a, const Stmt& b) {
  if (a.same_as(b)) return true;
  if (!a || !b || a.kind() != b.kind()) return false;
  if (a->children.size() != b->children.size()) return false;
  bool same = true;
  switch (a.kind()) {
  case StmtKind::For: same = same_loop(a->loop, b->loop); break;
  case StmtKind::Let: same = a->var == b->var && equal(a->index, b->index); break;
  case StmtKind::Alloc: same = a->buffer == b->buffer; break;
  case StmtKind::Store:
    same = a->buffer == b->buffer && equal(a->index, b->index) && equal(a->value, b->value);
    break;
  case StmtKind::If:
  case StmtKind::While: same = equal(a->value, b->value); break;
  case StmtKind::Call: same = a->callee == b->callee && same_exprs(a->args, b->args); break;
  case StmtKind::Seq:
  case StmtKind::Barrier: break;
  }
  for (size_t i = 0; same && i < a->children.size(); ++i) {
    same = equal(a->children[i], b->children[i]);
  }
  return same;
}

Stmt rewrite(const Stmt& s, const std::function<Stmt(const Stmt&)>& f) {
  std::vector<Stmt> children;
  children.reserve(s->children.size());
  bool changed = false;
  for (const Stmt& c : s->children) {
    children.push_back(rewrite(c, f));
    changed |= !children.back().same_as(c);
  }
  Stmt out = changed ? s.with_children(children) : s;
  Stmt replaced = f(out);
  return replaced ? replaced : out;
}

namespace {

// One memo for all expressions of a statement tree: what is shared between statements stays shared.
class ExprRewriter {
 public:
  explicit ExprRewriter(const std::function<Expr(const Expr&)>& f) : f_(f) {}

  Expr run(const Expr& e) {
    if (!e) return e;
    auto [at, fresh] = done_.try_emplace(e.get(), Entry{e, {}});
    if (fresh) {
      Expr out = rewrite(e, f_);
      return done_[e.get()].out = out;
    }
    return at->second.out;
  }

  Stmt run(const Stmt& s) {
    const StmtNode& n = *s;
    bool changed = false;
    StmtNode out = n;
    for (Stmt& c : out.children) {
      Stmt to = run(c);
      changed |= !to.same_as(c);
      c = std::move(to);
    }
    auto expr = [&](Expr& e) {
      Expr to = run(e);
      changed |= !to.same_as(e);
      e = std::move(to);
    };
    for (Atom& atom : out.index.atoms) expr(atom.value);
    expr(out.value);
    for (Expr& e : out.args) expr(e);
    return changed ? Stmt(std::make_shared<const StmtNode>(std::move(out))) : s;
  }

 private:
  struct Entry {
    Expr in, out;  // `in` keeps the node alive, so that its address stays its identity
  };
  const std::function<Expr(const Expr&)>& f_;
  std::unordered_map<const ExprNode*, Entry> done_;
};

}  // namespace

Stmt rewrite_exprs(const Stmt& s, const std::function<Expr(const Expr&)>& f) {
  return ExprRewriter(f).run(s);
}

void visit(const Stmt& s, const std::function<void(const Stmt&)>& f) {
  f(s);
  for (const Stmt& c : s->children) visit(c, f);
}

bool has_loop(const Stmt& s, LoopKind kind) {
  bool found = false;
  visit(s, [&](const Stmt& x) { found |= x.kind() == StmtKind::For && x->loop.kind == kind; });
  return found;
}

}  // namespace burnish
