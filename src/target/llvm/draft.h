// Estimates of schedules: cycles of the code's inner part against bytes that pass between caches.
#pragma once

#include <array>
#include <vector>

#include "target/llvm/space.h"

namespace burnish::llvm_target {

// How much of a tensor some loops touch: an access of a group's formulas.
class Access {
 public:
  Access(const StageGroup& g, const Expr& load);
  Access(const Stage& written);
  // `counts`: iterations of each variable, by VarId.
  double bytes(const std::vector<int64_t>& counts) const;
  bool constant() const { return constant_; }

 private:
  struct Dim {
    std::vector<Term> terms;
    int64_t extent, div = 1;
  };
  std::vector<Dim> dims_;
  double width_;
  bool constant_ = false;
};

// One loop: how far it takes a variable (iterations of the variable with all loops inside), and its own trips.
struct Level {
  VarId var;
  int64_t count;
  double trips;
};

// Cycles that one thread waits for bytes, and how many of them: loops from the inside out, the outermost ones shared
// among threads by the caller (their trips are one thread's).
//
// A cache keeps what one iteration of a loop touches where that fits; that loop then loads everything it touches once, and
// every loop outside it again.
double memory_cycles(const std::vector<Access>& accesses, const std::vector<Level>& levels, size_t vars, const Machine& m);

// A tiled reduction.
class TileDraft {
 public:
  TileDraft(const Schedule& s, const Roles& r, const Machine& m);
  double us(const TileChoice& c) const;

 private:
  const Machine m_;
  const Roles r_;
  Stage out_, acc_;
  size_t vars_;
  std::vector<Access> accesses_;
  std::optional<std::pair<int64_t, int64_t>> inner_;
  int64_t loads_a_point_ = 1;
  bool weights_ = false;
};

// One stage without a reduction.
class ElementwiseDraft {
 public:
  ElementwiseDraft(const Schedule& s, StageId out, const Machine& m);
  double us(int64_t lanes, int64_t shared) const;

 private:
  Machine m_;
  std::vector<int64_t> loops_;  // extents with more than one point but the innermost, outermost first
  int64_t inner_ = 1, points_ = 1;
  double work_ = 0, bytes_ = 0;
};

// Reductions along rows.
class RowsDraft {
 public:
  RowsDraft(const Schedule& s, StageId out, size_t common, const Machine& m);
  double us(bool vectors, int64_t sums, int64_t wide, int64_t shared) const;

 private:
  struct Part {
    double elements, work;
    bool reduces;
  };
  Machine m_;
  std::vector<Part> parts_;
  std::vector<int64_t> loops_;
  double bytes_ = 0;
  int64_t lanes_;
};

}  // namespace burnish::llvm_target
