// Which thread touches what. Threads take the same share of the iterations of every parallel loop
// that has as many: what iteration p of one leaves, iteration p of the next finds on its own
// thread.
#pragma once

#include <memory>

#include "loop/program.h"

namespace burnish {

namespace loop {
struct SharedLoop;
}

// The iterations of a function that is one parallel loop; of other functions nothing is known.
class Shares {
 public:
  explicit Shares(const Function& f);

  // Whether whatever different iterations of this function and of `next` touch in the parameters
  // `own` and `other`, given the same memory, lies apart. Reads beside reads do not count.
  bool apart(BufferId own, const Shares& next, BufferId other) const;

 private:
  std::shared_ptr<const loop::SharedLoop> loop_;
};

}  // namespace burnish
