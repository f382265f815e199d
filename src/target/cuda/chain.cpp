// A pointwise expansion, a depthwise convolution and a pointwise projection (MobileNet's inverted residual), or the last two,
// as one kernel. A block has a tile of the output and goes through the expanded channels in chunks:
//
//   block: X.cached, the input with its halo            in the block's memory
//     for chunk: E.acc, E: expanded, with the halo      matrix instructions; in the block's memory
//                O.acc += depthwise(E) * weights        matrix instructions, whose operand is the depthwise sum
//     O
//
// With few tiles, blocks share the expanded channels of one (`splits`), and add up what each has summed as a cluster (slices.cpp), or in
// a second kernel.
//
// The depthwise sums are made where an instruction wants them, in the registers of the thread that hands them over: a
// thread has one row of the tile or two, and neighbouring columns and rows share what they read.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// A constant's axes with that of the channels innermost.
void channels_last(Schedule& t, const Stage& reader, StageId weights, VarId channel) {
  const auto last = axis_moved(reader, weights, channel);
  if (!last) return;
  const Stage& w = t.group()[weights];
  t.pack(w.name, axes_in_order(w.axes.size(), {}, {*last}));
}

// Separates the sum of `out` from what finishes it; their names.
std::string sum_of(Schedule& t, const std::string& out) {
  if (t.group()[*t.group().named(out)].is_reduction()) return t.cache_write(out);
  const auto roles = roles_of(t, *t.group().named(out));
  return roles ? cuda_target::sum_of(t, *roles) : "";
}

// Products of halves that are summed as halves: a window of 3x3. Their roundings are of the size of those of the operands, and half
// as many instructions are needed; of what finishes them a fifth, and a bias is a half in other engines, too.
constexpr int64_t most_halves = 9;

// The depthwise sum becomes a formula, with its weights channels last: of its stage, or where that is read.
void expand_depthwise(Schedule& t, const Link& l, const Device& d) {
  const std::string out = t.group()[l.roles.out].name, acc = t.group()[l.roles.acc].name;
  const Stage a = t.group()[l.roles.acc];
  channels_last(t, a, l.weights, a.axes[l.roles.vector].var);
  if (!d.half_sums()) (void)t.apply(step::AbsorbAddend{acc});  // one operation less than adding it to the sum
  t.expand(acc);
  if (acc != out) t.inline_stage(acc);
  if (d.half_sums()) t.narrow(out, most_halves);
}

// E in the block's memory, or in registers, a chunk of its channels, where `at` reads it; its input in the block's memory at `block`.
bool expanded(Schedule& t, const Chain& chain, const std::string& e_out, const std::string& x, const std::string& reader,
              const std::string& at, const std::string& out, const std::string& block, const ChainTile& c, const Device& d) {
  const StageGroup& g = t.group();
  const std::string e_acc = sum_of(t, e_out);
  const int64_t columns = c.chunk / 8 / (c.in_registers() ? c.warps_k : c.expand_n);
  if (chain.first && !e_acc.empty()) flatten_window(t, e_acc, g[*g.named(e_acc)].axes[chain.expand->roles.vector].var, columns, d);
  const auto e_roles = e_acc.empty() || t.failure() ? std::nullopt : of_images(roles_of(t, *g.named(e_out)));
  if (!e_roles) return false;
  const Roles r = *e_roles;
  // Instructions add to what they are given; not where the error of f32 is wanted, of which a large bias would cost digits.
  if (d.products <= 1) (void)t.apply(step::AbsorbAddend{e_acc});
  const Stage eo = g[*g.named(e_out)], ea = g[*g.named(e_acc)];
  const Axis& ke = *std::ranges::max_element(ea.raxes, {}, &Axis::extent);
  const int64_t depth = depth_for(ke.extent, d);
  const bool rounded = c.in_registers() && d.products == 1;
  const Depths depths = rounded || is_half(g[*g.named(x)].dtype) ? Depths::Pieces : Depths::Neighbours;
  if (!chain.first) in_fragments(t, ea, ea.axes[r.vector].var, ke.var, columns, depth, depths);
  if (c.in_registers()) return expand_in_registers(t, chain, {e_out, e_acc, x, r, ke.name, depth, columns, depths}, {block, reader, at}, out, c, d);
  // [row][column][channel]: columns lie in banks of their own for those who store, rows for those who read.
  Layout image = image_of(r), padded;
  padded = image;
  image.push_back({r.vector});
  const int64_t project_depth = depth_for(c.chunk / c.warps_k, d), pad = banks_for(chain, c, eo.dtype, project_depth).pad;
  padded.push_back({r.vector, 1, 0, pad});
  t.pack(e_out, padded);
  t.pack(e_acc, image);
  const int64_t across = ceil_div(chain.region(c.columns), kMatrixGroups);
  t.storage_align(e_out, bank_padding(chain.region(c.columns) * (c.chunk + pad), project_depth, eo.dtype, chain.stride * c.rows));
  const int64_t step = c.expand_rows * c.expand_y;  // rows at once
  const int64_t high = ceil_div(chain.region(c.high()), step) * step;
  std::string serial;
  for (const std::string& stage : {e_out, e_acc}) {
    const Stage& self = stage == e_out ? eo : ea;
    const auto axis = [&](uint32_t i) { return self.axes[i].name; };
    // Instructions sum whole tiles; only the region is stored.
    const Tail tail = stage == e_out ? Tail::Guard : Tail::Whole;
    auto [ys, y] = t.split(stage, axis(r.outer[0]), step, tail);
    auto [y_warp, rows] = t.split(stage, y, c.expand_rows, tail);
    auto [x_warp, group] = t.split(stage, axis(*r.tile), kMatrixGroups, tail);
    auto [c_warp, within] = t.split(stage, axis(r.vector), 8 * columns, Tail::Whole);
    auto [lane, own] = t.split(stage, within, kMatrixPairs * columns, Tail::Whole);
    WarpLoops w{.outside = names(self.axes, r.unit), .bound = {y_warp, x_warp, c_warp, group, lane}, .points = rows, .channels = own};
    w.outside.push_back(ys);
    if (stage == e_out) {
      w.groups = std::min<int64_t>(kMatrixGroups, chain.region(c.columns));
      store_by_warps(t, stage, w, r.vector, columns);
      serial = ys;
    } else if (chain.first) {
      sum_window(t, stage, w, *chain.first, d);
    } else {
      sum_by_warps(t, stage, w, ke, ke.name, depth);
    }
  }
  t.compute_at(e_out, reader, at);
  t.guard_halo(e_out);
  t.compute_at(e_acc, e_out, serial);
  t.guard_halo(e_acc);
  t.set_scope(e_acc, Scope::Register);
  if (chain.first)
    window_in_block(t, x, e_acc, out, block, chain, high, across * kMatrixGroups, c, d);
  else if (!cached(t, x, c.splits > 1 ? e_acc : "", out, block, ke.extent, depth, std::nullopt, across * kMatrixGroups, high, c.threads(), depths))
    return false;
  return !t.failure();
}

// What the depthwise sum of a block's chunk of channels reads besides, in its memory: on its way while the chunk is expanded.
void weights_of_chunk(Schedule& t, const std::string& out, const Roles& d, const std::string& block, const ChainTile& c) {
  const Stage o = t.group()[*t.group().named(out)];
  std::vector<std::string> read;
  for (const StageId p : producers(t.group(), *t.group().named(out))) read.push_back(t.group()[p].name);
  for (const std::string& name : read) {
    const Stage w = t.group()[*t.group().named(name)];
    const auto channel = axis_moved(t.group()[*t.group().named(out)], *t.group().named(name), o.axes[d.vector].var);
    if (w.kind != StageKind::Constant || !channel) continue;
    const std::vector<uint32_t> order = physical_order(w);
    if (order.back() != *channel || w.axes[*channel].extent % vector_of(w.dtype)) continue;
    const std::string copy = t.cache_read(w.name);
    if (t.failure()) return;
    t.compute_at(copy, out, block);
    t.pack(copy, w.layout.empty() ? axes_in_order(w.axes.size(), {}, {}) : w.layout);
    std::vector<int64_t> region;
    for (uint32_t a = 0; a < w.axes.size(); ++a) region.push_back(a == *channel ? c.chunk : w.axes[a].extent);
    copy_by_threads(t, copy, order, region, c.threads());
  }
}

// D as the output, one block a tile and chunk of channels; its threads have vectors of channels in a column.
std::string depthwise_output(Schedule& t, const std::string& out, const Roles& d, const ChainTile& c) {
  const Stage o = t.group()[*t.group().named(out)];
  const auto axis = [&](uint32_t i) { return o.axes[i].name; };
  std::vector<std::string> blocks = names(o.axes, d.unit);
  auto [yo, y] = t.split(out, axis(d.outer[0]), c.high(), Tail::Whole);
  auto [xo, x] = t.split(out, axis(*d.tile), c.columns, Tail::Whole);
  auto [co, ci] = t.split(out, axis(d.vector), c.chunk, Tail::Whole);
  const int64_t width = vector_of(o.dtype);
  auto [vectors, lanes] = t.split(out, ci, width, Tail::Whole);
  blocks.insert(blocks.end(), {yo, xo, co});
  // Rows of a column that fall to a thread.
  const int64_t at_once = std::max<int64_t>(1, c.threads() / (c.columns * (c.chunk / width)));
  auto [y_thread, rows] = t.split(out, y, std::max<int64_t>(1, c.high() / at_once), Tail::Whole);
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

Layout image_of(const Roles& r) {
  Layout l;
  for (const uint32_t u : r.unit) l.push_back({u});
  l.push_back({r.outer[0]});
  l.push_back({*r.tile});
  return l;
}

bool cached(Schedule& t, const std::string& input, const std::string& only, const std::string& reader, const std::string& at, int64_t size,
            int64_t depth, std::optional<int64_t> apart, int64_t across, int64_t down, int64_t threads,
            Depths depths, std::optional<DType> as) {
  const Stage& x = t.group()[*t.group().named(input)];
  const DType type = x.dtype;
  const std::vector<uint32_t> order = physical_order(x);
  const size_t rank = order.size();
  Layout layout = x.layout;
  const std::string copy = t.cache_read(input, only, as);
  if (t.failure()) return false;
  t.compute_at(copy, reader, at);
  t.guard_halo(copy);
  const bool by_rows = apart && depths == Depths::Pieces && !layout.empty();
  if (!layout.empty()) {
    layout.back().pad = apart ? 0 : depths == Depths::Pieces ? piece_padding(size, type) : bank_padding(size, depth, type);
    // Rows that a warp loads at once are neighbours.
    if (by_rows) {
      const auto row = std::ranges::find(layout, order[rank - 3], &LayoutDim::axis);
      row->div = *apart;
      layout.insert(row, {order[rank - 3], 1, *apart});
    }
    t.pack(copy, layout);
  }
  if (apart) t.storage_align(copy, depths == Depths::Pieces ? piece_padding(across * size, type) : bank_padding(across * size, depth, type, *apart));
  const Stage self = t.group()[*t.group().named(copy)];
  std::vector<int64_t> region(rank, 1);
  region[order[rank - 1]] = self.axes[order[rank - 1]].extent;
  region[order[rank - 2]] = across;
  region[order[rank - 3]] = down;
  if (by_rows) return copy_in_order(t, copy, region, threads);
  copy_by_threads(t, copy, order, region, threads);
  return true;
}

bool by_chain(Schedule& s, const ChainTile& c, const Device& d) {
  const auto found = chain_of(s);
  if (!found || d.sm < 80) return false;
  const Chain& chain = *found;
  if (chain.expanded % (c.chunk * c.splits) || (c.chunk / 8) % c.expand_n || ((c.splits > 1 || c.rows > 1) && !chain.project) || c.rows > kMatrixPairs) return false;
  if (chain.project && (c.columns % c.warps_x || (c.rows * c.columns / c.warps_x) % kMatrixPairs || chain.channels % (8 * c.warps_n))) return false;
  const int64_t step = chain.project ? 2 * kMatrixDepth * c.warps_k : 8;  // channels at a time
  if (c.in_registers() ? !fits_registers(chain, c) : c.chunk % step != 0) return false;
  if (chain.project ? c.tall > 0 : c.weights > 0) return false;
  Schedule t = s;
  const StageGroup& g = t.group();
  const std::string out = g[g.outputs[0]].name, d_out = g[chain.depthwise.roles.out].name;
  const std::string x = g[chain.expand ? chain.expand->input : chain.depthwise.input].name;
  const std::string e_out = chain.expand ? g[chain.expand->roles.out].name : "";
  const std::string projection_weights = chain.project ? g[chain.project->weights].name : "";
  std::string reader = out, at, block, sums = out;  // what one kernel stores: sums of all channels, or of parts
  std::optional<Roles> roles;                       // of the output, where there is a projection
  if (chain.project) {
    expand_depthwise(t, chain.depthwise, d);
    t.inline_stage(d_out);
    reader = t.failure() ? "" : sum_of(t, out);
    roles = reader.empty() || t.failure() ? std::nullopt : of_images(roles_of(t, *g.named(out)));
    if (!roles) return false;
    if (c.splits > 1) sums = reader = in_parts(t, reader, *roles, c.splits);
    if (t.failure()) return false;
    const Projection projection = project(t, sums, reader, *roles, chain, c, d);
    block = projection.block;
    reader = projection.reader;
    at = projection.chunk;
  } else {
    expand_depthwise(t, chain.depthwise, d);
    if (t.failure()) return false;
    block = at = depthwise_output(t, out, chain.depthwise.roles, c);
    weights_of_chunk(t, out, chain.depthwise.roles, block, c);
  }
  if (t.failure()) return false;
  if (chain.expand) {
    if (!expanded(t, chain, e_out, x, reader, at, sums, block, c, d)) return false;
  } else {
    if (!cached(t, x, c.splits > 1 ? reader : "", reader, at, c.chunk, depth_for(c.chunk / c.warps_k, d), chain.stride * c.rows, chain.region(c.columns),
           chain.region(c.high()), c.threads())) return false;
  }
  if (c.weights > 0 && !weights_in_block(t, reader, sums, block, c.weights > 1 ? "" : projection_weights, c.threads())) return false;
  if (t.failure()) return false;
  if (c.splits > 1) {
    const auto part = static_cast<uint32_t>(g[*g.named(sums)].axes.size() - 1);
    const std::vector<TileAxis> tile = {{roles->outer[0], c.high()}, {*roles->tile, c.columns}, {roles->vector, chain.channels}};
    Schedule u = t;
    u.pack(sums, parts_by_tiles(part, roles->unit, tile));
    if (d.sm >= clusters_from && c.splits <= c_like::kMostOfACluster && by_slices(u, out, roles->unit, tile, c.splits, c.threads()) && lowers(u)) {
      s = u;
      return true;
    }
    if (!by_points(t, out, {4})) return false;
  } else if (!lowers(t)) {
    return false;
  }
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
