// Whose turn it is: the order of first batches, ends, nonsense, and simulated searches whose curves
// are known.
#include "search/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "search/explore/rng.h"

namespace burnish::search {
namespace {

std::optional<size_t> next_task(std::span<const Progress> tasks, double least_gain) {
  const std::vector<size_t> next = next_tasks(tasks, least_gain);
  return next.empty() ? std::nullopt : std::optional(next.at(0));
}

Progress task(double weight, double seconds) {
  Progress p;
  p.weight = weight;
  p.default_seconds = p.best_seconds = seconds;
  p.points = 1000;
  return p;
}

TEST(Scheduler, GivesEveryTaskAFirstBatchTheHeaviestFirst) {
  std::vector<Progress> tasks = {task(1, 1e-3), task(4, 1e-3), task(1, 2e-3), task(2, 0)};
  std::vector<size_t> order;
  for (int i = 0; i < 4; ++i) {
    const auto next = next_task(tasks, 0.9);  // whatever the least gain
    ASSERT_TRUE(next);
    order.push_back(*next);
    tasks[*next].history.push_back(1e-4);
    tasks[*next].trials += 8;
  }
  EXPECT_EQ(order,
            (std::vector<size_t>{3, 1, 2, 0}));  // the one of unknown time may be the heaviest
  EXPECT_FALSE(next_task(tasks, 0.9));
}

TEST(Scheduler, SeveralTasksAreTheHeaviestThenThoseWithMostToGain) {
  std::vector<Progress> tasks = {task(1, 1e-3), task(4, 1e-3), task(1, 2e-3), task(2, 1e-3), task(9, 1e-3)};
  for (const size_t begun : {1, 2, 4}) {
    tasks[begun].trials = 16;
    tasks[begun].history = {tasks[begun].best_seconds *= begun == 2 ? 0.7 : 0.95};
  }
  tasks[4].exhausted = true;
  EXPECT_EQ(next_tasks(tasks, 0, 1), (std::vector<size_t>{3}));
  EXPECT_EQ(next_tasks(tasks, 0, 3), (std::vector<size_t>{3, 0, 2}));
  EXPECT_EQ(next_tasks(tasks, 0, 9), (std::vector<size_t>{3, 0, 2, 1}));
  EXPECT_EQ(next_tasks(tasks, 0.9, 9), (std::vector<size_t>{3, 0}));  // to begin with, whatever they gain
}

TEST(Scheduler, ASlopeIsWorthMoreThanNone) {
  Progress falling = task(1, 1e-3), flat = task(1, 1e-3), steep = task(1, 1e-3);
  falling.history = {1e-3, 0.95e-3, 0.9e-3};
  falling.best_seconds = 0.9e-3;
  steep.history = {1e-3, 0.8e-3, 0.6e-3};
  steep.best_seconds = 0.6e-3;
  flat.history = {1e-3, 1e-3, 1e-3};
  for (Progress* p : {&falling, &flat, &steep}) p->trials = 24;
  EXPECT_GT(expected_gain(falling), 2 * expected_gain(flat));
  EXPECT_GT(expected_gain(steep), expected_gain(falling));
}

TEST(Scheduler, ExpectsLessWithEveryBatchThatWinsNothing) {
  Progress p = task(1, 1e-3);
  double before = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 20; ++i) {
    p.history.push_back(1e-3);
    p.trials += 8;
    const double gain = expected_gain(p);
    EXPECT_LT(gain, before);
    before = gain;
  }
  EXPECT_LT(before, 1e-3 * 0.001);
}

TEST(Scheduler, WeightsCountAndSoDoPromisesOfTheModel) {
  Progress light = task(1, 1e-3), heavy = task(5, 1e-3);
  light.history = heavy.history = {1e-3, 1e-3};
  EXPECT_NEAR(expected_gain(heavy), 5 * expected_gain(light), 1e-12);
  const double plain = expected_gain(light);
  light.predicted_gain = 0.5;
  EXPECT_GT(expected_gain(light), plain);
  // Promises that are never kept are believed no more.
  light.history.assign(12, 1e-3);
  EXPECT_LT(expected_gain(light), 0.002e-3);
}

TEST(Scheduler, LeavesExhaustedTasksAlone) {
  Progress p = task(1, 1e-3);
  p.exhausted = true;
  EXPECT_FALSE(next_task(std::vector{p}, 0));
  p.exhausted = false;
  p.trials = p.points = 8;
  EXPECT_FALSE(next_task(std::vector{p}, 0));
  EXPECT_FALSE(next_task({}, 0));
}

TEST(Scheduler, TakesNonsense) {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinite = std::numeric_limits<double>::infinity();
  const double bad[] = {nan, infinite, -infinite, -1, 0, 1e300};
  Rng rng(3);
  const auto any = [&] { return bad[rng.below(std::size(bad))]; };
  for (int i = 0; i < 2000; ++i) {
    Progress p;
    p.weight = any();
    p.default_seconds = any();
    p.best_seconds = any();
    p.predicted_gain = any();
    for (uint64_t k = rng.below(4); k > 0; --k) p.history.push_back(any());
    p.points = static_cast<int64_t>(rng.below(3)) - 1;
    p.trials = static_cast<int64_t>(rng.below(5)) - 1;
    EXPECT_GE(expected_gain(p), 0);
    next_task(std::vector{p, task(1, 1)}, any());
  }
}

// ---- Simulated searches

// A task whose best time after k batches is curve[k]; curve[0] is the default's.
struct Simulated {
  double weight;
  std::vector<double> curve;
};

constexpr size_t longest = 400;

// Curves of several kinds: the best of ever more random trials, geometric approach, steps between
// plateaus, nothing at all, spaces that end.
std::vector<Simulated> tasks_of(uint64_t seed) {
  Rng rng(seed);
  std::vector<Simulated> tasks;
  const size_t count = 8 + rng.below(24);
  for (size_t i = 0; i < count; ++i) {
    Simulated t;
    t.weight = 1 + static_cast<double>(rng.below(6));
    const double scale = 1e-4 * std::pow(30, rng.unit());  // 0.1 to 3 ms
    const double gap = 0.6 * rng.unit();
    const uint64_t kind = rng.below(4);
    const double rate = 0.15 + 0.6 * rng.unit();
    double best = scale;
    for (size_t k = 0; k <= longest; ++k) {
      const double x = static_cast<double>(k);
      switch (kind) {
      case 0: best = scale * (1 - gap * (1 - 1 / (1 + rate * x))); break;
      case 1: best = scale * (1 - gap * (1 - std::pow(1 - rate, x))); break;
      case 2:  // steps, rarer and rarer
        if (k > 0 && rng.chance(0.7 / (1 + 0.15 * x))) best *= 1 - 0.25 * gap * rng.unit();
        break;
      default: break;
      }
      t.curve.push_back(best);
    }
    if (rng.chance(0.25)) t.curve.resize(1 + 1 + rng.below(6));  // the space ends
    tasks.push_back(std::move(t));
  }
  return tasks;
}

double total(const std::vector<Simulated>& tasks, const std::vector<size_t>& done) {
  double sum = 0;
  for (size_t i = 0; i < tasks.size(); ++i) sum += tasks[i].weight * tasks[i].curve[done[i]];
  return sum;
}

// The model's time after each batch; ends early when `next` has no task.
std::vector<double>
simulate(const std::vector<Simulated>& tasks, size_t batches,
         const std::function<std::optional<size_t>(const std::vector<Progress>&)>& next) {
  std::vector<Progress> progress;
  std::vector<size_t> done(tasks.size());
  for (const Simulated& t : tasks) {
    Progress p = task(t.weight, t.curve[0]);
    p.points =
        t.curve.size() == longest + 1 ? 100000 : static_cast<int64_t>(8 * (t.curve.size() - 1));
    progress.push_back(p);
  }
  std::vector<double> times;
  for (size_t b = 0; b < batches; ++b) {
    if (const auto i = next(progress)) {
      Progress& p = progress[*i];
      p.best_seconds = tasks[*i].curve[++done[*i]];
      p.history.push_back(p.best_seconds);
      p.trials += 8;
      p.exhausted = done[*i] + 1 == tasks[*i].curve.size();
    }
    times.push_back(total(tasks, done));
  }
  return times;
}

// The least possible time of the model after `batches`: a knapsack.
double oracle(const std::vector<Simulated>& tasks, size_t batches) {
  std::vector<double> least(batches + 1, 0);
  for (const Simulated& t : tasks) {
    std::vector<double> with(batches + 1, std::numeric_limits<double>::infinity());
    for (size_t b = 0; b <= batches; ++b) {
      for (size_t k = 0; k <= b && k < t.curve.size(); ++k)
        with[b] = std::min(with[b], least[b - k] + t.weight * t.curve[k]);
    }
    least = with;
  }
  return *std::min_element(least.begin(), least.end());
}

TEST(Scheduler, ComesCloseToTheBestAllocation) {
  double excess = 0, robin_excess = 0, worst = 0;
  int count = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<Simulated> tasks = tasks_of(seed);
    for (const size_t rounds : {2, 4, 8}) {
      const size_t batches = rounds * tasks.size();
      const double best = oracle(tasks, batches);
      const double ours =
          simulate(tasks, batches, [](const auto& p) { return next_task(p, 0); }).back();
      size_t turn = 0;
      const double robin = simulate(tasks, batches, [&](const auto& p) -> std::optional<size_t> {
                             for (size_t i = 0; i < p.size(); ++i) {
                               const size_t at = turn++ % p.size();
                               if (!p[at].exhausted) return at;
                             }
                             return std::nullopt;
                           }).back();
      EXPECT_GE(ours, best * (1 - 1e-9));
      const double e = ours / best - 1;
      excess += e;
      robin_excess += robin / best - 1;
      worst = std::max(worst, e);
      ++count;
    }
  }
  std::printf("above the best allocation: %.2f%% on average, %.2f%% at worst; round robin %.2f%%\n",
              100 * excess / count, 100 * worst, 100 * robin_excess / count);
  // The best allocation knows when a plateau ends, which nobody can.
  EXPECT_LT(excess / count, 0.025);
  EXPECT_LT(worst, 0.09);
  EXPECT_LT(excess, 0.6 * robin_excess);
}

// It ends, and then another batch for every task would not have saved much more than was said.
TEST(Scheduler, StopsWhenLittleIsLeft) {
  constexpr double least = 0.0001;
  double missed = 0, all_batches = 0, all_tasks = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<Simulated> tasks = tasks_of(seed);
    std::vector<size_t> done(tasks.size());
    size_t batches = 0;
    const double ours = simulate(tasks, 60 * tasks.size(), [&](const auto& p) {
                          const auto next = next_task(p, least);
                          if (next) ++done[*next], ++batches;
                          return next;
                        }).back();
    EXPECT_LT(batches, 25 * tasks.size()) << "seed " << seed;
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (done[i] + 1 < tasks[i].curve.size()) {
        missed += tasks[i].weight * (tasks[i].curve[done[i]] - tasks[i].curve[done[i] + 1]) / ours;
      }
    }
    all_batches += static_cast<double>(batches);
    all_tasks += static_cast<double>(tasks.size());
  }
  std::printf("ended after %.1f batches a task; another would have saved %.4f%% of the model's "
              "time, asked for: %.4f%%\n",
              all_batches / all_tasks, 100 * missed / all_tasks, 100 * least);
  EXPECT_LT(missed / all_tasks, 3 * least);
}

}  // namespace
}  // namespace burnish::search
