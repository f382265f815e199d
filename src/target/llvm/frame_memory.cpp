#include "target/llvm/frame_memory.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace burnish::llvm_target {

namespace {

constexpr int64_t stack_limit = 16 << 10;
constexpr int64_t memory_limit = int64_t{1} << 44;

void walk(const Function& f, const Stmt& s, FrameAllocator& a) {
  const Buffer* b = s.kind() == StmtKind::Alloc ? &f.buffers[s->buffer] : nullptr;
  if (b) a.enter(*b);
  for (const Stmt& child : s.children()) walk(f, child, a);
  if (b) a.leave(*b);
}

}  // namespace

bool lives_on_stack(const Buffer& b) {
  return b.scope == Scope::Stack && b.size <= stack_limit / size_of(b.dtype);
}

int64_t FrameAllocator::enter(const Buffer& b) {
  check(b.scope != Scope::Param, "{} is a parameter and cannot be allocated", b.name);
  if (b.scope == Scope::Register || lives_on_stack(b)) return 0;
  int64_t& end = b.scope == Scope::Shared ? now_.shared : now_.thread;
  int64_t& most = b.scope == Scope::Shared ? peak_.shared : peak_.thread;
  int64_t align = std::max<int64_t>(64, b.align);
  int64_t at = (end + align - 1) / align * align;
  check(b.size >= 0 && b.size <= (memory_limit - at) / size_of(b.dtype), "{} of {} elements is too large", b.name,
        b.size);
  open_.push_back(end);
  end = at + b.size * size_of(b.dtype);
  most = std::max(most, (end + 63) / 64 * 64);
  return at;
}

void FrameAllocator::leave(const Buffer& b) {
  if (b.scope == Scope::Register || lives_on_stack(b)) return;
  check(!open_.empty(), "{} is released before it is allocated", b.name);
  (b.scope == Scope::Shared ? now_.shared : now_.thread) = open_.back();
  open_.pop_back();
}

FrameMemory memory_of(const Function& f) {
  FrameAllocator a;
  if (f.body) walk(f, f.body, a);
  return a.peak();
}

}  // namespace burnish::llvm_target
