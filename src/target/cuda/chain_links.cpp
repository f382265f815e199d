// Which groups are chains.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

bool is_load_of(const Expr& e, StageId s) { return e.kind() == ExprKind::Load && e.from() == s; }

// Of images.
std::optional<Link> link_of(const Schedule& s, StageId out) {
  auto l = product_of(s, out);
  const auto roles = l ? of_images(l->roles) : std::nullopt;
  if (!roles) return std::nullopt;
  l->roles = *roles;
  return l;
}

size_t stages_of(const Link& l) { return l.roles.acc != l.roles.out ? 2 : 1; }

// The length of the only reduce axis of more than one iteration; 0 where there are several.
int64_t lone_extent(const Stage& s) {
  int64_t longest = 0, all = 1;
  for (const Axis& k : s.raxes) {
    longest = std::max(longest, k.extent);
    all *= k.extent;
  }
  return all == longest ? longest : 0;
}

}  // namespace

std::optional<Roles> of_images(std::optional<Roles> r) {
  if (!r || !r->tile || r->outer.empty()) return std::nullopt;
  r->unit.insert(r->unit.end(), r->outer.begin(), r->outer.end() - 1);
  r->outer.erase(r->outer.begin(), r->outer.end() - 1);
  return r;
}

std::optional<Link> product_of(const Schedule& s, StageId out, bool scaled) {
  const StageGroup& g = s.group();
  const auto roles = roles_of(s, out);
  if (!roles || !roles->tile || roles->grouped || !is_product(g[roles->acc])) return std::nullopt;
  Link l{.roles = *roles};
  int constants = 0;
  for (const Expr& factor : g[l.roles.acc].body.children()) {
    if (is_scaled(factor) && !scaled) return std::nullopt;
    const Expr& e = load_of(factor);
    const bool constant = g[e.from()].kind == StageKind::Constant;
    constants += constant;
    (constant ? l.weights : l.input) = e.from();
  }
  if (constants != 1) return std::nullopt;
  if (l.roles.acc != l.roles.out) l.finish = cost(g[l.roles.out].body);
  return l;
}

std::optional<uint32_t> axis_moved(const Stage& s, StageId of, VarId v) {
  std::optional<uint32_t> found;
  visit(s.body, [&](const Expr& e) {
    if (!is_load_of(e, of)) return;
    for (uint32_t i = 0; i < e.indices().size(); ++i)
      if (e.indices()[i].a.slope(v) == 1) found = i;
  });
  return found;
}

std::optional<Chain> chain_of(const Schedule& s) {
  const StageGroup& g = s.group();
  if (g.outputs.size() != 1) return std::nullopt;
  Chain c;
  size_t stages = 0, found = 0;
  for (const Stage& x : g.stages) stages += x.is_compute();
  auto last = link_of(s, g.outputs[0]);
  if (!last) return std::nullopt;
  if (last->roles.broadcast) {
    c.project = last;
    const Stage &out = g[last->roles.out], &acc = g[last->roles.acc];
    c.expanded = lone_extent(acc);
    c.channels = out.axes[last->roles.vector].extent;
    if (!g[last->input].is_compute() || c.expanded == 0 || c.channels % 8) return std::nullopt;
    found += stages_of(*last);
    last = link_of(s, last->input);
    if (!last) return std::nullopt;
  }
  if (last->roles.broadcast) return std::nullopt;
  c.depthwise = *last;
  found += stages_of(*last);
  const Roles& d = c.depthwise.roles;
  const Stage &da = g[d.acc], &dout = g[d.out];
  const int64_t deep = dout.axes[d.vector].extent;
  if ((c.expanded && c.expanded != deep) || deep % (2 * kMatrixDepth)) return std::nullopt;
  c.expanded = deep;
  // Rows and columns are the same axes everywhere: of images with one row another axis seems to be theirs.
  const auto of_the_same = [&](const std::optional<Link>& l) { return !l || (l->roles.outer == d.outer && l->roles.tile == d.tile); };
  if (!of_the_same(c.project)) return std::nullopt;
  c.height = dout.axes[d.outer[0]].extent;
  c.width = dout.axes[*d.tile].extent;
  for (const uint32_t u : d.unit) c.images *= dout.axes[u].extent;
  if (c.project) {
    const Roles& p = c.project->roles;
    if (g[p.out].axes[p.outer[0]].extent != c.height || g[p.out].axes[*p.tile].extent != c.width) return std::nullopt;
  }
  int64_t terms = 1;
  for (const Axis& k : da.raxes) {
    terms *= k.extent;
    c.window = std::max(c.window, k.extent);
  }
  if (terms > 25) return std::nullopt;
  visit(da.body, [&](const Expr& e) {
    if (!is_load_of(e, c.depthwise.input)) return;
    for (const Index& i : e.indices()) c.stride = std::max(c.stride, i.a.slope(da.axes[*d.tile].var));
  });
  if (g[c.depthwise.input].is_compute()) {
    c.expand = link_of(s, c.depthwise.input);
    if (!c.expand || !of_the_same(c.expand) || !c.expand->roles.broadcast || g[c.expand->input].is_compute()) return std::nullopt;
    found += stages_of(*c.expand);
    c.input_channels = lone_extent(g[c.expand->roles.acc]);
    if (c.input_channels == 0 || c.input_channels % kMatrixDepth) c.first = window_of(s, *c.expand);
    if (!c.first && (c.input_channels == 0 || c.input_channels % kMatrixDepth)) return std::nullopt;
  } else if (!c.project) {
    return std::nullopt;
  }
  if (found != stages) return std::nullopt;
  return c;
}

}  // namespace burnish::cuda_target
