// Copies from the memory of all blocks to that of one block, which the dialect may make without
// passing them through registers: a thread starts its copies one after the other and waits for all
// of them where the block meets.
#include <cmath>

#include "base/error.h"
#include "loop/loads.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

// What is copied: a load, or zeros where a condition does not hold; `again`: the copy is rounded afterwards.
const Expr* source_of(const Stmt& s, bool again) {
  const auto unrounded = [&](const Expr& e) {
    return again && e.kind() == ExprKind::Cast && size_of(e.dtype()) == size_of(e.children()[0].dtype()) ? &e.children()[0] : &e;
  };
  const Expr* load = unrounded(s->value);
  if (load->kind() == ExprKind::Select) {
    if (!is_zero(load->children()[2])) return nullptr;
    load = unrounded(load->children()[1]);
  }
  return load->kind() == ExprKind::Load && in_vectors(load->dtype()) ? load : nullptr;
}

bool reads(const Stmt& s, BufferId b) {
  bool found = false;
  visit(s, [&](const Stmt& x) { visit_loads(x, [&](const Expr& e) { found |= e.from() == b; }); });
  return found;
}

}  // namespace

bool is_zero(const Expr& e) {
  return e.kind() == ExprKind::Const && in_vectors(e.dtype()) && e.number() == 0 &&
         !std::signbit(e.number());
}

// What a thread has copied, rounded in its place (multi_buffer.cpp).
bool Printer::rounds_again(const Stmt& s) {
  if (s.kind() != StmtKind::Store || s->value.kind() != ExprKind::Cast) return false;
  const Expr* e = &s->value;
  while (e->kind() == ExprKind::Cast) e = &e->children()[0];
  return e->kind() == ExprKind::Load && e->from() == s->buffer && equal(e->indices()[0], s->index);
}

bool Printer::only_rounds_again(const Stmt& s) {
  bool any = false, only = true;
  visit(s, [&](const Stmt& x) {
    any |= rounds_again(x);
    only &= x.kind() != StmtKind::Barrier && (x.kind() != StmtKind::Store || rounds_again(x));
  });
  return any && only;
}

bool Printer::may_copy(const Stmt& s) const {
  if (d_.copy.empty() || s.kind() != StmtKind::Store) return false;
  const Scope to = f_.buffers[s->buffer].scope;
  const Expr* load = source_of(s, rounded_again_.contains(s->buffer));
  return load != nullptr && to != Scope::Param && to != Scope::Shared && !in_registers(to) &&
         f_.buffers[load->from()].scope == Scope::Param;
}

// Not where the phase reads what it copies: there a thread does not wait for the others.
bool Printer::copied(const Stmt& s) {
  if (!may_copy(s) || block_offset_[s->buffer] < 0 || reads(phase_, s->buffer)) return false;
  const Expr& load = *source_of(s, rounded_again_.contains(s->buffer));
  const Index to = own_part(s->buffer, s->index), from = own_part(load.from(), load.indices()[0]);
  Index base_to = to, base_from = from;
  const int bytes = size_of(load.dtype()) * lanes_;
  if (bytes < 4) return false;
  if (lane_ && lanes_ > 1) {
    if (vector_width(s->buffer, to) != lanes_ || vector_width(load.from(), from) != lanes_)
      return false;
    base_to.a.add(*lane_, -1);
    base_from.a.add(*lane_, -1);
  }
  touched_.insert(load.from());
  started_ = true;
  const Expr& copy = s->value.kind() == ExprKind::Cast ? s->value.children()[0] : s->value;
  const bool guarded = copy.kind() == ExprKind::Select;
  Lanes inside = {"true"};
  if (guarded) inside = value(copy.children()[0]);
  if (inside.size() != 1) return false;
  if (guarded) inside[0] = temporary(DType::Bool, inside[0]);
  note(load.dtype());
  const bool words = !is_half(load.dtype());
  line(fmt::format("{}<{}>({}&{}, {}&{}, {});", d_.copy, bytes, words ? "" : "(float*)",
                   place(s->buffer, base_to), words ? "" : "(const float*)",
                   place(load.from(), base_from), inside[0]));
  return true;
}

}  // namespace burnish::c_like
