// The first convolution of a network as the expansion of a chain: of few channels, so that
// instructions sum along all of its terms as one axis, filled up to whole steps. What a block reads
// of the image is in its memory: there the places of single values cost a register each, computed
// once, and nothing is guarded.
#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

std::vector<int64_t> Window::region(int64_t rows, int64_t columns) const {
  std::vector<int64_t> all;
  for (const Reach& r : reach)
    all.push_back(1 + r.row * (rows - 1) + r.column * (columns - 1) + r.terms);
  return all;
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

// Of rows of vectors, what all threads copy at once: so that it takes the fewest rounds.
struct Part {
  int64_t down = 1, across = 1;
};
Part shared_rows(int64_t rows, int64_t vectors, int64_t threads) {
  Part best;
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (int64_t across = std::min(vectors, threads); across > 0; --across) {
    const int64_t rounds = ceil_div(rows, threads / across),
                  all = rounds * ceil_div(vectors, across);
    if (all >= fewest) continue;
    fewest = all;
    best = {ceil_div(rows, rounds), across};
  }
  return best;
}

}  // namespace

double window_cycles(const Schedule& s, const Roles& r, const Device& d) {
  const auto flat = r.tile ? flattened(s, r, kFlatStep, kMatrixLanes) : std::nullopt;
  return flat ? matrix_cycles(*flat, r, d) : std::numeric_limits<double>::infinity();
}

namespace {

// Instructions on halves are so few that they may have terms for nothing: the columns of the filter
// go to the threads of four, which then read neighbours, in banks of their own, at places known
// beforehand.
bool by_lanes(const Device& d) { return d.storage == DType::F16; }
constexpr int64_t kLaneStep = 4;  // of the other terms

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
  Window w{.reach = {}, .terms = sum.raxes[0].extent};
  for (const Expr& factor : acc.body.children()) {
    const Expr& e = load_of(factor);
    if (e.from() != expand.input) continue;
    for (const Index& i : e.indices()) {
      if (!i.is_affine()) return std::nullopt;
      Window::Reach reach{.row = i.a.slope(acc.axes[r.outer[0]].var),
                          .column = i.a.slope(acc.axes[*r.tile].var)};
      for (const Axis& k : acc.raxes) reach.terms += i.a.slope(k.var) * (k.extent - 1);
      if (reach.row < 0 || reach.column < 0 || reach.terms < 0) return std::nullopt;
      w.reach.push_back(reach);
    }
  }
  return w;
}

void flatten_window(Schedule& t, const std::string& acc, const Device& d) {
  if (by_lanes(d))
    t.flatten(acc, kLaneStep, kMatrixLanes);
  else
    t.flatten(acc, kStep);
}

void sum_window(Schedule& t, const std::string& acc, const WarpLoops& w, VarId channel,
                int64_t columns, const Device& d) {
  const Stage a = t.group()[*t.group().named(acc)];
  const Axis r = a.raxes[0];
  const int64_t step = by_lanes(d) ? kLaneStep : kStep;
  if (by_lanes(d)) in_fragments(t, a, channel, a.raxes[1].var, columns, kMatrixLanes);
  if (r.extent > step)
    t.partition(acc, r.name, {r.extent - step});  // only the last step has terms that are none
  if (by_lanes(d)) {
    sum_by_lanes(t, acc, w, a.raxes[1], r, step);
  } else {
    sum_by_warps(t, acc, w, r, r.name, step);
    t.unroll(acc, r.name + ".o");
  }
}

void window_in_block(Schedule& t, const std::string& input, const std::string& only,
                     const std::string& reader, const std::string& at, const Chain& chain,
                     int64_t rows, int64_t columns, const ChainTile& c) {
  const std::string copy = t.cache_read(input, only);
  if (t.failure()) return;
  t.compute_at(copy, reader, at);
  t.guard_halo(copy);
  const Stage self = t.group()[*t.group().named(copy)];
  const std::vector<uint32_t> order = physical_order(self);
  const std::vector<int64_t> region = chain.first->region(rows, columns);
  const uint32_t across = order.back(), down = order[order.size() - 2];
  // Vectors begin at multiples of their width, in each tile and in each row of the image.
  const int64_t step = chain.first->reach[across].column * c.columns * chain.stride;
  const int64_t width = std::gcd(vector_of(self.dtype), std::gcd(self.axes[across].extent, step));
  const int64_t vectors = ceil_div(region[across] + width - 1, width);
  const Part share = shared_rows(region[down], vectors, c.threads());
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
