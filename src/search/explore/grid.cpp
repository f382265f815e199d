// All points in the order of the space, the last knob fastest: for spaces small enough to measure
// whole.
#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

class Grid final : public Explorer {
 public:
  Grid(std::shared_ptr<const Space> space, uint64_t seed)
      : Explorer("grid", std::move(space), seed) {}

 private:
  void choose(Batch& batch) override { add_in_order(batch); }
};

}  // namespace

std::unique_ptr<Tuner> make_grid(std::shared_ptr<const Space> space, uint64_t seed) {
  return std::make_unique<Grid>(std::move(space), seed);
}

}  // namespace burnish::search
