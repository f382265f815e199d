// The explorers "xgb" and "anneal": measure what a model holds for fast, and learn from that. They
// differ in who scores: the learned model, where a score costs a lowering, or the draft, where it
// costs microseconds. What an ask holds:
//   - the best of the space by score, chosen with diversity (add_diverse). Small spaces are drafted
//   whole, and the best
//     drafted points are scored with a sample of the others; in large ones both draft and model are
//     annealed;
//   - one-knob neighbours of the fastest points measured, the best scored first: coordinate
//   descent. Two fifths of
//     the batch, and three quarters when the best time no longer falls;
//   - a share of random points, which tell the model about places that it shuns.
// The first ask: the default point, the best by draft and by score (a model may know other tasks),
// random points.
#include <algorithm>
#include <limits>

#include "search/explore/anneal.h"
#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double random_share = 0.12, first_random_share = 0.2;
constexpr double near_share = 0.4, dry_near_share = 0.75;
constexpr uint64_t dry_outcomes =
    16;  // this many without progress, or two batches: the search is dry
constexpr uint64_t small_space = 65536;   // so many points are drafted once for all
constexpr size_t drafted_points = 16384;  // of a larger space, about, when the draft alone decides
constexpr size_t guiding_points = 4096;   // the same, when the draft only says where to start
constexpr size_t scored_points = 768;     // by the learned model in an ask, about
constexpr size_t chains = 128, most_elites = 16;
constexpr size_t centres = 8;  // points whose neighbours are taken
constexpr double diversity =
    0.5;  // worth of a point whose every value is new to the batch, in ranks of the pool

class ModelGuided final : public Explorer {
 public:
  ModelGuided(std::string_view kind, std::shared_ptr<const Space> space, uint64_t seed,
              size_t most_scored)
      : Explorer(kind, std::move(space), seed), most_scored_(most_scored) {}

 private:
  void choose(Batch& batch) override {
    if (batches_ == 0) return choose_first(batch);
    const size_t n = batch.wanted();
    const size_t modelled = n - rng_.round(random_share * static_cast<double>(n));
    const bool dry = dry_ >= std::max<uint64_t>(dry_outcomes, 2 * n);
    const size_t near =
        rng_.round((dry ? dry_near_share : near_share) * static_cast<double>(modelled));
    std::vector<uint64_t> pool = best_scored(batch);
    add_diverse(batch, pool, modelled - near);
    add_neighbours(batch, modelled);
    add_diverse(batch, pool, modelled);
    add_random(batch, n);
    add_diverse(batch, pool, n);
  }

  void choose_first(Batch& batch) {
    if (const auto start = lattice_.number(space_->default_point())) batch.add(*start);
    const size_t n = batch.wanted();
    const size_t modelled = n - static_cast<size_t>(first_random_share * static_cast<double>(n));
    std::vector<uint64_t> drafted = best_drafted(drafted_points), scored = best_scored(batch);
    add_diverse(batch, drafted, (modelled + 1) / 2);
    add_diverse(batch, scored, modelled);
    add_random(batch, n);
    add_diverse(batch, scored, n);
  }

  // Unknown points, the best first. Trees score many points alike: the draft decides between those.
  std::vector<uint64_t> ranked(const std::vector<Scored>& met) const {
    struct Row {
      uint64_t point;
      double score, draft;
    };
    std::vector<Row> rows;
    for (const Scored& s : met) {
      if (s.score > -infinity && !known(s.point))
        rows.push_back({s.point, s.score, drafted_us(s.point)});
    }
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      if (a.score != b.score) return a.score > b.score;
      return a.draft != b.draft ? a.draft < b.draft : a.point < b.point;
    });
    std::vector<uint64_t> points;
    for (const Row& r : rows) points.push_back(r.point);
    return points;
  }

  // Every legal point with its negative draft, the best first: of small spaces only.
  const std::vector<Scored>& all_drafted() {
    if (drafted_.empty()) {
      for (uint64_t p = 0; p < lattice_.count(); ++p) {
        const double us = draft_us(p);
        if (us == infinity) continue;
        drafted_.push_back({p, -us});
        us_.emplace(p, us);
      }
      std::stable_sort(drafted_.begin(), drafted_.end(),
                       [](const Scored& a, const Scored& b) { return a.score > b.score; });
    }
    return drafted_;
  }

  double drafted_us(uint64_t point) const {
    if (drafted_.empty()) return draft_us(point);
    const auto at = us_.find(point);
    return at == us_.end() ? infinity : at->second;
  }

  // Three quarters of what may be scored are the best by draft, the others are spread evenly over
  // the rest.
  std::vector<uint64_t> shortlist() {
    std::vector<uint64_t> points;
    for (const Scored& s : all_drafted()) {
      if (!known(s.point)) points.push_back(s.point);
    }
    if (points.size() <= most_scored_) return points;
    const size_t first = most_scored_ * 3 / 4, others = most_scored_ - first,
                 rest = points.size() - first;
    for (size_t i = 0; i < others; ++i) points[first + i] = points[first + i * rest / others];
    points.resize(most_scored_);
    return points;
  }

  // The fastest measured points, then `more`, then random ones: where chains start.
  std::vector<uint64_t> starts(std::span<const uint64_t> more) {
    std::vector<uint64_t> points;
    for (const Told& o : fastest(most_elites)) points.push_back(o.point);
    points.insert(points.end(), more.begin(), more.end());
    while (points.size() < chains) {
      uint64_t p = rng_.below(lattice_.count());
      for (int tries = 0; tries < 16 && draft_us(p) == infinity; ++tries)
        p = rng_.below(lattice_.count());
      points.push_back(p);
    }
    return points;
  }

  std::vector<uint64_t> best_drafted(size_t budget) {
    if (lattice_.count() <= small_space) return ranked(all_drafted());
    const Scores scores = [this](const std::vector<uint64_t>& points) {
      std::vector<double> found;
      for (const uint64_t p : points) found.push_back(-draft_us(p));
      return found;
    };
    return ranked(anneal(lattice_, rng_, starts({}), budget, scores));
  }

  std::vector<uint64_t> best_scored(const Batch& batch) {
    const Scores scores = [&](const std::vector<uint64_t>& points) { return batch.score(points); };
    if (lattice_.count() <= small_space) {
      const std::vector<uint64_t> points = shortlist();
      const std::vector<double> found = scores(points);
      std::vector<Scored> all;
      for (size_t i = 0; i < points.size(); ++i) all.push_back({points[i], found[i]});
      return ranked(all);
    }
    std::vector<uint64_t> more;
    if (most_scored_ < drafted_points) more = best_drafted(guiding_points);
    if (more.size() > chains / 2) more.resize(chains / 2);
    return ranked(anneal(lattice_, rng_, starts(more), most_scored_, scores));
  }

  // Adds points of a ranked pool until the batch has `upto`: greedily that of the highest worth,
  // which is 1 for the best and falls to 0 along a window of four times what is wanted, plus
  // `diversity` times the share of its knobs whose value no point of the batch has yet. (AutoTVM's
  // submodular choice, with ranks for scores, whose scale differs from model to model.)
  void add_diverse(Batch& batch, std::vector<uint64_t>& pool, size_t upto) {
    upto = std::min(upto, batch.wanted());
    if (batch.points().size() >= upto) return;
    const size_t window = std::max<size_t>(4 * (upto - batch.points().size()), 16);
    std::vector<std::vector<bool>> covered(lattice_.knobs());
    for (const size_t knob : lattice_.choices()) covered[knob].resize(lattice_.values(knob));
    const auto cover = [&](uint64_t point) {
      for (const size_t knob : lattice_.choices())
        covered[knob][lattice_.value(point, knob)] = true;
    };
    for (const uint64_t p : batch.points()) cover(p);
    const auto worth = [&](size_t rank) {
      size_t fresh = 0;
      for (const size_t knob : lattice_.choices())
        fresh += covered[knob][lattice_.value(pool[rank], knob)] ? 0 : 1;
      const double share = static_cast<double>(fresh) /
                           static_cast<double>(std::max<size_t>(1, lattice_.choices().size()));
      return 1 - static_cast<double>(rank) / static_cast<double>(window) + diversity * share;
    };
    while (batch.points().size() < upto && !batch.full() && !pool.empty()) {
      size_t best = 0;
      for (size_t rank = 1; rank < std::min(window, pool.size()); ++rank) {
        if (worth(rank) > worth(best)) best = rank;
      }
      if (batch.add(pool[best])) cover(pool[best]);
      pool.erase(pool.begin() + static_cast<ptrdiff_t>(best));
    }
  }

  void add_neighbours(Batch& batch, size_t upto) {
    for (const Told& centre : fastest(centres)) {
      if (batch.points().size() >= upto) return;
      std::vector<uint64_t> around;
      for (const size_t knob : lattice_.choices()) {
        for (uint64_t v = 0; v < lattice_.values(knob); ++v) {
          const uint64_t p = lattice_.with(centre.point, knob, v);
          if (!known(p) && drafted_us(p) < infinity) around.push_back(p);
        }
      }
      const std::vector<double> scores = batch.score(around);
      std::vector<Scored> met;
      for (size_t i = 0; i < around.size(); ++i) met.push_back({around[i], scores[i]});
      for (const uint64_t p : ranked(met)) {
        if (batch.points().size() >= upto || batch.full()) return;
        batch.add(p);
      }
    }
  }

  const size_t most_scored_;  // by an ask, about
  // Of small spaces; found again from the space, so no part of the state.
  std::vector<Scored> drafted_;
  std::unordered_map<uint64_t, double> us_;
};

}  // namespace

std::unique_ptr<Tuner> make_xgb(std::shared_ptr<const Space> space, uint64_t seed) {
  return std::make_unique<ModelGuided>("xgb", std::move(space), seed, scored_points);
}

std::unique_ptr<Tuner> make_anneal(std::shared_ptr<const Space> space, uint64_t seed) {
  return std::make_unique<ModelGuided>("anneal", std::move(space), seed, drafted_points);
}

}  // namespace burnish::search
