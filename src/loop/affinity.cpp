#include "loop/affinity.h"

#include "loop/verify.h"

namespace burnish {

Shares::Shares(const Function& f) {
  if (auto found = loop::shared_loop_of(f))
    loop_ = std::make_shared<const loop::SharedLoop>(std::move(*found));
}

bool Shares::apart(BufferId own, const Shares& next, BufferId other) const {
  if (!loop_ || !next.loop_ || loop_->extent != next.loop_->extent) return false;
  for (const loop::SharedAccess& a : loop_->accesses) {
    if (a.buffer != own) continue;
    for (const loop::SharedAccess& b : next.loop_->accesses) {
      if (b.buffer != other || !(a.write || b.write)) continue;
      if (!loop::never_meet(a, loop_->var, b, next.loop_->var, {}) ||
          !loop::never_meet(b, next.loop_->var, a, loop_->var, {}))
        return false;
    }
  }
  return true;
}

}  // namespace burnish
