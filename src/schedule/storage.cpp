// Buffers, and the address of a logical position: blocks, rings, strides. One rule serves all
// layouts.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {

void Lowering::allocate(StageId s, const Box& need) {
  const Stage& t = stage(s);
  Storage& at = storage_[s];
  at.alive = true;
  at.digits.reset();
  at.level = open_.size();
  at.lo.clear();
  at.ext.clear();
  at.fold.assign(t.axes.size(), 0);
  for (size_t a = 0; a < t.axes.size(); ++a) {
    at.lo.push_back(need[a].lo);
    at.ext.push_back(std::max<int64_t>(1, need[a].ext));
  }
  bool parallel = std::any_of(open_.begin(), open_.end(),
                              [](const Open& o) { return o.kind == LoopKind::Parallel; });
  Scope scope = open_.empty() ? Scope::Shared : Scope::Thread;
  if (auto asked = schedule_.nest(s).scope) {
    if (*asked == Scope::Shared && parallel)
      refuse_schedule("{} is to be shared but is stored inside a parallel loop: store it at root",
                      t.name);
    scope = *asked;
  }
  if (!buffers_[s])
    buffers_[s] = fn_.add_buffer({.name = t.name, .dtype = t.dtype, .scope = scope});
  at.buffer = *buffers_[s];
  Buffer& buffer = fn_.buffers[at.buffer];
  if (buffer.scope == Scope::Shared && scope == Scope::Thread) buffer.scope = scope;
  if (const int64_t rows = schedule_.nest(s).swizzle) {
    if (buffer.scope != Scope::Thread) refuse_schedule("swizzle: {} is not in the memory of a block", t.name);
    buffer.swizzle = rows;
    buffer.align = kSwizzleAlign;
  }
  lay_out(s);
}

// Strides of the dimensions. `storage_align` widens the stride of the third dimension from the
// inside (of the second where there are two): rows, or rows of pixels.
void Lowering::lay_out(StageId s) {
  const Stage& t = stage(s);
  Storage& at = storage_[s];
  Layout layout = t.layout;
  if (layout.empty())
    for (uint32_t a = 0; a < t.axes.size(); ++a) layout.push_back({a});
  at.dims.clear();
  int64_t stride = 1, unused = 0;  // what pads the last of everything
  int64_t pad = schedule_.nest(s).pad;
  size_t padded = std::min<size_t>(2, layout.size() - std::min<size_t>(1, layout.size()));
  size_t k = 0;
  for (auto d = layout.rbegin(); d != layout.rend(); ++d, ++k) {
    if (pad && k == padded) stride += pad;
    int64_t n = at.fold[d->axis] ? at.fold[d->axis] : at.ext[d->axis];
    if (at.fold[d->axis] && (d->div != 1 || d->mod))
      refuse_schedule("{}.{} is stored in blocks and cannot be folded", t.name,
                      t.axes[d->axis].name);
    at.dims.push_back({d->axis, d->div, d->mod, stride});
    int64_t extent = (d->mod ? d->mod : ceil_div(n, d->div)) + d->pad;
    unused += d->pad * stride;
    if (__builtin_mul_overflow(stride, extent, &stride) || stride > kMaxElements)
      refuse_schedule("{} would take more than 2^40 elements", t.name);
  }
  std::reverse(at.dims.begin(), at.dims.end());
  at.size = std::max<int64_t>(0, stride - unused);
}

namespace {

// a = f * quotient + remainder
struct Division {
  Aff quotient, remainder;
};
Division divided(const Aff& a, int64_t f) {
  Division d{Aff(floor_div(a.c, f)), Aff(floor_mod(a.c, f))};
  for (const Term& t : a.terms) {
    if (t.k % f == 0)
      d.quotient.add(t.var, t.k / f);
    else
      d.remainder.add(t.var, t.k);
  }
  return d;
}

// The same with the remainder in [0, f), if intervals prove it.
std::optional<Division> exact_division(const Aff& a, int64_t f, const Ranges& ranges) {
  const Division d = divided(a, f);
  Interval r = ranges.bounds(d.remainder);
  if (r.lo >= 0 && r.hi < f) return d;
  return std::nullopt;
}

}  // namespace

// Of a quotient or remainder that changes along the lanes nothing is left in the atom where vectors lie within its steps:
//   (16p + l) / 64 = p / 4    (16p + l) % 64 = 16 (p % 4) + l    for l in 0..16
Index Lowering::divide_lanes(const Aff& a, int64_t div, int64_t mod) const {
  const int64_t step = div > 1 ? div : mod;
  int64_t unit = step;
  for (const Term& t : a.terms) {
    if (t.var != *lane_) unit = std::gcd(unit, t.k);
  }
  Index i;
  const auto d = unit > 1 ? exact_division(a, unit, ranges_) : std::nullopt;
  if (!d) {
    i.atoms.push_back({a, {}, div, mod, 1});
  } else if (div > 1) {
    i.atoms.push_back({d->quotient, {}, div / unit, mod, 1});
  } else {
    i.a = d->remainder;
    i.atoms.push_back({d->quotient, {}, 1, mod / unit, unit});
  }
  return i;
}

// What unrolled loops add is all that is left in the atom, so that code generation finds a constant:
//   (2x + i + 1) / 2 = x + (i + 1) / 2    (2x + i + 1) % 2 = (i + 1) % 2
std::optional<Index> Lowering::divide_unrolled(const Aff& a, int64_t div, int64_t mod) const {
  if (div > 1 && mod > 0) return std::nullopt;
  const Division d = divided(a, div > 1 ? div : mod);
  const bool unrolled = std::ranges::all_of(d.remainder.terms, [&](const Term& t) { return vars_[t.var].kind == LoopKind::Unroll; });
  if (!unrolled || d.quotient.terms.empty() || ranges_.bounds(d.remainder).lo < 0) return std::nullopt;
  Index i(div > 1 ? d.quotient : Aff(0));
  i.atoms.push_back({d.remainder, {}, div, mod, 1});
  return i;
}

// (a / div) % mod; an atom only where intervals cannot decide it.
Index Lowering::divide(const Aff& a, int64_t div, int64_t mod) const {
  Aff q = a;
  if (div > 1) {
    auto d = exact_division(a, div, ranges_);
    if (!d && lane_ && a.slope(*lane_)) return divide_lanes(a, div, mod);
    if (!d) {
      if (auto i = divide_unrolled(a, div, mod)) return *i;
      Index i;
      i.atoms.push_back({a, {}, div, mod, 1});
      return i;
    }
    q = d->quotient;
  }
  if (mod == 0) return Index(q);
  if (auto d = exact_division(q, mod, ranges_)) return Index(d->remainder);
  Interval r = ranges_.bounds(q);
  if (r.lo >= 0 && r.hi < mod) return Index(q);
  if (lane_ && q.slope(*lane_)) return divide_lanes(q, 1, mod);
  if (auto i = divide_unrolled(q, 1, mod)) return *i;
  Index i;
  i.atoms.push_back({q, {}, 1, mod, 1});
  return i;
}

namespace {

// Neighbouring digits of one number, in their order, are a number: 3 * (r / 3 % 3) + r % 3 = r % 9. What reads several axes in one, as
// memory has them, reads along it.
void join_digits(Index& i) {
  for (size_t low = 0; low < i.atoms.size(); ++low) {
    for (size_t high = 0; high < i.atoms.size(); ++high) {
      Atom& x = i.atoms[low];
      const Atom& y = i.atoms[high];
      if (high == low || x.mod == 0 || x.value || y.value || !(x.a == y.a) || y.div != x.div * x.mod || y.scale != x.scale * x.mod) continue;
      x.mod *= y.mod;
      i.atoms.erase(i.atoms.begin() + static_cast<ptrdiff_t>(high));
      if (high < low) --low;
      high = static_cast<size_t>(-1);
    }
  }
  std::erase_if(i.atoms, [&](const Atom& x) {
    const bool all = !x.value && x.div == 1 && x.mod == 0;
    if (all) i.a += x.a * x.scale;
    return all;
  });
}

}  // namespace

Index Lowering::address(StageId s, const std::vector<Index>& position) {
  const Stage& t = stage(s);
  Storage& at = storage_[s];
  if (!at.alive)
    refuse_schedule("{} is read where its buffer does not exist: compute it further out", t.name);
  Index flat;
  for (const Storage::Dim& d : at.dims) {
    const Index& p = position[d.axis];
    Aff i = p.a - at.lo[d.axis];
    int64_t div = d.div, mod = at.fold[d.axis] ? at.fold[d.axis] : d.mod;
    bool affine_form = p.is_affine();
    if ((div != 1 || mod) && p.atoms.size() == 1) {  // (a / b + i) / c = (a + b * i) / (b * c)
      const Atom& inner = p.atoms[0];
      if (!inner.value && inner.mod == 0 && inner.scale == 1 &&
          !__builtin_mul_overflow(div, inner.div, &div)) {
        i = inner.a + i * inner.div;
        affine_form = true;
      } else if (const int64_t rest = inner.mod / div; !inner.value && inner.mod % div == 0 && inner.scale == 1 && i == Aff(0) &&
                 (mod == 0 || rest % mod == 0)) {  // (a / b % m) / c = a / (b * c) % (m / c)
        i = inner.a;
        div *= inner.div;
        if (mod == 0) mod = rest;
        affine_form = true;
      }
    }
    if (affine_form) {
      Index q = divide(i, div, mod);
      flat.a += q.a * d.stride;
      for (Atom& atom : q.atoms) {
        if (lane_ && atom.a.slope(*lane_))
          refuse_schedule("{}: a vector along {} would cross a block of {}", t.name,
                          t.axes[d.axis].name, mod ? mod : d.div);
        check(guards_ || ranges_.bounds(atom.a).lo >= 0, "{}.{}: an index may lie below its region",
              t.name, t.axes[d.axis].name);
        atom.scale *= d.stride;
        flat.atoms.push_back(std::move(atom));
      }
    } else if (div == 1 && mod == 0) {
      flat.a += i * d.stride;
      for (Atom atom : p.atoms) {
        atom.scale *= d.stride;
        flat.atoms.push_back(std::move(atom));
      }
    } else {
      Index whole = p;
      whole.a = i;
      flat.atoms.push_back({Aff(0), affine(std::move(whole)), div, mod, d.stride});
    }
  }
  join_digits(flat);
  fn_.buffers[at.buffer].size = std::max(fn_.buffers[at.buffer].size, at.size);
  check_access(s, flat);
  return flat;
}

// Vectors are contiguous or one element for all lanes; registers are indexed by what code
// generation expands.
void Lowering::check_access(StageId s, const Index& flat) {
  if (lane_ && !lanes_apart_) {
    int64_t slope = flat.a.slope(*lane_);
    for (const Atom& atom : flat.atoms) {
      bool moves = atom.a.slope(*lane_) != 0;
      if (atom.value)
        visit(atom.value, [&](const Expr& e) {
          if (e.kind() == ExprKind::Affine) moves |= has_lane(e.index());
          if (e.kind() == ExprKind::Load) moves |= has_lane(e.indices()[0]);
        });
      if (moves)
        refuse_schedule("{} would be accessed at scattered places by vector loop {}", stage(s).name,
                        lane_name_);
    }
    // Beside an unrolled loop that runs along what is contiguous, squares are transposed in registers.
    const bool square = std::ranges::any_of(
        flat.a.terms, [&](const Term& t) { return t.k == 1 && vars_[t.var].kind == LoopKind::Unroll; });
    if (slope != 0 && slope != 1 && !square)
      refuse_schedule("{} would be accessed with stride {} by vector loop {}", stage(s).name, slope,
                      lane_name_);
  }
  if (fn_.buffers[storage_[s].buffer].scope != Scope::Param &&
      fn_.buffers[storage_[s].buffer].scope != Scope::Shared)
    for (size_t k = storage_[s].level; k < open_.size(); ++k)
      if (open_[k].kind == LoopKind::Parallel)
        refuse_schedule("{} is stored outside parallel loop {} but not shared", stage(s).name,
                        fn_.vars[open_[k].var]);
  const bool warp = schedule_.nest(s).scope == Scope::Warp;
  if (!schedule_.nest(s).in_registers() || info_[s].output || !stage(s).is_compute())
    return;
  for (const Term& t : flat.a.terms) {
    LoopKind kind = vars_[t.var].kind;
    const bool expanded = kind == LoopKind::Unroll || kind == LoopKind::Vectorize || kind == LoopKind::Thread || (warp && kind == LoopKind::Tensor);
    if (vars_[t.var].let || !expanded)
      refuse_schedule("{} is in registers but is indexed by {}: unroll those loops", stage(s).name,
                      fn_.vars[t.var]);
  }
  if (!flat.is_affine())
    refuse_schedule(
        "{} is in registers but is indexed by a quotient or remainder: unroll those loops",
        stage(s).name);
  if (!has_threads_ || warp) return;
  auto digits = thread_digits(flat.a);
  auto& owner = storage_[s].digits;
  if (!owner) owner = digits;
  if (*owner != digits)
    refuse_schedule("{} is in registers of threads that other loops number otherwise: bind them alike, "
                    "or keep it in the block's memory",
                    stage(s).name);
}

// How a place depends on the number of the running thread: extents and strides of the number's digits,
// outermost first; neighbours that are one digit are joined, those of no effect at the front left out.
std::vector<std::pair<int64_t, int64_t>> Lowering::thread_digits(const Aff& a) const {
  std::vector<std::pair<int64_t, int64_t>> out;
  for (const Open& o : open_) {
    if (o.kind != LoopKind::Thread) continue;
    const int64_t extent = vars_[o.var].threads, stride = a.slope(o.var);
    if (out.empty() && stride == 0) continue;
    if (!out.empty() && out.back().second == stride * extent)
      out.back() = {out.back().first * extent, stride};
    else
      out.emplace_back(extent, stride);
  }
  if (!out.empty()) out.front().first = 0;  // how many threads there are says nothing about whose is what
  return out;
}

}  // namespace burnish::lowering
