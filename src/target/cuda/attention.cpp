// Attention as one kernel: a block has some queries of a head, and all scores of these in its memory, once as products, once
// as the numerators of the softmax that the second product sums.
//
//   block: products           matrix instructions: warps have parts of the keys; in the block's memory
//          max                rows to warps: registers, lanes; in the block's memory
//          exp                rows to warps; in the block's memory, as instructions want it
//          sum                rows to warps: registers, lanes; in the block's memory
//          acc                matrix instructions: warps have parts of the channels of values; registers
//     output
#include <algorithm>
#include <limits>

#include "loop/matrix_sum.h"
#include "loop/thread_sum.h"
#include "target/cuda/chain.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

struct Attention {
  std::string products, top, exp, sum, acc, out;
  size_t batch = 0;  // axes before the last two
  int64_t queries = 0, keys = 0, depth = 0, channels = 0, heads = 1;
};

std::vector<StageId> computed_of(const StageGroup& g, const Expr& e) {
  std::vector<StageId> all;
  visit(e, [&](const Expr& x) {
    if (x.kind() == ExprKind::Load && g[x.from()].is_compute() && std::ranges::find(all, x.from()) == all.end()) all.push_back(x.from());
  });
  return all;
}

// What is neither a sum nor read as an operand is computed where it is read.
Schedule with_sums_alone(Schedule s) {
  const StageGroup& g = s.group();
  for (bool again = true; again && !s.failure();) {
    again = false;
    for (StageId i = 0; i < g.stages.size() && !again; ++i) {
      const Stage& x = g[i];
      const bool output = std::ranges::find(g.outputs, i) != g.outputs.end();
      bool exponential = false;
      if (x.is_compute() && x.body) visit(x.body, [&](const Expr& e) { exponential |= e.kind() == ExprKind::Unary && e.unary() == UnaryOp::Exp; });
      if (!x.is_compute() || x.is_reduction() || x.scan || output || exponential) continue;
      s.inline_stage(std::string(x.name));
      again = true;
    }
  }
  return s;
}

// Of a group of sums alone (with_sums_alone).
std::optional<Attention> attention_of(const Schedule& s) {
  const StageGroup& g = s.group();
  if (s.failure() || g.outputs.size() != 1 || std::ranges::count_if(g.stages, &Stage::is_compute) != 6) return std::nullopt;
  const Stage& o = g[g.outputs[0]];
  const size_t rank = o.axes.size();
  if (o.is_reduction() || rank < 2) return std::nullopt;
  Attention a{.products = {}, .top = {}, .exp = {}, .sum = {}, .acc = {}, .out = o.name, .batch = rank - 2};
  std::optional<StageId> acc, sum, exp, top, products;
  for (const StageId p : computed_of(g, o.body)) (g[p].axes.size() == rank ? acc : sum) = p;
  if (!acc || !sum || !reads_pointwise(o, *acc, g[*acc]) || !is_product(g[*acc]) || g[*sum].op != Combine::Sum) return std::nullopt;
  for (const StageId p : computed_of(g, g[*acc].body)) exp = p;
  if (!exp || g[*exp].is_reduction() || computed_of(g, g[*sum].body) != std::vector{*exp}) return std::nullopt;
  for (const StageId p : computed_of(g, g[*exp].body)) (g[p].op == Combine::Max ? top : products) = p;
  if (!top || !products || !is_product(g[*products]) || computed_of(g, g[*top].body) != std::vector{*products} || !computed_of(g, g[*products].body).empty())
    return std::nullopt;
  for (const StageId one : {*acc, *sum, *top, *products})
    if (g[one].raxes.size() != 1 || !g[one].is_reduction()) return std::nullopt;
  if (g[*exp].axes.size() != rank || g[*products].axes.size() != rank || g[*top].axes.size() + 1 != rank || g[*sum].axes.size() + 1 != rank) return std::nullopt;
  a.products = g[*products].name, a.top = g[*top].name, a.exp = g[*exp].name, a.sum = g[*sum].name, a.acc = g[*acc].name;
  a.queries = o.axes[rank - 2].extent, a.channels = o.axes[rank - 1].extent;
  a.keys = g[*exp].axes[rank - 1].extent, a.depth = g[*products].raxes[0].extent;
  for (size_t b = 0; b < a.batch; ++b) a.heads *= o.axes[b].extent;
  const std::vector<uint32_t> order = physical_order(o);
  const bool fits = a.depth % kMatrixDepth == 0 && a.channels % 8 == 0 && a.keys >= 2 * kMatrixDepth && a.keys == g[*acc].raxes[0].extent && !order.empty() && order.back() == rank - 1;
  return fits ? std::optional(a) : std::nullopt;
}

// The second product's tile: warps along the channels, as many as there are, others along the queries.
MatrixTile second_of(const Attention& a, const AttentionTile& x) {
  const int64_t eights = a.channels / 8;
  const auto even_part = [](int64_t n, int64_t most) {
    int64_t part = std::min(n, most);
    while (n % part) --part;
    return part;
  };
  const int64_t wide = even_part(eights, x.warps), high = even_part(x.rows, x.warps / wide);
  return {.rows = x.rows / high, .columns = eights / wide, .warps_m = high, .warps_n = wide};
}

int64_t key_columns(const Attention& a, const AttentionTile& x) { return ceil_div(ceil_div(a.keys, int64_t{8}), x.warps); }
int64_t keys_in_steps(const Attention& a, const Device& d) { return ceil_div(a.keys, instruction_depth(d)) * instruction_depth(d); }

int64_t block_bytes(const Attention& a, const AttentionTile& x, const Device& d) {
  const int64_t rows = 16 * x.rows, keys = 8 * key_columns(a, x) * x.warps + 4, size = size_of(d.storage), piece = 16 / size;
  const int64_t in_steps = keys_in_steps(a, d), kept = x.kept ? in_steps * (a.channels + piece) * size : 0;
  return rows * (4 * keys + size * (in_steps + piece) + 8) + kept;
}

// Loops of a stage of scores or of rows: batch, rows of the block's in turn and by warps.
struct RowLoops {
  std::vector<std::string> order;
  std::string turn, warp;
};

class ByAttention {
 public:
  ByAttention(Schedule& t, const Attention& a, const AttentionTile& x, const Device& d) : t_(t), a_(a), x_(x), d_(d) {}

  bool run() {
    // The sum's terms in whole steps; what instructions read is of their type.
    t_.flatten(a_.acc, instruction_depth(d_));
    const std::string copy = t_.cache_read(a_.exp, a_.acc, d_.halves() ? std::optional(d_.storage) : d_.products == 1 ? std::optional(DType::TF32) : std::nullopt);
    t_.inline_stage(a_.exp);
    if (t_.failure()) return false;
    output();
    products();
    of_rows(a_.top);
    numerators(copy);
    of_rows(a_.sum);
    if (x_.kept && !keep_values()) return false;
    return !t_.failure() && lowers(t_);
  }

 private:
  Stage stage(const std::string& name) const { return t_.group()[*t_.group().named(name)]; }
  std::vector<std::string> batch_of(const Stage& s) const {
    std::vector<std::string> loops;
    for (size_t b = 0; b < a_.batch; ++b) loops.push_back(s.axes[b].name);
    return loops;
  }
  void in_block(const std::string& name) {
    t_.compute_at(name, a_.out, block_);
    t_.guard_halo(name);
  }

  void output() {
    const Stage o = stage(a_.out), acc = stage(a_.acc);
    Roles r{.vector = static_cast<uint32_t>(a_.batch + 1), .tile = static_cast<uint32_t>(a_.batch)};
    for (uint32_t b = 0; b < a_.batch; ++b) (o.axes[b].extent == 1 ? r.unit : r.outer).push_back(b);
    const MatrixTile tile = second_of(a_, x_);
    if (!o.layout.empty()) t_.pack(a_.acc, o.layout);
    const WarpLoops stored = warp_loops(t_, o, r, {}, tile, "", {});
    store_by_warps(t_, a_.out, stored, r.vector, tile.columns);
    block_ = fused(t_, a_.out, stored.outside);
    t_.parallel(a_.out, block_);
    const WarpLoops summed = warp_loops(t_, acc, r, {}, tile, "", {});
    const Axis k = acc.raxes[0];
    sum_by_warps(t_, a_.acc, summed, k, k.name, depth_for(k.extent, d_));
    in_block(a_.acc);
    t_.set_scope(a_.acc, Scope::Register);
  }

  // Warps have neighbouring keys of all rows.
  void products() {
    const std::string acc = t_.cache_write(a_.products);
    if (t_.failure()) return;
    const int64_t columns = key_columns(a_, x_);
    Layout layout = axes_in_order(a_.batch + 2, {}, {});
    t_.pack(acc, layout);
    layout.back().pad = 4;  // rows lie in banks of their own
    t_.pack(a_.products, layout);
    std::string serial;
    for (const std::string& name : {a_.products, acc}) {
      const Stage self = stage(name);
      WarpLoops w{.outside = batch_of(self), .bound = {}, .points = {}, .channels = {}};
      auto [mo, m] = t_.split(name, self.axes[a_.batch].name, 16 * x_.rows, Tail::Whole);
      auto [group, points] = t_.split(name, m, 2 * x_.rows, Tail::Whole);
      auto [no, n] = t_.split(name, self.axes[a_.batch + 1].name, 8 * columns * x_.warps, Tail::Whole);
      auto [warp, within] = t_.split(name, n, 8 * columns, Tail::Whole);
      auto [lane, own] = t_.split(name, within, kMatrixPairs * columns, Tail::Whole);
      w.outside.insert(w.outside.end(), {mo, no});
      w.bound = {warp, group, lane};
      w.points = points;
      w.channels = own;
      if (name == acc) {
        const Axis k = self.raxes[0];
        sum_by_warps(t_, name, w, k, k.name, depth_for(k.extent, d_));
      } else {
        store_by_warps(t_, name, w, static_cast<uint32_t>(a_.batch + 1), columns);
        serial = no;
      }
    }
    in_block(a_.products);
    t_.compute_at(acc, a_.products, serial);
    t_.guard_halo(acc);
    t_.set_scope(acc, Scope::Register);
  }

  RowLoops rows_of(const std::string& name) {
    const Stage self = stage(name);
    RowLoops r{.order = batch_of(self), .turn = {}, .warp = {}};
    std::tie(r.turn, r.warp) = t_.split(name, self.axes[a_.batch].name, x_.warps, Tail::Whole);
    r.order.insert(r.order.end(), {r.turn, r.warp});
    return r;
  }

  // A reduction of each row: threads of a warp have every 32nd term, and meet by shuffles.
  void of_rows(const std::string& name) {
    const std::string k = stage(name).raxes[0].name;
    const std::string part = t_.rfactor(name, k, std::min(kWarp, power_below(a_.keys)), true, 1, true), acc = t_.cache_write(name);
    if (t_.failure()) return;
    RowLoops r = rows_of(part);
    const std::string lane = stage(part).axes.back().name;
    r.order.insert(r.order.end(), {lane, k + "o"});
    t_.reorder(part, r.order);
    for (const std::string& l : {r.warp, lane}) t_.bind(part, l);
    for (const std::string& l : {r.turn, k + "o"}) t_.unroll(part, l);
    in_block(part);
    t_.set_scope(part, Scope::Register);

    r = rows_of(name);
    t_.reorder(name, r.order);
    t_.bind(name, r.warp);
    t_.unroll(name, r.turn);
    in_block(name);
    t_.compute_at(acc, name, r.warp);
    t_.guard_halo(acc);
    std::vector<std::string> points;
    for (const Axis& x : stage(acc).axes) points.push_back(x.name);
    combine_lanes(t_, acc, std::move(points), k + "i");
  }

  // By words, of which a thread computes both halves.
  void numerators(const std::string& name) {
    const Stage self = stage(name);
    Layout layout = axes_in_order(a_.batch + 2, {}, {});
    layout.back().pad = piece_padding(keys_in_steps(a_, d_), self.dtype);
    t_.pack(name, layout);
    RowLoops r = rows_of(name);
    const int64_t words = 4 / size_of(self.dtype);
    auto [turns, n] = t_.split(name, self.axes[a_.batch + 1].name, kWarp * words, Tail::Whole);
    std::string lane = n, vector;
    if (words > 1) std::tie(lane, vector) = t_.split(name, n, words, Tail::Whole);
    r.order.insert(r.order.end(), {turns, lane});
    if (words > 1) r.order.push_back(vector);
    t_.reorder(name, r.order);
    for (const std::string& l : {r.warp, lane}) t_.bind(name, l);
    for (const std::string& l : {r.turn, turns}) t_.unroll(name, l);
    if (words > 1) t_.vectorize(name, vector, true);
    in_block(name);
  }

  // Values in the block's memory, on their way while scores are computed; zeros behind the last.
  bool keep_values() {
    const Stage acc = stage(a_.acc);
    for (const StageId p : producers(t_.group(), *t_.group().named(a_.acc))) {
      const Stage v = t_.group()[p];
      const auto key = axis_moved(acc, p, acc.raxes[0].var), channel = axis_moved(acc, p, acc.axes[a_.batch + 1].var);
      if (v.is_compute() || !key || !channel || physical_order(v).back() != *channel || a_.channels % vector_of(v.dtype)) continue;
      const std::string copy = t_.cache_read(v.name, a_.acc);
      if (t_.failure()) return false;
      in_block(copy);
      const auto rank = static_cast<uint32_t>(v.axes.size());
      Layout layout = axes_in_order(rank, {}, {*key, *channel});
      std::vector<uint32_t> order;
      for (const LayoutDim& l : layout) order.push_back(l.axis);
      layout.back().pad = piece_padding(a_.channels, v.dtype);
      t_.pack(copy, layout);
      std::vector<int64_t> region(rank, 1);
      region[*key] = keys_in_steps(a_, d_);
      region[*channel] = a_.channels;
      copy_by_threads(t_, copy, order, region, 32 * x_.warps);
      return !t_.failure();
    }
    return false;
  }

  Schedule& t_;
  const Attention& a_;
  const AttentionTile& x_;
  const Device& d_;
  std::string block_;
};

bool is_possible(const Attention& a, const AttentionTile& x, const Device& d) {
  constexpr int64_t most_sums = 24, most_turns = 8;  // tiles of instructions of a warp; rows in turn
  const MatrixTile second = second_of(a, x);
  return x.rows * key_columns(a, x) <= most_sums && second.rows * second.columns <= most_sums && 16 * x.rows <= most_turns * x.warps && block_bytes(a, x, d) <= d.block_bytes;
}

// What a block waits for: both operands twice, the phases; instructions of its warps; what a thread does for each score.
double cycles_of(const Attention& a, const AttentionTile& x, const Device& d) {
  constexpr double phases = 5 * 200, instruction = 10.5, score = 25;
  const double loads = (x.kept ? 2 : 4) * 600;
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const double blocks = real(a.heads * ceil_div(a.queries, 16 * x.rows)), warps = real(x.warps);
  const double instructions = real(x.rows * ceil_div(a.keys, int64_t{8})) * real(a.depth + a.channels) / 8 / warps;
  const double scores = real(16 * x.rows * a.keys) / (32 * warps);
  const double share = size_of(d.storage) == 2 ? 0.5 : 1;
  const double resident = std::max(1.0, std::floor(std::min(228.0 * 1024 / real(block_bytes(a, x, d) + 1024), 64 / warps / 4)));
  const double waves = std::max(1.0, std::ceil(blocks / d.multiprocessors) / resident);
  return kKernelCycles + waves * (phases + loads + instructions * instruction * share * d.products * 2 + scores * score);
}

std::optional<Attention> attention_in(const Schedule& s, const Device& d) {
  constexpr int64_t sums = 4;  // other groups are not looked at
  if (d.sm < 80 || std::ranges::count_if(s.group().stages, &Stage::is_reduction) != sums) return std::nullopt;
  return attention_of(with_sums_alone(s));
}

std::vector<AttentionTile> tiles_of(const Attention& a, const Device& d) {
  std::vector<AttentionTile> tiles;
  for (const int64_t rows : {1, 2, 4})
    for (const int64_t warps : {2, 4, 8, 16})
      for (const bool kept : {true, false})
        if (const AttentionTile x{rows, warps, kept}; is_possible(a, x, d)) tiles.push_back(x);
  return from_the_best(tiles, [&](const AttentionTile& x) { return cycles_of(a, x, d); });
}

}  // namespace

std::vector<AttentionTile> attention_tiles(const Schedule& s, const Device& d) {
  const auto a = attention_in(s, d);
  return a ? tiles_of(*a, d) : std::vector<AttentionTile>{};
}

std::optional<double> attention_cycles(const Schedule& s, const Device& d) {
  const auto a = attention_in(s, d);
  const auto tiles = a ? tiles_of(*a, d) : std::vector<AttentionTile>{};
  return tiles.empty() ? std::nullopt : std::optional(cycles_of(*a, tiles[0], d));
}

bool by_attention(Schedule& s, const AttentionTile& x, const Device& d) {
  Schedule t = with_sums_alone(s);
  const auto a = attention_of(t);
  if (!a || !is_possible(*a, x, d) || !ByAttention(t, *a, x, d).run()) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
