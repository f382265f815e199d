// Tensor loops as matrix instructions. An instruction wants of thread (g, t) values of A in row g and of B in column g, at
// depths that it numbers t and t + 4. Depths may come in any order as long as A and B agree: thread t takes `n` neighbours,
// n * t, n * t + 1, ..., as one vector from each, and a pair of them serves one instruction. Both operands are the loop's
// own expressions with its variables replaced: k by n * t + e and, in B, the column of (t, j) by (g / 2, g % 2).
#include "base/error.h"
#include "loop/matrix_sum.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

void Printer::tensor_loop(const Stmt& s) {
  if (d_.matrix_sum.empty()) unsupported("matrix instructions are not there");
  MatrixSum m = matrix_sum(f_, s, thread_loops_).expect("tensor loop");
  const int n = static_cast<int>(m.depth.extent / kMatrixLanes);
  const auto variable = [&](const std::string& name, const std::string& value, int64_t extent) {
    const VarId v = static_cast<VarId>(vars_.size());
    vars_.push_back(fmt::format("{}_{}", name, v));
    is_thread_.push_back(false);
    ranges_.set(v, 0, extent - 1);
    line(fmt::format("const int {} = {};", vars_[v], value));
    return v;
  };
  open("{");
  const VarId half = variable("column", fmt::format("{} / {}", vars_[m.group], kMatrixPairs), kMatrixLanes);
  const VarId odd = variable("pair", fmt::format("{} % {}", vars_[m.group], kMatrixPairs), kMatrixPairs);
  // The values of an operand: lanes along k.
  lane_ = m.depth.var;
  lanes_ = n;
  const Aff depth = Aff::of(m.lane, n) + Aff::of(m.depth.var), of_half = Aff::of(half), of_odd = Aff::of(odd);
  const auto operand = [&](const Expr& e, std::optional<int64_t> row) {
    const Aff fixed(row.value_or(0));
    const Expr at = substitute(e, [&](VarId v) -> const Aff* {
      if (v == m.depth.var) return &depth;
      if (row) return v == m.row ? &fixed : nullptr;
      return v == m.lane ? &of_half : v == m.column ? &of_odd : nullptr;
    });
    done_.assign(1, {});
    count_uses(at);
    Lanes x = value(at);
    if (x.size() == 1) x.assign(static_cast<size_t>(n), x[0]);
    for (std::string& v : x) v = temporary(DType::F32, v);
    return x;
  };
  // Each as far out as its tiles let it.
  Lanes upper, lower, b;
  size_t left_a = 0, left_b = 0;  // loops that it still moves with
  for (size_t i = 0; i < m.tiles.size(); ++i) {
    if (depends_on(m.a, m.tiles[i].var)) left_a = i + 1;
    if (depends_on(m.b, m.tiles[i].var)) left_b = i + 1;
  }
  for (size_t i = 0; i <= m.tiles.size(); ++i) {
    if (i == left_b) b = operand(m.b, {});
    if (i == left_a) upper = operand(m.a, 0), lower = operand(m.a, 1);
    if (i == m.tiles.size()) break;
    const ForStmt& l = m.tiles[i];
    ranges_.set(l.var, 0, l.extent - 1);
    open_unrolled(l);
  }
  lane_.reset();
  lanes_ = 1;
  std::string sums;
  for (int64_t i = 0; i < kMatrixPairs; ++i) {
    for (int64_t j = 0; j < kMatrixPairs; ++j) {
      const Aff row(i), column(j);
      const Index at = substitute(m.place, [&](VarId v) { return v == m.row ? &row : v == m.column ? &column : nullptr; });
      sums += fmt::format("{}{}", sums.empty() ? "" : ", ", place(m.sums, index(own_part(m.sums, at))[0]));
    }
  }
  for (size_t e = 0; e < static_cast<size_t>(n); e += 2)
    line(fmt::format("{}({}, {}, {}, {}, {}, {}, {});", d_.matrix_sum, sums, upper[e], lower[e], upper[e + 1], lower[e + 1], b[e], b[e + 1]));
  for (size_t i = 0; i < m.tiles.size(); ++i) close();
  close();
}

}  // namespace burnish::c_like
