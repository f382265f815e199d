// A genetic search in a steady state: parents are drawn by tournament from the points measured last
// and the best ever measured (the elites, which therefore survive), children take each knob from
// either parent and mutate.
#include <algorithm>

#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

constexpr size_t first_population = 24;  // at random, before there are parents
constexpr size_t recent = 48, elites = 8;
constexpr uint64_t tournament = 3;
constexpr double mutation = 0.1;  // of a knob
constexpr size_t tries_a_child = 64;

class Genetic final : public Explorer {
 public:
  Genetic(std::shared_ptr<const Space> space, uint64_t seed)
      : Explorer("genetic", std::move(space), seed) {}

 private:
  void choose(Batch& batch) override {
    if (batches_ == 0) {
      if (const auto start = lattice_.number(space_->default_point())) batch.add(*start);
    }
    const std::vector<Told> population = parents();
    if (told_.size() >= first_population && population.size() >= 2) {
      for (size_t tries = tries_a_child * batch.wanted(); tries > 0 && !batch.full(); --tries) {
        batch.add(child(population));
      }
    }
    add_random(batch, batch.wanted());
  }

  std::vector<Told> parents() const {
    std::vector<Told> population = fastest(elites);
    for (size_t i = told_.size(); i-- > 0 && population.size() < recent + elites;) {
      if (told_[i].kind == Told::Kind::Ok) population.push_back(told_[i]);
    }
    return population;
  }

  const Told& winner(const std::vector<Told>& population) {
    const Told* best = &population[rng_.below(population.size())];
    for (uint64_t i = 1; i < tournament; ++i) {
      const Told& other = population[rng_.below(population.size())];
      if (other.seconds < best->seconds) best = &other;
    }
    return *best;
  }

  uint64_t child(const std::vector<Told>& population) {
    const uint64_t a = winner(population).point, b = winner(population).point;
    uint64_t c = a;
    for (const size_t knob : lattice_.choices()) {
      if (rng_.chance(0.5)) c = lattice_.with(c, knob, lattice_.value(b, knob));
      if (rng_.chance(mutation)) c = lattice_.with(c, knob, rng_.below(lattice_.values(knob)));
    }
    return c;
  }
};

}  // namespace

std::unique_ptr<Tuner> make_genetic(std::shared_ptr<const Space> space, uint64_t seed) {
  return std::make_unique<Genetic>(std::move(space), seed);
}

}  // namespace burnish::search
