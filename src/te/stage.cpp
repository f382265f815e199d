#include "te/stage.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace burnish {

std::string_view name_of(Combine c) {
  switch (c) {
  case Combine::None: return "none";
  case Combine::Sum: return "sum";
  case Combine::Prod: return "prod";
  case Combine::Min: return "min";
  case Combine::Max: return "max";
  }
  return "?";
}

namespace {

// Smallest and largest value of an integer type (U64 as its bits); half types by their largest
// finite value's place: infinities exist in every float type.
int64_t lowest_integer(DType t) {
  if (!is_signed(t)) return 0;
  return size_of(t) == 8 ? std::numeric_limits<int64_t>::min()
                         : -(int64_t{1} << (8 * size_of(t) - 1));
}

int64_t highest_integer(DType t) {
  if (t == DType::Bool) return 1;
  if (t == DType::U64) return -1;
  int bits = 8 * size_of(t) - (is_signed(t) ? 1 : 0);
  return bits == 63 ? std::numeric_limits<int64_t>::max() : (int64_t{1} << bits) - 1;
}

}  // namespace

Expr neutral(Combine c, DType t) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  switch (c) {
  case Combine::None: break;
  case Combine::Sum: return is_float(t) ? constant(0.0, t) : constant_int(0, t);
  case Combine::Prod: return is_float(t) ? constant(1.0, t) : constant_int(1, t);
  case Combine::Min:
    return is_float(t) ? constant(infinity, t) : constant_int(highest_integer(t), t);
  case Combine::Max:
    return is_float(t) ? constant(-infinity, t) : constant_int(lowest_integer(t), t);
  }
  check(false, "a stage that reduces nothing has no neutral element");
  return {};
}

Expr combine(Combine c, Expr a, Expr b) {
  switch (c) {
  case Combine::None: break;
  case Combine::Sum: return std::move(a) + std::move(b);
  case Combine::Prod: return std::move(a) * std::move(b);
  case Combine::Min: return min(std::move(a), std::move(b));
  case Combine::Max: return max(std::move(a), std::move(b));
  }
  check(false, "a stage that reduces nothing combines nothing");
  return {};
}

std::vector<PhysicalDim> physical(const Layout& layout, const std::vector<int64_t>& shape) {
  std::vector<PhysicalDim> dims;
  if (layout.empty()) {
    for (uint32_t a = 0; a < shape.size(); ++a) dims.push_back({{a}, shape[a], 0});
  } else {
    for (const LayoutDim& d : layout) {
      check(d.axis < shape.size(), "layout names axis {} of a tensor with {} axes", d.axis,
            shape.size());
      check(d.div >= 1 && d.mod >= 0 && d.pad >= 0, "layout has the dimension ({}, /{}, %{}, +{})",
            d.axis, d.div, d.mod, d.pad);
      dims.push_back({d, (d.mod ? d.mod : ceil_div(shape[d.axis], d.div)) + d.pad, 0});
    }
  }
  int64_t stride = 1;
  for (auto d = dims.rbegin(); d != dims.rend(); ++d) {
    d->stride = stride;
    bool overflow = __builtin_mul_overflow(stride, d->extent, &stride);
    require(!overflow, "a tensor of more than 2^63 elements; reduce its shape");
  }
  return dims;
}

int64_t physical_size(const Layout& layout, const std::vector<int64_t>& shape) {
  int64_t last = 0;
  for (const PhysicalDim& d : physical(layout, shape)) {
    if (d.extent == d.dim.pad) return 0;
    last += (d.extent - d.dim.pad - 1) * d.stride;
  }
  return last + 1;
}

Runs runs_of(const Layout& layout, const std::vector<int64_t>& shape) {
  const auto dims = physical(layout, shape);
  if (physical_size(layout, shape) == 0) return {};
  for (auto d = dims.rbegin(); d != dims.rend(); ++d) {
    if (d->dim.pad == 0) continue;
    const bool repeats =
        std::any_of(d + 1, dims.rend(), [](const PhysicalDim& o) { return o.extent > 1; });
    if (repeats) return {(d->extent - d->dim.pad) * d->stride, d->extent * d->stride};
  }
  return {};
}

Layout permuted(const std::vector<uint32_t>& order) {
  Layout layout;
  for (uint32_t a : order) layout.push_back({a});
  return layout;
}

std::string layout_text(const Layout& layout, const std::vector<std::string>& axis_names) {
  std::string text;
  for (const LayoutDim& d : layout) {
    if (!text.empty()) text += ' ';
    text += d.axis < axis_names.size() ? axis_names[d.axis] : std::to_string(d.axis);
    if (d.div != 1) text += fmt::format("/{}", d.div);
    if (d.mod) text += fmt::format("%{}", d.mod);
    if (d.pad) text += fmt::format("+{}", d.pad);
  }
  return text;
}

std::vector<int64_t> Stage::shape() const {
  std::vector<int64_t> shape;
  for (const Axis& a : axes) shape.push_back(a.extent);
  return shape;
}

std::optional<uint32_t> Stage::axis_named(std::string_view axis) const {
  for (uint32_t a = 0; a < axes.size(); ++a)
    if (axes[a].name == axis) return a;
  return std::nullopt;
}

VarId StageGroup::fresh(std::string name) {
  vars.push_back(std::move(name));
  return static_cast<VarId>(vars.size() - 1);
}

StageId StageGroup::add(Stage stage) {
  stages.push_back(std::move(stage));
  return static_cast<StageId>(stages.size() - 1);
}

std::optional<StageId> StageGroup::named(std::string_view name) const {
  for (StageId s = 0; s < stages.size(); ++s)
    if (stages[s].name == name) return s;
  return std::nullopt;
}

std::vector<Expr> expressions(const Stage& s) {
  std::vector<Expr> all;
  for (const Expr* e : {&s.body, &s.init, &s.finish})
    if (*e) all.push_back(*e);
  return all;
}

std::vector<StageId> producers(const StageGroup& g, StageId s) {
  std::vector<StageId> found;
  for (const Expr& e : expressions(g[s])) {
    visit(e, [&](const Expr& x) {
      if (x.kind() == ExprKind::Load &&
          std::find(found.begin(), found.end(), x.from()) == found.end())
        found.push_back(x.from());
    });
  }
  return found;
}

}  // namespace burnish
