// Reductions of rows and what is computed from them (softmax, layer norm, means): one kernel, in which one or several warps
// have a row. What the stages have between them stays in the threads' registers, sums of a row in the block's memory.
//
//   block: rows.o
//     full stages:  thread row, warp, lane:  registers: the row's vectors of this thread
//     sums:  rf:    thread row, warp, lane:  registers: along the row, by place in a vector
//            rf2:   thread row, warp, lane:  registers: of a vector
//            rf3:   thread row, warp:        sums over lanes; block's memory (where a row has several warps)
//            sum:   thread row:              sums over lanes or warps; block's memory
//     output:       thread row, warp, lane
#include <algorithm>
#include <map>

#include "loop/thread_sum.h"
#include "target/cuda/row_group.h"
#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t kThreads = 128;        // of a block where rows are short
constexpr int64_t kMostRegisters = 32;   // of a thread for one stage: 1024 threads have 64 each
constexpr int64_t kMostWarps = 32;

struct RowTile {
  int64_t rows, warps, lanes, vector;  // rows of a block; warps and lanes of a row; elements of an access
  int64_t step() const { return warps * lanes * vector; }
};

std::optional<RowTile> tile_of(const RowGroup& r, const Stage& out, int64_t vector, const Device& d) {
  int64_t rows = 1;
  for (size_t a = 0; a < out.axes.size(); ++a)
    if (r.axes.at(r.out)[a] >= 0) rows *= out.axes[a].extent;
  const int64_t vectors = ceil_div(r.length, vector);
  RowTile t{.rows = 1, .warps = 1, .lanes = std::min(kWarp, power_below(vectors)), .vector = vector};
  if (t.lanes < 2) return std::nullopt;
  const auto steps = [&] { return ceil_div(vectors, t.warps * t.lanes); };
  const bool few = rows < 2 * d.multiprocessors;
  while (t.lanes == kWarp && t.warps < kMostWarps && (steps() * vector > kMostRegisters || (few && steps() > 4))) t.warps *= 2;
  if (steps() * vector > kMostRegisters) return std::nullopt;
  t.rows = std::max<int64_t>(1, kThreads / (t.warps * t.lanes));
  while (t.rows > 1 && rows / t.rows < d.multiprocessors && t.rows * t.warps * t.lanes > kWarp) t.rows /= 2;
  if (t.rows * t.warps < 2) t.rows = 2;
  if (rows == 1 && t.rows > 1) {
    t.rows = 1;
    t.warps = std::max<int64_t>(2, t.warps);
    if (t.lanes < kWarp) return std::nullopt;
  }
  return t;
}

class ByRows {
 public:
  ByRows(Schedule& t, const RowGroup& r, RowTile tile) : t_(t), tile_(tile), length_(r.length) {
    out_ = t.group()[r.out].name;
    for (const auto& [s, axes] : r.axes) axes_[t.group()[s].name] = axes;
  }

  bool run() {
    inline_between();
    std::vector<std::string> full, sums;
    for (const auto& [name, axes] : axes_) {
      const Stage& s = stage(name);
      if (name != out_) (s.is_reduction() ? sums : full).push_back(name);
    }
    if (stage(out_).is_reduction()) {  // what finishes it remains
      const std::string acc = t_.cache_write(out_);
      if (t_.failure()) return false;
      axes_[acc] = axes_.at(out_);
      sums.push_back(acc);
    }
    read_once(full);
    if (!lay_out_output()) return false;
    for (const std::string& name : full) lay_out_full(name);
    for (const std::string& name : sums) lay_out_sum(name);
    return !t_.failure();
  }

 private:
  const Stage& stage(const std::string& name) const { return t_.group()[*t_.group().named(name)]; }

  // What is computed of sums alone is computed where it is read.
  void inline_between() {
    std::vector<std::string> done;
    for (const auto& [name, axes] : axes_) {
      if (name == out_ || stage(name).is_reduction() || std::ranges::count(axes, kRow)) continue;
      done.push_back(name);
    }
    for (const std::string& name : done) {
      t_.inline_stage(name);
      axes_.erase(name);
    }
  }

  // Inputs that several stages read at the same points.
  void read_once(std::vector<std::string>& full) {
    std::vector<std::string> inputs;
    for (const StageId i : t_.group().inputs)
      if (t_.group()[i].kind == StageKind::Input) inputs.push_back(t_.group()[i].name);
    for (const std::string& input : inputs) {
      const StageId id = *t_.group().named(input);
      int readers = 0;
      std::optional<std::vector<int>> axes;
      bool fits = true;
      for (const auto& [name, own] : axes_) {
        bool reads = false;
        for (const Expr& e : expressions(stage(name)))
          visit(e, [&](const Expr& x) {
            if (x.kind() != ExprKind::Load || x.from() != id) return;
            const auto is = classes_of(stage(name), own, x, stage(input));
            fits &= is && (!axes || *axes == *is);
            if (is) axes = *is;
            reads = true;
          });
        readers += reads;
      }
      if (!fits || readers < 2 || !axes || std::ranges::count(*axes, kRow) != 1) continue;
      std::vector<int> outer = *axes, all = axes_.at(out_);
      for (auto* v : {&outer, &all}) {
        std::erase_if(*v, [](int c) { return c < 0; });
        std::ranges::sort(*v);
      }
      if (outer != all) continue;
      const std::string cached = t_.cache_read(input);
      if (t_.failure()) return;
      axes_[cached] = *axes;
      full.push_back(cached);
    }
  }

  // Names of a stage's loops: of one point, of rows outermost first, along the row.
  struct Loops {
    std::vector<std::string> unit, rows;
    std::string along;
  };
  Loops loops_of(const std::string& name) const {
    const Stage& s = stage(name);
    const std::vector<int>& axes = axes_.at(name);
    Loops l;
    std::vector<std::pair<size_t, std::string>> rows;
    for (size_t a = 0; a < axes.size(); ++a) {
      if (axes[a] == kUnit) l.unit.push_back(s.axes[a].name);
      if (axes[a] == kRow) l.along = s.axes[a].name;
      if (axes[a] >= 0) rows.emplace_back(std::ranges::find(order_, axes[a]) - order_.begin(), s.axes[a].name);
    }
    std::ranges::sort(rows);
    for (const auto& [at, loop] : rows) l.rows.push_back(loop);
    return l;
  }

  // A loop along a row, or along what a step of it has: threads outside, registers inside.
  struct Threads {
    std::vector<std::string> bound;
    std::string vector;
  };
  Threads threads_of(const std::string& name, std::string loop, int64_t vector) {
    Threads th;
    if (tile_.warps > 1) {
      auto [warp, rest] = t_.split(name, loop, kWarp * vector, Tail::Whole);
      th.bound.push_back(warp);
      loop = rest;
    }
    if (vector > 1) std::tie(loop, th.vector) = t_.split(name, loop, vector, Tail::Whole);
    th.bound.push_back(loop);
    return th;
  }

  void finish(const std::string& name, std::vector<std::string> outside, const Threads& th, const std::vector<std::string>& inside) {
    outside.insert(outside.end(), th.bound.begin(), th.bound.end());
    outside.insert(outside.end(), inside.begin(), inside.end());
    if (!th.vector.empty()) outside.push_back(th.vector);
    t_.reorder(name, outside);
    for (const std::string& l : th.bound) t_.bind(name, l);
    for (const std::string& l : inside) t_.unroll(name, l);
    if (!th.vector.empty()) t_.vectorize(name, th.vector);
  }

  bool lay_out_output() {
    const std::vector<int>& axes = axes_.at(out_);
    for (const uint32_t a : physical_order(stage(out_)))
      if (axes[a] >= 0) order_.push_back(axes[a]);
    Loops l = loops_of(out_);
    std::vector<std::string> outside = l.unit, inner;
    if (!l.rows.empty()) {
      auto [o, i] = t_.split(out_, l.rows.back(), tile_.rows, Tail::Whole);
      l.rows.back() = o;
      outside.insert(outside.end(), l.rows.begin(), l.rows.end());
      row_ = i;
    }
    if (l.along.empty()) {
      if (outside.empty() || row_.empty()) return false;
      std::vector<std::string> order = outside;
      order.push_back(row_);
      t_.reorder(out_, order);
      t_.bind(out_, row_);
    } else {
      std::string along = l.along;
      if (outside.empty()) {  // a block of one row
        auto [one, rest] = t_.split(out_, along, ceil_div(length_, tile_.step()) * tile_.step(), Tail::Whole);
        outside.push_back(one);
        along = rest;
      }
      auto [steps, step] = t_.split(out_, along, tile_.step(), Tail::Whole);
      std::vector<std::string> order = outside;
      order.push_back(steps);
      if (!row_.empty()) order.push_back(row_);
      finish(out_, order, threads_of(out_, step, tile_.vector), {});
      t_.unroll(out_, steps);
      if (!row_.empty()) t_.bind(out_, row_);
    }
    block_ = fused(t_, out_, outside);
    t_.parallel(out_, block_);
    return !t_.failure();
  }

  void in_block(const std::string& name, bool registers) {
    t_.compute_at(name, out_, block_);
    t_.guard_halo(name);
    if (registers) t_.set_scope(name, Scope::Register);
  }

  // Loops outside those of threads along the row; that of the rows of a block is bound.
  std::vector<std::string> rows_to_threads(const std::string& name) {
    const Loops l = loops_of(name);
    std::vector<std::string> order = l.unit;
    order.insert(order.end(), l.rows.begin(), l.rows.end());
    if (!l.rows.empty()) t_.bind(name, l.rows.back());
    return order;
  }

  void lay_out_full(const std::string& name) {
    in_block(name, true);
    auto [steps, step] = t_.split(name, loops_of(name).along, tile_.step(), Tail::Whole);
    std::vector<std::string> order = rows_to_threads(name);
    const Threads th = threads_of(name, step, tile_.vector);
    order.insert(order.begin(), steps);
    finish(name, order, th, {});
    t_.unroll(name, steps);
  }

  void lay_out_sum(const std::string& name) {
    const std::vector<int> axes = axes_.at(name);
    const auto part = [&](const std::string& made) {
      axes_[made] = axes;
      axes_[made].push_back(kRow);
      return made;
    };
    std::string k = stage(name).raxes[0].name;
    const std::string by_place = part(t_.rfactor(name, k, tile_.warps * tile_.lanes * tile_.vector, true, 1, true));
    if (t_.failure()) return;
    {
      in_block(by_place, true);
      const std::string along = k + "o";
      const int64_t whole = length_ / tile_.step();
      if (whole > 0 && length_ % tile_.step()) t_.partition(by_place, along, {whole});
      const std::vector<std::string> order = rows_to_threads(by_place);
      finish(by_place, order, threads_of(by_place, loops_of(by_place).along, tile_.vector), {along});
      k += "i";
    }
    if (tile_.vector > 1) {
      const std::string by_lane = part(t_.rfactor(name, k, tile_.vector));
      in_block(by_lane, true);
      const std::vector<std::string> order = rows_to_threads(by_lane);
      finish(by_lane, order, threads_of(by_lane, loops_of(by_lane).along, 1), {k + "i"});
      k += "o";
    }
    if (tile_.warps == 1) return sum_lanes(name, k, name == out_ + ".acc");
    const std::string by_warp = part(t_.rfactor(name, k, kWarp));
    in_block(by_warp, false);
    sum_lanes(by_warp, k + "i", false);
    k += "o";
    if (name == out_ + ".acc") {
      t_.compute_at(name, out_, row_.empty() ? block_ : row_);
      t_.set_scope(name, Scope::Register);
      for (const Axis& a : stage(name).axes) t_.unroll(name, a.name);
    } else {
      in_block(name, false);
      std::vector<std::string> order = rows_to_threads(name);
      order.push_back(k);
      t_.reorder(name, order);
    }
    t_.unroll(name, k);
  }

  // The sum over lanes, in registers of the innermost thread loop of the stage that has it in the block's memory; `at_output`:
  // where the output's thread is.
  void sum_lanes(const std::string& name, const std::string& lanes, bool at_output) {
    std::string acc = name;
    if (at_output) {
      t_.compute_at(acc, out_, row_);
    } else {
      acc = t_.cache_write(name);
      if (t_.failure()) return;
      in_block(name, false);
      std::vector<std::string> order = rows_to_threads(name);
      std::string innermost = loops_of(name).rows.empty() ? "" : loops_of(name).rows.back();
      if (const std::string along = loops_of(name).along; !along.empty()) {
        t_.bind(name, along);
        order.push_back(along);
        innermost = along;
      }
      t_.reorder(name, order);
      t_.compute_at(acc, name, innermost);
    }
    t_.guard_halo(acc);
    std::vector<std::string> points;
    for (const Axis& a : stage(acc).axes) points.push_back(a.name);
    combine_lanes(t_, acc, std::move(points), lanes);
  }

  Schedule& t_;
  RowTile tile_;
  int64_t length_;
  std::map<std::string, std::vector<int>> axes_;
  std::vector<int> order_;  // the output's axes of rows, outermost first
  std::string out_, block_, row_;
};

}  // namespace

bool by_rows(Schedule& s, int64_t vector, const Device& d) {
  for (const bool out_has_rows : {true, false}) {
    const std::vector<uint32_t> order = physical_order(s.group()[s.group().outputs[0]]);
    if (out_has_rows && order.empty()) continue;
    const auto r = row_group(s.group(), out_has_rows ? std::optional(order.back()) : std::nullopt);
    if (!r || r->length % vector) continue;
    const auto tile = tile_of(*r, s.group()[r->out], vector, d);
    if (!tile) continue;
    Schedule t = s;
    if (!ByRows(t, *r, *tile).run() || !lowers(t)) continue;
    s = t;
    return true;
  }
  return false;
}

}  // namespace burnish::cuda_target
