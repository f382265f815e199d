#include "schedule/substitute.h"

#include <unordered_map>

namespace burnish::schedule {

Index minus(int64_t c, const Index& i) {
  Index r = i;
  r.a *= -1;
  r.a += Aff(c);
  for (Atom& a : r.atoms) a.scale = -a.scale;
  return r;
}

namespace {

// The affine part with its variables replaced; what is not affine becomes atoms.
Index replaced(const Aff& a, const std::map<VarId, Index>& becomes) {
  Index r(Aff(a.c));
  for (const Term& t : a.terms) {
    auto at = becomes.find(t.var);
    if (at == becomes.end()) {
      r.a.add(t.var, t.k);
      continue;
    }
    r.a += at->second.a * t.k;
    for (Atom atom : at->second.atoms) {
      atom.scale *= t.k;
      r.atoms.push_back(std::move(atom));
    }
  }
  return r;
}

class Substitution {
 public:
  explicit Substitution(const std::map<VarId, Index>& becomes) : becomes_(becomes) {}

  Index index(const Index& i) {
    Index r = replaced(i.a, becomes_);
    for (const Atom& atom : i.atoms) {
      Index inner = replaced(atom.a, becomes_);
      Atom made = atom;
      if (inner.is_affine()) {
        made.a = inner.a;
        if (atom.value) made.value = expr(atom.value);
      } else if (!atom.value) {
        made.a = Aff(0);
        made.value = affine(inner);
      } else {  // both: the loaded value takes the position in
        made.a = Aff(0);
        made.value = cast(DType::I64, expr(atom.value)) + affine(inner);
      }
      r.atoms.push_back(std::move(made));
    }
    return r;
  }

  Expr expr(const Expr& e) {
    if (auto at = done_.find(e.get()); at != done_.end()) return at->second;
    Expr r = e;
    switch (e.kind()) {
    case ExprKind::Const:
    case ExprKind::Acc: break;
    case ExprKind::Affine: r = affine(index(e.index())); break;
    case ExprKind::Load: {
      std::vector<Index> indices;
      for (const Index& i : e.indices()) indices.push_back(index(i));
      r = load(e.dtype(), e.from(), std::move(indices), e.fill() ? expr(e.fill()) : Expr{});
      break;
    }
    case ExprKind::Binary:
    case ExprKind::Unary:
    case ExprKind::Select:
    case ExprKind::Cast:
    case ExprKind::Call: {
      std::vector<Expr> children;
      for (const Expr& c : e.children()) children.push_back(expr(c));
      r = e.with_children(children);
      break;
    }
    }
    done_.emplace(e.get(), r);
    return r;
  }

 private:
  const std::map<VarId, Index>& becomes_;
  std::unordered_map<const ExprNode*, Expr> done_;
};

}  // namespace

Index substitute_index(const Index& i, const std::map<VarId, Index>& becomes) {
  return Substitution(becomes).index(i);
}

Expr substitute_indices(const Expr& e, const std::map<VarId, Index>& becomes) {
  return Substitution(becomes).expr(e);
}

}  // namespace burnish::schedule
