// The first convolution of a network as the expansion of a chain: of few channels, so that
// instructions sum along all of its terms as one axis, filled up to whole steps. What a block reads
// of the image is in its memory: there the places of single values cost a register each, computed
// once, and nothing is guarded.
#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "loop/matrix_sum.h"
#include "loop/thread_sum.h"
#include "target/cuda/chain.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

int64_t filled_up(int64_t terms) { return ceil_div(terms, kMatrixLanes) * kMatrixLanes; }

}  // namespace

uint32_t Window::axis(int64_t Reach::*with) const {
  const auto at = std::ranges::find_if(reach, [&](const Reach& r) { return r.*with != 0; });
  return static_cast<uint32_t>(at - reach.begin());
}

std::vector<int64_t> Window::region(int64_t rows, int64_t columns) const {
  std::vector<int64_t> all;
  for (const Reach& r : reach)
    all.push_back(1 + r.row * (rows - 1) + r.column * (columns - 1) + r.terms);
  return all;
}

int64_t Window::values(int64_t rows, int64_t columns, bool by_points) const {
  int64_t all = 1;
  for (const int64_t n : region(rows, columns)) all *= n;
  return by_points ? all / channels * filled_up(channels) : all;
}

namespace {

constexpr int64_t kStep = 2 * kMatrixDepth;  // of the terms

// The terms as one axis, or two (Schedule::flatten); none where it is no convolution of few
// channels.
std::optional<Schedule> flattened(const Schedule& s, const Roles& r, int64_t multiple,
                                  int64_t lanes) {
  const Stage& acc = s.group()[r.acc];
  if (acc.raxes.size() < 2 || acc.raxes.back().extent < 2 || operands_of(s, acc, r))
    return std::nullopt;
  Schedule flat = s;
  flat.flatten(acc.name, multiple, lanes);
  if (flat.failure()) return std::nullopt;
  return flat;
}

// Of rows of vectors, what all threads copy at once: so that it takes the fewest rounds, and covers
// the fewest columns. Of short vectors, each row that a warp has a part of costs half a round.
struct Part {
  int64_t down = 1, across = 1;
};
Part shared_rows(int64_t rows, int64_t vectors, int64_t threads, bool short_vectors) {
  Part best;
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  std::pair least(most, most);
  for (int64_t across = std::min(vectors, threads); across > 0; --across) {
    const int64_t down = ceil_div(rows, threads / across), times = ceil_div(vectors, across);
    const std::pair all(down * times * (short_vectors ? 2 + ceil_div(kWarp, across) : 1),
                        times * across);
    if (all >= least) continue;
    least = all;
    best = {ceil_div(rows, down), across};
  }
  return best;
}

}  // namespace

double window_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const auto flat = r.tile ? flattened(s, r, kFlatStep, kMatrixLanes) : std::nullopt;
  return flat ? matrix_cycles(*flat, r, d) : std::numeric_limits<double>::infinity();
}

namespace {

// Instructions on halves are so few that they may have terms for nothing: points of the image lie
// in the block's memory with all their channels, filled up to fours by zeros, which are one vector;
// the columns of the filter go to the threads of four, its rows are steps.
bool by_points(const Device& d) { return d.halves(); }

}  // namespace

std::optional<Window> window_of(const Schedule& s, const Link& expand) {
  constexpr int64_t most = 96;  // terms, whose places are constants of instructions
  const Roles& r = expand.roles;
  const Stage& acc = s.group()[r.acc];
  const auto flat = flattened(s, r, kStep, 1);
  if (!flat || !in_vectors(s.group()[expand.input].dtype)) return std::nullopt;
  const Stage& sum = flat->group()[*flat->group().named(acc.name)];
  const auto operands = operands_of(*flat, sum, r);
  if (!operands || sum.raxes[0].extent > most) return std::nullopt;
  Window w{.reach = {}, .channels = acc.raxes.front().extent, .terms = sum.raxes[0].extent};
  w.filled = filled_up(w.channels) * filled_up(acc.raxes.back().extent);
  for (size_t k = 1; k + 1 < acc.raxes.size(); ++k) w.filled *= acc.raxes[k].extent;
  for (const Expr& factor : acc.body.children()) {
    const Expr& e = load_of(factor);
    if (e.from() != expand.input) continue;
    for (const Index& i : e.indices()) {
      if (!i.is_affine()) return std::nullopt;
      Window::Reach reach{.row = i.a.slope(acc.axes[r.outer[0]].var),
                          .column = i.a.slope(acc.axes[*r.tile].var)};
      for (const Axis& k : acc.raxes) reach.terms += i.a.slope(k.var) * (k.extent - 1);
      reach.channels = i.a.slope(acc.raxes.front().var);
      if (reach.row < 0 || reach.column < 0 || reach.terms < 0) return std::nullopt;
      w.reach.push_back(reach);
    }
  }
  for (const auto with : {&Window::Reach::row, &Window::Reach::column, &Window::Reach::channels})
    if (w.axis(with) == w.reach.size()) return std::nullopt;
  return w;
}

void flatten_window(Schedule& t, const std::string& acc, VarId channel, int64_t columns,
                    const Device& d) {
  if (!by_points(d)) return t.flatten(acc, kStep);
  const Stage a = t.group()[*t.group().named(acc)];
  const Axis &k = a.raxes.front(), &lanes = a.raxes.back();
  for (const StageId weights : producers(t.group(), *t.group().named(acc))) {
    const Stage& w = t.group()[weights];
    const auto c = axis_moved(a, weights, channel), terms = axis_moved(a, weights, k.var),
               column = axis_moved(a, weights, lanes.var);
    if (w.kind != StageKind::Constant || !c || !terms || !column) continue;
    Layout layout = fragments(static_cast<uint32_t>(w.axes.size()), *c, *terms, columns,
                              kMatrixLanes, Depths::Neighbours, w.dtype);
    // Threads of four beside the filter have zeros.
    const auto at = std::ranges::find(layout, *column, &LayoutDim::axis);
    *at = {*column, kMatrixLanes, 0};
    layout.insert(at + 1, {*column, 1, kMatrixLanes});
    t.pack(w.name, layout);
    break;
  }
  t.flatten(acc, kMatrixLanes, kMatrixLanes, k.name);
}

void sum_window(Schedule& t, const std::string& acc, const WarpLoops& w, const Window& window,
                const Device& d) {
  const std::vector<Axis> terms = t.group()[*t.group().named(acc)].raxes;
  const Axis& r = terms[0];
  if (by_points(d)) return sum_by_lanes(t, acc, w, terms[1], r, filled_up(window.channels));
  if (r.extent > kStep)
    t.partition(acc, r.name, {r.extent - kStep});  // only the last step has terms that are none
  sum_by_warps(t, acc, w, r, r.name, kStep);
  t.unroll(acc, r.name + ".o");
}

namespace {

// Points of the image, as many as `region` has, with their channels as one vector each: a thread
// has some in a column, and asks for many before it stores the first.
void points_by_threads(Schedule& t, const std::string& copy, const Window& window,
                       const std::vector<int64_t>& region, int64_t threads) {
  constexpr int64_t most_unrolled = 16;
  const Stage self = t.group()[*t.group().named(copy)];
  const uint32_t down = window.axis(&Window::Reach::row),
                 across = window.axis(&Window::Reach::column),
                 channel = window.axis(&Window::Reach::channels);
  t.pack(copy, axes_in_order(self.axes.size(), {}, {down, across, channel}));
  const Part share = shared_rows(region[down], region[across], threads, true);
  const int64_t own = ceil_div(region[down], share.down),
                at_once = ceil_div(own, ceil_div(own, most_unrolled));
  auto [y, rows] = t.split(copy, self.axes[down].name, own, Tail::Whole);
  auto [some, row] = t.split(copy, rows, at_once);
  auto [xo, x] = t.split(copy, self.axes[across].name, share.across, Tail::Whole);
  auto [all, vector] =
      t.split(copy, self.axes[channel].name, filled_up(region[channel]), Tail::Whole);
  std::vector<std::string> loops;
  for (uint32_t a = 0; a < self.axes.size(); ++a)
    if (a != down && a != across && a != channel) loops.push_back(self.axes[a].name);
  loops.insert(loops.end(), {all, y, xo, x, some, row, vector});
  t.reorder(copy, loops);
  for (const std::string& l : {xo, row}) t.unroll(copy, l);
  for (const std::string& l : {y, x}) t.bind(copy, l);
  t.vectorize(copy, vector, true);
}

}  // namespace

void window_in_block(Schedule& t, const std::string& input, const std::string& only,
                     const std::string& reader, const std::string& at, const Chain& chain,
                     int64_t rows, int64_t columns, const ChainTile& c, const Device& d) {
  const bool rounded = by_points(d) && t.group()[*t.group().named(input)].dtype != d.storage;
  const std::string copy =
      t.cache_read(input, only, rounded ? std::optional(d.storage) : std::nullopt);
  if (t.failure()) return;
  t.compute_at(copy, reader, at);
  t.guard_halo(copy);
  const Stage self = t.group()[*t.group().named(copy)];
  const std::vector<int64_t> region = chain.first->region(rows, columns);
  if (by_points(d)) return points_by_threads(t, copy, *chain.first, region, c.threads());
  const std::vector<uint32_t> order = physical_order(self);
  const uint32_t across = order.back(), down = order[order.size() - 2];
  // Vectors begin at multiples of their width, in each tile and in each row of the image.
  const int64_t step = chain.first->reach[across].column * c.columns * chain.stride;
  const int64_t width = std::gcd(vector_of(self.dtype), std::gcd(self.axes[across].extent, step));
  const int64_t vectors = ceil_div(region[across] + width - 1, width);
  const Part share = shared_rows(region[down], vectors, c.threads(), false);
  auto [xo, x] = t.split(copy, self.axes[across].name, share.across * width, Tail::Whole);
  auto [yo, y] = t.split(copy, self.axes[down].name, share.down, Tail::Whole);
  std::vector<std::string> loops, bound = {y, x};
  for (size_t i = 0; i + 2 < order.size(); ++i) loops.push_back(self.axes[order[i]].name);
  loops.insert(loops.end(), {yo, xo});
  std::string vector;
  if (width > 1) std::tie(bound[1], vector) = t.split(copy, x, width, Tail::Whole);
  loops.insert(loops.end(), bound.begin(), bound.end());
  if (width > 1) loops.push_back(vector);
  t.reorder(copy, loops);
  for (const std::string& l : bound) t.bind(copy, l);
  if (width > 1) t.vectorize(copy, vector);
}

}  // namespace burnish::cuda_target
