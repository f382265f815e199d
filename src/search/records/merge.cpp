#include <fmt/format.h>

#include <map>

#include "search/records.h"

namespace burnish::search {

MergeReport merge(Database& into, const Database& from) {
  MergeReport report;
  std::vector<Record> waiting;
  const auto flush = [&] {
    const int64_t added = into.add_new(waiting);
    report.added += added;
    report.duplicates += static_cast<int64_t>(waiting.size()) - added;
    waiting.clear();
  };
  from.each_record({.foreign = true}, [&](const Record& r) {
    if (!r.workload.empty() && r.workload_hash != hash_text(r.workload))
      return true;  // examine() tells of these
    waiting.push_back(r);
    if (waiting.size() >= 500) flush();
    return true;
  });
  flush();

  std::map<std::pair<std::string, std::string>, int64_t> there;
  for (const Winner& w : into.winners("")) there[{w.workload_hash, w.target}] = w.when;
  for (const Winner& w : from.winners("")) {
    const auto it = there.find({w.workload_hash, w.target});
    if (it != there.end() && it->second >= w.when) continue;
    into.add_winner(w);
    ++report.winners;
  }
  for (const auto& [key, state] : from.states()) {
    if (!into.state(key).empty()) continue;
    into.add({}, key, state);
    ++report.states;
  }
  return report;
}

}  // namespace burnish::search
