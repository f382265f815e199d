// Which axis of a group's output does what in a register tile.
#include <algorithm>
#include <numeric>

#include "target/roles.h"

namespace burnish {

namespace {

bool reads(const Stage& s, StageId from) {
  bool found = false;
  for (const Expr& e : expressions(s)) {
    visit(e, [&](const Expr& x) { found |= x.kind() == ExprKind::Load && x.from() == from; });
  }
  return found;
}

}  // namespace

bool moves(const Index& i, VarId v) {
  return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& atom) {
           return atom.value || atom.a.slope(v) != 0;
         });
}

namespace {

bool steps_with(const Atom& atom, VarId v) {
  return !atom.value && atom.a == Aff::of(v) && atom.div > 1 && atom.mod == 0;
}

}  // namespace

bool moves_in_vector(const Index& i, VarId v) {
  return i.a.slope(v) != 0 || std::ranges::any_of(i.atoms, [&](const Atom& atom) {
           return atom.value || (atom.a.slope(v) != 0 && !steps_with(atom, v));
         });
}

bool reads_pointwise(const Stage& s, StageId from, const Stage& producer) {
  if (producer.axes.size() != s.axes.size()) return false;
  bool pointwise = true;
  for (const Expr& e : expressions(s)) {
    visit(e, [&](const Expr& x) {
      if (x.kind() != ExprKind::Load || x.from() != from) return;
      for (size_t i = 0; i < s.axes.size(); ++i) {
        const Index& index = x.indices()[i];
        const bool only = s.axes[i].extent == 1 && index.a == Aff(0);
        pointwise &= index.is_affine() && (only || index.a == Aff::of(s.axes[i].var));
      }
    });
  }
  for (size_t i = 0; i < s.axes.size(); ++i) pointwise &= s.axes[i].extent == producer.axes[i].extent;
  return pointwise;
}

std::vector<uint32_t> physical_order(const Stage& s) {
  std::vector<uint32_t> order;
  for (const PhysicalDim& d : physical(s.layout, s.shape())) {
    if (std::find(order.begin(), order.end(), d.dim.axis) == order.end()) order.push_back(d.dim.axis);
  }
  return order;
}

namespace {

Roles roles_with(const Schedule& s, StageId out, StageId sum) {
  const StageGroup& g = s.group();
  const Stage& o = g[out];
  Roles r{.out = out, .acc = sum};
  std::vector<uint32_t> order = physical_order(o);
  std::erase_if(order, [&](uint32_t a) { return o.axes[a].extent == 1; });
  for (uint32_t a = 0; a < o.axes.size(); ++a) {
    if (o.axes[a].extent == 1) r.unit.push_back(a);
  }
  if (order.empty()) {
    order.push_back(r.unit.back());
    r.unit.pop_back();
  }
  r.vector = order.back();
  order.pop_back();
  if (!order.empty()) {
    r.tile = order.back();
    order.pop_back();
  }
  const Stage& acc = g[r.acc];
  const VarId lanes = acc.axes[r.vector].var;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    r.broadcast |= std::ranges::all_of(
        x.indices(), [&](const Index& i) { return !moves_in_vector(i, lanes); });
    for (const Index& i : x.indices()) {
      for (const Atom& atom : i.atoms) {
        if (steps_with(atom, lanes)) r.grouped = std::gcd(r.grouped, atom.div);
      }
    }
  });
  constexpr int64_t narrowest = 4;  // shorter vectors than that are not worth their instructions
  if (r.grouped % narrowest != 0) r.broadcast = false, r.grouped = 0;
  r.outer = std::move(order);
  return r;
}

}  // namespace

std::vector<Roles> roles_of_sums(const Schedule& s, StageId out) {
  const StageGroup& g = s.group();
  const Stage& o = g[out];
  if (o.axes.empty()) return {};  // a scalar: nothing to tile
  if (o.is_reduction()) return {roles_with(s, out, out)};
  std::vector<Roles> all;
  for (StageId p = 0; p < g.stages.size(); ++p) {
    if (!g[p].is_compute() || p == out || !reads(o, p)) continue;
    if (!g[p].is_reduction() || !reads_pointwise(o, p, g[p])) return {};
    all.push_back(roles_with(s, out, p));
  }
  return all;
}

std::optional<Roles> roles_of(const Schedule& s, StageId out) {
  std::vector<Roles> all = roles_of_sums(s, out);
  return all.size() == 1 ? std::optional(std::move(all[0])) : std::nullopt;
}

int64_t points(const std::vector<Axis>& axes) {
  int64_t n = 1;
  for (const Axis& a : axes) n *= a.extent;
  return n;
}

std::vector<std::string> names(const std::vector<Axis>& axes, const std::vector<uint32_t>& which) {
  std::vector<std::string> out;
  for (uint32_t a : which) out.push_back(axes[a].name);
  return out;
}

bool lowers(const Schedule& s) { return !s.failure() && lower(s).ok(); }

}  // namespace burnish
