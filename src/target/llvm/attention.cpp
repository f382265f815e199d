// Attention in one nest. Lanes run along the queries of a block, so maxima and sums of rows are
// plain vector loops, and scores are stored transposed, as the second product reads them:
//
//   for heads, blocks of queries (shared by threads):
//     queries:  scaled and transposed in registers                                    k x block
//     scores:   for tiles of keys: registers over k, + mask                           keys x block
//     max:      over keys;   exp: keys x block;   sum: over keys;   inverse: 1 / sum
//     out:      for tiles of queries and values: registers over keys, * inverse, store
#include "target/llvm/attention.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "target/llvm/grid.h"

namespace burnish::llvm_target {

namespace {

bool computed_reduction(const StageGroup& g, StageId s) {
  return g[s].is_compute() && g[s].is_reduction();
}

std::vector<StageId> computed_producers(const StageGroup& g, StageId s) {
  std::vector<StageId> all = producers(g, s);
  std::erase_if(all, [&](StageId p) { return !g[p].is_compute(); });
  return all;
}

// A reduction over one axis whose only computed producers are these.
bool reduces(const StageGroup& g, StageId s, Combine op, std::vector<StageId> of) {
  std::vector<StageId> from = computed_producers(g, s);
  std::ranges::sort(from);
  std::ranges::sort(of);
  return computed_reduction(g, s) && g[s].op == op && g[s].raxes.size() == 1 && !g[s].init &&
         !g[s].finish && from == of;
}

// The only one of `all` for which the condition holds.
template <class Condition>
std::optional<StageId> only(const std::vector<StageId>& all, Condition holds) {
  std::optional<StageId> found;
  for (StageId s : all) {
    if (!holds(s)) continue;
    if (found) return std::nullopt;
    found = s;
  }
  return found;
}

// Does the product's load of `from` move with this axis?
bool loads_along(const Stage& product, StageId from, VarId axis) {
  bool along = false;
  visit(product.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || x.from() != from) return;
    along |= std::ranges::any_of(x.indices(), [&](const Index& i) { return moves(i, axis); });
  });
  return along;
}

}  // namespace

std::optional<AttentionStages> attention_stages(const StageGroup& g, StageId out) {
  AttentionStages a{.out = out};
  const auto reduction = [&](StageId s) { return computed_reduction(g, s); };
  const auto plain = [&](StageId s) { return !computed_reduction(g, s); };
  if (g[out].is_reduction()) return std::nullopt;
  const auto of_out = computed_producers(g, out);
  const auto acc = only(of_out, reduction), inverse = only(of_out, plain);
  if (of_out.size() != 2 || !acc || !inverse) return std::nullopt;
  const auto of_acc = computed_producers(g, *acc), of_inverse = computed_producers(g, *inverse);
  if (of_acc.size() != 1 || reduction(of_acc[0]) || of_inverse.size() != 1) return std::nullopt;
  a.acc = *acc;
  a.inverse = *inverse;
  a.exp = of_acc[0];
  a.sum = of_inverse[0];
  if (!reduces(g, a.acc, Combine::Sum, {a.exp}) || !reduces(g, a.sum, Combine::Sum, {a.exp}))
    return std::nullopt;
  const auto of_exp = computed_producers(g, a.exp);
  const auto top = only(of_exp, [&](StageId s) { return reduction(s) && g[s].op == Combine::Max; });
  if (of_exp.size() != 2 || !top) return std::nullopt;
  a.max = *top;
  a.scores = of_exp[0] == a.max ? of_exp[1] : of_exp[0];
  if (!reduces(g, a.max, Combine::Max, {a.scores})) return std::nullopt;
  a.products = a.scores;
  if (!reduction(a.scores)) {
    const auto of_scores = computed_producers(g, a.scores);
    if (of_scores.size() != 1) return std::nullopt;
    a.products = of_scores[0];
    if (!reads_pointwise(g[a.scores], a.products, g[a.products])) return std::nullopt;
  }
  const Stage& product = g[a.products];
  const auto of_product = computed_producers(g, a.products);
  if (!reduces(g, a.products, Combine::Sum, of_product) || of_product.size() > 1)
    return std::nullopt;
  const size_t rank = product.axes.size();
  if (rank < 2 || g[a.exp].axes.size() != rank || g[a.acc].axes.size() != rank ||
      g[a.max].axes.size() + 1 != rank || !reads_pointwise(g[out], a.acc, g[a.acc])) {
    return std::nullopt;
  }
  a.row = static_cast<uint32_t>(rank - 2);
  const auto queries = only(producers(g, a.products), [&](StageId s) {
    return loads_along(product, s, product.axes[a.row].var) &&
           !loads_along(product, s, product.axes[a.row + 1].var);
  });
  if (!queries || (!of_product.empty() && of_product[0] != *queries)) return std::nullopt;
  if (!of_product.empty() &&
      (!computed_producers(g, *queries).empty() || g[*queries].axes.size() < 2))
    return std::nullopt;
  a.queries = *queries;
  const std::vector<StageId> known = {a.out, a.acc,    a.inverse,  a.sum,    a.exp,
                                      a.max, a.scores, a.products, a.queries};
  for (StageId s = 0; s < g.stages.size(); ++s) {
    if (g[s].is_compute() && std::ranges::find(known, s) == known.end()) return std::nullopt;
  }
  return a;
}

namespace {

Layout with_last(size_t rank, uint32_t last) {
  Layout layout;
  for (uint32_t a = 0; a < rank; ++a) {
    if (a != last) layout.push_back({a});
  }
  layout.push_back({last});
  return layout;
}

// Orders a stage's loops: all others, then `inside`, then vectors along an axis; vectors expanded.
void along_lanes(Schedule& s, const std::string& name, const std::string& axis, int64_t lanes,
                 const std::vector<std::string>& inside) {
  auto [vectors, in] = s.split(name, axis, lanes, Tail::Tail);
  std::vector<std::string> order;
  for (const std::string& l : s.loops(name)) {
    if (l != vectors && l != in && std::ranges::find(inside, l) == inside.end()) order.push_back(l);
  }
  order.insert(order.end(), inside.begin(), inside.end());
  order.insert(order.end(), {vectors, in});
  s.reorder(name, order);
  s.unroll(name, vectors);
  s.vectorize(name, in);
}

// A reduction over keys, several chains side by side.
void reduce_keys(Schedule& s, const std::string& name, const std::string& row, int64_t lanes,
                 const std::string& out, const std::string& place) {
  constexpr int64_t chains = 4;
  const Axis keys = s.group()[*s.group().named(name)].raxes[0];
  std::vector<std::string> parts{name};
  std::string loop = keys.name;
  if (keys.extent >= 2 * chains) {
    parts.push_back(s.rfactor(name, keys.name, chains, true));
    if (s.failure()) return;
    loop = keys.name + "i";
    along_lanes(s, parts[1], row, lanes, {keys.name + "o", loop});
    s.unroll(parts[1], loop);
    const size_t rank = s.group()[*s.group().named(parts[1])].axes.size();
    s.pack(parts[1], with_last(rank, static_cast<uint32_t>(rank - 2)));
    if (s.group().named(name + ".rest")) {
      parts.push_back(name + ".rest");
      along_lanes(s, parts[2], row, lanes, {keys.name + "r"});
      s.unroll(parts[2], keys.name + "r");
    }
  }
  along_lanes(s, name, row, lanes, {loop});
  s.unroll(name, loop);
  for (const std::string& p : parts) {
    s.compute_at(p, out, place);
    s.set_scope(p, Scope::Register);
  }
}

Result<Schedule> attention_schedule(const Schedule& inlined, const AttentionStages& a,
                                    const AttentionChoice& c, const Machine& m) {
  Schedule s = inlined;
  const StageGroup& g = inlined.group();
  const Stage out = g[a.out], scores = g[a.scores], products = g[a.products];
  const size_t rank = out.axes.size();
  const uint32_t keys = a.row + 1, values = a.row + 1;
  const int64_t lanes = lanes_of(m, out.dtype);
  std::string exp = g[a.exp].name, max = g[a.max].name, sum = g[a.sum].name,
              inverse = g[a.inverse].name, queries = g[a.queries].name;
  if (!g[a.queries].is_compute()) queries = s.cache_read(queries);
  if (s.failure()) return *s.failure();
  const Stage q = s.group()[*s.group().named(queries)];
  std::vector<uint32_t> batch;
  for (uint32_t x = 0; x < a.row; ++x) batch.push_back(x);
  const auto id = [&](const std::string& name) { return *s.group().named(name); };

  // The output.
  const Roles roles{.out = id(out.name),
                    .acc = id(g[a.acc].name),
                    .vector = values,
                    .tile = a.row,
                    .outer = {},
                    .unit = batch,
                    .broadcast = true};
  const TileChoice tile{.rows = c.rows,
                        .lanes = lanes,
                        .vectors = c.vectors,
                        .edges = kEdgesGuarded,
                        .block = c.block};
  const Tiled tiled = make_tile(s, roles, tile);
  if (s.failure()) return *s.failure();
  std::vector<std::string> outside = names(out.axes, batch);
  const std::string place = tiled.loops.blocks;
  outside.insert(outside.end(), {place, tiled.loops.panels, tiled.loops.tiles});
  attach_tile(s, tiled, roles, tile, outside);

  // The softmax.
  const std::string row = scores.axes[a.row].name, key = scores.axes[keys].name;
  s.compute_at(inverse, out.name, place);
  along_lanes(s, inverse, g[a.inverse].axes[a.row].name, lanes, {});
  reduce_keys(s, sum, g[a.sum].axes[a.row].name, lanes, out.name, place);
  s.compute_at(exp, out.name, place);
  s.pack(exp, with_last(rank, a.row));
  along_lanes(s, exp, g[a.exp].axes[a.row].name, lanes, {g[a.exp].axes[keys].name});
  reduce_keys(s, max, g[a.max].axes[a.row].name, lanes, out.name, place);

  // Scores.
  s.pack(scores.name, with_last(rank, a.row));
  const Roles of_scores{.out = id(scores.name),
                        .acc = id(products.name),
                        .vector = a.row,
                        .tile = keys,
                        .outer = {},
                        .unit = batch,
                        .broadcast = true};
  const TileChoice score_tile{
      .rows = c.keys, .lanes = lanes, .vectors = ceil_div(c.block, lanes), .edges = kEdgesGuarded};
  const Tiled tiled_scores = make_tile(s, of_scores, score_tile);
  if (s.failure()) return *s.failure();
  s.compute_at(scores.name, out.name, place);
  std::vector<std::string> around = names(scores.axes, batch);
  around.insert(around.end(), {tiled_scores.loops.panels, tiled_scores.loops.tiles});
  attach_tile(s, tiled_scores, of_scores, score_tile, around);

  // Queries, transposed: squares of both axes in registers.
  const uint32_t q_row = static_cast<uint32_t>(q.axes.size() - 2), depth = q_row + 1;
  s.compute_at(queries, out.name, place);
  s.pack(queries, with_last(q.axes.size(), q_row));
  auto [k_blocks, in_block] = s.split(queries, q.axes[depth].name, lanes, Tail::Tail);
  auto [row_blocks, in_row] = s.split(queries, q.axes[q_row].name, lanes, Tail::Tail);
  std::vector<std::string> order;
  for (uint32_t x = 0; x < q_row; ++x) order.push_back(q.axes[x].name);
  order.insert(order.end(), {row_blocks, k_blocks, in_block, in_row});
  s.reorder(queries, order);
  s.unroll(queries, in_block);
  s.vectorize(queries, in_row);

  if (m.threads > 1 && worth_sharing(out, g[a.acc], m)) {
    std::vector<std::string> shared = names(out.axes, batch);
    shared.push_back(place);
    std::string loops;
    int64_t taken = 0;
    for (size_t x = 0; x < shared.size() && taken < c.shared; ++x) {
      const bool many = x < batch.size() ? out.axes[x].extent > 1 : true;
      if (loops.empty() && !many) continue;
      loops = loops.empty() ? shared[x] : s.fuse(out.name, loops, shared[x]);
      taken += many;
    }
    s.parallel(out.name, loops);
  }
  if (s.failure()) return *s.failure();
  return s;
}

}  // namespace

std::unique_ptr<Space> attention_space(const Schedule& inlined, StageId out, const Machine& m) {
  const auto found = attention_stages(inlined.group(), out);
  if (!found) return nullptr;
  const AttentionStages a = *found;
  const StageGroup& g = inlined.group();
  const Stage &o = g[out], &scores = g[a.scores];
  const int64_t lanes = lanes_of(m, o.dtype);
  const int64_t rows = o.axes[a.row].extent, keys = scores.axes[a.row + 1].extent,
                width = o.axes[a.row + 1].extent;
  const double depth = static_cast<double>(g[a.products].raxes[0].extent);
  double heads = 1;
  for (uint32_t x = 0; x < a.row; ++x) heads *= static_cast<double>(o.axes[x].extent);

  auto build = [=](const AttentionChoice& c) -> Result<Schedule> {
    return attention_schedule(inlined, a, c, m);
  };
  // Cycles of multiply-adds in tiles, of the softmax's vectors, and of what passes the second-level
  // cache.
  auto draft = [=, values = width](const AttentionChoice& c) {
    const int64_t used = m.vector_registers - 3, block = std::min(c.block, rows);
    if (c.rows * c.vectors + c.vectors > used ||
        c.keys * ceil_div(c.block, lanes) + ceil_div(c.block, lanes) > used) {
      return std::numeric_limits<double>::infinity();
    }
    const auto vectors = [&](int64_t n) {  // with a tail in pieces of powers of two
      int64_t count = n / lanes;
      for (int64_t rest = n % lanes; rest > 0; rest &= rest - 1) ++count;
      return static_cast<double>(count);
    };
    const double pass = m.passes(m.vector_bytes) / m.fma_per_cycle,
                 load = m.passes(m.vector_bytes) / m.loads_per_cycle;
    const auto tile = [&](int64_t tall, double wide) {  // cycles of a multiply-add
      const double n = static_cast<double>(tall) * wide;
      return std::max({pass, (static_cast<double>(tall) / m.loads_per_cycle + wide * load) / n,
                       m.fma_latency / n});
    };
    double cycles = 0, work = heads;
    const int64_t blocks = ceil_div(rows, c.block);
    for (int64_t i = 0; i < blocks; i += std::max<int64_t>(1, blocks - 1)) {
      const int64_t n = i + 1 < blocks ? c.block : rows - i * c.block;
      const double times = i + 1 < blocks ? static_cast<double>(blocks - 1) : 1;
      const double v = vectors(n), w = vectors(values);
      const double wide = std::min(w, static_cast<double>(c.vectors));
      cycles +=
          times *
          (static_cast<double>(keys) * v * (depth * tile(c.keys, v) + 16 * pass * m.fma_per_cycle) +
           static_cast<double>(keys) * static_cast<double>(n) * w *
               tile(std::min(c.rows, n), wide) +
           200 * static_cast<double>(ceil_div(keys, c.keys) / 10 + ceil_div(n, c.rows)) / 10);
    }
    const double scratch = static_cast<double>(2 * block * keys * size_of(DType::F32));
    if (scratch > static_cast<double>(m.l1_bytes))
      cycles += 2 * scratch * static_cast<double>(blocks) / m.l2_bandwidth;
    if (scratch > static_cast<double>(m.l2_bytes))
      cycles += 2 * scratch * static_cast<double>(blocks) / m.l3_bandwidth;
    const double items = c.shared > 1 ? heads * static_cast<double>(blocks) : heads;
    const double threads = std::max(1, m.threads);
    return cycles * work / (m.gigahertz * 1e3) * std::ceil(items / threads) / items;
  };

  std::vector<int64_t> blocks, key_tiles = tile_sizes(keys, {4, 6, 7, 8, 10, 12, 13, 14}),
                               row_tiles = {4, 5, 6, 7, 8, 10, 11, 12, 13, 14}, vectors, shares{1};
  for (int64_t n : {1, 2, 3, 4}) {
    if (n == 1 || (n - 1) * lanes < rows) blocks.push_back(n * lanes);
    if (n == 1 || (n - 1) * lanes < width) vectors.push_back(n);
  }
  if (m.threads > 1) shares.push_back(2);
  std::optional<AttentionChoice> initial;
  double least = std::numeric_limits<double>::infinity();
  AttentionChoice c;
  for (int64_t share : shares) {
    for (int64_t block : blocks) {
      for (int64_t k : key_tiles) {
        for (int64_t r : row_tiles) {
          for (int64_t v : vectors) {
            c = {.block = block, .keys = k, .rows = r, .vectors = v, .shared = share};
            const double us = draft(c);
            if (us >= least * 0.999) continue;
            if (share > 1) {  // the last block of rows may have another length
              if (auto s = build(c); !s || !lowers(*s)) continue;
            }
            least = us, initial = c;
          }
        }
      }
    }
  }
  if (!initial) return nullptr;
  if (auto s = build(*initial); !s || !lowers(*s)) return nullptr;
  auto space = std::make_unique<Grid<AttentionChoice>>(*initial, build, draft);
  space->add("block", [](AttentionChoice& x) -> int64_t& { return x.block; }, blocks);
  space->add("keys", [](AttentionChoice& x) -> int64_t& { return x.keys; }, key_tiles);
  space->add("rows", [](AttentionChoice& x) -> int64_t& { return x.rows; }, row_tiles);
  space->add("vectors", [](AttentionChoice& x) -> int64_t& { return x.vectors; }, vectors);
  space->add("shared", [](AttentionChoice& x) -> int64_t& { return x.shared; }, shares);
  return space;
}

bool attention_pays(const StageGroup& g, const Machine& m) {
  if (g.outputs.size() != 1) return false;
  Schedule inlined(g);
  inline_cheap(inlined);
  const StageId out = inlined.group().outputs[0];
  const auto a = attention_stages(inlined.group(), out);
  if (!a) return false;
  // Lanes run along the queries: fewer of them would leave most lanes empty.
  const Stage& o = inlined.group()[out];
  return o.axes[a->row].extent >= lanes_of(m, o.dtype) &&
         attention_space(inlined, out, m) != nullptr;
}

}  // namespace burnish::llvm_target
