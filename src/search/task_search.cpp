#include "search/task_search.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "search/model/remaining_gain.h"

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

uint64_t hash_seed(const std::string& hash) { return std::stoull(hash, nullptr, 16); }

}  // namespace

double seconds_of(const Outcome& o) { return o.status == Status::Ok ? o.timing.median : infinity; }

TaskSearch::TaskSearch(const Task& task, const Target& target, uint32_t group, const SearchOptions& o)
    : candidates(task, target.machine()), group_(group) {
  state.task = &task;
  state.progress.weight = task.weight;
  state.progress.points = task.space ? size_of(*task.space) : 0;
  if (task.space) {
    tuner = make_tuner(o.tuner, task.space, o.seed ^ hash_seed(task.hash));
    state_key = fmt::format("{}|{}|{}|{}", task.hash, target.text(), o.tuner, o.seed);
  } else {
    exhaust("there is one schedule");
  }
}

void TaskSearch::exhaust(std::string why) {
  state.progress.exhausted = true;
  state.stopped = std::move(why);
}

void TaskSearch::learn(const Trial& t, const std::string& knobs, const Features& features) {
  if (!features.empty()) {
    samples.push_back({features, seconds_of(t), group_});
  }
  if (t.status != Status::Ok) {
    ++state.failed;
    return;
  }
  auto& times = measured[t.trace];
  times.seconds.push_back(t.timing.median);
  times.knobs = knobs;
  if (state.best_trace.empty() || t.timing.median < state.progress.best_seconds) {
    state.progress.best_seconds = t.timing.median;
    state.best_knobs = knobs;
    state.best_trace = t.trace;
  }
}

void TaskSearch::recall(const Record& r, const Machine& m) {
  Trial trial = r.trial;
  Features features;
  if (task().space) {
    if (const auto p = parse_point(*task().space, r.knobs)) {
      const auto& entry = candidates.at(*p);
      if (entry.trace == trial.trace) {  // else the space has changed its meaning since
        trial.point = *p;
        features = entry.features;
        tuner->tell({&trial, 1});
      }
    }
  }
  if (features.empty()) {
    auto f = features_of_trace(task().group, trial.trace, m, default_draft());
    if (!f) return;
    features = std::move(*f);
  }
  learn(trial, r.knobs, features);
}

Oracle TaskSearch::oracle(const CostModel* learned) {
  Oracle o;
  o.space = task().space.get();
  o.legal = [this](const Point& p) { return !candidates.at(p).trace.empty(); };
  o.score = [this, learned](std::span<const Point> points) {
    std::vector<double> scores(points.size(), -infinity);
    if (!learned) {
      for (size_t i = 0; i < points.size(); ++i) scores[i] = -candidates.draft_us(points[i]);
      return scores;
    }
    candidates.prepare(points);
    std::vector<Features> features;
    std::vector<size_t> legal;
    for (size_t i = 0; i < points.size(); ++i) {
      const auto& entry = candidates.at(points[i]);
      if (entry.trace.empty()) continue;
      features.push_back(entry.features);
      legal.push_back(i);
    }
    const std::vector<float> predicted = learned->predict(features);
    for (size_t i = 0; i < legal.size(); ++i) scores[legal[i]] = predicted[i];
    return scores;
  };
  return o;
}

double TaskSearch::predicted_gain(const CostModel& learned) const {
  std::vector<Features> known, unknown;
  std::vector<double> seconds;
  for (const Sample& s : samples) {
    if (!std::isfinite(s.seconds)) continue;
    known.push_back(s.features);
    seconds.push_back(s.seconds);
  }
  candidates.each([&](const Candidates::Entry& e) {
    if (!e.trace.empty() && !measured.contains(e.trace)) unknown.push_back(e.features);
  });
  if (known.size() < 2 || unknown.empty()) return 0;
  return remaining_gain(learned.predict(known), seconds, learned.predict(unknown));
}

}  // namespace burnish::search
