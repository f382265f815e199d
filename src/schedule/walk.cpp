// A stage's loops from the outside in. A loop of one iteration becomes a constant; unroll and
// vectorize stay loop kinds, expanded by code generation.
#include <algorithm>

#include "base/error.h"
#include "loop/thread_sum.h"
#include "schedule/lowering.h"

namespace burnish::lowering {

Walk::Walk(StageId id, const Stage& stage, const Nest& nest, Box b)
    : id(id), stage(stage), nest(nest), box(std::move(b)), dom(nest.loops.size()),
      segments(nest.loops.size()), chosen(nest.loops.size()), value(nest.loops.size()) {}

VarId Lowering::fresh(const std::string& loop, int64_t count, LoopKind kind, bool let) {
  std::string name = loop;
  for (char& c : name)
    if (c == '.' || c == '@') c = '_';
  VarId v = fn_.fresh(name + std::to_string(fn_.vars.size()));
  ranges_.set(v, 0, std::max<int64_t>(0, count - 1));
  vars_.push_back({kind, let, false});
  return v;
}

// The bounds of a clipped loop are facts about its variable.
void Lowering::know(VarId v, const std::vector<Bound>& lower, const std::vector<Bound>& upper) {
  for (const Bound& b : lower)
    if (b.div == 1) ranges_.assume(v, Aff::of(v) - b.a);
  for (const Bound& b : upper) ranges_.assume(v, less_than(v, b.a, b.div));
}

Box Lowering::current_box(const Walk& w) const {
  Box b;
  for (LoopId a = 0; a < w.box.size(); ++a) b.push_back(loop_span(w, a).moved(w.box[a].lo));
  return b;
}

// Computes the part of `box` inside the domain; outside it, the fills that readers expect.
void Lowering::emit_stage(StageId s, const Box& box, Stmts& out) {
  const Stage& t = stage(s);
  Walk w(s, t, schedule_.nest(s), box);
  std::vector<Domain> full;
  for (LoopId a = 0; a < box.size(); ++a) {
    const Span& b = box[a];
    int64_t extent = a < t.axes.size() ? t.axes[a].extent : t.raxes[a - t.axes.size()].extent;
    Domain d;
    d.extent = b.ext;
    for (const Aff& c : b.clo) d.lower.push_back({c - b.lo, 1});
    for (const Aff& c : b.chi) d.upper.push_back({c - b.lo, 1});
    full.push_back(prune(d));
    if (full.back().extent <= 0) return;
    if (!w.nest.guard_halo || a >= t.axes.size()) {
      d.lower.push_back({-b.lo, 1});
      d.upper.push_back({Aff(extent) - b.lo, 1});
    }
    d = prune(std::move(d));
    // A constant lower clip moves the origin, else tiles would vary.
    if (!d.lower.empty() && std::all_of(d.lower.begin(), d.lower.end(),
                                        [](const Bound& x) { return x.a.is_const(); })) {
      int64_t first = 0;
      for (const Bound& x : d.lower) first = std::max(first, x.a.c);
      w.box[a].lo.c += first;
      w.box[a].ext = d.extent - first;
      for (Bound& x : d.upper) x.a.c -= first;
      d = Domain{std::max<int64_t>(0, d.extent - first), {}, std::move(d.upper)};
    }
    if (schedule_.nest(s).in_registers() && d.varies())
      refuse_schedule("{} is in registers but its extent along {} varies", t.name, t.axes[a].name);
    set_domain(w, a, std::move(d));
  }
  const Warm* warm = nullptr;
  std::swap(warm, warm_);  // what is computed here runs completely, also in a warm-up
  if (!w.nest.guard_halo) emit_halo(s, box, full, out);
  out.push_back(Stmt());
  walk(w, 0, Part::Main, out);
  std::swap(warm, warm_);
}

namespace {

// Do segments of this loop compute some points twice?
bool overlaps(const Nest& n, LoopId l) {
  const Loop& loop = n.loops[l];
  if (loop.is_fused()) return overlaps(n, loop.first) || overlaps(n, loop.second);
  return loop.parent != kNoLoop && n.loops[loop.parent].tail == Tail::Overlap;
}

}  // namespace

bool Lowering::reads_registers(StageId s) const {
  for (StageId p = 0; p < group_.stages.size(); ++p) {
    if (!info_[p].live || !schedule_.nest(p).in_registers()) continue;
    for (const Reader& r : info_[p].readers)
      if (r.consumer == s) return true;
  }
  return false;
}

void Lowering::walk(Walk& w, size_t i, Part part, Stmts& out) {
  if (i == w.nest.order.size()) {
    out.push_back(statement(w, part));
    return;
  }
  LoopId l = w.nest.order[i];
  if (w.nest.loops[l].reduce) {
    if (part == Part::Main && !warm_) {
      // Init and finish stand outside the outermost reduce loop, over the spatial loops inside it.
      bool apart = !w.nest.guard_init;
      if (apart) {
        walk(w, i, Part::Init, out);
        out.push_back(Stmt());
      }
      walk(w, i, Part::Update, out);
      if (apart && w.stage.finish) {
        out.push_back(Stmt());
        walk(w, i, Part::Finish, out);
      }
      return;
    }
    if (part == Part::Main) part = Part::Update;
    if (part != Part::Update) return walk(w, i + 1, part, out);
  }
  // Segments that compute points twice, or update memory that others read, wait for each other.
  bool apart = overlaps(w.nest, l) || (open_.empty() && (w.stage.is_reduction() || w.stage.scan));
  const bool shared = w.nest.loops[l].kind == LoopKind::Parallel && open_.empty();
  const size_t begin = out.size();
  size_t end = begin, entries = 0;
  bool lone = false;
  each_entry(w, l, [&](const Entry& e) {
    if (e.count > 0) walk_entry(w, i, part, e, out);
    if (e.count > 0 && ++entries == 1) {
      lone = e.count == 1 && e.lower->empty() && e.upper->empty();
      end = out.size();
    }
    if (apart) out.push_back(Stmt());
  });
  leave(w, l);
  if (shared && lone && entries > 1) beside(out, begin, end, w.nest.loops[l].name);
}

// A single iteration of a loop that threads share, which other segments follow, is a parallel loop
// of its own: the last thread has it, while thread 0 has the single iteration of the last segment.
void Lowering::beside(Stmts& out, size_t begin, size_t end, const std::string& name) {
  const auto first = out.begin() + static_cast<ptrdiff_t>(begin),
             last = out.begin() + static_cast<ptrdiff_t>(end);
  bool fits = true;  // memory of all threads has to stay outside
  for (auto s = first; s != last; ++s) {
    if (!*s) continue;
    visit(*s, [&](const Stmt& x) {
      fits &= x.kind() != StmtKind::Barrier &&
              (x.kind() != StmtKind::For || x->loop.kind != LoopKind::Parallel) &&
              (x.kind() != StmtKind::Alloc || fn_.buffers[x->buffer].scope != Scope::Shared);
    });
  }
  if (!fits) return;
  Stmts body(first, last);
  const VarId v = fresh(name, 1, LoopKind::Parallel);
  *first = make_for({.var = v, .kind = LoopKind::Parallel, .extent = 1, .lower = {}, .upper = {}},
                    sequence(std::move(body)));
  out.erase(first + 1, last);
}

void Lowering::walk_entry(Walk& w, size_t i, Part part, const Entry& e, Stmts& out) {
  const Loop& loop = w.nest.loops[w.nest.order[i]];
  const std::string name = w.stage.name + "." + loop.name;
  bool constant = e.lower->empty() && e.upper->empty();
  const bool block = loop.kind == LoopKind::Parallel && has_threads_;
  const bool threads = loop.kind == LoopKind::Thread && loop.threads > 1;
  if (constant && e.count == 1 && !block && !threads) {
    e.bind(Aff(0));
    at_loop(w, i, part, out);
    return;
  }
  LoopKind kind = loop.kind;
  switch (kind) {
  case LoopKind::Serial: break;
  case LoopKind::Tensor:
    if (!has_threads_) refuse_schedule("{} is a tensor loop outside thread loops", name);
    if (!constant) refuse_schedule("{} is a tensor loop but its extent varies", name);
    break;
  case LoopKind::Thread:
    if (std::none_of(open_.begin(), open_.end(), [](const Open& o) { return o.kind == LoopKind::Parallel; }))
      refuse_schedule("{} is bound to threads outside a parallel loop, whose iterations are blocks", name);
    break;
  case LoopKind::Vectorize:
    if (!constant) refuse_schedule("{} is vectorized but its extent varies", name);
    if (loop.apart && !has_threads_) refuse_schedule("{} has lanes that load apart, which threads alone can", name);
    if (e.count > kMaxLanes)
      refuse_schedule("{} has {} lanes, split it to {} at most", name, e.count, kMaxLanes);
    break;
  case LoopKind::Unroll:
    if (!constant && w.nest.in_registers())
      refuse_schedule("{} cannot be unrolled, its extent varies", name);
    // Registers have no addresses: what reads them is expanded, each iteration under its condition. Kernels of threads choose for
    // themselves.
    if (!constant && !reads_registers(w.id) && (!has_threads_ || e.count > kMaxUnroll)) kind = LoopKind::Serial;
    if (kind == LoopKind::Unroll && e.count > kMaxUnroll)
      refuse_schedule("{} would be unrolled {} times, split it to {} at most", name, e.count,
                      kMaxUnroll);
    break;
  case LoopKind::Parallel:
    for (const Open& o : open_)
      if (!vars_[o.var].let)
        refuse_schedule("{} is parallel inside loop {}: only an outermost loop can be parallel, "
                        "reorder or fuse",
                        name, fn_.vars[o.var]);
    break;
  }
  VarId v = fresh(loop.name, e.count, kind);
  vars_[v].zero = e.lower->empty();
  vars_[v].threads = std::max(e.count, kind == LoopKind::Thread ? loop.threads : 0);
  open_.push_back({v, kind});
  size_t facts = ranges_.fact_count();
  know(v, *e.lower, *e.upper);
  if (kind == LoopKind::Vectorize) {
    lane_ = v;
    lanes_apart_ = loop.apart;
    lane_name_ = name;
  }
  size_t lets = lets_.size();
  e.bind(Aff::of(v));
  std::vector<std::pair<VarId, Index>> bound(lets_.begin() + static_cast<ptrdiff_t>(lets),
                                             lets_.end());
  lets_.resize(lets);
  for (auto& [var, value] : bound) open_.push_back({var, LoopKind::Serial});
  Stmts body;
  at_loop(w, i, part, body);
  open_.resize(open_.size() - bound.size());
  Stmt inner = sequence(std::move(body));
  for (auto let = bound.rbegin(); let != bound.rend(); ++let)
    inner = make_let(let->first, let->second, inner);
  open_.pop_back();
  ranges_.forget_to(facts);
  if (kind == LoopKind::Vectorize) lane_.reset();
  warm_up(w, i, part, e, v, out);
  ForStmt made{v, kind, vars_[v].threads, *e.lower, *e.upper};
  if (made.extent > e.count) made.upper.push_back({Aff(e.count), 1});
  out.push_back(make_for(std::move(made), std::move(inner)));
  if (kind == LoopKind::Thread && loop.reduce && !sums_threads(fn_, out.back()))
    refuse_schedule("{} is a reduction loop bound to threads: nothing but the sum may stand in it, which is in registers", name);
}

// If stages rolled over v: the iterations before its first, for them alone.
void Lowering::warm_up(Walk& w, size_t i, Part part, const Entry& e, VarId v, Stmts& out) {
  auto at = std::find_if(rolls_.begin(), rolls_.end(), [&](auto& r) { return r.first == v; });
  if (at == rolls_.end()) return;
  Warm warm = std::move(at->second);
  rolls_.erase(at);
  int64_t length = warm.length;
  if (length <= 0) return;
  const Warm* outer = warm_;
  owners_.push_back(w.id);
  find_warm_stages(warm, owners_);
  warm_ = &warm;
  Stmts body;
  // A variable also where there is one iteration: regions keep their shape, clips stay clips.
  VarId before = fresh(w.nest.loops[w.nest.order[i]].name, length, LoopKind::Serial);
  open_.push_back({before, LoopKind::Serial});
  e.bind(Aff::of(before) - Aff(length));
  at_loop(w, i, part, body);
  open_.pop_back();
  out.push_back(make_for({before, LoopKind::Serial, length, {}, {}}, sequence(std::move(body))));
  owners_.pop_back();
  warm_ = outer;
}

// Inside a loop: what is stored and computed here, then the loops further in.
void Lowering::at_loop(Walk& w, size_t i, Part part, Stmts& out) {
  Point here{w.id, i};
  bool attached = false, deeper = false;
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    const Info& info = info_[s];
    if (!info.live || s == w.id) continue;
    attached |= info.compute == here || info.store == here;
    deeper |= info.compute.stage == w.id && info.compute.position > i && runs(s);
  }
  std::vector<StageId> allocated;
  Stmts body;
  if (attached && (part == Part::Main || part == Part::Update)) {
    Box box = current_box(w);
    attach_point(here, infer(here, &box), allocated, body);
  }
  if (!warm_ || deeper) walk(w, i + 1, part, body);
  if (allocated.empty())
    out.insert(out.end(), body.begin(), body.end());
  else
    out.push_back(wrap_allocs(allocated, std::move(body)));
}

}  // namespace burnish::lowering
