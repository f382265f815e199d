// Bytes: what accesses touch at every loop, what is still in a cache when it is needed again, and
// how many instructions fetch it.
//
// The model: an access touches a box of its strides; boxes of one buffer are taken as one, the
// largest. A loop whose one iteration fits a cache fetches every line once, whatever its iterations
// share; a loop whose iteration does not fit fetches what its inner loops fetch, every time.
// Parallel loops count with the iterations of the busiest thread.
#pragma once

#include <cstdint>
#include <vector>

#include "search/model/loop_tree.h"
#include "target/target.h"

namespace burnish::search {

enum class Lanes : uint8_t { Scalar, Contiguous, Broadcast, Strided };

// What is known of an access besides its place.
struct AccessUse {
  Lanes lanes = Lanes::Scalar;
  double executions = 0;  // scalar, of the busiest thread
  double instructions =
      0;  // of the busiest thread: copies that unrolling makes equal count once, invariants outside
  double per_tile =
      0;  // instructions of one tile: the unrolled and vectorized loops around the statement
  double tile_elements = 0;  // different elements in a tile
  bool aligned = true;       // lanes begin at multiples of their number
  int reused_at = -1;        // innermost loop outside the tile that does not move it; -1: none
  int reused_outside = -1;   // outermost such loop
};

// The nest around one statement.
struct SiteUse {
  double executions = 0;  // of the busiest thread
  double instructions =
      1;  // of one operation, per execution: 1 / lanes, more when lanes exceed a register
  double lanes = 1;        // iterations of the vector loop
  double unrolled = 1;     // product of unrolled loops in the tile
  std::vector<int> stack;  // loops, innermost first, without the root
  int tile = 0;            // so many of them make the tile
};

class Reuse {
 public:
  Reuse(const LoopTree& t, const Machine& m);

  double share(int loop) const {
    return share_[static_cast<size_t>(loop)];
  }  // of its work that the busiest thread has
  double trip(int loop) const { return trip_[static_cast<size_t>(loop)]; }  // of the busiest thread
  // Bytes (of whole lines) of all buffers, of the busiest thread: in one iteration and in all of a
  // loop.
  double iteration_bytes(int loop) const { return iteration_sum_[static_cast<size_t>(loop)]; }
  double loop_bytes(int loop) const { return whole_sum_[static_cast<size_t>(loop)]; }
  double iteration_bytes(int loop, BufferId b) const { return iteration_[cell(loop, b)]; }
  double loop_bytes(int loop, BufferId b) const { return whole_[cell(loop, b)]; }
  // Different elements of a buffer that the busiest thread touches in all.
  double elements(BufferId b) const { return elements_[b]; }

  // Bytes that come from beyond a cache of this size, of the busiest thread.
  double traffic(double cache_bytes) const;
  double traffic(double cache_bytes, BufferId b) const;

  const std::vector<AccessUse>& accesses() const { return access_use_; }
  const std::vector<SiteUse>& sites() const { return site_use_; }

 private:
  size_t cell(int loop, BufferId b) const { return static_cast<size_t>(loop) * buffers_ + b; }
  void use_sites();
  void use_access(size_t a);
  template <class Bytes> double fetched(double cache_bytes, Bytes&& bytes) const;

  const LoopTree& tree_;
  const Machine& machine_;
  size_t buffers_;
  std::vector<double> share_, trip_, iteration_, whole_, iteration_sum_, whole_sum_, elements_;
  std::vector<AccessUse> access_use_;
  std::vector<SiteUse> site_use_;
};

}  // namespace burnish::search
