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

// Cycles in which the bytes that one thread needs pass into each level of cache: loops from the inside out, the outermost
// ones shared among threads by the caller (their trips are one thread's).
//
// A cache keeps what one iteration of a loop touches where that fits; that loop then loads everything it touches once, and
// every loop outside it again.
using Traffic = std::array<double, 3>;
Traffic traffic(const std::vector<Access>& accesses, const std::vector<Level>& levels, size_t vars, const Machine& m);
// Work and transfers overlap: nearly the longest of them.
double overlapped(double compute, const Traffic& t);

// A tiled reduction.
class TileDraft {
 public:
  TileDraft(const TileDraft&) = delete;  // points into itself
  TileDraft(const Schedule& s, const Roles& r, const Machine& m);
  // Why a tile cannot be good: registers, length of code, blocks that do not fit the patches.
  Result<> fits(const TileChoice& c) const;
  bool in_registers(const TileChoice& c) const;
  // Microseconds of one run.
  double us(const TileChoice& c) const;
  // Cycles of all tiles on one thread, whatever passes between caches.
  double compute(const TileChoice& c) const;

 private:
  bool shared(const TileChoice& c) const;
  int64_t extent(uint32_t axis) const { return acc_.axes[axis].extent; }
  // Do all places of the window follow one another in each step of the channels? Few channels are always outside it.
  bool window_inside(const TileChoice& c) const { return c.window || !long_; }

  const Machine m_;
  const Roles r_;
  Stage out_, acc_;
  double depth_ = 1;          // points of the reduction
  double longest_ = 1;        // of its loops
  double guards_ = 0;         // a tile's guarded loads, a step of the window
  bool long_ = false;         // there is a loop worth the name inside the window
  std::array<int64_t, 2> unrolled_{1, 1};  // steps in straight code, by TileChoice::window
  std::array<std::vector<const Axis*>, 2> reduces_;
  size_t vars_;
  std::vector<Access> accesses_;
  std::optional<std::pair<int64_t, int64_t>> inner_;
  bool weights_ = false;
  // Where the points of a tile lie in memory: bytes from one to the next along the tile axis and the one outside it,
  // and points of the window along both.
  struct Strides {
    int64_t x = 0, y = 0, window_x = 1, window_y = 1, step_x = 0, step_y = 0, group = 0;
  };
  std::optional<Strides> strides_;
  // Lines of a tile that throw each other out of the first-level cache, a step of the reduction.
  double conflicts(const TileChoice& c) const;
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
