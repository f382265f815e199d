// Reading what searches have left: a view of the database for programs.
#include <burnish/tune.h>

#include <map>
#include <utility>

#include "search/records.h"

namespace burnish {

namespace {

// The fastest correct record of every workload and target, in the order in which these were first
// seen.
std::vector<std::string> best_lines(const search::Database& db) {
  std::map<std::pair<std::string, std::string>, size_t> place;
  std::vector<search::Record> best;
  db.each_record({.ok_only = true}, [&](const search::Record& r) {
    const auto [at, first] = place.try_emplace({r.workload_hash, r.target}, best.size());
    if (first)
      best.push_back(r);
    else if (r.trial.timing.median < best[at->second].trial.timing.median)
      best[at->second] = r;
    return true;
  });
  std::vector<std::string> lines;
  for (const search::Record& r : best) lines.push_back(search::to_json_line(r));
  return lines;
}

}  // namespace

std::vector<std::string> read_records(const std::filesystem::path& records, RecordSelection which) {
  const search::Database db(records, search::Database::Mode::ReadOnly);
  std::vector<std::string> lines;
  switch (which) {
  case RecordSelection::All:
    db.each_record({.foreign = true}, [&](const search::Record& r) {
      lines.push_back(search::to_json_line(r));
      return true;
    });
    break;
  case RecordSelection::Best: return best_lines(db);
  case RecordSelection::Winners:
    for (const search::Winner& w : db.winners("")) lines.push_back(search::to_json_line(w));
    break;
  }
  return lines;
}

}  // namespace burnish
