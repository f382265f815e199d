// Substitution of variables by positions that need not be affine (a producer read at x / 2 is
// inlined).
#pragma once

#include <map>

#include "expr/expr.h"

namespace burnish::schedule {

Index minus(int64_t c, const Index& i);  // c - i
Index substitute_index(const Index& i, const std::map<VarId, Index>& becomes);
Expr substitute_indices(const Expr& e, const std::map<VarId, Index>& becomes);

}  // namespace burnish::schedule
