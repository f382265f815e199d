#include "search/records/open.h"

#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "search/records/schema.h"

namespace burnish::search {

namespace {

namespace fs = std::filesystem;

// Checking every page of a database takes about a millisecond a megabyte.
constexpr uintmax_t most_checked_bytes = 256u << 20;

// Absolute, so that no name means something else to SQLite (":memory:").
fs::path checked_path(const fs::path& path, bool must_exist) {
  require(!path.empty(), "where are the records? the path of their database is empty");
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  require(!error, "cannot open {}: {}", path.string(), error.message());
  const fs::file_status status = fs::status(whole, error);
  if (status.type() == fs::file_type::none)
    fail_user("cannot open {}: {}", path.string(), error.message());
  if (!fs::exists(status)) {
    require(!must_exist, "there is no {}; `burnish tune MODEL --records {}` makes it",
            path.string(), path.string());
    require(fs::is_directory(whole.parent_path(), error), "cannot make {}: there is no folder {}",
            path.string(), whole.parent_path().string());
  } else if (fs::is_directory(status)) {
    fail_user("cannot open {}: it is a folder; give the path of a database", path.string());
  } else {
    require(fs::is_regular_file(status),
            "cannot open {}: it is no ordinary file; give the path of a database", path.string());
  }
  return whole;
}

// Committed transactions are appended to a log beside the file: readers and one writer never wait
// for one another, and a commit is one write into the kernel's page cache. That is what survives
// the death of a process; synchronous=NORMAL saves the fsync of each commit, which would only add
// what power cuts take, and would disturb what is being timed. The log is synced before it is
// copied into the file, so that no cut can damage that.
void use_log(Connection& db) {
  // Switching needs the file for oneself and does not wait for it: other processes may be opening
  // it right now.
  std::string mode;
  for (int attempt = 0; attempt < 200; ++attempt) {
    try {
      mode = db.text("PRAGMA journal_mode = WAL");
      break;
    } catch (const SqliteError& e) {
      if ((e.code & 0xff) != SQLITE_BUSY) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  // File systems without shared memory keep the old journal, which needs every sync.
  db.run(mode == "wal" ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
}

fs::path beside(const fs::path& path, const char* ending) {
  fs::path other = path;
  return other += ending;
}

bool has_bytes(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return !error && size > 0;
}

// A database whose folder cannot be written: no log can be opened beside it. What is in a log that
// lies there already counts, so then a copy of both is read.
Connection open_unwritable(const fs::path& whole, const std::string& name) {
  const bool logged = has_bytes(beside(whole, "-wal")) || has_bytes(beside(whole, "-journal"));
  if (!logged) return Connection(whole, Connection::Open::Immutable, name);
  TemporaryFolder folder;
  copy_database(whole, folder.path / "records.db", name);
  return Connection(folder.path / "records.db", Connection::Open::Write, name).in_memory();
}

Connection open_readable(const fs::path& whole, const std::string& name, bool keep_log) {
  try {
    Connection db(whole, Connection::Open::Write, name);
    db.keep_log(keep_log);
    db.integer("SELECT count(*) FROM sqlite_schema");
    return db;
  } catch (const SqliteError& e) {
    if (!e.cannot_open()) throw;
    if (::access(whole.c_str(), R_OK) != 0) throw;
  }
  Connection db = open_unwritable(whole, name);
  db.integer("SELECT count(*) FROM sqlite_schema");
  return db;
}

}  // namespace

void copy_database(const fs::path& from, const fs::path& to, const std::string& name) {
  for (const char* ending : {"", "-wal", "-journal"}) {
    std::error_code error;
    if (!fs::exists(beside(from, ending), error)) continue;
    fs::copy_file(beside(from, ending), beside(to, ending), error);
    require(!error, "cannot copy {}{} for reading: {}", name, ending, error.message());
  }
}

Connection open_for_writing(const fs::path& path) {
  const fs::path whole = checked_path(path, false);
  Connection db(whole, Connection::Open::Create, path.string());
  const Content content = content_of(db);
  switch (content) {
  case Content::Newer:
  case Content::Foreign: refuse_content(db, content);
  case Content::Empty:
  case Content::Older: migrate(db); break;
  case Content::Current: break;
  }
  use_log(db);
  {
    Transaction writable(db);
  }
  std::error_code error;
  if (content != Content::Empty && fs::file_size(whole, error) <= most_checked_bytes) {
    const std::string verdict = db.text("PRAGMA quick_check(1)");
    if (verdict != "ok") throw SqliteError(db.name(), SQLITE_CORRUPT, 0, verdict);
  }
  return db;
}

Connection open_for_reading(const fs::path& path) {
  const fs::path whole = checked_path(path, true);
  // Opened for writing where that is allowed: the last one who closes it then clears the log away.
  Connection db = open_readable(whole, path.string(), false);
  const Content content = content_of(db);
  switch (content) {
  case Content::Empty:
  case Content::Newer:
  case Content::Foreign: refuse_content(db, content);
  case Content::Older:
    db = db.in_memory();
    migrate(db);
    break;
  case Content::Current: break;
  }
  db.run("PRAGMA query_only = 1");
  return db;
}

Connection open_as_it_is(const fs::path& path) {
  const fs::path whole = checked_path(path, true);
  return open_readable(whole, path.string(), has_bytes(beside(whole, "-wal")));
}

}  // namespace burnish::search
