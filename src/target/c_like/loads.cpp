// Places in memory, and loads from there: by vectors where lanes lie side by side, under conditions
// without branches.
#include <algorithm>
#include <numeric>

#include "target/c_like/printer.h"

namespace burnish::c_like {

// Registers belong to a thread: what selects the thread is no part of their place. Notes how many
// there are.
Index Printer::own_part(BufferId b, const Index& i) {
  if (!in_registers(f_.buffers[b].scope)) return i;
  Index own(Aff(i.a.c));
  own.atoms = i.atoms;
  for (const Term& t : i.a.terms)
    if (!is_thread_[t.var]) own.a.add(t.var, t.k);
  own.a = without_gaps(own.a, register_gaps_[b]);
  register_size_[b] = std::max(register_size_[b], ranges_.bounds(own).hi + 1);
  return own;
}

// The element by lane. In memory its constant part, with what unrolled loops add, stands apart: instructions have room for it,
// and places that differ by constants alone share the rest.
Lanes Printer::places(BufferId b, const Index& i) {
  if (pieces_.contains(b)) return places_of_cluster(b, i);
  const Scope scope = f_.buffers[b].scope;
  const bool in_memory = scope == Scope::Param || scope == Scope::Shared || block_offset_[b] >= 0;
  if (!in_memory) {
    Lanes out = index(i);
    for (std::string& x : out) x = fmt::format("{}[{}]", buffers_[b], x);
    return out;
  }
  if (const int64_t rows = f_.buffers[b].swizzle) {
    // What a swizzle repeats after stands apart.
    Index varying, fixed(Aff(i.a.c));
    const int64_t size = size_of(f_.buffers[b].dtype), repeated = kSwizzleAlign / size;
    for (const Term& t : i.a.terms) (t.k % repeated == 0 ? fixed : varying).a.add(t.var, t.k);
    for (const Atom& x : i.atoms) (x.scale % repeated == 0 ? fixed : varying).atoms.push_back(x);
    varying.a.c = floor_mod(fixed.a.c, repeated);
    fixed.a.c -= varying.a.c;
    return each(index(varying), index(fixed), [&](const std::string& v, const std::string& c) {
      return fmt::format("({} + {})[swizzled<{}, {}>({})]", buffers_[b], c, rows, size, v);
    });
  }
  const auto constant = [&](const Aff& a) {
    return std::ranges::all_of(a.terms, [&](const Term& t) { return unrolled_.contains(t.var) || (lane_ && t.var == *lane_); });
  };
  Index varying, fixed(Aff(i.a.c));
  for (const Term& t : i.a.terms) (constant(Aff::of(t.var)) ? fixed : varying).a.add(t.var, t.k);
  for (const Atom& x : i.atoms) (!x.value && constant(x.a) ? fixed : varying).atoms.push_back(x);
  return each(index(varying), index(fixed), [&](const std::string& v, const std::string& c) {
    return c == "0" ? fmt::format("{}[{}]", buffers_[b], v) : v == "0" ? fmt::format("{}[{}]", buffers_[b], c) : fmt::format("({} + {})[{}]", buffers_[b], v, c);
  });
}

std::string Printer::place(BufferId b, const Index& i) { return places(b, i)[0]; }

// Elements of the aligned vectors in memory, of 16 bytes at most, that the lanes' elements are; 0
// where they are none.
int Printer::vector_width(BufferId b, const Index& i) const {
  const Buffer& buffer = f_.buffers[b];
  constexpr int widest = 16;  // bytes
  if (in_registers(buffer.scope) || !in_vectors(buffer.dtype))
    return 0;
  const int width = std::gcd(lanes_, widest / size_of(buffer.dtype));
  if (width < 2) return 0;
  if (block_offset_[b] < 0 && buffer.scope != Scope::Param && buffer.scope != Scope::Shared)
    return 0;
  if (i.a.slope(*lane_) != 1 || i.a.c % width || buffer.align % (width * size_of(buffer.dtype)))
    return 0;
  for (const Term& t : i.a.terms)
    if (t.var != *lane_ && t.k % width) return 0;
  for (const Atom& x : i.atoms)
    if (x.scale % width || x.a.slope(*lane_)) return 0;
  return width;
}

// Memory that no kernel at work writes.
bool Printer::constant_memory(BufferId b) const {
  const Buffer& buffer = f_.buffers[b];
  return !d_.load_where.empty() && !d_.restrict.empty() && buffer.scope == Scope::Param &&
         !buffer.written;
}

// An element of the buffer whatever the variables of its place are, so that it may be read where the value is not wanted.
bool Printer::always_inside(BufferId b, const Index& i) const {
  if (std::ranges::any_of(i.atoms, [](const Atom& x) { return bool(x.value); })) return false;
  const Interval range = ranges_.bounds(i);
  return range.lo >= 0 && range.hi < f_.buffers[b].size;
}

// Where `inside`, if given, does not hold, nothing is loaded and the value is 0; of memory that may
// change, some element of the buffer.
Lanes Printer::loaded_at(const Expr& e, const Lanes& inside) {
  const BufferId b = e.from();
  const Buffer& buffer = f_.buffers[b];
  if (buffer.scope == Scope::Param || buffer.scope == Scope::Shared) touched_.insert(b);
  if (buffer.scope == Scope::Warp) return exchanged(b, e.indices()[0]);
  const auto load_where = [&](int elements, const std::string& c, const std::string& place) {
    if (constant_memory(b))
      return fmt::format("{}({}, &{})", fmt::format(fmt::runtime(d_.load_where), elements, buffer.constant ? "_constant" : ""), and_branches(c),
                         place);
    if (block_offset_[b] >= 0 && always_inside(b, e.indices()[0]))
      return elements == 1 ? place : fmt::format("load{}(&{})", elements, place);
    const std::string safe = fmt::format("({} ? &{} : {})", c, place, buffers_[b]);
    return elements == 1 ? "*" + safe : fmt::format("load{}({})", elements, safe);
  };
  const Index at = own_part(b, e.indices()[0]);
  const int width =
      inside.size() < 2 && lane_ && lanes_ > 1 && at.a.slope(*lane_) != 0 ? vector_width(b, at) : 0;
  Lanes x;
  if (width == 0) {
    x = places(b, at);
    if (inside.empty()) return x;
    x = each(inside, x, [&](const std::string& c, const std::string& place) {
      return c == kNever ? number(constant(0.0, e.dtype())) : c == kAlways ? place : load_where(1, c, place);
    });
    for (std::string& s : x) s = temporary(e.dtype(), s);
    return x;
  }
  Index base = at;
  base.a.add(*lane_, -1);
  const bool half = is_half(buffer.dtype);
  for (int first = 0; first < lanes_; first += width) {
    const std::string v = fmt::format("t{}", temporaries_++), from = place(b, base);
    line(fmt::format("const {}{} {} = {};", half ? "uint" : "float", half ? width / 2 : width, v,
                     inside.empty() ? fmt::format("load{}(&{})", width, from)
                                    : load_where(width, inside[0], from)));
    for (int k = 0; k < width; ++k)
      x.push_back(half ? fmt::format("{}({}.{})", of_type(k % 2 ? "high" : "low", buffer.dtype), v, "xyzw"[k / 2])
                       : fmt::format("{}.{}", v, "xyzw"[k]));
    base.a.c += width;
  }
  return x;
}

// Without a branch, so that loads need not wait for one another.
Lanes Printer::loaded_where(Lanes inside, const Expr& e, const Expr& other) {
  for (std::string& c : inside)
    if (c != kNever && c != kAlways) c = temporary(DType::Bool, c);
  Lanes x = loaded_at(e, inside);
  if (constant_memory(e.from()) && is_zero(other)) return x;
  x = each(inside, x, [&](const std::string& c, const std::string& s) {
    return fmt::format("{} ? {} : {}", c, s, number(other));
  });
  for (std::string& s : x) s = temporary(e.dtype(), s);
  return x;
}

// A load from memory, or else a number.
bool Printer::loads_where(const Expr& select) const {
  const Expr &a = select.children()[1], &b = select.children()[2];
  return a.kind() == ExprKind::Load && b.kind() == ExprKind::Const &&
         in_vectors(a.dtype()) && !in_registers(f_.buffers[a.from()].scope);
}

// Loads of an arm of a select that are allowed wherever the condition does not hold, too: before it, no thread waits for them there.
void Printer::load_before(const Expr& arm) {
  visit(arm, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || done_.back().contains(e.get())) return;
    // Of operands, what stands in the block's memory: nobody waits for it there.
    if (!constant_memory(e.from()) && !(in_operand_ && block_offset_[e.from()] >= 0)) return;
    if (!always_inside(e.from(), e.indices()[0])) return;
    Lanes x = loaded_at(e, {});
    for (std::string& s : x) s = temporary(e.dtype(), s);
    done_.back()[e.get()] = x;
  });
}

// Is all that the arm loads in registers, or loaded already?
bool Printer::loads_nothing(const Expr& arm) const {
  bool nothing = true;
  visit(arm, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || in_registers(f_.buffers[e.from()].scope)) return;
    nothing &= std::ranges::any_of(done_, [&](const auto& level) { return level.contains(e.get()); });
  });
  return nothing;
}

}  // namespace burnish::c_like
