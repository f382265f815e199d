// Rolling: stored outside a loop and computed inside it, a producer computes in each iteration only
// what no earlier one has left behind. For an axis a, v is the innermost loop between the two
// places that moves need[a].lo, by c. Then
//
//   need = [lo, lo + ext)            what consumers read now
//   new  = [lo + ext - c, lo + ext)  what is computed now: always c rows
//
// The first iteration lacks the rest, so v gets a warm-up: iterations before 0 in which only
// rolling stages and what they read run, clipped from below at the first row ever needed.
// (Selecting on v == 0 instead would make extents vary and rings grow with every link of a chain.)
#include <algorithm>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

Aff at_zero(Aff a, VarId v) {
  a.add(v, -a.slope(v));
  return a;
}

}  // namespace

Box Lowering::roll(StageId s, const Box& full, const Box& need) {
  const Info& info = info_[s];
  if (info.store == info.compute) return need;
  const Stage& t = stage(s);
  const Nest& nest = schedule_.nest(s);
  size_t level = storage_[s].level;
  for (size_t k = level; k < open_.size(); ++k)
    if (open_[k].kind == LoopKind::Parallel)
      refuse_schedule("{} is stored outside parallel loop {} but computed inside it", t.name,
                      fn_.vars[open_[k].var]);
  Box fresh = need;
  for (uint32_t a = 0; a < t.axes.size(); ++a) {
    const Span& n = need[a];
    bool folded = nest.fold[a] >= 0;
    const Roll* known = nullptr;
    if (warm_)
      for (const Roll& r : warm_->rolls)
        if (r.stage == s && r.axis == a) known = &r;
    int64_t c = 0;
    std::vector<Aff> first;
    if (known) {
      c = known->slope;
      first = known->first;
    } else {
      std::optional<VarId> v;
      for (size_t k = level; k < open_.size(); ++k) {
        Interval range = ranges_.of(open_[k].var);
        if (n.lo.slope(open_[k].var) != 0 && range.lo < range.hi) v = open_[k].var;
      }
      auto moves = [&](const std::vector<Aff>& clips) {
        return std::any_of(clips.begin(), clips.end(),
                           [&](const Aff& x) { return x.slope(*v) != 0; });
      };
      bool fit = v && n.lo.slope(*v) > 0 && n.ext >= n.lo.slope(*v) && vars_[*v].zero &&
                 !moves(n.clo) && !moves(n.chi);
      for (uint32_t o = 0; fit && o < t.axes.size(); ++o) fit = o == a || need[o].lo.slope(*v) == 0;
      if (!fit && v && (folded || t.scan == a))
        refuse_schedule(
            "{}.{} cannot roll: its region does not move upwards with one loop from zero", t.name,
            t.axes[a].name);
      if (!fit) continue;
      c = n.lo.slope(*v);
      if (n.ext == c && !folded) continue;  // every iteration needs its own part
      first.push_back(at_zero(full[a].lo, *v));
      for (const Aff& x : full[a].clo)
        if (x.slope(*v) == 0) first.push_back(x);
      int64_t gap = INT64_MAX;  // rows between the first one ever needed and the first that
                                // iteration 0 computes
      for (const Aff& x : first) {
        Aff g = at_zero(n.lo + Aff(n.ext - c), *v) - x;
        if (g.is_const()) gap = std::min(gap, g.c);
      }
      if (gap == INT64_MAX)
        refuse_schedule("{}.{} would need a warm-up of varying length", t.name, t.axes[a].name);
      auto at = std::find_if(rolls_.begin(), rolls_.end(), [&](auto& r) { return r.first == *v; });
      if (at == rolls_.end()) at = rolls_.insert(rolls_.end(), {*v, Warm{}});
      at->second.rolls.push_back({s, a, *v, c, first});
      at->second.length = std::max(at->second.length, ceil_div(gap, c));
    }
    fresh[a].lo = n.lo + Aff(n.ext - c);
    fresh[a].ext = c;
    if (warm_ && known)
      for (const Aff& x : first) fresh[a].clip_low(x);
    if (!folded) continue;
    int64_t rows = nest.fold[a] ? nest.fold[a] : n.ext;
    if (rows < n.ext)
      refuse_schedule("{}.{} folded to {}, but {} are alive at once", t.name, t.axes[a].name, rows,
                      n.ext);
    storage_[s].fold[a] = rows;
    lay_out(s);
  }
  return fresh;
}

}  // namespace burnish::lowering
