// Proves affine inequalities from facts by eliminating variables (Fourier and Motzkin, one fact at
// a time, depth first). The verifier's own: it shares no code with Ranges, by which the lowering
// decided what it may leave out, and it combines facts, which Ranges does not need to. Private to
// src/loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "expr/expr.h"

namespace burnish::loop {

bool same_atom(const Atom& a, const Atom& b);

class Prover {
 public:
  // Variables of the function, and stand-ins for the atoms of indices.
  using Id = uint32_t;
  using Range = std::pair<int64_t, int64_t>;

  // Ids below `variables` are the caller's.
  explicit Prover(size_t variables = 0);

  void bind(VarId v, int64_t lo, int64_t hi);
  Id fresh(int64_t lo, int64_t hi);
  void assume(const Aff& nonnegative);
  void define(VarId v,
              const Aff& value);  // v stands for a flattened value wherever it occurs from now on

  // What was assumed, defined and flattened after a mark is dropped with it.
  struct Mark {
    size_t facts, atoms, definitions, ranges;
  };
  Mark mark() const { return {facts_.size(), atoms_.size(), definitions_.size(), undo_.size()}; }
  void reset(Mark m);

  // The index as an affine form over variables and stand-ins, with facts that tie these to what
  // they stand for. Equal atoms get equal stand-ins.
  Aff flatten(const Index& i);

  bool never_negative(const Aff& a);
  Range range(const Aff& a) const;  // from the variables' ranges alone, which facts narrow

  struct AtomId {
    Atom atom;  // scale 1
    Id id;
  };
  const std::vector<AtomId>& atoms() const { return atoms_; }
  const std::vector<Aff>& facts() const { return facts_; }
  Range range_of(Id id) const { return ranges_[id]; }

 private:
  Range range_of(const Term& t) const;
  int64_t least(const Aff& a) const;  // of its range
  bool search(const Aff& goal, std::initializer_list<int> depths);
  bool prove(const Aff& goal, int depth);
  bool eliminate(const Aff& goal, Term top, bool higher, int depth);
  std::vector<Id> narrow(const Aff& fact);
  void add_fact(const Aff& fact);
  Aff resolved(Aff a) const;
  Aff stand_in(const Atom& atom);
  std::vector<Range> ranges_;
  std::vector<std::pair<Id, Range>> undo_;  // ranges before they were narrowed
  std::vector<Aff> facts_;
  std::vector<std::vector<uint32_t>> facts_of_;  // by variable: the numbers of those that it is in
  std::vector<AtomId> atoms_;
  std::vector<std::pair<VarId, Aff>> definitions_;
  int budget_ = 0, deepest_ = 0;
};

}  // namespace burnish::loop
