// What all explorers share: which points were asked for, what is known of those that were measured,
// drawing points at random, and the whole of this as text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "search/explore/lattice.h"
#include "search/explore/rng.h"
#include "search/explore/shuffle.h"
#include "search/tuner.h"

namespace burnish::search {

// What an explorer was told of a point.
struct Told {
  enum class Kind : uint8_t { Ok, Failed, Wrong };
  uint64_t point;
  Kind kind;
  double seconds;  // 0 unless Ok
};

class Explorer : public Tuner {
 public:
  Explorer(std::string_view kind, std::shared_ptr<const Space> space, uint64_t seed);

  std::string_view name() const final { return kind_; }
  std::vector<Point> ask(size_t n, const Oracle& oracle) final;
  void tell(std::span<const Trial> trials) final;
  std::string state() const final;
  void restore(std::string_view state) final;

 protected:
  // The answer to one ask while it grows. What an ask may look at is limited, so that a huge space
  // without legal points ends a search instead of hanging it.
  class Batch {
   public:
    Batch(Explorer& e, const Oracle& oracle, size_t wanted)
        : e_(e), oracle_(oracle), wanted_(wanted) {}
    size_t wanted() const { return wanted_; }
    bool full() const { return points_.size() >= wanted_ || looks_ == 0 || refusals_ == 0; }
    // Takes a point unless it is known, already in, or illegal.
    bool add(uint64_t point);
    const std::vector<uint64_t>& points() const { return points_; }
    // The oracle's scores; -infinity for illegal points.
    std::vector<double> score(const std::vector<uint64_t>& points) const;

   private:
    Explorer& e_;
    const Oracle& oracle_;
    size_t wanted_;
    int64_t looks_ = int64_t{1} << 17, refusals_ = int64_t{1} << 12;
    std::vector<uint64_t> points_;
  };

  // Fills the batch with points that were neither asked for nor told, the most promising first.
  virtual void choose(Batch& batch) = 0;

  // Adds points at random, each with the same chance, until the batch has `upto` points.
  void add_random(Batch& batch, size_t upto);
  // Grid: the same in the order of the space.
  void add_in_order(Batch& batch);

  bool known(uint64_t point) const { return where_.contains(point) || asked_.contains(point); }
  double draft_us(uint64_t point) const;  // infinite: illegal
  std::vector<Told>
  fastest(size_t n) const;  // Ok only, the fastest first; of equal ones the first told

  const std::shared_ptr<const Space> space_;
  const Lattice lattice_;
  Rng rng_;
  uint64_t batches_ = 0;       // asks that were answered
  uint64_t dry_ = 0;           // outcomes told since the best time last fell by more than noise
  std::vector<Told> told_;  // in the order in which points were first told

 private:
  void note(uint64_t point, Told::Kind kind, double seconds);

  const std::string_view kind_;
  uint64_t seed_;
  Shuffle shuffle_;
  uint64_t cursor_ = 0;                         // what is next of the shuffle, or of the grid
  double best_ = 0;                             // 0: none
  std::unordered_map<uint64_t, size_t> where_;  // of told_
  std::unordered_set<uint64_t> asked_;          // and not told
  std::unordered_set<uint64_t> illegal_;        // saves asking again; not part of the state
};

std::unique_ptr<Tuner> make_grid(std::shared_ptr<const Space> space, uint64_t seed);
std::unique_ptr<Tuner> make_random(std::shared_ptr<const Space> space, uint64_t seed);
std::unique_ptr<Tuner> make_genetic(std::shared_ptr<const Space> space, uint64_t seed);
std::unique_ptr<Tuner> make_anneal(std::shared_ptr<const Space> space, uint64_t seed);
std::unique_ptr<Tuner> make_xgb(std::shared_ptr<const Space> space, uint64_t seed);

}  // namespace burnish::search
