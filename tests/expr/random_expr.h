// Random expressions with sharing, of every kind.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "expr/expr.h"

namespace burnish::test {

class RandomExpr {
 public:
  using Rng = std::mt19937_64;
  RandomExpr(uint64_t seed, uint32_t vars, std::vector<DType> froms, bool te)
      : rng_(seed), vars_(vars), froms_(std::move(froms)), te_(te) {}

  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng_);
  }
  bool chance(int percent) { return pick(1, 100) <= percent; }

  Aff aff() {
    Aff a(chance(50) ? pick(-9, 9) : 0);
    for (int64_t n = pick(0, 3); n > 0; --n) a.add(VarId(pick(0, vars_ - 1)), pick(-20, 20));
    return a;
  }

  Index index(int depth) {
    Index i(aff());
    while (chance(25)) {
      Atom x;
      x.a = aff();
      x.div = chance(50) ? pick(1, 7) : 1;
      x.mod = chance(50) ? pick(1, 9) : 0;
      x.scale = pick(-5, 5);
      if (depth > 0 && chance(40)) x.value = of(chance(50) ? DType::I64 : DType::I32, depth - 1);
      i.atoms.push_back(x);
    }
    return i;
  }

  Expr leaf(DType t) {
    if (t == DType::I64 && chance(40)) return affine(index(0));
    if (is_float(t)) {
      if (chance(5)) return constant(INFINITY, t);
      if (chance(5)) return constant(chance(50) ? NAN : -NAN, t);
      if (chance(5)) return constant(-0.0, t);
      double v = std::ldexp(double(pick(-1000000, 1000000)) / 7, int(pick(-30, 30)));
      if (t == DType::F16 && std::isinf(constant(v, t).number())) v = 0.1;
      return constant(v, t);
    }
    return constant_int(int64_t(rng_()) >> pick(0, 63), t);
  }

  Expr load_of(DType t, int depth) {
    uint32_t from = uint32_t(pick(0, int64_t(froms_.size()) - 1));
    if (!te_) {
      DType is = froms_[from];
      return cast(t, load(is, from, {index(depth)}));
    }
    std::vector<Index> indices;
    for (int64_t n = pick(0, 3); n > 0; --n) indices.push_back(index(depth));
    return load(t, from, indices, chance(30) ? of(t, depth) : Expr());
  }

  Expr of(DType t, int depth) {
    if (!made_.empty() && chance(30)) {
      const Expr& again = made_[size_t(pick(0, int64_t(made_.size()) - 1))];
      if (again.dtype() == t) return again;
    }
    Expr e = depth <= 0 ? leaf(t) : node(t, depth - 1);
    made_.push_back(e);
    return e;
  }

 private:
  Expr node(DType t, int depth) {
    switch (pick(0, 7)) {
    case 0: return leaf(t);
    case 1: return load_of(t, depth);
    case 2: return select(of(DType::Bool, depth), of(t, depth), of(t, depth));
    case 3: return cast(t, of(DType(pick(0, 12)), depth));
    case 4: return te_ && chance(50) ? acc(t) : call(t, "fma", {of(t, depth), of(t, depth)});
    case 5:
      if (t == DType::Bool) return unary(UnaryOp::IsNan, of(DType::F32, depth));
      return unary(is_float(t) ? UnaryOp(pick(3, 25)) : UnaryOp(pick(0, 2)), of(t, depth));
    default: {
      if (t == DType::Bool) {
        DType s = DType(pick(0, 12));
        auto op = BinaryOp(pick(int(BinaryOp::Eq), int(BinaryOp::Ge)));
        return binary(op, of(s, depth), of(s, depth));
      }
      auto last = is_float(t) ? int(BinaryOp::Pow) : int(BinaryOp::Shr);
      int op = int(pick(0, last));
      if (is_comparison(BinaryOp(op))) op = int(BinaryOp::Xor);
      return binary(BinaryOp(op), of(t, depth), of(t, depth));
    }
    }
  }

  Rng rng_;
  uint32_t vars_;
  std::vector<DType> froms_;
  bool te_;
  std::vector<Expr> made_;
};

}  // namespace burnish::test
