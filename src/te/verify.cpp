// The invariants of stages, checked after every pass that makes or changes them.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "te/stage.h"

namespace burnish {
namespace {

class Verifier {
 public:
  explicit Verifier(const StageGroup& g) : g_(g) {}

  void run() {
    std::set<std::string> names;
    for (StageId s = 0; s < g_.stages.size(); ++s) {
      const Stage& t = g_[s];
      check(!t.name.empty() && names.insert(t.name).second, "group {}: two stages are called '{}'",
            g_.name, t.name);
      stage(s);
    }
    for (StageId s : g_.inputs)
      check(s < g_.stages.size() && !g_[s].is_compute(), "group {}: input {} is no input stage",
            g_.name, s);
    for (StageId s = 0; s < g_.stages.size(); ++s)
      check(g_[s].is_compute() || std::count(g_.inputs.begin(), g_.inputs.end(), s) == 1,
            "group {}: {} has to be listed once among the inputs", g_.name, g_[s].name);
    check(!g_.outputs.empty(), "group {} has no outputs", g_.name);
    std::set<StageId> outputs;
    for (StageId s : g_.outputs)
      check(s < g_.stages.size() && g_[s].is_compute() && outputs.insert(s).second,
            "group {}: output {} is no computed stage, or is listed twice", g_.name, s);
  }

 private:
  void stage(StageId s) {
    const Stage& t = g_[s];
    std::set<std::string> axes;
    vars_.clear();
    int64_t elements = 1;
    for (const auto* list : {&t.axes, &t.raxes})
      for (const Axis& a : *list) {
        check(axes.insert(a.name).second, "{} has two axes called {}", t.name, a.name);
        check(a.extent > 0, "axis {}.{} has the extent {}", t.name, a.name, a.extent);
        check(a.var < g_.vars.size(), "axis {}.{} has no variable", t.name, a.name);
        check(vars_.insert(a.var).second, "axis {}.{} shares its variable with another", t.name,
              a.name);
      }
    for (const Axis& a : t.axes)
      check(!__builtin_mul_overflow(elements, a.extent, &elements),
            "{} has more than 2^63 elements", t.name);
    for (const LayoutDim& d : t.layout)
      check(d.axis < t.axes.size() && d.div >= 1 && d.mod >= 0 && d.pad >= 0,
            "{} has a layout of axis {}", t.name, d.axis);
    if (!t.is_compute()) {
      check(!t.body && !t.init && !t.finish && t.raxes.empty() && !t.is_reduction() && !t.scan,
            "{} is an input and has a formula", t.name);
      return;
    }
    check(bool(t.body), "{} has no formula", t.name);
    check(t.is_reduction() || t.raxes.empty(), "{} has reduce axes but combines nothing", t.name);
    check(t.is_reduction() || !t.init, "{} has an init but combines nothing", t.name);
    check(!t.scan || *t.scan < t.axes.size(), "{} scans along an axis that it does not have",
          t.name);
    check(t.body.dtype() == t.dtype, "{} is {} but its formula is {}", t.name, name_of(t.dtype),
          name_of(t.body.dtype()));
    expression(s, t.body, true, false);
    if (t.init) {
      check(t.init.dtype() == t.dtype, "{} is {} but its init is {}", t.name, name_of(t.dtype),
            name_of(t.init.dtype()));
      expression(s, t.init, false, false);
    }
    if (t.finish) {
      check(t.finish.dtype() == t.dtype, "{} is {} but its finish is {}", t.name, name_of(t.dtype),
            name_of(t.finish.dtype()));
      expression(s, t.finish, false, true);
    }
  }

  void expression(StageId s, const Expr& root, bool reduce, bool finish) {
    const Stage& t = g_[s];
    std::set<VarId> known;
    for (const Axis& a : t.axes) known.insert(a.var);
    if (reduce)
      for (const Axis& a : t.raxes) known.insert(a.var);
    auto affine_form = [&](const Aff& a) {
      for (const Term& term : a.terms)
        check(known.count(term.var) == 1, "{} uses a variable that is none of its axes", t.name);
    };
    auto position = [&](const Index& i) {
      affine_form(i.a);
      for (const Atom& a : i.atoms) {
        affine_form(a.a);
        check(a.div >= 1 && a.mod >= 0, "{} divides an index by {} modulo {}", t.name, a.div,
              a.mod);
      }
    };
    visit(root, [&](const Expr& e) {
      switch (e.kind()) {
      case ExprKind::Load: load_of(s, e); [[fallthrough]];
      case ExprKind::Affine:
        for (const Index& i : e.kind() == ExprKind::Load ? e.indices() : std::span(&e.index(), 1))
          position(i);
        break;
      case ExprKind::Acc:
        check(finish, "{} uses the accumulator outside its finish", t.name);
        check(e.dtype() == t.dtype, "{} has an accumulator of another type", t.name);
        break;
      case ExprKind::Const:
      case ExprKind::Binary:
      case ExprKind::Unary:
      case ExprKind::Select:
      case ExprKind::Cast:
      case ExprKind::Call: break;
      }
    });
  }

  // A load of this stage or of a later one is a recurrence: it reads an earlier step of the axis
  // that the stage scans along (the sum inside a recurrence begins at the recurrence's previous
  // value).
  void load_of(StageId s, const Expr& e) {
    const Stage& t = g_[s];
    check(e.from() < g_.stages.size(), "{} loads stage {} of {}", t.name, e.from(),
          g_.stages.size());
    const Stage& p = g_[e.from()];
    check(e.indices().size() == p.axes.size(), "{} loads {} with {} indices of {}", t.name, p.name,
          e.indices().size(), p.axes.size());
    check(e.dtype() == p.dtype, "{} loads {} as {}, it is {}", t.name, p.name, name_of(e.dtype()),
          name_of(p.dtype));
    if (e.fill())
      check(e.fill().dtype() == e.dtype(), "{} loads {} with a fill of another type", t.name,
            p.name);
    if (e.from() < s) return;
    check(p.scan.has_value(), "{} loads {}, which does not come before it", t.name, p.name);
    const Index& i = e.indices()[*p.scan];
    bool earlier =
        i.is_affine() && i.a.terms.size() == 1 && i.a.terms[0].k == 1 && i.a.c == -1 && e.fill();
    check(earlier, "{} loads {} along {} at another place than the previous one", t.name, p.name,
          p.axes[*p.scan].name);
  }

  const StageGroup& g_;
  std::set<VarId> vars_;
};

}  // namespace

void verify(const StageGroup& g) { Verifier(g).run(); }

}  // namespace burnish
