// Sums of one point of which each reads the one before, as one kernel of a cluster: a pool and the
// products of squeeze and excite. The run is cut at one of its sums, of which each block has a
// part; blocks hand on their parts in their memory (c_like/cluster_memory.cpp). What comes before
// the cut is computed by the block whose part reads it; what comes after by every block, all of it,
// but for the results, of which each has a slice. Cut at the first product, or, where maps are
// large, at the pool:
//
//   block: pool of its channels               block: pool of its rows
//          first product over these           ------ they meet
//   ------ they meet                          block: parts of the pool added up
//   block: parts of it added up                      first product
//          second product, its channels              second product, its channels
#include <algorithm>
#include <limits>
#include <map>

#include "loop/thread_sum.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 256, kMostThreads = 512;  // of a block: more take longer to meet
constexpr int64_t kNear = 64 << 10;  // bytes of weights that a block has in its memory, at most

// A sum and what finishes it.
struct Sum {
  Roles roles;
  std::string acc, out;
  Axis along;           // its longest reduce axis
  std::string weights;  // a constant of rows along it, each of a result; empty: none
  uint32_t row = 0;     // their axis of results
  int64_t results = 0, terms = 0;
  int64_t vector = 1;  // of what it reads of these, or of what it sums
  double bytes = 0;
};

bool goes_along(const Index& i, VarId v) { return i.is_affine() && i.a.slope(v) == 1; }

std::optional<Sum> sum_of(const Schedule& s, StageId out) {
  const StageGroup& g = s.group();
  const auto r = roles_of(s, out);
  if (!r || r->tile || r->grouped || !g[r->acc].is_reduction()) return std::nullopt;
  const Stage& acc = g[r->acc];
  const VarId result = acc.axes[r->vector].var;
  Sum sum{.roles = *r,
          .acc = acc.name,
          .out = g[out].name,
          .along = std::ranges::max(acc.raxes, {}, &Axis::extent),
          .weights = {}};
  sum.results = points(acc.axes);
  sum.terms = points(acc.raxes);
  visit(acc.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || g[e.from()].is_compute()) return;
    const Stage& x = g[e.from()];
    for (uint32_t i = 0; i < e.indices().size(); ++i) {
      if (!goes_along(e.indices()[i], result)) continue;
      sum.vector = vector_of(x.dtype);
      sum.bytes = static_cast<double>(sum.results * sum.terms * size_of(x.dtype));
      const bool rows = std::ranges::any_of(
          e.indices(), [&](const Index& k) { return goes_along(k, sum.along.var); });
      if (x.kind == StageKind::Constant && rows) sum.weights = x.name, sum.row = i;
    }
  });
  return sum;
}

// All that the group computes, from the first to the last; empty where it is something else.
std::vector<Sum> sums_of(const Schedule& s) {
  const StageGroup& g = s.group();
  if (g.outputs.size() != 1) return {};
  std::vector<Sum> sums;
  int64_t stages = 0;
  for (std::optional<StageId> out = g.outputs[0]; out;) {
    const auto sum = sum_of(s, *out);
    if (!sum) return {};
    sums.insert(sums.begin(), *sum);
    stages += sum->acc == sum->out ? 1 : 2;
    // What it reads is the same for all results.
    const Stage& acc = g[sum->roles.acc];
    bool fits = true;
    out.reset();
    for (const StageId p : producers(g, sum->roles.acc)) {
      if (!g[p].is_compute()) continue;
      fits &= !out && sum->roles.broadcast;
      out = p;
    }
    visit(acc.body, [&](const Expr& e) {
      if (e.kind() == ExprKind::Load && g[e.from()].is_compute())
        fits &= std::ranges::none_of(
            e.indices(), [&](const Index& i) { return moves(i, acc.axes[sum->roles.vector].var); });
    });
    if (!fits) return {};
  }
  return stages == std::ranges::count_if(g.stages, &Stage::is_compute) ? sums : std::vector<Sum>();
}

// Neighbours that share a sum of so many terms, and what each reads of it at once: the fewest reads
// that come out even, or else some that do not. No neighbours: there are none.
std::pair<int64_t, int64_t> lanes_for(int64_t results, int64_t terms, int64_t widest) {
  std::pair<int64_t, int64_t> best = {0, 1};
  for (int64_t vector = widest; vector > 0; vector /= 2)
    for (int64_t lanes = 2; lanes <= kWarp && (lanes == 2 ? results * lanes <= kMostThreads
                                                          : results * lanes <= kThreads);
         lanes *= 2)
      if (terms % (lanes * vector) == 0 && lanes * vector > best.first * best.second)
        best = {lanes, vector};
  if (best.first == 0 && terms > 1 && 2 * results <= kMostThreads)
    best = {power_below(std::min(kWarp, std::min(terms, kMostThreads / results))), 1};
  return best;
}

class Squeezed {
 public:
  Squeezed(Schedule& t, std::vector<Sum> sums, const SqueezeTile& x)
      : t_(t), sums_(std::move(sums)), cut_(x.cut), last_(sums_.size() - 1), blocks_(x.blocks) {}

  bool run() {
    for (Sum& sum : sums_)
      if (sum.acc == sum.out) sum.acc = t_.cache_write(sum.out);
    if (t_.failure()) return false;
    for (size_t i = 0; i <= last_; ++i) {
      copies_.push_back(copy_of_weights(i));
      biases_.push_back(copies_of_biases(i));
    }
    return parts() && results() && lowers(t_);
  }

 private:
  Stage stage(const std::string& name) const { return t_.group()[*t_.group().named(name)]; }
  int64_t slice() const { return ceil_div(sums_[last_].results, blocks_); }
  // Of a block.
  int64_t results_of(size_t i) const {
    return i == last_ && i != cut_ ? slice()
           : i + 1 == cut_         ? sums_[cut_].along.extent / blocks_
                                   : sums_[i].results;
  }

  // The loops `outside`, one of which is over blocks, as one.
  std::string blocks_of(const std::string& name, const std::vector<std::string>& outside,
                        const std::string& own) {
    std::vector<std::string> order = outside;
    order.push_back(own);
    t_.reorder(name, order);
    const std::string block = fused(t_, name, outside);
    t_.parallel(name, block);
    return block;
  }

  // Those of the cut sum, and all sums before.
  bool parts() {
    const Sum& cut = sums_[cut_];
    const std::string part = t_.rfactor(cut.acc, cut.along.name, cut.along.extent / blocks_);
    t_.expand(cut.acc);
    t_.inline_stage(cut.acc);
    const std::string acc = t_.cache_write(part);
    if (t_.failure()) return false;
    const Stage p = stage(part);
    const auto which = static_cast<uint32_t>(p.axes.size() - 1);
    Layout pieces = axes_in_order(p.axes.size(), {which}, {cut.roles.vector});
    pieces.back().pad = floor_mod(
        -cut.results, vector_of(p.dtype));  // whole vectors: blocks hand them on in their memory
    t_.pack(part, pieces);
    Roles r = cut.roles;
    r.unit.push_back(which);
    const std::string own = p.axes[r.vector].name,
                      block = blocks_of(part, names(p.axes, r.unit), own);
    if (!summed(cut_, part, acc, r, own, part, block)) return false;
    for (size_t i = 0; i < cut_; ++i)
      if (!in_block(i, part, block)) return false;
    return true;
  }

  // Of the last sum, and what every block computes for them.
  bool results() {
    const Sum &last = sums_[last_], &cut = sums_[cut_];
    const Stage o = stage(last.out);
    auto [slices, own] = t_.split(last.out, o.axes[last.roles.vector].name, slice(), Tail::Whole);
    std::vector<std::string> outside = names(o.axes, last.roles.unit);
    outside.push_back(slices);
    const std::string block = blocks_of(last.out, outside, own);
    copy_biases(last_, slice(), last.out, block);
    if (cut_ == last_) {
      t_.bind(last.out, own);
      return true;
    }
    if (!summed(last_, last.out, last.acc, last.roles, own, last.out, block)) return false;
    copy_biases(cut_, cut.results, last.out, block);
    t_.compute_at(cut.out, last.out, block);
    t_.bind(cut.out, stage(cut.out).axes[cut.roles.vector].name);
    for (size_t i = cut_ + 1; i < last_; ++i)
      if (!in_block(i, last.out, block)) return false;
    return true;
  }

  bool in_block(size_t i, const std::string& owner, const std::string& block) {
    const Sum& sum = sums_[i];
    const Stage o = stage(sum.out);
    const std::string own = o.axes[sum.roles.vector].name;
    std::vector<std::string> order = names(o.axes, sum.roles.unit);
    order.push_back(own);
    t_.reorder(sum.out, order);
    copy_biases(i, results_of(i), owner, block);
    t_.compute_at(sum.out, owner, block);
    return summed(i, sum.out, sum.acc, sum.roles, own, owner, block);
  }

  // The sum `acc` of `out`, whose results are the loop `own`, by the block's threads.
  bool summed(size_t i, const std::string& out, const std::string& acc, const Roles& r,
              const std::string& own, const std::string& owner, const std::string& block) {
    const Stage a = stage(acc);
    const int64_t results = results_of(i),
                  terms = std::ranges::max(a.raxes, {}, &Axis::extent).extent;
    if (!r.broadcast) {
      int64_t vector = sums_[i].vector;
      while (results % vector) vector /= 2;
      int64_t slices = std::min(terms, kThreads / (results / vector));
      // Without a rest, where that leaves threads enough.
      int64_t even = slices;
      while (even > 1 && terms % even) --even;
      if (4 * even >= 3 * slices) slices = even;
      if (slices < 2) return false;
      auto [column, lanes] = t_.split(out, own, vector, Tail::Whole);
      t_.bind(out, column);
      t_.vectorize(out, lanes);
      sum_over_slices(t_, {.out = out,
                           .acc = acc,
                           .column = column,
                           .owner = owner,
                           .block = block,
                           .axis = r.vector,
                           .vector = vector,
                           .slices = slices});
      return !t_.failure();
    }
    const auto [lanes, vector] = lanes_for(results, terms, sums_[i].vector);
    if (lanes < 2) return false;
    if (!copies_[i].empty()) {
      t_.compute_at(copies_[i], owner, block);
      t_.guard_halo(copies_[i]);
      const Stage w = stage(copies_[i]);
      std::vector<int64_t> region(w.axes.size(), 1);
      const std::vector<uint32_t> order = physical_order(w);
      region[sums_[i].row] = results;
      region[order.back()] = terms;
      copy_by_threads(t_, copies_[i], order, region, kThreads);
    }
    t_.bind(out, own);
    sum_over_lanes(t_,
                   {.out = out,
                    .acc = acc,
                    .own = own,
                    .owner = owner,
                    .block = block,
                    .lanes = lanes,
                    .vector = vector},
                   r);
    return !t_.failure();
  }

  // Weights in the block's memory, on their way there while it waits for what it multiplies by
  // them. Empty: they are read in place.
  std::string copy_of_weights(size_t i) {
    const Sum& sum = sums_[i];
    if (sum.weights.empty()) return "";
    const Stage w = stage(sum.weights);
    uint32_t along = 0;
    visit(stage(sum.acc).body, [&](const Expr& e) {
      if (e.kind() == ExprKind::Load && t_.group()[e.from()].name == w.name)
        for (uint32_t k = 0; k < e.indices().size(); ++k)
          if (k != sum.row && w.axes[k].extent == sum.along.extent) along = k;
    });
    const Layout rows = axes_in_order(w.axes.size(), {}, {along});
    t_.pack(w.name, rows);
    const int64_t terms = i == cut_ ? sum.terms / blocks_ : sum.terms;
    if (terms % vector_of(w.dtype) || results_of(i) * terms * size_of(w.dtype) > kNear) return "";
    const std::string copy = t_.cache_read(w.name);
    t_.pack(copy, rows);
    return copy;
  }

  // The same of what finishes the sum: constants of one number a result, with their axis of
  // results.
  std::map<std::string, uint32_t> copies_of_biases(size_t i) {
    const Sum& sum = sums_[i];
    const Stage o = stage(sum.out);
    const int64_t results = i == last_ ? slice() : i == cut_ ? sum.results : results_of(i);
    std::map<std::string, uint32_t> found;
    visit(o.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || t_.group()[e.from()].kind != StageKind::Constant) return;
      const Stage& x = t_.group()[e.from()];
      for (uint32_t a = 0; a < x.axes.size(); ++a)
        if (goes_along(e.indices()[a], o.axes[sum.roles.vector].var) &&
            points(x.axes) == x.axes[a].extent && results % vector_of(x.dtype) == 0)
          found[x.name] = a;
    });
    std::map<std::string, uint32_t> copies;
    for (const auto& [name, axis] : found) copies[t_.cache_read(name)] = axis;
    return copies;
  }

  void copy_biases(size_t i, int64_t results, const std::string& owner, const std::string& block) {
    for (const auto& [name, axis] : biases_[i]) {
      const Stage b = stage(name);
      t_.compute_at(name, owner, block);
      t_.guard_halo(name);
      std::vector<int64_t> region(b.axes.size(), 1);
      region[axis] = results;
      t_.pack(name, axes_in_order(b.axes.size(), {}, {axis}));
      copy_by_threads(t_, name, physical_order(stage(name)), region, kThreads);
    }
  }

  Schedule& t_;
  std::vector<Sum> sums_;
  size_t cut_, last_;
  int64_t blocks_;
  std::vector<std::string> copies_;
  std::vector<std::map<std::string, uint32_t>> biases_;
};

// In cycles, of an H100. What a kernel takes whatever it does, within a network; until what was
// asked of the second-level cache comes; what threads add up together; until a cluster has met and
// read what its blocks wrote. Bytes of a multiprocessor's reads.
constexpr double kStart = 2400, kWait = 700, kShare = 250, kMeeting = 800, kBytes = 48;

double cycles_of(const std::vector<Sum>& sums, const SqueezeTile& x, const Device& d) {
  const auto blocks = static_cast<double>(x.blocks);
  double cycles = kStart + kWait + kMeeting;
  for (size_t i = 0; i < sums.size(); ++i) {
    const bool whole = i > x.cut && i + 1 < sums.size();  // in every block
    double bytes = sums[i].bytes / (whole ? 1 : blocks);
    // Channels of a point that are part of a sector.
    constexpr double sector = 32;
    const double piece = static_cast<double>(sums[i].results * size_of(d.storage)) / blocks;
    if (i < x.cut && !sums[i].roles.broadcast && piece < 4 * sector)
      bytes *= (piece + sector / 2) / piece;
    cycles += kShare + bytes / kBytes;
  }
  return cycles;
}

}  // namespace

std::vector<SqueezeTile> squeeze_tiles(const Schedule& s, const Device& d) {
  const std::vector<Sum> sums = sums_of(s);
  std::vector<SqueezeTile> tiles;
  if (sums.size() < 2) return tiles;
  for (int64_t blocks = 2; blocks <= cluster_of(d); ++blocks) {
    const int64_t results = sums.back().results, slice = ceil_div(results, blocks);
    if (ceil_div(results, slice) != blocks) continue;
    for (size_t cut = 0; cut < sums.size(); ++cut)
      if (sums[cut].along.extent % blocks == 0) tiles.push_back({cut, blocks});
  }
  return from_the_best(tiles, [&](const SqueezeTile& x) { return cycles_of(sums, x, d); });
}

bool by_squeeze(Schedule& s, const SqueezeTile& x) {
  std::vector<Sum> sums = sums_of(s);
  if (x.cut >= sums.size() || sums.size() < 2 || sums[x.cut].along.extent % x.blocks) return false;
  Schedule t = s;
  if (!Squeezed(t, std::move(sums), x).run()) return false;
  s = t;
  return true;
}

std::optional<double> squeeze_cycles(const Schedule& s, const Device& d) {
  const std::vector<Sum> sums = sums_of(s);
  if (sums.empty()) return std::nullopt;
  if (sums.size() == 1) {
    // Blocks of a pool have a sector of its channels, or two.
    constexpr double channels = 16;
    const double blocks =
        sums[0].roles.broadcast
            ? d.multiprocessors
            : std::min<double>(d.multiprocessors,
                               std::ceil(static_cast<double>(sums[0].results) / channels));
    return kStart + kWait + kShare + sums[0].bytes / blocks / kBytes;
  }
  const std::vector<SqueezeTile> tiles = squeeze_tiles(s, d);
  return tiles.empty() ? std::numeric_limits<double>::infinity() : cycles_of(sums, tiles[0], d);
}

}  // namespace burnish::cuda_target
