// What a search chose against the best of all points, measured with care.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/search/commands.h"
#include "search/measurer.h"
#include "search/records.h"
#include "search/statistics.h"

namespace burnish::search {

namespace {

// Of the points of a database, the fastest by their records: one time may owe its place to luck.
constexpr size_t entrants = 32, finalists = 8;
constexpr int rounds = 5, final_rounds = 15;

using Times = std::map<std::string, std::vector<double>>;  // by schedule

// Schedules, the fastest by the median of its records first; before them those that a search raced,
// as it would choose.
std::vector<std::string> fastest(const Database& db, const Target& target, bool raced, Task& task) {
  Times times;
  std::map<std::string, bool> in_race;
  for (const Record& r : db.records({.target = target.text(), .ok_only = true})) {
    if (task.workload.empty()) task = make_task("kernel", parse_stages(r.workload), target);
    require(r.workload_hash == task.hash,
            "a database holds other workloads as well: search one task");
    times[r.trial.trace].push_back(r.trial.timing.median);
    in_race[r.trial.trace] |= r.tuner == "race";
  }
  std::vector<std::string> order;
  for (const auto& [trace, seconds] : times) order.push_back(trace);
  std::ranges::stable_sort(order, {}, [&](const std::string& t) {
    return std::pair(raced && !in_race[t], median(times[t]));
  });
  return order;
}

void measure(Measurer& m, const Task& task, const std::vector<std::string>& traces, int repeats,
             Times& times) {
  std::vector<Candidate> candidates;
  for (const std::string& t : traces) candidates.push_back({.task = &task, .trace = t});
  for (int r = 0; r < repeats; ++r) {
    const auto outcomes = m.measure(candidates);
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (outcomes[i].status == Status::Ok) times[traces[i]].push_back(outcomes[i].timing.median);
    }
  }
}

}  // namespace

std::string race_databases(const std::string& searched, const std::string& every, int threads) {
  const auto target = make_target("native", threads);
  Task task;
  const std::vector<std::string> chosen =
      fastest(Database(searched, Database::Mode::ReadOnly), *target, true, task);
  require(!chosen.empty(), "{} has no times for {}", searched, target->text());
  std::vector<std::string> all =
      fastest(Database(every, Database::Mode::ReadOnly), *target, false, task);
  all.resize(std::min(all.size(), entrants));
  const auto with_chosen = [&](std::vector<std::string> traces) {
    if (std::ranges::find(traces, chosen[0]) == traces.end()) traces.push_back(chosen[0]);
    return traces;
  };
  const auto measurer = local_measurer(target, {.min_time = 0.02});
  Times times;
  measure(*measurer, task, with_chosen(all), rounds, times);
  const auto time = [&](const std::string& t) {
    return times[t].empty() ? 1e30 : median(times[t]);
  };
  std::ranges::stable_sort(all, {}, time);
  all.resize(std::min(all.size(), finalists));
  measure(*measurer, task, with_chosen(all), final_rounds, times);
  double best = time(chosen[0]);
  for (const std::string& t : all) best = std::min(best, time(t));
  return nlohmann::json({{"chosen", time(chosen[0])}, {"best", best}}).dump() + "\n";
}

}  // namespace burnish::search
