// Indices and addresses. An index is brought to a normal form over the variables of rolled loops, cut by level, and each
// prefix becomes one pointer that is placed at its level; constants end in the displacement of the access.
//
//   A[(y*W + x + 3)*C + k]  inside y, x, k  ->  p_y = A + y*W*C*4; p_x = p_y + x*C*4; p_k = p_x + k*4; load p_k + 3*C*4
#include <algorithm>
#include <bit>

#include "target/llvm/codegen.h"
#include "target/llvm/keys.h"

namespace burnish::llvm_target {

Aff Codegen::normal(const Aff& a) const {
  Aff r(a.c);
  for (const Term& t : a.terms) {
    check(t.var < bindings_.size() && bindings_[t.var].kind != Binding::Unbound, "{}: variable {} is not bound",
          where(), t.var);
    const Binding& v = bindings_[t.var];
    if (v.kind == Binding::Constant) {
      r.c += t.k * v.constant;
    } else if (v.kind == Binding::Form) {
      r += normal(v.form) * t.k;
    } else {
      r.add(t.var, t.k);
      if (v.kind == Binding::Lane) r.c += t.k * v.constant;
    }
  }
  return r;
}

// scale * ((a / div) mod m), with what intervals show to be exact taken out:
//   (16q + r)/16 -> q + r/16, r/16 -> 0 for r in [0, 16); (4y + x) mod 4 -> x mod 4; x mod 4 -> x for x in [0, 4)
void Codegen::add_atom(Index& to, const Atom& atom) {
  Atom x = atom;
  x.a = normal(atom.a);
  if (x.value) {
    to.atoms.push_back(std::move(x));
    return;
  }
  Aff whole, rest;
  for (const Term& t : x.a.terms) (t.k % x.div == 0 ? whole : rest).add(t.var, t.k);
  whole.c = floor_div(x.a.c, x.div) * x.div;
  rest.c = x.a.c - whole.c;
  Interval r = ranges_.bounds(rest);
  if (r.lo >= 0 && r.hi < x.div) {
    for (auto& t : whole.terms) t.k /= x.div;
    whole.c /= x.div;
    x.a = whole;
    x.div = 1;
  }
  Interval q = ranges_.bounds(x.a);
  q = {floor_div(q.lo, x.div), floor_div(q.hi, x.div)};
  if (x.mod) {
    if (q.lo >= 0 && q.hi < x.mod) {
      x.mod = 0;
    } else {
      Aff reduced(x.a.c);
      for (const Term& t : x.a.terms) {
        if (t.k % (x.div * x.mod) != 0) reduced.add(t.var, t.k);
      }
      reduced.c = floor_mod(reduced.c, x.div * x.mod);
      Interval s = ranges_.bounds(reduced);
      x.a = reduced;
      if (s.lo >= 0 && s.hi < x.div * x.mod) x.mod = 0;
    }
  }
  if (x.a.is_const() || (x.div == 1 && x.mod == 0)) {
    if (x.a.is_const()) {
      int64_t v = floor_div(x.a.c, x.div);
      to.a.c += x.scale * (x.mod ? floor_mod(v, x.mod) : v);
    } else {
      to.a += x.a * x.scale;
    }
    return;
  }
  to.atoms.push_back(std::move(x));
}

Index Codegen::simplified(const Index& i) {
  Index r(normal(i.a));
  for (const Atom& atom : i.atoms) add_atom(r, atom);
  return r;
}

// ((x) / div) mod m, floored.
Placed Codegen::divided(const Atom& a, Placed x, Interval range) {
  Key key{key_of(Made::Quotient), key_of(x.v), key_of(a.div), key_of(a.mod)};
  return place(x.depth, key, [&] {
    llvm::Value* v = x.v;
    bool natural = range.lo >= 0;
    if (a.div != 1) {
      llvm::Value* d = b().getInt64(a.div);
      if (natural) {
        v = b().CreateUDiv(v, d);
      } else if (std::has_single_bit(uint64_t(a.div))) {
        v = b().CreateAShr(v, std::countr_zero(uint64_t(a.div)));
      } else {
        llvm::Value* q = b().CreateSDiv(v, d);
        llvm::Value* r = b().CreateSub(v, b().CreateMul(q, d));
        v = b().CreateSub(q, b().CreateZExt(b().CreateICmpSLT(r, b().getInt64(0)), b().getInt64Ty()));
      }
    }
    if (a.mod) {
      llvm::Value* m = b().getInt64(a.mod);
      if (natural) {
        v = b().CreateURem(v, m);
      } else if (std::has_single_bit(uint64_t(a.mod))) {
        v = b().CreateAnd(v, b().getInt64(a.mod - 1));
      } else {
        llvm::Value* r = b().CreateSRem(v, m);
        v = b().CreateSelect(b().CreateICmpSLT(r, b().getInt64(0)), b().CreateAdd(r, m), r);
      }
    }
    return v;
  });
}

Position Codegen::position(const Index& raw, const Guard& g) {
  Index i = simplified(raw);
  Position p;
  p.c = i.a.c;
  for (const Term& t : i.a.terms) {
    const Binding& v = bindings_[t.var];
    if (v.kind == Binding::Lane) {
      p.lane = t.k;
    } else {
      p.parts.push_back({v.v, t.k, v.depth, ranges_.of(t.var)});
    }
  }
  p.range = ranges_.bounds(i);
  p.plain = ranges_.plain(i.a);
  for (const Atom& atom : i.atoms) {
    Interval within = atom.mod ? Interval{0, atom.mod - 1} : Interval{INT32_MIN, INT32_MAX};
    int64_t s1 = atom.scale * within.lo, s2 = atom.scale * within.hi;
    p.plain = {p.plain.lo + std::min(s1, s2), p.plain.hi + std::max(s1, s2)};
    Position a = position(Index(atom.a), g);
    p.scattered |= a.lane != 0;
    Placed x = value_of(a);
    Interval range = a.range;
    if (atom.value) {
      Val value = gen(atom.value, g);
      p.scattered |= value.lanes;
      if (p.scattered) return p;
      bool is_wide = size_of(atom.value.dtype()) == 8;
      llvm::Value* v = is_wide ? value.v
                               : b().CreateIntCast(value.v, b().getInt64Ty(), is_signed(atom.value.dtype()));
      bool is_zero = a.parts.empty() && a.c == 0;
      x = {is_zero ? v : b().CreateAdd(x.v, v), level_count()};
      range = {INT64_MIN / 4, INT64_MAX / 4};
    }
    if (p.scattered) return p;
    Placed q = divided(atom, x, range);
    Interval of = atom.mod ? Interval{0, atom.mod - 1}
                           : Interval{floor_div(range.lo, atom.div), floor_div(range.hi, atom.div)};
    p.parts.push_back({q.v, atom.scale, q.depth, of});
  }
  std::stable_sort(p.parts.begin(), p.parts.end(), [](const Part& x, const Part& y) { return x.depth < y.depth; });
  p.depth = p.parts.empty() ? 0 : p.parts.back().depth;
  return p;
}

Placed Codegen::value_of(const Position& p) {
  if (p.parts.empty()) return {b().getInt64(p.c), 0};
  if (p.parts.size() == 1 && p.parts[0].k == 1 && p.c == 0) return {p.parts[0].v, p.depth};
  Key key{key_of(Made::Sum), key_of(p.c)};
  for (const Part& t : p.parts) key.insert(key.end(), {key_of(t.v), key_of(t.k)});
  return place(p.depth, std::move(key), [&] {
    llvm::Value* sum = nullptr;
    for (const Part& t : p.parts) {
      llvm::Value* v = t.k == 1 ? t.v : b().CreateMul(t.v, b().getInt64(t.k));
      sum = sum ? b().CreateAdd(sum, v) : v;
    }
    return p.c ? b().CreateAdd(sum, b().getInt64(p.c)) : sum;
  });
}

Placed Codegen::value_of(const Index& i) {
  Position p = position(i, {});
  check(p.lane == 0 && !p.scattered, "{}: an index that must be the same in all lanes is not", where());
  return value_of(p);
}

Val Codegen::lanes_of(const Index& i, const Guard& g) {
  Position p = position(i, g);
  if (p.scattered) {
    llvm::Value* all = llvm::PoisonValue::get(llvm::FixedVectorType::get(b().getInt64Ty(), lanes_));
    each_lane([&](int l) { all = b().CreateInsertElement(all, lanes_of(i, {}).v, uint64_t(l)); });
    return {all, true};
  }
  llvm::Value* v = value_of(p).v;
  if (!p.lane) return {v, false};
  llvm::SmallVector<llvm::Constant*, 16> steps;
  for (int l = 0; l < lanes_; ++l) steps.push_back(b().getInt64(uint64_t(l * p.lane)));
  return {b().CreateAdd(splat(v), llvm::ConstantVector::get(steps)), true};
}

Codegen::Address Codegen::advance(Address from, BufferId buffer, const Position& p, int from_depth, int to_depth) {
  int64_t size = size_of(f_.buffers[buffer].dtype);
  for (size_t i = 0; i < p.parts.size();) {
    size_t end = i;
    int depth = p.parts[i].depth;
    while (end < p.parts.size() && p.parts[end].depth == depth) ++end;
    if (depth > from_depth && depth <= to_depth) {
      Level* level = depth > 0 && depth == level_count() ? &levels_.back() : nullptr;
      int64_t step = p.parts[i].k * size;
      bool by_counter = level && level->leaf && from.depth < depth && end == i + 1 && p.parts[i].v == level->counter;
      if (by_counter && step != 1 && step != 2 && step != 4 && step != 8) {
        // No addressing mode multiplies by that: the pointer itself counts.
        Key key{key_of(Made::MovingPointer), key_of(from.base), key_of(step)};
        llvm::Value* v = recall(key);
        if (!v) {
          llvm::IRBuilderBase::InsertPointGuard back(builder_);
          b().SetInsertPoint(level->preheader);
          llvm::Value* first = b().CreateGEP(b().getInt8Ty(), from.base, b().CreateMul(level->start, b().getInt64(step)));
          b().SetInsertPoint(level->header, level->header->getFirstNonPHIIt());
          llvm::PHINode* moving = b().CreatePHI(b().getPtrTy(), 2);
          moving->addIncoming(first, level->preheader->getParent());
          level->pointers.push_back({moving, step});
          remember(std::move(key), v = moving, scope_of(depth));
        }
        from.base = v;
      } else {
        Key key{key_of(Made::Pointer), key_of(from.base)};
        for (size_t j = i; j < end; ++j) key.insert(key.end(), {key_of(p.parts[j].v), key_of(p.parts[j].k * size)});
        from.base = place(std::max(depth, from.depth), std::move(key), [&] {
                      llvm::Value* at = from.base;
                      for (size_t j = i; j < end; ++j) {
                        llvm::Value* bytes = b().CreateMul(p.parts[j].v, b().getInt64(p.parts[j].k * size));
                        at = b().CreateGEP(b().getInt8Ty(), at, bytes);
                      }
                      return at;
                    }).v;
      }
      from.depth = std::max(from.depth, depth);
    }
    i = end;
  }
  return from;
}

// Memory that a load reads instead of its buffer where its guard does not hold: zeros cost no bytes in the file.
llvm::Value* Codegen::fill_memory(DType t, const Expr* fill, int64_t bytes) {
  uint64_t size = std::bit_ceil(uint64_t(std::max<int64_t>(bytes, 64)));
  llvm::Constant* element = nullptr;
  if (fill) {
    llvm::Value* v = to_memory(t, gen_const(*fill).v);
    element = llvm::dyn_cast<llvm::Constant>(v);
    check(element, "{}: the fill of a load is no constant", where());
  }
  bool zeros = !element || element->isNullValue();
  uint64_t bits = zeros ? 0 : key_of(element);
  llvm::Value*& known = fills_[{bits, int64_t(size)}];
  if (known) return known;
  if (zeros) {
    std::string name = fmt::format("zeros.{}", size);
    auto* type = llvm::ArrayType::get(b().getInt8Ty(), size);
    auto* g = module_.getGlobalVariable(name, true);
    if (!g) {
      g = new llvm::GlobalVariable(module_, type, false, llvm::GlobalValue::InternalLinkage,
                                   llvm::ConstantAggregateZero::get(type), name);
      g->setAlignment(llvm::Align(64));
    }
    return known = g;
  }
  uint64_t count = size / size_of(t);
  auto* type = llvm::ArrayType::get(element->getType(), count);
  auto* g = new llvm::GlobalVariable(module_, type, true, llvm::GlobalValue::InternalLinkage,
                                     llvm::ConstantArray::get(type, std::vector<llvm::Constant*>(count, element)), "fill");
  g->setAlignment(llvm::Align(64));
  return known = g;
}

Codegen::Address Codegen::address(BufferId buffer, const Position& p, const Guard& g, int64_t bytes, const Expr* fill) {
  const Buffer& buf = f_.buffers[buffer];
  int64_t size = size_of(buf.dtype);
  bool inside = p.range.lo >= 0 && p.range.hi < buf.size;
  int64_t offset = offsets_[buffer];
  Address at{base_of(buffer), p.c * size + offset, 0};
  constexpr int everything = 1 << 30;
  if (!g.uniform || (inside && !fill)) return advance(at, buffer, p, -1, everything);

  // The real location or the fill, chosen where the condition is known: what inner loops add stays inside the fill.
  int cut = g.depth;
  Interval rest{p.c, p.c};
  auto span_from = [&](int depth) {
    rest = {p.c, p.c};
    for (const Part& t : p.parts) {
      if (t.depth <= depth) continue;
      rest.lo += t.k * (t.k > 0 ? t.range.lo : t.range.hi);
      rest.hi += t.k * (t.k > 0 ? t.range.hi : t.range.lo);
    }
    return (rest.hi - rest.lo) * size + bytes;
  };
  // Zeros cost nothing, so there are some more of them: the points of a tile, a few lines apart,
  // share a pointer.
  bool zeros = !fill || (fill->number() == 0 && fill->integer() == 0);
  constexpr int64_t most_zeros = 256 << 10, most_fill = 4 << 10;
  const int64_t grain = zeros ? 16 << 10 : 1;
  int64_t span = span_from(cut) + grain - 1;
  if (span > (zeros ? most_zeros : most_fill)) span = span_from(cut = everything) + grain - 1;
  at = advance(at, buffer, p, -1, cut);
  at.depth = std::max(at.depth, g.depth);
  llvm::Value* other = fill_memory(buf.dtype, fill, span);
  const int64_t first = floor_div(rest.lo * size, grain) * grain + offset;
  Key key{key_of(Made::SafePointer), key_of(at.base), key_of(g.uniform), key_of(other),
          key_of(first)};
  at.base = place(at.depth, std::move(key), [&] {
              llvm::Value* start =
                  b().CreateGEP(b().getInt8Ty(), other, b().getInt64(uint64_t(-first)));
              return b().CreateSelect(g.uniform, at.base, start);
            }).v;
  return advance(at, buffer, p, cut, everything);
}

llvm::Value* Codegen::pointer(const Address& a) {
  if (!a.displacement) return a.base;
  return b().CreateGEP(b().getInt8Ty(), a.base, b().getInt64(a.displacement));
}

}  // namespace burnish::llvm_target
