// Arrays in registers without the gaps between what a thread has of them: a stage's storage is that of all threads, of which a
// thread's rows may be thousands of elements apart. Compilers keep small arrays in registers, large ones in memory.
#include <map>
#include <numeric>

#include "loop/loads.h"
#include "loop/matrix_sum.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

struct Access {
  std::vector<std::pair<int64_t, int64_t>> steps;  // a thread's own: how far apart, and how many
  int64_t constant = 0;
};

// Accesses of the buffer within the statement; none where they are not all affine and upwards.
std::vector<Access> accesses(const Stmt& s, BufferId b) {
  std::map<VarId, int64_t> extents;  // 0: of threads
  visit(s, [&](const Stmt& x) {
    if (x.kind() != StmtKind::For) return;
    int64_t& e = extents[x->loop.var];
    const LoopKind kind = x->loop.kind;
    e = kind == LoopKind::Thread ? 0 : std::max(e, kind == LoopKind::Tensor ? x->loop.extent / kMatrixLanes : x->loop.extent);
  });
  std::vector<Access> all;
  bool simple = true;
  const auto add = [&](const Index& i) {
    Access a{.steps = {}, .constant = i.a.c};
    simple &= i.is_affine() && i.a.c >= 0;
    for (const Term& t : i.a.terms) {
      const auto e = extents.find(t.var);
      simple &= e != extents.end() && t.k > 0;
      if (e != extents.end() && e->second > 1) a.steps.emplace_back(t.k, e->second);
    }
    all.push_back(std::move(a));
  };
  visit(s, [&](const Stmt& x) {
    visit_loads(x, [&](const Expr& e) {
      if (e.from() == b) add(e.indices()[0]);
    });
    if (x.kind() == StmtKind::Store && x->buffer == b) add(x->index);
  });
  return simple ? all : std::vector<Access>{};
}

}  // namespace

std::vector<Gap> gaps_of(const Stmt& s, BufferId b) {
  std::vector<Gap> gaps;
  std::vector<Access> all = accesses(s, b);
  for (bool found = true; found && !all.empty();) {
    found = false;
    std::map<int64_t, int64_t> steps;  // how far apart, and what divides it and all that are farther
    for (const Access& a : all)
      for (const auto& [k, n] : a.steps) steps[k] = 0;
    int64_t unit = 0;
    for (auto at = steps.rbegin(); at != steps.rend(); ++at) at->second = unit = std::gcd(unit, at->first);
    for (const auto& [from, apart] : steps) {
      int64_t used = 1;  // of `apart` elements, by the steps that are smaller
      for (const Access& a : all) {
        int64_t last = a.constant % apart;
        for (const auto& [k, n] : a.steps)
          if (k < from) last += k * (n - 1);
        used = std::max(used, last + 1);
      }
      if (used >= apart) continue;
      gaps.push_back({apart, used});
      for (Access& a : all) {
        a.constant /= apart;
        std::erase_if(a.steps, [&](const auto& step) { return step.first < from; });
        for (auto& [k, n] : a.steps) k /= apart;
      }
      found = true;
      break;
    }
  }
  return gaps;
}

Aff without_gaps(const Aff& place, std::span<const Gap> gaps) {
  if (gaps.empty()) return place;
  const auto& [apart, used] = gaps.front();
  Aff near(place.c % apart), far(place.c / apart);
  for (const Term& t : place.terms) (t.k % apart ? near : far).add(t.var, t.k % apart ? t.k : t.k / apart);
  return near + without_gaps(far, gaps.subspan(1)) * used;
}

}  // namespace burnish::c_like
