// What the schedules of every target want to know of a group's stages: the part that each axis plays, what is cheap enough
// to be computed again where it is read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/schedule.h"

namespace burnish {

// How the axes of a stage take part in a register tile.
struct Roles {
  StageId out = 0;                // the stage that is stored
  StageId acc = 0;                // the reduction that it reads pointwise (out itself before cache_write)
  uint32_t vector = 0;            // axis of the lanes: contiguous in the stage's layout
  std::optional<uint32_t> tile{}; // axis whose points share a load of weights: the rows of the tile
  std::vector<uint32_t> outer{};  // the other axes with more than one point, outermost first
  std::vector<uint32_t> unit{};   // axes with one point, or of which who lays out a tile takes one at a time
  bool broadcast = false;         // an operand does not move with the lanes (conv, matmul); else depthwise, pooling
  int64_t grouped = 0;            // it is another one every so many elements of the vector axis: grouped convolutions
};

// Axes of a stage as its layout orders them, outermost first, each once.
std::vector<uint32_t> physical_order(const Stage& s);
std::optional<Roles> roles_of(const Schedule& s, StageId out);
// The same for each of several reductions that are read so; none where others are read.
std::vector<Roles> roles_of_sums(const Schedule& s, StageId out);
// Every load of `from` in `s` is at the point of `s` itself.
bool reads_pointwise(const Stage& s, StageId from, const Stage& producer);

// Does the index depend on the variable? (What is loaded counts as depending on everything.)
bool moves(const Index& i, VarId v);
// The same inside a vector along `v`, which crosses none of the steps of a quotient of `v` alone (Roles::grouped).
bool moves_in_vector(const Index& i, VarId v);

// Work of one element: a transcendental function counts like twenty additions.
int64_t cost(const Expr& e);
// Inlines every stage that costs less to compute again than to store and load.
void inline_cheap(Schedule& s);

int64_t points(const std::vector<Axis>& axes);
std::vector<std::string> names(const std::vector<Axis>& axes, const std::vector<uint32_t>& which);
bool lowers(const Schedule& s);

}  // namespace burnish
