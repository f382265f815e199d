// What a thread does on its way to a barrier instead of behind it: sums begin, and the constants that matrix instructions will
// multiply with are loaded, so that they are on their way while the others come and copies arrive.
#include <algorithm>

#include "base/error.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

constexpr int64_t most_loaded = 64;  // registers of a thread for constants

void each_load(const Stmt& s, const std::function<void(const Expr&)>& f) {
  const auto loads = [&](const Expr& e) {
    if (e) visit(e, [&](const Expr& x) { x.kind() == ExprKind::Load ? f(x) : void(); });
  };
  visit(s, [&](const Stmt& x) {
    loads(x->value);
    for (const Atom& a : x->index.atoms) loads(a.value);
    for (const Expr& e : x->args) loads(e);
  });
}

// The only tensor loop inside, with the loops around it.
struct Found {
  int count = 0;
  Stmt tensor;
  std::vector<ForStmt> around;
  std::vector<VarId> lets;
};

void find_tensor(const Stmt& s, std::vector<ForStmt>& around, std::vector<VarId>& lets, Found& found) {
  const bool loop = s.kind() == StmtKind::For;
  if (loop && s->loop.kind == LoopKind::Tensor) {
    ++found.count;
    found.tensor = s;
    found.around = around;
    found.lets = lets;
    return;
  }
  if (loop) around.push_back(s->loop);
  if (s.kind() == StmtKind::Let) lets.push_back(s->var);
  for (const Stmt& c : s.children()) find_tensor(c, around, lets, found);
  if (loop) around.pop_back();
  if (s.kind() == StmtKind::Let) lets.pop_back();
}

}  // namespace

// Whether what follows a barrier may hold it: all threads go through it, to matrix instructions.
bool Printer::may_meet_inside(const Stmt& s) const {
  if (in_threads_ || d_.matrix_sum.empty()) return false;
  if (s.kind() == StmtKind::Alloc || s.kind() == StmtKind::Seq) return !s.children().empty() && may_meet_inside(s.children()[0]);
  int64_t threads = 1;
  const Stmt* x = &s;
  for (; x->kind() == StmtKind::For && (*x)->loop.kind == LoopKind::Thread; x = &x->children()[0]) {
    if (!(*x)->loop.lower.empty() || !(*x)->loop.upper.empty()) return false;
    threads *= (*x)->loop.extent;
  }
  return threads > 1 && threads == threads_ && has_loop(*x, LoopKind::Tensor);
}

// Nothing that another thread writes or reads.
bool Printer::own_work(const Stmt& s) const {
  bool own = true;
  visit(s, [&](const Stmt& x) {
    own &= x.kind() != StmtKind::Barrier && x.kind() != StmtKind::Call && x.kind() != StmtKind::While;
    if (x.kind() == StmtKind::Store) own &= f_.buffers[x->buffer].scope == Scope::Register;
  });
  each_load(s, [&](const Expr& e) { own &= f_.buffers[e.from()].scope == Scope::Register || constant_memory(e.from()); });
  return own;
}

// In the order of the loops: `s` comes before the barrier, or the barrier before it.
void Printer::meet_before(const Stmt& s) {
  const bool holds_others = s.kind() == StmtKind::Seq || s.kind() == StmtKind::Let || s.kind() == StmtKind::Alloc ||
                            (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Thread);
  if (holds_others || own_work(s)) return;
  load_constants(s);
  barrier_ahead_ = false;
  barrier();
}

// The second operand of the tensor loop inside, where it is constants, of which there are not many.
void Printer::load_constants(const Stmt& s) {
  Found found;
  std::vector<ForStmt> around;
  std::vector<VarId> lets;
  find_tensor(s, around, lets, found);
  if (found.count != 1) return;
  TensorLoop t{.sum = matrix_sum(f_, found.tensor, thread_loops_).expect("tensor loop")};
  find_tiles(t);
  const Expr& b = t.sum.b;
  bool constants = true;
  visit(b, [&](const Expr& x) { constants &= x.kind() != ExprKind::Load || constant_memory(x.from()); });
  if (!constants) return;
  std::vector<ForStmt> loops;
  int64_t registers = static_cast<int64_t>(registers_of(t));
  for (const ForStmt& l : found.around) {
    if (!depends_on(b, l.var)) continue;
    if (!l.lower.empty() || !l.upper.empty() || l.kind == LoopKind::Vectorize) return;
    loops.push_back(l);
  }
  for (const ForStmt& l : t.sum.tiles)
    if (depends_on(b, l.var)) loops.push_back(l);
  for (const ForStmt& l : loops)
    if ((registers *= l.extent) > most_loaded) return;
  enter_tensor(t);
  Ahead x = loaded_apart(b, false, loops);
  x.by_tiles = t.tiles;
  line(fmt::format("{} {}[{}][{}];", type_name(d_.half_pairs ? DType::U32 : DType::F32), x.name, x.size, registers_of(t)));
  load_ahead(t, x, x.name);
  loaded_.emplace(&*found.tensor, x);
  for (const ForStmt& l : loops)
    if (l.kind == LoopKind::Serial) expanded_.insert(l.var);
}

}  // namespace burnish::c_like
