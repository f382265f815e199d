// Operand A of matrix instructions on halves in the block's memory: a warp loads both rows of all
// its threads at once, in the order of the instruction's registers (Dialect::load_tiles). Where a
// thread loads its own two rows as vectors, that order takes moves, for every instruction.
//
// Thread t then has the depths 8 * h + 2 * t and the next, for all h, instead of neighbours. That
// is done where B is packed in that order, so that its loads are vectors still.
#include <algorithm>

#include "target/c_like/matrix.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

constexpr int64_t kPiece = 8;  // halves that lie side by side, at a place aligned so

// The load from the block's memory that the operand is.
const Expr* load_of_halves(const Expr& e) {
  if (e.kind() == ExprKind::Cast) return load_of_halves(e.children()[0]);
  return e.kind() == ExprKind::Load && e.dtype() == DType::F16 ? &e : nullptr;
}

// Quotients and remainders that ranges decide.
Index simplified(const Index& i, const Ranges& ranges) {
  Index out(i.a);
  for (const Atom& x : i.atoms) {
    Aff q(floor_div(x.a.c, x.div)), rest(floor_mod(x.a.c, x.div));
    for (const Term& t : x.a.terms)
      t.k % x.div == 0 ? q.add(t.var, t.k / x.div) : rest.add(t.var, t.k);
    const auto within = [&](const Aff& a, int64_t n) {
      const Interval r = ranges.bounds(a);
      return r.lo >= 0 && r.hi < n;
    };
    Aff left(x.mod ? floor_mod(q.c, x.mod) : q.c);
    for (const Term& t : q.terms)
      if (x.mod == 0 || t.k % x.mod) left.add(t.var, t.k);
    if (x.value || !within(rest, x.div) || (x.mod && !within(left, x.mod)))
      out.atoms.push_back(x);
    else
      out.a += left * x.scale;
  }
  return out;
}

Expr simplified(const Expr& e, const Ranges& ranges) {
  return rewrite(e, [&](const Expr& x) {
    if (x.kind() == ExprKind::Affine) return affine(simplified(x.index(), ranges));
    return x.kind() == ExprKind::Load
               ? load(x.dtype(), x.from(), {simplified(x.indices()[0], ranges)})
               : Expr();
  });
}

// Are neighbours of the outer loop as far apart as the whole inner one, everywhere in the value?
// Then both are one.
bool one_loop(const Expr& e, const ForStmt& outer, const ForStmt& inner) {
  bool one = true;
  visit(e, [&](const Expr& x) {
    if (x.kind() != ExprKind::Affine && x.kind() != ExprKind::Load) return;
    const Index& i = x.kind() == ExprKind::Affine ? x.index() : x.indices()[0];
    one &= i.a.slope(outer.var) == inner.extent * i.a.slope(inner.var) &&
           std::ranges::none_of(i.atoms, [&](const Atom& a) {
             return a.value || a.a.slope(outer.var) || a.a.slope(inner.var);
           });
  });
  return one;
}

}  // namespace

// Notes whether A is rows of such pieces, and what its depth then is.
void Printer::find_tiles(TensorLoop& t) {
  MatrixSum& m = t.sum;
  const Expr* a = load_of_halves(m.a);
  if (d_.load_tiles.empty() || !d_.half_pairs || m.elements || a == nullptr ||
      block_offset_[a->from()] < 0 || f_.buffers[a->from()].align % (kPiece * size_of(DType::F16)))
    return;
  const Index& at = a->indices()[0];
  if (at.a.slope(m.depth.var) != 1 || at.a.c % kPiece) return;
  for (const Term& x : at.a.terms)
    if (x.var != m.depth.var && x.k % kPiece) return;
  for (const Atom& x : at.atoms)
    if (x.value || x.scale % kPiece || x.a.slope(m.depth.var)) return;
  const auto loop = [&](const char* name, int64_t extent) {
    const auto v = static_cast<VarId>(vars_.size());
    vars_.push_back(name);
    is_thread_.push_back(false);
    ranges_.set(v, 0, extent - 1);
    return ForStmt{.var = v, .kind = LoopKind::Unroll, .extent = extent};
  };
  const ForStmt elements = loop("element", kMatrixPairs);
  std::optional<ForStmt> eights;
  Aff depth = Aff::of(m.depth.var, kMatrixPairs) + Aff::of(elements.var);
  if (m.depth.extent > kPiece) {
    eights = loop("eight", m.depth.extent / kPiece);
    depth.add(eights->var, kPiece);
  }
  ranges_.set(m.depth.var, 0, kMatrixLanes - 1);
  const auto in_pairs = [&](const Expr& e) {
    return simplified(substitute(e, [&](VarId v) { return v == m.depth.var ? &depth : nullptr; }),
                      ranges_);
  };
  const Expr b = in_pairs(m.b);
  if (eights && !one_loop(b, *eights, elements)) {
    ranges_.set(m.depth.var, 0, m.depth.extent - 1);
    return;
  }
  t.tiles = true;
  t.eights = eights;
  m.elements = elements;
  m.a = in_pairs(m.a);
  m.b = b;
  m.depth.extent = kMatrixLanes;
}

// Both rows of A.
std::pair<Lanes, Lanes> Printer::loaded_tiles(const TensorLoop& t) {
  const MatrixSum& m = t.sum;
  halves_ = true;
  const Expr& a = *load_of_halves(m.a);
  const Aff none(0), row = Aff::of(t.tile_row), lower = Aff::of(t.tile_lower);
  const int64_t pieces = t.eights ? t.eights->extent : 1;
  const int tiles = pieces > 1 ? 4 : 2;
  std::pair<Lanes, Lanes> rows;
  for (int64_t h = 0; h < pieces; h += 2) {
    const Aff deep = Aff::of(t.tile_deep) + Aff(h);
    const Index from = substitute(a.indices()[0], [&](VarId v) -> const Aff* {
      if (v == m.depth.var || v == m.elements->var) return &none;
      if (t.eights && v == t.eights->var) return &deep;
      return v == m.group ? &row : v == m.row ? &lower : nullptr;
    });
    const std::string v = fmt::format("t{}", temporaries_++);
    line(fmt::format("const uint{} {} = {}(&{});", tiles, v,
                     fmt::format(fmt::runtime(d_.load_tiles), tiles), place(a.from(), from)));
    for (int i = 0; i < tiles; ++i)
      (i % 2 ? rows.second : rows.first).push_back(fmt::format("{}.{}", v, "xyzw"[i]));
  }
  return rows;
}

Lanes Printer::operand_in_eights(const TensorLoop& t, const Expr& e, std::optional<int64_t> row) {
  const ForStmt &eights = *t.eights, &elements = *t.sum.elements;
  const auto part = [&](int64_t h, int64_t n) {
    TensorLoop one = t;
    one.eights.reset();
    one.sum.elements->extent = n;
    const Aff fixed(h);
    return tensor_operand(
        one, substitute(e, [&](VarId v) { return v == eights.var ? &fixed : nullptr; }), row);
  };
  if (one_loop(e, eights, elements)) {
    ranges_.set(elements.var, 0, t.values() - 1);
    return part(0, t.values());
  }
  Lanes all;
  for (int64_t h = 0; h < eights.extent; ++h)
    for (std::string& x : part(h, elements.extent)) all.push_back(std::move(x));
  return all;
}

}  // namespace burnish::c_like
