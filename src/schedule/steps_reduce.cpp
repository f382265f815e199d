// Steps that give a reduction other axes, or none.
#include <algorithm>
#include <map>

#include "expr/half.h"
#include "schedule/steps.h"
#include "schedule/substitute.h"

namespace burnish::schedule {

namespace {

// What a factor loads before it is converted; null where it is another expression.
Expr loaded_by(const Expr& factor) {
  if (factor.kind() == ExprKind::Cast) return loaded_by(factor.children()[0]);
  return factor.kind() == ExprKind::Load ? factor : Expr{};
}

// The whole axis of what is loaded goes along `k`, so that nothing lies behind its end.
bool ends_with(const StageGroup& g, const Expr& load, const Axis& k) {
  const Stage& from = g[load.from()];
  for (size_t i = 0; i < load.indices().size(); ++i)
    if (load.indices()[i].is_affine() && load.indices()[i].a == Aff::of(k.var) && from.axes[i].extent == k.extent) return true;
  return false;
}

Expr with_fill(const Expr& load_) {
  return load(load_.dtype(), load_.from(), {load_.indices().begin(), load_.indices().end()}, constant(0.0, load_.dtype()));
}

// The product with loads of 0 behind the end of `k`, whatever stands there: infinities would not be gone by a factor of 0.
Expr ended(const StageGroup& g, const Expr& product, const Axis& k) {
  return rewrite(product, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load) return Expr{};
    if (ends_with(g, e, k)) return with_fill(e);
    return select(all_nonnegative(std::vector{Index(Aff(k.extent - 1) - Aff::of(k.var))}), e, constant(0.0, e.dtype()));
  });
}

// The product's terms filled up to a multiple of `n` along `k` by some that are 0.
Axis filled_up(const StageGroup& g, Expr& product, Axis k, int64_t n) {
  if (k.extent % n == 0) return k;
  product = ended(g, product, k);
  k.extent = ceil_div(k.extent, n) * n;
  return k;
}

}  // namespace

bool zero_outside(const Expr& load) { return !load.fill() || (load.fill().kind() == ExprKind::Const && load.fill().number() == 0); }

// Terms behind the last one are outside of what every load reads, by its outermost reduce axis, where loads give 0: they are
// products, which are 0 then. A guard says so too, by which copies of what is read do not reach there. Those behind the end of
// the axis that stays apart are 0 by a guard; so are those behind the end of the inner one, or by what lies outside of what is
// read, which copies hold.
Result<> apply(Stages s, const step::Flatten& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  Stage& t = s.group[*id];
  if (!t.is_reduction() || t.raxes.empty()) return refuse("{} is no reduction", x.stage);
  if (!s.nests[*id].untouched(t)) return refuse("flatten {} before changing its loops", x.stage);
  if (x.multiple < 1 || x.lanes < 1) return refuse("{} is flattened to a multiple of {} by {}", x.stage, x.multiple, x.lanes);
  std::vector<Axis> flat = t.raxes;
  std::optional<Axis> apart;
  if (x.lanes > 1) {
    if (flat.size() < 2) return refuse("{} has one reduce axis: none is left to stay apart", x.stage);
    apart = flat.back();
    flat.pop_back();
  }
  const bool product = t.op == Combine::Sum && is_float(t.dtype) && t.body.kind() == ExprKind::Binary && t.body.binary() == BinaryOp::Mul &&
                       std::ranges::all_of(t.body.children(), [](const Expr& e) { return loaded_by(e) && zero_outside(loaded_by(e)); });
  Expr body = t.body;
  if (!x.inner.empty()) {
    const auto inner = std::ranges::find(flat, x.inner, &Axis::name);
    if (inner == flat.end()) return refuse("{} has no reduce axis {} to flatten", x.stage, x.inner);
    if (!product && inner->extent % x.multiple) return refuse("{} is no product of loads: {} terms are no multiple of {}", x.stage, inner->extent, x.multiple);
    *inner = filled_up(s.group, body, *inner, x.multiple);
    std::rotate(inner, inner + 1, flat.end());
  }
  int64_t terms = 1;
  for (const Axis& a : flat)
    if (__builtin_mul_overflow(terms, a.extent, &terms)) return refuse("{} has more than 2^63 terms", x.stage);
  const int64_t whole = ceil_div(terms, x.multiple) * x.multiple;
  const Axis all{"r", s.group.fresh("r"), whole};
  for (const auto* axes : {&t.axes, &t.raxes})
    for (const Axis& a : *axes)
      if (a.name == all.name && (axes == &t.axes || apart)) return refuse("{} has an axis {} already", x.stage, a.name);
  if (whole > terms) {
    if (!product || !std::ranges::all_of(body.children(), [&](const Expr& e) { return ends_with(s.group, loaded_by(e), flat[0]); }))
      return refuse("{} is no product of loads along its first reduce axis: {} terms are no multiple of {}", x.stage, terms, x.multiple);
    body = rewrite(body, [&](const Expr& e) { return e.kind() == ExprKind::Load ? with_fill(e) : Expr{}; });
    if (flat.size() > 1) body = ended(s.group, body, {all.name, all.var, terms});
  }
  if (apart && apart->extent % x.lanes) {
    if (!product) return refuse("{} is no product of loads: {} terms are no multiple of {}", x.stage, apart->extent, x.lanes);
    apart = filled_up(s.group, body, *apart, x.lanes);
  }
  std::map<VarId, Index> becomes;
  int64_t inner = 1;
  for (size_t i = flat.size(); i-- > 0;) {
    const int64_t extent = flat[i].extent;
    Index digit;
    if (flat.size() == 1)
      digit = Index(Aff::of(all.var));
    else if (extent > 1 || i == 0)
      digit.atoms.push_back({Aff::of(all.var), {}, inner, i > 0 ? extent : 0, 1});
    becomes[flat[i].var] = digit;
    inner *= extent;
  }
  t.body = substitute_indices(body, becomes);
  if (t.init) t.init = substitute_indices(t.init, becomes);
  t.raxes = {all};
  if (apart) t.raxes.push_back(*apart);
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

bool is_half(double x) { return float_of_half(half_of_float(static_cast<float>(x))) == x; }

// A bias and limits of such a sum, f32 that is rounded to f16 afterwards, as f16; null where it is something else.
Expr finished(const Expr& e) {
  if (is(e, BinaryOp::Add)) {
    const Expr sum = half_of(e.children()[0]);
    const bool computed = sum && (sum.kind() == ExprKind::Call || (sum.kind() == ExprKind::Binary && sum.binary() == BinaryOp::Mul));
    return computed ? call(DType::F16, "fma", {sum, constant(1, DType::F16), cast(DType::F16, e.children()[1])}) : Expr{};
  }
  if (!is(e, BinaryOp::Max) && !is(e, BinaryOp::Min)) return {};
  const Expr& limit = e.children()[1];
  const Expr inner = limit.kind() == ExprKind::Const && is_half(limit.number()) ? finished(e.children()[0]) : Expr{};
  return inner ? binary(e.binary(), inner, constant(limit.number(), DType::F16)) : Expr{};
}

Expr with_narrow_ends(const Expr& e) {
  return rewrite(e, [](const Expr& x) {
    const bool rounded = x.kind() == ExprKind::Cast && x.dtype() == DType::F16 && x.children()[0].dtype() == DType::F32;
    return rounded ? finished(x.children()[0]) : Expr{};
  });
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
  t.body = with_narrow_ends(body);
  return Done{};
}

}  // namespace burnish::schedule
