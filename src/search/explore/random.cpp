// Points at random, none twice: what the other explorers have to beat.
#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

class Random final : public Explorer {
 public:
  Random(std::shared_ptr<const Space> space, uint64_t seed)
      : Explorer("random", std::move(space), seed) {}

 private:
  void choose(Batch& batch) override { add_random(batch, batch.wanted()); }
};

}  // namespace

std::unique_ptr<Tuner> make_random(std::shared_ptr<const Space> space, uint64_t seed) {
  return std::make_unique<Random>(std::move(space), seed);
}

}  // namespace burnish::search
