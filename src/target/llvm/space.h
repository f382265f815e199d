// Schedules of the LLVM target: the shapes of loop nests that are worth building on a CPU, and a choice among them that
// is good without tuning. A choice is a handful of numbers; a Schedule is made of a choice; search will vary the choice.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/schedule.h"
#include "target/target.h"

namespace burnish::llvm_target {

// How the axes of a stage take part in a register tile.
struct Roles {
  StageId out = 0;                // the stage that is stored
  StageId acc = 0;                // the reduction that it reads pointwise (out itself before cache_write)
  uint32_t vector = 0;            // axis of the lanes: contiguous in the stage's layout
  std::optional<uint32_t> tile{}; // axis whose points share a load of weights: the rows of the tile
  std::vector<uint32_t> outer{};  // the other axes with more than one point, outermost first
  std::vector<uint32_t> unit{};   // axes with one point
  bool broadcast = false;         // an operand does not move with the lanes (conv, matmul); else depthwise, pooling
};

// The knobs of a register tile.
struct TileChoice {
  int64_t rows = 1;              // MR: points of the tile axis in registers
  int64_t lanes = 16;            // elements of one vector
  int64_t vectors = 1;           // NV: vectors in registers
  bool phased = false;           // rows is a multiple of the tile axis' phases: full tiles and a remainder
  bool panels_outside = false;   // weights outermost: each panel is used for all points before the next
  bool parallel_panels = false;  // threads own panels instead of rows
};

// The loops of a tiled stage, by name; `tiles` and `in_tile` are empty without a tile axis.
struct TileLoops {
  std::string panels, tiles, in_tile, vectors, lanes;
};

// ---- roles.cpp
// Axes of a stage as its layout orders them, outermost first, each once.
std::vector<uint32_t> physical_order(const Stage& s);
std::optional<Roles> roles_of(const Schedule& s, StageId out);
// Every load of `from` in `s` is at the point of `s` itself.
bool reads_pointwise(const Stage& s, StageId from, const Stage& producer);

// Does the index depend on the variable? (What is loaded counts as depending on everything.)
bool moves(const Index& i, VarId v);

// ---- inline_stages.cpp
// Inlines every stage that costs less to compute again than to store and load.
void inline_cheap(Schedule& s);

// ---- tile.cpp
TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m);
// Splits a stage into tiles and computes its reduction in registers; the caller orders the loops outside the tile and
// then attaches the reduction with `attach_tile`.
struct Tiled {
  std::string stage, acc;
  TileLoops loops;
};
// `at_edges`: points whose window leaves the input become tiles of their own, so that the others need no guards.
Tiled make_tile(Schedule& s, const Roles& r, const TileChoice& c, bool at_edges);
// Orders the stage's loops: `outside` outermost first, then the tile; the reduction goes into the last of `outside`.
void attach_tile(Schedule& s, const Tiled& t, const Roles& r, const TileChoice& c, std::vector<std::string> outside);
// One reduction with its epilogue, threads and order of panels chosen.
void schedule_tile(Schedule& s, const Roles& r, const TileChoice& c, const Machine& m);

// ---- chain.cpp
// Reductions that feed one another row by row (1x1 -> depthwise -> 1x1): one nest, the rows between them in rings.
// Nothing when the group is no such chain. `rows`: rows of the output a step.
std::optional<Schedule> chain_schedule(const Schedule& inlined, StageId out, const Machine& m, int64_t rows);
// The same with as many rows a step as the caches hold.
std::optional<Schedule> best_chain(const Schedule& inlined, StageId out, const Machine& m);
// Is it worth keeping this chain in one nest, by size of caches against the traffic saved?
bool chain_pays(const StageGroup& g, const Machine& m);

// ---- space.cpp
// A schedule that lowers, for any group.
Schedule default_schedule(const StageGroup& g, const Machine& m);

inline int64_t lanes_of(const Machine& m, DType t) { return std::max(1, m.vector_bytes / std::max(1, size_of(t))); }
int64_t points(const std::vector<Axis>& axes);
std::vector<std::string> names(const std::vector<Axis>& axes, const std::vector<uint32_t>& which);

}  // namespace burnish::llvm_target
