// All ways, and when each is one. A new way is a text_of its tiles and a line in ways_of.
#include "target/cuda/ways.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

std::string text_of(const ChainTile& t) {
  return fmt::format("columns:{},warps:{}x{}x{}x{},chunk:{},expand:{}x{}x{},weights:{}{}{}", t.columns, t.warps_y,
                     t.warps_x, t.warps_n, t.warps_k, t.chunk, t.expand_y, t.expand_n,
                     t.expand_rows, t.weights, t.splits > 1 ? fmt::format(",splits:{}", t.splits) : "",
                     t.rows > 1 ? fmt::format(",rows:{}", t.rows) : "") +
         (t.in_registers() ? fmt::format(",groups:{}", t.groups) : "") + (t.tall ? fmt::format(",high:{}", t.tall) : "");
}
std::string text_of(const MatrixTile& t) {
  return fmt::format("tile:{}x{},warps:{}x{}x{}{}{}{}{}", t.rows, t.columns, t.warps_m, t.warps_n, t.warps_k,
                     t.staged ? fmt::format(",staged:{}", t.staged) : "", t.ahead || !t.staged ? fmt::format(",ahead:{}", t.ahead) : "",
                     t.stages > 2 ? fmt::format(",stages:{}", t.stages) : "", t.weights ? ",weights" : "");
}
std::string text_of(const SplitTile& x) {
  return fmt::format("parts:{},{}{}", x.parts, text_of(x.tile), x.last ? ",last" : "");
}
std::string text_of(const PairTile& x) { return fmt::format("{},second:{}{}", text_of(x.first), x.columns, x.kept ? ",kept" : ""); }
std::string text_of(const AttentionTile& x) { return fmt::format("rows:{},warps:{}{}", x.rows, x.warps, x.kept ? ",kept" : ""); }
std::string text_of(const SqueezeTile& x) { return fmt::format("cut:{},blocks:{}", x.cut, x.blocks); }
std::string text_of(const Share& x) {
  return fmt::format("vector:{},columns:{}", x.vector, x.columns);
}

// Every computed stage on its own.
struct Shares {
  std::vector<Share> elementwise;
  size_t reduction = 0;  // the first share of reductions, of those from the best
  bool only =
      false;  // for reductions that share or nothing; else the first from there on that lowers
};
std::string text_of(const Shares& x) {
  return fmt::format("{},reductions:{}{}", text_of(x.elementwise.front()), x.reduction,
                     x.only ? "" : "+");
}

bool by_stages(Schedule& s, const Shares& x, const Device& d) {
  std::vector<std::string> stages;
  for (const Stage& stage : s.group().stages)
    if (stage.is_compute()) stages.push_back(stage.name);
  for (const std::string& name : stages) {
    const Stage stage = s.group()[*s.group().named(name)];
    std::vector<Share> tried = x.elementwise;
    if (stage.is_reduction()) {
      tried = shares(stage, d);
      if (x.reduction >= tried.size() && x.only) return false;
      tried.erase(tried.begin(),
                  tried.begin() + static_cast<ptrdiff_t>(std::min(x.reduction, tried.size())));
      if (x.only) tried.resize(1);
    }
    if (tried.size() > most_tried) tried.resize(most_tried);
    const bool laid_out =
        std::ranges::any_of(tried, [&](const Share& share) { return by_points(s, name, share); });
    if (x.only && !laid_out) return false;
  }
  return true;
}

std::vector<Shares> stage_shares(const Schedule& s, const Device& d) {
  std::vector<Share> vectors = {{4}, {1}};
  if (d.halves()) vectors.insert(vectors.begin(), {8});
  std::vector<Shares> all = {{vectors}};
  size_t reductions = 0;
  bool elementwise = false;
  for (const Stage& stage : s.group().stages) {
    if (!stage.is_compute()) continue;
    if (stage.is_reduction())
      reductions = std::max(reductions, shares(stage, d).size());
    else
      elementwise = true;
  }
  for (size_t r = 0; r < std::max<size_t>(reductions, 1); ++r) {
    all.push_back({vectors, r, true});
    if (!elementwise) continue;
    for (const Share& e : {Share{2}, Share{1}, Share{4, 2}, Share{4, 4}})
      all.push_back({{e, {1}}, r, true});
  }
  return all;
}

template <class Tile, class Apply>
Way way_of(std::string name, const std::vector<Tile>& tiles, const Apply& apply) {
  Way w{.name = std::move(name), .variants = {}};
  for (const Tile& t : tiles)
    w.variants.push_back({text_of(t), [apply, t](Schedule& s) { return apply(s, t); }});
  return w;
}

// The wider the accesses the better.
template <class Apply> Way by_vectors(std::string name, const Apply& apply) {
  Way w{.name = std::move(name), .variants = {}};
  for (const int64_t vector : {4, 2, 1})
    w.variants.push_back({fmt::format("vector:{}", vector), [apply, vector](Schedule& s) { return apply(s, vector); }});
  return w;
}

// Rows of a tile share the channels' operand: where the axis before the channels in memory has another one for each point (heads,
// of products that write what a transpose would), the next axis that has not is that of the tile.
Roles with_shared_rows(const Schedule& s, Roles r) {
  const Stage& acc = s.group()[r.acc];
  if (!r.tile || !is_product(acc)) return r;
  const auto moves_with = [&](const Expr& factor, uint32_t axis) {
    return std::ranges::any_of(load_of(factor).indices(), [&](const Index& i) { return moves_beyond(i, acc.axes[axis].var); });
  };
  std::vector<Expr> with_channels;
  for (const Expr& factor : acc.body.children())
    if (moves_with(factor, r.vector)) with_channels.push_back(factor);
  if (with_channels.size() != 1 || !moves_with(with_channels[0], *r.tile)) return r;
  for (size_t i = r.outer.size(); i-- > 0;) {
    if (moves_with(with_channels[0], r.outer[i])) continue;
    std::swap(r.outer[i], *r.tile);
    break;
  }
  return r;
}

// By matrix instructions along all reduce axes as one, filled up to whole steps: convolutions of few channels. Where it is a
// window, its columns are those of lanes, so that what a step reads lies at places known beforehand.
Way flattened(const Schedule& s, const Roles& r, const Device& d) {
  Way none{.name = "flattened", .variants = {}};
  const Stage& acc = s.group()[r.acc];
  const std::string name = acc.name;
  constexpr int64_t whole_steps = 2 * kMatrixDepth;
  constexpr int64_t worth = 3'000'000;  // multiply-adds: fewer are as fast by points
  if (!acc.is_reduction() || points(acc.raxes) < whole_steps || points(acc.axes) * points(acc.raxes) < worth) return none;
  const bool window = acc.raxes.size() > 1 && acc.raxes.back().extent > 1;
  const int64_t step = window ? kFlatStep : whole_steps, lanes = window ? kMatrixLanes : 1;
  Schedule flat = s;
  flat.flatten(name, step, lanes);
  if (flat.failure()) return none;
  // Operands come one by one: a warp has all channels, or many, so that what it reads of a point serves them all.
  const int64_t channels = s.group()[r.out].axes[r.vector].extent;
  std::vector<MatrixTile> tiles = matrix_tiles(flat, r, d);
  if (!window)
    std::erase_if(tiles, [&](const MatrixTile& t) { return t.warps_k > 1 || t.ahead > 0 || 8 * t.columns < std::min<int64_t>(channels, 64); });
  return way_of(none.name, tiles, [name, r, d, step, lanes](Schedule& t, const MatrixTile& x) {
    t.flatten(name, step, lanes);
    return by_matrix(t, r, x, d);
  });
}

// A product by matrix instructions, and `products` besides, from the best by estimate; false, and nothing is added, where there are
// no instructions for it.
bool add_products(std::vector<Way>& ways, std::vector<Way> products, const Schedule& s, const Roles& r, const Device& d) {
  const std::vector<MatrixTile> tiles = matrix_tiles(s, r, d);
  if (tiles.empty()) return false;
  const auto add = [&](const std::string& name, const auto& all, const auto& cycles, const auto& apply) {
    if (all.empty()) return;
    products.push_back(way_of(name, all, apply));
    products.back().cycles = cycles(all.front());
  };
  const auto by_tile = [&](const MatrixTile& x) { return matrix_cycles(s, r, x, d); };
  const auto apply = [r, d](Schedule& t, const MatrixTile& x) { return by_matrix(t, r, x, d); };
  add("matrix", tiles, by_tile, apply);
  add("staged", staged_tiles(s, r, d), by_tile, apply);
  add("warpgroups", warpgroup_tiles(s, r, d), by_tile, apply);
  add("split", split_tiles(s, r, d), [](const SplitTile& x) { return x.cycles; }, [r, d](Schedule& t, const SplitTile& x) { return by_split(t, r, x, d); });
  std::ranges::stable_sort(products, {}, &Way::cycles);
  ways.insert(ways.end(), std::make_move_iterator(products.begin()), std::make_move_iterator(products.end()));
  return true;
}

}  // namespace

std::vector<Way> ways_of(const Schedule& s, const Device& d) {
  std::vector<Way> ways;
  ways.push_back(way_of("chain", chain_tiles(s, d),
                        [d](Schedule& t, const ChainTile& x) { return by_chain(t, x, d); }));
  ways.push_back(way_of("pair", pair_tiles(s, d), [d](Schedule& t, const PairTile& x) { return by_pair(t, x, d); }));
  ways.push_back(way_of("added", added_tiles(s, d), [d](Schedule& t, const MatrixTile& x) { return by_added(t, x, d); }));
  ways.push_back(way_of("attention", attention_tiles(s, d), [d](Schedule& t, const AttentionTile& x) { return by_attention(t, x, d); }));
  ways.push_back(way_of("squeeze", squeeze_tiles(s, d), by_squeeze));
  size_t computed = 0;
  for (const Stage& x : s.group().stages) computed += x.is_compute();
  const auto roles = computed <= 2 ? roles_of(s, s.group().outputs.back()) : std::nullopt;
  const Way rows = by_vectors("rows", [d](Schedule& t, int64_t vector) { return by_rows(t, vector, d); });
  if (roles) {
    const Roles r = with_shared_rows(s, *roles);
    ways.push_back(by_vectors("lanes", [r, d](Schedule& t, int64_t vector) { return by_lanes(t, r, vector, d); }));
    // Of a short sum the block's threads share too little to bring it to the block's memory.
    constexpr int64_t short_sum = 64;
    const bool is_short = points(s.group()[r.acc].raxes) <= short_sum;
    Way finished = way_of("finished", finished_shares(s, r, d),
                          [r](Schedule& t, const Share& x) { return finished_by_points(t, r, x); });
    finished.cycles = finished_cycles(s, r, d);
    const bool compared = is_short && r.acc != r.out && std::isfinite(finished.cycles);
    const bool by_instructions = add_products(ways, compared ? std::vector{finished} : std::vector<Way>(), s, r, d);
    if (!by_instructions) ways.push_back(flattened(s, r, d));
    ways.push_back(rows);
    ways.push_back(by_vectors("columns", [r, d](Schedule& t, int64_t vector) { return by_columns(t, r, vector, d); }));
    Way tile{.name = "tile", .variants = {{"", [r](Schedule& t) { return by_tile(t, r); }}}};
    if (is_short && !(compared && by_instructions)) ways.push_back(finished);
    ways.push_back(std::move(tile));
    if (!is_short) ways.push_back(std::move(finished));
  }
  if (!roles) {
    ways.push_back(rows);
    ways.push_back({.name = "row_of_thread", .variants = {{"", by_row_of_thread}}});
  }
  ways.push_back(way_of("points", stage_shares(s, d),
                        [d](Schedule& t, const Shares& x) { return by_stages(t, x, d); }));
  return ways;
}

}  // namespace burnish::cuda_target
