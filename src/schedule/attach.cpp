// What happens where a loop begins: buffers stored there, then producers computed there; and the
// root of it all.
#include <algorithm>

#include "base/error.h"
#include "loop/matrix_sum.h"
#include "loop/thread_sum.h"
#include "schedule/lowering.h"

namespace burnish::lowering {

Function Lowering::run() {
  fn_.name = group_.name;
  auto add_parameter = [&](StageId s, bool written) {
    const Stage& t = stage(s);
    Storage& at = storage_[s];
    const Runs runs = runs_of(t.layout, t.shape());
    at.buffer = fn_.add_buffer({.name = t.name,
                                .dtype = t.dtype,
                                .scope = Scope::Param,
                                .size = physical_size(t.layout, t.shape()),
                                .written = written,
                                .constant = t.kind == StageKind::Constant,
                                .run = runs.run,
                                .pitch = runs.pitch,
                                .prefetch = schedule_.nest(s).prefetch});
    at.alive = true;
    at.lo.assign(t.axes.size(), Aff(0));
    at.ext = t.shape();
    at.fold.assign(t.axes.size(), 0);
    lay_out(s);
  };
  for (StageId s : group_.inputs) add_parameter(s, false);
  for (StageId s : group_.outputs) add_parameter(s, true);
  Point root{kRoot, 0};
  Stmts out;
  std::vector<StageId> allocated;
  attach_point(root, infer(root, nullptr), allocated, out);
  fn_.body = wrap_allocs(allocated, std::move(out));
  if (has_threads_) {
    fn_.body = with_block_barriers(fn_);
    std::map<BufferId, int64_t> slots;
    for (StageId s = 0; s < group_.stages.size(); ++s)
      if (schedule_.nest(s).slots > 1 && buffers_[s]) slots[*buffers_[s]] = schedule_.nest(s).slots;
    if (!slots.empty()) multi_buffers(fn_, slots);
    for (const auto& check : {check_matrix_sums, check_thread_sums})
      if (const auto fits = check(fn_); !fits) refuse_schedule("{}", fits.reason());
  }
  return std::move(fn_);
}

void Lowering::attach_point(const Point& p, const Regions& r, std::vector<StageId>& allocated,
                            Stmts& out) {
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    const Info& i = info_[s];
    if (!i.live || !stage(s).is_compute() || i.output || i.store != p || !r.known[s] || !runs(s))
      continue;
    allocate(s, r.need[s]);
    allocated.push_back(s);
    // A recurrence whose own loop is the time keeps its last values only.
    if (auto scan = stage(s).scan; scan && i.compute == p && schedule_.nest(s).fold[*scan] >= 0 &&
                                   r.need[s][*scan].lo.is_const()) {
      int64_t keep = std::max<int64_t>(1, schedule_.nest(s).fold[*scan]);
      const Span& all = r.need[s][*scan];
      for (const Reader& reader : i.readers) {
        if (reader.consumer == s || inside(reader.consumer, {s, 0})) continue;
        const Index& at = reader.load.indices()[*scan];
        if (!at.is_affine() || !at.a.is_const() || at.a.c + keep < all.lo.c + all.ext)
          refuse_schedule("{}.{} folded to {}, but {} reads older values", stage(s).name,
                          stage(s).axes[*scan].name, keep, stage(reader.consumer).name);
      }
      storage_[s].fold[*scan] = keep;
      lay_out(s);
    }
  }
  for (StageId s = 0; s < group_.stages.size(); ++s) {
    const Info& i = info_[s];
    if (!i.live || !stage(s).is_compute() || i.compute != p || !r.known[s] || s == p.stage ||
        !runs(s))
      continue;
    emit_stage(s, r.fresh[s], out);
    out.push_back(Stmt());
  }
}

namespace {

// Parallel loops stand outside all others, so they are found without going into loops.
bool has_parallel(const Stmt& s) {
  switch (s.kind()) {
  case StmtKind::For: return s->loop.kind == LoopKind::Parallel;
  case StmtKind::Let:
  case StmtKind::Alloc:
  case StmtKind::Seq: return std::any_of(s.children().begin(), s.children().end(), has_parallel);
  case StmtKind::Store:
  case StmtKind::If:
  case StmtKind::While:
  case StmtKind::Barrier:
  case StmtKind::Call: return false;
  }
  return false;
}

}  // namespace

// Outside all loops, statements of which one may depend on the other have a barrier between them,
// unless both are executed by thread 0 alone.
Stmt Lowering::sequence(Stmts list) const {
  struct Since {  // the last barrier: is there a statement, and a parallel one
    bool any = false, parallel = false;
  };
  Stmts out;
  Since before,
      together;  // statements that the next one may depend on; those that it does not depend on
  for (Stmt& s : list) {
    if (!s) {
      before = {before.any || together.any, before.parallel || together.parallel};
      together = {};
      continue;
    }
    if (open_.empty()) {
      bool here = has_parallel(s);
      if (before.any && (before.parallel || here)) {
        out.push_back(make_barrier());
        before = {};
      }
      together = {true, together.parallel || here};
    }
    out.push_back(std::move(s));
  }
  return out.size() == 1 ? out[0] : make_seq(std::move(out));
}

Stmt Lowering::wrap_allocs(const std::vector<StageId>& allocated, Stmts list) {
  Stmt body = sequence(std::move(list));
  for (auto s = allocated.rbegin(); s != allocated.rend(); ++s) {
    body = make_alloc(storage_[*s].buffer, std::move(body));
    storage_[*s].alive = false;
  }
  return body;
}

// In a warm-up only the rolling stages and what they read run.
void Lowering::find_warm_stages(Warm& w, const std::vector<StageId>& owners) const {
  w.runs.assign(group_.stages.size(), false);
  for (const Roll& r : w.rolls) w.runs[r.stage] = true;
  for (size_t s = group_.stages.size(); s-- > 0;)
    for (const Reader& r : info_[s].readers)
      if (r.consumer != s && w.runs[r.consumer] &&
          std::find(owners.begin(), owners.end(), r.consumer) == owners.end())
        w.runs[s] = true;
}

}  // namespace burnish::lowering

namespace burnish {

Result<Function> lower(const Schedule& s) {
  if (s.failure()) return *s.failure();
  try {
    return lowering::Lowering(s).run();
  } catch (const lowering::Refused& r) {
    return Reason{r.text};
  }
}

}  // namespace burnish
