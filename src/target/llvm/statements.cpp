// Statements other than loops.
#include "target/llvm/codegen.h"
#include "target/llvm/host_abi.h"

namespace burnish::llvm_target {

namespace {

bool needs_all_threads(const Stmt& s) {
  if (s.kind() == StmtKind::Barrier) return true;
  if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel) return true;
  for (const Stmt& c : s.children()) {
    if (needs_all_threads(c)) return true;
  }
  return false;
}

}  // namespace

std::string Codegen::where() const { return fmt::format("code of {}", f_.name); }

void Codegen::emit(const Stmt& s) {
  if (!in_parallel_ && !needs_all_threads(s)) return on_thread_0([&] { emit(s); });
  switch (s.kind()) {
    case StmtKind::For: return emit_for(s);
    case StmtKind::Let: return emit_let(s);
    case StmtKind::Alloc: return emit_alloc(s);
    case StmtKind::Store: return emit_store(s);
    case StmtKind::Seq:
      for (const Stmt& c : s.children()) emit(c);
      return;
    case StmtKind::If: return emit_if(s);
    case StmtKind::While: return emit_while(s);
    case StmtKind::Barrier: return emit_barrier();
    case StmtKind::Call: return emit_call(s);
  }
}

void Codegen::branch(llvm::Value* condition, const std::function<void()>& then,
                     const std::function<void()>& otherwise) {
  auto* yes = llvm::BasicBlock::Create(context_, "then", fn_);
  auto* no = otherwise ? llvm::BasicBlock::Create(context_, "else", fn_) : nullptr;
  auto* join = llvm::BasicBlock::Create(context_, "join", fn_);
  b().CreateCondBr(condition, yes, no ? no : join);
  ++branches_;
  auto arm = [&](llvm::BasicBlock* at, const std::function<void()>& body) {
    b().SetInsertPoint(at);
    push_scope();
    body();
    pop_scope();
    b().CreateBr(join);
  };
  arm(yes, then);
  if (no) arm(no, otherwise);
  --branches_;
  b().SetInsertPoint(join);
}

void Codegen::on_thread_0(const std::function<void()>& body) {
  in_parallel_ = true;
  branch(b().CreateICmpEQ(thread_, b().getInt32(0)), body);
  in_parallel_ = false;
}

void Codegen::emit_store(const Stmt& s) {
  check(s->buffer < f_.buffers.size(), "{}: store to buffer {}, but there are {}", where(), s->buffer,
        f_.buffers.size());
  constexpr int64_t most_statements = 1 << 17;
  check(++statements_ <= most_statements, "{}: unrolled loops expand to more than {} statements; unroll less", where(),
        most_statements);
  done_.clear();
  count_uses(s->value);
  store(s->buffer, s->index, gen(s->value));
}

void Codegen::emit_if(const Stmt& s) {
  done_.clear();
  count_uses(s->value);
  Condition c = condition(s->value, {});
  bool has_else = s.children().size() > 1;
  if (c.known) {
    if (*c.known) emit(s.children()[0]);
    if (!*c.known && has_else) emit(s.children()[1]);
    return;
  }
  check(!c.v.lanes, "{}: the condition of an if differs between lanes", where());
  auto then = [&] {
    size_t facts = assume(s->value);
    emit(s.children()[0]);
    ranges_.forget_to(facts);
  };
  auto otherwise = [&] { emit(s.children()[1]); };
  if (has_else) {
    branch(c.v.v, then, otherwise);
  } else {
    branch(c.v.v, then);
  }
}

void Codegen::emit_while(const Stmt& s) {
  std::vector<bool> stored = stored_buffers(s);
  for (BufferId i = 0; i < stored.size(); ++i) {
    if (stored[i]) forget_loads(i);
  }
  auto* head = llvm::BasicBlock::Create(context_, "while", fn_);
  auto* body = llvm::BasicBlock::Create(context_, "do", fn_);
  auto* end = llvm::BasicBlock::Create(context_, "done", fn_);
  b().CreateBr(head);
  b().SetInsertPoint(head);
  push_scope();
  ++branches_;
  done_.clear();
  count_uses(s->value);
  Val c = gen(s->value);
  check(!c.lanes, "{}: the condition of a while differs between lanes", where());
  b().CreateCondBr(c.v, body, end);
  b().SetInsertPoint(body);
  push_scope();
  emit(s.children()[0]);
  pop_scope();
  b().CreateBr(head);
  --branches_;
  pop_scope();
  b().SetInsertPoint(end);
}

void Codegen::emit_let(const Stmt& s) {
  VarId v = s->var;
  if (v >= bindings_.size()) bindings_.resize(v + 1);
  check(bindings_[v].kind == Binding::Unbound, "{}: variable {} is bound twice", where(), v);
  Index i = simplified(s->index);
  if (i.is_affine()) {
    bindings_[v] = {.kind = Binding::Form, .form = s->index.is_affine() ? s->index.a : i.a};
  } else {
    Position p = position(s->index, {});
    check(!p.scattered && p.lane == 0, "{}: a let differs between lanes", where());
    Placed x = value_of(p);
    ranges_.set(v, p.range.lo, p.range.hi);
    bindings_[v] = {.kind = Binding::Value, .v = x.v, .depth = x.depth};
  }
  emit(s.children()[0]);
  bindings_[v] = {};
}

void Codegen::emit_alloc(const Stmt& s) {
  BufferId id = s->buffer;
  check(id < f_.buffers.size(), "{}: buffer {} of {} is allocated", where(), id, f_.buffers.size());
  const Buffer& buf = f_.buffers[id];
  forget_loads(id);
  if (in_registers(id)) {
    emit(s.children()[0]);
    // Another tile of the same buffer may have rows of another length.
    live_registers_ -=
        int64_t(std::erase_if(slots_, [&](const auto& slot) { return slot.first.first == id; }));
    std::erase_if(slot_of_element_, [&](const auto& element) { return element.first.first == id; });
    return;
  }
  int64_t offset = memory_.enter(buf);
  if (buf.scope == Scope::Register || lives_on_stack(buf)) {
    llvm::IRBuilder<> entry(entry_end_);
    auto* a = entry.CreateAlloca(llvm::ArrayType::get(memory_type(buf.dtype, false), uint64_t(buf.size)));
    a->setAlignment(llvm::Align(64));
    bases_[id] = a;
  } else {
    bases_[id] = buf.scope == Scope::Shared ? shared_ : scratch_;
    offsets_[id] = offset;
  }
  emit(s.children()[0]);
  memory_.leave(buf);
  bases_[id] = nullptr;
}

void Codegen::emit_call(const Stmt& s) {
  fail_unsupported("{}: calls of functions ({}) have no code for CPUs yet", where(), s->callee);
}

void Codegen::emit_barrier() {
  check(!in_parallel_, "{}: a barrier inside a parallel loop", where());
  auto* many = b().CreateICmpUGT(threads_, b().getInt32(1));
  branch(many, [&] { call_barrier(b(), host_, thread_); });
  for (BufferId i = 0; i < f_.buffers.size(); ++i) forget_loads(i);
}

std::vector<bool> Codegen::stored_buffers(const Stmt& s) {
  std::vector<bool> r(f_.buffers.size());
  visit(s, [&](const Stmt& x) {
    if (x.kind() == StmtKind::Store && x->buffer < r.size()) r[x->buffer] = true;
  });
  return r;
}

}  // namespace burnish::llvm_target
