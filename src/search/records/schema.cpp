#include "search/records/schema.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"

namespace burnish::search {

namespace {

// migrations[n] leads from version n to n + 1. A released step is never edited: databases in the
// field have run it.
constexpr std::array<const char*, schema_version> migrations = {
    // Texts of workloads (kilobytes) and machines stand once. Times are seconds; seeds are 64 bits,
    // stored signed; a point
    // is "1,0,4".
    R"(
    CREATE TABLE workloads(
      hash TEXT PRIMARY KEY,
      text TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE machines(
      id INTEGER PRIMARY KEY,
      text TEXT NOT NULL UNIQUE
    );
    CREATE TABLE trials(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      workload_hash TEXT NOT NULL,
      target TEXT NOT NULL,
      threads INTEGER NOT NULL,
      compiler TEXT NOT NULL,
      machine INTEGER NOT NULL,
      tuner TEXT NOT NULL,
      seed INTEGER NOT NULL,
      knobs TEXT NOT NULL,
      point TEXT NOT NULL,
      trace TEXT NOT NULL,
      status TEXT NOT NULL,
      message TEXT NOT NULL,
      median REAL NOT NULL,
      mad REAL NOT NULL,
      min REAL NOT NULL,
      repeats INTEGER NOT NULL,
      checked INTEGER NOT NULL,
      build_seconds REAL NOT NULL,
      measure_seconds REAL NOT NULL,
      probe_seconds REAL NOT NULL,
      recorded_at INTEGER NOT NULL
    );
    CREATE INDEX trials_fastest ON trials(workload_hash, target, status, median);
    CREATE TABLE searches(
      key TEXT PRIMARY KEY,
      state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE winners(
      workload_hash TEXT NOT NULL,
      target TEXT NOT NULL,
      trace TEXT NOT NULL,
      default_seconds REAL NOT NULL,
      tuned_seconds REAL NOT NULL,
      model TEXT NOT NULL,
      recorded_at INTEGER NOT NULL,
      PRIMARY KEY(workload_hash, target)
    ) WITHOUT ROWID;
    )",
    // Records of other tools; duplicates are looked up by the second that they were measured in;
    // searches of one target.
    R"(
    ALTER TABLE trials ADD COLUMN origin TEXT NOT NULL DEFAULT '';
    CREATE INDEX trials_when ON trials(workload_hash, recorded_at);
    CREATE INDEX trials_target ON trials(target);
    )",
};

// While it lives, all reads see the same state of the database.
class Snapshot {
 public:
  explicit Snapshot(Connection& db) : db_(db) { db_.run("BEGIN"); }
  Snapshot(const Snapshot&) = delete;
  ~Snapshot() {
    try {
      db_.run("ROLLBACK");
    } catch (const SqliteError&) {  // what was read has failed, too, and said why
    }
  }

 private:
  Connection& db_;
};

}  // namespace

Content content_of(Connection& db) {
  const Snapshot one_state(db);  // another process may be making its tables right now
  const int64_t version = db.integer("PRAGMA user_version");
  const int64_t tables = db.integer("SELECT count(*) FROM sqlite_schema");
  const int64_t id = db.integer("PRAGMA application_id");
  if (tables == 0 && version == 0 && (id == 0 || id == application_id)) return Content::Empty;
  if (id != application_id) return Content::Foreign;
  if (version > schema_version) return Content::Newer;
  if (version < 1) return Content::Foreign;
  return version == schema_version ? Content::Current : Content::Older;
}

void migrate(Connection& db, int64_t to_version) {
  Transaction transaction(db);
  db.run(fmt::format("PRAGMA application_id = {}", application_id).c_str());
  int64_t version = db.integer("PRAGMA user_version");  // another process may just have done it
  for (; version < to_version; ++version) db.run(migrations[static_cast<size_t>(version)]);
  db.run(fmt::format("PRAGMA user_version = {}", version).c_str());
  transaction.commit();
}

void migrate(Connection& db) { migrate(db, schema_version); }

void refuse_content(Connection& db, Content content) {
  switch (content) {
  case Content::Empty:
    fail_user("{} is empty: there are no records in it; `burnish tune` writes some", db.name());
  case Content::Foreign:
    fail_user(
        "{} is a database of another program: it has no records of Burnish; give another path",
        db.name());
  case Content::Newer:
    fail_user("{} was written by a newer Burnish (its schema is {}, this program knows up to {}): "
              "use that one, or let it "
              "export the records as JSON lines",
              db.name(), db.integer("PRAGMA user_version"), schema_version);
  case Content::Older:
  case Content::Current: break;
  }
  throw_internal("a readable database was refused", std::source_location::current());
}

}  // namespace burnish::search
