// Padding of a producer in the group: its buffer covers what is read, halo included, and where that
// leaves the domain the fill is stored: low and high side of each axis in turn. Consumers then read
// without guards.
#include <algorithm>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {

void Lowering::emit_halo(StageId s, const Box& box, const std::vector<Domain>& full, Stmts& out) {
  const Stage& t = stage(s);
  if (info_[s].output) return;  // exactly its domain; its readers are guarded
  const auto& fills = info_[s].fills;
  for (uint32_t a = 0; a < t.axes.size(); ++a) {
    for (bool high : {false, true}) {
      int64_t extent = t.axes[a].extent;
      if (high && ranges_.bounds(box[a].lo).hi + box[a].ext <= extent) continue;
      if (!high && ranges_.bounds(box[a].lo).lo >= 0) continue;
      if (high && std::any_of(box[a].chi.begin(), box[a].chi.end(),
                              [&](const Aff& c) { return c.is_const() && c.c <= extent; }))
        continue;
      if (fills.empty()) continue;  // a region larger than what is read
      std::vector<Domain> part;
      for (uint32_t x = 0; x < t.axes.size(); ++x) {
        Domain d = full[x];
        Bound begin{-box[x].lo, 1}, end{Aff(t.axes[x].extent) - box[x].lo, 1};
        if (x < a || (x == a && high)) d.lower.push_back(x < a ? begin : end);
        if (x < a || (x == a && !high)) d.upper.push_back(x < a ? end : begin);
        part.push_back(prune(std::move(d)));
      }
      if (std::any_of(part.begin(), part.end(), [](const Domain& d) { return d.extent <= 0; }))
        continue;
      fill_box(s, box, std::move(part), the_fill(s), out);
    }
  }
}

// What readers of stage s expect outside its domain.
const Expr& Lowering::the_fill(StageId s) const {
  const auto& fills = info_[s].fills;
  if (fills.size() > 1)
    refuse_schedule("{} is read with {} different fills, but its memory can hold only one: "
                    "cache_read one side",
                    stage(s).name, fills.size());
  if (fills[0].kind() != ExprKind::Const)
    refuse_schedule("{} is read with a fill that is no constant: cache_read it", stage(s).name);
  return fills[0];
}

// A nest in the order of memory. Where the innermost dimension is whole blocks or a constant range,
// it is filled by vectors.
void Lowering::fill_box(StageId s, const Box& box, std::vector<Domain> part, const Expr& fill,
                        Stmts& out) {
  const Stage& t = stage(s);
  const auto& dims = storage_[s].dims;  // outermost first
  std::vector<Aff> origin;
  for (uint32_t a = 0; a < t.axes.size(); ++a) {
    origin.push_back(box[a].lo);
    auto& lower = part[a].lower;
    if (!lower.empty() &&
        std::all_of(lower.begin(), lower.end(), [](auto& b) { return b.a.is_const(); })) {
      int64_t first = 0;
      for (const Bound& b : lower) first = std::max(first, b.a.c);
      origin[a].c += first;
      part[a].extent -= first;
      for (Bound& b : part[a].upper) b.a.c -= first;
      lower.clear();
    }
  }
  uint32_t last = dims.empty() ? 0 : dims.back().axis;
  int64_t block = dims.empty() ? 0 : dims.back().mod;
  int64_t lanes = block ? block : 16;
  bool vector = !dims.empty() && dims.back().div == 1 && !part[last].varies() &&
                storage_[s].fold[last] == 0 && lanes <= kMaxLanes;
  if (block)
    vector = vector && storage_[s].lo[last] == origin[last] && part[last].extent % block == 0;
  int64_t whole = vector ? part[last].extent / lanes : 0,
          rest = vector ? part[last].extent % lanes : 0;

  size_t facts = ranges_.fact_count();
  std::vector<Index> at(t.axes.size());
  std::vector<ForStmt> loops;
  auto loop = [&](uint32_t a, const Domain& d, int64_t step) {
    if (d.extent == 1 && !d.varies()) {
      at[a] = Index(origin[a]);
      return;
    }
    VarId v = fresh(t.axes[a].name, d.extent, LoopKind::Serial);
    know(v, d.lower, d.upper);
    at[a] = Index(origin[a] + Aff::of(v, step));
    loops.push_back({v, LoopKind::Serial, d.extent, d.lower, d.upper});
  };
  std::vector<bool> seen(t.axes.size());
  for (const Storage::Dim& d : dims) {
    if (seen[d.axis]) continue;
    seen[d.axis] = true;
    if (vector && d.axis == last) {
      at[last] = Index(origin[last]);
      if (block && whole > 1)
        loop(last, Domain{whole, {}, {}}, lanes);  // blocks stand outside the other axes
    } else {
      loop(d.axis, part[d.axis], 1);
    }
  }
  auto store = [&](const Aff& more,
                   int64_t count) {  // `count` elements along the innermost dimension
    std::vector<Index> position = at;
    ForStmt lane{0, LoopKind::Vectorize, count, {}, {}};
    if (count > 1) lane.var = fresh(t.axes[last].name, count, LoopKind::Vectorize);
    if (vector) position[last].a += more + (count > 1 ? Aff::of(lane.var) : Aff(0));
    Stmt st = make_store(storage_[s].buffer, address(s, position), fill);
    return count > 1 ? make_for(std::move(lane), std::move(st)) : st;
  };
  Stmts stores;
  if (!vector) {
    stores.push_back(store(Aff(0), 1));
  } else if (block || whole == 1) {
    stores.push_back(store(Aff(0), lanes));
  } else if (whole > 1) {
    VarId v = fresh(t.axes[last].name, whole, LoopKind::Serial);
    stores.push_back(
        make_for({v, LoopKind::Serial, whole, {}, {}}, store(Aff::of(v, lanes), lanes)));
  }
  if (rest) stores.push_back(store(Aff(whole * lanes), rest));
  Stmt body = make_seq(std::move(stores));
  for (auto l = loops.rbegin(); l != loops.rend(); ++l)
    body = make_for(std::move(*l), std::move(body));
  ranges_.forget_to(facts);
  out.push_back(std::move(body));
}

}  // namespace burnish::lowering
