#include "driver/model_race.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "search/parallel.h"
#include "search/statistics.h"

namespace burnish {

namespace {

using search::median;

constexpr size_t most_variants = 3;     // finalists of a task that enter the model
constexpr double least_gain = 0.99;     // of the default's time: less is within what two runs of the same code differ

class Race {
 public:
  Race(const ModelTasks& m, const search::MeasureOptions& options) : m_(m), options_(options) {}

  // Paths of the libraries; building is shared out among the CPUs.
  std::vector<std::string> build(const std::vector<std::vector<std::string>>& variants) {
    std::vector<std::string> paths(variants.size());
    search::parallel_for(variants.size(), 2, [&](size_t i) {
      paths[i] = (folder_.path / fmt::format("{}-{}.so", built_, i)).string();
      write_file(paths[i], library_with(m_, variants[i]));
    });
    ++built_;
    return paths;
  }

  search::Comparison compare(const std::vector<std::string>& paths, double seconds, bool steps) {
    auto c = search::compare_libraries(paths, m_.target->machine().threads, seconds, steps, options_);
    if (!c) fail_user("comparing the model with its default schedules failed: {}", c.reason());
    return std::move(*c);
  }

  // Seconds a run by task: medians of the steps, added up.
  std::vector<double> by_task(const std::vector<double>& steps) const {
    check(steps.size() == m_.task_of_step.size(), "{} steps were timed, there are {}", steps.size(),
          m_.task_of_step.size());
    std::vector<double> sums(m_.tasks.size(), 0);
    for (size_t s = 0; s < steps.size(); ++s) sums[m_.task_of_step[s]] += steps[s];
    return sums;
  }

 private:
  const ModelTasks& m_;
  const search::MeasureOptions& options_;
  TemporaryFolder folder_;
  int built_ = 0;
};

}  // namespace

ModelRace race_in_model(const ModelTasks& m, const std::vector<std::vector<search::Finalist>>& finalists,
                        double seconds, const search::MeasureOptions& options) {
  const size_t tasks = m.tasks.size();
  check(finalists.size() == tasks, "finalists of {} tasks of {}", finalists.size(), tasks);
  ModelRace result;
  result.tasks.resize(tasks);
  size_t deepest = 0;
  for (const auto& f : finalists) deepest = std::max(deepest, f.size());
  Race race(m, options);
  std::vector<std::vector<std::string>> variants = {std::vector<std::string>(tasks)};
  for (size_t k = 0; k < std::min(deepest, most_variants); ++k) {
    std::vector<std::string> traces(tasks);
    for (size_t t = 0; t < tasks; ++t) {
      if (!finalists[t].empty()) traces[t] = finalists[t][std::min(k, finalists[t].size() - 1)].trace;
    }
    variants.push_back(std::move(traces));
  }
  const std::vector<std::string> paths = race.build(variants);
  const search::Comparison steps = race.compare(paths, seconds / 2, true);

  std::vector<std::vector<double>> times;
  for (const auto& s : steps.steps) times.push_back(race.by_task(s));
  std::vector<std::string> chosen(tasks);
  for (size_t t = 0; t < tasks; ++t) {
    ModelRace::Entry& e = result.tasks[t];
    if (finalists[t].empty()) continue;
    e.default_seconds = e.tuned_seconds = times[0][t];
    for (size_t k = 1; k < times.size(); ++k) {
      const size_t finalist = std::min(k - 1, finalists[t].size() - 1);
      if (times[k][t] < e.default_seconds * least_gain && times[k][t] < e.tuned_seconds) {
        e.tuned_seconds = times[k][t];
        e.trace = finalists[t][finalist].trace;
        e.knobs = finalists[t][finalist].knobs;
      }
    }
    chosen[t] = e.trace;
  }

  const bool any = std::ranges::any_of(chosen, [](const std::string& s) { return !s.empty(); });
  const std::string final = any ? race.build({chosen})[0] : paths[0];
  const search::Comparison whole = race.compare({paths[0], final}, seconds / 2, false);
  result.default_seconds = median(whole.runs.at(0));
  result.tuned_seconds = median(whole.runs.at(1));
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(whole.runs[0].size(), whole.runs[1].size()); ++i) {
    ratios.push_back(whole.runs[0][i] / whole.runs[1][i]);
  }
  result.speedup = median(ratios);
  std::vector<double> deviations;
  for (double r : ratios) deviations.push_back(std::abs(r - result.speedup));
  // A median's standard error by the median deviation of neighbours in time, which drift alike.
  result.noise = ratios.empty() ? 0 : 1.96 * 1.2533 * 1.4826 * median(deviations) / std::sqrt(double(ratios.size()));
  if (any && result.speedup - result.noise < 1) {
    result.note = fmt::format("the model is not faster with what was found ({:.3f}x +- {:.3f}): default schedules stay",
                              result.speedup, result.noise);
    for (ModelRace::Entry& e : result.tasks) {
      e.trace.clear();
      e.knobs.clear();
    }
    result.speedup = 1;
    result.tuned_seconds = result.default_seconds;
  }
  return result;
}

}  // namespace burnish
