// Conditions: decided by intervals where possible, else computed once at the level of their variables.
#include "target/llvm/codegen.h"
#include "target/llvm/keys.h"

namespace burnish::llvm_target {

namespace {

std::optional<Index> index_of(const Expr& e) {
  if (e.kind() == ExprKind::Affine) return e.index();
  if (e.kind() == ExprKind::Const && e.dtype() == DType::I64) return Index(e.integer());
  return std::nullopt;
}

Index difference(const Index& a, const Index& b) {
  Index r = a;
  r.a -= b.a;
  for (Atom atom : b.atoms) {
    atom.scale = -atom.scale;
    r.atoms.push_back(std::move(atom));
  }
  return r;
}

// Is x `op` 0 decided for all x of an interval?
std::optional<bool> decided(BinaryOp op, Interval x) {
  auto either = [](bool yes, bool no) { return yes ? std::optional(true) : no ? std::optional(false) : std::nullopt; };
  if (op == BinaryOp::Ge) return either(x.lo >= 0, x.hi < 0);
  if (op == BinaryOp::Gt) return either(x.lo > 0, x.hi <= 0);
  if (op == BinaryOp::Le) return either(x.hi <= 0, x.lo > 0);
  if (op == BinaryOp::Lt) return either(x.hi < 0, x.lo >= 0);
  bool zero = x.lo == 0 && x.hi == 0, never = x.lo > 0 || x.hi < 0;
  return op == BinaryOp::Eq ? either(zero, never) : either(never, zero);
}

llvm::CmpInst::Predicate signed_predicate(BinaryOp op) {
  if (op == BinaryOp::Ge) return llvm::CmpInst::ICMP_SGE;
  if (op == BinaryOp::Gt) return llvm::CmpInst::ICMP_SGT;
  if (op == BinaryOp::Le) return llvm::CmpInst::ICMP_SLE;
  if (op == BinaryOp::Lt) return llvm::CmpInst::ICMP_SLT;
  return op == BinaryOp::Eq ? llvm::CmpInst::ICMP_EQ : llvm::CmpInst::ICMP_NE;
}

}  // namespace

// A comparison of two indices.
std::optional<Codegen::Condition> Codegen::compare_indices(const Expr& e) {
  if (e.kind() != ExprKind::Binary || !is_comparison(e.binary())) return std::nullopt;
  auto l = index_of(e.children()[0]), r = index_of(e.children()[1]);
  if (!l || !r) return std::nullopt;
  for (const Index* i : {&*l, &*r}) {
    for (const Atom& atom : i->atoms) {
      if (atom.value) return std::nullopt;
    }
  }
  Index diff = difference(*l, *r);
  if (auto known = decided(e.binary(), ranges_.bounds(simplified(diff)))) return Condition{known, {}, 0};
  Position p = position(diff, {});
  auto predicate = signed_predicate(e.binary());
  if (p.scattered || p.lane) {
    Val v = lanes_of(diff, {});
    llvm::Value* zero = llvm::Constant::getNullValue(v.v->getType());
    return Condition{std::nullopt, {b().CreateICmp(predicate, v.v, zero), true}, level_count()};
  }
  int64_t c = p.c;  // kept out of the sum, so that neighbours share it
  p.c = 0;
  Placed sum = value_of(p);
  Key key{key_of(Made::Comparison), key_of(sum.v), key_of(c), uint64_t(predicate)};
  Placed v = place(sum.depth, std::move(key), [&] { return b().CreateICmp(predicate, sum.v, b().getInt64(uint64_t(-c))); });
  return Condition{std::nullopt, {v.v, false}, v.depth};
}

Codegen::Condition Codegen::condition(const Expr& e, const Guard& g) {
  if (e.kind() == ExprKind::Const) return {e.integer() != 0, {}, 0};
  if (auto c = compare_indices(e)) return *c;
  bool is_and = e.kind() == ExprKind::Binary && e.binary() == BinaryOp::And && e.dtype() == DType::Bool;
  bool is_or = e.kind() == ExprKind::Binary && e.binary() == BinaryOp::Or && e.dtype() == DType::Bool;
  if (is_and || is_or) {
    Condition l = condition(e.children()[0], g);
    if (l.known) return *l.known == is_or ? l : condition(e.children()[1], g);
    Condition r = condition(e.children()[1], g);
    if (r.known) return *r.known == is_or ? r : l;
    if (!match(l.v, r.v)) {
      Key key{key_of(Made::Conjunction), key_of(l.v.v), key_of(r.v.v), is_or};
      Placed v = place(std::max(l.depth, r.depth), std::move(key),
                       [&] { return is_and ? b().CreateAnd(l.v.v, r.v.v) : b().CreateOr(l.v.v, r.v.v); });
      return {std::nullopt, {v.v, false}, v.depth};
    }
    return {std::nullopt, {is_and ? b().CreateAnd(l.v.v, r.v.v) : b().CreateOr(l.v.v, r.v.v), true}, level_count()};
  }
  if (e.kind() == ExprKind::Unary && e.unary() == UnaryOp::Not) {
    Condition c = condition(e.children()[0], g);
    if (c.known) return {!*c.known, {}, 0};
  }
  return {std::nullopt, gen(e, g), level_count()};
}

Guard Codegen::both(const Guard& g, const Condition& c, bool negated) {
  Guard r = g;
  if (c.v.lanes) {
    llvm::Value* m = negated ? b().CreateNot(c.v.v) : c.v.v;
    r.mask = g.mask ? b().CreateAnd(g.mask, m) : m;
    return r;
  }
  Placed v{c.v.v, c.depth};
  if (negated) {
    v = place(c.depth, {key_of(Made::Conjunction), key_of(c.v.v), 0, 2}, [&] { return b().CreateNot(c.v.v); });
  }
  if (g.uniform && g.uniform != v.v) {
    v = place(std::max(v.depth, g.depth), {key_of(Made::Conjunction), key_of(g.uniform), key_of(v.v), 0},
              [&] { return b().CreateAnd(g.uniform, v.v); });
  }
  r.uniform = v.v;
  r.depth = v.depth;
  return r;
}

// Inside the branch of an If: its comparisons are facts.
size_t Codegen::assume(const Expr& e) {
  size_t before = ranges_.fact_count();
  if (e.kind() != ExprKind::Binary) return before;
  if (e.binary() == BinaryOp::And) {
    assume(e.children()[0]);
    assume(e.children()[1]);
    return before;
  }
  if (!is_comparison(e.binary())) return before;
  auto l = index_of(e.children()[0]), r = index_of(e.children()[1]);
  if (!l || !r || !l->is_affine() || !r->is_affine()) return before;
  Aff d = normal(l->a - r->a);
  auto hold = [&](Aff fact) {
    for (const Term& t : Aff(fact).terms) ranges_.assume(t.var, fact);
  };
  bool eq = e.binary() == BinaryOp::Eq;
  if (e.binary() == BinaryOp::Ge || eq) hold(d);
  if (e.binary() == BinaryOp::Gt) hold(d - Aff(1));
  if (e.binary() == BinaryOp::Le || eq) hold(-d);
  if (e.binary() == BinaryOp::Lt) hold(-d - Aff(1));
  return before;
}

}  // namespace burnish::llvm_target
