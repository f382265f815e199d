#include "loop/matrix_sum.h"

#include <algorithm>
#include <functional>

namespace burnish {

bool depends_on(const Expr& e, VarId v) {
  bool found = false;
  visit(e, [&](const Expr& x) {
    if (x.kind() == ExprKind::Affine) found |= depends_on(x.index(), v);
    if (x.kind() == ExprKind::Load) found |= depends_on(x.indices()[0], v);
  });
  return found;
}

bool depends_on(const Index& i, VarId v) {
  return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& x) {
           return x.a.slope(v) != 0 || (x.value && depends_on(x.value, v));
         });
}

namespace {

bool whole(const ForStmt& l, int64_t extent) { return l.extent == extent && l.lower.empty() && l.upper.empty(); }

}  // namespace

Result<MatrixSum> matrix_sum(const Function& f, const Stmt& s, std::span<const ForStmt> threads) {
  MatrixSum m;
  m.depth = s->loop;
  const std::string& name = f.vars[m.depth.var];
  const size_t n = threads.size();
  // Groups without iterations sum what nobody reads.
  if (n < 2 || threads[n - 2].extent != kMatrixGroups || !threads[n - 2].lower.empty() || !whole(threads[n - 1], kMatrixLanes))
    return refuse("tensor loop {} is not inside thread loops of {} and {} iterations", name, kMatrixGroups, kMatrixLanes);
  m.group = threads[n - 2].var;
  m.lane = threads[n - 1].var;
  Stmt body = s->children[0];
  int64_t depth = m.depth.extent;
  if (depth == kMatrixLanes && body.kind() == StmtKind::For && body->loop.kind == LoopKind::Unroll) {
    if (!whole(body->loop, body->loop.extent)) return refuse("loop {} inside tensor loop {} varies", f.vars[body->loop.var], name);
    m.elements = body->loop;
    depth *= body->loop.extent;
    body = body->children[0];
  }
  const int64_t steps = depth / kMatrixDepth;
  if (!whole(m.depth, m.depth.extent) || depth % kMatrixDepth || (!m.elements && steps != 1 && steps != 2 && steps != 4))
    return refuse("tensor loop {} has {} iterations, not {}, {} or {}", name, depth, kMatrixDepth, 2 * kMatrixDepth, 4 * kMatrixDepth);
  for (; body.kind() == StmtKind::For && body->loop.kind == LoopKind::Unroll; body = body->children[0]) {
    if (!whole(body->loop, body->loop.extent)) return refuse("loop {} inside tensor loop {} varies", f.vars[body->loop.var], name);
    m.tiles.push_back(body->loop);
  }
  if (body.kind() != StmtKind::Store || m.tiles.size() < 2)
    return refuse("tensor loop {} has no sum inside two unrolled loops of {} iterations", name, kMatrixPairs);
  m.sums = body->buffer;
  m.place = body->index;
  const Expr& value = body->value;
  const auto is = [](const Expr& e, BinaryOp op) { return e.kind() == ExprKind::Binary && e.binary() == op; };
  if (!in_registers(f.buffers[m.sums].scope) || value.dtype() != DType::F32 || !is(value, BinaryOp::Add) ||
      !is(value.children()[1], BinaryOp::Mul))
    return refuse("tensor loop {} does not add products of f32 in registers", name);
  const Expr& before = value.children()[0];
  if (before.kind() != ExprKind::Load || before.from() != m.sums || !equal(before.indices()[0], m.place))
    return refuse("tensor loop {} does not add to what it stores", name);
  m.a = value.children()[1].children()[0];
  m.b = value.children()[1].children()[1];
  // Pairs of rows and columns are the innermost two neighbouring loops that can be: one operand moves with each.
  const auto pairs_at = [&](size_t i) {
    m.row = m.tiles[i].var;
    m.column = m.tiles[i + 1].var;
    if (!whole(m.tiles[i], kMatrixPairs) || !whole(m.tiles[i + 1], kMatrixPairs)) return false;
    const auto of_rows = [&](const Expr& e) { return depends_on(e, m.group) || depends_on(e, m.row); };
    const auto of_columns = [&](const Expr& e) { return depends_on(e, m.lane) || depends_on(e, m.column); };
    if (of_rows(m.b)) std::swap(m.a, m.b);
    return !of_rows(m.b) && !of_columns(m.a);
  };
  size_t i = m.tiles.size() - 1;
  while (i > 0 && !pairs_at(i - 1)) --i;
  if (i == 0) return refuse("tensor loop {} has no two unrolled loops of {} iterations, one of rows and one of columns", name, kMatrixPairs);
  m.tiles.erase(m.tiles.begin() + static_cast<ptrdiff_t>(i) - 1, m.tiles.begin() + static_cast<ptrdiff_t>(i) + 1);
  return m;
}

void visit_tensor_loops(const Stmt& s, const std::function<void(const Stmt&, std::span<const ForStmt>)>& f) {
  std::vector<ForStmt> threads;
  const std::function<void(const Stmt&)> walk = [&](const Stmt& x) {
    const bool loop = x.kind() == StmtKind::For;
    if (loop && x->loop.kind == LoopKind::Tensor) return f(x, threads);
    const bool thread = loop && x->loop.kind == LoopKind::Thread;
    if (thread) threads.push_back(x->loop);
    for (const Stmt& c : x.children()) walk(c);
    if (thread) threads.pop_back();
  };
  walk(s);
}

Result<> check_matrix_sums(const Function& f) {
  std::optional<Reason> failure;
  const auto check_loop = [&](const Stmt& s, std::span<const ForStmt> threads) {
    if (failure) return;
    if (auto m = matrix_sum(f, s, threads); !m) failure = Reason{m.reason()};
  };
  if (f.body) visit_tensor_loops(f.body, check_loop);
  if (failure) return *failure;
  return Done{};
}

}  // namespace burnish
