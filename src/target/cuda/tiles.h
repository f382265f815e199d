// The ways in which the CUDA target lays a group's stages out to blocks and threads. Each takes a schedule to one that
// lowers, or leaves it as it is and returns false.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "target/c_like/kernel.h"
#include "target/cuda/space.h"
#include "target/roles.h"

namespace burnish::cuda_target {

// Of a way's variants, from the best by estimate, so many are tried for the default schedule.
constexpr size_t most_tried = 20;

// Largest power of two that is not above n.
inline int64_t power_below(int64_t n) {
  int64_t p = 1;
  while (2 * p <= n) p *= 2;
  return p;
}

// The order of a stage's axes in memory, of which some are outermost and some innermost.
Layout axes_in_order(size_t rank, const std::vector<uint32_t>& outermost, const std::vector<uint32_t>& innermost);
// The sum that `r` speaks of, as a stage beside the one that finishes it; its name.
std::string sum_of(Schedule& s, const Roles& r);
// Fuses loops that follow one another; the name of all.
std::string fused(Schedule& s, const std::string& stage, const std::vector<std::string>& loops);

// points.cpp. Points of a stage one after the other in memory to threads.
struct Share {  // of a thread: a vector of neighbours, of `columns` neighbours along the axis before
  int64_t vector = 1, columns = 1;
  int64_t points() const { return vector * columns; }
};
// From the best by estimate. `in_lanes`: neighbours in memory read neighbours, or the same.
std::vector<Share> shares(const Stage& s, const Device& d, bool in_lanes = true);
// Of a reduction and the stage that finishes it.
std::vector<Share> finished_shares(const Schedule& s, const Roles& r, const Device& d);
bool by_points(Schedule& s, const std::string& stage, const Share& share);
// The same for a reduction and the stage that finishes it; the sum is in registers of its thread.
bool finished_by_points(Schedule& s, const Roles& r, const Share& share);
// An estimate of it, as matrix_cycles; infinite where neighbouring threads do not share what they read of the data.
double finished_cycles(const Schedule& s, const Roles& r, const Device& d);

// tile.cpp. A convolution or product by multiply-adds: a thread has a tile of points and channels.
bool by_tile(Schedule& s, const Roles& r);

// lanes.cpp. Sums of few points that share weights, each by several threads that read `vector` neighbours each.
bool by_lanes(Schedule& s, const Roles& r, int64_t vector, const Device& d);
// The sum `acc` of `out`, whose thread has a result of the loop `own`, which is bound: so many neighbours have `vector` terms of it at a
// time. `block`: the loop of `owner` that is the block.
struct LaneSum {
  std::string out, acc, own, owner, block;
  int64_t lanes, vector;
};
void sum_over_lanes(Schedule& t, const LaneSum& x, const Roles& r);

// rows.cpp. Reductions of rows, and what is computed from them, in one kernel; accesses of `vector` neighbours.
bool by_rows(Schedule& s, int64_t vector, const Device& d);

// row_of_thread.cpp. The same of short rows that lie across neighbouring ones: each by a thread.
bool by_row_of_thread(Schedule& s);

// columns.cpp. Sums over other axes than the contiguous one, of few results: slices by threads.
bool by_columns(Schedule& s, const Roles& r, int64_t vector, const Device& d);
// The sum `acc` of `out`, whose thread has a vector of the columns `axis` at the loop `column`: slices of it by as many threads. `block`:
// the loop of `owner` that is the block.
struct ColumnSum {
  std::string out, acc, column, owner, block;
  uint32_t axis;
  int64_t vector, slices;
};
void sum_over_slices(Schedule& t, const ColumnSum& x);

// squeeze.cpp. Sums of one point of which each reads the one before (a pool, products of its means) as a cluster of blocks.
struct SqueezeTile {
  size_t cut;      // the sum of which blocks have parts
  int64_t blocks;
};
// From the best by estimate; none where it is something else.
std::vector<SqueezeTile> squeeze_tiles(const Schedule& s, const Device& d);
bool by_squeeze(Schedule& s, const SqueezeTile& x);
// What such sums take within a network as one kernel, by estimate: infinite where they cannot be one. None where it is something else.
std::optional<double> squeeze_cycles(const Schedule& s, const Device& d);

// warp_tile.cpp. Loops of a stage whose tile is a warp's: a thread has `points` and `channels` of it.
struct WarpLoops {
  std::vector<std::string> outside;  // blocks, then what is serial
  std::vector<std::string> bound;    // warps, then the 8 and 4 of a warp (loop/matrix_sum.h)
  std::string points, channels;
  int64_t point_phases = 1;          // neighbours of `points` that are phases of one row of instructions
  std::string phase = {};            // a loop of more of them
  std::string tiles = {};            // a loop of more rows of instructions
  int64_t groups = 8;                // of the 8, that have points
};
using c_like::in_vectors;
// Elements of a vector of 16 bytes, and of all banks of the block's memory.
inline int64_t vector_of(DType t) { return 16 / size_of(t); }
inline int64_t banks_of(DType t) { return 128 / size_of(t); }
// Elements that a thread with two channels of each of so many columns of instructions stores at once.
inline int64_t stored_at_once(int64_t columns, DType t) { return columns % 2 ? 2 : columns % 4 || !is_half(t) ? 4 : 8; }
// Is the stage a sum of products of two loads, in f32? These may be of other types, converted.
bool is_product(const Stage& s);
// What such a factor loads, or is 0 under a guard. Of a product of loads of which one moves with fewer axes it is the other one.
const Expr& load_of(const Expr& factor);
// Is it such a product: data that is scaled where it is loaded?
bool is_scaled(const Expr& factor);
// Depth of a step of instructions along a reduction of so many channels, a multiple of 8.
int64_t depth_for(int64_t channels, const Device& d);
// Of the deepest instruction.
int64_t instruction_depth(const Device& d);
// What a thread of four has of a step of `depth`: neighbours, or, where the other operand is in the block's memory, those 4 bytes of
// every 16 that instructions number so (c_like/matrix_tiles.cpp).
enum class Depths { Neighbours, Pieces };
// Weights as instructions of warps ask for them: of a warp's `columns` times 8 channels, all of the reduction; of that,
// `depth` at a time; then by instruction, and in one by thread. `channels`, `depth_axis`: of `rank` axes.
Layout fragments(uint32_t rank, uint32_t channels, uint32_t depth_axis, int64_t columns, int64_t depth, Depths order = Depths::Neighbours,
                 DType type = DType::F16);
// What brings rows of `size` elements, of which a warp loads pieces of 16 bytes, to different banks; or to few enough that more memory
// would cost more.
int64_t piece_padding(int64_t size, DType t);
// Lays out what is stored from registers: a thread's channels as vectors where they fit and are neighbours in memory.
void store_by_warps(Schedule& t, const std::string& stage, const WarpLoops& w, uint32_t channel_axis, int64_t columns);
// Lays out its sum along `k`, of which `depth_loop` is the loop, or a part, that instructions go through. `ahead`: the reduction
// is one loop, each iteration of which has so many steps of instructions, whose operands the one before loads; 0: it is not.
void sum_by_warps(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& k, const std::string& depth_loop, int64_t depth,
                  int64_t ahead = 0);
// The same along the axes `rest` and, whose neighbours go to the threads of four, `lanes` (Schedule::flatten): a step of instructions
// has `n` neighbours of `rest`.
void sum_by_lanes(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& lanes, const Axis& rest, int64_t n);
// The same along `k`, all of it in one step: each of the four has the neighbours that it has summed itself.
void sum_by_owners(Schedule& t, const std::string& stage, const WarpLoops& w, const Axis& k);
// copies.cpp. A copy in the block's memory by its threads: vectors of the innermost axis, then neighbours along the others, from the
// innermost on. `order`: of its axes in memory; `region`: how much of each axis a block has, or at most.
void copy_by_threads(Schedule& t, const std::string& stage, const std::vector<uint32_t>& order, const std::vector<int64_t>& region,
                     int64_t threads);
// A copy of what is laid out in blocks (Schedule::pack), whose regions are whole ones: as much at once as there are threads for. False:
// it does not fit.
bool copy_in_order(Schedule& t, const std::string& stage, const std::vector<int64_t>& region, int64_t threads);
// The loops `outside` of `out` become blocks, in which `acc` is summed in registers; the loop over all blocks.
std::string blocks_of(Schedule& t, const std::string& out, const std::vector<std::string>& outside, const std::string& acc);
// lanes.cpp. What the threads `lanes`, a reduce loop, have of the sums `acc`, whose other loops are `points`, combined in registers of each.
void combine_lanes(Schedule& t, const std::string& acc, std::vector<std::string> points, const std::string& lanes);

// The tiles of finite cost, the cheapest first.
template <class Tile, class Cost> std::vector<Tile> from_the_best(const std::vector<Tile>& tiles, const Cost& cost) {
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < tiles.size(); ++i)
    if (const double c = cost(tiles[i]); std::isfinite(c)) order.emplace_back(c, i);
  std::ranges::sort(order);
  std::vector<Tile> out;
  for (const auto& [c, i] : order) out.push_back(tiles[i]);
  return out;
}

// slices.cpp. An axis of what is stored, of which a block's tile has so much.
struct TileAxis {
  uint32_t axis;
  int64_t size;
};
// Sums in parts, an axis: those of a tile together, part by part. `outside`: axes of which a tile has one point.
Layout parts_by_tiles(uint32_t part, const std::vector<uint32_t>& outside, const std::vector<TileAxis>& tile);
// Whether a tile of `o` comes out even in so many slices.
bool can_slice(const Stage& o, const std::vector<TileAxis>& tile, int64_t adders);
int64_t points_of(const std::vector<TileAxis>& tile);
// What adds them up: the tiles as blocks, in that order, and a slice of the tile to each of `adders` neighbours.
bool by_slices(Schedule& t, const std::string& out, const std::vector<uint32_t>& outside, const std::vector<TileAxis>& tile, int64_t adders,
               int64_t threads);

// matrix.cpp. A convolution or product by matrix instructions.
struct MatrixTile {
  int64_t rows, columns;      // of a warp: instructions of 16 points and of 8 channels
  int64_t warps_m, warps_n;   // of a block
  int64_t warps_k = 1;        // that have a part of the reduction each; their sums meet in the block's memory
  int64_t ahead = 0;          // steps of instructions whose operands are loaded while as many are computed, or all of them before; 0: none
  int64_t staged = 0;         // channels of the data that stand in the block's memory at once; 0: none
  int64_t stages = 2;         // memory for so many times as much, of which all but one are on their way
  bool weights = false;       // in the block's memory, too
  bool warpgroups = false;    // these, read from there by instructions of four warps together
  int64_t threads() const { return 32 * warps_m * warps_n * warps_k; }
};
// From the best by estimate; none where instructions do not fit.
std::vector<MatrixTile> matrix_tiles(const Schedule& s, const Roles& r, const Device& d);
// The same with data in the block's memory.
std::vector<MatrixTile> staged_tiles(const Schedule& s, const Roles& r, const Device& d);
// warpgroups.cpp. The same with both operands there, for instructions of four warps.
std::vector<MatrixTile> warpgroup_tiles(const Schedule& s, const Roles& r, const Device& d);
// An estimate of a run with the best tile; infinite where there is none.
double matrix_cycles(const Schedule& s, const Roles& r, const Device& d);
double matrix_cycles(const Schedule& s, const Roles& r, const MatrixTile& t, const Device& d);
// `last`: an axis outside of the tile whose blocks are neighbours.
bool by_matrix(Schedule& s, const Roles& r, const MatrixTile& t, const Device& d, std::optional<uint32_t> last = {});
// What a block has of the axes of `r.out`: points, then channels; the axes outside.
std::pair<std::vector<TileAxis>, std::vector<uint32_t>> tile_of(const Schedule& s, const Roles& r, const MatrixTile& t);

// matrix_split.cpp. The same, blocks having parts of the reduction each, which meet as clusters, or in a second kernel.
struct SplitTile {
  int64_t parts;
  MatrixTile tile;
  double cycles = 0;  // by estimate, as matrix_cycles
  bool last = false;  // where GPUs have no clusters: the last of a tile's blocks adds them up, instead of that kernel
};
std::vector<SplitTile> split_tiles(const Schedule& s, const Roles& r, const Device& d);
bool by_split(Schedule& s, const Roles& r, const SplitTile& x, const Device& d);

// product_pair.cpp. A product or convolution and the 1x1 product that alone reads it, in one kernel.
struct PairTile {
  MatrixTile first;  // whose warps have all channels
  int64_t columns;   // of the second one's instructions, a warp's at once
  bool kept = false; // what these read besides is in the block's memory, on its way while the first are summed
};
// From the best by estimate; none where it is no such pair.
std::vector<PairTile> pair_tiles(const Schedule& s, const Device& d);
// An estimate of a run with the best tile, as matrix_cycles; none where it is no such pair.
std::optional<double> pair_cycles(const Schedule& s, const Device& d);
// Whether one kernel takes less time than two, by estimates.
bool pair_pays(const Schedule& s, const Device& d);
bool by_pair(Schedule& s, const PairTile& x, const Device& d);

// product_added.cpp. A product whose finish adds another one, as one kernel.
// From the best by estimate; none where it is no such sum.
std::vector<MatrixTile> added_tiles(const Schedule& s, const Device& d);
// An estimate of a run with the best tile, as matrix_cycles; none where it is no such sum.
std::optional<double> added_cycles(const Schedule& s, const Device& d);
// Whether one kernel takes less time than two, by estimates.
bool added_pays(const Schedule& s, const Device& d);
bool by_added(Schedule& s, const MatrixTile& tile, const Device& d);

// attention.cpp. The operator attention as one kernel.
struct AttentionTile {
  int64_t rows = 1, warps = 4;  // of a block: instructions of 16 queries, and warps
  bool kept = false;            // values are in the block's memory, on their way while scores are computed
};
// From the best by estimate; none where it is no attention, or its scores do not fit in a block's memory.
std::vector<AttentionTile> attention_tiles(const Schedule& s, const Device& d);
std::optional<double> attention_cycles(const Schedule& s, const Device& d);
bool by_attention(Schedule& s, const AttentionTile& x, const Device& d);

// chain.cpp, chain_draft.cpp. Expansion, depthwise convolution and projection in one kernel; or without the first, or the last.
struct ChainTile {
  int64_t columns;                                // of the output, a block
  int64_t warps_y = 1, warps_x = 1, warps_n = 1;  // of the projection
  int64_t warps_k = 1;                            // which share the expanded channels of a chunk: all warps
  int64_t chunk = 32;                             // expanded channels at a time
  int64_t expand_y = 1, expand_n = 1;             // of the expansion: warps along rows and along channels; one for 8 columns
  int64_t expand_rows = 2;                        // in registers at once
  int64_t weights = 0;                            // in the block's memory: 1: of the depthwise convolution, 2: of the projection, too
  int64_t splits = 1;                             // parts of the expanded channels, in blocks of their own
  int64_t rows = 1;                               // neighbours of the output, a thread of the projection: 1, or the 2 of an instruction
  int64_t groups = 8;                             // of a warp's threads, that have rows; fewer: what is expanded stays in registers
  int64_t tall = 0;                               // rows of the output, a block, where there is no projection; 0: as with one
  bool in_registers() const { return groups < 8; }
  int64_t high() const { return tall ? tall : groups * rows * warps_y; }  // of the output, a block
  int64_t threads() const { return 32 * warps_y * warps_x * warps_n * warps_k; }
};
// From the best by estimate; none where it is no such chain.
std::vector<ChainTile> chain_tiles(const Schedule& s, const Device& d);
// Whether one kernel takes less time than its parts, by estimates, or little more.
bool chain_pays(const Schedule& s, const Device& d);
// Is it a product of data that is scaled where it is loaded, by matrix instructions?
bool scales_operand(const Schedule& s, const Device& d);
// What a chain, a pair, sums of one point, a product, a depthwise convolution or a kernel without sums takes within a network, by estimates; 0 of others.
double network_cycles(const Schedule& s, const Device& d);
bool by_chain(Schedule& s, const ChainTile& c, const Device& d);

}  // namespace burnish::cuda_target
