// Whether an output may stand in the memory of an input.
#include <algorithm>

#include "loop/interpreter.h"
#include "loop/loads.h"
#include "loop/program.h"

namespace burnish {

namespace {

// How often a place is stored to must be known without data: plain loops only.
bool is_countable(StmtKind k) {
  switch (k) {
    case StmtKind::For:
    case StmtKind::Alloc:
    case StmtKind::Store:
    case StmtKind::Seq:
    case StmtKind::Let:
    case StmtKind::Barrier: return true;
    case StmtKind::If:
    case StmtKind::While:
    case StmtKind::Call: return false;
  }
  return false;
}

}  // namespace

bool may_overwrite(const Function& f, size_t input, size_t output) {
  const BufferId in = f.params.at(input), out = f.params.at(output);
  const Buffer &a = f.buffers[in], &b = f.buffers[out];
  if (a.written || !b.written || a.size != b.size || size_of(a.dtype) != size_of(b.dtype) || !f.body)
    return false;
  for (BufferId i = 0; i < out; ++i) {
    if (f.buffers[i].name == b.name) return false;  // count_stores goes by name
  }
  bool ok = true;
  visit(f.body, [&](const Stmt& s) {
    ok = ok && is_countable(s.kind());
    if (!ok) return;
    const bool writes = s.kind() == StmtKind::Store && s->buffer == out;
    visit_loads(s, [&](const Expr& e) {
      if (e.from() == out) ok = false;
      if (e.from() == in) ok = ok && writes && equal(e.indices()[0], s->index);
    });
    // A value that picks the place would be read in the same statement, but at another point.
    const bool places = writes || s.kind() == StmtKind::Let;
    ok = ok && !(places && std::ranges::any_of(s->index.atoms, [](const Atom& x) { return bool(x.value); }));
  });
  // As many stores as elements: none is stored twice, as where tails overlap.
  return ok && count_stores(f, b.name) == b.size;
}

}  // namespace burnish
