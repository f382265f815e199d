// Counting stores by walking the loops. A loop whose body's count does not depend on its variable
// is counted once.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "loop/interpreter.h"

namespace burnish {

namespace {

bool uses(const Aff& a, VarId v) { return a.slope(v) != 0; }

bool uses(const Index& i, VarId v) {
  if (uses(i.a, v)) return true;
  return std::any_of(i.atoms.begin(), i.atoms.end(), [&](const Atom& x) { return uses(x.a, v); });
}

class Counter {
 public:
  Counter(const Function& f, BufferId b) : f_(f), buffer_(b), vars_(f.vars.size()) {}

  int64_t count(const Stmt& s) {
    if (!stores_within(s)) return 0;
    switch (s.kind()) {
    case StmtKind::Store: return 1;
    case StmtKind::For: return count_for(s);
    case StmtKind::Let: vars_.at(s->var) = value(s->index); return count(s.children()[0]);
    case StmtKind::If:
      if (truth(s->value)) return count(s.children()[0]);
      return s.children().size() > 1 ? count(s.children()[1]) : 0;
    case StmtKind::While: refuse_data("a while loop");
    case StmtKind::Seq:
    case StmtKind::Alloc: {
      int64_t n = 0;
      for (const Stmt& c : s.children()) n += count(c);
      return n;
    }
    case StmtKind::Barrier:
    case StmtKind::Call: break;
    }
    return 0;
  }

 private:
  [[noreturn]] void refuse_data(const char* what) const {
    throw_internal(fmt::format("function {}: stores to {} depend on data ({})", f_.name,
                               f_.buffers[buffer_].name, what),
                   std::source_location::current());
  }

  bool stores_within(const Stmt& s) {
    if (s.kind() == StmtKind::Store) return s->buffer == buffer_;
    auto it = stores_.find(s.operator->());
    if (it != stores_.end()) return it->second;
    bool any = false;
    for (const Stmt& c : s.children()) any |= stores_within(c);
    return stores_[s.operator->()] = any;
  }

  // Whether the count of `body` depends on `v`: through bounds, conditions and lets on the way to a
  // store.
  bool depends(const Stmt& body, VarId v) {
    bool found = false;
    visit(body, [&](const Stmt& s) {
      if (found || !stores_within(s)) return;
      if (s.kind() == StmtKind::Let) found |= uses(s->index, v);
      for (const auto* bounds : {&s->loop.lower, &s->loop.upper}) {
        for (const Bound& b : *bounds) found |= uses(b.a, v);
      }
      if (s.kind() != StmtKind::If) return;
      burnish::visit(s->value, [&](const Expr& e) {
        for (const Index& i : e.indices()) found |= uses(i, v);
      });
    });
    return found;
  }

  int64_t count_for(const Stmt& s) {
    const ForStmt& loop = s->loop;
    int64_t lo = 0, hi = loop.extent;
    for (const Bound& b : loop.lower) lo = std::max(lo, ceil_div(value(b.a), b.div));
    for (const Bound& b : loop.upper) hi = std::min(hi, ceil_div(value(b.a), b.div));
    if (lo >= hi) return 0;
    auto [it, fresh] = depends_.try_emplace(s.operator->(), false);
    if (fresh) it->second = depends(s.children()[0], loop.var);
    vars_.at(loop.var) = lo;
    if (!it->second) return (hi - lo) * count(s.children()[0]);
    int64_t n = 0;
    for (int64_t i = lo; i < hi; ++i) {
      vars_.at(loop.var) = i;
      n += count(s.children()[0]);
    }
    return n;
  }

  int64_t value(const Aff& a) const {
    int64_t sum = a.c;
    for (const Term& t : a.terms) sum += t.k * vars_.at(t.var);
    return sum;
  }

  int64_t value(const Index& i) const {
    int64_t sum = value(i.a);
    for (const Atom& x : i.atoms) {
      if (x.value) refuse_data("a loaded index");
      int64_t y = floor_div(value(x.a), x.div);
      sum += x.scale * (x.mod ? floor_mod(y, x.mod) : y);
    }
    return sum;
  }

  // A condition of indices and constants: with the values filled in, construction folds it.
  bool truth(const Expr& condition) const {
    Expr e = rewrite(condition, [&](const Expr& x) -> Expr {
      if (x.kind() == ExprKind::Load || x.kind() == ExprKind::Call)
        refuse_data("a loaded condition");
      return x.kind() == ExprKind::Affine ? constant_int(value(x.index())) : Expr();
    });
    check(e.kind() == ExprKind::Const, "function {}: a condition does not fold", f_.name);
    return e.integer() != 0;
  }

  const Function& f_;
  BufferId buffer_;
  std::vector<int64_t> vars_;
  std::unordered_map<const StmtNode*, bool> stores_, depends_;
};

}  // namespace

int64_t count_stores(const Function& f, std::string_view buffer) {
  for (size_t b = 0; b < f.buffers.size(); ++b) {
    if (f.buffers[b].name == buffer) return f.body ? Counter(f, BufferId(b)).count(f.body) : 0;
  }
  throw_internal(fmt::format("function {} has no buffer {}", f.name, buffer),
                 std::source_location::current());
}

}  // namespace burnish
