// Random functions: any statement, any nesting, valid text but not necessarily valid programs.
#pragma once

#include "../expr/random_expr.h"
#include "loop/program.h"

namespace burnish::test {

class RandomFunction {
 public:
  explicit RandomFunction(uint64_t seed) : rng_(seed, 1, {DType::F32}, false) {}

  Function make() {
    Function f;
    f.name = rng_.chance(20) ? "odd name" : "f";
    int64_t buffers = rng_.pick(2, 6);
    for (int64_t i = 0; i < buffers; ++i) {
      Buffer b;
      b.name = rng_.chance(20) ? "for" : rng_.chance(30) ? "B" : "b" + std::to_string(i);
      b.dtype = DType(rng_.pick(0, 12));
      b.scope = i < 2 ? Scope::Param : Scope(rng_.pick(1, 4));
      b.size = rng_.pick(0, 5000);
      b.written = i == 1;
      if (rng_.chance(10)) b.align = 128;
      f.add_buffer(b);
      types_.push_back(b.dtype);
    }
    if (rng_.chance(20)) std::swap(f.params[0], f.params[1]);
    int64_t vars = rng_.pick(1, 6);
    for (int64_t i = 0; i < vars; ++i) f.fresh(rng_.chance(30) ? "y" : "v" + std::to_string(i));
    exprs_ = std::make_unique<RandomExpr>(uint64_t(rng_.pick(0, 1 << 30)), uint32_t(vars), types_,
                                          false);
    f_ = &f;
    f.body = statement(5);
    return f;
  }

 private:
  Aff bound_of(VarId v) {
    Aff a = exprs_->aff();
    a.add(v, -a.slope(v));
    return a;
  }
  VarId var() { return VarId(rng_.pick(0, int64_t(f_->vars.size()) - 1)); }
  BufferId buffer(int64_t from = 0) {
    return BufferId(rng_.pick(from, int64_t(f_->buffers.size()) - 1));
  }

  Stmt store() {
    BufferId b = buffer();
    return make_store(b, exprs_->index(2), exprs_->of(types_[b], 3));
  }

  Stmt statement(int depth) {
    if (depth == 0) return store();
    switch (rng_.pick(0, 9)) {
    case 0: return make_let(var(), exprs_->index(1), statement(depth - 1));
    case 1: return make_alloc(buffer(), statement(depth - 1));
    case 2: return make_if(exprs_->of(DType::Bool, 2), statement(depth - 1));
    case 3: return make_if(exprs_->of(DType::Bool, 2), statement(depth - 1), statement(depth - 1));
    case 4: return make_while(exprs_->of(DType::Bool, 2), statement(depth - 1));
    case 5: return rng_.chance(50) ? make_barrier() : make_call("g h", {exprs_->of(DType::I32, 2)});
    case 6: {
      std::vector<Stmt> all;
      for (int64_t n = rng_.pick(0, 3); n > 0; --n) all.push_back(statement(depth - 1));
      return make_seq(all);
    }
    case 7: return store();
    default: {
      ForStmt loop{.var = var(),
                   .kind = LoopKind(rng_.pick(0, 3)),
                   .extent = rng_.pick(0, 50),
                   .lower = {},
                   .upper = {}};
      while (rng_.chance(40)) loop.lower.push_back({bound_of(loop.var), rng_.pick(1, 3)});
      while (rng_.chance(40)) loop.upper.push_back({bound_of(loop.var), rng_.pick(1, 3)});
      return make_for(loop, statement(depth - 1));
    }
    }
  }

  RandomExpr rng_;
  std::unique_ptr<RandomExpr> exprs_;
  std::vector<DType> types_;
  Function* f_ = nullptr;
};

}  // namespace burnish::test
