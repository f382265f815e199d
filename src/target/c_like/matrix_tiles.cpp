// Operands of matrix instructions in the block's memory, as rows of pieces of 16 bytes: a warp
// loads all rows of its threads at once, in the order of the instruction's registers
// (Dialect::load_tiles). Where a thread loads its own rows as vectors, that order takes moves, for
// every instruction.
//
// Thread t then has 4 bytes of each piece, of halves the depths 8 * h + 2 * t and the next for all
// h, instead of neighbours. That is done with A alone where B is packed in that order, so that its
// loads are vectors still; with both where both are such rows.
#include <algorithm>

#include "target/c_like/matrix.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

// The load of floats or halves that the operand is.
const Expr* loaded(const Expr& e) {
  if (e.kind() == ExprKind::Cast) return loaded(e.children()[0]);
  return e.kind() == ExprKind::Load && in_vectors(e.dtype()) ? &e : nullptr;
}

}  // namespace

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

namespace {

Expr simplified_places(const Expr& e, const Ranges& ranges) {
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

// Does the loop run along what is contiguous, in all that is loaded?
bool are_neighbours(const Expr& e, const ForStmt& l) {
  bool neighbours = true;
  visit(e, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    const Index& i = x.indices()[0];
    neighbours &= i.a.slope(l.var) == 1 && std::ranges::none_of(i.atoms, [&](const Atom& a) {
                    return a.value || a.a.slope(l.var);
                  });
  });
  return neighbours;
}

}  // namespace

// The load from the block's memory that the operand is, of rows of pieces: at each depth that is a
// multiple of a piece one begins.
const Expr* Printer::rows_of_pieces(const MatrixSum& m, const Expr& e) const {
  const Expr* x = loaded(e);
  const auto is_operand = [&](DType t) { return d_.half_pairs ? t == *d_.half_pairs : size_of(t) == 4; };
  if (x == nullptr || !is_operand(x->dtype()) || block_offset_[x->from()] < 0 || f_.buffers[x->from()].align % kPiece)
    return nullptr;
  const int64_t piece = kPiece / size_of(x->dtype());
  const Index& at = x->indices()[0];
  const VarId depth = m.depth.var;
  if (at.a.slope(depth) != 1 || at.a.c % piece) return nullptr;
  for (const Term& term : at.a.terms)
    if (term.var != depth && term.k % piece) return nullptr;
  for (const Atom& atom : at.atoms)
    if (atom.value || atom.scale % piece || atom.a.slope(depth)) return nullptr;
  return x;
}

// Do rows of B that a warp loads at once lie in different banks, or in two turns?
bool Printer::columns_apart(const TensorLoop& t, const Expr& load) const {
  const Index& at = load.indices()[0];
  const int64_t row = at.a.slope(t.sum.column), pieces = row * size_of(load.dtype()) / kPiece;
  return at.is_affine() && at.a.slope(t.sum.lane) == kMatrixPairs * row &&
         (pieces % 2 == 1 || pieces == 2);
}

// Notes whether A is rows of pieces, and what the depth of B then is.
void Printer::find_tiles(TensorLoop& t) {
  MatrixSum& m = t.sum;
  if (d_.load_tiles.empty() || m.elements || rows_of_pieces(m, m.a) == nullptr) return;
  const int64_t own = d_.half_pairs ? kMatrixPairs : 1, piece = own * kMatrixLanes,
                pieces = m.depth.extent / piece;
  if (const Expr* b = rows_of_pieces(m, m.b); b != nullptr && pieces > 1 && columns_apart(t, *b)) {
    t.tiles = t.tiles_b = true;
    return;
  }
  const auto loop = [&](const char* name, int64_t extent) {
    const auto v = static_cast<VarId>(vars_.size());
    vars_.push_back(name);
    is_thread_.push_back(false);
    ranges_.set(v, 0, extent - 1);
    return ForStmt{.var = v, .kind = LoopKind::Unroll, .extent = extent, .lower = {}, .upper = {}};
  };
  const ForStmt elements = loop("element", d_.half_pairs ? own : pieces);
  std::optional<ForStmt> eights;
  Aff depth = Aff::of(m.depth.var, own) + Aff::of(elements.var, d_.half_pairs ? 1 : piece);
  if (d_.half_pairs && pieces > 1) {
    eights = loop("eight", pieces);
    depth.add(eights->var, piece);
  }
  ranges_.set(m.depth.var, 0, kMatrixLanes - 1);
  const Expr b = simplified_places(
      substitute(m.b, [&](VarId v) { return v == m.depth.var ? &depth : nullptr; }), ranges_);
  if (d_.half_pairs ? eights && !one_loop(b, *eights, elements) : !are_neighbours(b, elements)) {
    ranges_.set(m.depth.var, 0, m.depth.extent - 1);
    return;
  }
  t.tiles = true;
  t.eights = eights;
  m.elements = elements;
  m.b = b;
  m.depth.extent = kMatrixLanes;
}

// Of tiles that a warp loads at once, a thread's registers; `row`: of the first.
Lanes Printer::tiles_at(const Expr& load, int tiles, const std::function<const Aff*(VarId)>& at) {
  note(load.dtype());
  const std::string v = fmt::format("t{}", temporaries_++);
  line(fmt::format("const {}{} {} = {}(&{});", is_half(load.dtype()) ? "uint" : "float", tiles,
                   v, fmt::format(fmt::runtime(d_.load_tiles), tiles),
                   place(load.from(), substitute(load.indices()[0], at))));
  Lanes out;
  for (int i = 0; i < tiles; ++i) out.push_back(fmt::format("{}.{}", v, "xyzw"[i]));
  return out;
}

// Both rows of A.
std::pair<Lanes, Lanes> Printer::loaded_tiles(const TensorLoop& t) {
  const MatrixSum& m = t.sum;
  const Expr& a = *loaded(m.a);
  const Aff row = Aff::of(t.tile_row), lower = Aff::of(t.tile_lower);
  const auto pieces = static_cast<int64_t>(registers_of(t));
  std::pair<Lanes, Lanes> rows;
  for (int64_t p = 0; p < pieces; p += 2) {
    const Aff first = pieces > 1 ? Aff::of(t.tile_deep) + Aff(p) : Aff(0);
    const Aff deep = first * (kPiece / size_of(a.dtype()));
    const Lanes x = tiles_at(a, pieces > 1 ? 4 : 2, [&](VarId v) -> const Aff* {
      return v == m.depth.var ? &deep : v == m.group ? &row : v == m.row ? &lower : nullptr;
    });
    for (size_t i = 0; i < x.size(); ++i) (i % 2 ? rows.second : rows.first).push_back(x[i]);
  }
  return rows;
}

Lanes Printer::loaded_tiles_b(const TensorLoop& t) {
  const MatrixSum& m = t.sum;
  const Expr& b = *loaded(m.b);
  const Aff half = Aff::of(t.tile_half), odd = Aff::of(t.tile_odd);
  const auto pieces = static_cast<int>(registers_of(t));
  Lanes all;
  for (int p = 0; p < pieces; p += 4) {
    const Aff deep = (Aff::of(t.tile_piece) + Aff(p)) * (kPiece / size_of(b.dtype()));
    for (std::string& x : tiles_at(b, std::min(pieces, 4), [&](VarId v) -> const Aff* {
           return v == m.depth.var ? &deep : v == m.lane ? &half : v == m.column ? &odd : nullptr;
         }))
      all.push_back(std::move(x));
  }
  return all;
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
