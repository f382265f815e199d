#include "loop/verify.h"

#include <algorithm>

#include "base/error.h"
#include "expr/interval.h"
#include "loop/text.h"
#include "loop/thread_sum.h"

namespace burnish {

using namespace loop;

namespace {

class Verifier {
 public:
  explicit Verifier(const Function& f)
      : f_(f), prover_(f.vars.size()), bound_(f.vars.size()), fixed_(f.vars.size()),
        live_(f.buffers.size()) {}

  void run() {
    declarations();
    if (!f_.body) return;
    visited_.emplace_back();
    statement(f_.body);
    auto [reason, where] = missing_barrier(f_);
    at_ = where;
    require_that(reason.empty(), "{}", reason);
  }

  // Of a function that is one parallel loop: reads of what nobody writes among them.
  std::vector<SharedAccess> all_accesses() {
    all_ = true;
    declarations();
    visited_.emplace_back();
    statement(f_.body);
    return std::move(accesses_);
  }

 private:
  template <class... Args>
  void require_that(bool ok, fmt::format_string<Args...> text, Args&&... args) const {
    if (ok) [[likely]]
      return;
    std::string statement = at_ ? ", " + line_text(f_, *at_) : "";
    throw_internal(fmt::format("function {}{}: {}", f_.name, statement,
                               fmt::format(text, std::forward<Args>(args)...)),
                   std::source_location::current());
  }

  void declarations() {
    std::vector<bool> given(f_.buffers.size());
    for (BufferId b : f_.params) {
      require_that(b < f_.buffers.size(), "parameter {} of {} buffers", b, f_.buffers.size());
      require_that(f_.buffers[b].scope == Scope::Param, "parameter {} has scope {}",
                   f_.buffers[b].name, name_of(f_.buffers[b].scope));
      require_that(!given[b], "buffer {} is two parameters", f_.buffers[b].name);
      given[b] = live_[b] = true;
    }
    for (size_t b = 0; b < f_.buffers.size(); ++b) {
      const Buffer& buffer = f_.buffers[b];
      require_that(buffer.size >= 0 && buffer.size < (int64_t{1} << 58) / size_of(buffer.dtype),
                   "buffer {} has {} elements", buffer.name, buffer.size);
      require_that(buffer.align > 0 && (buffer.align & (buffer.align - 1)) == 0,
                   "buffer {} is aligned to {} bytes, no power of two", buffer.name, buffer.align);
      require_that(buffer.swizzle == 0 || (is_swizzle(buffer.swizzle) && buffer.scope == Scope::Thread && buffer.align % kSwizzleAlign == 0),
                   "buffer {} has a swizzle of {} bytes: rows of 32, 64 or 128 of a block's memory, aligned to {}", buffer.name, buffer.swizzle,
                   kSwizzleAlign);
      bool all = buffer.pitch == 0 && buffer.run == 0;
      bool runs = buffer.scope == Scope::Param && buffer.run > 0 && buffer.run < buffer.pitch &&
                  buffer.size % buffer.pitch == buffer.run;
      require_that(all || runs, "buffer {} of {} elements has runs of {} every {}", buffer.name,
                   buffer.size, buffer.run, buffer.pitch);
      require_that(buffer.scope != Scope::Param || given[b],
                   "buffer {} has scope param but is no parameter", buffer.name);
    }
  }

  std::string var_name(VarId v) const {
    return v < f_.vars.size() ? f_.vars[v] : std::to_string(v);
  }
  const std::string& buffer_name(BufferId b) const { return f_.buffers[b].name; }

  // Statements.

  void statement(const Stmt& s) {
    require_that(bool(s), "a statement is missing");
    const StmtNode* outer = at_;
    at_ = s.operator->();
    require_that(!in_vector_ || s.kind() == StmtKind::Store || s.kind() == StmtKind::Seq ||
                     s.kind() == StmtKind::If || s.kind() == StmtKind::Let,
                 "a vectorized loop holds stores, ifs and lets only");
    auto mark = prover_.mark();
    visited_.emplace_back();
    switch (s.kind()) {
    case StmtKind::For: for_loop(s); break;
    case StmtKind::Let: let(s); break;
    case StmtKind::Alloc: alloc(s); break;
    case StmtKind::Store: store(*s); break;
    case StmtKind::Seq:
      for (const Stmt& c : s.children()) statement(c);
      break;
    case StmtKind::If:
      condition(s->value);
      for (size_t i = 0; i < s.children().size(); ++i) {
        auto inner = prover_.mark();
        visited_.emplace_back();
        assume_condition(prover_, s->value, i == 0);
        statement(s.children()[i]);
        visited_.pop_back();
        prover_.reset(inner);
      }
      break;
    case StmtKind::While:
      condition(s->value);
      assume_condition(prover_, s->value, true);
      statement(s.children()[0]);
      break;
    case StmtKind::Barrier:
      require_that(!parallel_ || parallel_->has_threads, "a barrier inside parallel loop {}",
                   parallel_ ? var_name(parallel_->var) : "");
      require_that(threads_.empty(), "a barrier inside thread loop {}",
                   threads_.empty() ? "" : var_name(threads_.back()->var));
      break;
    case StmtKind::Call:
      for (const Expr& e : s->args) argument(e);
      break;
    }
    visited_.pop_back();
    prover_.reset(mark);
    at_ = outer;
  }

  void condition(const Expr& e) {
    require_that(e && e.dtype() == DType::Bool, "a condition that is not bool");
    expr(e);
  }

  void bind(VarId v, int64_t lo, int64_t hi) {
    require_that(v < f_.vars.size(), "variable {} of {}", v, f_.vars.size());
    require_that(!bound_[v], "variable {} is bound already", var_name(v));
    bound_[v] = true;
    prover_.bind(v, lo, hi);
  }

  void for_loop(const Stmt& s) {
    const ForStmt& loop = s->loop;
    bool constant = true;
    int64_t lo = 0, hi = loop.extent;
    for (const auto* bounds : {&loop.lower, &loop.upper}) {
      for (const Bound& b : *bounds) {
        require_that(b.div > 0, "a bound is divided by {}", b.div);
        aff(b.a);
        constant &= b.a.is_const();
        if (!b.a.is_const()) continue;
        int64_t limit = ceil_div(b.a.c, b.div);
        if (bounds == &loop.lower)
          lo = std::max(lo, limit);
        else
          hi = std::min(hi, limit);
      }
    }
    require_that(loop.extent >= 0, "an extent of {}", loop.extent);
    require_that(constant || loop.kind != LoopKind::Vectorize,
                 "a vectorized loop has constant bounds");
    require_that(!parallel_ || loop.kind != LoopKind::Parallel,
                 "parallel loop {} inside parallel loop {}", var_name(loop.var),
                 parallel_ ? var_name(parallel_->var) : "");
    require_that(parallel_ || loop.kind != LoopKind::Thread, "thread loop {} outside parallel loops",
                 var_name(loop.var));
    bool dead = dead_;
    dead_ |= lo >= hi;
    Parallel here{loop.var, {}, {}, {}, false, loop.kind == LoopKind::Thread};
    if (loop.kind == LoopKind::Parallel || loop.kind == LoopKind::Thread) {
      for (VarId v = 0; v < bound_.size(); ++v) {
        if (bound_[v]) here.outer.insert(v);
      }
      for (const auto& known : prover_.atoms()) here.outer.insert(known.id);
      here.live = live_;
      if (loop.kind == LoopKind::Thread) {
        if (sums_threads(f_, s)) {
          const auto sum = thread_sum(f_, s);
          require_that(sum.ok(), "{}", sum.ok() ? "" : sum.reason());
          here.sum = sum->sum;
        }
        threads_.push_back(&here);
      } else {
        here.has_threads = has_loop(s, LoopKind::Thread);
        parallel_ = &here;
      }
    }
    bind(loop.var, lo, hi - 1);
    for (const Bound& b : loop.lower) prover_.assume(Aff::of(loop.var, b.div) - b.a);
    for (const Bound& b : loop.upper) prover_.assume(less_than(loop.var, b.a, b.div));
    fixed_[loop.var] =
        loop.kind == LoopKind::Unroll || loop.kind == LoopKind::Thread || loop.kind == LoopKind::Tensor || (constant && loop.kind == LoopKind::Vectorize);
    in_vector_ = loop.kind == LoopKind::Vectorize;
    statement(s.children()[0]);
    in_vector_ = false;
    fixed_[loop.var] = bound_[loop.var] = false;
    dead_ = dead;
    if (loop.kind != LoopKind::Parallel && loop.kind != LoopKind::Thread) return;
    if (loop.kind == LoopKind::Thread)
      threads_.pop_back();
    else
      parallel_ = nullptr;
    if (all_ && loop.kind == LoopKind::Parallel)
      accesses_ = std::move(here.accesses);
    else if (loop.extent > 1)
      disjoint(here);
  }

  void let(const Stmt& s) {
    index(s->index);
    Aff value = prover_.flatten(s->index);
    auto [lo, hi] = prover_.range(value);
    bind(s->var, lo, hi);
    prover_.define(s->var, value);
    fixed_[s->var] = is_fixed(s->index);
    statement(s.children()[0]);
    fixed_[s->var] = bound_[s->var] = false;
  }

  void alloc(const Stmt& s) {
    require_that(s->buffer < f_.buffers.size(), "buffer {} of {}", s->buffer, f_.buffers.size());
    const Buffer& b = f_.buffers[s->buffer];
    require_that(b.scope != Scope::Param, "parameter {} is allocated", b.name);
    require_that(!live_[s->buffer], "buffer {} is allocated already", b.name);
    require_that(b.scope != Scope::Shared || !parallel_,
                 "shared buffer {} is allocated inside parallel loop {}; move it outside", b.name,
                 parallel_ ? var_name(parallel_->var) : "");
    live_[s->buffer] = true;
    statement(s.children()[0]);
    live_[s->buffer] = false;
  }

  void store(const StmtNode& s) {
    require_that(s.buffer < f_.buffers.size(), "buffer {} of {}", s.buffer, f_.buffers.size());
    const Buffer& b = f_.buffers[s.buffer];
    require_that(bool(s.value), "a store without a value");
    require_that(s.value.dtype() == b.dtype, "a value of {} is stored to {} of {}",
                 name_of(s.value.dtype()), b.name, name_of(b.dtype));
    require_that(b.scope != Scope::Param || b.written, "stores to {}, an input", b.name);
    index(s.index);
    expr(s.value);
    access(s.buffer, s.index, true);
  }

  // A place in a buffer, passed to a function.
  void argument(const Expr& e) {
    require_that(e && e.kind() == ExprKind::Load && e.indices().size() == 1,
                 "an argument of a call is not a place in a buffer");
    expr(e);
  }

  // Expressions. What was checked under weaker facts is not checked again.

  void expr(const Expr& e) {
    for (const auto& level : visited_) {
      if (level.contains(e.get())) return;
    }
    visited_.back().insert(e.get());
    for (const Index& i : e.indices()) index(i);
    switch (e.kind()) {
    case ExprKind::Select:
      expr(e.children()[0]);
      for (size_t arm : {1, 2}) {
        auto mark = prover_.mark();
        visited_.emplace_back();
        assume_condition(prover_, e.children()[0], arm == 1);
        expr(e.children()[arm]);
        visited_.pop_back();
        prover_.reset(mark);
      }
      return;
    case ExprKind::Load: load(e); break;
    case ExprKind::Acc: require_that(false, "an accumulator outside a stage"); break;
    case ExprKind::Const:
    case ExprKind::Affine:
    case ExprKind::Binary:
    case ExprKind::Unary:
    case ExprKind::Cast:
    case ExprKind::Call: break;
    }
    for (const Expr& c : e.children()) expr(c);
  }

  void load(const Expr& e) {
    require_that(e.from() < f_.buffers.size(), "buffer {} of {}", e.from(), f_.buffers.size());
    const Buffer& b = f_.buffers[e.from()];
    require_that(e.indices().size() == 1, "{} is loaded with {} indices; loops have flat ones",
                 b.name, e.indices().size());
    require_that(!e.fill(), "a load of {} with a fill; loops have selects", b.name);
    require_that(e.dtype() == b.dtype, "{} of {} is loaded as {}", b.name, name_of(b.dtype),
                 name_of(e.dtype()));
    access(e.from(), e.indices()[0], false);
  }

  void aff(const Aff& a) const {
    for (const Term& t : a.terms) {
      require_that(t.var < bound_.size() && bound_[t.var], "variable {} is not bound here",
                   var_name(t.var));
    }
  }

  void index(const Index& i) {
    aff(i.a);
    for (const Atom& x : i.atoms) {
      require_that(x.div > 0 && x.mod >= 0, "an atom is divided by {} modulo {}", x.div, x.mod);
      aff(x.a);
      if (!x.value) continue;
      require_that(is_int(x.value.dtype()), "an index adds a value of {}",
                   name_of(x.value.dtype()));
      expr(x.value);
    }
  }

  bool is_fixed(const Index& i) const {
    auto fixed = [&](const Aff& a) {
      return std::all_of(a.terms.begin(), a.terms.end(),
                         [&](const Term& t) { return fixed_[t.var]; });
    };
    return fixed(i.a) && std::all_of(i.atoms.begin(), i.atoms.end(),
                                     [&](const Atom& x) { return !x.value && fixed(x.a); });
  }

  std::string moving_var(const Index& i) const {
    for (const Term& t : i.a.terms) {
      if (!fixed_[t.var]) return var_name(t.var);
    }
    return "an atom";
  }

  void access(BufferId b, const Index& i, bool write) {
    const Buffer& buffer = f_.buffers[b];
    require_that(live_[b], "{} is used outside its alloc", buffer.name);
    require_that(!in_registers(buffer.scope) || is_fixed(i),
                 "{} is in registers but is indexed by {}; unroll that loop",
                 buffer.name, moving_var(i));
    bool outside = parallel_ && parallel_->live[b];
    bool own = buffer.scope != Scope::Param && buffer.scope != Scope::Shared;
    require_that(!outside || !own,
                 "{} buffer {} belongs to one thread but is used inside parallel loop {}",
                 name_of(buffer.scope), buffer.name, outside ? var_name(parallel_->var) : "");
    if (dead_) return;
    Aff at = prover_.flatten(i);
    bool low = prover_.never_negative(at);
    if (!low || !prover_.never_negative(Aff(buffer.size - 1) - at)) {
      auto [lo, hi] = prover_.range(at);
      require_that(
          false, "{} {} {} its {} elements: the index spans {}..{} by the ranges of its variables",
          write ? "stores to" : "reads", buffer.name, low ? "above" : "below", buffer.size, lo, hi);
    }
    if (buffer.pitch) {
      Aff in_run = within(at, buffer.pitch);
      require_that(prover_.never_negative(in_run) &&
                       prover_.never_negative(Aff(buffer.run - 1) - in_run),
                   "{} {} between its runs of {} elements every {}",
                   write ? "stores to" : "reads", buffer.name, buffer.run, buffer.pitch);
    }
    if (outside && (all_ || write || buffer.scope == Scope::Shared || buffer.written))
      note(*parallel_, b, at, write);
    for (Parallel* loop : threads_)
      if (loop->live[b] && loop->sum != b && (write || own || buffer.scope == Scope::Shared || buffer.written))
        note(*loop, b, at, write);
  }

  // `at` less a multiple of `pitch`: what is left of it within a run.
  Aff within(const Aff& at, int64_t pitch) const {
    Aff rest(at.c);
    for (const Term& t : at.terms) {
      if (t.k % pitch != 0) rest.add(t.var, t.k);
    }
    rest.c -= floor_div(prover_.range(rest).first, pitch) * pitch;
    return rest;
  }

  // Parallel loops.

  struct Parallel {
    VarId var;
    std::vector<bool> live;  // buffers that live outside
    std::set<Prover::Id> outer;
    std::vector<SharedAccess> accesses;
    bool has_threads, is_thread;
    std::optional<BufferId> sum{};  // a register that the loop's threads sum to
  };

  void note(Parallel& loop, BufferId b, const Aff& at, bool write) {
    SharedAccess x{b, write, at_, at, prover_.facts(), {}, {}};
    auto ids = [&](const Aff& a) {
      for (const Term& t : a.terms) x.ranges[t.var] = prover_.range_of(t.var);
    };
    ids(at);
    for (const Aff& fact : x.facts) ids(fact);
    ids(Aff::of(loop.var));
    for (const auto& known : prover_.atoms()) {
      const Atom& q = known.atom;
      bool moves = std::any_of(q.a.terms.begin(), q.a.terms.end(),
                               [&](const Term& t) { return !loop.outer.contains(t.var); });
      if (!q.value && !q.mod && q.div > 1 && moves) x.quotients.push_back(known);
    }
    loop.accesses.push_back(std::move(x));
  }

  void disjoint(const Parallel& loop) {
    for (const SharedAccess& a : loop.accesses) {
      for (const SharedAccess& b : loop.accesses) {
        if (a.buffer != b.buffer || !(a.write || b.write)) continue;
        at_ = a.stmt;
        require_that(
            never_meet(a, loop.var, b, loop.var, loop.outer),
            "iterations of {} loop {} are not proved to touch different places of {}{}",
            loop.is_thread ? "thread" : "parallel", var_name(loop.var), buffer_name(a.buffer),
            a.stmt == b.stmt ? "" : ", here and in " + line_text(f_, *b.stmt));
      }
    }
  }

  const Function& f_;
  Prover prover_;
  std::vector<bool> bound_, fixed_, live_;  // fixed: a constant after unrolling, or a lane
  std::vector<std::unordered_set<const ExprNode*>> visited_;
  Parallel* parallel_ = nullptr;
  bool all_ = false;
  std::vector<SharedAccess> accesses_;
  std::vector<Parallel*> threads_;  // open thread loops
  bool in_vector_ = false, dead_ = false;
  const StmtNode* at_ = nullptr;
};

}  // namespace

void verify(const Function& f) { Verifier(f).run(); }

std::optional<SharedLoop> loop::shared_loop_of(const Function& f) {
  if (!f.body || f.body.kind() != StmtKind::For) return std::nullopt;
  const ForStmt& root = f.body->loop;
  if (root.kind != LoopKind::Parallel || !root.lower.empty() || !root.upper.empty())
    return std::nullopt;
  bool calls = false;
  visit(f.body, [&](const Stmt& s) { calls |= s.kind() == StmtKind::Call; });
  if (calls) return std::nullopt;
  try {
    return SharedLoop{root.var, root.extent, Verifier(f).all_accesses()};
  } catch (const InternalError&) {  // what is not proved is not known
    return std::nullopt;
  }
}

}  // namespace burnish
