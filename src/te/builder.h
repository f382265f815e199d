// Writing formulas in C++: what operators' `compute` functions use.
//
//   Group b("conv");
//   auto x = b.input("X", DType::F32, {{"n", N}, {"c", C}, {"y", H}, {"x", W}});
//   auto o = b.stage("conv.acc", DType::F32, {{"n", N}, {"k", K}, {"y", Ho}, {"x", Wo}}, {{"c", C}, {"ky", 3}, {"kx", 3}},
//                    Combine::Sum, [&](auto a, auto r) { return x(a[0], r[0], a[2]*s + r[1] - p, …, fill) * w(a[1], …); });
#pragma once

#include <functional>
#include <span>
#include <utility>

#include "te/stage.h"

namespace burnish {

struct NamedExtent {
  std::string name;
  int64_t extent;
};

using AxisVars = std::span<const Aff>;

class GroupBuilder {
 public:
  explicit GroupBuilder(std::string name) { group_.name = std::move(name); }

  StageId input(std::string name, DType t, std::vector<NamedExtent> axes, Layout layout = {});
  StageId constant(std::string name, DType t, std::vector<NamedExtent> axes, Layout layout = {});

  // out[axes] = body(axes)
  StageId compute(std::string name, DType t, std::vector<NamedExtent> axes,
                  const std::function<Expr(AxisVars)>& body);
  // out[axes] = init(axes) (+) reduce over raxes of body(axes, raxes); `init` may be empty
  StageId reduce(std::string name, DType t, std::vector<NamedExtent> axes, std::vector<NamedExtent> raxes,
                 Combine op, const std::function<Expr(AxisVars, AxisVars)>& body,
                 const std::function<Expr(AxisVars)>& init = {});

  Expr at(StageId s, std::vector<Index> indices, Expr fill = {}) const;  // a Load
  void output(StageId s) { group_.outputs.push_back(s); }
  const Stage& operator[](StageId s) const { return group_[s]; }
  Stage& operator[](StageId s) { return group_[s]; }
  StageGroup& group() { return group_; }
  // A stage name that is not taken yet: base, base.1, base.2 …
  std::string unique(std::string base) const;

 private:
  std::vector<Axis> make_axes(std::vector<NamedExtent> axes);
  StageGroup group_;
};

}  // namespace burnish
