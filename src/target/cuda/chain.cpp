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
#include <limits>

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
  std::optional<Link> expand, project;
  Link depthwise;
  int64_t input_channels = 0, expanded = 0, channels = 0;
  int64_t height = 0, width = 0;   // of the output
  int64_t stride = 1, window = 1;  // of the depthwise convolution
  int64_t region(int64_t points) const { return (points - 1) * stride + window; }
};

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
  c.height = dout.axes[d.outer[0]].extent;
  c.width = dout.axes[*d.tile].extent;
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
    if (!c.expand || !c.expand->roles.broadcast || g[c.expand->input].is_compute()) return std::nullopt;
    found += stages_of(*c.expand);
    c.input_channels = lone_extent(g[c.expand->roles.acc]);
    if (c.input_channels == 0 || c.input_channels % kMatrixDepth) return std::nullopt;
  } else if (!c.project) {
    return std::nullopt;
  }
  if (found != stages) return std::nullopt;
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

// Axes of one point, rows, columns: what stands before the channels.
Layout image_of(const Roles& r) {
  Layout l;
  for (const uint32_t u : r.unit) l.push_back({u});
  l.push_back({r.outer[0]});
  l.push_back({*r.tile});
  return l;
}

int64_t depth_for(int64_t channels) { return channels % (2 * kMatrixDepth) ? kMatrixDepth : 2 * kMatrixDepth; }

// What brings neighbours of vectors of `depth` / 4 floats to different banks.
int64_t bank_padding(int64_t size, int64_t depth) { return floor_mod(depth - size, 32); }

// Vectors of 4 channels of an image to the block's threads.
void fill(Schedule& t, const std::string& stage, int64_t threads) {
  const Stage self = t.group()[*t.group().named(stage)];
  const std::vector<uint32_t> order = physical_order(self);
  const std::vector<std::string> loops = names(self.axes, order);
  const size_t last = loops.size() - 1;
  const int64_t vectors = std::min<int64_t>(threads, self.axes[order[last]].extent / 4);
  auto [co, cv] = t.split(stage, loops[last], 4);
  std::vector<std::string> nest(loops.begin(), loops.end() - 2);
  std::string bound = co;
  auto [xs, x_threads] = t.split(stage, loops[last - 1], std::max<int64_t>(1, threads / vectors));
  nest.push_back(xs);
  if (self.axes[order[last]].extent / 4 > vectors) {
    auto [more, inner] = t.split(stage, co, vectors);
    nest.push_back(more);
    bound = inner;
  }
  nest.insert(nest.end(), {x_threads, bound, cv});
  t.reorder(stage, nest);
  t.bind(stage, x_threads);
  t.bind(stage, bound);
  t.vectorize(stage, cv);
}

// The input of `reader`'s loop `at` in the block's memory, `pad` elements between its columns.
void cached(Schedule& t, const std::string& input, const std::string& reader, const std::string& at, int64_t pad, int64_t threads) {
  Layout layout = t.group()[*t.group().named(input)].layout;
  const std::string copy = t.cache_read(input);
  if (t.failure()) return;
  t.compute_at(copy, reader, at);
  t.guard_halo(copy);
  if (!layout.empty()) {
    layout.back().pad = pad;
    t.pack(copy, layout);
  }
  fill(t, copy, threads);
}

// Separates the sum of `out` from what finishes it; their names.
std::string sum_of(Schedule& t, const std::string& out) {
  if (t.group()[*t.group().named(out)].is_reduction()) return t.cache_write(out);
  const auto roles = roles_of(t, *t.group().named(out));
  return roles ? t.group()[roles->acc].name : "";
}

// The depthwise sum becomes a formula, with its weights channels last: of its stage, or where that is read.
void expand_depthwise(Schedule& t, const Link& l) {
  const std::string out = t.group()[l.roles.out].name, acc = t.group()[l.roles.acc].name;
  const Stage a = t.group()[l.roles.acc];
  channels_last(t, a, l.weights, a.axes[l.roles.vector].var);
  t.expand(acc);
  if (acc != out) t.inline_stage(acc);
}

// E in the block's memory, a chunk of its channels, where `at` reads it; its input in the block's memory at `block`.
bool expanded_in_block(Schedule& t, const Chain& chain, const std::string& e_out, const std::string& x, const std::string& reader,
                       const std::string& at, const std::string& out, const std::string& block, const ChainTile& c) {
  const StageGroup& g = t.group();
  const std::string e_acc = sum_of(t, e_out);
  const auto e_roles = e_acc.empty() || t.failure() ? std::nullopt : roles_of(t, *g.named(e_out));
  if (!e_roles || !e_roles->tile || e_roles->outer.size() != 1) return false;
  const Roles r = *e_roles;
  const Stage eo = g[*g.named(e_out)], ea = g[*g.named(e_acc)];
  const Axis& ke = *std::ranges::max_element(ea.raxes, {}, &Axis::extent);
  const int64_t depth = depth_for(ke.extent), columns = c.chunk / 8 / c.expand_n;
  in_fragments(t, ea, ea.axes[r.vector].var, ke.var, columns, depth);
  // [row][column][channel]: columns lie in banks of their own for those who store, rows for those who read.
  Layout image = image_of(r), padded;
  padded = image;
  image.push_back({r.vector});
  padded.push_back({r.vector, 1, 0, 4});
  t.pack(e_out, padded);
  t.pack(e_acc, image);
  const int64_t across = ceil_div(chain.region(c.columns), kMatrixGroups);
  t.storage_align(e_out, floor_mod(16 - across * kMatrixGroups * (c.chunk + 4), 32));
  std::string serial;
  for (const std::string& stage : {e_out, e_acc}) {
    const bool is_out = stage == e_out;
    const Stage& self = is_out ? eo : ea;
    const auto axis = [&](uint32_t i) { return self.axes[i].name; };
    auto [ys, y] = t.split(stage, axis(r.outer[0]), c.expand_rows * c.expand_y, Tail::Whole);
    auto [y_warp, rows] = t.split(stage, y, c.expand_rows, Tail::Whole);
    auto [x_warp, group] = t.split(stage, axis(*r.tile), kMatrixGroups, Tail::Whole);
    auto [c_warp, within] = t.split(stage, axis(r.vector), 8 * columns, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * columns, Tail::Whole);
    std::vector<std::string> nest = names(self.axes, r.unit), registers;
    std::string vector;
    const std::vector<std::string> bound = {y_warp, x_warp, c_warp, group, lane};
    nest.push_back(ys);
    nest.insert(nest.end(), bound.begin(), bound.end());
    if (is_out) {
      auto [more, lanes] = t.split(stage, own, columns % 2 ? 2 : 4, Tail::Whole);
      registers = {rows, more};
      vector = lanes;
      serial = ys;
    } else {
      auto [down, pair_down] = t.split(stage, rows, kMatrixPairs, Tail::Whole);
      auto [tiles, pair] = t.split(stage, own, kMatrixPairs, Tail::Whole);
      registers = {down, tiles, pair_down, pair};
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
  t.compute_at(e_out, reader, at);
  t.guard_halo(e_out);
  t.compute_at(e_acc, e_out, serial);
  t.guard_halo(e_acc);
  t.set_scope(e_acc, Scope::Register);
  cached(t, x, out, block, bank_padding(ke.extent, depth), c.threads());
  return !t.failure();
}

// O and its sum, one block a tile; `chunk` becomes the loop over the expanded channels.
std::string project(Schedule& t, const std::string& out, const std::string& acc, const Roles& p, const Chain& chain, const ChainTile& c,
                    std::string& chunk) {
  const StageGroup& g = t.group();
  const Stage o = g[*g.named(out)], a = g[*g.named(acc)];
  const Axis& k = *std::ranges::max_element(a.raxes, {}, &Axis::extent);
  const int64_t columns = chain.channels / 8 / c.warps_n;
  in_fragments(t, a, a.axes[p.vector].var, k.var, columns, 2 * kMatrixDepth);
  if (!o.layout.empty()) t.pack(acc, o.layout);
  std::string block;
  for (const std::string& stage : {out, acc}) {
    const bool is_out = stage == out;
    const Stage& self = is_out ? o : a;
    const auto axis = [&](uint32_t i) { return self.axes[i].name; };
    std::vector<std::string> blocks = names(self.axes, p.unit);
    auto [yo, y] = t.split(stage, axis(p.outer[0]), kMatrixGroups * c.warps_y, Tail::Whole);
    auto [y_warp, group] = t.split(stage, y, kMatrixGroups, Tail::Whole);
    auto [xo, xi] = t.split(stage, axis(*p.tile), c.columns, Tail::Whole);
    auto [x_warp, points] = t.split(stage, xi, c.columns / c.warps_x, Tail::Whole);
    auto [c_warp, within] = t.split(stage, axis(p.vector), 8 * columns, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * columns, Tail::Whole);
    blocks.insert(blocks.end(), {yo, xo});
    const std::vector<std::string> bound = {y_warp, x_warp, c_warp, group, lane};
    std::vector<std::string> order = blocks, registers;
    std::string vector;
    if (is_out) {
      auto [more, lanes] = t.split(stage, own, columns % 2 ? 2 : 4, Tail::Whole);
      registers = {points, more};
      vector = lanes;
      order.insert(order.end(), bound.begin(), bound.end());
    } else {
      auto [across, pair_across] = t.split(stage, points, kMatrixPairs, Tail::Whole);
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
  return block;
}

// D as the output, one block a tile and chunk of channels; its threads have vectors of channels in a column.
std::string depthwise_output(Schedule& t, const std::string& out, const Roles& d, const ChainTile& c) {
  const Stage o = t.group()[*t.group().named(out)];
  const auto axis = [&](uint32_t i) { return o.axes[i].name; };
  std::vector<std::string> blocks = names(o.axes, d.unit);
  auto [yo, y] = t.split(out, axis(d.outer[0]), kMatrixGroups * c.warps_y, Tail::Whole);
  auto [xo, x] = t.split(out, axis(*d.tile), c.columns, Tail::Whole);
  auto [co, ci] = t.split(out, axis(d.vector), c.chunk, Tail::Whole);
  auto [vectors, lanes] = t.split(out, ci, 4, Tail::Whole);
  blocks.insert(blocks.end(), {yo, xo, co});
  // Rows of a column that fall to a thread.
  const int64_t at_once = std::max<int64_t>(1, c.threads() / (c.columns * (c.chunk / 4)));
  auto [y_thread, rows] = t.split(out, y, std::max<int64_t>(1, kMatrixGroups * c.warps_y / at_once), Tail::Whole);
  std::vector<std::string> order = blocks;
  order.insert(order.end(), {y_thread, x, vectors, rows, lanes});
  t.reorder(out, order);
  for (const std::string& l : {y_thread, x, vectors}) t.bind(out, l);
  t.unroll(out, rows);
  t.vectorize(out, lanes);
  const std::string block = fused(t, out, blocks);
  t.parallel(out, block);
  return block;
}

}  // namespace

namespace {

std::vector<ChainTile> tiles_of(const Chain& c, const Device& d) {
  std::vector<ChainTile> tiles;
  const Chain* chain = &c;
  if (d.sm < 80) return tiles;
  for (const int64_t columns : {6, 8, 14, 16, 22, 30, 32}) {
    if (columns > 8 && columns / 2 > chain->width) continue;
    for (const int64_t y : {1, 2, 4}) {
      if (y > 1 && 4 * y >= chain->height) continue;
      for (const int64_t x : {1, 2, 3, 4, 5, 7, 8}) {
        for (const int64_t n : {1, 2, 4}) {
          const int64_t warps = y * x * n;
          if (columns % (2 * x) && chain->project) continue;
          if (warps > 8 || (n > 1 && !chain->project) || (chain->project && chain->channels % (8 * n))) continue;
          for (const int64_t chunk : {16, 32, 48, 64, 96}) {
            if (chain->expanded % chunk) continue;
            ChainTile t{.columns = columns, .warps_y = y, .warps_x = x, .warps_n = n, .chunk = chunk};
            if (!chain->expand) {
              tiles.push_back(t);
              continue;
            }
            const int64_t across = ceil_div(chain->region(columns), kMatrixGroups);
            for (const int64_t expand_n : {1, 2, 3, 4, 6}) {
              if ((chunk / 8) % expand_n || across * expand_n > warps || warps % (across * expand_n)) continue;
              t.expand_n = expand_n;
              t.expand_y = warps / (across * expand_n);
              for (const int64_t rows : {2, 4}) {
                t.expand_rows = rows;
                if (rows / 2 * (chunk / 8 / expand_n) <= 16) tiles.push_back(t);
              }
            }
          }
        }
      }
    }
  }
  return tiles;
}

double cycles_of(const Chain& chain, const ChainTile& c, const Device& d) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const int64_t rows = kMatrixGroups * c.warps_y, warps = c.warps_y * c.warps_x * c.warps_n;
  const int64_t step = c.expand_rows * c.expand_y;
  const int64_t high = chain.expand ? ceil_div(chain.region(rows), step) * step : chain.region(rows);
  const int64_t wide = chain.expand ? ceil_div(chain.region(c.columns), kMatrixGroups) * kMatrixGroups : chain.region(c.columns);
  const int64_t pad = floor_mod(2 * kMatrixDepth - chain.input_channels, 32);
  const int64_t image = high * wide * (c.chunk + 4);
  const int64_t bytes = 4 * (image + (chain.expand ? high * wide * (chain.input_channels + pad) : 0));
  if (bytes > d.block_bytes) return std::numeric_limits<double>::infinity();
  const int64_t n_tiles = chain.project ? chain.channels / 8 / c.warps_n : 0;
  const int64_t p_tiles = chain.project ? c.columns / c.warps_x / 2 * n_tiles : 0;
  const int64_t registers = 4 * p_tiles + 4 * (c.expand_rows / 2) * (c.chunk / 8 / c.expand_n) / (chain.project ? 2 : 1) + 110;
  if (p_tiles > 40) return std::numeric_limits<double>::infinity();
  const int64_t chunks = chain.project ? chain.expanded / c.chunk : 1;
  const double blocks = real(ceil_div(chain.height, rows) * ceil_div(chain.width, c.columns) * (chain.expanded / c.chunk / chunks));
  // Of a block and chunk, in cycles of a whole multiprocessor.
  const double points = real(rows * c.columns);
  const double expand = chain.expand ? real(high * wide * c.chunk) * real(chain.input_channels) / 1024 : 0;
  const double product = chain.project ? points * real(c.chunk) * real(chain.channels) / 1024 : 0;
  const double tensor = (expand + product) * 6.2 * d.products / 4;
  const double depthwise = points * real(c.chunk * chain.window * chain.window * c.warps_n) / 128;
  const double reads = real(rows * chain.region(c.columns) * chain.window * c.chunk * c.warps_n) * 4 / 128 +
                       (chain.expand ? real(high * wide * c.expand_n) * real(chain.input_channels) * 4 / 128 : 0);
  const double finish = real(high * wide * c.chunk) * 6 / 128;
  const double busy = 2 * (tensor + 1.3 * depthwise + reads + finish);  // about half of what units could do, as measured
  const double fill = chain.expand ? real(high * wide * chain.input_channels) * 4 / 64 : 0;
  const double latency = 6000.0 + busy * 4 / std::min(4.0, real(warps));
  const double block_busy = real(chunks) * busy + fill + points * real(chain.channels) / 64, block_latency = real(chunks) * latency + 2500 + fill;
  const double resident = std::max(1.0, std::min({std::floor(228.0 * 1024 / real(bytes + 1024)), std::floor(65536.0 / real(32 * warps * std::min<int64_t>(255, registers))), 16.0}));
  const double on_one = std::ceil(blocks / d.multiprocessors);
  const double full = std::floor(on_one / resident), rest = on_one - full * resident;
  return 1500 + full * std::max(resident * block_busy, block_latency) + (rest > 0 ? std::max(rest * block_busy, block_latency) : 0);
}

double best_cycles(const Chain& c, const Device& d) {
  double best = std::numeric_limits<double>::infinity();
  for (const ChainTile& t : tiles_of(c, d)) best = std::min(best, cycles_of(c, t, d));
  return best;
}

}  // namespace

std::vector<ChainTile> chain_tiles(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  return chain ? tiles_of(*chain, d) : std::vector<ChainTile>{};
}

double chain_cycles(const Schedule& s, const ChainTile& t, const Device& d) {
  const auto chain = chain_of(s);
  return chain ? cycles_of(*chain, t, d) : std::numeric_limits<double>::infinity();
}

bool chain_pays(const Schedule& s, const Device& d) {
  const auto chain = chain_of(s);
  if (!chain) return false;
  const auto product = [&](const std::optional<Link>& l) {
    double best = std::numeric_limits<double>::infinity();
    if (!l) return 0.0;
    for (const MatrixTile& t : matrix_tiles(s, l->roles, d)) best = std::min(best, matrix_cycles(s, l->roles, t, d));
    return best;
  };
  const double expand = product(chain->expand), project = product(chain->project);
  const double points = static_cast<double>(chain->height * chain->width * chain->expanded);
  constexpr double per_term = 0.0026;  // as measured on an H100, of a point a thread
  const double depthwise = 1500 + points * static_cast<double>(chain->window * chain->window) * per_term;
  double apart = expand + depthwise + project;
  if (chain->expand && chain->project) {
    Chain first = *chain, second = *chain;
    first.project.reset();
    second.expand.reset();
    apart = std::min({apart, best_cycles(first, d) + project, expand + best_cycles(second, d)});
  }

  return best_cycles(*chain, d) < apart;
}

bool by_chain(Schedule& s, const ChainTile& c, const Device& d) {
  const auto found = chain_of(s);
  if (!found || d.sm < 80) return false;
  const Chain& chain = *found;
  if (chain.expanded % c.chunk || (c.chunk / 8) % c.expand_n) return false;
  if (chain.project && ((c.columns / c.warps_x) % kMatrixPairs || chain.channels % (8 * c.warps_n))) return false;
  Schedule t = s;
  const StageGroup& g = t.group();
  const std::string out = g[g.outputs[0]].name, d_out = g[chain.depthwise.roles.out].name;
  const std::string x = g[chain.expand ? chain.expand->input : chain.depthwise.input].name;
  const std::string e_out = chain.expand ? g[chain.expand->roles.out].name : "";
  std::string reader = out, at, block;
  if (chain.project) {
    expand_depthwise(t, chain.depthwise);
    t.inline_stage(d_out);
    reader = t.failure() ? "" : sum_of(t, out);
    const auto roles = reader.empty() || t.failure() ? std::nullopt : roles_of(t, *g.named(out));
    if (!roles || !roles->tile || roles->outer.size() != 1) return false;
    block = project(t, out, reader, *roles, chain, c, at);
  } else {
    expand_depthwise(t, chain.depthwise);
    if (t.failure()) return false;
    block = at = depthwise_output(t, out, chain.depthwise.roles, c);
  }
  if (t.failure()) return false;
  if (chain.expand) {
    if (!expanded_in_block(t, chain, e_out, x, reader, at, out, block, c)) return false;
  } else {
    cached(t, x, reader, at, bank_padding(c.chunk, 2 * kMatrixDepth), c.threads());
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
