// The database of measurements: SQLite, one file, several processes at a time, nothing lost that was committed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "search/task.h"

namespace burnish::search {

struct Record {
  int64_t id = 0;
  std::string workload, workload_hash;   // text of the stages; its hash
  std::string target;                    // Target::text(): CPU, features, threads
  int threads = 0;
  std::string compiler;                  // "burnish 0.1.0"
  std::string machine;                   // description: CPU model, caches, clock
  std::string tuner;                     // which explorer asked for it; "default", "import"
  uint64_t seed = 0;
  std::string knobs;                     // text_of(space, point)
  Trial trial;                           // trial.point may be empty (imported)
  int64_t when = 0;                      // seconds since 1970, UTC
};

// A schedule that won inside a whole model against the default one.
struct Winner {
  std::string workload_hash, target, trace;
  double default_seconds = 0, tuned_seconds = 0;   // inside the model, medians of interleaved runs
  std::string model;                               // file name of the model, for people
  int64_t when = 0;
};

struct Query {
  std::string workload_hash, target;   // empty: all
  bool ok_only = false;
  int64_t limit = 0;                   // 0: no limit
};

class Database {
 public:
  enum class Mode { ReadOnly, ReadWrite };   // ReadWrite creates it, and migrates older schemas forward
  // UserError: no SQLite database, newer than this program, damaged, not writable, disk full.
  Database(const std::filesystem::path& path, Mode mode);
  ~Database();
  Database(Database&&) noexcept;

  // Commits trials and the explorer's state in one transaction: what was told to the explorer is what is recorded.
  // `state_key` names the search (task, target, tuner, seed); an empty key stores no state.
  void add(const std::vector<Record>& records, const std::string& state_key, const std::string& state);
  std::string state(const std::string& key) const;   // empty: none
  void add_winner(const Winner& w);                   // replaces the one of the same workload and target
  void remove_winner(const std::string& workload_hash, const std::string& target);
  std::vector<Winner> winners(const std::string& target) const;   // empty target: all
  std::vector<Record> records(const Query& q) const;              // in the order of their ids
  std::optional<Record> best(const std::string& workload_hash, const std::string& target) const;  // fastest Ok
  int64_t count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// ---- JSON lines, one record a line: portable, for people and other tools.
std::string to_json_line(const Record& r);
Result<Record> from_json_line(std::string_view line);   // why a line is refused: NaN, negative times, missing fields, ...

struct ImportReport {
  int64_t imported = 0, duplicates = 0;
  std::vector<std::string> refused;   // "line 7: ..."; lines of AutoTVM: what could not be carried over
};
// Reads Burnish's lines and AutoTVM's log lines (workload, cost and target of these are kept as foreign records, which
// are listed and never used for code).
ImportReport import_lines(Database& db, std::istream& lines);

}  // namespace burnish::search
