// Schedules of the LLVM target: the shapes of loop nests that are worth building on a CPU, and a choice among them that
// is good without tuning. A choice is a handful of numbers; a Schedule is made of a choice; search will vary the choice.
#pragma once

#include <optional>
#include <vector>

#include "schedule/schedule.h"
#include "target/target.h"

namespace burnish::llvm_target {

// How the axes of a group's output take part in a register tile.
struct Roles {
  StageId out = 0;                  // the output stage
  StageId acc = 0;                  // the reduction that it reads pointwise (out itself before cache_write)
  uint32_t vector = 0;              // axis of the lanes: contiguous in the output
  std::optional<uint32_t> tile;     // axis whose points share a load of weights: the rows of the tile
  std::vector<uint32_t> outer;      // the other axes with more than one point, outermost first
  std::vector<uint32_t> unit;       // axes with one point
  bool broadcast = false;           // the data operand does not move with the lanes (conv, matmul), else depthwise
};

// The knobs of a register tile.
struct TileChoice {
  int64_t rows = 1;                 // MR: points of the tile axis in registers
  int64_t lanes = 16;               // elements of one vector
  int64_t vectors = 1;              // NV: vectors in registers
  bool panels_outside = false;      // weights outermost: each panel is used for all points before the next
  bool parallel_panels = false;     // threads own panels instead of rows
  int64_t strip = 1;                // rows between two passes over the weights
  bool pad_copy = false;            // padded inputs are copied into a ring of rows; else the tile axis is partitioned
};

// Axes of a stage as its layout orders them, outermost first, each once.
std::vector<uint32_t> physical_order(const Stage& s);

std::optional<Roles> roles_of(const Schedule& s, StageId out);
TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m);

// A schedule that lowers, for any group.
Schedule default_schedule(const StageGroup& g, const Machine& m);

}  // namespace burnish::llvm_target
