#include "search/model/loop_tree.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"

namespace burnish::search {

namespace {

constexpr int samples = 8;
using Values = std::array<int64_t, samples>;
using Weights = std::array<double, samples>;

// The place of sample s among the iterations of a loop at some depth: a Kronecker sequence, one
// irrational a depth (square roots of primes).
double place(int s, int depth) {
  constexpr std::array<double, 10> step = {
      0.4142135623730950, 0.7320508075688772, 0.2360679774997896, 0.6457513110645906,
      0.3166247903553998, 0.6055512754639893, 0.1231056256176605, 0.3588989435406736,
      0.7958315233127191, 0.5677643628300219};
  const double x = 0.5 + (s + 1) * step[static_cast<size_t>(depth) % step.size()];
  return x - std::floor(x);
}

double sum(const Weights& w) {
  double total = 0;
  for (double x : w) total += x;
  return total;
}

class Walk {
 public:
  explicit Walk(const Function& f)
      : f_(f), loop_of_(f.vars.size(), -1), value_(f.vars.size()), let_(f.vars.size()) {
    tree_.function = &f;
    tree_.loops.emplace_back();
    weight_.fill(1.0 / samples);
  }

  LoopTree run() {
    if (f_.body) visit(f_.body);
    return std::move(tree_);
  }

 private:
  void visit(const Stmt& s) {
    switch (s.kind()) {
    case StmtKind::For: return visit_for(s);
    case StmtKind::Let: return visit_let(s);
    case StmtKind::Store: return visit_store(s);
    case StmtKind::If: return visit_if(s);
    case StmtKind::While: return visit_while(s);
    case StmtKind::Barrier: ++tree_.barriers; return;
    case StmtKind::Call: ++tree_.calls; return;
    case StmtKind::Alloc: ++tree_.allocations; break;
    case StmtKind::Seq: break;
    }
    for (const Stmt& c : s.children()) visit(c);
  }

  void enter(LoopKind kind, double trip, bool constant, double entries) {
    LoopNode n;
    n.parent = loop_;
    n.kind = kind;
    n.depth = tree_.loops[loop_].depth + 1;
    n.trip = trip;
    n.entries = entries;
    n.constant = constant;
    loop_ = static_cast<int>(tree_.loops.size());
    tree_.loops.push_back(n);
  }

  void visit_for(const Stmt& s) {
    const ForStmt& l = s->loop;
    const Weights before = weight_;
    const int outer = loop_;
    const double entries = sum(before);
    const int depth = tree_.loops[loop_].depth + 1;
    const bool constant = l.lower.empty() && l.upper.empty();
    Values values;
    for (int i = 0; i < samples; ++i) {
      int64_t lo = 0, hi = l.extent;
      for (const Bound& b : l.lower) lo = std::max(lo, ceil_div(at(b.a, i), b.div));
      for (const Bound& b : l.upper) hi = std::min(hi, ceil_div(at(b.a, i), b.div));
      const int64_t trip = std::max<int64_t>(0, hi - lo);
      values[i] = lo + static_cast<int64_t>(place(i, depth) * static_cast<double>(trip));
      weight_[i] *= static_cast<double>(trip);
    }
    double iterations = sum(weight_);
    if (!(iterations > 0)) {
      // Rarely or never entered, and no sample met it: it counts for little, but it is there.
      for (int i = 0; i < samples; ++i) weight_[i] = before[i] / 32;
      iterations = entries / 32;
    }
    enter(l.kind, entries > 0 ? iterations / entries : 1, constant, entries);
    check(l.var < loop_of_.size(), "function {}: loop variable {} has no name", f_.name, l.var);
    loop_of_[l.var] = loop_;
    value_[l.var] = values;
    let_[l.var] = nullptr;
    visit(s.children()[0]);
    loop_of_[l.var] = -1;
    loop_ = outer;
    weight_ = before;
  }

  void visit_let(const Stmt& s) {
    check(s->var < let_.size(), "function {}: variable {} has no name", f_.name, s->var);
    for (int i = 0; i < samples; ++i) value_[s->var][i] = at(s->index, i);
    let_[s->var] = &s->index;
    visit(s.children()[0]);
    let_[s->var] = nullptr;
  }

  void visit_if(const Stmt& s) {
    ++tree_.guards;
    ++guards_;
    const Weights before = weight_;
    Weights otherwise = before;
    const auto conditions = as_nonnegative(s->value);
    for (int i = 0; i < samples; ++i) {
      double share = 0.5;  // of a condition on data
      if (conditions) {
        share = std::all_of(conditions->begin(), conditions->end(),
                            [&](const Index& x) { return at(x, i) >= 0; })
                    ? 1
                    : 0;
      }
      weight_[i] *= share;
      otherwise[i] *= 1 - share;
    }
    auto branch = [&](const Stmt& body, const Weights& weights) {
      weight_ = weights;
      if (!(sum(weight_) > 0)) {
        for (int i = 0; i < samples; ++i) weight_[i] = before[i] / 32;
      }
      visit(body);
    };
    branch(s.children()[0], Weights(weight_));
    if (s.children().size() > 1) branch(s.children()[1], otherwise);
    weight_ = before;
    --guards_;
  }

  void visit_while(const Stmt& s) {
    constexpr double trips = 8;  // unknown
    const Weights before = weight_;
    const int outer = loop_;
    enter(LoopKind::Serial, trips, false, sum(before));
    for (double& w : weight_) w *= trips;
    visit(s.children()[0]);
    weight_ = before;
    loop_ = outer;
  }

  void visit_store(const Stmt& s) {
    Site site;
    site.loop = loop_;
    site.buffer = s->buffer;
    site.executions = sum(weight_);
    site.guards = guards_;
    site.first_access = static_cast<int>(tree_.accesses.size());
    site_ = static_cast<int>(tree_.sites.size());
    ops_ = {};
    updated_ = &s->index;
    updated_buffer_ = s->buffer;
    update_ = false;
    seen_.clear();
    seen_many_.clear();
    count(s->value, false);
    count_index(s->index);
    add_access(s->buffer, s->index, true);
    site.ops = ops_;
    site.update = update_;
    site.accesses = static_cast<int>(tree_.accesses.size()) - site.first_access;
    tree_.sites.push_back(site);
  }

  // ---- expressions

  bool first_time(const ExprNode* e) {
    constexpr size_t few = 48;
    if (seen_.size() < few) {
      if (std::find(seen_.begin(), seen_.end(), e) != seen_.end()) return false;
      seen_.push_back(e);
      return true;
    }
    if (std::find(seen_.begin(), seen_.end(), e) != seen_.end()) return false;
    return seen_many_.insert(e).second;
  }

  float& ops(OpClass c) { return ops_[static_cast<size_t>(c)]; }

  void count_index(const Index& i) {
    for (const Atom& a : i.atoms) {
      ops(OpClass::Address) += 1;
      if (a.value) count(a.value, false);
    }
  }

  // `added`: this is an operand of a float addition, so that a product becomes part of a
  // multiply-add.
  void count(const Expr& e, bool added) {
    if (!e || !first_time(e.get())) return;
    const bool number = is_float(e.dtype());
    bool sums = false;
    switch (e.kind()) {
    case ExprKind::Const:
    case ExprKind::Acc: break;
    case ExprKind::Affine:
      ops(OpClass::Address) += 1;
      count_index(e.index());
      break;
    case ExprKind::Load:
      for (const Index& i : e.indices()) count_index(i);
      if (!e.indices().empty()) add_access(e.from(), e.indices()[0], false);
      break;
    case ExprKind::Binary: {
      const OpClass c = class_of(e.binary(), number);
      sums = c == OpClass::Add;
      if (c == OpClass::Mul && added) {
        ops(OpClass::Fma) += 1;  // in place of the addition above it
        ops(OpClass::Add) -= 1;
      } else {
        ops(c) += 1;
      }
      break;
    }
    case ExprKind::Unary: ops(class_of(e.unary(), number)) += 1; break;
    case ExprKind::Select: ops(OpClass::Select) += 1; break;
    case ExprKind::Cast: ops(OpClass::Int) += 1; break;
    case ExprKind::Call: ops(OpClass::Math) += 1; break;
    }
    // Of a sum of two products one is fused with the addition.
    bool fused = false;
    for (const Expr& c : e.children()) {
      const bool product = c && c.kind() == ExprKind::Binary && c.binary() == BinaryOp::Mul;
      count(c, sums && product && !fused);
      fused |= product;
    }
  }

  static OpClass class_of(BinaryOp op, bool number) {
    switch (op) {
    case BinaryOp::Add:
    case BinaryOp::Sub: return number ? OpClass::Add : OpClass::Int;
    case BinaryOp::Mul: return number ? OpClass::Mul : OpClass::Int;
    case BinaryOp::Div:
    case BinaryOp::Mod:
    case BinaryOp::FloorDiv:
    case BinaryOp::FloorMod: return OpClass::Div;
    case BinaryOp::Pow: return OpClass::Math;
    case BinaryOp::Min:
    case BinaryOp::Max: return OpClass::MinMax;
    case BinaryOp::Eq:
    case BinaryOp::Ne:
    case BinaryOp::Lt:
    case BinaryOp::Le:
    case BinaryOp::Gt:
    case BinaryOp::Ge:
    case BinaryOp::And:
    case BinaryOp::Or:
    case BinaryOp::Xor: return OpClass::Select;
    case BinaryOp::Shl:
    case BinaryOp::Shr: return OpClass::Int;
    }
    return OpClass::Int;
  }

  static OpClass class_of(UnaryOp op, bool number) {
    switch (op) {
    case UnaryOp::Neg:
    case UnaryOp::Abs: return number ? OpClass::Add : OpClass::Int;
    case UnaryOp::Not:
    case UnaryOp::Sign:
    case UnaryOp::IsNan:
    case UnaryOp::IsInf: return OpClass::Select;
    case UnaryOp::Floor:
    case UnaryOp::Ceil:
    case UnaryOp::Round:
    case UnaryOp::Trunc: return OpClass::Int;
    case UnaryOp::Sqrt:
    case UnaryOp::Rsqrt: return OpClass::Div;
    case UnaryOp::Exp:
    case UnaryOp::Log:
    case UnaryOp::Tanh:
    case UnaryOp::Sigmoid:
    case UnaryOp::Erf:
    case UnaryOp::Sin:
    case UnaryOp::Cos:
    case UnaryOp::Tan:
    case UnaryOp::Asin:
    case UnaryOp::Acos:
    case UnaryOp::Atan:
    case UnaryOp::Sinh:
    case UnaryOp::Cosh:
    case UnaryOp::Asinh:
    case UnaryOp::Acosh:
    case UnaryOp::Atanh: return OpClass::Math;
    }
    return OpClass::Math;
  }

  // ---- accesses

  void add_access(BufferId buffer, const Index& index, bool store) {
    check(buffer < f_.buffers.size(), "function {}: no buffer {}", f_.name, buffer);
    if (!store && buffer == updated_buffer_ && equal(index, *updated_)) {
      update_ = true;
      return;  // the same place again: it costs what the store costs
    }
    for (size_t a = first_access_of_site(); a < tree_.accesses.size(); ++a) {
      // Two loads of one place under different nodes are one load.
      if (tree_.accesses[a].buffer == buffer && index_of_[a] && equal(*index_of_[a], index)) return;
    }
    Access a;
    a.buffer = buffer;
    a.loop = loop_;
    a.site = site_;
    a.store = store;
    a.offset = index.a.c;
    resolve(index, 1, a, 0);
    tree_.accesses.push_back(std::move(a));
    index_of_.push_back(&index);
  }

  size_t first_access_of_site() const {
    if (tree_.sites.empty()) return 0;
    const Site& last = tree_.sites.back();
    return static_cast<size_t>(last.first_access + last.accesses);
  }

  static void add_stride(std::vector<Stride>& out, int loop, int64_t k) {
    for (Stride& s : out) {
      if (s.loop == loop) {
        s.k += k;
        return;
      }
    }
    out.push_back({loop, k});
  }

  // Variables of lets are replaced by what they stand for.
  void resolve(const Index& i, int64_t k, Access& out, int depth) {
    for (const Term& t : i.a.terms) {
      if (t.var >= let_.size()) continue;
      if (let_[t.var] && depth < 8) {
        resolve(*let_[t.var], k * t.k, out, depth + 1);
      } else if (loop_of_[t.var] >= 0) {
        add_stride(out.strides, loop_of_[t.var], k * t.k);
      }
    }
    for (const Atom& a : i.atoms) {
      Wrapped w;
      w.div = std::max<int64_t>(1, a.div);
      w.mod = std::max<int64_t>(0, a.mod);
      w.scale = k * a.scale;
      w.data = static_cast<bool>(a.value);
      strides_of(a.a, 1, w.strides, depth);
      if (a.value) {
        burnish::visit(a.value, [&](const Expr& e) {
          if (e.kind() != ExprKind::Load && e.kind() != ExprKind::Affine) return;
          const auto indices =
              e.kind() == ExprKind::Load ? e.indices() : std::span<const Index>(&e.index(), 1);
          for (const Index& x : indices) strides_of(x.a, 1, w.strides, depth);
        });
      }
      out.wrapped.push_back(std::move(w));
    }
  }

  void strides_of(const Aff& a, int64_t k, std::vector<Stride>& out, int depth) {
    for (const Term& t : a.terms) {
      if (t.var >= let_.size()) continue;
      if (let_[t.var] && depth < 8) {
        strides_of(let_[t.var]->a, k * t.k, out, depth + 1);
        for (const Atom& x : let_[t.var]->atoms) strides_of(x.a, k * t.k * x.scale, out, depth + 1);
      } else if (loop_of_[t.var] >= 0) {
        add_stride(out, loop_of_[t.var], k * t.k);
      }
    }
  }

  // ---- values at a sample

  int64_t at(const Aff& a, int sample) const {
    int64_t v = a.c;
    for (const Term& t : a.terms) {
      if (t.var < value_.size()) v += t.k * value_[t.var][sample];
    }
    return v;
  }

  int64_t at(const Index& i, int sample) const {
    int64_t v = at(i.a, sample);
    for (const Atom& a : i.atoms) {
      if (a.value) continue;  // unknown: taken as zero
      int64_t x = floor_div(at(a.a, sample), std::max<int64_t>(1, a.div));
      if (a.mod > 0) x = floor_mod(x, a.mod);
      v += a.scale * x;
    }
    return v;
  }

  const Function& f_;
  LoopTree tree_;
  std::vector<int> loop_of_;            // by variable: its loop, where it is one's
  std::vector<Values> value_;           // by variable
  std::vector<const Index*> let_;       // by variable: what it stands for, where it is a let's
  std::vector<const Index*> index_of_;  // by access
  Weights weight_{};
  int loop_ = 0, guards_ = 0, site_ = 0;

  // Of the statement being counted.
  OpCounts ops_{};
  const Index* updated_ = nullptr;
  BufferId updated_buffer_ = 0;
  bool update_ = false;
  std::vector<const ExprNode*> seen_;
  std::unordered_set<const ExprNode*> seen_many_;
};

}  // namespace

LoopTree loop_tree(const Function& f) { return Walk(f).run(); }

}  // namespace burnish::search
