// The database of measurements: SQLite, one file, several processes at a time, nothing lost that
// was committed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "search/task.h"

namespace burnish::search {

struct Record {
  int64_t id = 0;
  std::string workload, workload_hash;  // text of the stages; its hash
  std::string target;                   // Target::text(): CPU, features, threads
  int threads = 0;
  std::string compiler;  // "burnish 0.1.0"
  std::string machine;   // description: CPU model, caches, clock
  std::string tuner;     // which explorer asked for it; "default", "import"
  uint64_t seed = 0;
  std::string knobs;    // text_of(space, point)
  Trial trial;          // trial.point may be empty (imported)
  int64_t when = 0;     // seconds since 1970, UTC
  std::string foreign;  // the other tool that measured it, "autotvm": listed, never used for code
};

// In the place of a winner's trace: the model is faster where passes choose something else than
// this group, that is, another algorithm or a chain cut in two.
constexpr std::string_view avoid_trace = "avoid";

// A schedule that won inside a whole model against the default one, or a group that lost there
// against what it can be replaced by.
struct Winner {
  std::string workload_hash, target, trace;
  bool avoids() const { return trace == avoid_trace; }
  double default_seconds = 0, tuned_seconds = 0;  // inside the model, medians of interleaved runs
  std::string model;                              // file name of the model, for people
  int64_t when = 0;
};

struct Query {
  std::string workload_hash, target;  // empty: all
  bool ok_only = false;
  int64_t limit = 0;     // 0: no limit
  bool foreign = false;  // those of other tools too
};

// One thread at a time may use a Database; processes and other Databases may use the same file
// meanwhile. Whatever stands in the file, only plausible records come out as Ok: those with
// impossible times are Lost.
class Database {
 public:
  enum class Mode {
    ReadOnly,
    ReadWrite
  };  // ReadWrite creates it, and migrates older schemas forward
  // UserError: no SQLite database, newer than this program, damaged, not writable, disk full.
  Database(const std::filesystem::path& path, Mode mode);
  ~Database();
  Database(Database&&) noexcept;

  // Commits trials and the explorer's state in one transaction: what was told to the explorer is
  // what is recorded. `state_key` names the search (task, target, tuner, seed); an empty key stores
  // no state. When add() has returned, the trials outlive the process, however it ends; the last of
  // them may be lost to a power cut, winners may not.
  void add(const std::vector<Record>& records, const std::string& state_key,
           const std::string& state);
  // The same for records from elsewhere: only those are added that are not there already (same
  // workload, target, trace, knobs, timing and second). How many were added.
  int64_t add_new(const std::vector<Record>& records);
  std::string state(const std::string& key) const;  // empty: none
  void add_winner(const Winner& w);  // replaces the one of the same workload and target
  void remove_winner(const std::string& workload_hash, const std::string& target);
  std::vector<Winner> winners(const std::string& target) const;  // empty target: all
  std::vector<Record> records(const Query& q) const;             // in the order of their ids
  std::optional<Record> best(const std::string& workload_hash,
                             const std::string& target) const;  // fastest Ok
  int64_t count() const;  // of trials, those of other tools too
  // Without holding all of them in memory; until `visit` says false.
  void each_record(const Query& q, const std::function<bool(const Record&)>& visit) const;
  std::vector<std::pair<std::string, std::string>> states() const;  // key, state

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The target of a record whatever the number of threads: "llvm:cpu=znver4" of
// "llvm:cpu=znver4,threads=2".
std::string without_threads(const std::string& target);

// ---- JSON lines, one record a line: portable, for people and other tools.
std::string to_json_line(const Record& r);
Result<Record> from_json_line(
    std::string_view line);  // why a line is refused: NaN, negative times, missing fields, ...

std::string to_json_line(const Winner& w);

struct ImportReport {
  int64_t imported = 0, duplicates = 0;
  int64_t winners = 0, foreign = 0;  // foreign: among imported and duplicates
  int64_t refused_lines = 0;
  std::vector<std::string> refused;  // "line 7: ...", the first thousand
  std::vector<std::string> notes;    // lines of AutoTVM: what could not be carried over
};
// Reads Burnish's lines and AutoTVM's log lines (workload, cost and target of these are kept as
// foreign records, which are listed and never used for code).
ImportReport import_lines(Database& db, std::istream& lines);

// ---- Whole databases.
struct MergeReport {
  int64_t added = 0, duplicates = 0, winners = 0, states = 0;
};
// Of two winners for the same workload and target the later one stays; states of searches that
// `into` has stay.
MergeReport merge(Database& into, const Database& from);

struct Finding {
  enum class Kind { Problem, Note };
  Kind kind;
  std::string text;
};
// What is wrong with a database, and what is worth knowing about it. `target`: records of others
// are noted, whatever the number of threads; may be empty. Throws only when there is no such file.
std::vector<Finding> examine(const std::filesystem::path& path, const std::string& target);

struct SalvageReport {
  int64_t records = 0, winners = 0, states = 0, workloads = 0;
  std::vector<std::string> lost;  // what could not be read
};
// Copies what is readable of a damaged database into a new one, and leaves the damaged one as it
// is. UserError when `to` exists, or when nothing at all can be read.
SalvageReport salvage(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace burnish::search
