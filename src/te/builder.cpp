#include "te/builder.h"

#include "base/error.h"

namespace burnish {
namespace {

std::vector<Aff> vars_of(const std::vector<Axis>& axes) {
  std::vector<Aff> out;
  out.reserve(axes.size());
  for (const Axis& a : axes) out.push_back(Aff::of(a.var));
  return out;
}

}  // namespace

std::vector<Axis> GroupBuilder::make_axes(std::vector<NamedExtent> axes) {
  std::vector<Axis> out;
  out.reserve(axes.size());
  for (NamedExtent& a : axes) {
    check(a.extent >= 0, "axis {} has the extent {}", a.name, a.extent);
    VarId var = group_.fresh(a.name);
    out.push_back({std::move(a.name), var, a.extent});
  }
  return out;
}

StageId GroupBuilder::input(std::string name, DType t, std::vector<NamedExtent> axes,
                            Layout layout) {
  Stage s;
  s.name = std::move(name);
  s.kind = StageKind::Input;
  s.dtype = t;
  s.axes = make_axes(std::move(axes));
  s.layout = std::move(layout);
  StageId id = group_.add(std::move(s));
  group_.inputs.push_back(id);
  return id;
}

StageId GroupBuilder::constant(std::string name, DType t, std::vector<NamedExtent> axes,
                               Layout layout) {
  StageId id = input(std::move(name), t, std::move(axes), std::move(layout));
  group_[id].kind = StageKind::Constant;
  return id;
}

StageId GroupBuilder::compute(std::string name, DType t, std::vector<NamedExtent> axes,
                              const std::function<Expr(AxisVars)>& body) {
  Stage s;
  s.name = std::move(name);
  s.dtype = t;
  s.axes = make_axes(std::move(axes));
  s.body = body(vars_of(s.axes));
  check(s.body.dtype() == t, "stage {} is {} but its formula is {}", s.name, name_of(t),
        name_of(s.body.dtype()));
  return group_.add(std::move(s));
}

StageId GroupBuilder::reduce(std::string name, DType t, std::vector<NamedExtent> axes,
                             std::vector<NamedExtent> raxes, Combine op,
                             const std::function<Expr(AxisVars, AxisVars)>& body,
                             const std::function<Expr(AxisVars)>& init) {
  Stage s;
  s.name = std::move(name);
  s.dtype = t;
  s.op = op;
  s.axes = make_axes(std::move(axes));
  s.raxes = make_axes(std::move(raxes));
  std::vector<Aff> vars = vars_of(s.axes);
  s.body = body(vars, vars_of(s.raxes));
  if (init) s.init = init(vars);
  check(s.body.dtype() == t, "stage {} is {} but its formula is {}", s.name, name_of(t),
        name_of(s.body.dtype()));
  return group_.add(std::move(s));
}

Expr GroupBuilder::at(StageId s, std::vector<Index> indices, Expr fill) const {
  check(s < group_.stages.size(), "load of stage {} of {}", s, group_.stages.size());
  const Stage& from = group_[s];
  check(indices.size() == from.axes.size(), "stage {} has {} axes but is loaded with {} indices",
        from.name, from.axes.size(), indices.size());
  return load(from.dtype, s, std::move(indices), std::move(fill));
}

std::string GroupBuilder::unique(std::string base) const {
  if (!group_.named(base)) return base;
  for (int i = 1;; ++i) {
    std::string name = base + "." + std::to_string(i);
    if (!group_.named(name)) return name;
  }
}

}  // namespace burnish
