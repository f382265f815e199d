// Steps that give a reduction other axes, or none.
#include <algorithm>
#include <map>

#include "schedule/steps.h"
#include "schedule/substitute.h"

namespace burnish::schedule {

// Terms behind the last one are outside of what every load reads, by its outermost reduce axis, where loads give 0: they are
// products, which are 0 then.
Result<> apply(Stages s, const step::Flatten& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  Stage& t = s.group[*id];
  if (!t.is_reduction() || t.raxes.empty()) return refuse("{} is no reduction", x.stage);
  if (!s.nests[*id].untouched(t)) return refuse("flatten {} before changing its loops", x.stage);
  if (x.multiple < 1) return refuse("{} is flattened to a multiple of {}", x.stage, x.multiple);
  int64_t terms = 1;
  for (const Axis& a : t.raxes)
    if (__builtin_mul_overflow(terms, a.extent, &terms)) return refuse("{} has more than 2^63 terms", x.stage);
  const int64_t whole = ceil_div(terms, x.multiple) * x.multiple;
  const Axis all{"r", s.group.fresh("r"), whole};
  for (const Axis& a : t.axes)
    if (a.name == all.name) return refuse("{} has an axis {} already", x.stage, a.name);
  if (whole > terms) {
    const auto stays_zero = [&](const Expr& e) {
      if (e.kind() != ExprKind::Load) return false;
      if (e.fill() && !(e.fill().kind() == ExprKind::Const && e.fill().number() == 0)) return false;
      const Stage& from = s.group[e.from()];
      for (size_t i = 0; i < e.indices().size(); ++i)
        if (e.indices()[i].is_affine() && e.indices()[i].a == Aff::of(t.raxes[0].var) && from.axes[i].extent == t.raxes[0].extent) return true;
      return false;
    };
    const bool product = t.op == Combine::Sum && is_float(t.dtype) && t.body.kind() == ExprKind::Binary && t.body.binary() == BinaryOp::Mul;
    if (!product || !std::ranges::all_of(t.body.children(), stays_zero))
      return refuse("{} is no product of loads along its first reduce axis: {} terms are no multiple of {}", x.stage, terms, x.multiple);
    t.body = rewrite(t.body, [&](const Expr& e) {
      return e.kind() == ExprKind::Load && !e.fill() ? load(e.dtype(), e.from(), {e.indices().begin(), e.indices().end()}, constant(0.0, e.dtype())) : Expr{};
    });
  }
  std::map<VarId, Index> becomes;
  int64_t inner = 1;
  for (size_t i = t.raxes.size(); i-- > 0;) {
    const int64_t extent = t.raxes[i].extent;
    Index digit;
    if (t.raxes.size() == 1)
      digit = Index(Aff::of(all.var));
    else if (extent > 1 || i == 0)
      digit.atoms.push_back({Aff::of(all.var), {}, inner, i > 0 ? extent : 0, 1});
    becomes[t.raxes[i].var] = digit;
    inner *= extent;
  }
  t.body = substitute_indices(t.body, becomes);
  if (t.init) t.init = substitute_indices(t.init, becomes);
  t.raxes = {all};
  Nest fresh = plain_nest(t);
  s.nests[*id].loops = std::move(fresh.loops);
  s.nests[*id].order = std::move(fresh.order);
  return Done{};
}

Result<> apply(Stages s, const step::Expand& x) {
  constexpr int64_t most = 64;  // terms
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  Stage& t = s.group[*id];
  if (!t.is_reduction()) return refuse("{} is no reduction", x.stage);
  if (!s.nests[*id].untouched(t)) return refuse("expand {} before changing its loops", x.stage);
  int64_t terms = 1;
  for (const Axis& a : t.raxes) terms *= std::min(a.extent, most + 1);
  if (terms > most) return refuse("{} has more than {} terms", x.stage, most);
  Expr sum = t.init;
  for (int64_t n = 0; n < terms; ++n) {
    std::map<VarId, Index> becomes;
    int64_t rest = n;
    for (auto a = t.raxes.rbegin(); a != t.raxes.rend(); ++a) {
      becomes[a->var] = Index(Aff(rest % a->extent));
      rest /= a->extent;
    }
    Expr term = substitute_indices(t.body, becomes);
    sum = sum ? combine(t.op, std::move(sum), std::move(term)) : std::move(term);
  }
  if (!sum) sum = neutral(t.op, t.dtype);
  t.body = t.finish ? rewrite(t.finish, [&](const Expr& e) { return e.kind() == ExprKind::Acc ? sum : Expr{}; }) : sum;
  t.raxes.clear();
  t.op = Combine::None;
  t.init = t.finish = {};
  Nest fresh = plain_nest(t);
  Nest& nest = s.nests[*id];
  nest.loops = std::move(fresh.loops);
  nest.order = std::move(fresh.order);
  nest.guard_init = false;
  return Done{};
}

namespace {

// The factor before it was widened to f32; null where it was not.
Expr half_of(const Expr& e) {
  const bool widened = e.kind() == ExprKind::Cast && e.dtype() == DType::F32 && e.children()[0].dtype() == DType::F16;
  return widened ? e.children()[0] : Expr{};
}

bool is(const Expr& e, BinaryOp op) { return e.kind() == ExprKind::Binary && e.binary() == op && e.dtype() == DType::F32; }

bool is_product_of_halves(const Expr& e) { return is(e, BinaryOp::Mul) && half_of(e.children()[0]) && half_of(e.children()[1]); }

// ((a * b) + c * d) + ... as f32(fma(c, d, a * b)) + ...; null where a term is another.
Expr narrowed(const Expr& sum, int64_t most) {
  std::vector<Expr> terms;
  Expr first = sum;
  for (; is(first, BinaryOp::Add); first = first.children()[0]) terms.push_back(first.children()[1]);
  terms.push_back(first);
  std::ranges::reverse(terms);
  if (!std::ranges::all_of(terms, is_product_of_halves)) return {};
  Expr whole, part;
  for (size_t i = 0; i < terms.size(); ++i) {
    const Expr a = half_of(terms[i].children()[0]), b = half_of(terms[i].children()[1]);
    part = part ? call(DType::F16, "fma", {a, b, part}) : a * b;
    if (static_cast<int64_t>(i + 1) % most && i + 1 < terms.size()) continue;
    whole = whole ? whole + cast(DType::F32, part) : cast(DType::F32, part);
    part = {};
  }
  return whole;
}

// From the outside in: the parts of a sum are no sums of their own.
Expr with_narrow_sums(const Expr& e, int64_t most, bool& found) {
  if (Expr narrow = is(e, BinaryOp::Add) ? narrowed(e, most) : Expr{}) {
    found = true;
    return narrow;
  }
  if (e.children().empty()) return e;
  std::vector<Expr> children;
  for (const Expr& c : e.children()) children.push_back(with_narrow_sums(c, most, found));
  return e.with_children(children);
}

}  // namespace

Result<> apply(Stages s, const step::Narrow& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  Stage& t = s.group[*id];
  if (x.most < 1) return refuse("{} is narrowed by sums of {} products", x.stage, x.most);
  bool found = false;
  const Expr body = t.is_compute() && !t.is_reduction() ? with_narrow_sums(t.body, x.most, found) : Expr{};
  if (!found) return refuse("{} has no sums of products of f16", x.stage);
  t.body = body;
  return Done{};
}

}  // namespace burnish::schedule
