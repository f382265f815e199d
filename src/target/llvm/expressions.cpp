// Expressions. A value that is the same in all lanes stays a scalar until it meets one that is not, so that its
// broadcast folds into the instruction.
#include <llvm/IR/IntrinsicInst.h>

#include "target/llvm/codegen.h"
#include "target/llvm/integers.h"

namespace burnish::llvm_target {

namespace {

llvm::CmpInst::Predicate predicate_of(BinaryOp op, DType t) {
  using C = llvm::CmpInst;
  bool f = is_float(t), s = is_signed(t);
  if (op == BinaryOp::Eq) return f ? C::FCMP_OEQ : C::ICMP_EQ;
  if (op == BinaryOp::Ne) return f ? C::FCMP_UNE : C::ICMP_NE;
  if (op == BinaryOp::Lt) return f ? C::FCMP_OLT : s ? C::ICMP_SLT : C::ICMP_ULT;
  if (op == BinaryOp::Le) return f ? C::FCMP_OLE : s ? C::ICMP_SLE : C::ICMP_ULE;
  if (op == BinaryOp::Gt) return f ? C::FCMP_OGT : s ? C::ICMP_SGT : C::ICMP_UGT;
  return f ? C::FCMP_OGE : s ? C::ICMP_SGE : C::ICMP_UGE;
}

}  // namespace

void Codegen::each_lane(const std::function<void(int)>& f) {
  Binding lane = bindings_[lane_var_];
  auto outer = std::move(done_);  // values of all lanes
  vector_ = false;
  for (int l = 0; l < lanes_; ++l) {
    bindings_[lane_var_] = {.kind = Binding::Constant, .constant = lane.constant + l};
    done_.clear();
    f(l);
  }
  vector_ = true;
  done_ = std::move(outer);
  bindings_[lane_var_] = lane;
}

llvm::Value* Codegen::splat(llvm::Value* v) {
  if (auto* c = llvm::dyn_cast<llvm::Constant>(v)) {
    return llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(unsigned(lanes_)), c);
  }
  llvm::Value*& known = splats_[{v, lanes_}];
  if (known) return known;
  llvm::IRBuilderBase::InsertPointGuard back(builder_);
  // The low lanes of a wider broadcast cost nothing: 24 = 16 + 8 channels share one. The fence, which is no instruction,
  // keeps LLVM from reading the element a second time for the narrow half.
  auto wide = splats_.find({v, natural_lanes_});
  if (lanes_ < natural_lanes_ && wide != splats_.end() && v->getType()->isFloatingPointTy()) {
    auto* all = llvm::cast<llvm::Instruction>(wide->second);
    auto* fence = llvm::dyn_cast<llvm::IntrinsicInst>(all);
    if (!fence) {
      b().SetInsertPoint(all->getNextNode());
      fence = llvm::cast<llvm::IntrinsicInst>(b().CreateArithmeticFence(all, all->getType()));
      all->replaceUsesWithIf(fence, [&](llvm::Use& u) { return u.getUser() != fence; });
      wide->second = fence;
    }
    b().SetInsertPoint(fence->getNextNode());
    llvm::SmallVector<int, 16> low;
    for (int l = 0; l < lanes_; ++l) low.push_back(l);
    return known = b().CreateShuffleVector(fence, low);
  }
  if (auto* i = llvm::dyn_cast<llvm::Instruction>(v)) {
    if (llvm::isa<llvm::PHINode>(i)) {
      b().SetInsertPoint(i->getParent(), i->getParent()->getFirstNonPHIIt());
    } else if (i->getNextNode()) {
      b().SetInsertPoint(i->getNextNode());
    } else {
      b().SetInsertPoint(i->getParent());
    }
  } else {
    b().SetInsertPoint(entry_end_);
  }
  return known = b().CreateVectorSplat(unsigned(lanes_), v);
}

llvm::Value* Codegen::with_lanes(const Val& v) { return v.lanes ? v.v : splat(v.v); }

bool Codegen::match(Val& a, Val& c) {
  if (!a.lanes && !c.lanes) return false;
  a = {with_lanes(a), true};
  c = {with_lanes(c), true};
  return true;
}

void Codegen::count_uses(const Expr& e) {
  uses_.clear();
  needs_guard_.clear();
  visit(e, [&](const Expr& x) {
    for (const Expr& c : x.children()) ++uses_[c.get()];
  });
}

bool Codegen::used_once(const Expr& e) const {
  auto it = uses_.find(e.get());
  return it != uses_.end() && it->second == 1;
}

Val Codegen::gen(const Expr& e, const Guard& g) {
  check(bool(e), "{}: a missing expression", where());
  if (e.kind() == ExprKind::Const) return gen_const(e);
  auto key = std::pair(e.get(), std::pair(g.uniform, g.mask));
  if (auto it = done_.find(key); it != done_.end()) return it->second.v;
  Val v = gen_node(e, g);
  done_.insert_or_assign(key, Done{e, v});
  return v;
}

Val Codegen::gen_node(const Expr& e, const Guard& g) {
  switch (e.kind()) {
    case ExprKind::Const: return gen_const(e);
    case ExprKind::Affine: return lanes_of(e.index(), g);
    case ExprKind::Load: return gen_load(e.from(), e.indices()[0], g);
    case ExprKind::Acc: break;
    case ExprKind::Binary: return gen_binary(e, g);
    case ExprKind::Unary: return gen_unary(e, g);
    case ExprKind::Select: return gen_select(e, g);
    case ExprKind::Cast: return gen_cast(e, g);
    case ExprKind::Call: return gen_call(e, g);
  }
  throw_internal(fmt::format("{}: an accumulator is left in a loop program", where()), std::source_location::current());
}

Val Codegen::gen_const(const Expr& e) {
  llvm::Type* t = value_type(e.dtype(), false);
  if (is_float(e.dtype())) return {llvm::ConstantFP::get(t, e.number())};
  return {llvm::ConstantInt::get(t, uint64_t(e.integer()), is_signed(e.dtype()))};
}

// a*b + c as one operation where nothing else needs the product.
Val Codegen::gen_add(const Expr& e, const Guard& g) {
  bool sub = e.binary() == BinaryOp::Sub;
  auto sides = e.children();
  auto product = [&](const Expr& x) {
    return x.kind() == ExprKind::Binary && x.binary() == BinaryOp::Mul && used_once(x);
  };
  if (isa_.fma && (product(sides[0]) || product(sides[1]))) {
    bool second = product(sides[1]);
    const Expr& mul = sides[second];
    Val x = gen(mul.children()[0], g), y = gen(mul.children()[1], g), z = gen(sides[!second], g);
    bool lanes = x.lanes || y.lanes || z.lanes;
    if (lanes && !x.lanes && !y.lanes) {
      Val p{b().CreateFMul(x.v, y.v), false};
      match(p, z);
      if (!sub) return {b().CreateFAdd(p.v, z.v), true};
      return {second ? b().CreateFSub(z.v, p.v) : b().CreateFSub(p.v, z.v), true};
    }
    if (sub && second) (x.lanes ? x : y).v = b().CreateFNeg((x.lanes ? x : y).v);
    if (lanes) x.v = with_lanes(x), y.v = with_lanes(y), z.v = with_lanes(z);
    if (sub && !second) z.v = b().CreateFNeg(z.v);
    return {math_.fma(x.v, y.v, z.v), lanes};
  }
  Val x = gen(sides[0], g), y = gen(sides[1], g);
  bool lanes = match(x, y);
  return {sub ? b().CreateFSub(x.v, y.v) : b().CreateFAdd(x.v, y.v), lanes};
}

// x * sigmoid(x), where nothing else needs the sigmoid.
std::optional<Val> Codegen::gen_silu(const Expr& e, const Guard& g) {
  for (size_t i : {0, 1}) {
    const Expr &x = e.children()[i], &gate = e.children()[1 - i];
    if (gate.kind() != ExprKind::Unary || gate.unary() != UnaryOp::Sigmoid || !used_once(gate)) continue;
    if (!equal(gate.children()[0], x)) continue;
    const Val v = gen(x, g);
    if (!v.lanes) return {};
    llvm::Value* made = math_.silu(v.v);
    if (!made) return {};
    return Val{made, true};
  }
  return {};
}

Val Codegen::gen_binary(const Expr& e, const Guard& g) {
  DType t = e.children()[0].dtype();
  BinaryOp op = e.binary();
  if (e.dtype() == DType::Bool) {
    if (is_comparison(op) && t == DType::I64) {
      if (auto c = compare_indices(e)) {
        return c->known ? Val{b().getInt1(*c->known), false} : c->v;
      }
    }
    if (op == BinaryOp::And || op == BinaryOp::Or) {
      Condition c = condition(e, g);
      return c.known ? Val{b().getInt1(*c.known), false} : c.v;
    }
  }
  if (is_float(t) && (op == BinaryOp::Add || op == BinaryOp::Sub)) return gen_add(e, g);
  if (op == BinaryOp::Mul && t == DType::F32) {
    if (auto v = gen_silu(e, g)) return *v;
  }
  const Expr& second = e.children()[1];
  if (is_float(t) && op == BinaryOp::Pow && second.kind() == ExprKind::Const) {
    Val x = gen(e.children()[0], g);
    double p = second.number();
    if (p == 1) return x;
    if (p == 2) return {b().CreateFMul(x.v, x.v), x.lanes};
    if (p == 3) return {b().CreateFMul(b().CreateFMul(x.v, x.v), x.v), x.lanes};
    if (p == -1) return {b().CreateFDiv(llvm::ConstantFP::get(x.v->getType(), 1), x.v), x.lanes};
  }
  Val x = gen(e.children()[0], g), y = gen(second, g);
  bool lanes = match(x, y);
  auto done = [&](llvm::Value* v) { return Val{v, lanes}; };
  if (is_comparison(op)) {
    auto p = predicate_of(op, t);
    return done(is_float(t) ? b().CreateFCmp(p, x.v, y.v) : b().CreateICmp(p, x.v, y.v));
  }
  if (!is_float(t)) return done(gen_integer(b(), op, t, x.v, y.v));
  switch (op) {
    case BinaryOp::Mul: return done(b().CreateFMul(x.v, y.v));
    case BinaryOp::Div: return done(b().CreateFDiv(x.v, y.v));
    case BinaryOp::FloorDiv: return done(math_.floor(b().CreateFDiv(x.v, y.v)));
    case BinaryOp::Mod: return done(math_.fmod(x.v, y.v));
    case BinaryOp::FloorMod: {
      llvm::Value* m = math_.fmod(x.v, y.v);
      llvm::Value* zero = llvm::Constant::getNullValue(m->getType());
      llvm::Value* differ = b().CreateXor(b().CreateFCmpOLT(m, zero), b().CreateFCmpOLT(y.v, zero));
      llvm::Value* fix = b().CreateAnd(differ, b().CreateFCmpUNE(m, zero));
      return done(b().CreateSelect(fix, b().CreateFAdd(m, y.v), m));
    }
    case BinaryOp::Min: return done(math_.min(x.v, y.v));
    case BinaryOp::Max: return done(math_.max(x.v, y.v));
    case BinaryOp::Pow: return done(math_.pow(x.v, y.v));
    case BinaryOp::Add:
    case BinaryOp::Sub:
    case BinaryOp::Eq:
    case BinaryOp::Ne:
    case BinaryOp::Lt:
    case BinaryOp::Le:
    case BinaryOp::Gt:
    case BinaryOp::Ge:
    case BinaryOp::And:
    case BinaryOp::Or:
    case BinaryOp::Xor:
    case BinaryOp::Shl:
    case BinaryOp::Shr: break;
  }
  throw_internal(fmt::format("{}: {} of {}", where(), name_of(op), name_of(t)), std::source_location::current());
}

llvm::Value* Codegen::combine(BinaryOp op, llvm::Value* x, llvm::Value* y) {
  if (op == BinaryOp::Add) return b().CreateFAdd(x, y);
  if (op == BinaryOp::Mul) return b().CreateFMul(x, y);
  check(op == BinaryOp::Min || op == BinaryOp::Max, "{}: a reduction by {}", where(), name_of(op));
  return op == BinaryOp::Min ? math_.min(x, y) : math_.max(x, y);
}

Val Codegen::gen_unary(const Expr& e, const Guard& g) {
  DType t = e.children()[0].dtype();
  Val x = gen(e.children()[0], g);
  llvm::Value* v = is_float(t) ? math_.unary(e.unary(), x.v) : gen_integer(b(), e.unary(), t, x.v);
  return {v, x.lanes};
}

// Does it read a place that intervals do not show to be inside its buffer?
bool Codegen::needs_guard(const Expr& e) {
  auto [it, is_new] = needs_guard_.try_emplace(e.get(), false);
  if (!is_new) return it->second;
  bool needs = false;
  if (e.kind() == ExprKind::Load && !in_registers(e.from())) {
    Interval at = ranges_.bounds(simplified(e.indices()[0]));
    needs = at.lo < 0 || at.hi >= f_.buffers[e.from()].size;
  }
  for (const Index& i : e.indices()) {
    for (const Atom& atom : i.atoms) needs |= atom.value && needs_guard(atom.value);
  }
  for (const Expr& c : e.children()) needs |= needs_guard(c);
  return needs_guard_[e.get()] = needs;
}

Val Codegen::gen_select(const Expr& e, const Guard& g) {
  Condition c = condition(e.children()[0], g);
  const Expr &then = e.children()[1], &otherwise = e.children()[2];
  if (c.known) return gen(*c.known ? then : otherwise, g);
  bool plain_guard = !g.uniform && !g.mask;  // else the outer guard decides what is read here
  if (plain_guard && then.kind() == ExprKind::Load && otherwise.kind() == ExprKind::Const &&
      !in_registers(then.from())) {
    return gen_load(then.from(), then.indices()[0], both(g, c, false), &otherwise);
  }
  // Without a load that needs it there is no guard, so that arms which share parts share their code.
  Val x = gen(then, needs_guard(then) ? both(g, c, false) : Guard{});
  Val y = gen(otherwise, needs_guard(otherwise) ? both(g, c, true) : Guard{});
  bool lanes = match(x, y) || c.v.lanes;
  if (lanes) x.v = with_lanes(x), y.v = with_lanes(y);
  return {b().CreateSelect(c.v.v, x.v, y.v), lanes};
}

Val Codegen::gen_cast(const Expr& e, const Guard& g) {
  const Expr& from = e.children()[0];
  Val x = gen(from, g);
  DType s = from.dtype(), t = e.dtype();
  llvm::Type* to = value_type(t, x.lanes);
  llvm::Value* v = x.v;
  const bool narrow = is_float(t) && (size_of(t) == 2 || t == DType::TF32);  // computed as f32
  if (is_float(s)) {
    if (is_float(t)) {
      if (narrow) {
        if (s == DType::F64) v = b().CreateFPTrunc(v, value_type(DType::F32, x.lanes));
        v = from_memory(t, to_memory(t, v));
      } else if (v->getType() != to) {
        v = t == DType::F64 ? b().CreateFPExt(v, to) : b().CreateFPTrunc(v, to);
      }
    } else if (t == DType::Bool) {
      v = b().CreateFCmpUNE(v, llvm::Constant::getNullValue(v->getType()));
    } else {
      auto id = is_signed(t) ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat;
      v = b().CreateIntrinsic(id, {to, v->getType()}, {v});
    }
  } else if (is_float(t)) {
    llvm::Type* wide = narrow ? value_type(DType::F32, x.lanes) : to;
    v = is_signed(s) ? b().CreateSIToFP(v, wide) : b().CreateUIToFP(v, wide);
    if (narrow) v = from_memory(t, to_memory(t, v));
  } else if (t == DType::Bool) {
    v = b().CreateICmpNE(v, llvm::Constant::getNullValue(v->getType()));
  } else {
    v = is_signed(s) ? b().CreateSExtOrTrunc(v, to) : b().CreateZExtOrTrunc(v, to);
  }
  return {v, x.lanes};
}

Val Codegen::gen_call(const Expr& e, const Guard& g) {
  if (e.callee() == "fma" && e.children().size() == 3) {
    Val x = gen(e.children()[0], g), y = gen(e.children()[1], g), z = gen(e.children()[2], g);
    bool lanes = x.lanes || y.lanes || z.lanes;
    if (lanes) x.v = with_lanes(x), y.v = with_lanes(y), z.v = with_lanes(z);
    return {math_.fma(x.v, y.v, z.v), lanes};
  }
  fail_unsupported("{}: the intrinsic {} of {} arguments has no code for CPUs", where(), e.callee(),
                   e.children().size());
}

}  // namespace burnish::llvm_target
