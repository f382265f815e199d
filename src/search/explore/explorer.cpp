#include "search/explore/explorer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
// A best time that falls by less is not counted as progress: timings repeat to about half a
// percent.
constexpr double noise = 0.005;

}  // namespace

Explorer::Explorer(std::string_view kind, std::shared_ptr<const Space> space, uint64_t seed)
    : space_(std::move(space)), lattice_(*space_), rng_(mix(seed)), kind_(kind), seed_(seed),
      shuffle_(lattice_.count(), seed) {}

std::vector<Point> Explorer::ask(size_t n, const Oracle& oracle) {
  if (n == 0 || lattice_.count() == 0) return {};
  n = static_cast<size_t>(std::min<uint64_t>(n, lattice_.count()));
  Batch batch(*this, oracle, n);
  choose(batch);
  ++batches_;
  std::vector<Point> points;
  for (const uint64_t p : batch.points()) points.push_back(lattice_.point(p));
  return points;
}

bool Explorer::Batch::add(uint64_t point) {
  if (full()) return false;
  --looks_;
  if (e_.known(point) || e_.draft_us(point) == infinity) return false;
  if (oracle_.legal && (e_.illegal_.contains(point) || !oracle_.legal(e_.lattice_.point(point)))) {
    --refusals_;
    e_.illegal_.insert(point);
    return false;
  }
  e_.asked_.insert(point);
  points_.push_back(point);
  return true;
}

std::vector<double> Explorer::Batch::score(const std::vector<uint64_t>& points) const {
  std::vector<double> scores;
  if (oracle_.score) {
    std::vector<Point> wanted;
    wanted.reserve(points.size());
    for (const uint64_t p : points) wanted.push_back(e_.lattice_.point(p));
    if (!wanted.empty()) scores = oracle_.score(wanted);
    check(scores.size() == points.size(), "{} scores of {} points", scores.size(), points.size());
  } else {
    for (const uint64_t p : points) scores.push_back(-e_.draft_us(p));
  }
  for (double& s : scores) {
    if (!(s < infinity)) s = -infinity;  // NaN, too
  }
  return scores;
}

void Explorer::add_random(Batch& batch, size_t upto) {
  upto = std::min(upto, batch.wanted());
  while (batch.points().size() < upto && !batch.full() && cursor_ < lattice_.count()) {
    batch.add(shuffle_.at(cursor_++));
  }
}

void Explorer::add_in_order(Batch& batch) {
  while (!batch.full() && cursor_ < lattice_.count()) batch.add(cursor_++);
}

double Explorer::draft_us(uint64_t point) const {
  const double us = space_->draft_us(lattice_.point(point));
  return us < infinity ? us : infinity;
}

std::vector<Told> Explorer::fastest(size_t n) const {
  std::vector<Told> ok;
  for (const Told& o : told_) {
    if (o.kind == Told::Kind::Ok) ok.push_back(o);
  }
  std::stable_sort(ok.begin(), ok.end(),
                   [](const Told& a, const Told& b) { return a.seconds < b.seconds; });
  if (ok.size() > n) ok.resize(n);
  return ok;
}

void Explorer::tell(std::span<const Trial> trials) {
  for (const Trial& t : trials) {
    const std::optional<uint64_t> point = lattice_.number(t.point);
    // Records of other spaces and imported ones have no point here. What was lost says nothing of
    // the point.
    if (!point || t.status == Status::Lost) continue;
    const double seconds = t.timing.median;
    if (t.status == Status::Ok && seconds > 0 && seconds < infinity) {
      note(*point, Told::Kind::Ok, seconds);
    } else {
      note(*point, t.status == Status::Wrong ? Told::Kind::Wrong : Told::Kind::Failed, 0);
    }
  }
}

// Of several outcomes of a point a wrong answer stands for ever, a time replaces a failure, and a
// later time an earlier.
void Explorer::note(uint64_t point, Told::Kind kind, double seconds) {
  asked_.erase(point);
  const auto [at, fresh] = where_.try_emplace(point, told_.size());
  if (fresh) {
    told_.push_back({point, kind, seconds});
  } else {
    Told& o = told_[at->second];
    if (o.kind == Told::Kind::Wrong || (kind == Told::Kind::Failed && o.kind == Told::Kind::Ok))
      return;
    const bool was_best = o.seconds == best_;
    o = {point, kind, seconds};
    if (was_best) {
      best_ = 0;
      for (const Told& other : told_) {
        if (other.kind == Told::Kind::Ok && (best_ == 0 || other.seconds < best_))
          best_ = other.seconds;
      }
    }
  }
  ++dry_;
  if (kind == Told::Kind::Ok && (best_ == 0 || seconds < best_)) {
    if (best_ == 0 || seconds < best_ * (1 - noise)) dry_ = 0;
    best_ = seconds;
  }
}

}  // namespace burnish::search
