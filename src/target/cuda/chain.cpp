// A pointwise expansion, a depthwise convolution and a pointwise projection (MobileNet's inverted residual), or the last two,
// as one kernel. A block has a tile of the output and goes through the expanded channels in chunks:
//
//   block: X.cached, the input with its halo            in the block's memory
//     for chunk: E.acc, E: expanded, with the halo      matrix instructions; in the block's memory
//                O.acc += depthwise(E) * weights        matrix instructions, whose operand is the depthwise sum
//     O
//
// The depthwise sums are made where an instruction wants them, in the registers of the thread that hands them over: a
// thread has a row of the tile, and neighbouring columns share what they read.
#include <algorithm>
#include <cmath>

#include "loop/matrix_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

bool is_load_of(const Expr& e, StageId s) { return e.kind() == ExprKind::Load && e.from() == s; }

// The stages that the formula of `s` reads.
std::vector<StageId> reads_of(const Stage& s) {
  std::vector<StageId> all;
  for (const Expr& e : expressions(s))
    visit(e, [&](const Expr& x) {
      if (x.kind() == ExprKind::Load && std::ranges::find(all, x.from()) == all.end()) all.push_back(x.from());
    });
  return all;
}

bool is_product(const Stage& s) {
  return s.op == Combine::Sum && s.dtype == DType::F32 && !s.init && s.body.kind() == ExprKind::Binary && s.body.binary() == BinaryOp::Mul &&
         s.body.children()[0].kind() == ExprKind::Load && s.body.children()[1].kind() == ExprKind::Load;
}

// A reduction and what finishes it: roles of an image of one kind of point.
struct Link {
  Roles roles;
  StageId input = 0;    // of the product: what is not constant
  StageId weights = 0;  // the constant
  const Axis* row(const StageGroup& g) const { return &g[roles.out].axes[roles.outer.back()]; }
};

std::optional<Link> link_of(const Schedule& s, StageId out) {
  const StageGroup& g = s.group();
  const auto roles = roles_of(s, out);
  if (!roles || !roles->tile || roles->outer.size() != 1 || roles->grouped || !is_product(g[roles->acc])) return std::nullopt;
  Link l{.roles = *roles};
  int constants = 0;
  for (const Expr& e : g[l.roles.acc].body.children()) {
    const bool constant = g[e.from()].kind == StageKind::Constant;
    constants += constant;
    (constant ? l.weights : l.input) = e.from();
  }
  if (constants != 1) return std::nullopt;
  return l;
}

// Number of the axis of `of` that the stage's axis or reduce axis `v` moves; with slope 1 alone.
std::optional<uint32_t> axis_moved(const Stage& s, StageId of, VarId v) {
  std::optional<uint32_t> found;
  visit(s.body, [&](const Expr& e) {
    if (!is_load_of(e, of)) return;
    for (uint32_t i = 0; i < e.indices().size(); ++i)
      if (e.indices()[i].a.slope(v) == 1) found = i;
  });
  return found;
}

struct Chain {
  Link project, depthwise;
  std::optional<Link> expand;
  int64_t expanded = 0, channels = 0, input_channels = 0;
  int64_t height = 0, width = 0;          // of the output
  int64_t stride = 1, window = 1;         // of the depthwise convolution
};

std::optional<Chain> chain_of(const Schedule& s) {
  const StageGroup& g = s.group();
  if (g.outputs.size() != 1) return std::nullopt;
  Chain c;
  size_t stages = 0;
  for (const Stage& x : g.stages) stages += x.is_compute();
  const auto project = link_of(s, g.outputs[0]);
  if (!project || !g[project->input].is_compute()) return std::nullopt;
  c.project = *project;
  const auto depthwise = link_of(s, project->input);
  if (!depthwise) return std::nullopt;
  c.depthwise = *depthwise;
  const Roles &p = c.project.roles, &d = c.depthwise.roles;
  if (!p.broadcast || d.broadcast) return std::nullopt;
  size_t found = (p.acc != p.out ? 2u : 1u) + (d.acc != d.out ? 2u : 1u);
  if (g[c.depthwise.input].is_compute()) {
    const auto expand = link_of(s, c.depthwise.input);
    if (!expand || !expand->roles.broadcast || g[expand->input].is_compute()) return std::nullopt;
    c.expand = *expand;
    found += expand->roles.acc != expand->roles.out ? 2 : 1;
    const Stage& e = g[expand->roles.acc];
    if (e.raxes.empty()) return std::nullopt;
    int64_t points = 1;
    for (const Axis& k : e.raxes) {
      c.input_channels = std::max(c.input_channels, k.extent);
      points *= k.extent;
    }
    if (points != c.input_channels || points % kMatrixDepth) return std::nullopt;  // 1x1
  }
  if (found != stages) return std::nullopt;
  const Stage &po = g[p.out], &pa = g[p.acc], &da = g[d.acc], &dout = g[d.out];
  // The projection is 1x1, over the depthwise convolution's channels.
  int64_t points = 1;
  for (const Axis& k : pa.raxes) {
    c.expanded = std::max(c.expanded, k.extent);
    points *= k.extent;
  }
  c.channels = po.axes[p.vector].extent;
  if (points != c.expanded || c.expanded != dout.axes[d.vector].extent || c.expanded % (2 * kMatrixDepth) || c.channels % 8) return std::nullopt;
  c.height = po.axes[p.outer[0]].extent;
  c.width = po.axes[*p.tile].extent;
  if (dout.axes[d.outer[0]].extent != c.height || dout.axes[*d.tile].extent != c.width) return std::nullopt;
  int64_t terms = 1;
  for (const Axis& k : da.raxes) terms *= k.extent;
  if (terms > 25) return std::nullopt;
  visit(da.body, [&](const Expr& e) {
    if (!is_load_of(e, c.depthwise.input)) return;
    for (const Index& i : e.indices()) c.stride = std::max(c.stride, i.a.slope(da.axes[*d.tile].var));
  });
  for (const Axis& k : da.raxes) c.window = std::max(c.window, k.extent);
  return c;
}

// A constant's axes with that of the channels innermost.
void channels_last(Schedule& t, const Stage& reader, StageId weights, VarId channel) {
  const auto last = axis_moved(reader, weights, channel);
  if (!last) return;
  const Stage& w = t.group()[weights];
  Layout l;
  for (uint32_t a = 0; a < w.axes.size(); ++a)
    if (a != *last) l.push_back({a});
  l.push_back({*last});
  t.pack(w.name, l);
}

// Weights of a 1x1 product as instructions of warps with `columns` times 8 channels ask for them (matrix.cpp).
void in_fragments(Schedule& t, const Stage& acc, VarId channel, VarId depth_axis, int64_t columns, int64_t depth) {
  for (const StageId weights : reads_of(acc)) {
    const Stage& w = t.group()[weights];
    const auto c = axis_moved(acc, weights, channel), k = axis_moved(acc, weights, depth_axis);
    if (w.kind != StageKind::Constant || !c || !k || *c == *k) continue;
    t.pack(w.name, fragments(static_cast<uint32_t>(w.axes.size()), *c, *k, columns, depth));
    return;
  }
}

int64_t depth_for(int64_t channels) { return channels % (2 * kMatrixDepth) ? kMatrixDepth : 2 * kMatrixDepth; }

// What brings neighbours of vectors of `depth` / 4 floats to different banks.
int64_t bank_padding(int64_t size, int64_t depth) { return floor_mod(depth - size, 32); }

}  // namespace

bool by_chain(Schedule& s, const ChainTile& c, const Device& d) {
  const auto found = chain_of(s);
  if (!found || d.sm < 80) return false;
  const Chain& chain = *found;
  if (chain.expanded % c.chunk || (c.columns / c.warps_x) % kMatrixPairs || chain.channels % (8 * c.warps_n)) return false;
  Schedule t = s;
  const StageGroup& g = t.group();
  const std::string out = g[chain.project.roles.out].name, d_out = g[chain.depthwise.roles.out].name, d_acc = g[chain.depthwise.roles.acc].name;
  const std::string x = g[chain.expand ? chain.expand->input : chain.depthwise.input].name;
  const std::string e_out = chain.expand ? g[chain.expand->roles.out].name : "";
  const std::string dw_weights = g[chain.depthwise.weights].name;
  channels_last(t, g[chain.depthwise.roles.acc], chain.depthwise.weights, g[chain.depthwise.roles.acc].axes[chain.depthwise.roles.vector].var);
  // The depthwise sum becomes an operand of the projection.
  t.expand(d_acc);
  if (d_acc != d_out) t.inline_stage(d_acc);
  t.inline_stage(d_out);
  std::string acc = g[*g.named(out)].is_reduction() ? t.cache_write(out) : "";
  if (t.failure()) return false;
  if (acc.empty()) {
    const auto roles = roles_of(t, *g.named(out));
    if (!roles) return false;
    acc = g[roles->acc].name;
  }
  const auto roles = roles_of(t, *g.named(out));
  if (!roles || !roles->tile || roles->outer.size() != 1) return false;
  const Roles p = *roles;
  const Stage o = g[*g.named(out)], a = g[*g.named(acc)];
  const Axis& k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  const int64_t n_columns = chain.channels / 8 / c.warps_n;
  in_fragments(t, a, a.axes[p.vector].var, k.var, n_columns, 2 * kMatrixDepth);
  if (!o.layout.empty()) t.pack(acc, o.layout);

  const int64_t threads = 32 * c.warps_y * c.warps_x * c.warps_n;
  std::string block, chunk;
  for (const std::string& stage : {out, acc}) {
    const bool is_out = stage == out;
    const Stage& self = is_out ? o : a;
    const auto axis = [&](uint32_t i) { return self.axes[i].name; };
    std::vector<std::string> blocks = names(self.axes, p.unit);
    auto [yo, y] = t.split(stage, axis(p.outer[0]), kMatrixGroups * c.warps_y, Tail::Whole);
    auto [y_warp, group] = t.split(stage, y, kMatrixGroups, Tail::Whole);
    auto [xo, xi] = t.split(stage, axis(*p.tile), c.columns, Tail::Whole);
    auto [x_warp, columns] = t.split(stage, xi, c.columns / c.warps_x, Tail::Whole);
    auto [c_warp, within] = t.split(stage, axis(p.vector), chain.channels / c.warps_n, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * n_columns, Tail::Whole);
    blocks.insert(blocks.end(), {yo, xo});
    const std::vector<std::string> bound = {y_warp, x_warp, c_warp, group, lane};
    std::vector<std::string> order = blocks, registers;
    std::string vector;
    if (is_out) {
      auto [more, lanes] = t.split(stage, own, n_columns % 2 ? 2 : 4, Tail::Whole);
      registers = {columns, more};
      vector = lanes;
      order.insert(order.end(), bound.begin(), bound.end());
    } else {
      auto [across, pair_across] = t.split(stage, columns, kMatrixPairs, Tail::Whole);
      auto [tiles, pair] = t.split(stage, own, kMatrixPairs, Tail::Whole);
      registers = {across, tiles, pair_across, pair};
      auto [ko, ki] = t.split(stage, k.name, c.chunk);
      auto [kt, km] = t.split(stage, ki, 2 * kMatrixDepth);
      t.tensorize(stage, km);
      order.push_back(ko);
      order.insert(order.end(), bound.begin(), bound.end());
      for (const Axis& other : a.raxes)
        if (other.name != k.name) order.push_back(other.name);
      order.insert(order.end(), {kt, km});
      chunk = ko;
    }
    order.insert(order.end(), registers.begin(), registers.end());
    if (!vector.empty()) order.push_back(vector);
    t.reorder(stage, order);
    for (const std::string& l : bound) t.bind(stage, l);
    for (const std::string& l : registers) t.unroll(stage, l);
    if (!vector.empty()) t.vectorize(stage, vector);
    if (!is_out) continue;
    block = fused(t, out, blocks);
    t.parallel(out, block);
    t.compute_at(acc, out, block);
    t.set_scope(acc, Scope::Register);
    t.guard_halo(acc);
  }

  const auto inside = [&](const std::string& stage, const std::string& at_stage, const std::string& at) {
    t.compute_at(stage, at_stage, at);
    t.guard_halo(stage);
  };
  // Vectors of 4 channels of an image to the block's threads.
  const auto fill = [&](const std::string& stage) {
    const Stage self = g[*g.named(stage)];
    const std::vector<uint32_t> order = physical_order(self);
    std::vector<std::string> loops = names(self.axes, order);
    const size_t last = loops.size();
    if (last < 3) return;
    const int64_t vectors = std::min<int64_t>(threads, self.axes[order[last - 1]].extent / 4);
    auto [co, cv] = t.split(stage, loops[last - 1], 4);
    std::string more = co, c_threads = co;
    std::vector<std::string> nest(loops.begin(), loops.end() - 2);
    if (self.axes[order[last - 1]].extent / 4 > vectors) std::tie(more, c_threads) = t.split(stage, co, vectors);
    auto [xs, x_threads] = t.split(stage, loops[last - 2], std::max<int64_t>(1, threads / vectors));
    nest.push_back(xs);
    if (more != c_threads) nest.push_back(more);
    nest.insert(nest.end(), {x_threads, c_threads, cv});
    t.reorder(stage, nest);
    t.bind(stage, x_threads);
    t.bind(stage, c_threads);
    t.vectorize(stage, cv);
  };
  if (!chain.expand) {
    const std::string cached = t.cache_read(x);
    inside(cached, acc, chunk);
    if (!g[*g.named(x)].layout.empty()) t.pack(cached, g[*g.named(x)].layout);
    fill(cached);
    t.storage_align(cached, 16);
  } else {
    std::string e_acc = g[*g.named(e_out)].is_reduction() ? t.cache_write(e_out) : "";
    const auto e_roles = roles_of(t, *g.named(e_out));
    if (!e_roles || !e_roles->tile) return false;
    if (e_acc.empty()) e_acc = g[e_roles->acc].name;
    const Roles r = *e_roles;
    const Stage eo = g[*g.named(e_out)], ea = g[*g.named(e_acc)];
    const Axis& ke = *std::ranges::max_element(ea.raxes, {}, &Axis::extent);
    const int64_t depth = depth_for(ke.extent);
    const int64_t e_warps = threads / 32, e_columns = c.chunk / 8 / c.expand_n;
    if (e_warps % c.expand_n || (c.chunk / 8) % c.expand_n) return false;
    in_fragments(t, ea, ea.axes[r.vector].var, ke.var, e_columns, depth);
    // [row][column][channel], columns apart in banks for those who store, rows for those who read.
    Layout image;
    for (const uint32_t u : r.unit) image.push_back({u});
    image.push_back({r.outer[0]});
    image.push_back({*r.tile});
    Layout padded = image;
    image.push_back({r.vector});
    padded.push_back({r.vector, 1, 0, 4});
    t.pack(e_out, padded);
    t.pack(e_acc, image);
    const int64_t region = c.stride_columns(chain.stride, chain.window);
    t.storage_align(e_out, floor_mod(16 - ceil_div(region, int64_t{8}) * 8 * (c.chunk + 4), 32));
    std::string serial;
    for (const std::string& stage : {e_out, e_acc}) {
      const bool is_out = stage == e_out;
      const Stage& self = is_out ? eo : ea;
      const auto axis = [&](uint32_t i) { return self.axes[i].name; };
      auto [ys, rows] = t.split(stage, axis(r.outer[0]), c.expand_rows, Tail::Whole);
      auto [x8, group] = t.split(stage, axis(*r.tile), kMatrixGroups, Tail::Whole);
      (void)x8;
      auto [c_warp, within] = t.split(stage, axis(r.vector), 8 * e_columns, Tail::Whole);
      auto [lane, own] = t.split(stage, within, kMatrixPairs * e_columns, Tail::Whole);
      std::vector<std::string> nest = names(self.axes, r.unit), registers;
      std::string vector;
      const std::vector<std::string> bound = {x8, c_warp, group, lane};
      nest.push_back(ys);
      nest.insert(nest.end(), bound.begin(), bound.end());
      if (is_out) {
        auto [more, lanes] = t.split(stage, own, e_columns % 2 ? 2 : 4, Tail::Whole);
        registers = {rows, more};
        vector = lanes;
        serial = ys;
      } else {
        auto [across, pair_across] = t.split(stage, rows, kMatrixPairs, Tail::Whole);
        auto [tiles, pair] = t.split(stage, own, kMatrixPairs, Tail::Whole);
        registers = {across, tiles, pair_across, pair};
        auto [kt, km] = t.split(stage, ke.name, depth);
        t.tensorize(stage, km);
        for (const Axis& other : ea.raxes)
          if (other.name != ke.name) nest.push_back(other.name);
        nest.insert(nest.end(), {kt, km});
      }
      nest.insert(nest.end(), registers.begin(), registers.end());
      if (!vector.empty()) nest.push_back(vector);
      t.reorder(stage, nest);
      for (const std::string& l : bound) t.bind(stage, l);
      for (const std::string& l : registers) t.unroll(stage, l);
      if (!vector.empty()) t.vectorize(stage, vector);
    }
    inside(e_out, acc, chunk);
    t.compute_at(e_acc, e_out, serial);
    t.guard_halo(e_acc);
    t.set_scope(e_acc, Scope::Register);
    const std::string cached = t.cache_read(x);
    inside(cached, out, block);
    Layout apart = g[*g.named(x)].layout;
    if (apart.empty()) return false;
    apart.back().pad = bank_padding(ke.extent, depth);
    t.pack(cached, apart);
    fill(cached);
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
