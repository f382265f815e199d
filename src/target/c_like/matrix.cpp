// Tensor loops as matrix instructions. An instruction wants of thread (g, t) values of A in row g
// and of B in column g, at depths that it numbers t and t + 4. Depths may come in any order as long
// as A and B agree: thread t takes `n` neighbours, n * t, n * t + 1, ..., as one vector from each,
// and a pair of them serves one instruction; or what it has of the second loop of depth. Both operands are the loop's own expressions with its
// variables replaced: k by n * t + e and, in B, the column of (t, j) by (g / 2, g % 2).
//
// Instructions on halves want pairs: at depths 2t, 2t + 1, 2t + 8, 2t + 9 where they sum 16 at a
// time, which is two pairs of neighbours just so, or at the first two where they sum 8: the last of
// an odd number of pairs.
//
// Where A lies in the block's memory a warp loads it in the order of the instruction's registers (matrix_tiles.cpp).
//
// Operands that are to be fetched ahead (Buffer::prefetch) are loaded by the iteration before of
// the serial loop around:
//
//   for k in 0..K: sum(load(k))   ->   x = load(0); for k in 0..K - 1: { y = load(k + 1); sum(x); x
//   = y; }  sum(x);
//
// Where that loop has one iteration all of them are loaded before the first is summed.
#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "target/c_like/matrix.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

// Loops that an operand moves with, the innermost last.
size_t moving(const Expr& e, const std::vector<ForStmt>& loops) {
  size_t n = 0;
  for (size_t i = 0; i < loops.size(); ++i)
    if (depends_on(e, loops[i].var)) n = i + 1;
  return n;
}

// A tf32 from memory, or 0 where a guard says so.
bool is_tf32(const Expr& factor) {
  if (factor.kind() == ExprKind::Cast) return is_tf32(factor.children()[0]);
  if (factor.kind() == ExprKind::Select) return is_tf32(factor.children()[1]) && is_zero(factor.children()[2]);
  return factor.kind() == ExprKind::Load && factor.dtype() == DType::TF32;
}

}  // namespace

// Consts of the thread's column in B.
void Printer::enter_tensor(TensorLoop& t) {
  if (t.sum.elements) ranges_.set(t.sum.elements->var, 0, t.sum.elements->extent - 1);
  const auto variable = [&](const std::string& name, const std::string& value, int64_t extent) {
    const VarId v = static_cast<VarId>(vars_.size());
    vars_.push_back(fmt::format("{}_{}", name, v));
    is_thread_.push_back(false);
    ranges_.set(v, 0, extent - 1);
    line(fmt::format("const int {} = {};", vars_[v], value));
    return v;
  };
  t.half =
      variable("column", unsigned_text("/", vars_[t.sum.group], kMatrixPairs), kMatrixLanes);
  t.odd = variable("pair", unsigned_text("%", vars_[t.sum.group], kMatrixPairs), kMatrixPairs);
  if (!t.tiles) return;
  const std::string thread = fmt::format("({} * {} + {})", kMatrixLanes, vars_[t.sum.group], vars_[t.sum.lane]);
  t.tile_row = variable("tile_row", unsigned_text("%", thread, kMatrixGroups), kMatrixGroups);
  t.tile_lower = variable("tile_lower", unsigned_text("%", unsigned_text("/", thread, kMatrixGroups), 2), 2);
  t.tile_deep = variable("tile_deep", unsigned_text("/", thread, 2 * kMatrixGroups), 2);
  if (!t.tiles_b) return;
  const int64_t pieces = std::min<int64_t>(static_cast<int64_t>(registers_of(t)), 4);
  t.tile_half = variable("tile_half", unsigned_text("/", unsigned_text("%", thread, kMatrixGroups), kMatrixPairs), kMatrixLanes);
  t.tile_odd = variable("tile_odd", unsigned_text("%", thread, kMatrixPairs), kMatrixPairs);
  t.tile_piece = variable("tile_piece", unsigned_text("%", unsigned_text("/", thread, kMatrixGroups), pieces), pieces);
}

// Of a thread for the operands of one step, of B or of a row of A.
size_t Printer::registers_of(const TensorLoop& t) const {
  const auto n = static_cast<size_t>(t.values());
  return d_.half_pairs ? n / 2 : n;
}

// What a thread has of one step, of B or of a row of A.
Expr operand_of_thread(const TensorLoop& t, const Expr& e, std::optional<int64_t> row) {
  const MatrixSum& m = t.sum;
  const Aff depth = m.elements ? Aff::of(m.lane) : Aff::of(m.lane, m.values()) + Aff::of(m.depth.var),
            of_half = Aff::of(t.half), of_odd = Aff::of(t.odd);
  const Aff fixed(row.value_or(0));
  return substitute(e, [&](VarId v) -> const Aff* {
    if (v == m.depth.var) return &depth;
    if (row) return v == m.row ? &fixed : nullptr;
    return v == m.lane ? &of_half : v == m.column ? &of_odd : nullptr;
  });
}

// A thread's values of one step: of B, or of a row of A.
Lanes Printer::tensor_operand(const TensorLoop& t, const Expr& e, std::optional<int64_t> row) {
  const MatrixSum& m = t.sum;
  if (t.eights) return operand_in_eights(t, e, row);
  const int n = static_cast<int>(m.values());
  const Expr at = row ? operand_of_thread(t, e, row) : own_columns(t, operand_of_thread(t, e, row));
  lane_ = m.elements ? m.elements->var : m.depth.var;
  lanes_ = n;
  ranges_.set(*lane_, 0, n - 1);
  in_operand_ = true;
  done_.assign(1, {});
  count_uses(at);
  Lanes x = d_.half_pairs ? half_pairs(at, *d_.half_pairs) : value(at);
  in_operand_ = false;
  if (x.size() == 1) x.assign(registers_of(t), x[0]);
  lane_.reset();
  lanes_ = 1;
  return x;
}

void Printer::open_tiles(std::span<const ForStmt> loops) {
  for (const ForStmt& l : loops) {
    ranges_.set(l.var, 0, l.extent - 1);
    open_unrolled(l);
  }
}

void Printer::close_tiles(size_t loops) {
  for (size_t i = 0; i < loops; ++i) close();
}

// The instructions; operands that were not loaded before are loaded as far out as their tiles let
// them.
void Printer::tensor_sums(const TensorLoop& t) {
  const MatrixSum& m = t.sum;
  const size_t n = registers_of(t);
  const size_t left_a = moving(m.a, m.tiles), left_b = moving(m.b, m.tiles);
  const auto held = [&](const Ahead& x, size_t row) {
    Lanes out;
    for (size_t e = 0; e < n; ++e)
      out.push_back(fmt::format("{}[{}][{}]", x.name, x.place, row * n + e));
    return out;
  };
  const auto loaded_here = [&](const Expr& e, std::optional<int64_t> row) {
    const bool relu = !d_.rounded_relu.empty() && is_relu(e);
    Lanes x = tensor_operand(t, relu ? e.children()[0] : e, row);
    if (!d_.half_pairs)
      for (std::string& v : x)
        v = relu ? temporary(DType::U32, fmt::format(fmt::runtime(d_.rounded_relu), v)) : temporary(DType::F32, v);
    return x;
  };
  Lanes upper, lower, b;
  open_tiles(t.around);
  for (size_t i = 0; i <= m.tiles.size(); ++i) {
    if (i == left_b) {
      b = t.ahead_b ? held(*t.ahead_b, 0) : t.tiles_b ? loaded_tiles_b(t) : loaded_here(m.b, {});
      if (!d_.rounded.empty() && is_tf32(m.b))
        for (std::string& v : b) v = fmt::format(fmt::runtime(d_.rounded), v);
    }
    if (i == left_a) {
      if (t.tiles && !t.ahead_a) {
        std::tie(upper, lower) = loaded_tiles(t);
      } else {
        upper = t.ahead_a ? held(*t.ahead_a, 0) : loaded_here(m.a, 0);
        lower = t.ahead_a ? held(*t.ahead_a, 1) : loaded_here(m.a, 1);
      }
      if (!t.ahead_a && !d_.rounded.empty() && is_tf32(m.a))
        for (Lanes* row : {&upper, &lower})
          for (std::string& v : *row) v = fmt::format(fmt::runtime(d_.rounded), v);
    }
    if (i < m.tiles.size()) open_tiles({&m.tiles[i], 1});
  }
  std::string sums;
  for (int64_t i = 0; i < kMatrixPairs; ++i) {
    for (int64_t j = 0; j < kMatrixPairs; ++j) {
      const Aff row(i), column(j);
      const Index at = substitute(m.place, [&](VarId v) {
        return v == m.row ? &row : v == m.column ? &column : nullptr;
      });
      sums += fmt::format("{}{}", sums.empty() ? "" : ", ", place(m.sums, own_part(m.sums, at)));
    }
  }
  for (size_t e = 0; e + 1 < n; e += 2)
    line(fmt::format("{}({}, {}, {}, {}, {}, {}, {});", d_.matrix_sum, sums, upper[e], lower[e],
                     upper[e + 1], lower[e + 1], b[e], b[e + 1]));
  if (n % 2 == 1)
    line(fmt::format("{}({}, {}, {}, {});", d_.matrix_sum, sums, upper[n - 1], lower[n - 1], b[n - 1]));
  close_tiles(t.around.size() + m.tiles.size());
}

// All of an operand that an iteration of the loop around needs, to the array `name`.
void Printer::load_ahead(const TensorLoop& t, const Ahead& x, const std::string& name) {
  const size_t n = registers_of(t);
  open_tiles(x.loops);
  for (size_t row = 0; row < (x.rows ? 2u : 1u); ++row) {
    open("{");
    const Lanes v = t.tiles_b && !x.rows ? loaded_tiles_b(t)
                                         : tensor_operand(t, x.value, x.rows ? std::optional(static_cast<int64_t>(row)) : std::nullopt);
    for (size_t e = 0; e < n; ++e)
      line(fmt::format("{}[{}][{}] = {};", name, x.place, row * n + e, v[e]));
    close();
  }
  close_tiles(x.loops.size());
}

Ahead Printer::loaded_apart(const Expr& e, bool rows, std::span<const ForStmt> loops) {
  Ahead a{.value = e, .rows = rows, .name = fmt::format("ahead{}", temporaries_++)};
  for (const ForStmt& loop : loops) {
    if (!depends_on(e, loop.var)) continue;
    a.place = a.place.empty() ? vars_[loop.var]
                              : fmt::format("({}) * {} + {}", a.place, loop.extent, vars_[loop.var]);
    a.size *= loop.extent;
    a.loops.push_back(loop);
  }
  if (a.place.empty()) a.place.push_back('0');
  return a;
}

void Printer::tensor_loop(const Stmt& s) {
  if (d_.matrix_sum.empty()) unsupported("matrix instructions are not there");
  if (warpgroups_) return warpgroup_loop(*warpgroup_sum(s));
  TensorLoop t{.sum = matrix_sum(f_, s, thread_loops_).expect("tensor loop")};
  find_tiles(t);
  open("{");
  enter_tensor(t);
  exchange(t);
  // Guarded loads, and tiles, in a loop that they do not move with would be as many: compilers do not see that they are the same.
  const auto repeated = [&](const Expr& e, bool tiles) {
    bool guarded = tiles;
    size_t loops = 0;
    visit(e, [&](const Expr& x) { guarded |= x.kind() == ExprKind::Select; });
    for (const ForStmt& l : t.sum.tiles) loops += depends_on(e, l.var);
    return guarded && loops < moving(e, t.sum.tiles);
  };
  const auto hold = [&](const Expr& e, bool rows) {
    Ahead x = loaded_apart(e, rows, t.sum.tiles);
    line(fmt::format("{} {}[{}][{}];", type_name(d_.half_pairs ? DType::U32 : DType::F32), x.name, x.size,
                     registers_of(t) * (rows ? 2 : 1)));
    load_ahead(t, x, x.name);
    return x;
  };
  if (repeated(t.sum.a, false)) t.ahead_a = hold(t.sum.a, true);
  if (repeated(t.sum.b, t.tiles_b)) t.ahead_b = hold(t.sum.b, false);
  tensor_sums(t);
  close();
}

bool Printer::tensor_pipeline(const Stmt& s) {
  const ForStmt& l = s->loop;
  const bool at_once = l.kind == LoopKind::Unroll;
  if (d_.matrix_sum.empty() || warpgroups_ || l.extent < 2 || !l.lower.empty() || !l.upper.empty()) return false;
  // The loop around a tensor loop alone, and perhaps unrolled loops and what its variable stands
  // for.
  std::vector<std::pair<VarId, Index>> lets;
  std::vector<ForStmt> around;
  Stmt inner = at_once ? s : s.children()[0];
  for (;; inner = inner.children()[0]) {
    if (inner.kind() == StmtKind::Let && around.empty()) {
      lets.emplace_back(inner->var, inner->index);
    } else if (inner.kind() == StmtKind::For && inner->loop.kind == LoopKind::Unroll &&
               inner->loop.lower.empty() && inner->loop.upper.empty()) {
      around.push_back(inner->loop);
    } else {
      break;
    }
  }
  if (inner.kind() != StmtKind::For || inner->loop.kind != LoopKind::Tensor) return false;
  TensorLoop t{.sum = matrix_sum(f_, inner, thread_loops_).expect("tensor loop"), .around = around};
  find_tiles(t);
  const size_t n = registers_of(t);
  std::vector<ForStmt> all = around;
  all.insert(all.end(), t.sum.tiles.begin(), t.sum.tiles.end());
  const auto ahead = [&](const Expr& e, bool rows) -> std::optional<Ahead> {
    bool wanted = false;
    visit(e, [&](const Expr& x) {
      wanted |= x.kind() == ExprKind::Load && f_.buffers[x.from()].prefetch > 0;
    });
    if (!wanted) return std::nullopt;
    return loaded_apart(e, rows, all);
  };
  t.ahead_a = ahead(t.sum.a, true);
  t.ahead_b = ahead(t.sum.b, false);
  if (!t.ahead_a && !t.ahead_b) return false;

  open("{");
  enter_tensor(t);
  exchange(t);
  const auto each = [&](const std::function<void(const Ahead&, size_t row_values)>& f) {
    for (const auto* x : {&t.ahead_a, &t.ahead_b})
      if (*x) f(**x, (*x)->rows ? 2 * n : n);
  };
  const auto load = [&](const char* suffix) {
    each([&](const Ahead& x, size_t) { load_ahead(t, x, x.name + suffix); });
  };
  each([&](const Ahead& x, size_t values) {
    const std::string type = type_name(d_.half_pairs ? DType::U32 : DType::F32);
    line(fmt::format("{} {}[{}][{}];", type, x.name, x.size, values));
    if (!at_once) line(fmt::format("{} {}_next[{}][{}];", type, x.name, x.size, values));
    registers_ += static_cast<int64_t>(values) * x.size * (at_once ? 1 : 2);
  });
  if (at_once) {
    load("");
    tensor_sums(t);
    close();
    return true;
  }
  const std::string name = vars_[l.var];
  const auto with = [&](const std::string& variable, const std::string& value,
                        const std::function<void()>& body) {
    open("{");
    vars_[l.var] = variable;
    if (!value.empty()) line(fmt::format("const int {} = {};", variable, value));
    for (const auto& [v, what] : lets) {
      const Interval range = ranges_.bounds(what);
      ranges_.set(v, range.lo, range.hi);
      done_.assign(1, {});
      uses_.clear();
      line(fmt::format("const int {} = {};", vars_[v], index(what)[0]));
    }
    body();
    vars_[l.var] = name;
    close();
  };
  with(name, "0", [&] { load(""); });
  constexpr int64_t few = 6;  // iterations: what is loaded is where it is summed
  out_ += l.extent <= few ? "#pragma unroll\n" : "#pragma unroll 2\n";
  open(fmt::format("for (int {0} = 0; {0} < {1}; ++{0}) {{", name, l.extent - 1));
  with(name + "_next", name + " + 1", [&] { load("_next"); });
  with(name, "", [&] { tensor_sums(t); });
  each([&](const Ahead& x, size_t values) {
    out_ += "#pragma unroll\n";
    open(fmt::format("for (int i = 0; i < {}; ++i) {{", x.size));
    out_ += "#pragma unroll\n";
    open(fmt::format("for (int j = 0; j < {}; ++j) {{", values));
    line(fmt::format("{0}[i][j] = {0}_next[i][j];", x.name));
    close();
    close();
  });
  close();
  with(name, std::to_string(l.extent - 1), [&] { tensor_sums(t); });
  close();
  return true;
}

}  // namespace burnish::c_like
