// What a block copies to its memory in a loop, copied n - 1 iterations ahead into the next of n
// slots of memory, so that its way there and the computing of what came before take the same time.
// Of three slots:
//
//   for v in 0..N                  for i in 0..2
//     alloc b                        F(i) -> slot i
//       F(v) -> b                  for v in 0..N
//       barrier             =>       barrier              F(v) is there, and all have read R(v - 1)
//       R(v) from b                  let s = v % 3, t = (s + 2) % 3
//       barrier                      if v + 2 < N: F(v + 2) -> slot t
//                                    R(v) from slot s
//
// Where F rounds, to a type of the same size, threads may copy first: each then rounds what it has itself copied, once more, b = round(b) in
// the same loops; slot 0 before the first barrier, F(v + 1) behind R(v).
//
// One barrier an iteration remains of two. It leaves n - 2 groups of copies on their way
// (ForStmt::in_flight): each is what one iteration has started, at the end nothing, and what R(v)
// reads was started before them.
#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

// Elements from one slot to the next: whole lines, or what repeats a swizzle.
int64_t slot_of(const Buffer& b) {
  const int64_t line = b.swizzle ? kSwizzleAlign / size_of(b.dtype) : 64;
  return ceil_div(b.size, line) * line;
}

class MultiBuffers {
 public:
  MultiBuffers(Function& f, const std::map<BufferId, int64_t>& slots) : f_(f), slots_(slots) {}

  void run() {
    f_.body = go(f_.body, false);
    for (const auto& [b, n] : made_) f_.buffers[b].size = n * slot_of(f_.buffers[b]);
  }

 private:
  // `repeated`: inside a loop that a block goes through in order.
  Stmt go(const Stmt& s, bool repeated) {
    const bool serial = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Serial;
    if (serial)
      if (Stmt ahead = filled_ahead(s, repeated)) return ahead;
    std::vector<Stmt> children;
    for (const Stmt& c : s.children()) children.push_back(go(c, repeated || serial));
    return children.empty() ? s : s.with_children(children);
  }

  static void flatten(const Stmt& s, std::vector<Stmt>& out) {
    if (s.kind() != StmtKind::Seq) return out.push_back(s);
    for (const Stmt& c : s.children()) flatten(c, out);
  }

  // Does it fill marked buffers of `own`, and nothing else?
  static bool fills(const Stmt& s, const std::set<BufferId>& own) {
    bool any = false, only = true;
    visit(s, [&](const Stmt& x) {
      if (x.kind() != StmtKind::Store) return;
      any = true;
      only &= own.contains(x->buffer);
    });
    return any && only;
  }

  void check_reads(const Stmt& s) const {
    const auto look = [&](const Expr& e) {
      if (!e) return;
      visit(e, [&](const Expr& x) {
        if (x.kind() != ExprKind::Load) return;
        const Buffer& from = f_.buffers[x.from()];
        if (from.scope != Scope::Param || from.written)
          refuse_schedule("multi_buffer: {} is made from {}, which is computed here", own_name(s),
                          from.name);
      });
    };
    visit(s, [&](const Stmt& x) {
      look(x->value);
      for (const Atom& a : x->index.atoms) look(a.value);
    });
  }

  std::string own_name(const Stmt& s) const {
    std::string name;
    visit(s, [&](const Stmt& x) {
      if (x.kind() == StmtKind::Store) name = f_.buffers[x->buffer].name;
    });
    return name;
  }

  // Does it wait for nothing, and leave the block's memory as it is?
  bool leaves_memory(const Stmt& s) const {
    bool leaves = true;
    visit(s, [&](const Stmt& x) {
      leaves &= x.kind() != StmtKind::Barrier && x.kind() != StmtKind::Call;
      if (x.kind() != StmtKind::Store) return;
      const Scope to = f_.buffers[x->buffer].scope;
      leaves &= to == Scope::Register || to == Scope::Param;
    });
    return leaves;
  }

  // The statement with each place's own value, rounded, instead of what it stores; null where it does not round to a type of the same size.
  Stmt rounded_again(const Stmt& s) const {
    if (s.kind() == StmtKind::Store) {
      const Buffer& b = f_.buffers[s->buffer];
      const Expr* e = &s->value;
      while (e->kind() == ExprKind::Select) e = &e->children()[1];
      if (e->kind() != ExprKind::Cast || e->children()[0].dtype() == b.dtype || size_of(e->children()[0].dtype()) != size_of(b.dtype)) return {};
      StmtNode n = *s;
      n.value = cast(b.dtype, cast(e->children()[0].dtype(), load(b.dtype, s->buffer, {s->index})));
      return Stmt(std::make_shared<const StmtNode>(std::move(n)));
    }
    if (s.children().empty()) return {};
    std::vector<Stmt> children;
    for (const Stmt& c : s.children())
      if (Stmt x = rounded_again(c)) children.push_back(x);
    return children.size() == s.children().size() ? s.with_children(children) : Stmt();
  }

  // Null where it is no loop that fills such a buffer.
  Stmt filled_ahead(const Stmt& s, bool repeated) {
    const ForStmt& l = s->loop;
    std::set<BufferId> own;
    std::vector<BufferId> others;
    Stmt body = s.children()[0];
    for (; body.kind() == StmtKind::Alloc; body = body.children()[0]) {
      if (slots_.contains(body->buffer))
        own.insert(body->buffer);
      else
        others.push_back(body->buffer);
    }
    if (own.empty()) return {};
    const std::string& name = f_.buffers[*own.begin()].name;
    const int64_t wanted = slots_.at(*own.begin());
    for (const BufferId b : own)
      if (slots_.at(b) != wanted)
        refuse_schedule("multi_buffer: {} has {} slots, {} in the same loop {}", name, wanted,
                        f_.buffers[b].name, slots_.at(b));
    if (!l.lower.empty() || !l.upper.empty())
      refuse_schedule("multi_buffer: the loop in which {} is computed has no constant bounds",
                      name);
    std::vector<Stmt> all, fill, rest;
    flatten(body, all);
    for (const Stmt& x : all) {
      if (fills(x, own)) {
        if (std::ranges::any_of(rest, [](const Stmt& r) { return r.kind() != StmtKind::Barrier; }))
          refuse_schedule("multi_buffer: {} is not the first thing computed in its loop", name);
        check_reads(x);
        fill.push_back(x);
        rest.clear();  // barriers
      } else {
        rest.push_back(x);
      }
    }
    if (fill.empty())
      refuse_schedule("multi_buffer: {} is not computed in the loop that holds it", name);
    rest.erase(rest.begin(), std::ranges::find_if(rest, [](const Stmt& r) {
                 return r.kind() != StmtKind::Barrier;
               }));
    const int64_t n = std::min(wanted, l.extent), ahead = n - 1;
    if (ahead < 1) return {};
    for (const BufferId b : own) made_[b] = n;

    const Stmt filling = make_seq(fill);
    const auto placed = [&](const Stmt& x, const Aff& v, const Aff& slot) {
      return moved(x, own, l.var, v, slot);
    };
    const auto remainder = [&](const Aff& a) {
      Index i;
      i.atoms.push_back({.a = a, .value = {}, .div = 1, .mod = n});
      return i;
    };
    Stmt computing = go(make_seq(rest), true);
    for (auto b = others.rbegin(); b != others.rend(); ++b)
      computing = make_alloc(*b, std::move(computing));
    const int64_t in_flight = n > 2 && leaves_memory(computing) ? n - 2 : -1;

    const VarId first = f_.fresh(f_.vars[l.var] + ".first"),
                slot = f_.fresh(f_.vars[l.var] + ".slot"),
                next = f_.fresh(f_.vars[l.var] + ".next");
    const Index more(Aff(l.extent - n) - Aff::of(l.var));
    Stmt step =
        make_seq({make_let(next, remainder(Aff::of(slot) + Aff(ahead)),
                           make_if(all_nonnegative({&more, 1}),
                                   placed(filling, Aff::of(l.var) + Aff(ahead), Aff::of(next)))),
                  placed(computing, Aff::of(l.var), Aff::of(slot))});
    std::vector<Stmt> again;
    for (const Stmt& x : fill)
      if (Stmt rounded = rounded_again(x)) again.push_back(rounded);
    if (again.empty()) {
      step = make_seq({make_barrier(), make_let(slot, remainder(Aff::of(l.var)), std::move(step))});
    } else {
      const VarId after = f_.fresh(f_.vars[l.var] + ".after");
      const Index first(-Aff::of(l.var)), left(Aff(l.extent - 2) - Aff::of(l.var));
      const Stmt all_again = make_seq(again);
      Stmt rounding = make_let(after, remainder(Aff::of(slot) + Aff(1)),
                               make_if(all_nonnegative({&left, 1}), placed(all_again, Aff::of(l.var) + Aff(1), Aff::of(after))));
      step = make_let(slot, remainder(Aff::of(l.var)),
                      make_seq({make_if(all_nonnegative({&first, 1}), placed(all_again, Aff(0), Aff(0))), make_barrier(), std::move(step),
                                std::move(rounding)}));
    }
    std::vector<Stmt> out;
    if (repeated) out.push_back(make_barrier());
    if (ahead == 1)
      out.push_back(placed(filling, Aff(0), Aff(0)));
    else
      out.push_back(make_for(
          {.var = first, .extent = ahead, .lower = {}, .upper = {}, .in_flight = in_flight},
          placed(filling, Aff::of(first), Aff::of(first))));
    ForStmt loop = l;
    loop.in_flight = in_flight;
    out.push_back(make_for(std::move(loop), std::move(step)));
    Stmt result = make_seq(std::move(out));
    for (const BufferId b : own) result = make_alloc(b, std::move(result));
    return result;
  }

  // The statement with `v` in the place of the variable, and its accesses of `own` in the slot of
  // that number.
  Stmt moved(const Stmt& s, const std::set<BufferId>& own, VarId var, const Aff& v,
             const Aff& slot) const {
    const auto becomes = [&](VarId x) { return x == var ? &v : nullptr; };
    const auto placed = [&](Index i, BufferId b) {
      if (own.contains(b)) i.a += slot * slot_of(f_.buffers[b]);
      return i;
    };
    const auto expr = [&](const Expr& e) {
      return rewrite(substitute(e, becomes), [&](const Expr& x) {
        if (x.kind() != ExprKind::Load || !own.contains(x.from())) return Expr();
        return load(x.dtype(), x.from(), {placed(x.indices()[0], x.from())}, x.fill());
      });
    };
    const auto index = [&](const Index& i) {
      Index r = substitute(i, becomes);
      for (Atom& a : r.atoms)
        if (a.value) a.value = expr(a.value);
      return r;
    };
    StmtNode n = *s;
    for (Stmt& c : n.children) c = moved(c, own, var, v, slot);
    for (auto* bounds : {&n.loop.lower, &n.loop.upper})
      for (Bound& b : *bounds) b.a = substitute(b.a, becomes);
    if (s.kind() == StmtKind::Let) n.index = index(n.index);
    if (s.kind() == StmtKind::Store) n.index = placed(index(n.index), n.buffer);
    if (n.value) n.value = expr(n.value);
    for (Expr& e : n.args) e = expr(e);
    return Stmt(std::make_shared<const StmtNode>(std::move(n)));
  }

  Function& f_;
  const std::map<BufferId, int64_t>& slots_;
  std::map<BufferId, int64_t> made_;  // and how many there are
};

}  // namespace

void multi_buffers(Function& f, const std::map<BufferId, int64_t>& slots) {
  MultiBuffers(f, slots).run();
}

}  // namespace burnish::lowering
