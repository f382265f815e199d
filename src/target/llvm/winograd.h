// Transformed reductions in one nest: a matrix product for every point of a transform, between a
// transform of its input and one of its result (Winograd convolution).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "target/llvm/draft.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

// The stages and what their axes are, found by who reads whom and how (winograd.cpp).
struct TransformedProduct {
  StageId out = 0, columns = 0, acc = 0, tiles = 0, rows = 0, weights = 0;
  int64_t m = 0;  // outputs of a tile along an axis
  std::vector<uint32_t>
      points;  // axes of acc: the transform's; move the weights as well as the tiles
  std::vector<uint32_t> batch;               // axes of acc outside the tiles' positions
  uint32_t ty = 0, tx = 0, c = 0;            // axes of acc: positions of tiles, output channels
  uint32_t out_y = 0, out_x = 0, out_c = 0;  // axes of out
  std::vector<uint32_t> out_batch;
  uint32_t columns_line = 0, columns_c = 0;          // axes of columns: outputs of a tile, channels
  uint32_t tiles_ty = 0, tiles_tx = 0, tiles_k = 0;  // axes of tiles
  uint32_t rows_x = 0, rows_k = 0;                   // axes of rows
};

std::optional<TransformedProduct> transformed_product(const StageGroup& g, StageId out);

struct WinogradChoice {
  int64_t strip = 1;    // rows of tiles whose transforms are alive at once
  int64_t columns = 4;  // tiles whose columns are transformed together
  TileChoice tile;      // of the product: rows, patch, vectors, unroll, share
  friend bool operator==(const WinogradChoice&, const WinogradChoice&) = default;
};

// The product's axes as a register tile's.
Roles product_roles(const TransformedProduct& p);

class WinogradDraft {
 public:
  WinogradDraft(const Schedule& inlined, const TransformedProduct& p, const Machine& m);
  Result<> fits(const WinogradChoice& c) const;
  // Microseconds of one run.
  double us(const WinogradChoice& c) const;

 private:
  double transforms(const WinogradChoice& c) const;

  Machine m_;
  TileDraft product_;
  bool shared_;
  int64_t points_, along_, tile_, rows_, columns_, batch_, depth_,
      channels_;                                // along_: points of one axis
  double input_, weights_, output_, epilogue_;  // bytes; operations of an element of the output
};

}  // namespace burnish::llvm_target
