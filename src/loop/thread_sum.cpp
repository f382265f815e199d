#include "loop/thread_sum.h"

#include <functional>
#include <optional>
#include <set>

#include "loop/matrix_sum.h"

namespace burnish {

namespace {

// The store inside unrolled loops, which are added to `around`; null where there is more.
Stmt only_store(const Stmt& thread_loop, std::vector<ForStmt>* around = nullptr) {
  Stmt s = thread_loop.children()[0];
  for (; s.kind() == StmtKind::For && s->loop.kind == LoopKind::Unroll; s = s.children()[0])
    if (around) around->push_back(s->loop);
  return s.kind() == StmtKind::Store ? s : Stmt();
}

bool reads(const Expr& e, BufferId b) {
  bool found = false;
  visit(e, [&](const Expr& x) { found |= x.kind() == ExprKind::Load && x.from() == b; });
  return found;
}

}  // namespace

bool sums_threads(const Function& f, const Stmt& s) {
  if (s.kind() != StmtKind::For || s->loop.kind != LoopKind::Thread || s->loop.extent < 2) return false;
  const Stmt store = only_store(s);
  return store && f.buffers[store->buffer].scope == Scope::Register && store->index.is_affine() &&
         store->index.a.slope(s->loop.var) == 0;
}

Result<ThreadSum> thread_sum(const Function& f, const Stmt& s) {
  const ForStmt& l = s->loop;
  const std::string& name = f.vars[l.var];
  ThreadSum sum;
  const Stmt store = only_store(s, &sum.unrolled);
  if (!store) return refuse("thread loop {} holds more than a sum", name);
  if (l.extent > kWarp || (l.extent & (l.extent - 1)) || !l.lower.empty() || !l.upper.empty())
    return refuse("thread loop {} sums over {} threads: 2, 4, 8, 16 or 32 it can be, of constant bounds", name, l.extent);
  sum.sum = store->buffer;
  sum.place = store->index;
  const Buffer& b = f.buffers[sum.sum];
  const Expr& value = store->value;
  const bool combines = value.kind() == ExprKind::Binary &&
                        (value.binary() == BinaryOp::Add || value.binary() == BinaryOp::Mul ||
                         value.binary() == BinaryOp::Min || value.binary() == BinaryOp::Max);
  if (!combines || size_of(b.dtype) < 4) return refuse("thread loop {} writes {}, but sums nothing", name, b.name);
  const Expr& before = value.children()[0];
  if (before.kind() != ExprKind::Load || before.from() != sum.sum || !equal(before.indices()[0], sum.place))
    return refuse("thread loop {} does not add to what it stores", name);
  sum.op = value.binary();
  sum.value = value.children()[1];
  if (reads(sum.value, sum.sum)) return refuse("thread loop {} reads its own sum", name);
  return sum;
}

Result<> check_thread_sums(const Function& f) {
  std::optional<Reason> failure;
  std::set<BufferId> of_threads;  // live inside a thread loop
  const std::function<void(const Stmt&, bool)> walk = [&](const Stmt& s, bool inside) {
    if (failure) return;
    if (sums_threads(f, s)) {
      const auto sum = thread_sum(f, s);
      if (!sum)
        failure = Reason{sum.reason()};
      else if (!of_threads.contains(sum->sum))
        failure = Reason{fmt::format("{} is summed by threads but lives outside thread loops", f.buffers[sum->sum].name)};
      return;
    }
    if (s.kind() == StmtKind::Alloc && inside) of_threads.insert(s->buffer);
    const bool thread = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Thread;
    for (const Stmt& c : s.children()) walk(c, inside || thread);
  };
  if (f.body) walk(f.body, false);
  if (failure) return *failure;
  return Done{};
}

}  // namespace burnish
