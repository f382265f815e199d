// What nobody reads but copies of its parts is stored where they would copy it, on a device.
//
//   Y = conv(x)                                         Y0, Y1 = conv(x):
//   Y0 = copy(Y[0:1])   Y1 = copy(Y[1:3])      ->         if i in 0..1 { Y0[i] = v }
//                                                         if i in 1..3 { Y1[i - 1] = v }
//
// Outputs that were parts of one tensor (split): a launch for the copies, and reading and writing all
// of it, take longer than the conditions.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "loop/loads.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

// Elements [begin, end) of a tensor, and the step that copies them.
struct Piece {
  int64_t begin = 0, end = 0;
  size_t copy = 0;
};

bool is_copy(const Function& f) {
  if (!f.body || f.params.size() != 2) return false;
  const BufferId from = f.params[0], to = f.params[1];
  const Buffer &a = f.buffers[from], &b = f.buffers[to];
  if (a.written || !b.written || a.dtype != b.dtype || a.size != b.size || a.pitch != 0 || b.pitch != 0) return false;
  bool plain = true;
  visit(f.body, [&](const Stmt& s) {
    if (s.kind() == StmtKind::Store)
      plain &= s->buffer == to && s->value.kind() == ExprKind::Load && s->value.from() == from && !s->value.fill() && equal(s->value.indices()[0], s->index);
    else
      plain &= s.kind() == StmtKind::For || s.kind() == StmtKind::Let || s.kind() == StmtKind::Seq;
  });
  return plain;
}

// A function that stores one of its parameters in pieces, each a parameter: the first in its place,
// the others behind all.
class Scatter {
 public:
  Scatter(const Function& f, BufferId whole, const std::vector<Piece>& pieces) : f_(f), whole_(whole), pieces_(pieces) {
    const Buffer b = f.buffers[whole];
    for (size_t i = 0; i < pieces.size(); ++i) {
      Buffer part = b;
      part.name = b.name + "." + std::to_string(i);
      part.size = pieces[i].end - pieces[i].begin;
      if (i == 0)
        f_.buffers[whole] = part;
      parts_.push_back(i == 0 ? whole : f_.add_buffer(part));
    }
    value_ = f_.add_buffer({.name = b.name + ".value", .dtype = b.dtype, .scope = Scope::Register, .size = 1});
  }

  // Nothing where a vector may lie across two pieces, or where the function reads what it has stored.
  std::optional<Function> run() {
    visit(f_.body, [&](const Stmt& s) { visit_loads(s, [&](const Expr& e) { failed_ |= e.from() == whole_; }); });
    f_.body = scattered(f_.body);
    if (failed_) return std::nullopt;
    return f_;
  }

 private:
  bool stores(const Stmt& s) const { return s.kind() == StmtKind::Store && s->buffer == whole_; }

  Stmt scattered(const Stmt& s) {
    if (stores(s)) return in_pieces(s, nullptr);
    if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Vectorize) {
      if (stores(s.children()[0])) return in_pieces(s.children()[0], &s->loop);
      visit(s, [&](const Stmt& x) { failed_ |= stores(x); });
      return s;
    }
    if (s.children().empty()) return s;
    std::vector<Stmt> children;
    for (const Stmt& c : s.children()) children.push_back(scattered(c));
    return s.with_children(children);
  }

  Stmt in_pieces(const Stmt& store, const ForStmt* lanes) {
    const int64_t width = lanes ? lanes->extent : 1;
    const Index& at = store->index;
    Index first = at;
    if (lanes) {
      failed_ |= !at.is_affine() || at.a.slope(lanes->var) != 1 || !lanes->lower.empty() || !lanes->upper.empty();
      first.a = at.a - Aff::of(lanes->var);
      const auto whole = [&](int64_t n) { return n % width == 0; };
      failed_ |= !whole(first.a.c) || !std::ranges::all_of(first.a.terms, [&](const Term& t) { return whole(t.k); });
      for (const Piece& p : pieces_) failed_ |= !whole(p.begin) || !whole(p.end);
    }
    if (failed_) return store;
    f_.buffers[value_].size = std::max(f_.buffers[value_].size, width);
    const Index lane = lanes ? Index(Aff::of(lanes->var)) : Index(Aff(0));
    const auto over_lanes = [&](Stmt s) { return lanes ? make_for(*lanes, std::move(s)) : s; };
    std::vector<Stmt> all = {over_lanes(make_store(value_, lane, store->value))};
    for (size_t i = 0; i < pieces_.size(); ++i) {
      Index in_piece = at, after = first, before(Aff(pieces_[i].end - width) - first.a);
      in_piece.a = in_piece.a - Aff(pieces_[i].begin);
      after.a = after.a - Aff(pieces_[i].begin);
      for (Atom atom : first.atoms) {
        atom.scale = -atom.scale;
        before.atoms.push_back(atom);
      }
      all.push_back(make_if(all_nonnegative(std::array{after, before}),
                            over_lanes(make_store(parts_[i], in_piece, load(f_.buffers[value_].dtype, value_, {lane})))));
    }
    return make_alloc(value_, make_seq(std::move(all)));
  }

  Function f_;
  BufferId whole_, value_ = 0;
  const std::vector<Piece>& pieces_;
  std::vector<BufferId> parts_;
  bool failed_ = false;
};

class Elision {
 public:
  explicit Elision(const Program& p) : p_(p), writers_(p.tensors.size()), readers_(p.tensors.size()) {
    for (size_t i = 0; i < p.steps.size(); ++i) {
      const Step& s = p.steps[i];
      for (size_t a = 0; a < s.args.size(); ++a) (param(s, a).written ? writers_ : readers_)[s.args[a]].push_back({i, a});
    }
  }

  Program run() {
    std::vector<bool> done(p_.steps.size(), false);
    const size_t steps = p_.steps.size();
    for (size_t i = 0; i < steps; ++i) {
      for (size_t a = 0; a < p_.steps[i].args.size(); ++a) {
        if (done[i] || !param(p_.steps[i], a).written) continue;
        const std::vector<Piece> pieces = pieces_of(i, a);
        if (pieces.empty() || !store(i, a, pieces)) continue;
        for (const Piece& piece : pieces) done[piece.copy] = true;
        break;
      }
    }
    std::vector<Step> left;
    for (size_t i = 0; i < steps; ++i)
      if (!done[i]) left.push_back(std::move(p_.steps[i]));
    p_.steps = std::move(left);
    drop_tensors();
    return std::move(p_);
  }

 private:
  struct Use {
    size_t step, arg;
  };
  const Buffer& param(const Step& s, size_t arg) const {
    const Function& f = p_.functions[s.function];
    return f.buffers[f.params[arg]];
  }
  static int64_t offset(const Step& s, size_t arg) { return s.offsets.empty() ? 0 : s.offsets[arg]; }

  // Of what the step writes, where copies alone read it, in order.
  std::vector<Piece> pieces_of(size_t step, size_t arg) const {
    const Step& s = p_.steps[step];
    const uint32_t t = s.args[arg];
    const Buffer& whole = param(s, arg);
    if (p_.tensors[t].kind != TensorKind::Arena || writers_[t].size() != 1 || whole.pitch != 0 || offset(s, arg) != 0) return {};
    std::vector<Piece> pieces;
    for (const Use& use : readers_[t]) {
      const Step& copy = p_.steps[use.step];
      const Function& f = p_.functions[copy.function];
      if (!is_copy(f) || f.buffers[f.params[0]].dtype != whole.dtype || writers_[copy.args[1]].size() != 1) return {};
      const int64_t bytes = size_of(whole.dtype), begin = offset(copy, 0) / bytes, end = begin + f.buffers[f.params[0]].size;
      if (offset(copy, 0) % bytes || end > whole.size) return {};
      pieces.push_back({begin, end, use.step});
    }
    return pieces;
  }

  // The step in its new form, if there is one.
  bool store(size_t step, size_t arg, const std::vector<Piece>& pieces) {
    Step s = p_.steps[step];
    const std::tuple key{s.function, arg, places(pieces)};
    auto known = functions_.find(key);
    if (known == functions_.end()) {
      const Function& f = p_.functions[s.function];
      auto scattered = Scatter(f, f.params[arg], pieces).run();
      if (!scattered) return false;
      known = functions_.emplace(key, static_cast<uint32_t>(p_.functions.size())).first;
      p_.functions.push_back(std::move(*scattered));
    }
    stored_in_pieces_.insert(s.args[arg]);
    if (s.offsets.empty()) s.offsets.resize(s.args.size(), 0);
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Step& copy = p_.steps[pieces[i].copy];
      if (i == 0) {
        s.args[arg] = copy.args[1];
        s.offsets[arg] = offset(copy, 1);
      } else {
        s.args.push_back(copy.args[1]);
        s.offsets.push_back(offset(copy, 1));
      }
      for (const std::string& source : copy.sources)
        if (std::ranges::find(s.sources, source) == s.sources.end()) s.sources.push_back(source);
    }
    if (std::ranges::count(s.offsets, 0) == std::ssize(s.offsets)) s.offsets.clear();
    s.function = known->second;
    p_.steps[step] = std::move(s);
    return true;
  }

  // Those that were stored in pieces.
  void drop_tensors() {
    std::vector<uint32_t> now;
    std::vector<ProgramTensor> kept;
    for (size_t t = 0; t < p_.tensors.size(); ++t) {
      now.push_back(static_cast<uint32_t>(kept.size()));
      if (!stored_in_pieces_.contains(static_cast<uint32_t>(t))) kept.push_back(std::move(p_.tensors[t]));
    }
    p_.tensors = std::move(kept);
    for (std::vector<uint32_t>* all : {&p_.inputs, &p_.outputs})
      for (uint32_t& t : *all) t = now[t];
    for (Step& s : p_.steps)
      for (uint32_t& t : s.args) t = now[t];
  }

  static std::vector<int64_t> places(const std::vector<Piece>& pieces) {
    std::vector<int64_t> all;
    for (const Piece& p : pieces) all.insert(all.end(), {p.begin, p.end});
    return all;
  }

  Program p_;
  std::vector<std::vector<Use>> writers_, readers_;  // of each tensor
  std::set<uint32_t> stored_in_pieces_;
  std::map<std::tuple<uint32_t, size_t, std::vector<int64_t>>, uint32_t> functions_;  // new ones, by what they are made of
};

}  // namespace

Program elide_copies(const Program& p, const Context& c) {
  if (c.target == nullptr || !c.target->machine().device) return p;
  return Elision(p).run();
}

}  // namespace burnish
