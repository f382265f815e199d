// Which stages of a group are rows, and which are sums of rows.
#include "target/cuda/row_group.h"

#include "target/roles.h"

namespace burnish::cuda_target {

std::optional<std::vector<int>> classes_of(const Stage& reader, const std::vector<int>& axes, const Expr& load, const Stage& read) {
  std::vector<int> out;
  if (load.fill()) return std::nullopt;
  for (size_t x = 0; x < read.axes.size(); ++x) {
    const Index& i = load.indices()[x];
    if (!i.is_affine() || i.a.c != 0 || i.a.terms.size() > 1) return std::nullopt;
    if (i.a.terms.empty()) {
      if (read.axes[x].extent != 1) return std::nullopt;
      out.push_back(kUnit);
      continue;
    }
    if (i.a.terms[0].k != 1) return std::nullopt;
    std::optional<int> found;
    for (size_t a = 0; a < reader.axes.size(); ++a)
      if (reader.axes[a].var == i.a.terms[0].var && reader.axes[a].extent == read.axes[x].extent) found = axes[a];
    for (const Axis& k : reader.raxes)
      if (k.var == i.a.terms[0].var && k.extent == read.axes[x].extent) found = k.extent == 1 ? kUnit : kRow;
    if (!found) return std::nullopt;
    out.push_back(*found);
  }
  return out;
}

namespace {

// Is what the load reads along the row contiguous, or the same for all of it?
bool is_contiguous(const Stage& reader, const std::vector<int>& axes, const Expr& load, const Stage& read) {
  std::vector<uint32_t> order = physical_order(read);
  std::erase_if(order, [&](uint32_t a) { return read.axes[a].extent == 1; });
  std::vector<VarId> row;
  for (size_t a = 0; a < reader.axes.size(); ++a)
    if (axes[a] == kRow) row.push_back(reader.axes[a].var);
  for (const Axis& k : reader.raxes) row.push_back(k.var);
  for (uint32_t x = 0; x < read.axes.size(); ++x)
    for (const VarId v : row)
      if (moves(load.indices()[x], v) && (!load.indices()[x].is_affine() || load.indices()[x].a.slope(v) != 1 || order.empty() || x != order.back()))
        return false;
  return true;
}

}  // namespace

std::optional<RowGroup> row_group(const StageGroup& g, std::optional<uint32_t> along, bool contiguous) {
  if (g.outputs.size() != 1) return std::nullopt;
  RowGroup r{.out = g.outputs[0], .along = along};
  const Stage& o = g[r.out];
  std::vector<int> of_out;
  for (size_t a = 0; a < o.axes.size(); ++a) of_out.push_back(o.axes[a].extent == 1 ? kUnit : static_cast<int>(a));
  if (along) {
    if (o.is_reduction()) return std::nullopt;
    r.length = o.axes[*r.along].extent;
    of_out[*r.along] = kRow;
  }
  std::vector<int> outer = of_out;
  std::erase_if(outer, [](int c) { return c < 0; });
  r.axes[r.out] = of_out;
  bool sums = false;
  for (StageId c = static_cast<StageId>(g.stages.size()); c-- > 0;) {
    const Stage& s = g[c];
    if (!s.is_compute() || s.scan) {
      if (s.scan) return std::nullopt;
      continue;
    }
    if (!r.axes.contains(c)) return std::nullopt;
    const std::vector<int> axes = r.axes.at(c);
    std::vector<int> found = axes;
    std::erase_if(found, [](int x) { return x < 0; });
    std::ranges::sort(found);
    if (found != outer || std::ranges::count(axes, kRow) > 1) return std::nullopt;
    if (s.is_reduction()) {
      int64_t length = 1;
      for (const Axis& k : s.raxes)
        if (k.extent > 1) length = length > 1 ? -1 : k.extent;
      if (r.length == 0) r.length = length;
      if (r.is_full(c) || length != r.length || s.raxes.size() != 1) return std::nullopt;
      sums = true;
    }
    // Terms that no other row reads: not a product of matrices.
    bool own = !s.is_reduction();
    for (const Expr& e : expressions(s)) {
      bool fits = true;
      visit(e, [&](const Expr& x) {
        if (x.kind() != ExprKind::Load || !fits) return;
        const Stage& p = g[x.from()];
        const auto is = classes_of(s, axes, x, p);
        if (is) own |= std::ranges::count(*is, kRow) == 1 && static_cast<size_t>(std::ranges::count_if(*is, [](int a) { return a >= 0; })) == outer.size();
        if (!p.is_compute()) {
          fits = !contiguous || is_contiguous(s, axes, x, p);
          return;
        }
        const auto [at, fresh] = is ? r.axes.try_emplace(x.from(), *is) : std::pair{r.axes.end(), false};
        fits = is && x.from() < c && (fresh || at->second == *is);
      });
      if (!fits) return std::nullopt;
    }
    if (!own) return std::nullopt;
  }
  if (!sums || r.length < 2) return std::nullopt;
  return r;
}

}  // namespace burnish::cuda_target
