// Landscapes of what `burnish tune` has recorded. A record holds workload, knobs and schedule;
// drafts and features are those of this program, so that a change of either shows.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "bench/search/landscape.h"
#include "search/candidates.h"
#include "search/records.h"
#include "search/statistics.h"

namespace burnish::search {

std::vector<Landscape> landscapes_of_database(const std::filesystem::path& path, int threads) {
  const Database db(path, Database::Mode::ReadOnly);
  const auto target = make_target("native", threads);
  std::map<std::string, std::vector<Record>> by_workload;
  for (Record& r : db.records({})) {
    if (!r.knobs.empty() && r.trial.status != Status::Illegal && r.trial.status != Status::Lost) {
      by_workload[r.workload].push_back(std::move(r));
    }
  }
  std::vector<Landscape> all;
  for (const auto& [workload, records] : by_workload) {
    const Task task = make_task(path.stem().string(), parse_stages(workload), *target);
    if (!task.space) continue;
    Candidates candidates(task, target->machine());
    std::map<Point, std::vector<double>> times;
    for (const Record& r : records) {
      const auto p = parse_point(*task.space, r.knobs);
      if (!p || candidates.at(*p).trace != r.trial.trace)
        continue;  // a default schedule, or another version's space
      const bool ok = r.trial.status == Status::Ok;
      times[*p].push_back(ok ? r.trial.timing.median : std::numeric_limits<double>::infinity());
    }
    if (times.size() < 2) continue;
    Landscape l{.task = path.stem().string(),
                .knobs = task.space->knobs(),
                .start = task.space->default_point(),
                .points = {}};
    if (by_workload.size() > 1) l.task += " " + records[0].workload_hash;
    for (const auto& [p, seconds] : times) {
      l.points[p] = {median(seconds), task.space->draft_us(p), candidates.at(p).features};
    }
    all.push_back(std::move(l));
  }
  require(!all.empty(), "{} holds no records of spaces that this version knows for {}",
          path.string(), target->text());
  return all;
}

}  // namespace burnish::search
