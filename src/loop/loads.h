// Loads of a statement.
#pragma once

#include "loop/stmt.h"

namespace burnish {

// Calls f(load) for every load of the statement itself: of its value or condition, its place and its arguments. Not of those inside.
template <class F> void visit_loads(const Stmt& s, const F& f) {
  const auto look = [&](const Expr& root) {
    if (!root) return;
    visit(root, [&](const Expr& e) {
      if (e.kind() == ExprKind::Load) f(e);
    });
  };
  look(s->value);
  for (const Atom& a : s->index.atoms) look(a.value);
  for (const Expr& a : s->args) look(a);
}

}  // namespace burnish
