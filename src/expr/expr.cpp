#include "expr/expr.h"

#include <array>
#include <bit>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace burnish {

namespace {

constexpr std::array binary_names = {"add", "sub", "mul", "div", "mod", "floordiv", "floormod",
                                     "min", "max", "pow", "eq",  "ne",  "lt",       "le",
                                     "gt",  "ge",  "and", "or",  "xor", "shl",      "shr"};
constexpr std::array unary_names = {"neg",  "abs",   "not",  "exp",  "log",   "sqrt",  "rsqrt",
                                    "tanh", "sigmoid", "erf", "sin",  "cos",   "tan",   "asin",
                                    "acos", "atan",  "sinh", "cosh", "asinh", "acosh", "atanh",
                                    "floor", "ceil", "round", "trunc", "sign", "isnan", "isinf"};
static_assert(binary_names.size() == static_cast<size_t>(BinaryOp::Shr) + 1);
static_assert(unary_names.size() == static_cast<size_t>(UnaryOp::IsInf) + 1);

Expr make(ExprNode node) { return Expr(std::make_shared<const ExprNode>(std::move(node))); }

Expr from_scalar(const Scalar& s) {
  return is_float(s.dtype) ? constant(s.f, s.dtype) : constant_int(s.i, s.dtype);
}

Scalar to_scalar(const Expr& e) { return {e.dtype(), e.number(), e.integer()}; }

bool is_const(const Expr& e) { return e.kind() == ExprKind::Const; }

// Indices with the values inside their atoms rewritten; the same vector when nothing changed.
bool rewrite_indices(std::vector<Index>& indices, const std::function<Expr(const Expr&)>& f) {
  bool changed = false;
  for (Index& i : indices) {
    for (Atom& atom : i.atoms) {
      if (!atom.value) continue;
      Expr now = f(atom.value);
      changed |= !now.same_as(atom.value);
      atom.value = std::move(now);
    }
  }
  return changed;
}

bool has_values(std::span<const Index> indices) {
  for (const Index& i : indices) {
    for (const Atom& atom : i.atoms) {
      if (atom.value) return true;
    }
  }
  return false;
}

}  // namespace

std::string_view name_of(BinaryOp op) { return binary_names[static_cast<size_t>(op)]; }
std::string_view name_of(UnaryOp op) { return unary_names[static_cast<size_t>(op)]; }

std::optional<BinaryOp> binary_named(std::string_view name) {
  for (size_t i = 0; i < binary_names.size(); ++i) {
    if (binary_names[i] == name) return static_cast<BinaryOp>(i);
  }
  return std::nullopt;
}

std::optional<UnaryOp> unary_named(std::string_view name) {
  for (size_t i = 0; i < unary_names.size(); ++i) {
    if (unary_names[i] == name) return static_cast<UnaryOp>(i);
  }
  return std::nullopt;
}

bool is_comparison(BinaryOp op) { return op >= BinaryOp::Eq && op <= BinaryOp::Ge; }

ExprKind Expr::kind() const { return node_->kind; }
DType Expr::dtype() const { return node_->dtype; }
std::span<const Expr> Expr::children() const { return node_->children; }
double Expr::number() const { return node_->number; }
int64_t Expr::integer() const { return node_->integer; }
const Index& Expr::index() const { return node_->indices[0]; }
uint32_t Expr::from() const { return node_->from; }
std::span<const Index> Expr::indices() const { return node_->indices; }
BinaryOp Expr::binary() const { return static_cast<BinaryOp>(node_->op); }
UnaryOp Expr::unary() const { return static_cast<UnaryOp>(node_->op); }
std::string_view Expr::callee() const { return node_->callee; }

const Expr& Expr::fill() const {
  static const Expr none;
  return node_->children.empty() ? none : node_->children[0];
}

Expr Expr::with_children(std::span<const Expr> children) const {
  check(children.size() == node_->children.size(), "an expression has {} children, not {}",
        node_->children.size(), children.size());
  bool same = true;
  for (size_t i = 0; i < children.size(); ++i) same &= children[i].same_as(node_->children[i]);
  if (same) return *this;
  switch (kind()) {
    case ExprKind::Binary: return burnish::binary(binary(), children[0], children[1]);
    case ExprKind::Unary: return burnish::unary(unary(), children[0]);
    case ExprKind::Select: return select(children[0], children[1], children[2]);
    case ExprKind::Cast: return cast(dtype(), children[0]);
    case ExprKind::Const:
    case ExprKind::Affine:
    case ExprKind::Load:
    case ExprKind::Acc:
    case ExprKind::Call: break;
  }
  ExprNode n = *node_;
  n.children.assign(children.begin(), children.end());
  return make(std::move(n));
}

namespace {

// Pairs that were found equal are not compared again: expressions are DAGs, and their trees may be exponentially larger.
class Comparison {
 public:
  bool same(const Index& a, const Index& b) {
    if (!(a.a == b.a) || a.atoms.size() != b.atoms.size()) return false;
    for (size_t i = 0; i < a.atoms.size(); ++i) {
      const Atom &x = a.atoms[i], &y = b.atoms[i];
      if (!(x.a == y.a) || x.div != y.div || x.mod != y.mod || x.scale != y.scale) return false;
      if (bool(x.value) != bool(y.value) || (x.value && !same(x.value, y.value))) return false;
    }
    return true;
  }

  bool same(const Expr& a, const Expr& b) {
    if (a.same_as(b)) return true;
    if (!a || !b) return false;
    const ExprNode &x = *a.get(), &y = *b.get();
    auto bits = [](double d) { return std::bit_cast<uint64_t>(d); };
    if (x.kind != y.kind || x.dtype != y.dtype || x.op != y.op || x.from != y.from ||
        bits(x.number) != bits(y.number) || x.integer != y.integer || x.callee != y.callee ||
        x.children.size() != y.children.size() || x.indices.size() != y.indices.size()) {
      return false;
    }
    if (auto it = equal_to_.find(&x); it != equal_to_.end() && it->second == &y) return true;
    for (size_t i = 0; i < x.indices.size(); ++i) {
      if (!same(x.indices[i], y.indices[i])) return false;
    }
    for (size_t i = 0; i < x.children.size(); ++i) {
      if (!same(x.children[i], y.children[i])) return false;
    }
    if (!x.children.empty()) equal_to_[&x] = &y;
    return true;
  }

 private:
  std::unordered_map<const ExprNode*, const ExprNode*> equal_to_;
};

}  // namespace

bool equal(const Index& a, const Index& b) { return Comparison().same(a, b); }
bool equal(const Expr& a, const Expr& b) { return Comparison().same(a, b); }

Expr constant(double v, DType t) {
  if (!is_float(t)) return from_scalar(evaluate_cast(t, {DType::F64, v, 0}));
  return make({.kind = ExprKind::Const, .dtype = t, .number = evaluate_cast(t, {DType::F64, v, 0}).f});
}

Expr constant_int(int64_t v, DType t) {
  Scalar s = evaluate_cast(t, {DType::I64, 0, v});
  if (is_float(t)) return constant(s.f, t);
  return make({.kind = ExprKind::Const, .dtype = t, .number = static_cast<double>(s.i), .integer = s.i});
}

Expr affine(Index i) {
  if (i.is_affine() && i.a.is_const()) return constant_int(i.a.c);
  ExprNode n{.kind = ExprKind::Affine, .dtype = DType::I64};
  n.indices.push_back(std::move(i));
  return make(std::move(n));
}

Expr load(DType t, uint32_t from, std::vector<Index> indices, Expr fill) {
  ExprNode n{.kind = ExprKind::Load, .dtype = t, .from = from};
  n.indices = std::move(indices);
  if (fill) {
    check(fill.dtype() == t, "a load of {} has a fill of {}", name_of(t), name_of(fill.dtype()));
    n.children.push_back(std::move(fill));
  }
  return make(std::move(n));
}

Expr acc(DType t) { return make({.kind = ExprKind::Acc, .dtype = t}); }

Expr binary(BinaryOp op, Expr a, Expr b) {
  check(a.dtype() == b.dtype(), "{} of {} and {}", name_of(op), name_of(a.dtype()), name_of(b.dtype()));
  if (is_const(a) && is_const(b)) return from_scalar(evaluate(op, to_scalar(a), to_scalar(b)));
  ExprNode n{.kind = ExprKind::Binary,
             .dtype = is_comparison(op) ? DType::Bool : a.dtype(),
             .op = static_cast<uint8_t>(op)};
  n.children = {std::move(a), std::move(b)};
  return make(std::move(n));
}

Expr unary(UnaryOp op, Expr a) {
  if (is_const(a)) return from_scalar(evaluate(op, to_scalar(a)));
  bool to_bool = op == UnaryOp::IsNan || op == UnaryOp::IsInf;
  ExprNode n{.kind = ExprKind::Unary,
             .dtype = to_bool ? DType::Bool : a.dtype(),
             .op = static_cast<uint8_t>(op)};
  n.children = {std::move(a)};
  return make(std::move(n));
}

Expr select(Expr condition, Expr then, Expr otherwise) {
  check(condition.dtype() == DType::Bool, "a select's condition is {}", name_of(condition.dtype()));
  check(then.dtype() == otherwise.dtype(), "a select between {} and {}", name_of(then.dtype()),
        name_of(otherwise.dtype()));
  if (is_const(condition)) return condition.integer() ? then : otherwise;
  ExprNode n{.kind = ExprKind::Select, .dtype = then.dtype()};
  n.children = {std::move(condition), std::move(then), std::move(otherwise)};
  return make(std::move(n));
}

Expr cast(DType t, Expr a) {
  if (a.dtype() == t) return a;
  if (is_const(a)) return from_scalar(evaluate_cast(t, to_scalar(a)));
  ExprNode n{.kind = ExprKind::Cast, .dtype = t};
  n.children = {std::move(a)};
  return make(std::move(n));
}

Expr call(DType t, std::string callee, std::vector<Expr> args) {
  ExprNode n{.kind = ExprKind::Call, .dtype = t};
  n.callee = std::move(callee);
  n.children = std::move(args);
  return make(std::move(n));
}

Expr all_nonnegative(std::span<const Index> indices) {
  Expr all;
  for (const Index& i : indices) {
    Expr one = binary(BinaryOp::Ge, affine(i), constant_int(0));
    all = all ? binary(BinaryOp::And, std::move(all), std::move(one)) : std::move(one);
  }
  return all ? all : constant_int(1, DType::Bool);
}

std::optional<std::vector<Index>> as_nonnegative(const Expr& condition) {
  if (condition.kind() != ExprKind::Binary) return std::nullopt;
  auto sides = condition.children();
  if (condition.binary() == BinaryOp::And) {
    auto left = as_nonnegative(sides[0]), right = as_nonnegative(sides[1]);
    if (!left || !right) return std::nullopt;
    left->insert(left->end(), right->begin(), right->end());
    return left;
  }
  if (condition.binary() != BinaryOp::Ge || sides[0].kind() != ExprKind::Affine) return std::nullopt;
  if (sides[1].kind() != ExprKind::Const || sides[1].integer() != 0) return std::nullopt;
  return std::vector<Index>{sides[0].index()};
}

namespace {

Expr rewrite_in(const Expr& e, const std::function<Expr(const Expr&)>& f,
                std::unordered_map<const ExprNode*, Expr>& done) {
  if (auto it = done.find(e.get()); it != done.end()) return it->second;
  auto again = [&](const Expr& x) { return rewrite_in(x, f, done); };
  Expr now = e;
  if (has_values(e.indices())) {
    ExprNode n = *e.get();
    if (rewrite_indices(n.indices, again)) now = make(std::move(n));
  }
  if (!now.children().empty()) {
    std::vector<Expr> children;
    for (const Expr& c : now.children()) children.push_back(again(c));
    now = now.with_children(children);
  }
  if (Expr replacement = f(now)) now = std::move(replacement);
  done.emplace(e.get(), now);
  return now;
}

void visit_in(const Expr& e, const std::function<void(const Expr&)>& f,
              std::unordered_set<const ExprNode*>& done) {
  if (!done.insert(e.get()).second) return;
  for (const Index& i : e.indices()) {
    for (const Atom& atom : i.atoms) {
      if (atom.value) visit_in(atom.value, f, done);
    }
  }
  for (const Expr& c : e.children()) visit_in(c, f, done);
  f(e);
}

}  // namespace

Expr rewrite(const Expr& e, const std::function<Expr(const Expr&)>& f) {
  std::unordered_map<const ExprNode*, Expr> done;
  return rewrite_in(e, f, done);
}

void visit(const Expr& e, const std::function<void(const Expr&)>& f) {
  std::unordered_set<const ExprNode*> done;
  visit_in(e, f, done);
}

namespace {
// An affine atom without what divides evenly: (d*q + r) / d = q + r/d, and multiples of d*m vanish under (·/d) % m.
Index reduced(Atom atom) {
  Index out;
  const int64_t unit = atom.mod ? atom.div * atom.mod : atom.div;
  Aff rest(floor_mod(atom.a.c, unit));
  Aff even((atom.a.c - rest.c) / unit);
  for (const Term& t : atom.a.terms) (t.k % unit ? rest : even).add(t.var, t.k % unit ? t.k : t.k / unit);
  if (!atom.mod) out.a = even * atom.scale;
  if (rest.is_const()) {
    const int64_t x = floor_div(rest.c, atom.div);
    out.a.c += atom.scale * (atom.mod ? floor_mod(x, atom.mod) : x);
  } else {
    atom.a = std::move(rest);
    out.atoms.push_back(std::move(atom));
  }
  return out;
}

// Affine parts only; values inside atoms are rewritten by `rewrite`.
Index substitute_affine(const Index& i, const std::function<const Aff*(VarId)>& value) {
  Index now(substitute(i.a, value));
  for (const Atom& atom : i.atoms) {
    Atom a = atom;
    a.a = substitute(atom.a, value);
    if (a.value) {
      now.atoms.push_back(std::move(a));
    } else {
      Index simple = reduced(std::move(a));
      now.a += simple.a;
      for (Atom& x : simple.atoms) now.atoms.push_back(std::move(x));
    }
  }
  return now;
}
}  // namespace

Index substitute(const Index& i, const std::function<const Aff*(VarId)>& value) {
  Index now = substitute_affine(i, value);
  for (Atom& atom : now.atoms) {
    if (atom.value) atom.value = substitute(atom.value, value);
  }
  return now;
}

Expr substitute(const Expr& e, const std::function<const Aff*(VarId)>& value) {
  return rewrite(e, [&](const Expr& x) -> Expr {
    if (x.kind() == ExprKind::Affine) return affine(substitute_affine(x.index(), value));
    if (x.kind() != ExprKind::Load) return {};
    ExprNode n = *x.get();
    for (Index& i : n.indices) i = substitute_affine(i, value);
    return make(std::move(n));
  });
}

}  // namespace burnish
