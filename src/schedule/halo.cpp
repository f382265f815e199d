// Padding of a producer in the group: its buffer covers what is read, halo included, and where that leaves the domain
// the fill is stored: low and high side of each axis in turn. Consumers then read without guards.
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
      if (std::any_of(part.begin(), part.end(), [](const Domain& d) { return d.extent <= 0; })) continue;
      if (fills.size() > 1)
        refuse_schedule("{} is read with {} different fills, but its memory can hold only one: cache_read one side",
                        t.name, fills.size());
      if (fills[0].kind() != ExprKind::Const)
        refuse_schedule("{} is read with a fill that is no constant: cache_read it", t.name);
      fill_box(s, box, part, fills[0], out);
    }
  }
}

// A nest in the order of memory. Where the innermost dimension is whole blocks or a constant range, it is filled by
// vectors.
void Lowering::fill_box(StageId s, const Box& box, const std::vector<Domain>& part, const Expr& fill, Stmts& out) {
  const Stage& t = stage(s);
  struct FillLoop {
    VarId var;
    ForStmt loop;
    size_t facts;
  };
  const auto& dims = storage_[s].dims;  // outermost first
  std::vector<uint32_t> order;          // axes in the order of memory
  for (auto d = dims.rbegin(); d != dims.rend(); ++d)
    if (std::find(order.begin(), order.end(), d->axis) == order.end()) order.insert(order.begin(), d->axis);
  uint32_t last = order.empty() ? 0 : order.back();
  int64_t block = dims.empty() ? 0 : dims.back().mod;
  bool vector = !order.empty() && !part[last].varies() && storage_[s].fold[last] == 0;
  if (block && vector) vector = storage_[s].lo[last] == box[last].lo && part[last].extent % block == 0;
  int64_t chunk = block ? std::min(block, kMaxLanes) : 16;
  if (vector && block) vector = block % chunk == 0;
  std::vector<Index> at(t.axes.size());
  size_t facts = ranges_.fact_count();
  std::vector<ForStmt> loops;
  for (uint32_t a : order) {
    if (vector && a == last) continue;
    const Domain& d = part[a];
    VarId v = fresh(t.axes[a].name, d.extent, LoopKind::Serial);
    know(v, d.lower, d.upper);
    at[a] = Index(box[a].lo + Aff::of(v));
    loops.push_back({v, LoopKind::Serial, d.extent, d.lower, d.upper});
  }
  Stmts stores;
  auto store = [&](const Aff& position) {
    if (!order.empty() && vector) at[last] = Index(box[last].lo + position);
    return make_store(storage_[s].buffer, address(s, at), fill);
  };
  auto lanes = [&](const Aff& base, int64_t count) {
    if (count == 1) return store(base);
    VarId v = fresh(t.axes[last].name, count, LoopKind::Vectorize);
    return make_for({v, LoopKind::Vectorize, count, {}, {}}, store(base + Aff::of(v)));
  };
  if (!vector) {
    stores.push_back(store(Aff(0)));
  } else {
    int64_t n = part[last].extent, whole = n / chunk;
    if (whole == 1) stores.push_back(lanes(Aff(0), chunk));
    if (whole > 1) {
      VarId v = fresh(t.axes[last].name, whole, LoopKind::Serial);
      stores.push_back(make_for({v, LoopKind::Serial, whole, {}, {}}, lanes(Aff::of(v, chunk), chunk)));
    }
    if (n % chunk) stores.push_back(lanes(Aff(whole * chunk), n % chunk));
  }
  Stmt body = make_seq(std::move(stores));
  for (auto l = loops.rbegin(); l != loops.rend(); ++l) body = make_for(std::move(*l), std::move(body));
  ranges_.forget_to(facts);
  out.push_back(std::move(body));
}

}  // namespace burnish::lowering
