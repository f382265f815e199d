#include "driver/model_race.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "driver/library_race.h"
#include "search/statistics.h"

namespace burnish {

namespace {

using search::median;

constexpr size_t most_variants = 3;     // finalists of a task that enter the model
constexpr double least_gain = 0.99;     // of the default's time: less is within what two runs of the same code differ

// Seconds a run by task: medians of the steps, added up.
std::vector<double> by_task(const ModelTasks& m, const std::vector<double>& steps) {
  check(steps.size() == m.task_of_step.size(), "{} steps were timed, there are {}", steps.size(), m.task_of_step.size());
  std::vector<double> sums(m.tasks.size(), 0);
  for (size_t s = 0; s < steps.size(); ++s) sums[m.task_of_step[s]] += steps[s];
  return sums;
}

}  // namespace

ModelRace race_in_model(const ModelTasks& m, const std::vector<std::vector<search::Finalist>>& finalists,
                        const ModelTasks* plain, double seconds, const search::MeasureOptions& options) {
  const size_t tasks = m.tasks.size();
  check(finalists.size() == tasks, "finalists of {} tasks of {}", finalists.size(), tasks);
  ModelRace result;
  result.tasks.resize(tasks);
  size_t deepest = 0;
  for (const auto& f : finalists) deepest = std::max(deepest, f.size());
  LibraryRace race(m.target->machine().threads, options);
  const auto library = [&](const std::vector<std::string>& traces) { return [&m, traces] { return library_with(m, traces); }; };
  std::vector<std::vector<std::string>> variants = {std::vector<std::string>(tasks)};
  for (size_t k = 0; k < std::min(deepest, most_variants); ++k) {
    std::vector<std::string> traces(tasks);
    for (size_t t = 0; t < tasks; ++t) {
      if (!finalists[t].empty()) traces[t] = finalists[t][std::min(k, finalists[t].size() - 1)].trace;
    }
    variants.push_back(std::move(traces));
  }
  std::vector<std::function<std::string()>> libraries;
  for (const auto& traces : variants) libraries.push_back(library(traces));
  const std::vector<std::string> paths = race.build(libraries);
  const search::Comparison steps = race.compare(paths, seconds / 2, true);

  std::vector<std::vector<double>> times;
  for (const auto& s : steps.steps) times.push_back(by_task(m, s));
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
  const std::string final = any ? race.build({library(chosen)})[0] : paths[0];
  std::string first = paths[0];
  if (plain) {
    const std::vector<std::string> none(plain->tasks.size());
    first = race.build({[&] { return library_with(*plain, none); }})[0];
  }
  const search::Comparison whole = race.compare({first, final}, seconds / 2, false);
  result.default_seconds = median(whole.runs.at(0));
  result.tuned_seconds = median(whole.runs.at(1));
  const Speedup speedup = speedup_of(whole.runs[0], whole.runs[1]);
  result.speedup = speedup.ratio;
  result.noise = speedup.noise;
  const double deviation = whole.deviation.at(1);
  const bool differs = !(deviation <= most_deviation(*m.target));
  if ((any || plain) && (differs || result.speedup - result.noise < 1)) {
    result.note = differs ? fmt::format("the model's outputs differ by {:.2g} with what was found, which is a mistake of Burnish's: default schedules stay", deviation)
                          : fmt::format("the model is not faster with what was found ({:.3f}x +- {:.3f}): default schedules stay", result.speedup, result.noise);
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
