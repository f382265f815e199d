// What a block copies to its memory in a loop, copied one iteration ahead to the other half of
// twice as much memory, so that its way there and the computing of what came before take the same
// time:
//
//   for v in 0..n                  F(0) -> slot 0
//     alloc b                      for v in 0..n
//       F(v) -> b                    barrier              F(v) is there, and all have read the
//       other slot barrier              =>      let s = v % 2 R(v) from b                    if v +
//       1 < n: F(v + 1) -> slot 1 - s
//                                      R(v) from slot s
//
// One barrier an iteration remains of two; it comes before the next copies start, so that waiting
// for all of them there is waiting for those of the iteration before.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "schedule/lowering.h"

namespace burnish::lowering {
namespace {

// Elements from one half to the other: whole lines.
int64_t slot_of(const Buffer& b) { return ceil_div(b.size, int64_t{64}) * 64; }

class DoubleBuffers {
 public:
  DoubleBuffers(Function& f, const std::set<BufferId>& marked) : f_(f), marked_(marked) {}

  void run() {
    f_.body = go(f_.body, false);
    for (const BufferId b : doubled_) f_.buffers[b].size = 2 * slot_of(f_.buffers[b]);
  }

 private:
  // `repeated`: inside a loop that a block goes through in order.
  Stmt go(const Stmt& s, bool repeated) {
    const bool serial = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Serial;
    if (serial)
      if (Stmt d = doubled(s, repeated)) return d;
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
          refuse_schedule("double_buffer: {} is made from {}, which is computed here", own_name(s),
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

  // Null where it is no loop that fills a marked buffer.
  Stmt doubled(const Stmt& s, bool repeated) {
    const ForStmt& l = s->loop;
    std::set<BufferId> own;
    std::vector<BufferId> others;
    Stmt body = s.children()[0];
    for (; body.kind() == StmtKind::Alloc; body = body.children()[0]) {
      if (marked_.contains(body->buffer))
        own.insert(body->buffer);
      else
        others.push_back(body->buffer);
    }
    if (own.empty()) return {};
    const std::string& name = f_.buffers[*own.begin()].name;
    if (!l.lower.empty() || !l.upper.empty())
      refuse_schedule("double_buffer: the loop in which {} is computed has no constant bounds",
                      name);
    std::vector<Stmt> all, fill, rest;
    flatten(body, all);
    for (const Stmt& x : all) {
      if (fills(x, own)) {
        if (std::ranges::any_of(rest, [](const Stmt& r) { return r.kind() != StmtKind::Barrier; }))
          refuse_schedule("double_buffer: {} is not the first thing computed in its loop", name);
        check_reads(x);
        fill.push_back(x);
        rest.clear();  // barriers
      } else {
        rest.push_back(x);
      }
    }
    if (fill.empty())
      refuse_schedule("double_buffer: {} is not computed in the loop that holds it", name);
    rest.erase(rest.begin(), std::ranges::find_if(rest, [](const Stmt& r) {
                 return r.kind() != StmtKind::Barrier;
               }));
    doubled_.insert(own.begin(), own.end());

    const VarId slot = f_.fresh(f_.vars[l.var] + ".slot");
    const Stmt filling = make_seq(fill);
    const auto placed = [&](const Stmt& x, const Aff& v, const Aff& half) {
      return moved(x, own, l.var, v, half);
    };
    Stmt computing = go(make_seq(rest), true);
    for (auto b = others.rbegin(); b != others.rend(); ++b)
      computing = make_alloc(*b, std::move(computing));
    const Index more(Aff(l.extent - 2) - Aff::of(l.var));
    Stmt step = make_seq({make_if(all_nonnegative({&more, 1}),
                                  placed(filling, Aff::of(l.var) + Aff(1), Aff(1) - Aff::of(slot))),
                          placed(computing, Aff::of(l.var), Aff::of(slot))});
    Index parity;
    parity.atoms.push_back({.a = Aff::of(l.var), .value = {}, .div = 1, .mod = 2});
    step = make_seq({make_barrier(), make_let(slot, parity, std::move(step))});
    std::vector<Stmt> out;
    if (repeated) out.push_back(make_barrier());
    out.push_back(placed(filling, Aff(0), Aff(0)));
    out.push_back(make_for(l, std::move(step)));
    Stmt result = make_seq(std::move(out));
    for (const BufferId b : own) result = make_alloc(b, std::move(result));
    return result;
  }

  // The statement with `v` in the place of the variable, and its accesses of `own` in the half of
  // that number.
  Stmt moved(const Stmt& s, const std::set<BufferId>& own, VarId var, const Aff& v,
             const Aff& half) const {
    const auto becomes = [&](VarId x) { return x == var ? &v : nullptr; };
    const auto placed = [&](Index i, BufferId b) {
      if (own.contains(b)) i.a += half * slot_of(f_.buffers[b]);
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
    for (Stmt& c : n.children) c = moved(c, own, var, v, half);
    for (auto* bounds : {&n.loop.lower, &n.loop.upper})
      for (Bound& b : *bounds) b.a = substitute(b.a, becomes);
    if (s.kind() == StmtKind::Let) n.index = index(n.index);
    if (s.kind() == StmtKind::Store) n.index = placed(index(n.index), n.buffer);
    if (n.value) n.value = expr(n.value);
    for (Expr& e : n.args) e = expr(e);
    return Stmt(std::make_shared<const StmtNode>(std::move(n)));
  }

  Function& f_;
  const std::set<BufferId>& marked_;
  std::set<BufferId> doubled_;
};

}  // namespace

void double_buffers(Function& f, const std::set<BufferId>& marked) {
  DoubleBuffers(f, marked).run();
}

}  // namespace burnish::lowering
