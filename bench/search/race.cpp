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

constexpr size_t entrants = 5;   // of each database: its fastest records may owe their place to luck
constexpr int rounds = 15;

}  // namespace

std::string race_databases(const std::vector<std::string>& databases, int threads) {
  require(databases.size() > 1, "give two databases or more");
  const auto target = make_target("native", threads);
  Task task;
  std::vector<Candidate> candidates;
  std::vector<size_t> of;
  for (size_t d = 0; d < databases.size(); ++d) {
    const Database db(databases[d], Database::Mode::ReadOnly);
    std::vector<Record> records = db.records({.target = target->text(), .ok_only = true});
    std::ranges::stable_sort(records, {}, [](const Record& r) { return r.trial.timing.median; });
    size_t taken = 0;
    std::map<std::string, bool> seen;
    for (const Record& r : records) {
      if (taken == entrants) break;
      if (!seen.emplace(r.trial.trace, true).second) continue;
      if (task.workload.empty()) {
        task = make_task("kernel", parse_stages(r.workload), *target);
      }
      require(r.workload_hash == task.hash, "{} holds other workloads as well: search one task a database", databases[d]);
      candidates.push_back({.task = &task, .trace = r.trial.trace});
      of.push_back(d);
      ++taken;
    }
    require(taken > 0, "{} has no times for {}", databases[d], target->text());
  }
  const auto measurer = local_measurer(target, {.min_time = 0.02});
  std::vector<std::vector<double>> times(candidates.size());
  for (int r = 0; r < rounds; ++r) {
    const auto outcomes = measurer->measure(candidates);
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (outcomes[i].status == Status::Ok) times[i].push_back(outcomes[i].timing.median);
    }
  }
  std::vector<double> best(databases.size(), 1e30);
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!times[i].empty()) best[of[i]] = std::min(best[of[i]], median(times[i]));
  }
  return nlohmann::json({{"seconds", best}}).dump() + "\n";
}

}  // namespace burnish::search
