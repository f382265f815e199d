// Copies what is readable of a damaged database into a new one. Each table is read as usual; where
// that meets damage, each of the file's leaf pages for itself. Every row is checked as if a
// stranger had sent it: damage that SQLite does not notice looks like that.
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "search/records.h"
#include "search/records/lines.h"
#include "search/records/open.h"
#include "search/records/plausible.h"
#include "search/records/rows.h"
#include "search/records/schema.h"

namespace burnish::search {

namespace {

namespace fs = std::filesystem;

constexpr size_t page_bytes = 4096;
constexpr size_t most_told = 20;

// The first page has the schema. It is the same in every database of ours but for the number of
// pages, as all of them are made by the same steps: a lost one is replaced by that of a new
// database.
void replace_first_page(const fs::path& path, const fs::path& folder) {
  {
    Connection fresh(folder / "fresh.db", Connection::Open::Create, "a new database");
    migrate(fresh);
  }
  std::string page = read_file(folder / "fresh.db").substr(0, page_bytes);
  check(page.size() == page_bytes && page[100] == 0x0d,
        "the schema does not fit into the first page");
  std::error_code error;
  const auto pages = static_cast<uint32_t>(fs::file_size(path, error) / page_bytes);
  for (int i = 0; i < 4; ++i) page[28 + i] = static_cast<char>(pages >> (24 - 8 * i));
  if (fs::exists(path.string() + "-wal", error)) page[18] = page[19] = 2;  // the log counts
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.write(page.data(), static_cast<std::streamsize>(page.size()));
}

// The copy that is read from, and taken apart.
class Source {
 public:
  Source(fs::path path, std::string name) : path_(std::move(path)), name_(std::move(name)) {
    open();
  }

  Connection& db() { return *db_; }
  uintmax_t pages() const {
    std::error_code error;
    const auto bytes = fs::file_size(path_, error);
    return error ? 0 : bytes / page_bytes;
  }

  // Rows of `select` one by one, past those that cannot be read. False when there was damage.
  template <class F> bool rows(const std::string& select, F read) {
    try {
      Statement s(*db_, select);
      while (s.step()) read(s);
      return true;
    } catch (const SqliteError& e) {
      if (!e.damaged()) throw;
      return false;
    }
  }

  // The same, through every leaf page of the file, whichever tree it belongs to: each in turn takes
  // the place of the table's root, so that SQLite sees a table of this one page. Rows of other
  // tables come out, too, as nonsense. After this the table cannot be read as usual.
  template <class F> void leaf_rows(const char* table, const std::string& select, F read) {
    uint64_t root = 0;
    char type = 0;
    {
      Statement find(
          *db_, "SELECT rootpage, sql LIKE '%WITHOUT ROWID%' FROM sqlite_schema WHERE name = ?1");
      if (!find.bind(1, table).step()) return;
      root = static_cast<uint64_t>(find.integer(0));
      type = find.integer(1) ? 0x0a : 0x0d;
    }
    const uint64_t count = pages();
    std::string page(page_bytes, '\0');
    for (uint64_t number = 2; number <= count; ++number) {
      std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>((number - 1) * page_bytes));
      if (!file.read(page.data(), page_bytes)) continue;
      const int cells = static_cast<uint8_t>(page[3]) << 8 | static_cast<uint8_t>(page[4]);
      if (page[0] != type || cells == 0 || cells > static_cast<int>(page_bytes / 4)) continue;
      if (number != root) {
        db_.reset();
        file.seekp(static_cast<std::streamoff>((root - 1) * page_bytes));
        file.write(page.data(), page_bytes);
        file.close();
        open();
      }
      for (int cell = 0; cell < cells; ++cell)
        rows(fmt::format("{} LIMIT 1 OFFSET {}", select, cell), read);
    }
  }

 private:
  void open() {
    db_.emplace(path_, Connection::Open::Write, name_);
    db_->tolerate_damage();
    // The log's pages go into the file: from here on that is all there is.
    const std::string mode = db_->text("PRAGMA journal_mode = DELETE");
    if (mode != "delete") throw SqliteError(name_, SQLITE_CORRUPT, 0, "its log cannot be read");
    const Content content = content_of(*db_);
    if (content == Content::Newer || content == Content::Foreign) refuse_content(*db_, content);
    Statement(*db_, "SELECT id FROM trials");  // the tables are known
  }

  fs::path path_;
  std::string name_;
  std::optional<Connection> db_;
};

class Salvager {
 public:
  Salvager(Source& from, Database& to, SalvageReport& report)
      : from_(from), to_(to), report_(report) {}

  void all() {
    texts();
    trials();
    winners();
    states();
    if (unreadable_ > 0) lose(fmt::format("{} rows that make no sense", unreadable_));
    if (lost_ > report_.lost.size())
      report_.lost.push_back(fmt::format("and {} more", lost_ - report_.lost.size()));
  }

 private:
  // As usual if possible, else leaf by leaf.
  template <class F> void each(const char* table, const std::string& select, F read) {
    if (from_.rows(select, read)) return;
    in_leaves_ = true;
    from_.leaf_rows(table, select, read);
    in_leaves_ = false;
  }

  void texts() {
    each("workloads", "SELECT hash, text FROM workloads", [&](const Statement& s) {
      const std::string hash = s.text(0), text = s.text(1);
      if (hash_text(text) == hash) {
        workloads_.emplace(hash, text);
      } else if (!text.empty()) {
        nonsense();
      }
    });
    each("machines", "SELECT id, text FROM machines WHERE typeof(text) = 'text'",
         [&](const Statement& s) {
           const std::string text = s.text(1);
           if (!is_hash(text))
             machines_.emplace(s.integer(0), text);  // else a trial, seen as a machine
         });
    report_.workloads = static_cast<int64_t>(workloads_.size());
  }

  void trials() {
    std::string select = select_bare_trials;
    int64_t newest = 0;
    from_.rows("SELECT seq FROM sqlite_sequence WHERE name = 'trials'",
               [&](const Statement& s) { newest = s.integer(0); });
    if (from_.db().integer(
            "SELECT count(*) FROM pragma_table_info('trials') WHERE name = 'origin'") == 0) {
      select.replace(select.find("t.origin"), 8, "''");  // a schema of old
    }
    each("trials", select + " NOT INDEXED", [&](const Statement& s) { trial(s); });
    flush();
    // Nobody deletes trials: numbers that are missing are trials that are.
    if (!ids_.empty()) newest = std::max(newest, *ids_.rbegin());
    const auto most = static_cast<int64_t>(from_.pages() * (page_bytes / 64));
    missing(std::min(newest, most));
  }

  void trial(const Statement& s) {
    int64_t machine = 0;
    Record r = read_bare_trial(s, machine);
    if (ids_.contains(r.id)) return;
    if (const auto it = workloads_.find(r.workload_hash); it != workloads_.end())
      r.workload = it->second;
    if (const auto it = machines_.find(machine); it != machines_.end()) r.machine = it->second;
    if (const auto why = unfit(r)) {
      if (in_leaves_) return nonsense();
      ids_.insert(r.id);
      return lose(fmt::format("record {}: {}", r.id, *why));
    }
    ids_.insert(r.id);
    if (r.workload.empty() && textless_.insert(r.workload_hash).second) {
      lose(fmt::format("the text of the workload {}", r.workload_hash));
    }
    waiting_.push_back(std::move(r));
    if (waiting_.size() >= 500) flush();
  }

  // Times and schedules are worth keeping, whether or not the workload's text is left.
  std::optional<std::string> unfit(Record& r) {
    make_plausible(r.trial);
    if (!is_hash(r.workload_hash)) return "no hash of a workload";
    auto json = parse_json(to_json_line(r));
    auto back =
        json ? reader_.record(*json, !r.workload.empty()) : Result<Record>(Reason{json.reason()});
    return back ? std::nullopt : std::optional(back.reason());
  }

  static bool is_hash(const std::string& text) {
    return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  }

  void flush() {
    to_.add(waiting_, "", "");
    report_.records += static_cast<int64_t>(waiting_.size());
    waiting_.clear();
  }

  void missing(int64_t newest) {
    std::vector<std::string> ranges;
    int64_t count = 0;
    for (int64_t id = 1; id <= newest; ++id) {
      if (ids_.contains(id)) continue;
      const int64_t first = id;
      while (id < newest && !ids_.contains(id + 1)) ++id;
      count += id - first + 1;
      if (ranges.size() < most_told)
        ranges.push_back(first == id ? fmt::to_string(id) : fmt::format("{}-{}", first, id));
    }
    if (count > 0)
      lose(fmt::format("{} records, of the numbers {}", count, fmt::join(ranges, ", ")));
  }

  void winners() {
    std::map<std::pair<std::string, std::string>, Winner> found;
    each("winners", select_winners, [&](const Statement& s) {
      const Winner w = read_winner(s);
      auto json = parse_json(to_json_line(w));
      if (auto back = json ? reader_.winner(*json) : Result<Winner>(Reason{json.reason()}); !back) {
        if (in_leaves_) return nonsense();
        return lose(fmt::format("the winner of {}: {}", shortened(w.workload_hash), back.reason()));
      }
      const auto [it, fresh] = found.try_emplace({w.workload_hash, w.target}, w);
      if (!fresh && it->second.when < w.when) it->second = w;
    });
    for (const auto& [key, w] : found) to_.add_winner(w);
    report_.winners = static_cast<int64_t>(found.size());
  }

  void states() {
    std::map<std::string, std::string> found;
    each("searches", "SELECT key, state FROM searches", [&](const Statement& s) {
      const std::string key = s.text(0), state = s.text(1);
      if (const auto json = parse_json(state);
          !key.empty() && json && (json->is_object() || json->is_array())) {
        found.emplace(key, state);
      } else {
        nonsense();
      }
    });
    for (const auto& [key, state] : found) to_.add({}, key, state);
    report_.states = static_cast<int64_t>(found.size());
  }

  // A row that cannot be one of this table. Among leaves of all tables that is what most rows are.
  void nonsense() {
    if (!in_leaves_) ++unreadable_;
  }

  void lose(std::string what) {
    if (report_.lost.size() < most_told) report_.lost.push_back(std::move(what));
    ++lost_;
  }

  Source& from_;
  Database& to_;
  SalvageReport& report_;
  LineReader reader_;
  std::vector<Record> waiting_;
  std::map<std::string, std::string> workloads_;
  std::map<int64_t, std::string> machines_;
  std::set<int64_t> ids_;
  std::set<std::string> textless_;
  bool in_leaves_ = false;
  int64_t unreadable_ = 0;
  size_t lost_ = 0;
};

// Opens the copy, with a new first page where the old one says nothing.
Source open_copy(const fs::path& copy, const fs::path& folder, const std::string& name,
                 SalvageReport& report) {
  try {
    return Source(copy, name);
  } catch (const SqliteError&) {
  }
  replace_first_page(copy, folder);
  report.lost.push_back("the first page: that of a new database takes its place");
  try {
    return Source(copy, name);
  } catch (const SqliteError&) {
    fail_user(
        "nothing can be read of {}: it is damaged from beginning to end, or no database of records",
        name);
  }
}

}  // namespace

SalvageReport salvage(const fs::path& from, const fs::path& to) {
  std::error_code error;
  require(!fs::exists(fs::symlink_status(to, error)),
          "{} is there already; give the name of a new database", to.string());
  require(fs::is_regular_file(from, error), "there is no database {}", from.string());
  SalvageReport report;
  TemporaryFolder folder;
  const fs::path copy = folder.path / "records.db";
  copy_database(from, copy, from.string());
  try {
    Source source = open_copy(copy, folder.path, from.string(), report);
    Database target(to, Database::Mode::ReadWrite);
    Salvager(source, target, report).all();
    require(report.records + report.winners + report.states > 0,
            "nothing can be read of {}: no records are left in it", from.string());
  } catch (const SqliteError& e) {
    fs::remove(to, error);
    throw_user(e.what());
  } catch (const UserError&) {
    fs::remove(to, error);
    throw;
  }
  return report;
}

}  // namespace burnish::search
