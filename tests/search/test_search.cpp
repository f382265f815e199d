// The search as a whole, with kernels whose times are made up: what it finds, records, repeats and survives.
#include "search/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/temporary_folder.h"
#include "search/tuner.h"

namespace burnish::search {
namespace {

const char* const matmul_text = R"(
group matmul {
  input a: f32[i:96, k:64]
  input b: f32[k:64, j:96]
  compute c: f32[i:96, j:96] sum[k:64]
  inputs a, b
  outputs c
  c {
    body a[i, k] * b[k, j]
  }
}
)";

// split(i), split(j), unroll or not: 6 * 6 * 2 points, of which some are refused.
class SplitSpace final : public Space {
 public:
  explicit SplitSpace(StageGroup g) : group_(std::move(g)) {}
  const std::vector<Knob>& knobs() const override { return knobs_; }
  Point default_point() const override { return {0, 0, 0}; }
  double draft_us(const Point& p) const override { return 100.0 / (1 + p[0]); }
  Result<Schedule> schedule(const Point& p) const override {
    const int64_t rows = knobs_[0].values.at(p[0]), columns = knobs_[1].values.at(p[1]);
    if (rows * columns > 256) return refuse("a tile of {}x{} is too large", rows, columns);
    Schedule s(group_);
    const auto [i, in_i] = s.split("c", "i", rows);
    const auto [j, in_j] = s.split("c", "j", columns);
    s.reorder("c", {i, j, "k", in_i, in_j});
    if (p[2] == 1) s.unroll("c", in_i);
    if (s.failure()) return *s.failure();
    return s;
  }

 private:
  StageGroup group_;
  std::vector<Knob> knobs_ = {{"rows", {1, 2, 4, 8, 16, 32}}, {"columns", {1, 2, 4, 8, 16, 32}}, {"unroll", {0, 1}}};
};

class FakeTarget final : public BasicTarget {
 public:
  std::string text() const override { return "fake:threads=1"; }
  const Machine& machine() const override { return machine_; }
  Schedule default_schedule(const StageGroup& g) const override { return Schedule(g); }
  std::string emit(const Program&, EmitKind) const override { return ""; }
  std::string build(const Program&, const std::string&) const override { return ""; }
  MemoryNeeds memory(const Program&) const override { return {}; }
  std::vector<std::string> required_features() const override { return {}; }

 private:
  Machine machine_;
};

Task matmul_task(double weight = 1, const std::string& depth = "64") {
  Task t;
  t.name = "matmul";
  std::string text = matmul_text;
  for (size_t at = 0; (at = text.find("64", at)) != text.npos; at += depth.size()) text.replace(at, 2, depth);
  t.group = parse_stages(text);
  t.workload = to_text(t.group);
  t.hash = hash_text(t.workload);
  t.weight = weight;
  t.space = std::make_shared<SplitSpace>(t.group);
  return t;
}

// A time for every trace; what the traces in `broken` do is said by their status.
class FakeMeasurer final : public Measurer {
 public:
  static double seconds(const Task& task, const std::string& trace) {
    for (int64_t n = 0; task.space && n < size_of(*task.space); ++n) {
      const Point p = point_at(*task.space, n);
      const auto s = task.space->schedule(p);
      if (s && s->to_text() == trace) {
        return 1e-3 * (1 + std::abs(p[0] - 2.0) + 0.5 * std::abs(p[1] - 3.0) + (p[2] ? 0 : 0.7));
      }
    }
    return 9e-3;  // the default schedule
  }

  std::vector<Outcome> measure(std::span<const Candidate> candidates) override {
    rounds.emplace_back();
    for (const Candidate& c : candidates) ++rounds.back()[c.task];
    std::vector<Outcome> all;
    for (const Candidate& c : candidates) {
      ++measured;
      traces.push_back(c.trace);
      if (c.check) proved.insert(c.trace);
      if (broken && broken(c)) {
        all.push_back({.status = broken(c) == 1 ? Status::Crashed : Status::Wrong, .message = "made up"});
        continue;
      }
      const double t = seconds(*c.task, c.trace) * (scale ? scale(c) : 1);
      all.push_back({.status = Status::Ok, .timing = {t, t / 100, t, 5}, .checked = checks && (c.check || t < c.check_below)});
    }
    return all;
  }

  int measured = 0;
  std::vector<std::map<const Task*, int>> rounds;  // candidates by task
  bool checks = true;
  std::vector<std::string> traces;
  std::set<std::string> proved;  // those whose answers were asked to be checked
  std::function<int(const Candidate&)> broken;
  std::function<double(const Candidate&)> scale;  // of the time that is measured
};

SearchOptions options(const std::string& tuner = "random", int64_t trials = 40) {
  SearchOptions o;
  o.seconds = 1e9;
  o.trials = trials;
  o.tuner = tuner;
  o.seed = 7;
  o.batch = 8;
  o.compiler = "burnish test";
  o.machine = "made up";
  return o;
}

TEST(Search, FindsTheBestPointOfASmallSpace) {
  const std::vector<Task> tasks = {matmul_task()};
  for (const auto tuner : tuner_names()) {
    if (tuner == "xgb") continue;
    FakeMeasurer m;
    const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options(std::string(tuner), 1000));
    ASSERT_FALSE(r.finalists[0].empty()) << tuner;
    EXPECT_DOUBLE_EQ(r.finalists[0][0].seconds, 1e-3) << tuner;
    EXPECT_EQ(r.finalists[0][0].knobs, "rows=4 columns=8 unroll=1") << tuner;
    EXPECT_EQ(r.tasks[0].stopped, "every point is tried") << tuner;
    EXPECT_DOUBLE_EQ(r.tasks[0].progress.default_seconds, 9e-3);
  }
}

TEST(Search, NeverAsksTwiceAndKeepsToTheTrials) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("anneal", 20));
  EXPECT_EQ(r.trials, 20);
  // The default, the trials, and a race of 12, 8, 6, 4, 4 and 4, each round with the default.
  EXPECT_LE(m.measured, 1 + 20 + 38 + 6);
  const std::vector<std::string> asked(m.traces.begin(), m.traces.begin() + 21);
  EXPECT_EQ(std::set<std::string>(asked.begin(), asked.end()).size(), 21u);
}

TEST(Search, SeveralTasksAreMeasuredTogether) {
  const std::vector<Task> tasks = {matmul_task(1), matmul_task(3, "32"), matmul_task(2, "16")};
  FakeMeasurer m;
  SearchOptions o = options("random", 40);
  o.tasks_a_round = 2;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, o);
  ASSERT_GE(m.rounds.size(), 4u);
  using Round = std::map<const Task*, int>;
  EXPECT_EQ(m.rounds[0], (Round{{&tasks[0], 1}, {&tasks[1], 1}, {&tasks[2], 1}}));  // defaults
  EXPECT_EQ(m.rounds[1], (Round{{&tasks[1], 8}, {&tasks[2], 8}}));
  EXPECT_EQ(m.rounds[2].size(), 2u);
  EXPECT_EQ(m.rounds[2].at(&tasks[0]), 8);
  EXPECT_EQ(m.rounds[3].size(), 1u);  // the trials that are left
  EXPECT_EQ(r.trials, 40);
  int64_t trials = 0;
  for (size_t t = 0; t < tasks.size(); ++t) {
    trials += r.tasks[t].progress.trials;
    for (const Finalist& f : r.finalists[t]) EXPECT_EQ(f.seconds, FakeMeasurer::seconds(tasks[t], f.trace));
  }
  EXPECT_EQ(trials, 40);
}

TEST(Search, ARoundOfSeveralTasksTakesNoLargePartOfTheTime) {
  const std::vector<Task> tasks = {matmul_task(1), matmul_task(3, "32"), matmul_task(2, "16")};
  FakeMeasurer m;
  SearchOptions o = options("random", 0);
  o.tasks_a_round = 3;
  o.batch = 1;
  m.scale = [&](const Candidate&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    return 1;
  };
  o.seconds = 0.1;
  search(tasks, FakeTarget(), m, nullptr, nullptr, o);
  ASSERT_GE(m.rounds.size(), 3u);
  for (size_t i = 1; i < 3; ++i) EXPECT_EQ(m.rounds[i].size(), 1u) << i;  // 5 of 100 milliseconds
}

TEST(Search, WrongAndCrashingCandidatesNeverWin) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  // The fastest of all is wrong, the next ones crash.
  m.broken = [](const Candidate& c) {
    const double t = FakeMeasurer::seconds(*c.task, c.trace);
    return t < 1.2e-3 ? 2 : t < 1.9e-3 ? 1 : 0;
  };
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  ASSERT_FALSE(r.finalists[0].empty());
  for (const Finalist& f : r.finalists[0]) EXPECT_GE(f.seconds, 1.9e-3);
  EXPECT_GT(r.tasks[0].failed, 0);
}

TEST(Search, ACandidateThatIsWrongOnlyInTheRaceDoesNotWin) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  std::set<std::string> seen;
  m.broken = [&](const Candidate& c) {
    return FakeMeasurer::seconds(*c.task, c.trace) < 1.2e-3 && !seen.insert(c.trace).second ? 2 : 0;
  };
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  ASSERT_FALSE(r.finalists[0].empty());
  for (const Finalist& f : r.finalists[0]) EXPECT_GT(f.seconds, 1.2e-3);
}

TEST(Search, OneLuckyTimeDoesNotWin) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  std::set<std::string> seen;
  // Half of its time, once, for a point that is far from the best.
  m.scale = [&](const Candidate& c) {
    const double t = FakeMeasurer::seconds(*c.task, c.trace);
    return t > 1.9e-3 && t < 2.1e-3 && seen.insert(c.trace).second ? 0.4 : 1.0;
  };
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  ASSERT_FALSE(r.finalists[0].empty());
  EXPECT_EQ(r.finalists[0][0].knobs, "rows=4 columns=8 unroll=1");
  EXPECT_FALSE(seen.empty());
}

TEST(Search, WhatFailedInTheRaceRunsNoMore) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  // The fastest has three good times, and then crashes.
  const auto fastest = [&](const std::string& trace) { return FakeMeasurer::seconds(tasks[0], trace) < 1.2e-3; };
  m.broken = [&](const Candidate& c) {
    return fastest(c.trace) && std::ranges::count(m.traces, c.trace) > 3 ? 1 : 0;
  };
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  EXPECT_EQ(std::ranges::count_if(m.traces, fastest), 4);
  ASSERT_FALSE(r.finalists[0].empty());
  for (const Finalist& f : r.finalists[0]) EXPECT_GT(f.seconds, 1.2e-3);
}

TEST(Search, EveryFinalistIsProved) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  ASSERT_FALSE(r.finalists[0].empty());
  for (const Finalist& f : r.finalists[0]) EXPECT_TRUE(m.proved.contains(f.trace)) << f.knobs;
}

TEST(Search, WithoutTimeForARaceTheFastestIsProved) {
  const TemporaryFolder folder;
  const std::vector<Task> tasks = {matmul_task()};
  SearchOptions o = options("random", 1000);
  o.seconds = 0.5;
  o.checked_share = 0;
  // One round, and the time is over: a tenth of it is not enough for ten candidates.
  const auto wait = [](const Snapshot&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return true;
  };
  FakeMeasurer m;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, o, wait);
  EXPECT_EQ(r.stopped, "the time is over");
  EXPECT_EQ(m.measured, 1 + 8 + 2);  // the default; a round; the default and the fastest
  ASSERT_EQ(r.finalists[0].size(), 1u);
  EXPECT_TRUE(m.proved.contains(r.finalists[0][0].trace));

  // Answers that an earlier search has checked do not count.
  Database db(folder.path / "tune.db", Database::Mode::ReadWrite);
  FakeMeasurer before, after;
  search(tasks, FakeTarget(), before, nullptr, &db, options("random", 24));
  const auto again = search(tasks, FakeTarget(), after, nullptr, &db, o, wait);
  ASSERT_EQ(again.finalists[0].size(), 1u);
  EXPECT_TRUE(after.proved.contains(again.finalists[0][0].trace));
}

TEST(Search, WhatWasNotCheckedDoesNotWin) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  m.checks = false;  // no reference could be made
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("grid", 1000));
  EXPECT_TRUE(r.finalists[0].empty());
}

TEST(Search, AnObserverEndsIt) {
  const std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  int rounds = 0;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options("random", 1000), [&](const Snapshot& s) {
    EXPECT_EQ(s.tasks.size(), 1u);
    return ++rounds < 2;
  });
  EXPECT_EQ(r.stopped, "stopped");
  EXPECT_EQ(r.trials, 16);
}

TEST(Search, TheSameSeedWithRecordedTimesIsTheSameSearchByteForByte) {
  const TemporaryFolder folder;
  const std::vector<Task> tasks = {matmul_task(2)};
  for (const std::string tuner : {"anneal", "genetic", "random", "xgb"}) {
    auto model = make_xgboost(7);
    CostModel* learned = model ? model->get() : nullptr;
    Database first(folder.path / (tuner + "1.db"), Database::Mode::ReadWrite);
    FakeMeasurer m;
    search(tasks, FakeTarget(), m, learned, &first, options(tuner));
    const auto recorded = recorded_measurer(first.records({}));
    auto again = make_xgboost(7);
    Database second(folder.path / (tuner + "2.db"), Database::Mode::ReadWrite);
    search(tasks, FakeTarget(), *recorded, again ? again->get() : nullptr, &second, options(tuner));
    EXPECT_EQ(undated_lines(first), undated_lines(second)) << tuner;
    EXPECT_GE(first.count(), 41);
  }
}

TEST(Search, GoesOnFromARecordedState) {
  const TemporaryFolder folder;
  const std::vector<Task> tasks = {matmul_task()};
  Database db(folder.path / "tune.db", Database::Mode::ReadWrite);
  FakeMeasurer m;
  search(tasks, FakeTarget(), m, nullptr, &db, options("random", 24));
  SearchOptions more = options("random", 24);
  more.resume = true;
  FakeMeasurer n;
  const auto r = search(tasks, FakeTarget(), n, nullptr, &db, more);
  const std::set<std::string> before(m.traces.begin() + 1, m.traces.begin() + 25);
  for (size_t i = 1; i <= 24; ++i) EXPECT_FALSE(before.contains(n.traces[i])) << "asked again: " << n.traces[i];
  // What the first half found is not lost.
  double best = 1;
  for (const auto& trace : before) best = std::min(best, FakeMeasurer::seconds(tasks[0], trace));
  EXPECT_LE(r.tasks[0].progress.best_seconds, best);
}

TEST(Search, ATaskWhoseDefaultFailsIsLeftAlone) {
  std::vector<Task> tasks = {matmul_task()};
  FakeMeasurer m;
  m.broken = [](const Candidate&) { return 1; };
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options());
  EXPECT_EQ(r.trials, 0);
  EXPECT_TRUE(r.finalists[0].empty());
  EXPECT_NE(r.tasks[0].stopped.find("crashed"), std::string::npos);
}

TEST(Search, ATaskWithoutASpaceKeepsItsDefault) {
  std::vector<Task> tasks = {matmul_task()};
  tasks[0].space = nullptr;
  FakeMeasurer m;
  const auto r = search(tasks, FakeTarget(), m, nullptr, nullptr, options());
  EXPECT_EQ(r.trials, 0);
  EXPECT_EQ(m.measured, 1);
}

TEST(Search, PointsAreTextAndBack) {
  const SplitSpace s(parse_stages(matmul_text));
  EXPECT_EQ(size_of(s), 72);
  std::set<std::string> texts;
  for (int64_t n = 0; n < size_of(s); ++n) {
    const Point p = point_at(s, n);
    const std::string text = text_of(s, p);
    texts.insert(text);
    const auto back = parse_point(s, text);
    ASSERT_TRUE(back) << text;
    EXPECT_EQ(*back, p);
  }
  EXPECT_EQ(texts.size(), 72u);
  for (const char* bad : {"", "rows=4", "rows=4 columns=8", "rows=4 columns=8 unroll=2", "rows=4 columns=8 unroll=x",
                          "rows=3 columns=8 unroll=1", "rows=4 columns=8 unroll=1 more=1", "columns=8 rows=4 unroll=1"}) {
    EXPECT_FALSE(parse_point(s, bad)) << bad;
  }
}

}  // namespace
}  // namespace burnish::search
