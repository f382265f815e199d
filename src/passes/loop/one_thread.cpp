#include "passes/loop/one_thread.h"

namespace burnish {

bool on_one_thread(const Function& f) {
  bool alone = true;
  if (!f.body) return alone;
  visit(f.body, [&](const Stmt& s) {
    const bool shares = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel;
    alone = alone && !shares && s.kind() != StmtKind::Call;  // a callee may have parallel loops
  });
  return alone;
}

}  // namespace burnish
