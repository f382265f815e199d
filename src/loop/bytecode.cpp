#include "loop/bytecode.h"

#include <bit>
#include <limits>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace burnish::loop {

namespace {

// Constants get registers behind all others; until their number is known they are numbered from
// here.
constexpr int32_t constant_mark = 1 << 28;

class Compiler {
 public:
  Compiler(const Function& f, bool in_double, const std::vector<Function>* callees)
      : in_double_(in_double), callees_(callees) {
    out_.function = &f;
  }

  Code run() {
    out_.root = stmt(out_.function->body);
    out_.constant_base = most_registers_;
    out_.registers = most_registers_ + static_cast<int32_t>(out_.constants.size());
    for (Instruction& i : out_.code) {
      for (int32_t* r : {&i.out, &i.a, &i.b, &i.c}) place(*r);
    }
    for (Node& n : out_.nodes) {
      place(n.a);
      place(n.b);
    }
    return std::move(out_);
  }

 private:
  void place(int32_t& r) const {
    if (r >= constant_mark) r += out_.constant_base - constant_mark;
  }

  DType type(DType t) const { return in_double_ && is_float(t) ? DType::F64 : t; }

  int32_t fresh() {
    most_registers_ = std::max(most_registers_, next_ + 1);
    return next_++;
  }

  uint32_t aff(const Aff& a) {
    AffCode code{{static_cast<uint32_t>(out_.terms.size()), 0}, a.c};
    for (const Term& t : a.terms) {
      check(t.var < out_.function->vars.size(), "function {}: variable {} of {}",
            out_.function->name, t.var, out_.function->vars.size());
      out_.terms.push_back(t);
    }
    code.terms.end = static_cast<uint32_t>(out_.terms.size());
    out_.affs.push_back(code);
    return static_cast<uint32_t>(out_.affs.size() - 1);
  }

  void emit(Instruction i) { out_.code.push_back(i); }
  uint32_t here() const { return static_cast<uint32_t>(out_.code.size()); }

  int32_t constant_register(Cell value) {
    auto [at, is_new] = constant_at_.try_emplace(value.i, out_.constants.size());
    if (is_new) out_.constants.push_back(value);
    return constant_mark + static_cast<int32_t>(at->second);
  }

  // Statement by statement: registers and memo start anew.
  void begin(std::span<const Expr> exprs, const Index* index = nullptr) {
    next_ = 0;
    uses_.clear();
    memo_.clear();
    deferred_.clear();
    std::unordered_set<const ExprNode*> counted;
    auto count = [&](const Expr& root) {
      ++uses_[root.get()];
      visit(root, [&](const Expr& e) {
        if (!counted.insert(e.get()).second) return;
        for (const Expr& c : e.children()) ++uses_[c.get()];
        for (const Index& i : e.indices()) {
          for (const Atom& x : i.atoms) {
            if (x.value) ++uses_[x.value.get()];
          }
        }
      });
    };
    for (const Expr& e : exprs) count(e);
    if (!index) return;
    for (const Atom& x : index->atoms) {
      if (x.value) count(x.value);
    }
  }

  int32_t index(const Index& i, bool conditional) {
    int32_t r = fresh();
    Instruction base{.op = Op::Affine};
    base.out = r;
    base.aff = aff(i.a);
    emit(base);
    for (const Atom& x : i.atoms) {
      check(x.div > 0 && x.mod >= 0, "an atom is divided by {} modulo {}", x.div, x.mod);
      Instruction inner{.op = Op::Affine};
      inner.out = fresh();
      inner.aff = aff(x.a);
      emit(inner);
      Instruction add{.op = Op::Atom};
      add.out = r;
      add.a = inner.out;
      if (x.value) add.b = expr(x.value, conditional);
      add.target = static_cast<uint32_t>(out_.atoms.size());
      out_.atoms.push_back({x.div, x.mod, x.scale, bool(x.value)});
      emit(add);
    }
    return r;
  }

  // What is met only under a condition and more than once is deferred: evaluated where it is first
  // needed, if at all.
  int32_t expr(const Expr& e, bool conditional) {
    if (auto it = memo_.find(e.get()); it != memo_.end()) return it->second;
    if (e.kind() == ExprKind::Const) {
      Cell value;
      if (is_float(e.dtype()))
        value.f = e.number();
      else
        value.i = e.integer();
      return memo_[e.get()] = constant_register(value);
    }
    if (auto it = deferred_.find(e.get()); it != deferred_.end()) {
      need(it->second.first);
      return it->second.second;
    }
    if (!conditional) return memo_[e.get()] = node(e, false);
    if (uses_[e.get()] < 2) return node(e, true);
    // The body is placed out of the way of what surrounds it.
    Instruction skip{.op = Op::Jump};
    uint32_t at = here();
    emit(skip);
    uint32_t row = static_cast<uint32_t>(out_.deferred.size());
    out_.deferred.push_back({});
    uint32_t begin = here();
    int32_t r = fresh();
    int32_t value = node(e, true);
    Instruction move{.op = Op::Move};
    move.out = r;
    move.a = value;
    emit(move);
    out_.deferred[row].code = {begin, here()};
    out_.code[at].target = here();
    deferred_[e.get()] = {row, r};
    need(row);
    return r;
  }

  void need(uint32_t row) {
    Instruction i{.op = Op::Need};
    i.target = row;
    emit(i);
  }

  int32_t node(const Expr& e, bool conditional) {
    switch (e.kind()) {
    case ExprKind::Const: return expr(e, conditional);
    case ExprKind::Affine: return index(e.index(), conditional);
    case ExprKind::Load: return load(e, conditional);
    case ExprKind::Binary: return binary(e, conditional);
    case ExprKind::Select: return select(e, conditional);
    case ExprKind::Unary:
    case ExprKind::Cast: {
      int32_t a = expr(e.children()[0], conditional);
      Instruction i{.op = e.kind() == ExprKind::Unary ? Op::Unary : Op::Cast};
      if (e.kind() == ExprKind::Unary) i.which = static_cast<uint8_t>(e.unary());
      i.from = type(e.children()[0].dtype());
      i.to = type(e.dtype());
      i.a = a;
      i.out = fresh();
      emit(i);
      return i.out;
    }
    case ExprKind::Call: return call(e, conditional);
    case ExprKind::Acc: break;
    }
    throw_internal(fmt::format("function {}: an accumulator outside a stage", out_.function->name),
                   std::source_location::current());
  }

  int32_t load(const Expr& e, bool conditional) {
    const Function& f = *out_.function;
    check(e.from() < f.buffers.size(), "function {}: a load of buffer {} of {}", f.name, e.from(),
          f.buffers.size());
    const Buffer& b = f.buffers[e.from()];
    check(e.indices().size() == 1, "function {}: a load of {} with {} indices", f.name, b.name,
          e.indices().size());
    check(!e.fill(), "function {}: a load of {} with a fill", f.name, b.name);
    check(e.dtype() == b.dtype, "function {}: {} of {} is loaded as {}", f.name, b.name,
          name_of(b.dtype), name_of(e.dtype()));
    Instruction i{.op = Op::LoadAffine};
    i.target = e.from();
    const Index& at = e.indices()[0];
    if (at.is_affine()) {
      i.aff = aff(at.a);
    } else {
      i.op = Op::Load;
      i.a = index(at, conditional);
    }
    i.out = fresh();
    emit(i);
    return i.out;
  }

  static Op quick(BinaryOp op, DType t) {
    bool f32 = t == DType::F32, f64 = t == DType::F64, i64 = t == DType::I64;
    auto real = [&](Op narrow, Op wide, Op whole = Op::Binary) {
      return f32 ? narrow : f64 ? wide : i64 ? whole : Op::Binary;
    };
    if (op == BinaryOp::Add) return real(Op::Add32, Op::Add64, Op::AddInt);
    if (op == BinaryOp::Sub) return real(Op::Sub32, Op::Sub64, Op::SubInt);
    if (op == BinaryOp::Mul) return real(Op::Mul32, Op::Mul64, Op::MulInt);
    if (op == BinaryOp::Div) return real(Op::Div32, Op::Div64);
    if (op == BinaryOp::Min) return real(Op::Min32, Op::Min64);
    if (op == BinaryOp::Max) return real(Op::Max32, Op::Max64);
    if (op == BinaryOp::And && t == DType::Bool) return Op::AndBool;
    if (!i64) return Op::Binary;
    if (op == BinaryOp::Ge) return Op::GeInt;
    if (op == BinaryOp::Lt) return Op::LtInt;
    if (op == BinaryOp::Eq) return Op::EqInt;
    return Op::Binary;
  }

  int32_t binary(const Expr& e, bool conditional) {
    Instruction i{.op = quick(e.binary(), type(e.children()[0].dtype()))};
    i.which = static_cast<uint8_t>(e.binary());
    i.from = type(e.children()[0].dtype());
    i.a = expr(e.children()[0], conditional);
    i.b = expr(e.children()[1], conditional);
    i.out = fresh();
    emit(i);
    return i.out;
  }

  int32_t select(const Expr& e, bool conditional) {
    Instruction choose{.op = Op::JumpIfNot};
    choose.a = expr(e.children()[0], conditional);
    uint32_t branch = here();
    emit(choose);
    Instruction move{.op = Op::Move};
    move.out = fresh();
    move.a = expr(e.children()[1], true);
    emit(move);
    uint32_t leave = here();
    emit({.op = Op::Jump});
    out_.code[branch].target = here();
    move.a = expr(e.children()[2], true);
    emit(move);
    out_.code[leave].target = here();
    return move.out;
  }

  int32_t call(const Expr& e, bool conditional) {
    check(e.callee() == "fma" && e.children().size() == 3,
          "function {}: the interpreter does not know the intrinsic {} of {} arguments",
          out_.function->name, e.callee(), e.children().size());
    Instruction i{.op = Op::CallMath};
    i.from = type(e.dtype());
    i.a = expr(e.children()[0], conditional);
    i.b = expr(e.children()[1], conditional);
    i.c = expr(e.children()[2], conditional);
    i.out = fresh();
    emit(i);
    return i.out;
  }

  void call(const Stmt& s, Node& n) {
    const std::string& name = out_.function->name;
    bool found = false;
    for (size_t i = 0; callees_ && i < callees_->size() && !found; ++i) {
      n.callee = static_cast<uint32_t>(i);
      found = (*callees_)[i].name == s->callee;
    }
    check(found, "function {}: call of {}, which is no function of the program", name, s->callee);
    size_t wanted = (*callees_)[n.callee].params.size();
    check(s->args.size() == wanted, "function {}: call of {} with {} arguments, not {}", name,
          s->callee, s->args.size(), wanted);
    for (const Expr& e : s->args) {
      check(e.kind() == ExprKind::Load && e.indices().size() == 1 && e.indices()[0].is_affine() &&
                e.from() < out_.function->buffers.size(),
            "function {}: an argument of {} is not a place in a buffer", name, s->callee);
      n.args.push_back({e.from(), aff(e.indices()[0].a)});
    }
  }

  uint32_t stmt(const Stmt& s) {
    check(bool(s), "function {} has an empty statement", out_.function->name);
    Node n;
    n.source = s.operator->();
    auto condition = [&] {
      begin({&s->value, 1});
      n.code.begin = here();
      n.a = expr(s->value, false);
      n.code.end = here();
    };
    switch (s.kind()) {
    case StmtKind::For:
      for (const Bound& b : s->loop.lower) n.lower.push_back({aff(b.a), b.div});
      for (const Bound& b : s->loop.upper) n.upper.push_back({aff(b.a), b.div});
      check(s->loop.var < out_.function->vars.size(), "function {}: loop variable {} of {}",
            out_.function->name, s->loop.var, out_.function->vars.size());
      out_.has_parallel |= s->loop.kind == LoopKind::Parallel;
      out_.has_threads |= s->loop.kind == LoopKind::Thread;
      break;
    case StmtKind::Let:
      begin({}, &s->index);
      check(s->var < out_.function->vars.size(), "function {}: variable {} of {}",
            out_.function->name, s->var, out_.function->vars.size());
      n.code.begin = here();
      n.a = index(s->index, false);
      n.code.end = here();
      break;
    case StmtKind::Store: {
      const Function& f = *out_.function;
      check(s->buffer < f.buffers.size(), "function {}: a store to buffer {} of {}", f.name,
            s->buffer, f.buffers.size());
      check(s->value.dtype() == f.buffers[s->buffer].dtype,
            "function {}: a value of {} is stored to {} of {}", f.name, name_of(s->value.dtype()),
            f.buffers[s->buffer].name, name_of(f.buffers[s->buffer].dtype));
      begin({&s->value, 1}, &s->index);
      n.code.begin = here();
      n.affine = s->index.is_affine();
      if (n.affine)
        n.aff = aff(s->index.a);
      else
        n.a = index(s->index, false);
      n.b = expr(s->value, false);
      n.code.end = here();
      break;
    }
    case StmtKind::If:
    case StmtKind::While: condition(); break;
    case StmtKind::Call: call(s, n); break;
    case StmtKind::Alloc:
      check(s->buffer < out_.function->buffers.size(), "function {}: alloc of buffer {} of {}",
            out_.function->name, s->buffer, out_.function->buffers.size());
      break;
    case StmtKind::Seq:
    case StmtKind::Barrier: break;
    }
    for (const Stmt& c : s.children()) n.children.push_back(stmt(c));
    out_.nodes.push_back(std::move(n));
    return static_cast<uint32_t>(out_.nodes.size() - 1);
  }

  Code out_;
  bool in_double_;
  const std::vector<Function>* callees_;
  int32_t next_ = 0, most_registers_ = 1;
  std::map<int64_t, size_t> constant_at_;
  std::unordered_map<const ExprNode*, int> uses_;
  std::unordered_map<const ExprNode*, int32_t> memo_;
  std::unordered_map<const ExprNode*, std::pair<uint32_t, int32_t>> deferred_;
};

}  // namespace

Code compile(const Function& f, bool in_double, const std::vector<Function>* callees) {
  return Compiler(f, in_double, callees).run();
}

}  // namespace burnish::loop
