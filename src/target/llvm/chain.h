// Chains of reductions in one nest: what may be chosen, and an estimate.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "target/llvm/draft.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {

// Order of a link's loops outside its tile.
enum ChainOrder : int64_t { kRowsPanelsTiles, kPanelsRowsTiles, kRowsTilesPanels };

// Bytes of a point: no prefetcher follows lines of memory that lie so far apart.
constexpr int64_t far_apart = 1024;

// Columns of a stretch: two tiles of each link, beside which what is computed twice counts little.
constexpr int64_t shortest_stretch = 28;

struct ChainChoice {
  int64_t step = 1;                // rows of the output that are computed together
  int64_t strips = 1;              // of rows, a thread
  int64_t stretches = 1;           // of columns, one after the other in each strip: rings hold the rows of one
  std::vector<TileChoice> tiles;   // of every link
  std::vector<int64_t> orders;
  friend bool operator==(const ChainChoice&, const ChainChoice&) = default;
};

// Strips of an image: all images' together are at least `strips` a thread.
int64_t strips_of(const ChainChoice& c, int64_t images, const Machine& m);

// Columns of the output in a stretch; 0: all of them.
int64_t stretch_of(const ChainChoice& c, int64_t width);

struct Link {
  Roles roles;                // of one image
  std::optional<uint32_t> image;  // the axis along which several are computed, each for itself
  bool window = false;        // its consumer reads more than one of its rows for a row of its own
  int64_t overlap = 0;        // rows that the consumer reads again for its next row
  int64_t stride = 1;         // rows of it for one of the consumer's
};

class ChainDraft {
 public:
  ChainDraft(const Schedule& inlined, const std::vector<Link>& links, const Machine& m);
  Result<> fits(const ChainChoice& c) const;
  double us(const ChainChoice& c) const;

 private:
  struct Part {
    std::unique_ptr<const TileDraft> tile;
    int64_t height, width, channels, unrolled;
    double weights, row;      // bytes of its constants, of a row of its values
    int64_t overlap, stride, window;
    bool depthwise;
  };
  Machine m_;
  std::vector<Part> parts_;
  int64_t images_ = 1;
  double input_ = 0, output_ = 0;  // bytes of all images
};

}  // namespace burnish::llvm_target
