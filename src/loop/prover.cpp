#include "loop/prover.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace burnish::loop {

namespace {

constexpr int64_t unbounded = int64_t{1} << 60;
constexpr int64_t largest_factor = int64_t{1} << 18, largest_coefficient = int64_t{1} << 42;
constexpr int most_rounds = 100, most_sharpenings = 8;
constexpr int steps = 1000;  // at each depth of search

int64_t clamp(int64_t v) { return std::clamp(v, -unbounded, unbounded); }

int64_t times(int64_t k, int64_t v) {
  int64_t product = 0;
  if (__builtin_mul_overflow(k, v, &product)) return (k < 0) == (v < 0) ? unbounded : -unbounded;
  return clamp(product);
}

int64_t plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return a > 0 ? unbounded : -unbounded;
  return clamp(sum);
}

// What a loaded integer may be.
std::pair<int64_t, int64_t> range_of_dtype(DType t) {
  int width = size_of(t) * 8;
  if (width > 32) return {-unbounded, unbounded};
  if (!is_signed(t)) return {0, (int64_t{1} << width) - 1};
  return {-(int64_t{1} << (width - 1)), (int64_t{1} << (width - 1)) - 1};
}

bool is_small(const Aff& a) {
  auto small = [](int64_t k) { return k >= -largest_coefficient && k <= largest_coefficient; };
  return small(a.c) &&
         std::all_of(a.terms.begin(), a.terms.end(), [&](const Term& t) { return small(t.k); });
}

// a * m - b * q, in one pass.
Aff combined(const Aff& a, int64_t m, const Aff& b, int64_t q) {
  Aff out(a.c * m - b.c * q);
  size_t i = 0, j = 0;
  while (i < a.terms.size() || j < b.terms.size()) {
    const bool of_a =
        j == b.terms.size() || (i < a.terms.size() && a.terms[i].var <= b.terms[j].var);
    const bool of_b =
        i == a.terms.size() || (j < b.terms.size() && b.terms[j].var <= a.terms[i].var);
    const Term t{of_a ? a.terms[i].var : b.terms[j].var,
                 (of_a ? a.terms[i].k * m : 0) - (of_b ? b.terms[j].k * q : 0)};
    i += of_a;
    j += of_b;
    if (t.k != 0) out.terms.push_back(t);
  }
  return out;
}

}  // namespace

bool same_atom(const Atom& a, const Atom& b) {
  Index x, y;
  x.atoms = {a};
  y.atoms = {b};
  return equal(x, y);
}

Prover::Prover(size_t variables) : ranges_(variables, {-unbounded, unbounded}) {}

void Prover::bind(VarId v, int64_t lo, int64_t hi) {
  if (v >= ranges_.size()) ranges_.resize(v + 1, {-unbounded, unbounded});
  ranges_[v] = {std::max(lo, -unbounded), std::min(hi, unbounded)};
}

Prover::Id Prover::fresh(int64_t lo, int64_t hi) {
  Id id = static_cast<Id>(ranges_.size());
  bind(id, lo, hi);
  return id;
}

void Prover::define(VarId v, const Aff& value) { definitions_.emplace_back(v, resolved(value)); }

Aff Prover::resolved(Aff a) const {
  for (auto& [v, value] : definitions_) {
    int64_t k = a.slope(v);
    if (!k) continue;
    a.add(v, -k);
    a += value * k;
  }
  return a;
}

void Prover::assume(const Aff& nonnegative) {
  Aff fact = resolved(nonnegative);
  if (fact.is_const() || !is_small(fact)) return;
  if (fact.terms.size() > 1) add_fact(fact);
  // Ranges that become narrower narrow others, through the facts that tie them.
  std::vector<Aff> queue = {std::move(fact)};
  for (int rounds = 0; !queue.empty() && rounds < most_rounds; ++rounds) {
    Aff next = std::move(queue.back());
    queue.pop_back();
    for (Id v : narrow(next)) {
      if (v >= facts_of_.size()) continue;
      for (const uint32_t n : facts_of_[v])
        if (!(facts_[n] == next)) queue.push_back(facts_[n]);
    }
  }
}

void Prover::add_fact(const Aff& fact) {
  for (const Term& t : fact.terms) {
    if (t.var >= facts_of_.size()) facts_of_.resize(t.var + 1);
    facts_of_[t.var].push_back(static_cast<uint32_t>(facts_.size()));
  }
  facts_.push_back(fact);
}

// What a fact says about each of its variables alone, rounded to whole numbers; returns those that
// it narrows.
std::vector<Prover::Id> Prover::narrow(const Aff& fact) {
  std::vector<Id> out;
  for (const Term& t : fact.terms) {
    Aff rest = fact;
    rest.add(t.var, -t.k);
    int64_t most = range(rest).second;  // t.k * v >= -most
    if (most >= unbounded || t.var >= ranges_.size()) continue;
    auto [lo, hi] = ranges_[t.var];
    int64_t limit = t.k > 0 ? ceil_div(-most, t.k) : floor_div(most, -t.k);
    if (t.k > 0 ? limit <= lo : limit >= hi) continue;
    undo_.emplace_back(t.var, ranges_[t.var]);
    (t.k > 0 ? ranges_[t.var].first : ranges_[t.var].second) = limit;
    out.push_back(t.var);
  }
  return out;
}

void Prover::reset(Mark m) {
  while (facts_.size() > m.facts) {
    for (const Term& t : facts_.back().terms) facts_of_[t.var].pop_back();
    facts_.pop_back();
  }
  atoms_.resize(m.atoms);
  definitions_.resize(m.definitions);
  while (undo_.size() > m.ranges) {
    ranges_[undo_.back().first] = undo_.back().second;
    undo_.pop_back();
  }
}

Prover::Range Prover::range_of(const Term& t) const {
  auto [lo, hi] = t.var < ranges_.size() ? ranges_[t.var] : std::pair(-unbounded, unbounded);
  if (t.k < 0) std::swap(lo, hi);
  return {times(t.k, lo), times(t.k, hi)};
}

int64_t Prover::least(const Aff& a) const {
  int64_t lo = a.c;
  for (const Term& t : a.terms) lo = plus(lo, range_of(t).first);
  return lo;
}

Prover::Range Prover::range(const Aff& a) const {
  int64_t hi = a.c;
  for (const Term& t : a.terms) hi = plus(hi, range_of(t).second);
  return {least(a), hi};
}

Aff Prover::flatten(const Index& i) {
  Aff out = resolved(i.a);
  for (const Atom& x : i.atoms) {
    Atom plain = x;
    plain.a = resolved(x.a);
    plain.scale = 1;
    out += stand_in(plain) * x.scale;
  }
  return out;
}

Aff Prover::stand_in(const Atom& atom) {
  if (atom.div == 1 && atom.mod == 0 && !atom.value) return atom.a;
  for (const AtomId& known : atoms_) {
    if (same_atom(known.atom, atom)) return Aff::of(known.id);
  }
  if (atom.mod && !atom.value) {
    // x mod m = x - m * (x / m) with x = a / div; two floors by constants are one.
    Atom whole = atom, quotient = atom;
    whole.mod = quotient.mod = 0;
    if (!__builtin_mul_overflow(atom.div, atom.mod, &quotient.div)) {
      Aff x = stand_in(whole), q = stand_in(quotient);
      auto [lo, hi] = range(x);
      bool inside = lo >= 0 && hi < atom.mod;
      Id id = fresh(inside ? lo : 0, inside ? hi : atom.mod - 1);
      Aff difference = Aff::of(id) - x + q * atom.mod;
      assume(difference);
      assume(-difference);
      atoms_.push_back({atom, id});
      return Aff::of(id);
    }
  }
  auto [lo, hi] = range(atom.a);
  if (atom.value) {
    auto [l, h] = range_of_dtype(atom.value.dtype());
    lo = plus(lo, l);
    hi = plus(hi, h);
  }
  lo = floor_div(lo, atom.div);
  hi = floor_div(hi, atom.div);
  // Facts about the dividend bound the quotient sharper than they bound its rational counterpart.
  for (int i = 0; !atom.value && i < most_sharpenings && lo < hi; ++i) {
    if (!search(Aff(hi * atom.div - 1) - atom.a, {3, 6})) break;
    --hi;
  }
  for (int i = 0; !atom.value && i < most_sharpenings && lo < hi; ++i) {
    if (!search(atom.a - Aff((lo + 1) * atom.div), {3, 6})) break;
    ++lo;
  }
  if (atom.mod && (lo < 0 || hi >= atom.mod)) {
    lo = 0;
    hi = atom.mod - 1;
  }
  Id id = fresh(lo, hi);
  if (!atom.value && !atom.mod) {
    Aff rest = atom.a - Aff::of(id, atom.div);  // a - div * (a / div) lies in [0, div)
    assume(rest);
    assume(Aff(atom.div - 1) - rest);
  }
  atoms_.push_back({atom, id});
  return Aff::of(id);
}

bool Prover::never_negative(const Aff& a) { return search(resolved(a), {3, 6, 12, 24}); }

// Short proofs first: most are, and a long search in the wrong direction would eat the budget.
bool Prover::search(const Aff& goal, std::initializer_list<int> depths) {
  for (int depth : depths) {
    budget_ = steps;
    deepest_ = depth;
    if (prove(goal, 0)) return true;
  }
  return false;
}

// goal >= 0 if m * goal = q * fact + rest with m, q > 0, fact >= 0 and rest > -m (integers). One
// variable at a time, the highest first: stand-ins before what they stand for, inner loops before
// outer ones.
bool Prover::prove(const Aff& goal, int depth) {
  if (least(goal) >= 0) return true;
  if (depth == deepest_ || !is_small(goal) || goal.is_const()) return false;
  Term top = goal.terms[goal.terms.size() - 1];
  if (eliminate(goal, top, false, depth)) return true;
  auto [lo, hi] = ranges_[top.var];
  int64_t end = top.k > 0 ? lo : hi;
  if (end > -unbounded && end < unbounded && --budget_ > 0) {
    Aff rest = goal;
    rest.add(top.var, -top.k);
    rest.c = plus(rest.c, times(top.k, end));
    if (prove(rest, depth + 1)) return true;
  }
  return eliminate(goal, top, true, depth);
}

// With facts that bring in higher variables, or with those that do not.
bool Prover::eliminate(const Aff& goal, Term top, bool higher, int depth) {
  if (top.var >= facts_of_.size()) return false;
  const std::vector<uint32_t>& facts = facts_of_[top.var];
  for (size_t n = facts.size(); n-- > 0;) {
    const Aff& fact = facts_[facts[n]];
    if ((fact.terms[fact.terms.size() - 1].var > top.var) != higher) continue;
    int64_t s = fact.slope(top.var);
    if ((top.k > 0) != (s > 0)) continue;
    if (--budget_ < 0) return false;
    int64_t g = std::gcd(top.k, s), m = std::abs(s) / g, q = std::abs(top.k) / g;
    if (m > largest_factor || q > largest_factor) continue;
    Aff rest = combined(goal, m, fact, q);
    rest.c += m - 1;
    if (prove(rest, depth + 1)) return true;
  }
  return false;
}

}  // namespace burnish::loop
