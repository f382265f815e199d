#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <set>
#include <thread>

#include "search/records/schema.h"
#include "search/records_help.h"

namespace burnish::search {

namespace {

using Mode = Database::Mode;
namespace fs = std::filesystem;

testing::AssertionResult says(const std::string& text, const char* word) {
  if (text.find(word) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << word << "\" is not in: " << text;
}

// Runs `f` in a process of its own; its result is the exit status.
int in_child(const std::function<int()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 99;
    try {
      status = f();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "in the child: %s\n", e.what());
    }
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Records, RoundTrip) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Folder folder;
  std::vector<Record> all;
  for (int i = 0; i < 200; ++i) all.push_back(random_record(random));
  {
    Database db(folder / "a.db", Mode::ReadWrite);
    for (size_t i = 0; i < all.size(); i += 50)
      db.add({all.begin() + i, all.begin() + i + 50}, "search", std::to_string(i));
    EXPECT_EQ(db.count(), 200);
  }
  for (const Mode mode : {Mode::ReadOnly, Mode::ReadWrite}) {
    Database db(folder / "a.db", mode);
    const auto back = db.records({});
    ASSERT_EQ(back.size(), all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(back[i].id, static_cast<int64_t>(i) + 1);
      expect_same(all[i], back[i]);
    }
    EXPECT_EQ(db.state("search"), "150");
    EXPECT_EQ(db.state("another"), "");
  }
}

TEST(Records, Queries) {
  Folder folder;
  Database db(folder / "a.db", Mode::ReadWrite);
  Record slow = some_record(2e-3), fast = some_record(1e-3), failed = some_record(1e-6),
         other = some_record(1e-4);
  failed.trial.status = Status::Wrong;
  other.target = "llvm:cpu=znver4,threads=1";
  other.threads = 1;
  Record foreign = some_record(1e-9);
  foreign.foreign = "autotvm";
  db.add({slow, fast, failed, other, foreign}, "", "");
  EXPECT_EQ(db.count(), 5);
  EXPECT_EQ(db.records({}).size(), 4u);
  EXPECT_EQ(db.records({.foreign = true}).size(), 5u);
  EXPECT_EQ(db.records({.target = this_target}).size(), 3u);
  EXPECT_EQ(db.records({.target = this_target, .ok_only = true}).size(), 2u);
  EXPECT_EQ(db.records({.limit = 1}).size(), 1u);
  EXPECT_TRUE(db.records({.workload_hash = "0"}).empty());
  ASSERT_TRUE(db.best(fast.workload_hash, this_target));
  EXPECT_EQ(db.best(fast.workload_hash, this_target)->trial.timing.median, 1e-3);
  EXPECT_FALSE(db.best(fast.workload_hash, "llvm:cpu=other,threads=2"));
}

TEST(Records, Winners) {
  Folder folder;
  Database db(folder / "a.db", Mode::ReadWrite);
  Winner w{.workload_hash = "1",
           .target = "t",
           .trace = "a",
           .default_seconds = 2,
           .tuned_seconds = 1,
           .model = "m.onnx",
           .when = 5};
  db.add_winner(w);
  w.trace = "b";
  db.add_winner(w);
  Winner other = w;
  other.target = "u";
  db.add_winner(other);
  ASSERT_EQ(db.winners("t").size(), 1u);
  EXPECT_EQ(db.winners("t")[0].trace, "b");
  EXPECT_EQ(db.winners("t")[0].model, "m.onnx");
  EXPECT_EQ(db.winners("").size(), 2u);
  db.remove_winner("1", "t");
  EXPECT_TRUE(db.winners("t").empty());
  EXPECT_EQ(db.winners("").size(), 1u);
}

TEST(Records, ImpossibleTimesNeverWin) {
  Folder folder;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Database db(folder / "a.db", Mode::ReadWrite);
  for (const double median : {nan, -1.0, 0.0, HUGE_VAL, 1e300})
    db.add({some_record(median)}, "", "");
  for (const Record& r : db.records({})) {
    EXPECT_EQ(r.trial.status, Status::Lost);
    EXPECT_TRUE(says(r.trial.message, "median"));
  }
  db.add({some_record(1e-3)}, "", "");
  // What others have written into the file counts no more than what we would have.
  for (const char* median : {"-1.0", "0", "'fast'", "1e-999", "9e999"}) {
    sql(folder / "a.db",
        std::string("UPDATE trials SET status = 'ok', median = ") + median + " WHERE id = 1");
    EXPECT_EQ(db.best(hash_text(relu_workload), this_target)->id, 6);
    EXPECT_EQ(db.records({.ok_only = true}).size(), 1u) << median;
  }
  sql(folder / "a.db", "UPDATE trials SET status = 'splendid' WHERE id = 6");
  EXPECT_FALSE(db.best(hash_text(relu_workload), this_target));
  EXPECT_EQ(db.records({}).size(), 6u);
}

TEST(Records, TextsStandOnce) {
  Folder folder;
  Database db(folder / "a.db", Mode::ReadWrite);
  db.add(std::vector<Record>(10, some_record()), "", "");
  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "a.db").c_str(), &raw), SQLITE_OK);
  for (const char* table : {"workloads", "machines"}) {
    sqlite3_stmt* s = nullptr;
    sqlite3_prepare_v2(raw, (std::string("SELECT count(*) FROM ") + table).c_str(), -1, &s,
                       nullptr);
    ASSERT_EQ(sqlite3_step(s), SQLITE_ROW);
    EXPECT_EQ(sqlite3_column_int(s, 0), 1) << table;
    sqlite3_finalize(s);
  }
  // The fastest is found through the index, not by looking at all trials.
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(raw,
                     "EXPLAIN QUERY PLAN SELECT * FROM trials WHERE workload_hash = '1' AND target "
                     "= '2' AND status = 'ok' "
                     "AND median > 0 ORDER BY median, id",
                     -1, &s, nullptr);
  ASSERT_EQ(sqlite3_step(s), SQLITE_ROW);
  EXPECT_TRUE(
      says(reinterpret_cast<const char*>(sqlite3_column_text(s, 3)), "USING INDEX trials_fastest"));
  EXPECT_NE(sqlite3_step(s), SQLITE_ROW) << "it sorts";
  sqlite3_finalize(s);
  sqlite3_close(raw);
}

TEST(Records, DuplicatesAreRecognised) {
  Folder folder;
  Database db(folder / "a.db", Mode::ReadWrite);
  EXPECT_EQ(db.add_new({some_record(), some_record()}), 1);
  EXPECT_EQ(db.add_new({some_record()}), 0);
  std::vector<Record> others(6, some_record());
  others[0].when += 1;
  others[1].trial.trace = "";
  others[2].trial.timing.median *= 1 + 1e-15;
  others[3].target = "llvm:cpu=znver4,threads=2";
  others[4].workload += "\n";
  others[4].workload_hash = hash_text(others[4].workload);
  others[5].trial.status = Status::Wrong;
  EXPECT_EQ(db.add_new(others), 6);
  EXPECT_EQ(db.add_new(others), 0);
}

// The schema of the first version, written out: what a database looks like that an old program
// left.
void make_version_1(const fs::path& path) {
  sql(path, "PRAGMA application_id = 1114795635;"
            "CREATE TABLE workloads(hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE machines(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);"
            "CREATE TABLE trials(id INTEGER PRIMARY KEY AUTOINCREMENT, workload_hash TEXT NOT "
            "NULL, target TEXT NOT NULL, threads "
            "INTEGER NOT NULL, compiler TEXT NOT NULL, machine INTEGER NOT NULL, tuner TEXT NOT "
            "NULL, seed INTEGER NOT NULL, knobs "
            "TEXT NOT NULL, point TEXT NOT NULL, trace TEXT NOT NULL, status TEXT NOT NULL, "
            "message TEXT NOT NULL, median REAL NOT "
            "NULL, mad REAL NOT NULL, min REAL NOT NULL, repeats INTEGER NOT NULL, checked INTEGER "
            "NOT NULL, build_seconds REAL NOT "
            "NULL, measure_seconds REAL NOT NULL, probe_seconds REAL NOT NULL, recorded_at INTEGER "
            "NOT NULL);"
            "CREATE INDEX trials_fastest ON trials(workload_hash, target, status, median);"
            "CREATE TABLE searches(key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE winners(workload_hash TEXT NOT NULL, target TEXT NOT NULL, trace TEXT "
            "NOT NULL, default_seconds REAL NOT "
            "NULL, tuned_seconds REAL NOT NULL, model TEXT NOT NULL, recorded_at INTEGER NOT NULL, "
            "PRIMARY KEY(workload_hash, "
            "target)) WITHOUT ROWID;"
            "PRAGMA user_version = 1;"
            "INSERT INTO machines VALUES (1, 'some CPU, L2 1 MiB');"
            "INSERT INTO workloads VALUES ('" +
                hash_text(relu_workload) + "', '" + relu_workload +
                "');"
                "INSERT INTO trials VALUES (41, '" +
                hash_text(relu_workload) + "', '" + this_target +
                "', 2, 'burnish 0.1.0', 1, 'xgb', "
                "7, 'rows=6 vectors=2', '3,0,65535', 'split(relu, c, 8, tail)' || char(10) || "
                "'vectorize(relu, c.i)', 'ok', '', 0.001, " +
                number_text(some_record().trial.timing.mad) + ", " +
                number_text(some_record().trial.timing.min) +
                ", 5, 1, 0.021, 0.0062, 1.25e-5, 1700000000);"
                "INSERT INTO searches VALUES ('s', 'old state');"
                "INSERT INTO winners VALUES ('1', 't', 'a', 2, 1, 'm.onnx', 5);");
}

TEST(Records, OldSchemasAreMigrated) {
  for (const Mode mode : {Mode::ReadOnly, Mode::ReadWrite}) {
    Folder folder;
    make_version_1(folder / "old.db");
    const std::string before = read_file(folder / "old.db");
    {
      Database db(folder / "old.db", mode);
      ASSERT_EQ(db.count(), 1);
      EXPECT_EQ(db.records({})[0].id, 41);
      expect_same(db.records({})[0], some_record());
      EXPECT_EQ(db.state("s"), "old state");
      EXPECT_EQ(db.winners("t").size(), 1u);
      if (mode == Mode::ReadWrite) {
        EXPECT_EQ(db.add_new({some_record()}), 0);
        db.add({some_record()}, "", "");
        EXPECT_EQ(db.records({})[1].id, 42);
      }
    }
    if (mode == Mode::ReadOnly) {
      EXPECT_EQ(read_file(folder / "old.db"), before);
    }
  }
}

TEST(Records, AMigratedSchemaIsTheNewOne) {
  Folder folder;
  make_version_1(folder / "old.db");
  {
    Database old(folder / "old.db", Mode::ReadWrite), fresh(folder / "new.db", Mode::ReadWrite);
  }
  std::string schemas[2];
  for (const int i : {0, 1}) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((folder / (i ? "new.db" : "old.db")).c_str(), &db), SQLITE_OK);
    const auto append = [](void* text, int columns, char** values, char**) {
      for (int c = 0; c < columns; ++c)
        *static_cast<std::string*>(text) += std::string(values[c] ? values[c] : "-") + " ";
      *static_cast<std::string*>(text) += "\n";
      return 0;
    };
    for (const char* query : {"SELECT name, tbl_name FROM sqlite_schema ORDER BY name",
                              "SELECT name, type, \"notnull\", pk FROM pragma_table_info('trials')",
                              "PRAGMA user_version"}) {
      sqlite3_exec(db, query, append, &schemas[i], nullptr);
    }
    sqlite3_close(db);
  }
  EXPECT_EQ(schemas[0], schemas[1]);
}

TEST(Records, NewerAndForeignDatabasesAreRefused) {
  Folder folder;
  {
    Database db(folder / "a.db", Mode::ReadWrite);
  }
  sql(folder / "a.db", "PRAGMA user_version = 7");
  sql(folder / "b.db", "CREATE TABLE songs(title TEXT)");
  write_file(folder / "c.db", std::string(5000, 'x'));
  write_file(folder / "d.db", "");
  for (const Mode mode : {Mode::ReadOnly, Mode::ReadWrite}) {
    const std::string newer = message_of([&] { Database(folder / "a.db", mode); });
    EXPECT_TRUE(says(newer, "a.db")) << newer;
    EXPECT_TRUE(says(newer, "newer Burnish")) << newer;
    EXPECT_TRUE(says(newer, "7")) << newer;
    EXPECT_TRUE(says(message_of([&] { Database(folder / "b.db", mode); }), "another program"));
    EXPECT_TRUE(
        says(message_of([&] { Database(folder / "c.db", mode); }), "no database of records"));
  }
  EXPECT_TRUE(says(message_of([&] { Database(folder / "d.db", Mode::ReadOnly); }), "empty"));
  Database(folder / "d.db", Mode::ReadWrite)
      .add({some_record()}, "", "");  // killed while it was being made
  EXPECT_EQ(Database(folder / "d.db", Mode::ReadOnly).count(), 1);
}

TEST(Records, PathsThatAreNoDatabase) {
  Folder folder;
  EXPECT_TRUE(says(message_of([&] { Database(folder / "a.db", Mode::ReadOnly); }), "there is no"));
  EXPECT_FALSE(fs::exists(folder / "a.db"));
  EXPECT_TRUE(says(message_of([&] { Database(folder.path, Mode::ReadWrite); }), "folder"));
  EXPECT_TRUE(says(message_of([&] { Database(folder / "no/a.db", Mode::ReadWrite); }),
                   "there is no folder"));
  ::mkfifo((folder / "fifo").c_str(), 0600);
  EXPECT_TRUE(
      says(message_of([&] { Database(folder / "fifo", Mode::ReadOnly); }), "no ordinary file"));
  EXPECT_TRUE(says(message_of([&] { Database("", Mode::ReadWrite); }), "empty"));
  const fs::path odd = folder / "r?s%41 #ü'\".db";
  Database(odd, Mode::ReadWrite).add({some_record()}, "", "");
  EXPECT_EQ(Database(odd, Mode::ReadOnly).count(), 1);
  const fs::path before = fs::current_path();
  fs::current_path(folder.path);
  Database(":memory:", Mode::ReadWrite).add({some_record()}, "", "");
  EXPECT_TRUE(fs::exists(folder / ":memory:"));
  fs::current_path(before);
}

TEST(Records, DamageIsASentence) {
  Folder folder;
  {
    Database db(folder / "a.db", Mode::ReadWrite);
    std::vector<Record> all;
    for (int i = 0; i < 500; ++i) all.push_back(some_record(1e-3, 1'700'000'000 + i));
    db.add(all, "s", std::string(20000, 's'));
  }
  const std::string good = read_file(folder / "a.db");
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  int noticed = 0;
  for (int i = 0; i < 60; ++i) {
    std::string bad = good;
    if (i % 3 == 0) {
      bad.resize(random() % good.size());
    } else if (i % 3 == 1) {
      const size_t page = random() % (good.size() / 4096);
      bad.replace(page * 4096, 4096, std::string(4096, i % 2 ? '\0' : 'z'));
    } else {
      for (int k = 0; k < 40; ++k) bad[random() % bad.size()] = static_cast<char>(random());
    }
    write_file(folder / "b.db", bad);
    for (const Mode mode : {Mode::ReadWrite, Mode::ReadOnly}) {
      try {
        Database db(folder / "b.db", mode);
        db.records({});
        db.winners("");
        db.best(hash_text(relu_workload), this_target);
        if (mode == Mode::ReadWrite) db.add({some_record()}, "k", "state");
      } catch (const UserError& e) {
        ++noticed;
        EXPECT_TRUE(says(e.what(), "b.db")) << e.what();
      }
    }
    for (const char* ending : {"-wal", "-shm", "-journal"})
      fs::remove(folder.path / (std::string("b.db") + ending));
  }
  EXPECT_GE(noticed, 40);
}

TEST(Records, SeveralProcessesWrite) {
  Folder folder;
  constexpr int processes = 4, batches = 40;
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      int status = 0;
      try {
        Database db(folder / "a.db", Mode::ReadWrite);  // all of them make it
        for (int b = 0; b < batches; ++b) {
          db.add({some_record(1e-3, p * 1000 + b), some_record(2e-3, p * 1000 + b)},
                 "state" + std::to_string(p), std::to_string(b));
        }
      } catch (const std::exception& e) {
        std::fprintf(stderr, "writer %d: %s\n", p, e.what());
        status = 1;
      }
      ::_exit(status);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  Database db(folder / "a.db", Mode::ReadOnly);
  EXPECT_EQ(db.count(), processes * batches * 2);
  for (int p = 0; p < processes; ++p)
    EXPECT_EQ(db.state("state" + std::to_string(p)), std::to_string(batches - 1));
  std::set<std::pair<int64_t, double>> seen;
  for (const Record& r : db.records({})) seen.emplace(r.when, r.trial.timing.median);
  EXPECT_EQ(seen.size(), static_cast<size_t>(processes * batches * 2));
}

// A writer commits in a loop and says each number once it is committed; it is killed at a random
// moment.
TEST(Records, NothingCommittedIsLostToKills) {
  Folder folder;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  int64_t next = 1, said_in_all = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      Database db(folder / "a.db", Mode::ReadWrite);
      for (int64_t n = next;; ++n) {
        std::vector<Record> batch(1 + static_cast<size_t>(n % 3), some_record(1e-3, n));
        db.add(batch, "search", std::to_string(n));
        if (::write(ends[1], &n, sizeof n) != sizeof n) ::_exit(0);
      }
    }
    ::close(ends[1]);
    int64_t first = 0;  // the time starts when it writes
    ASSERT_EQ(::read(ends[0], &first, sizeof first), static_cast<ssize_t>(sizeof first));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    int64_t last = first, n = 0;
    while (::read(ends[0], &n, sizeof n) == sizeof n) last = n;
    ::close(ends[0]);
    said_in_all += last - next + 1;

    Database db(folder / "a.db", round % 2 ? Mode::ReadWrite : Mode::ReadOnly);
    std::map<int64_t, int64_t> there;
    for (const Record& r : db.records({})) ++there[r.when];
    const int64_t newest = there.rbegin()->first;
    EXPECT_GE(newest, last);
    EXPECT_LE(newest, last + 1);  // committed, but killed before it could say so
    for (int64_t i = 1; i <= newest; ++i) EXPECT_EQ(there[i], 1 + i % 3) << i;
    EXPECT_EQ(db.state("search"), std::to_string(newest));  // trials and state are one
    next = newest + 1;
  }
  EXPECT_GT(said_in_all, 100);
}

TEST(Records, ReadersDoNotWaitForAWriter) {
  Folder folder;
  Database writer(folder / "a.db", Mode::ReadWrite);
  writer.add({some_record()}, "", "");
  Database reader(folder / "a.db", Mode::ReadOnly);
  sqlite3* busy = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "a.db").c_str(), &busy), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(busy, "BEGIN IMMEDIATE; DELETE FROM trials", nullptr, nullptr, nullptr),
            SQLITE_OK);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(reader.count(), 1);
  EXPECT_EQ(Database(folder / "a.db", Mode::ReadOnly).count(), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  sqlite3_close(busy);
}

TEST(Records, ReadOnlyLeavesNoTraces) {
  Folder folder;
  {
    Database(folder / "a.db", Mode::ReadWrite).add({some_record()}, "", "");
  }
  const std::string before = read_file(folder / "a.db");
  {
    Database db(folder / "a.db", Mode::ReadOnly);
    EXPECT_EQ(db.records({}).size(), 1u);
    EXPECT_TRUE(says(message_of([&] { db.add({some_record()}, "", ""); }), "a.db"));
  }
  EXPECT_EQ(read_file(folder / "a.db"), before);
  std::set<std::string> files;
  for (const auto& f : fs::directory_iterator(folder.path)) files.insert(f.path().filename());
  EXPECT_EQ(files, std::set<std::string>{"a.db"});
}

// Permissions stop nobody who is root: the child becomes someone else.
int as_nobody(const std::function<int()>& f) {
  return in_child([&] {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 77;
    return f();
  });
}

TEST(Records, AFolderThatCannotBeWritten) {
  for (const bool with_log : {false, true}) {
    Folder folder;
    fs::create_directory(folder / "ro");
    const fs::path path = folder / "ro/a.db";
    if (with_log) {  // a killed writer leaves its log behind, with committed records in it
      in_child([&] {
        Database db(path, Mode::ReadWrite);
        db.add({some_record()}, "s", "state");
        ::raise(SIGKILL);
        return 0;
      });
      ASSERT_GT(fs::file_size(path.string() + "-wal"), 0u);
      fs::remove(path.string() + "-shm");
    } else {
      Database(path, Mode::ReadWrite).add({some_record()}, "s", "state");
    }
    for (const auto& f : fs::directory_iterator(folder / "ro"))
      fs::permissions(f.path(), fs::perms(0444));
    fs::permissions(folder / "ro", fs::perms(0555));
    fs::permissions(folder.path, fs::perms(0755));
    const int status = as_nobody([&] {
      const Database db(path, Mode::ReadOnly);
      if (db.count() != 1 || db.state("s") != "state" || db.records({}).size() != 1) return 1;
      try {
        Database(path, Mode::ReadWrite);
        return 2;
      } catch (const UserError& e) {
        return says(e.what(), "be written") ? 0 : 3;
      }
    });
    fs::permissions(folder / "ro", fs::perms(0755));
    EXPECT_EQ(status, 0) << "with a log: " << with_log;
  }
}

TEST(Records, AFileThatCannotBeRead) {
  Folder folder;
  Database(folder / "a.db", Mode::ReadWrite).add({some_record()}, "", "");
  fs::permissions(folder / "a.db", fs::perms(0));
  fs::permissions(folder.path, fs::perms(0755));
  EXPECT_EQ(as_nobody([&] {
              try {
                Database(folder / "a.db", Mode::ReadOnly);
                return 1;
              } catch (const UserError& e) {
                return says(e.what(), "ermission denied") && says(e.what(), "a.db") ? 0 : 2;
              }
            }),
            0);
}

// Writes until it cannot: what was committed before stays, and the message says what to do.
int fill(const fs::path& path) {
  Database db(path, Mode::ReadWrite);
  int64_t committed = 0;
  try {
    for (; committed < 100'000; ++committed) {
      Record r = some_record(1e-3, committed);
      r.trial.message = std::string(2000, 'm');
      r.trial.status = Status::Crashed;
      db.add({r}, "s", std::to_string(committed));
    }
    return 1;
  } catch (const UserError& e) {
    if (!says(e.what(), "cannot grow") || !says(e.what(), "committed before is kept")) {
      std::fprintf(stderr, "%s\n", e.what());
      return 2;
    }
  }
  if (committed < 10) return 3;
  if (db.count() != committed || db.state("s") != std::to_string(committed - 1)) return 4;
  const Database reader(path, Mode::ReadOnly);
  return reader.count() == committed ? 0 : 5;
}

TEST(Records, AFileSizeLimit) {
  Folder folder;
  EXPECT_EQ(in_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{1'000'000, 1'000'000};
              ::setrlimit(RLIMIT_FSIZE, &limit);
              return fill(folder / "a.db");
            }),
            0);
  const Database db(folder / "a.db", Mode::ReadOnly);
  EXPECT_GE(db.count(), 10);
}

TEST(Records, AFullDisk) {
  Folder folder;
  fs::create_directory(folder / "disk");
  if (::mount("none", (folder / "disk").c_str(), "tmpfs", 0, "size=512k") != 0)
    GTEST_SKIP() << "only root can mount a small disk";
  const int status = in_child([&] { return fill(folder / "disk/a.db"); });
  std::string full;
  try {
    // No room even for making one: a sentence, too.
    write_file(folder / "disk/rest", "");
    std::ofstream rest(folder / "disk/rest");
    for (int i = 0; i < 1000 && rest; ++i) rest << std::string(4096, 'x') << std::flush;
    Database(folder / "disk/b.db", Mode::ReadWrite).add({some_record()}, "", "");
  } catch (const UserError& e) {
    full = e.what();
  }
  ::umount2((folder / "disk").c_str(), MNT_DETACH);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(says(full, "b.db")) << full;
}

}  // namespace

}  // namespace burnish::search
