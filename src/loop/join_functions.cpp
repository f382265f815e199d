#include "loop/join_functions.h"

#include <utility>
#include <vector>

namespace burnish {

namespace {

// Statements of one function in another one, which has its buffers and variables under other
// numbers.
class Mover {
 public:
  Mover(BufferId buffers, VarId first, size_t vars) : buffers_(buffers), first_(first) {
    for (size_t v = 0; v < vars; ++v) vars_.push_back(Aff::of(first + static_cast<VarId>(v)));
  }

  Stmt operator()(const Stmt& s) const {
    std::vector<Stmt> children;
    for (const Stmt& c : s.children()) children.push_back((*this)(c));
    switch (s.kind()) {
    case StmtKind::For: {
      ForStmt loop = s->loop;
      loop.var += first_;
      for (std::vector<Bound>* bounds : {&loop.lower, &loop.upper})
        for (Bound& b : *bounds) b.a = substitute(b.a, var());
      return make_for(std::move(loop), std::move(children[0]));
    }
    case StmtKind::Let: return make_let(s->var + first_, moved(s->index), std::move(children[0]));
    case StmtKind::Alloc: return make_alloc(s->buffer + buffers_, std::move(children[0]));
    case StmtKind::Store: return make_store(s->buffer + buffers_, moved(s->index), moved(s->value));
    case StmtKind::Seq: return make_seq(std::move(children));
    case StmtKind::If:
      return make_if(moved(s->value), children[0], children.size() > 1 ? children[1] : Stmt{});
    case StmtKind::While: return make_while(moved(s->value), children[0]);
    case StmtKind::Barrier: return s;
    case StmtKind::Call: {
      std::vector<Expr> args;
      for (const Expr& e : s->args) args.push_back(moved(e));
      return make_call(s->callee, std::move(args));
    }
    }
    return s;
  }

 private:
  std::function<const Aff*(VarId)> var() const {
    return [this](VarId v) { return &vars_.at(v); };
  }
  Expr moved(const Expr& e) const {
    const Expr out = rewrite(e, [&](const Expr& x) {
      if (x.kind() != ExprKind::Load) return Expr{};
      return load(x.dtype(), x.from() + buffers_, {x.indices().begin(), x.indices().end()},
                  x.fill());
    });
    return substitute(out, var());
  }
  Index moved(const Index& i) const {
    if (i.is_affine()) return Index(substitute(i.a, var()));
    return moved(affine(i)).index();
  }

  BufferId buffers_;
  VarId first_;
  std::vector<Aff> vars_;  // by their old numbers
};

}  // namespace

Function joined(std::span<const Function* const> functions, std::string name) {
  Function all;
  all.name = std::move(name);
  std::vector<Stmt> bodies;
  for (const Function* f : functions) {
    const Mover mover(static_cast<BufferId>(all.buffers.size()),
                      static_cast<VarId>(all.vars.size()), f->vars.size());
    const auto first = static_cast<BufferId>(all.buffers.size());
    all.buffers.insert(all.buffers.end(), f->buffers.begin(), f->buffers.end());
    for (const BufferId b : f->params) all.params.push_back(first + b);
    all.vars.insert(all.vars.end(), f->vars.begin(), f->vars.end());
    if (f->body) bodies.push_back(mover(f->body));
  }
  all.body = make_seq(std::move(bodies));
  return all;
}

}  // namespace burnish
