// Winograd convolution in one nest (the stages are those of src/ops/winograd.cpp, recognised by
// their shape). Rows of tiles are cut into strips; of a strip the transformed input stays in the
// second-level cache, and for one panel of output channels the products:
//
//   parallel strip                                   or: tiles of everything, shared by all threads
//     tiles:  for ty, tx blocks, vectors of k:           parallel panel
//               rows of the block; for tx: 36 vectors      for strips: acc | out
//     for panel:
//       acc:  for i, j: for ty, tx tiles: registers over k
//       out:  for ty, tx, vectors of c: columns in registers; m x m results, epilogue, store
#include "target/llvm/winograd.h"

#include <algorithm>

#include "base/error.h"
#include "target/llvm/grid.h"

namespace burnish::llvm_target {

namespace {

// The only computed producer of a stage.
std::optional<StageId> only_producer(const StageGroup& g, StageId s) {
  std::optional<StageId> found;
  for (StageId p : producers(g, s)) {
    if (!g[p].is_compute()) continue;
    if (found) return std::nullopt;
    found = p;
  }
  return found;
}

std::optional<Expr> first_load(const Stage& s, StageId from) {
  std::optional<Expr> found;
  for (const Expr& e : expressions(s)) {
    visit(e, [&](const Expr& x) {
      if (!found && x.kind() == ExprKind::Load && x.from() == from) found = x;
    });
  }
  return found;
}

// The axis of `s` that an index follows, perhaps by a quotient or in steps.
std::optional<uint32_t> followed(const Stage& s, const Index& i) {
  std::optional<uint32_t> found;
  for (uint32_t a = 0; a < s.axes.size(); ++a) {
    if (!moves(i, s.axes[a].var)) continue;
    if (found) return std::nullopt;
    found = a;
  }
  return found;
}

bool is_point(const Stage& s, const Index& i, uint32_t axis) {
  return i.is_affine() &&
         (i.a == Aff::of(s.axes[axis].var) || (s.axes[axis].extent == 1 && i.a == Aff(0)));
}

}  // namespace

std::optional<TransformedProduct> transformed_product(const StageGroup& g, StageId out) {
  TransformedProduct p;
  p.out = out;
  const auto chain = [&](StageId from, bool reduction, StageId& to) {
    const auto next = only_producer(g, from);
    if (next) to = *next;
    return next && g[*next].is_reduction() == reduction && !g[*next].scan;
  };
  if (g[out].is_reduction() || g[out].scan) return std::nullopt;
  if (!chain(out, false, p.columns) || !chain(p.columns, true, p.acc) ||
      !chain(p.acc, false, p.tiles) || !chain(p.tiles, false, p.rows) || only_producer(g, p.rows)) {
    return std::nullopt;
  }
  const Stage &o = g[out], &columns = g[p.columns], &acc = g[p.acc], &tiles = g[p.tiles],
              &rows = g[p.rows];
  if (std::ranges::count_if(g.stages, [](const Stage& s) { return s.is_compute(); }) != 5)
    return std::nullopt;
  if (acc.op != Combine::Sum || acc.raxes.size() != 1 || acc.init || acc.finish)
    return std::nullopt;
  // Axes of the product by what they move.
  std::optional<Expr> weights, from_tiles = first_load(acc, p.tiles);
  for (StageId s : producers(g, p.acc)) {
    if (g[s].is_compute()) continue;
    if (weights || g[s].kind != StageKind::Constant) return std::nullopt;
    weights = first_load(acc, s);
    p.weights = s;
  }
  if (!weights || !from_tiles) return std::nullopt;
  std::vector<uint32_t> positions;
  std::optional<uint32_t> channels;
  for (uint32_t a = 0; a < acc.axes.size(); ++a) {
    const auto moved = [&](const Expr& load) {
      return std::ranges::any_of(load.indices(),
                                 [&](const Index& i) { return moves(i, acc.axes[a].var); });
    };
    const bool by_weights = moved(*weights), by_tiles = moved(*from_tiles);
    if (by_weights && by_tiles) {
      p.points.push_back(a);
    } else if (by_tiles || acc.axes[a].extent == 1) {
      positions.push_back(a);
    } else {
      if (channels) return std::nullopt;
      channels = a;
    }
  }
  if (!channels || positions.size() < 2 || p.points.empty()) return std::nullopt;
  p.c = *channels;
  p.tx = positions.back();
  p.ty = positions[positions.size() - 2];
  p.batch.assign(positions.begin(), positions.end() - 2);
  // The output: tile y / m, m of them.
  const auto in_out = first_load(o, p.columns);
  const auto in_columns = first_load(columns, p.acc);
  if (!in_out || !in_columns) return std::nullopt;
  // The index of the output for an axis of acc, through the one of columns that follows it.
  const auto out_index = [&](uint32_t of_acc) -> std::optional<Index> {
    const auto axis = followed(columns, in_columns->indices()[of_acc]);
    if (!axis || !is_point(columns, in_columns->indices()[of_acc], *axis)) return std::nullopt;
    return in_out->indices()[*axis];
  };
  const auto tile_axis = [&](uint32_t of_acc, uint32_t& axis) {
    const auto i = out_index(of_acc);
    if (!i || i->atoms.size() != 1 || i->a != Aff(0)) return false;
    const Atom& atom = i->atoms[0];
    const auto at = followed(o, *i);
    if (!at || atom.value || atom.mod || atom.scale != 1 || atom.a != Aff::of(o.axes[*at].var))
      return false;
    if (p.m && p.m != atom.div) return false;
    p.m = atom.div;
    axis = *at;
    return true;
  };
  if (!tile_axis(p.ty, p.out_y) || !tile_axis(p.tx, p.out_x)) return std::nullopt;
  const auto line = std::ranges::find_if(in_out->indices(), [](const Index& i) {
    return std::ranges::any_of(i.atoms, [](const Atom& a) { return a.mod != 0; });
  });
  if (line == in_out->indices().end()) return std::nullopt;
  p.columns_line = static_cast<uint32_t>(line - in_out->indices().begin());
  const auto at_channel = out_index(p.c);
  const auto channel = at_channel ? followed(o, *at_channel) : std::nullopt;
  if (!channel || !is_point(o, *at_channel, *channel)) return std::nullopt;
  p.out_c = *channel;
  p.columns_c = *followed(columns, in_columns->indices()[p.c]);
  if (physical_order(o).back() != p.out_c) return std::nullopt;
  for (uint32_t a = 0; a < o.axes.size(); ++a) {
    if (a != p.out_y && a != p.out_x && a != p.out_c) p.out_batch.push_back(a);
  }
  // The transformed input.
  for (uint32_t a = 0; a < tiles.axes.size(); ++a) {
    const Index& i = from_tiles->indices()[a];
    if (moves(i, acc.raxes[0].var)) p.tiles_k = a;
    if (moves(i, acc.axes[p.ty].var)) p.tiles_ty = a;
    if (moves(i, acc.axes[p.tx].var)) p.tiles_tx = a;
  }
  const auto in_tiles = first_load(tiles, p.rows);
  for (uint32_t a = 0; a < rows.axes.size(); ++a) {
    const Index& i = in_tiles->indices()[a];
    if (moves(i, tiles.axes[p.tiles_k].var)) p.rows_k = a;
    if (moves(i, tiles.axes[p.tiles_tx].var)) p.rows_x = a;
  }
  return p;
}

Roles product_roles(const TransformedProduct& p) {
  Roles r{.out = p.acc,
          .acc = p.acc,
          .vector = p.c,
          .tile = p.tx,
          .outer = p.points,
          .unit = {},
          .broadcast = true};
  r.outer.insert(r.outer.end(), p.batch.begin(), p.batch.end());
  r.outer.push_back(p.ty);
  return r;
}

namespace {

// All axes but these, in order.
std::vector<std::string> others(const Stage& s, std::initializer_list<uint32_t> without) {
  std::vector<std::string> out;
  for (uint32_t a = 0; a < s.axes.size(); ++a) {
    if (std::ranges::find(without, a) == without.end()) out.push_back(s.axes[a].name);
  }
  return out;
}

Layout with_last(const Stage& s, uint32_t last) {
  Layout layout;
  for (uint32_t a = 0; a < s.axes.size(); ++a) {
    if (a != last) layout.push_back({a});
  }
  layout.push_back({last});
  return layout;
}

bool shares_panels(const WinogradChoice& c) { return c.tile.share == kSharePanels; }

Result<Schedule> winograd_schedule(const Schedule& inlined, const TransformedProduct& p,
                                   const WinogradChoice& choice, const Machine& m) {
  Schedule s = inlined;
  const Stage out = s.group()[p.out], columns = s.group()[p.columns], acc = s.group()[p.acc],
              tiles = s.group()[p.tiles], rows = s.group()[p.rows], weights = s.group()[p.weights];
  const int64_t lanes = choice.tile.lanes, panel = lanes * choice.tile.vectors;
  const bool share = choice.tile.share != kShareNothing && worth_sharing(out, acc, m);

  // The product, for one panel.
  const Roles r = product_roles(p);
  s.pack(tiles.name, with_last(tiles, p.tiles_k));
  s.pack(columns.name, with_last(columns, p.columns_c));
  s.pack(acc.name, with_last(acc, p.c));
  const Tiled product = make_tile(s, r, choice.tile);
  if (s.failure()) return *s.failure();
  // Weights stand in the order in which a panel's products read them.
  const auto load = first_load(acc, p.weights);
  uint32_t lane_axis = 0, k_axis = 0;
  Layout packed;
  for (uint32_t a = 0; a < weights.axes.size(); ++a) {
    const Index& i = load->indices()[a];
    if (moves(i, acc.axes[p.c].var)) lane_axis = a;
    if (moves(i, acc.raxes[0].var)) k_axis = a;
  }
  const int64_t width = std::min(panel, ceil_div(acc.axes[p.c].extent, lanes) * lanes);
  packed.push_back({lane_axis, width, 0});
  for (uint32_t a = 0; a < weights.axes.size(); ++a) {
    if (a != lane_axis && a != k_axis) packed.push_back({a});
  }
  packed.push_back({k_axis});
  packed.push_back({lane_axis, 1, width});
  s.pack(weights.name, packed);
  prefetch_weights(s, acc, p.c, m);

  // The output, tile by tile.
  auto [panels, in_panel] = s.split(out.name, out.axes[p.out_c].name, panel, Tail::Tail);
  auto [vectors, out_lanes] = s.split(out.name, in_panel, lanes, Tail::Tail);
  auto [strips, in_strip] =
      s.split(out.name, out.axes[p.out_y].name, p.m * choice.strip, Tail::Guard);
  auto [ty, a] = s.split(out.name, in_strip, p.m, Tail::Guard);
  auto [tx, b] = s.split(out.name, out.axes[p.out_x].name, p.m, Tail::Tail);
  std::vector<std::string> outside = names(out.axes, p.out_batch);
  std::vector<std::string> order;
  if (shares_panels(choice)) order.push_back(panels);
  order.insert(order.end(), outside.begin(), outside.end());
  order.push_back(strips);
  if (!shares_panels(choice)) order.push_back(panels);
  std::string product_place = order.back();
  for (const std::string& l : {ty, tx, vectors, a, b, out_lanes}) order.push_back(l);
  s.reorder(out.name, order);
  if (share && !shares_panels(choice)) {
    const std::string alone = strips;
    for (size_t i = outside.size(); i-- > 0;) {
      if (out.axes[p.out_batch[i]].extent > 1) strips = s.fuse(out.name, outside[i], strips);
    }
    if (product_place == alone) product_place = strips;
  }
  s.unroll(out.name, a);
  s.unroll(out.name, b);
  s.vectorize(out.name, out_lanes);

  s.set_scope(columns.name, Scope::Register);
  s.compute_at(columns.name, out.name, vectors);
  // Lines of one column innermost: they share its products.
  std::vector<std::string> column_order = others(columns, {p.columns_line, p.columns_c});
  column_order.push_back(columns.axes[p.columns_line].name);
  for (const std::string& l : column_order) s.unroll(columns.name, l);
  column_order.push_back(columns.axes[p.columns_c].name);
  s.reorder(columns.name, column_order);
  s.vectorize(columns.name, columns.axes[p.columns_c].name);

  s.compute_at(acc.name, out.name, product_place);
  std::vector<std::string> around = product.loops.outer;
  around.insert(around.end(), {product.loops.tiles, product.loops.panels});
  attach_tile(s, product, r, choice.tile, around);

  // The transformed input.
  const std::string k = tiles.axes[p.tiles_k].name, ty_of_tiles = tiles.axes[p.tiles_ty].name;
  if (!shares_panels(choice)) s.compute_at(tiles.name, out.name, strips);
  auto [k_blocks, k_lanes] = s.split(tiles.name, k, lanes, Tail::Tail);
  auto [tx_blocks, in_block] =
      s.split(tiles.name, tiles.axes[p.tiles_tx].name, choice.columns, Tail::Guard);
  std::vector<std::string> transform;  // its points
  for (uint32_t x : p.points) {
    for (uint32_t t = 0; t < tiles.axes.size(); ++t) {
      if (tiles.axes[t].name == acc.axes[x].name) transform.push_back(tiles.axes[t].name);
    }
  }
  std::vector<std::string> tile_order, batch;
  for (const Axis& x : tiles.axes) {
    const bool known = x.name == k || x.name == ty_of_tiles ||
                       x.name == tiles.axes[p.tiles_tx].name ||
                       std::ranges::find(transform, x.name) != transform.end();
    if (!known) batch.push_back(x.name);
  }
  if (shares_panels(choice)) tile_order.push_back(k_blocks);
  tile_order.insert(tile_order.end(), batch.begin(), batch.end());
  tile_order.insert(tile_order.end(), {ty_of_tiles, tx_blocks});
  if (!shares_panels(choice)) tile_order.push_back(k_blocks);
  const std::string rows_place = tile_order.back();
  tile_order.push_back(in_block);
  tile_order.insert(tile_order.end(), transform.begin(), transform.end());
  tile_order.push_back(k_lanes);
  s.reorder(tiles.name, tile_order);
  for (const std::string& l : transform) s.unroll(tiles.name, l);
  s.vectorize(tiles.name, k_lanes);

  s.compute_at(rows.name, tiles.name, rows_place);
  std::vector<std::string> row_order = others(rows, {p.rows_x, p.rows_k}), unrolled;
  row_order.insert(row_order.begin(), rows.axes[p.rows_x].name);
  for (const std::string& l : std::vector<std::string>(row_order.begin() + 1, row_order.end()))
    s.unroll(rows.name, l);
  row_order.push_back(rows.axes[p.rows_k].name);
  s.pack(rows.name, with_last(rows, p.rows_k));
  s.reorder(rows.name, row_order);
  s.vectorize(rows.name, rows.axes[p.rows_k].name);

  if (share && shares_panels(choice)) {
    s.parallel(tiles.name, k_blocks);
    s.parallel(out.name, panels);
  } else if (share) {
    s.parallel(out.name, strips);
  }
  if (s.failure()) return *s.failure();
  return s;
}

}  // namespace

std::unique_ptr<Space> winograd_space(const Schedule& inlined, StageId out, const Machine& m) {
  const auto found = transformed_product(inlined.group(), out);
  if (!found) return nullptr;
  const TransformedProduct p = *found;
  const Stage& acc = inlined.group()[p.acc];
  const int64_t width = acc.axes[p.tx].extent, height = acc.axes[p.ty].extent,
                channels = acc.axes[p.c].extent;
  auto draft = std::make_shared<const WinogradDraft>(inlined, p, m);
  auto build = [=](const WinogradChoice& c) -> Result<Schedule> {
    if (auto fit = draft->fits(c); !fit) return Reason{fit.reason()};
    return winograd_schedule(inlined, p, c, m);
  };
  auto estimate = [=](const WinogradChoice& c) {
    return draft->fits(c) ? draft->us(c) : std::numeric_limits<double>::infinity();
  };

  WinogradChoice first;
  first.tile.lanes = lanes_of(m, acc.dtype);
  first.tile.edges = kEdgesGuarded;
  first.columns = tile_sizes(width, {4})[0];
  const std::vector<int64_t> rows = tile_sizes(width, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14});
  std::vector<int64_t> strips{height}, patches{1}, vectors, shares{kShareRows};
  for (int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 10, 14}) {
    if (n < height) strips.push_back(n);
  }
  for (int64_t n : {2, 3, 4, 5, 7}) {
    if (n <= height) patches.push_back(n);
  }
  for (int64_t n = 1; n <= 6 && n <= ceil_div(channels, first.tile.lanes); ++n)
    vectors.push_back(n);
  if (m.threads > 1) shares.push_back(kSharePanels);

  std::optional<WinogradChoice> initial;
  double least = std::numeric_limits<double>::infinity();
  WinogradChoice c = first;
  for (int64_t r : rows) {
    for (int64_t patch : patches) {
      for (int64_t v : vectors) {
        for (int64_t strip : strips) {
          for (int64_t share : shares) {
            c.tile.rows = r;
            c.tile.patch = patch;
            c.tile.vectors = v;
            c.tile.share = share;
            c.strip = strip;
            const double us = estimate(c);
            if (us < least) least = us, initial = c;
          }
        }
      }
    }
  }
  if (!initial) return nullptr;
  if (auto s = build(*initial); !s || !lowers(*s)) return nullptr;
  auto space = std::make_unique<Grid<WinogradChoice>>(*initial, build, estimate);
  space->add("strip", [](WinogradChoice& c) -> int64_t& { return c.strip; }, strips);
  space->add(
      "columns", [](WinogradChoice& c) -> int64_t& { return c.columns; },
      tile_sizes(width, {1, 2, 4, 8}));
  space->add("rows", [](WinogradChoice& c) -> int64_t& { return c.tile.rows; }, rows);
  space->add("patch", [](WinogradChoice& c) -> int64_t& { return c.tile.patch; }, patches);
  space->add("vectors", [](WinogradChoice& c) -> int64_t& { return c.tile.vectors; }, vectors);
  space->add("share", [](WinogradChoice& c) -> int64_t& { return c.tile.share; }, shares);
  space->add("unroll", [](WinogradChoice& c) -> int64_t& { return c.tile.unroll; }, {1, 2, 4});
  return space;
}

}  // namespace burnish::llvm_target
