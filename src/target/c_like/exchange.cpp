// Registers that the threads of a warp read of one another (Scope::Warp). Of a place, the loop over
// threads with the largest step says whose it is: beyond that step it is another thread's, so many
// behind. Before instructions sum, each thread is given all that its operands have of others, every
// value once. Halves lie in pairs of neighbours, a register each.
#include <set>

#include "target/c_like/printer.h"

namespace burnish::c_like {

Printer::Held Printer::held(BufferId b, const Index& i) const {
  if (!i.is_affine()) unsupported("a quotient or remainder as a place in registers is not written");
  int64_t step = 0, inside = 1;
  for (size_t n = thread_loops_.size(), threads = 1; n-- > 0;
       threads *= static_cast<size_t>(thread_loops_[n].extent)) {
    const int64_t k = i.a.slope(thread_loops_[n].var);
    if (k > step) step = k, inside = static_cast<int64_t>(threads);
  }
  Held h{.own = Index(Aff(i.a.c))};
  for (const Term& t : i.a.terms)
    if (!is_thread_[t.var]) h.own.a.add(t.var, t.k);
  if (step > 0) {
    const Interval range = ranges_.bounds(h.own);
    const int64_t first = floor_div(range.lo, step);
    if (first < 0 || first != floor_div(range.hi, step))
      unsupported("what a thread reads of the registers of several others is not written");
    h.after = first * inside;
    h.own.a.c -= first * step;
  }
  h.own.a = without_gaps(h.own.a, register_gaps_[b]);
  return h;
}

void Printer::exchange(const TensorLoop& t) {
  exchanged_.clear();
  std::map<std::pair<BufferId, int64_t>, std::set<int64_t>> wanted;
  std::map<VarId, int64_t> extents;
  for (const auto* loops : {&t.around, &t.sum.tiles})
    for (const ForStmt& l : *loops) {
      extents[l.var] = l.extent;
      ranges_.set(l.var, 0, l.extent - 1);
    }
  extents[t.sum.elements ? t.sum.elements->var : t.sum.depth.var] = t.sum.values();
  const auto places = [&](const Aff& a, std::set<int64_t>& out) {
    std::set<int64_t> all = {a.c};
    for (const Term& term : a.terms) {
      const auto extent = extents.find(term.var);
      if (extent == extents.end())
        unsupported("registers of other threads at places that vary are not written");
      std::set<int64_t> more;
      for (const int64_t at : all)
        for (int64_t n = 0; n < extent->second; ++n) more.insert(at + term.k * n);
      all = std::move(more);
    }
    out.insert(all.begin(), all.end());
  };
  for (const int64_t row : {0, 1}) {
    visit(operand_of_thread(t, t.sum.a, row), [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || f_.buffers[e.from()].scope != Scope::Warp) return;
      const Held h = held(e.from(), e.indices()[0]);
      if (h.after > 0) places(h.own.a, wanted[{e.from(), h.after}]);
    });
  }
  for (const auto& [whose, places] : wanted) {
    const auto& [b, after] = whose;
    const std::string name = fmt::format("{}_after{}", buffers_[b], after);
    std::set<int64_t> registers;
    for (const int64_t at : places) registers.insert(at / in_a_register(b));
    line(fmt::format("{} {}[{}];", register_type(b), name, *registers.rbegin() + 1));
    for (const int64_t at : registers)
      line(fmt::format("{0}[{2}] = {3}({1}[{2}], {4});", name, buffers_[b], at, d_.of_later_thread,
                       after));
    exchanged_[whose] = name;
    registers_ += static_cast<int64_t>(registers.size());
  }
}

// The column of B that a thread (g, t) has is number g, printed as two digits. In registers that other loops have filled, 8 threads a row,
// what lies at the place of column g is the thread's own.
Expr Printer::own_columns(const TensorLoop& t, const Expr& b) const {
  return rewrite(b, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || f_.buffers[e.from()].scope != Scope::Warp) return Expr();
    Index at = e.indices()[0];
    const int64_t step = at.a.slope(t.odd);
    if (step == 0 || at.a.slope(t.half) != kMatrixPairs * step) return Expr();
    at.a.add(t.half, -kMatrixPairs * step);
    at.a.add(t.odd, -step);
    at.a.add(t.sum.group, step);
    return load(e.dtype(), e.from(), {at});
  });
}

// The element by lane.
Lanes Printer::exchanged(BufferId b, const Index& i) {
  const Held h = held(b, i);
  const auto other = exchanged_.find({b, h.after});
  if (h.after > 0 && other == exchanged_.end())
    unsupported("registers of other threads are read by matrix instructions alone");
  register_size_[b] = std::max(register_size_[b], ranges_.bounds(h.own).hi + 1);
  const std::string& name = h.after > 0 ? other->second : buffers_[b];
  if (in_a_register(b) > 1) return halves_of(b, name, h.own);
  Lanes out = index(h.own);
  for (std::string& x : out) x = fmt::format("{}[{}]", name, x);
  return out;
}

int64_t Printer::in_a_register(BufferId b) const {
  return f_.buffers[b].scope == Scope::Warp && is_half(f_.buffers[b].dtype) ? 2 : 1;
}

std::string Printer::register_type(BufferId b) const {
  return type_name(in_a_register(b) > 1 ? DType::U32 : f_.buffers[b].dtype);
}

// The registers of lanes that are neighbours, from an even place on, as their numbers; of one lane
// the one that it is in.
Lanes Printer::registers_of_pairs(const Index& own) {
  Aff pair(floor_div(own.a.c, 2));
  int64_t odd = floor_mod(own.a.c, 2);
  const bool moves = lane_ && lanes_ > 1 && own.a.slope(*lane_) != 0;
  bool even = !moves || (own.a.slope(*lane_) == 1 && odd == 0 && lanes_ % 2 == 0);
  for (const Term& t : own.a.terms) {
    if (moves && t.var == *lane_) continue;
    even &= t.k % 2 == 0;
    pair.add(t.var, t.k / 2);
  }
  if (!even || !own.is_affine()) unsupported("halves in registers that are no pairs are not written");
  Lanes out;
  for (int k = 0; k < (moves ? lanes_ : 1); k += 2) {
    out.push_back(aff(pair));
    pair.c += 1;
  }
  return out;
}

// By lane.
Lanes Printer::halves_of(BufferId b, const std::string& name, const Index& own) {
  const DType type = f_.buffers[b].dtype;
  note(type);
  const bool high_alone = floor_mod(own.a.c, 2) != 0;
  const bool moves = lane_ && lanes_ > 1 && own.a.slope(*lane_) != 0;
  Lanes out;
  for (const std::string& n : registers_of_pairs(own)) {
    if (moves || !high_alone) out.push_back(fmt::format("{}({}[{}])", of_type("low", type), name, n));
    if (moves || high_alone) out.push_back(fmt::format("{}({}[{}])", of_type("high", type), name, n));
  }
  return out;
}

}  // namespace burnish::c_like
