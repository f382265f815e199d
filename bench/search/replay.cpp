#include <fmt/format.h>

#include <cstdio>
#include <limits>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "bench/search/commands.h"
#include "driver/found_schedules.h"
#include "driver/model_tasks.h"
#include "driver/options.h"
#include "search/search.h"

namespace burnish::search {

bool replay_database(const std::string& database, const std::string& model,
                     const std::map<std::string, std::vector<int64_t>>& shapes, int threads) {
  const Database recorded(database, Database::Mode::ReadOnly);
  std::vector<Record> records = recorded.records({});
  SearchOptions options;
  options.seconds = std::numeric_limits<double>::infinity();
  for (const Record& r : records) {
    options.compiler = r.compiler;
    options.machine = r.machine;
    options.seed = r.seed;
    if (r.tuner == "default" || r.tuner == "race") continue;
    options.tuner = r.tuner;
    ++options.trials;
  }
  require(options.trials > 0, "{} has no records of a search", database);
  const CompileOptions compiled{.shapes = shapes, .threads = threads};
  const ModelTasks m = model_tasks(model, compiled, found_schedules(database, target_of(compiled)).avoided);
  const TemporaryFolder folder;
  Database again(folder.path / "again.db", Database::Mode::ReadWrite);
  std::unique_ptr<CostModel> learned;
  if (options.tuner == "xgb") {
    if (auto xgboost = make_xgboost(options.seed)) learned = std::move(*xgboost);
  }
  search(m.tasks, *m.target, *recorded_measurer(records), learned.get(), &again, options);
  const std::string first = undated_lines(recorded), second = undated_lines(again);
  size_t same = 0, line = 1;
  while (same < std::min(first.size(), second.size()) && first[same] == second[same]) line += first[same++] == '\n';
  fmt::print("{} records, {} trials of {} tasks with seed {}: ", records.size(), options.trials, m.tasks.size(), options.seed);
  if (first == second) {
    fmt::print("replayed byte for byte ({} bytes)\n", first.size());
    return true;
  }
  fmt::print("the replay differs from record {} on ({} and {} records)\n", line, records.size(), again.count());
  return false;
}

}  // namespace burnish::search
