// Schedules of the LLVM target: the shapes of loop nests that are worth building on a CPU, and a choice among them that
// is good without tuning. A choice is a handful of numbers; a Schedule is made of a choice; search will vary the choice.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/schedule.h"
#include "target/roles.h"
#include "target/target.h"

namespace burnish::llvm_target {

// Which loop the threads share.
enum Share : int64_t { kShareRows, kSharePanels, kShareBoth, kShareNothing };
// Points whose window leaves the input: guarded where they stand, tiles of their own, or whole tiles apart from the
// others, so that their guards are decided when compiling.
enum Edges : int64_t { kEdgesGuarded, kEdgePoints, kEdgeTiles };

// The knobs of a register tile: rows x patch points, each of `vectors` vectors, over the whole reduction.
struct TileChoice {
  int64_t rows = 1;       // points of the tile axis in registers
  int64_t patch = 1;      // points of the axis outside it, in registers with each of them: tiles of several image rows
  int64_t lanes = 16;     // elements of one vector
  int64_t vectors = 1;    // vectors in registers; panels of weights are that wide
  int64_t edges = kEdgePoints;
  int64_t block = 0;      // this many of the outermost axis pass over all panels together; 0: panels innermost
  int64_t share = kShareRows;
  int64_t window = 0;     // reduce loops: 0 the longest innermost, 1 the window inside the channels
  int64_t unroll = 1;     // of the innermost reduce loop
  bool parked = false;    // sums that are no lanes are stored, and their epilogue runs in lanes
  bool phased = false;    // rows is a multiple of the tile axis' phases: full tiles and a remainder
  friend bool operator==(const TileChoice&, const TileChoice&) = default;
};

// The loops of a tiled stage, by name; empty where there is none.
struct TileLoops {
  std::string panels, blocks, stretches;
  std::vector<std::string> outer;  // inside the blocks; the last one steps over patches
  std::string tiles, in_patch, in_tile, vectors, lanes;
};

// ---- tile.cpp
// Reduce loops by name, outermost first.
std::vector<std::string> reduce_order(const Stage& acc, bool window_inside);
// Is the loop expanded whole? Windows of a depthwise stage are: their weights and offsets become constants. Of a dense one
// only the inner window axes, so that guards of its columns are decided.
bool is_unrolled(const Stage& acc, const Roles& r, const Axis& reduce, const std::vector<std::string>& order);
// Is there enough work for more than one thread?
bool worth_sharing(const Stage& out, const Stage& acc, const Machine& m);
// Points of the tile axis whose window is inside the input: [first, end). Nothing without padding along it.
std::optional<std::pair<int64_t, int64_t>> inner_points(const StageGroup& g, const Stage& acc, uint32_t tile);
// Transposed convolution with stride s divides the tile axis by s: tiles that start at a multiple of it know their
// phases.
int64_t phases_of(const Stage& acc, VarId rows);
// Splits a stage into tiles and computes its reduction in registers; the caller orders the loops outside the tile and
// then attaches the reduction with `attach_tile`.
struct Tiled {
  std::string stage, acc;
  std::string parked;  // the sums in memory, on their way to the epilogue; empty where it reads registers
  TileLoops loops;
};
// `stretch`: the tile axis is cut into stretches of so many points first, the outer ones apart, so that where a stretch
// begins at an edge is known; 0: it is not.
Tiled make_tile(Schedule& s, const Roles& r, const TileChoice& c, int64_t stretch = 0);
// Orders the stage's loops: `outside` outermost first, then the tile; the reduction goes into the last of `outside`.
void attach_tile(Schedule& s, const Tiled& t, const Roles& r, const TileChoice& c, std::vector<std::string> outside);
// Fetches large weights of a reduction ahead of the tiles that read them. `vector`: the axis of the lanes.
void prefetch_weights(Schedule& s, const Stage& red, uint32_t vector, const Machine& m);
// One reduction with its epilogue, shared among threads.
void schedule_tile(Schedule& s, const Roles& r, const TileChoice& c, const Machine& m);

// ---- tile_space.cpp
// The tile that wastes least of the machine's arithmetic; how panels and threads pass over it is left as it is.
TileChoice choose_tile(const Schedule& s, const Roles& r, const Machine& m);
// The tile of a link of a chain: what the draft of the arithmetic likes best. `last`: its output is no ring.
TileChoice choose_link(const Schedule& s, const Roles& r, bool last, const Machine& m);
// Sizes of these that cut `extent` into equal tiles, or nearly so, each a different number of them.
std::vector<int64_t> tile_sizes(int64_t extent, std::initializer_list<int64_t> sizes);
// Null when no such tile lowers. `lanes`: 1 where there are no contiguous ones.
std::unique_ptr<Space> tile_space(const Schedule& inlined, const Roles& r, int64_t lanes, const Machine& m);

// ---- elementwise.cpp
// One stage without a reduction. Null when it does not lower.
std::unique_ptr<Space> elementwise_space(const Schedule& inlined, const Machine& m);
// One stage of several.
void schedule_elementwise(Schedule& s, const std::string& name, const Machine& m);

// ---- planes.cpp
// Sums of everything but the channels, shared among threads by rows. Null when the group is nothing like it.
std::unique_ptr<Space> planes_space(const Schedule& inlined, const Roles& r, const Machine& m);

// ---- rows.cpp
// Reductions over rows: softmax, norms, means along the contiguous axis. Everything lives inside one row.
std::unique_ptr<Space> rows_space(const Schedule& inlined, StageId out, bool vectors, const Machine& m);
// Does the reduction run along what is contiguous in memory?
bool reduces_contiguous(const StageGroup& g, const Stage& stage);

// ---- folded.cpp
// A sum along what is contiguous in its operand, to an output without contiguous lanes. Null where it is nothing like it.
std::unique_ptr<Space> folded_space(const Schedule& inlined, const Roles& r, const Machine& m);

// ---- chain.cpp
// Reductions that feed one another row by row (1x1 -> depthwise -> 1x1): one nest, the rows between them in rings.
// Null when the group is no such chain.
std::unique_ptr<Space> chain_space(const Schedule& inlined, StageId out, const Machine& m);
// Is it worth keeping this chain in one nest, by size of caches against the traffic saved?
bool chain_pays(const StageGroup& g, const Machine& m);

// ---- winograd.cpp
// A product at every point of a transform, between a transform of the input and one of the result. Null when the group is
// nothing like it.
std::unique_ptr<Space> winograd_space(const Schedule& inlined, StageId out, const Machine& m);

// ---- space.cpp
// What may be chosen for a group; null where the only schedule is a plain one. The default point lowers.
std::unique_ptr<Space> make_space(const StageGroup& g, const Machine& m);
// A schedule that lowers, for any group: the default point of its space, or a plain nest.
Schedule default_schedule(const StageGroup& g, const Machine& m);

inline int64_t lanes_of(const Machine& m, DType t) { return std::max(1, m.vector_bytes / std::max(1, size_of(t))); }

}  // namespace burnish::llvm_target
