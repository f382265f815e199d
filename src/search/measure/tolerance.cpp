#include "search/measure/tolerance.h"

#include <algorithm>
#include <cmath>

namespace burnish::search {

namespace {

double epsilon(DType t) {
  switch (t) {
    case DType::BF16: return 0x1p-8;
    case DType::F16: case DType::TF32: return 0x1p-11;
    case DType::F64: return 0x1p-53;
    case DType::F32: case DType::Bool: case DType::I8: case DType::U8: case DType::I16: case DType::U16:
    case DType::I32: case DType::U32: case DType::I64: case DType::U64: break;
  }
  return 0x1p-24;
}

bool makes_steps(const Expr& e) {
  if (e.kind() == ExprKind::Cast) return is_float(e.children()[0].dtype()) && !is_float(e.dtype());
  if (e.kind() != ExprKind::Unary || !is_float(e.children()[0].dtype())) return false;
  const UnaryOp op = e.unary();
  return op == UnaryOp::Floor || op == UnaryOp::Ceil || op == UnaryOp::Round || op == UnaryOp::Trunc ||
         op == UnaryOp::Sign;
}

}  // namespace

Tolerance tolerance_of(const StageGroup& g, double factor_epsilon) {
  double terms = 0, finest = 0x1p-53, coarse = 0;
  bool steps = false, floats = false;
  for (const Stage& s : g.stages) {
    if (s.is_compute() && s.op != Combine::None && (s.op == Combine::Sum || s.op == Combine::Prod)) {
      double n = 1;
      for (const Axis& a : s.raxes) n *= static_cast<double>(a.extent);
      terms += n;
    }
    if (is_float(s.dtype)) {
      floats = true;
      const double eps = epsilon(s.dtype);
      if (eps > 0x1p-24) coarse = std::max(coarse, eps);
      else finest = std::max(finest, eps);
    }
    for (const Expr& e : expressions(s)) {
      if (e) visit(e, [&](const Expr& x) {
        steps |= makes_steps(x);
        floats |= is_float(x.dtype());
        if (is_float(x.dtype())) finest = std::max(finest, std::min(epsilon(x.dtype()), 0x1p-24));
      });
    }
  }
  if (!floats) return {};
  return {.relative = 64 * finest * std::sqrt(1 + terms) + 4 * coarse + (terms > 0 ? 16 * factor_epsilon : 0), .outliers = steps ? 1e-3 : 0};
}

}  // namespace burnish::search
