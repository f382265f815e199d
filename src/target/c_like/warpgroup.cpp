// Tensor loops as instructions of four warps together, which read both operands from the block's memory themselves, as rows of a swizzle
// (Buffer::swizzle), while the threads go on. They wait for the sums where anything follows but what rounds the next operands (multi_buffer.cpp):
//
//   places of A and B
//   begin_warpgroup_sums();
//   for taps, steps of channels: warpgroup_sum...(sums, place in A, bytes from eight rows to the next, place in B, the same);
//   end_warpgroup_sums();
//   wait_for_warpgroup_sums(sums);
//
// The four warps are those of a thread loop around the eight groups; rows are numbered 16 * warp + 8 * i + g, columns 8 * c + 2 * t + j,
// with c the loop of tiles across. A tensor loop that does not fit is printed as instructions of each warp (matrix.cpp).
#include <algorithm>
#include <utility>

#include "target/c_like/matrix.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

bool is_whole(const ForStmt& l) { return l.lower.empty() && l.upper.empty(); }

}  // namespace

// The load of a swizzled buffer that the operand is, whose rows are read in steps of 32 bytes; the loops it moves with affinely.
const Expr* Printer::swizzled_operand(const MatrixSum& m, const Expr& e, VarId warp) const {
  const Expr* x = rows_of_pieces(m, e);
  if (x == nullptr || f_.buffers[x->from()].swizzle == 0) return nullptr;
  // Bits that instructions cut off are none of a tf32's.
  if (x->dtype() != d_.half_pairs.value_or(DType::TF32) || m.depth.extent != 2 * kPiece / size_of(x->dtype())) return nullptr;
  const auto varies = [&](const Aff& a) {
    return a.slope(m.group) || a.slope(m.lane) || a.slope(m.row) || a.slope(m.column) || a.slope(warp) ||
           std::ranges::any_of(m.tiles, [&](const ForStmt& l) { return a.slope(l.var) != 0; });
  };
  return std::ranges::any_of(x->indices()[0].atoms, [&](const Atom& atom) { return varies(atom.a); }) ? nullptr : x;
}

std::optional<WarpgroupSum> Printer::warpgroup_sum(const Stmt& tensor_loop) const {
  if (!d_.warpgroup_sum || thread_loops_.size() < 3) return std::nullopt;
  const ForStmt& warps = thread_loops_[thread_loops_.size() - 3];
  if (warps.extent != kWarpsOfGroup || !is_whole(warps) || !is_whole(thread_loops_[thread_loops_.size() - 2])) return std::nullopt;
  const MatrixSum m = matrix_sum(f_, tensor_loop, thread_loops_).expect("tensor loop");
  if (m.elements) return std::nullopt;
  const Expr *a = swizzled_operand(m, m.a, warps.var), *b = swizzled_operand(m, m.b, warps.var);
  if (a == nullptr || b == nullptr || f_.buffers[a->from()].swizzle != f_.buffers[b->from()].swizzle) return std::nullopt;
  const int64_t swizzle = f_.buffers[a->from()].swizzle, size = size_of(a->dtype());
  const auto bytes = [&](const Expr* x, VarId v) { return x->indices()[0].a.slope(v) * size; };
  WarpgroupSum w{.sum = m, .a = *a, .b = *b, .swizzle = swizzle, .rows_a = bytes(a, m.row), .rows_b = 8 * swizzle};
  if (bytes(a, m.group) != swizzle || w.rows_a <= 0 || w.rows_a % kPiece || bytes(a, warps.var) != kMatrixPairs * w.rows_a ||
      bytes(b, m.column) != swizzle || bytes(b, m.lane) != kMatrixPairs * swizzle || bytes(b, warps.var) != 0)
    return std::nullopt;
  for (const ForStmt& l : m.tiles) {
    if (l.extent == 1) continue;
    if (bytes(a, l.var) != 0 || w.across) return std::nullopt;
    w.across = l;
    w.rows_b = bytes(b, l.var);
  }
  constexpr int64_t most_columns = 32, most_rows = int64_t{1} << 18;  // what instructions and their operands have room for
  if (w.columns() > most_columns || w.rows_b <= 0 || w.rows_b % kPiece || w.rows_a >= most_rows || w.rows_b >= most_rows) return std::nullopt;
  return w;
}

// Loops around nothing but such sums.
bool Printer::only_warpgroup_sums(const Stmt& s) const {
  if (s.kind() == StmtKind::Let || s.kind() == StmtKind::Seq)
    return !s.children().empty() && std::ranges::all_of(s.children(), [&](const Stmt& c) { return only_warpgroup_sums(c); });
  if (s.kind() != StmtKind::For) return false;
  if (s->loop.kind == LoopKind::Tensor) return warpgroup_sum(s).has_value();
  return (s->loop.kind == LoopKind::Serial || s->loop.kind == LoopKind::Unroll) && only_warpgroup_sums(s.children()[0]);
}

// True: they are printed. Places of operands are those of the loops' first iterations, once, and what iterations add.
bool Printer::warpgroup_sums(const Stmt& s) {
  if (!d_.warpgroup_sum || warpgroups_ || !in_threads_ || s.kind() != StmtKind::For || !only_warpgroup_sums(s)) return false;
  WarpgroupLoops loops;
  visit(s, [&](const Stmt& x) {
    if (x.kind() == StmtKind::For) loops.variables.insert(x->loop.var);
    if (x.kind() == StmtKind::Let) loops.variables.insert(x->var);
  });
  open("{");
  std::string before;
  std::swap(before, out_);
  warpgroups_ = &loops;
  statement(s);
  warpgroups_ = nullptr;
  std::swap(before, out_);
  for (const auto& [place, name] : loops.places) line(fmt::format("const WarpgroupPlace {} = warpgroup_place({});", name, place));
  line("begin_warpgroup_sums();");
  out_ += before;
  line("end_warpgroup_sums();");
  close();
  unfinished_sums_ = loops.sums;
  return true;
}

// The threads wait for sums that are on their way.
void Printer::finish_warpgroup_sums() {
  for (const std::string& x : std::exchange(unfinished_sums_, {})) line(fmt::format("wait_for_warpgroup_sums({});", x));
}

void Printer::warpgroup_loop(const WarpgroupSum& w) {
  const MatrixSum& m = w.sum;
  std::string sums;
  for (int64_t n = 0; n < w.columns(); ++n) {
    for (int64_t i = 0; i < kMatrixPairs; ++i) {
      for (int64_t j = 0; j < kMatrixPairs; ++j) {
        const Aff tile(n), row(i), column(j), none(0);
        const Index at = substitute(m.place, [&](VarId v) -> const Aff* {
          if (w.across && v == w.across->var) return &tile;
          if (v == m.row) return &row;
          if (v == m.column) return &column;
          return std::ranges::any_of(m.tiles, [&](const ForStmt& l) { return l.var == v; }) ? &none : nullptr;
        });
        sums += fmt::format("{}{}", sums.empty() ? "" : ", ", place(m.sums, own_part(m.sums, at)));
      }
    }
  }
  const auto begin_of = [&](const Expr& x) {  // in pieces
    const Aff none(0);
    const std::vector<VarId> own = {m.depth.var, m.group, m.lane, m.row, m.column, thread_loops_[thread_loops_.size() - 3].var};
    const Index at = substitute(x.indices()[0], [&](VarId v) {
      return std::ranges::find(own, v) != own.end() || std::ranges::any_of(m.tiles, [&](const ForStmt& l) { return l.var == v; }) ? &none : nullptr;
    });
    const int64_t piece = kPiece / size_of(x.dtype());
    const auto within = [&](const Aff& a) { return std::ranges::any_of(a.terms, [&](const Term& t) { return warpgroups_->variables.contains(t.var); }); };
    Index first(Aff(at.a.c)), more;
    for (const Term& t : at.a.terms) within(Aff::of(t.var)) ? more.a.add(t.var, t.k / piece) : first.a.add(t.var, t.k);
    for (Atom atom : at.atoms) {
      const bool varies = within(atom.a);
      if (varies) atom.scale /= piece;
      (varies ? more : first).atoms.push_back(atom);
    }
    const std::string place = fmt::format("{} + {}", buffers_[x.from()], index(first)[0]);
    auto& name = warpgroups_->places[place];
    if (name.empty()) name = fmt::format("place{}", temporaries_++);
    return fmt::format("{} + {}", name, index(more)[0]);
  };
  note(w.a.dtype());
  const std::string name = fmt::format("warpgroup_sum_{}_{}", 8 * w.columns(), w.swizzle);
  helpers_.insert(d_.warpgroup_sum(name, 8 * w.columns(), w.swizzle));
  line(fmt::format("{}({}, {}, {}, {}, {});", name, sums, begin_of(w.a), w.rows_a, begin_of(w.b), w.rows_b));
  warpgroups_->sums.insert(sums);
}

}  // namespace burnish::c_like
