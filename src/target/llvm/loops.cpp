// Loops: rolled ones with pointers that count, unrolled ones expanded, vectorized ones as pieces of lanes.
#include <algorithm>
#include <bit>

#include "target/llvm/codegen.h"
#include "target/llvm/keys.h"

namespace burnish::llvm_target {

namespace {

bool is_innermost(const Stmt& body) {
  if (body.kind() == StmtKind::While) return false;
  if (body.kind() == StmtKind::For &&
      (body->loop.kind == LoopKind::Serial || body->loop.kind == LoopKind::Parallel)) {
    return false;
  }
  for (const Stmt& c : body.children()) {
    if (!is_innermost(c)) return false;
  }
  return true;
}

// Iterations of the unrolled loops in a statement.
int64_t unrolled_inside(const Stmt& s) {
  int64_t most = 1;
  for (const Stmt& c : s.children()) most = std::max(most, unrolled_inside(c));
  return s.kind() == StmtKind::For && s->loop.kind == LoopKind::Unroll ? most * s->loop.extent : most;
}

// Does it calculate an elementary function?
bool is_long(const Stmt& s) {
  bool found = false;
  visit(s, [&](const Stmt& x) {
    if (!x->value) return;
    visit(x->value, [&](const Expr& e) {
      found |= e.kind() == ExprKind::Unary && e.unary() >= UnaryOp::Exp && e.unary() <= UnaryOp::Atanh;
    });
  });
  return found;
}

}  // namespace

void Codegen::emit_for(const Stmt& s) {
  const ForStmt& loop = s->loop;
  if (loop.var >= bindings_.size()) bindings_.resize(loop.var + 1);
  check(bindings_[loop.var].kind == Binding::Unbound, "{}: variable {} is bound twice", where(), loop.var);
  if (loop.kind == LoopKind::Unroll) return emit_unrolled(s);
  if (loop.kind == LoopKind::Vectorize) return emit_vectorized(s);
  emit_rolled(s);
}

void Codegen::emit_iteration(const Stmt& s, int64_t value) {
  bindings_[s->loop.var] = {.kind = Binding::Constant, .constant = value};
  emit(s.children()[0]);
  bindings_[s->loop.var] = {};
}

// x = x op a[v], for v in a row of floats that lie side by side, as a tree: vectors among each other, then halves of the
// last one. In the order of the loop every step would wait for the one before.
bool Codegen::emit_lane_reduction(const Stmt& s) {
  const ForStmt& loop = s->loop;
  const Stmt& body = s.children()[0];
  if (vector_ || loop.extent < 4 || !loop.lower.empty() || !loop.upper.empty() || body.kind() != StmtKind::Store) {
    return false;
  }
  const Expr& value = body->value;
  if (value.kind() != ExprKind::Binary || !is_float(value.dtype())) return false;
  const BinaryOp op = value.binary();
  if (op != BinaryOp::Add && op != BinaryOp::Mul && op != BinaryOp::Max && op != BinaryOp::Min) return false;
  const Expr &so_far = value.children()[0], &row = value.children()[1];
  const auto moves_as = [&](const Index& i, int64_t k) { return i.is_affine() && i.a.slope(loop.var) == k; };
  if (so_far.kind() != ExprKind::Load || so_far.from() != body->buffer || !moves_as(so_far.indices()[0], 0) ||
      !moves_as(body->index, 0) || so_far.indices()[0].a != body->index.a || row.kind() != ExprKind::Load || row.from() == body->buffer ||
      !moves_as(row.indices()[0], 1)) {
    return false;
  }
  std::vector<llvm::Value*> parts;  // of one width: whole vectors, or the one piece that there is
  const auto width = std::min<int64_t>(natural_lanes_, int64_t(std::bit_floor(uint64_t(loop.extent))));
  if (loop.extent % width != 0) return false;
  for (int64_t at = 0; at < loop.extent; at += width) {
    parts.push_back(in_lanes(loop.var, at, int(width), [&] { return with_lanes(gen(row)); }));
  }
  for (; parts.size() > 1; parts.resize((parts.size() + 1) / 2)) {
    for (size_t i = 0; 2 * i + 1 < parts.size(); ++i) parts[i] = combine(op, parts[2 * i], parts[2 * i + 1]);
    if (parts.size() % 2) parts[parts.size() / 2] = parts.back();
  }
  llvm::Value* all = parts[0];
  for (auto half = int(width) / 2; half > 0; half /= 2) {
    std::vector<int> low, high;
    for (int l = 0; l < half; ++l) low.push_back(l), high.push_back(half + l);
    all = combine(op, b().CreateShuffleVector(all, low), b().CreateShuffleVector(all, high));
  }
  done_.clear();
  count_uses(so_far);
  store(body->buffer, body->index, {combine(op, gen(so_far).v, b().CreateExtractElement(all, uint64_t{0})), false});
  return true;
}

void Codegen::emit_unrolled(const Stmt& s) {
  if (emit_lane_reduction(s)) return;
  const ForStmt& loop = s->loop;
  // Steps of a reduction over a tile that fills the registers stay apart, and elementary functions of its values: LLVM
  // would begin several of them at once, and spill.
  const bool full = live_registers_ * 4 >= isa_.registers * 3;
  const bool apart = full && (unrolled_inside(s.children()[0]) >= 8 || is_long(s.children()[0]));
  const bool square = !vector_ && loop.extent >= 4 && loop.extent <= natural_lanes_ && loop.lower.empty() && loop.upper.empty();
  if (square) unrolled_.push_back({loop.var, loop.extent, level_count(), branches_, stored_buffers(s), {}});
  for (int64_t i = 0; i < loop.extent; ++i) {
    if (apart && i > 0) fence();
    std::vector<Index> inside;
    for (const Bound& l : loop.lower) inside.push_back(Index(Aff(i * l.div) - l.a));
    for (const Bound& u : loop.upper) inside.push_back(Index(u.a - Aff(i * u.div + 1)));
    Expr all = all_nonnegative(inside);
    Condition c = condition(all, {});
    if (c.known) {
      if (*c.known) emit_iteration(s, i);
      continue;
    }
    branch(c.v.v, [&] {
      size_t facts = assume(all);
      emit_iteration(s, i);
      ranges_.forget_to(facts);
    });
  }
  if (square) unrolled_.pop_back();
}

// Straight code for all lanes at once is possible: stores move with the lane, conditions do not. `moving`: the lane's
// variable, and lets that depend on it.
bool Codegen::vectorizable(const Stmt& s, std::vector<VarId> moving) {
  auto moves_form = [&](const Aff& a) {
    return std::any_of(moving.begin(), moving.end(), [&](VarId v) { return a.slope(v) != 0; });
  };
  auto moves = [&](const Index& i) {
    return moves_form(i.a) || std::any_of(i.atoms.begin(), i.atoms.end(), [&](const Atom& a) { return moves_form(a.a); });
  };
  switch (s.kind()) {
    case StmtKind::For:
      if (s->loop.kind != LoopKind::Unroll) return false;
      for (const auto* bounds : {&s->loop.lower, &s->loop.upper}) {
        for (const Bound& bound : *bounds) {
          if (moves_form(bound.a)) return false;
        }
      }
      break;
    case StmtKind::Let:
      if (!s->index.is_affine()) return false;
      if (moves(s->index)) moving.push_back(s->var);
      break;
    case StmtKind::If: {
      bool differs = false;
      visit(s->value, [&](const Expr& e) {
        for (const Index& i : e.indices()) differs |= moves(i);
      });
      if (differs) return false;
      break;
    }
    case StmtKind::Store:
      for (const Atom& atom : s->index.atoms) {
        if (atom.value) return false;
      }
      if (!moves(s->index)) return false;
      break;
    case StmtKind::Seq:
    case StmtKind::Alloc: break;
    case StmtKind::While:
    case StmtKind::Barrier:
    case StmtKind::Call: return false;
  }
  for (const Stmt& c : s.children()) {
    if (!vectorizable(c, moving)) return false;
  }
  return true;
}

bool Codegen::touches_registers(const Stmt& s) {
  bool found = false;
  visit(s, [&](const Stmt& x) {
    if (x.kind() == StmtKind::Store) found |= in_registers(x->buffer);
    if (!x->value) return;
    visit(x->value, [&](const Expr& e) { found |= e.kind() == ExprKind::Load && in_registers(e.from()); });
  });
  return found;
}

llvm::Value* Codegen::in_lanes(VarId v, int64_t first, int lanes, const std::function<llvm::Value*()>& make) {
  const auto outer = std::tuple(vector_, lanes_, lane_var_);
  vector_ = true;
  lanes_ = lanes;
  lane_var_ = v;
  bindings_[v] = {.kind = Binding::Lane, .constant = first};
  ranges_.set(v, 0, lanes - 1);
  done_.clear();
  llvm::Value* made = make();
  done_.clear();
  bindings_[v] = {};
  std::tie(vector_, lanes_, lane_var_) = outer;
  return made;
}

void Codegen::emit_vectorized(const Stmt& s) {
  const ForStmt& loop = s->loop;
  const Stmt& body = s.children()[0];
  if (vector_ || !loop.lower.empty() || !loop.upper.empty() || !vectorizable(body, {loop.var})) {
    return touches_registers(body) ? emit_unrolled(s) : emit_rolled(s);
  }
  int64_t start = 0;
  constexpr int64_t most_pieces = 8;
  if (loop.extent / natural_lanes_ > most_pieces && !touches_registers(body)) {
    // Long loops stay loops: v = lanes*q + l.
    VarId q = VarId(std::max(bindings_.size(), f_.vars.size())), l = q + 1;
    start = loop.extent / natural_lanes_ * natural_lanes_;
    Aff v = Aff::of(q, natural_lanes_) + Aff::of(l);
    Stmt lanes = make_for({.var = l, .kind = LoopKind::Vectorize, .extent = natural_lanes_, .lower = {}, .upper = {}},
                          make_let(loop.var, v, body));
    emit_for(make_for({.var = q, .kind = LoopKind::Serial, .extent = start / natural_lanes_, .lower = {}, .upper = {}}, lanes));
  }
  for (int64_t at = start; at < loop.extent;) {
    int64_t width = std::min<int64_t>(natural_lanes_, int64_t(std::bit_floor(uint64_t(loop.extent - at))));
    if (width == 1) {
      emit_iteration(s, at);
    } else {
      in_lanes(loop.var, at, int(width), [&] {
        emit(body);
        return nullptr;
      });
    }
    at += width;
  }
}

Placed Codegen::ceil_of(const Bound& bound) {
  Position p = position(Index(bound.a), {});
  if (bound.div == 1) return value_of(p);
  Atom atom;
  atom.div = bound.div;
  p.c += bound.div - 1;
  return divided(atom, value_of(p), {p.range.lo + bound.div - 1, p.range.hi + bound.div - 1});
}

Codegen::Limits Codegen::limits_of(const ForStmt& loop) {
  Limits r;
  Interval lo{0, 0}, hi{loop.extent, loop.extent};
  std::vector<Placed> lowers, uppers;
  for (const Bound& bound : loop.lower) {
    Interval x = ranges_.bounds(normal(bound.a));
    x = {ceil_div(x.lo, bound.div), ceil_div(x.hi, bound.div)};
    if (x.hi <= lo.lo) continue;
    if (x.lo < x.hi) lowers.push_back(ceil_of(bound));
    lo = {std::max(lo.lo, x.lo), std::max(lo.hi, x.hi)};
  }
  for (const Bound& bound : loop.upper) {
    Interval x = ranges_.bounds(normal(bound.a));
    x = {ceil_div(x.lo, bound.div), ceil_div(x.hi, bound.div)};
    if (x.lo >= hi.hi) continue;
    if (x.lo < x.hi) uppers.push_back(ceil_of(bound));
    hi = {std::min(hi.lo, x.lo), std::min(hi.hi, x.hi)};
  }
  // Bounds known to be one number enter as the constant.
  auto fold = [&](Placed first, const std::vector<Placed>& rest, bool largest) {
    for (const Placed& x : rest) {
      Key key{key_of(Made::Limit), key_of(first.v), key_of(x.v), largest};
      first = place(std::max(first.depth, x.depth), std::move(key), [&] {
        auto* c = largest ? b().CreateICmpSGT(first.v, x.v) : b().CreateICmpSLT(first.v, x.v);
        return b().CreateSelect(c, first.v, x.v);
      });
    }
    return first;
  };
  r.lo = fold({b().getInt64(uint64_t(lo.lo)), 0}, lowers, true);
  r.hi = fold({b().getInt64(uint64_t(hi.hi)), 0}, uppers, false);
  r.range = {lo.lo, hi.hi - 1};
  r.nonempty = lo.hi < hi.lo;
  return r;
}

void Codegen::emit_rolled(const Stmt& s) {
  const ForStmt& loop = s->loop;
  Limits l = limits_of(loop);
  if (l.range.lo > l.range.hi) return;
  bool parallel = loop.kind == LoopKind::Parallel;
  if (l.range.lo == l.range.hi && l.nonempty && !parallel) return emit_iteration(s, l.range.lo);
  check(!parallel || !in_parallel_, "{}: a parallel loop inside another one", where());
  llvm::Value *lo = l.lo.v, *hi = l.hi.v;
  if (parallel) {
    // The t-th of T nearly equal shares: [n*t/T, n*(t+1)/T).
    auto* n = b().CreateSelect(b().CreateICmpSGT(hi, lo), b().CreateSub(hi, lo), b().getInt64(0));
    auto* t = b().CreateZExt(thread_, b().getInt64Ty());
    auto* count = b().CreateZExt(threads_, b().getInt64Ty());
    auto* end = b().CreateUDiv(b().CreateMul(n, b().CreateAdd(t, b().getInt64(1))), count);
    hi = b().CreateAdd(lo, end);
    lo = b().CreateAdd(lo, b().CreateUDiv(b().CreateMul(n, t), count));
    l.nonempty = false;
  }
  std::vector<bool> written = stored_buffers(s);
  for (BufferId i = 0; i < written.size(); ++i) {
    if (written[i]) forget_loads(i);
  }
  auto body = [&] {
    auto* header = llvm::BasicBlock::Create(context_, loop.var < f_.vars.size() ? f_.vars[loop.var] : "loop", fn_);
    auto* exit = llvm::BasicBlock::Create(context_, "end", fn_);
    Level level;
    level.preheader = b().CreateBr(header);
    level.scope = scopes_.size() - 1;
    level.branches = branches_;
    level.written = std::move(written);
    level.leaf = is_innermost(s.children()[0]);
    level.header = header;
    level.start = lo;
    b().SetInsertPoint(header);
    auto* counter = b().CreatePHI(b().getInt64Ty(), 2);
    counter->addIncoming(lo, level.preheader->getParent());
    level.counter = counter;
    levels_.push_back(std::move(level));
    push_scope();
    size_t facts = ranges_.fact_count();
    ranges_.set(loop.var, l.range.lo, l.range.hi);
    bindings_[loop.var] = {.kind = Binding::Value, .v = counter, .depth = level_count()};
    for (const Bound& x : loop.lower) ranges_.assume(loop.var, Aff::of(loop.var, x.div) - normal(x.a));
    for (const Bound& x : loop.upper) ranges_.assume(loop.var, less_than(loop.var, normal(x.a), x.div));
    bool was_parallel = in_parallel_;
    in_parallel_ |= parallel;
    emit(s.children()[0]);
    in_parallel_ = was_parallel;
    ranges_.forget_to(facts);
    bindings_[loop.var] = {};
    pop_scope();

    auto* latch = b().GetInsertBlock();
    for (auto& [pointer, step] : levels_.back().pointers) {
      pointer->addIncoming(b().CreateGEP(b().getInt8Ty(), pointer, b().getInt64(uint64_t(step))), latch);
    }
    auto* next = b().CreateAdd(counter, b().getInt64(1), "", true, true);
    counter->addIncoming(next, latch);
    auto* again = b().CreateCondBr(b().CreateICmpSLT(next, hi), header, exit);
    // LLVM shall not unroll: the schedule did what was worth it.
    auto* off = llvm::MDNode::get(context_, llvm::MDString::get(context_, "llvm.loop.unroll.disable"));
    auto* id = llvm::MDNode::getDistinct(context_, {nullptr, off});
    id->replaceOperandWith(0, id);
    again->setMetadata(llvm::LLVMContext::MD_loop, id);
    levels_.pop_back();
    b().SetInsertPoint(exit);
  };
  if (l.nonempty) {
    body();
  } else {
    branch(b().CreateICmpSLT(lo, hi), body);
  }
}

}  // namespace burnish::llvm_target
