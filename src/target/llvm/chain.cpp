// Chains of reductions in one nest. The output's rows are cut into a strip a thread; a step computes some rows of the
// output, before them the rows of every earlier stage that it needs, new ones only: the others are still in a ring.
//
//   parallel strip                         E: expanded rows, a ring      D: rows of this step
//     for step: E: new rows | D: rows | O: rows
//
// Where the rows of a wide image are too long for the second-level cache, a strip is cut into stretches of columns, and
// what its neighbours need at their ends is computed twice.
//
// (MobileNet's inverted residual: E = relu(1x1), D = relu(depthwise), O = 1x1 + input.)
#include <fmt/format.h>

#include <algorithm>

#include "target/llvm/chain.h"
#include "target/llvm/grid.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

int64_t strips_of(const ChainChoice& c, int64_t images, const Machine& m) {
  return ceil_div(m.threads * c.strips, images);
}

int64_t stretch_of(const ChainChoice& c, int64_t width) { return c.stretches > 1 ? ceil_div(width, c.stretches) : 0; }

namespace {

// How `acc` moves through the rows of its producer: fills what the producer's link says about that.
void find_overlap(const StageGroup& g, const Roles& r, StageId producer, Link& l) {
  const Stage& acc = g[r.acc];
  const VarId rows = acc.axes[r.outer[0]].var;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load || x.from() != producer) return;
    for (const Index& i : x.indices()) {
      if (i.a.slope(rows) == 0) continue;
      l.stride = std::abs(i.a.slope(rows));
      int64_t window = 1;
      for (const Axis& a : acc.raxes) window += std::abs(i.a.slope(a.var)) * (a.extent - 1);
      l.window |= window > 1;
      l.overlap = std::max(l.overlap, window - l.stride);
    }
  });
}

// A batch: rows lie inside images, and no image reads another. Takes the images' axis out of the loops that a chain shares.
bool set_images_apart(const StageGroup& g, Link& l) {
  Roles& r = l.roles;
  if (r.outer.size() == 1) return true;
  const uint32_t image = r.outer[0];
  bool apart = r.outer.size() == 2 && g[r.out].axes[image].extent > 0;
  for (StageId s : {r.out, r.acc}) {
    const VarId var = g[s].axes[image].var;
    for (const Expr& e : expressions(g[s])) {
      visit(e, [&](const Expr& x) {
        if (x.kind() != ExprKind::Load || g[x.from()].kind == StageKind::Constant) return;
        for (uint32_t i = 0; i < x.indices().size(); ++i) {
          const Index& index = x.indices()[i];
          if (i == image) apart &= index.is_affine() && index.a == Aff::of(var);
          else apart &= !moves(index, var);
        }
      });
    }
  }
  if (!apart) return false;
  r.outer.erase(r.outer.begin());
  r.unit.push_back(image);
  l.image = image;
  return true;
}

// Transposed convolutions move through their input by fractions of a row: they stand alone.
bool has_phases(const Stage& acc) {
  bool found = false;
  visit(acc.body, [&](const Expr& x) {
    if (x.kind() != ExprKind::Load) return;
    for (const Index& i : x.indices()) found |= !i.atoms.empty();
  });
  return found;
}

// The stages from the first reduction to `out`, each reading the one before; nothing else is computed.
std::optional<std::vector<Link>> links_of(const Schedule& s, StageId out) {
  const StageGroup& g = s.group();
  const auto computed = std::ranges::count_if(g.stages, [](const Stage& x) { return x.is_compute(); });
  std::vector<Link> links;
  int64_t covered = 0;
  Link link;
  for (std::optional<StageId> next = out; next;) {
    auto roles = roles_of(s, *next);
    if (!roles || !roles->tile || roles->outer.empty() || has_phases(g[roles->acc])) return std::nullopt;
    link.roles = *roles;
    if (!set_images_apart(g, link)) return std::nullopt;
    if (!links.empty() && links.back().image != link.image) return std::nullopt;
    links.push_back(link);
    covered += roles->acc == roles->out ? 1 : 2;
    next.reset();
    for (StageId p : producers(g, roles->acc)) {
      if (!g[p].is_compute()) continue;
      if (next) return std::nullopt;
      next = p;
    }
    const Roles consumer = link.roles;
    link = {};
    if (next) find_overlap(g, consumer, *next, link);
  }
  if (covered != computed || links.size() < 2) return std::nullopt;
  std::reverse(links.begin(), links.end());
  return links;
}

// Channels in blocks of one vector, outermost: what a ring looks like.
Layout blocked(const Stage& stage, const Roles& r, int64_t lanes) {
  Layout layout = {{r.vector, lanes, 0}};
  for (uint32_t a : r.unit) layout.push_back({a});
  for (uint32_t a : r.outer) layout.push_back({a});
  if (r.tile) layout.push_back({*r.tile});
  layout.push_back({r.vector, 1, std::min(lanes, stage.axes[r.vector].extent)});
  if (stage.axes[r.vector].extent < lanes) layout.erase(layout.begin());
  return layout;
}

// What each link takes without tuning; a row a step.
ChainChoice first_choice(const Schedule& s, const std::vector<Link>& links, const Machine& m) {
  ChainChoice c;
  for (size_t i = 0; i < links.size(); ++i) {
    const bool inner = i + 1 < links.size();
    c.tiles.push_back(choose_link(s, links[i].roles, !inner, m));
    // A depthwise link keeps its weights for all rows of a step where it reads a ring, whose blocks are panels. Of a tensor
    // whose points lie far apart it reads whole lines of memory one after the other.
    const Stage& acc = s.group()[links[i].roles.acc];
    const bool far = i == 0 && acc.axes[links[i].roles.vector].extent * size_of(acc.dtype) >= far_apart;
    const bool depthwise = inner && !links[i].roles.broadcast;
    c.orders.push_back(!depthwise ? kRowsPanelsTiles : far ? kRowsTilesPanels : kPanelsRowsTiles);
  }
  return c;
}

Result<Schedule> chain_schedule(const Schedule& inlined, StageId out, const std::vector<Link>& links,
                                const ChainChoice& choice, const Machine& m) {
  Schedule s = inlined;
  const Roles last = links.back().roles;
  const Stage o = s.group()[out];
  const std::string row_axis = o.axes[last.outer[0]].name;
  const int64_t lanes = lanes_of(m, o.dtype);

  // Tiles of every stage; steps refer to stages by name, since ids move when a reduction is split off.
  struct Part {
    Tiled tiled;
    Roles roles;
    TileChoice choice;
    Stage stage;
  };
  std::vector<Part> parts;
  std::vector<std::string> stage_names, acc_names;
  for (const Link& l : links) {
    stage_names.push_back(s.group()[l.roles.out].name);
    acc_names.push_back(s.group()[l.roles.acc].name);
  }
  for (size_t i = 0; i < links.size(); ++i) {
    Roles r = links[i].roles;
    r.out = *s.group().named(stage_names[i]);
    r.acc = *s.group().named(acc_names[i]);
    const TileChoice& c = choice.tiles[i];
    const Stage stage = s.group()[r.out];
    const bool inner = i + 1 < links.size();
    if (inner) s.pack(stage.name, blocked(stage, r, lanes));
    const int64_t stretch = inner ? 0 : stretch_of(choice, stage.axes[*r.tile].extent);
    parts.push_back({make_tile(s, r, c, stretch), r, c, stage});
    if (s.failure()) return *s.failure();
  }

  const std::optional<uint32_t> image = links.back().image;
  const int64_t images = image ? o.axes[*image].extent : 1;
  auto [strip, in_strip] = s.split_parts(o.name, row_axis, strips_of(choice, images, m));
  auto [step, row] = s.split(o.name, in_strip, choice.step, Tail::Guard);
  std::vector<std::string> units = names(o.axes, last.unit);
  if (image) {  // threads share the strips of all images
    std::vector<std::string> order = units;  // the images' axis last
    order.push_back(strip);
    for (const std::string& l : s.loops(o.name)) {
      if (std::ranges::find(order, l) == order.end()) order.push_back(l);
    }
    s.reorder(o.name, order);
    strip = s.fuse(o.name, units.back(), strip);
    units.pop_back();
  }
  const std::string& stretches = parts.back().tiled.loops.stretches;
  const std::string& kept = stretches.empty() ? strip : stretches;  // the loop that rings outlive
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& p = parts[i];
    const bool inner = i + 1 < parts.size();
    std::vector<std::string> outside = inner ? names(p.stage.axes, p.roles.unit) : units;
    const std::string axis = p.stage.axes[p.roles.outer[0]].name;
    const std::string rows = inner ? p.tiled.loops.outer[0] : row;
    if (!inner) {
      outside.push_back(strip);
      if (!stretches.empty()) outside.push_back(stretches);
      outside.push_back(step);
    }
    const auto& [panels, tiles] = std::tie(p.tiled.loops.panels, p.tiled.loops.tiles);
    switch (ChainOrder{choice.orders[i]}) {
      case kRowsPanelsTiles: outside.insert(outside.end(), {rows, panels, tiles}); break;
      case kPanelsRowsTiles: outside.insert(outside.end(), {panels, rows, tiles}); break;
      case kRowsTilesPanels: outside.insert(outside.end(), {rows, tiles, panels}); break;
    }
    if (inner) s.compute_at(p.stage.name, o.name, step);
    if (inner && links[i].window) {
      s.store_at(p.stage.name, o.name, kept);
      s.fold_storage(p.stage.name, axis);
    }
    if (i > 0) {
      // What it reads lies in blocks of lanes: the reduce loop over them is cut there too.
      const Stage red = s.group()[*s.group().named(p.tiled.acc)];
      const Stage& producer = parts[i - 1].stage;
      for (const Axis& k : red.raxes) {
        bool over_blocks = false;
        visit(red.body, [&](const Expr& x) {
          if (x.kind() != ExprKind::Load || s.group()[x.from()].name != producer.name) return;
          over_blocks |= x.indices()[parts[i - 1].roles.vector].a.slope(k.var) == 1;
        });
        if (over_blocks && k.extent > lanes) s.split(p.tiled.acc, k.name, lanes, Tail::Tail);
      }
    }
    attach_tile(s, p.tiled, p.roles, p.choice, outside);
  }
  if (m.threads > 1) s.parallel(o.name, strip);
  if (s.failure()) return *s.failure();
  return s;
}

// What lies between the stages, of one thread.
int64_t scratch_bytes(const Function& f) {
  int64_t sum = 0;
  for (const Buffer& b : f.buffers) {
    if (b.scope != Scope::Param && b.scope != Scope::Register) sum += b.size * size_of(b.dtype);
  }
  return sum;
}

// Everything that a step touches again has to stay in the second-level cache: weights, and what lies between the stages.
int64_t weight_bytes(const StageGroup& g) {
  int64_t sum = 0;
  for (const Stage& stage : g.stages) {
    if (stage.kind == StageKind::Constant) sum += points(stage.axes) * size_of(stage.dtype);
  }
  return sum;
}

bool stays_near(const Schedule& s, const Function& f, const Machine& m) {
  return scratch_bytes(f) + weight_bytes(s.group()) <= m.l2_bytes * 3 / 4;
}

// The fewest stretches of columns with which a step stays near, none shorter than a few tiles.
std::optional<ChainChoice> in_stretches(const Schedule& inlined, StageId out, const std::vector<Link>& links,
                                        const Machine& m) {
  const Roles& last = links.back().roles;
  const int64_t width = inlined.group()[last.acc].axes[*last.tile].extent;
  ChainChoice c = first_choice(inlined, links, m);
  for (;;) {
    auto s = chain_schedule(inlined, out, links, c, m);
    if (!s) return std::nullopt;
    auto f = lower(*s);
    if (!f) return std::nullopt;
    if (stays_near(*s, *f, m)) return c;
    // Rows and rings are as long as stretches; weights stay.
    const int64_t room = m.l2_bytes * 3 / 4 - weight_bytes(s->group());
    if (room <= 0) return std::nullopt;
    c.stretches = std::max(c.stretches + 1, ceil_div(c.stretches * scratch_bytes(*f), room));
    if (width / c.stretches < shortest_stretch) return std::nullopt;
  }
}

}  // namespace

std::unique_ptr<Space> chain_space(const Schedule& inlined, StageId out, const Machine& m) {
  const auto found = links_of(inlined, out);
  if (!found) return nullptr;
  const std::vector<Link> links = *found;
  auto plain = [=](const ChainChoice& c) { return chain_schedule(inlined, out, links, c, m); };
  // More rows a step share more loads of weights, as long as rings and rows stay in the second-level cache.
  const ChainChoice first = in_stretches(inlined, out, links, m).value_or(first_choice(inlined, links, m));
  std::optional<ChainChoice> initial;
  for (int64_t rows : {1, 2, 4}) {
    ChainChoice c = first;
    c.step = rows;
    auto s = plain(c);
    if (!s) break;
    auto f = lower(*s);
    if (!f) continue;
    if (initial && scratch_bytes(*f) > m.l2_bytes / 2) break;
    initial = std::move(c);
  }
  if (!initial) return nullptr;
  auto draft = std::make_shared<const ChainDraft>(inlined, links, m);
  auto build = [=](const ChainChoice& c) -> Result<Schedule> {
    if (auto fit = draft->fits(c); !fit && c != *initial) return Reason{fit.reason()};
    return plain(c);
  };
  auto estimate = [=](const ChainChoice& c) {
    return draft->fits(c) || c == *initial ? draft->us(c) : std::numeric_limits<double>::infinity();
  };
  auto space = std::make_unique<Grid<ChainChoice>>(*initial, build, estimate);
  space->add("step", [](ChainChoice& c) -> int64_t& { return c.step; }, {1, 2, 4, 8});
  if (m.threads > 1) space->add("strips", [](ChainChoice& c) -> int64_t& { return c.strips; }, {1, 2, 4});
  std::vector<int64_t> stretches;
  const Roles& last = links.back().roles;
  const int64_t columns = inlined.group()[last.acc].axes[*last.tile].extent;
  for (int64_t n = 1; n <= 8 && columns / n >= shortest_stretch; n *= 2) stretches.push_back(n);
  space->add("stretches", [](ChainChoice& c) -> int64_t& { return c.stretches; }, stretches);
  for (size_t i = 0; i < links.size(); ++i) {
    const Roles& r = links[i].roles;
    const Stage& acc = inlined.group()[r.acc];
    const int64_t width = acc.axes[*r.tile].extent, channels = acc.axes[r.vector].extent;
    const TileChoice& first = initial->tiles[i];
    const auto knob = [&](const char* name, int64_t TileChoice::*at, std::vector<int64_t> values) {
      space->add(fmt::format("{}.{}", name, i), [=](ChainChoice& c) -> int64_t& { return c.tiles[i].*at; }, std::move(values));
    };
    if (r.broadcast) {
      knob("rows", &TileChoice::rows, tile_sizes(width, {4, 6, 7, 8, 10, 12, 14}));
    } else {
      knob("rows", &TileChoice::rows, tile_sizes(width, {2, 3, 4, 6, 8}));
      if (i + 1 < links.size()) knob("patch", &TileChoice::patch, {1, 2});
    }
    std::vector<int64_t> vectors;
    for (int64_t n = 1; n <= (r.broadcast ? 4 : 2) && n <= ceil_div(channels, first.lanes); ++n) vectors.push_back(n);
    knob("vectors", &TileChoice::vectors, vectors);
    if (channels > first.lanes) {
      space->add(fmt::format("order.{}", i), [=](ChainChoice& c) -> int64_t& { return c.orders[i]; },
                 {kRowsPanelsTiles, kPanelsRowsTiles, kRowsTilesPanels});
    }
  }
  return space;
}

namespace {

// Do threads compute less twice, at the ends of their strips, than what passes through caches without the chain?
bool repays_strips(const Schedule& s, const std::vector<Link>& links, const Machine& m) {
  double again = 0, passing = 0;  // cycles of a thread
  int64_t rows = 0;               // that it computes besides its own: of the link at hand
  for (size_t i = links.size() - 1; i-- > 0;) {
    const Link& l = links[i];
    const Stage &between = s.group()[l.roles.out], &acc = s.group()[l.roles.acc];
    // Two strips meet once, others have neighbours on both sides.
    rows = rows * l.stride + (m.threads == 2 ? ceil_div(l.overlap, 2) : m.threads > 2 ? l.overlap : 0);
    const int64_t height = acc.axes[l.roles.outer[0]].extent;
    const double steps = static_cast<double>(points(acc.axes) / height * points(acc.raxes)) / static_cast<double>(lanes_of(m, acc.dtype));
    again += static_cast<double>(rows) * steps * m.passes(m.vector_bytes) / m.fma_per_cycle;
    const double bytes = static_cast<double>(points(between.axes) * size_of(between.dtype)) / m.threads;
    const bool near = bytes < static_cast<double>(m.l2_bytes) / 2;
    passing += 2 * bytes / (near ? m.l2_bandwidth : m.l3_bandwidth);
  }
  return again < passing;
}

}  // namespace

bool chain_pays(const StageGroup& g, const Machine& m) {
  if (g.outputs.size() != 1) return false;
  Schedule inlined(g);
  inline_cheap(inlined);
  const StageId out = inlined.group().outputs[0];
  const auto links = links_of(inlined, out);
  if (!links) return false;
  const auto choice = in_stretches(inlined, out, *links, m);
  if (!choice) return false;
  // Small tensors stay in the caches anyway, and whole layers are shared out among threads better than rows. What
  // stretches compute twice is repaid only where a tensor would leave the second-level caches.
  const int64_t least = choice->stretches > 1 ? 2 * m.l2_bytes : m.l2_bytes / 4;
  for (size_t i = 0; i + 1 < links->size(); ++i) {
    const Stage& between = inlined.group()[(*links)[i].roles.out];
    // Products that feed products point by point (a projection, an expansion) share nothing but what lies between.
    const bool pointwise = (*links)[i].roles.broadcast && (*links)[i + 1].roles.broadcast && !(*links)[i].window;
    if (points(between.axes) * size_of(between.dtype) < (pointwise ? std::max(least, m.l2_bytes) : least)) return false;
  }
  return repays_strips(inlined, *links, m);
}

}  // namespace burnish::llvm_target
