// Which stages are computed again where they are read, instead of being stored.
#include "target/roles.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace burnish {

// Work of one element: a transcendental function counts like twenty additions.
int64_t cost(const Expr& e) {
  int64_t sum = 0;
  visit(e, [&](const Expr& x) {
    if (x.kind() == ExprKind::Unary) {
      sum += x.unary() >= UnaryOp::Exp && x.unary() <= UnaryOp::Atanh && x.unary() != UnaryOp::Sqrt ? 20 : 1;
    } else if (x.kind() == ExprKind::Binary) {
      sum += x.binary() == BinaryOp::Pow ? 40 : x.binary() == BinaryOp::Div ? 4 : 1;
    }
  });
  return sum;
}

namespace {

bool is_output(const StageGroup& g, StageId s) {
  return std::find(g.outputs.begin(), g.outputs.end(), s) != g.outputs.end();
}

std::vector<StageId> consumers_of(const StageGroup& g, StageId s) {
  std::vector<StageId> all;
  for (StageId c = 0; c < g.stages.size(); ++c) {
    if (c == s || !g[c].is_compute()) continue;
    for (StageId p : producers(g, c)) {
      if (p == s) {
        all.push_back(c);
        break;
      }
    }
  }
  return all;
}

// How often the consumers evaluate an element of `s` on average if it is inlined.
double repeats(const StageGroup& g, StageId s) {
  double reads = 0;
  for (StageId c : consumers_of(g, s)) {
    for (const Expr& e : expressions(g[c])) {
      visit(e, [&](const Expr& x) {
        if (x.kind() != ExprKind::Load || x.from() != s) return;
        reads += static_cast<double>(points(g[c].axes)) * static_cast<double>(points(g[c].raxes));
      });
    }
  }
  return reads / static_cast<double>(points(g[s].axes));
}

// A reduction's epilogue whose values are reduced again (conv, relu, conv): stored once it is finished, not finished
// anew for every element of a window.
bool finishes_reduction_for_another(const StageGroup& g, StageId s) {
  const auto is_reduction = [&](StageId p) { return g[p].is_compute() && g[p].is_reduction(); };
  // Through what widens it where it is read.
  const auto is_reduced = [&](StageId p) {
    const Expr& e = g[p].body;
    const bool widens = !g[p].is_reduction() && e.kind() == ExprKind::Cast && e.children()[0].kind() == ExprKind::Load &&
                        size_of(e.dtype()) > size_of(e.children()[0].dtype());
    return is_reduction(p) || (widens && std::ranges::any_of(consumers_of(g, p), is_reduction));
  };
  const auto finished = [&](StageId p) {
    return p != s && is_reduction(p) && g[p].axes.size() == g[s].axes.size() && points(g[p].axes) == points(g[s].axes);
  };
  return std::ranges::any_of(producers(g, s), finished) && std::ranges::any_of(consumers_of(g, s), is_reduced);
}

// It reads a reduction at several points (the transform of products): a nest of its own beside the reduction's.
bool combines_reduced_points(const StageGroup& g, StageId s) {
  std::map<StageId, Expr> loads;
  bool several = false;
  for (const Expr& e : expressions(g[s])) {
    visit(e, [&](const Expr& x) {
      if (x.kind() != ExprKind::Load || !g[x.from()].is_compute() || !g[x.from()].is_reduction()) return;
      several |= !equal(loads.emplace(x.from(), x).first->second, x);
    });
  }
  return several;
}

}  // namespace

// Inlines every stage that costs less to compute again than to store and load.
void inline_cheap(Schedule& s) {
  bool again = true;
  while (again) {
    again = false;
    const StageGroup& g = s.group();
    for (StageId p = 0; p < g.stages.size(); ++p) {
      const Stage& stage = g[p];
      if (!stage.is_compute() || stage.is_reduction() || stage.scan || is_output(g, p)) continue;
      if (finishes_reduction_for_another(g, p) || combines_reduced_points(g, p)) continue;
      if (static_cast<double>(cost(stage.body)) * (repeats(g, p) - 1) > 8) continue;
      if (s.apply(step::Inline{stage.name})) {
        again = true;
        break;
      }
    }
  }
}

}  // namespace burnish
