// Private to the folder: chains of a pointwise expansion, a depthwise convolution and a pointwise projection.
#pragma once

#include <optional>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

// A sum of products with a constant, and what finishes it.
struct Link {
  Roles roles;
  StageId input = 0;    // of the product: what is not constant
  StageId weights = 0;  // the constant
  int64_t finish = 0;   // work on a sum (target/roles.h, cost)
};

// An expansion that is a convolution of few channels, as those of an image are (chain_first.cpp).
struct Window {
  struct Reach {
    int64_t row = 0, column = 0, terms = 0, channels = 0;
  };
  std::vector<Reach> reach;  // along each axis of the image: with a row and a column of the result, over all terms of a sum, with a channel
  uint32_t axis(int64_t Reach::*with) const;  // the first that moves so
  int64_t channels = 0;
  int64_t terms = 0;   // of a sum, filled up to whole steps
  int64_t filled = 0;  // of a sum by points, whose channels, and the filter's columns, are filled up to fours
  std::vector<int64_t> region(int64_t rows, int64_t columns) const;  // of the image
  int64_t values(int64_t rows, int64_t columns, bool by_points) const;  // there, with what fills up points
};

struct Chain {
  std::optional<Link> expand, project;
  std::optional<Window> first;  // what the expansion is, if it is no product of channels
  Link depthwise;
  int64_t input_channels = 0, expanded = 0, channels = 0;
  int64_t images = 1, height = 0, width = 0;  // of the output
  int64_t stride = 1, window = 1;  // of the depthwise convolution
  int64_t region(int64_t points) const { return (points - 1) * stride + window; }
};

// chain_links.cpp. What `out` is, or finishes.
std::optional<Link> product_of(const Schedule& s, StageId out, bool scaled = false);  // or of scaled data (is_scaled)
std::optional<Chain> chain_of(const Schedule& s);
// The same with rows as the only outer axis: that of more images is among the axes of one point, since a block has of one alone.
std::optional<Roles> of_images(std::optional<Roles> r);

// chain_banks.cpp. What brings vectors of `depth` / 4 elements of places `apart` times `size` from one another to different banks.
int64_t bank_padding(int64_t size, int64_t depth, DType t, int64_t apart = 1);
// Of what is expanded: elements between columns, and turns that the block's memory takes for a warp to store it and to read windows of it.
struct Banks {
  int64_t pad = 0;
  double store = 0, window = 0;
};
Banks banks_for(const Chain& chain, const ChainTile& c, DType type, int64_t project_depth);

// chain_cycles.cpp. What the tile's kernel takes on an H100, by estimate; infinite where it does not fit.
double chain_cycles(const Chain& chain, const ChainTile& c, const Device& d);
int64_t blocks_of(const Chain& chain, const ChainTile& c);

// chain.cpp
// Axes of one point, rows, columns: what stands before the channels.
Layout image_of(const Roles& r);
// The input of `reader`'s loop `at` in the block's memory: `down` rows of `across` columns of `size` channels, read in steps of `depth` by threads of
// neighbouring columns, or of rows so far apart, or by pieces. `only`: a stage that alone reads it there. False: it cannot be copied so.
bool cached(Schedule& t, const std::string& input, const std::string& only, const std::string& reader, const std::string& at, int64_t size,
            int64_t depth, std::optional<int64_t> apart, int64_t across, int64_t down, int64_t threads,
            Depths depths = Depths::Neighbours, std::optional<DType> as = {});

// chain_project.cpp
// Weights of a 1x1 product as instructions of warps with `columns` times 8 channels ask for them (matrix.cpp).
void in_fragments(Schedule& t, const Stage& acc, VarId channel, VarId depth_axis, int64_t columns, int64_t depth,
                  Depths order = Depths::Neighbours);
// The sum `acc` in so many parts, a stage of its own with one more axis, whose sums its reader, of roles `p`, adds up; its name.
std::string in_parts(Schedule& t, const std::string& acc, const Roles& p, int64_t splits);
struct Projection {
  std::string block;   // the loop of `out` over all blocks
  std::string reader;  // the stage that sums, and its loop over chunks of the expanded channels
  std::string chunk;
};
// The sum `acc`, which `out` finishes, or is.
Projection project(Schedule& t, const std::string& out, std::string acc, const Roles& p, const Chain& chain, const ChainTile& c,
                   const Device& d);

// chain_first.cpp
std::optional<Window> window_of(const Schedule& s, const Link& expand);
// An estimate of such a convolution by itself, as matrix_cycles; infinite where it is none.
double window_cycles(const Schedule& s, const Roles& r, const Device& d);
// Makes the sum `acc` one that `sum_window` lays out,
// for warps of so many columns of instructions along the axis `channel`.
void flatten_window(Schedule& t, const std::string& acc, VarId channel, int64_t columns, const Device& d);
void sum_window(Schedule& t, const std::string& acc, const WarpLoops& w, const Window& window, const Device& d);
// What `only`, the sum, reads of the image for the loop `at` of `reader`, in the block's memory.
void window_in_block(Schedule& t, const std::string& input, const std::string& only, const std::string& reader, const std::string& at,
                     const Chain& chain, int64_t rows, int64_t columns, const ChainTile& c, const Device& d);

// chain_registers.cpp. Of tiles with fewer groups than a warp has.
bool fits_registers(const Chain& chain, const ChainTile& c);
struct Expansion {  // what is stored, its sum, and what that reads; the sum's longest loop, in steps of `depth`, and columns of a warp's instructions
  std::string out, acc, input;
  Roles roles;
  std::string k;
  int64_t depth, columns;
  Depths depths;
};
// Where `at` reads it, for the blocks of `out`.
bool expand_in_registers(Schedule& t, const Chain& chain, const Expansion& e, const Projection& at, const std::string& out, const ChainTile& c, const Device& d);
std::vector<ChainTile> register_tiles(const Chain& chain, const Device& d);
double register_cycles(const Chain& chain, const ChainTile& c, const Device& d);

// chain_weights.cpp. Constants that `sum` reads, but for `left_out`, in the memory of the blocks that are the loop `at` of `reader`.
bool weights_in_block(Schedule& t, const std::string& sum, const std::string& reader, const std::string& at, const std::string& left_out,
                      int64_t threads);

// Number of the axis of `of` that the stage's axis or reduce axis `v` moves; with slope 1 alone.
std::optional<uint32_t> axis_moved(const Stage& s, StageId of, VarId v);

}  // namespace burnish::cuda_target
