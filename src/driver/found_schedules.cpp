#include "driver/found_schedules.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/text.h"
#include "search/records.h"

namespace burnish {

FoundSchedules found_schedules(const std::filesystem::path& records, std::shared_ptr<const Target> target) {
  const search::Database db(records, search::Database::Mode::ReadOnly);
  FoundSchedules found;
  std::map<std::string, std::string> traces;
  for (const search::Winner& w : db.winners(target->text())) {
    if (w.avoids()) found.avoided.insert(w.workload_hash);
    else traces[w.workload_hash] = w.trace;
  }
  if (traces.empty() && found.avoided.empty()) {
    std::set<std::string> others;
    for (const search::Winner& w : db.winners("")) others.insert(w.target);
    std::string there = others.empty() ? "none at all" : "those of " + join({others.begin(), others.end()}, "; ");
    found.notes->push_back(fmt::format(
        "{} has no verified records for {} (it has {}): default schedules are used; `burnish tune` finds better ones",
        records.string(), target->text(), there));
  }
  found.scheduler = [traces = std::move(traces), target, notes = found.notes](const StageGroup& g) {
    const auto it = traces.find(search::hash_text(to_text(g)));
    if (it == traces.end()) return target->default_schedule(g);
    auto schedule = replayed(g, it->second);
    const auto loops = schedule ? lower(*schedule) : Result<Function>(Reason{schedule.reason()});
    if (loops) return std::move(*schedule);
    notes->push_back(fmt::format("the record of {} is not used: {}", g.name, loops.reason()));
    return target->default_schedule(g);
  };
  return found;
}

}  // namespace burnish
