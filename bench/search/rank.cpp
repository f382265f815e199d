#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "bench/search/commands.h"
#include "search/model/rank_quality.h"

namespace burnish::search {

namespace {

constexpr double noise = 0.02;       // pairs that are closer are not counted
constexpr size_t most_samples = 300; // of each landscape that a model learns from

// Every n-th point, so that parts of the space are equally present.
std::vector<Sample> samples_of(const Landscape& l, uint32_t group, size_t most) {
  std::vector<Sample> samples;
  const size_t step = std::max<size_t>(1, l.points.size() / most);
  size_t n = 0;
  for (const auto& [p, m] : l.points) {
    if (n++ % step == 0) samples.push_back({m.features, m.seconds, group});
  }
  return samples;
}

struct Row {
  double pairwise = 0, recall = 0, best_of_top = 0;
  void add(const RankQuality& q) {
    pairwise += q.pairwise;
    recall += q.recall;
    best_of_top += q.best_of_top;
  }
};

class Held {
 public:
  Held(const std::vector<Landscape>& all, size_t which) : l_(all[which]) {
    size_t n = 0;
    for (const auto& [p, m] : l_.points) {
      // Points with an even number teach where the task itself may be learned from, the odd ones are asked for.
      if (n++ % 2 == 0) continue;
      features_.push_back(m.features);
      seconds_.push_back(m.seconds);
      draft_.push_back(static_cast<float>(-m.draft_us));
    }
    for (size_t i = 0; i < all.size(); ++i) {
      if (i == which) continue;
      for (Sample& s : samples_of(all[i], static_cast<uint32_t>(i), most_samples)) others_.push_back(std::move(s));
    }
    n = 0;
    for (const auto& [p, m] : l_.points) {
      if (n++ % 2 == 0) own_.push_back({m.features, m.seconds, static_cast<uint32_t>(which)});
    }
  }

  RankQuality draft() const { return rank_quality(draft_, seconds_, 8, noise); }
  RankQuality learned(size_t own, bool transfer) const {
    auto model = make_xgboost(1);
    if (!model) fail_user("{}", model.reason());
    std::vector<Sample> few;
    const size_t step = own ? std::max<size_t>(1, own_.size() / own) : 1;
    for (size_t i = 0; i < own_.size() && few.size() < own; i += step) few.push_back(own_[i]);
    (*model)->train(transfer ? with_transfer(few, others_) : few);
    if (!(*model)->trained()) return {.pairwise = 0.5, .recall = 0, .best_of_top = 0};
    return rank_quality((*model)->predict(features_), seconds_, 8, noise);
  }

 private:
  const Landscape& l_;
  std::vector<Features> features_;
  std::vector<double> seconds_;
  std::vector<float> draft_;
  std::vector<Sample> others_, own_;
};

}  // namespace

std::string rank_table(const std::vector<Landscape>& all) {
  require(all.size() > 1, "a task is held out: give the landscapes of two tasks or more");
  std::string text = fmt::format("{} tasks, each held out in turn; half of its points are asked for\n{:<34}{:>12}{:>14}{:>16}\n",
                                 all.size(), "order by", "pairs right", "top-8 recall", "best / best of 8");
  const auto row = [&](const std::string& name, auto quality) {
    Row sum;
    for (size_t i = 0; i < all.size(); ++i) sum.add(quality(Held(all, i)));
    const auto n = static_cast<double>(all.size());
    text += fmt::format("{:<34}{:>12.3f}{:>14.3f}{:>16.3f}\n", name, sum.pairwise / n, sum.recall / n, sum.best_of_top / n);
  };
  row("draft", [](const Held& h) { return h.draft(); });
  row("XGBoost, other tasks only", [](const Held& h) { return h.learned(0, true); });
  for (size_t own : {16, 32, 64}) {
    row(fmt::format("XGBoost, {} own points", own), [&](const Held& h) { return h.learned(own, false); });
    row(fmt::format("XGBoost, {} own points and others", own), [&](const Held& h) { return h.learned(own, true); });
  }
  return text;
}

}  // namespace burnish::search
