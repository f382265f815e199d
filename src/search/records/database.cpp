// Database: what the tables of schema.cpp are read and written with.
#include <fmt/format.h>

#include <map>
#include <unordered_map>

#include "base/error.h"
#include "search/records.h"
#include "search/records/open.h"
#include "search/records/plausible.h"
#include "search/records/rows.h"

namespace burnish::search {

namespace {

// SQLite's refusals leave as what the user can do about them.
template <class F> auto as_user_errors(F f) {
  try {
    return f();
  } catch (const SqliteError& e) {
    throw_user(e.what());
  }
}

// A prepared statement for one use, however that ends.
class Use {
 public:
  explicit Use(Statement& s) : s_(s) {}
  ~Use() { s_.reset(); }
  Use(const Use&) = delete;
  Statement* operator->() { return &s_; }
  Statement& operator*() { return s_; }

 private:
  Statement& s_;
};

}  // namespace

struct Database::State {
  Connection db;
  mutable std::unordered_map<std::string, Statement> prepared;  // after db: gone before it

  explicit State(Connection c) : db(std::move(c)) {}

  Use use(const std::string& sql) const {
    auto it = prepared.find(sql);
    if (it == prepared.end()) it = prepared.emplace(sql, Statement(db, sql)).first;
    return Use(it->second);
  }

  // A text that was lost to damage, or not known yet, is filled in.
  void put_workload(const Record& r) {
    if (r.workload.empty()) return;
    Use s = use("INSERT INTO workloads(hash, text) VALUES (?1, ?2) ON CONFLICT(hash) DO UPDATE SET "
                "text = excluded.text "
                "WHERE text = ''");
    s->bind(1, r.workload_hash).bind(2, r.workload).done();
  }

  int64_t machine(const std::string& text) {
    {
      Use s = use("INSERT INTO machines(text) VALUES (?1) ON CONFLICT(text) DO NOTHING");
      s->bind(1, text).done();
    }
    Use s = use("SELECT id FROM machines WHERE text = ?1");
    s->bind(1, text);
    check(s->step(), "a machine that was just added is not there");
    return s->integer(0);
  }

  void put(const Record& r) {
    check(r.workload.empty() || r.workload_hash == hash_text(r.workload),
          "the hash {} is not that of the workload", r.workload_hash);
    put_workload(r);
    const int64_t m = machine(r.machine);
    Use s = use(insert_trial);
    bind_trial(*s, r, m);
    s->done();
  }

  bool has(const Record& r) const {
    Use s =
        use("SELECT 1 FROM trials INDEXED BY trials_when WHERE workload_hash = ?1 AND recorded_at "
            "= ?2 AND target = ?3 "
            "AND trace = ?4 AND knobs = ?5 "
            "AND status = ?6 AND median = ?7 AND mad = ?8 AND min = ?9 AND measure_seconds = ?10");
    Trial t = r.trial;
    make_plausible(t);
    s->bind(1, r.workload_hash).bind(2, r.when).bind(3, r.target).bind(4, t.trace).bind(5, r.knobs);
    s->bind(6, name_of(t.status))
        .bind(7, t.timing.median)
        .bind(8, t.timing.mad)
        .bind(9, t.timing.min);
    s->bind(10, t.measure_seconds);
    return s->step();
  }
};

Database::Database(const std::filesystem::path& path, Mode mode) {
  state_ = as_user_errors([&] {
    return std::make_unique<State>(mode == Mode::ReadWrite ? open_for_writing(path)
                                                           : open_for_reading(path));
  });
}
Database::~Database() = default;
Database::Database(Database&&) noexcept = default;

void Database::add(const std::vector<Record>& records, const std::string& state_key,
                   const std::string& state) {
  if (records.empty() && state_key.empty()) return;
  as_user_errors([&] {
    Transaction transaction(state_->db);
    for (const Record& r : records) state_->put(r);
    if (!state_key.empty()) {
      Use s = state_->use("INSERT OR REPLACE INTO searches(key, state) VALUES (?1, ?2)");
      s->bind(1, state_key).bind(2, state).done();
    }
    transaction.commit();
  });
}

int64_t Database::add_new(const std::vector<Record>& records) {
  if (records.empty()) return 0;
  return as_user_errors([&] {
    int64_t added = 0;
    Transaction transaction(state_->db);
    for (const Record& r : records) {
      if (state_->has(r)) {
        state_->put_workload(r);
      } else {
        state_->put(r);
        ++added;
      }
    }
    transaction.commit();
    return added;
  });
}

std::string Database::state(const std::string& key) const {
  return as_user_errors([&] {
    Use s = state_->use("SELECT state FROM searches WHERE key = ?1");
    s->bind(1, key);
    return s->step() ? s->text(0) : std::string();
  });
}

std::vector<std::pair<std::string, std::string>> Database::states() const {
  return as_user_errors([&] {
    Use s = state_->use("SELECT key, state FROM searches ORDER BY key");
    std::vector<std::pair<std::string, std::string>> all;
    while (s->step()) all.emplace_back(s->text(0), s->text(1));
    return all;
  });
}

void Database::add_winner(const Winner& w) {
  as_user_errors([&] {
    {
      Use s = state_->use(insert_winner);
      bind_winner(*s, w);
      s->done();
    }
    // The result of a whole search: synced, so that a power cut does not take it. Others'
    // transactions may delay that.
    state_->db.run("PRAGMA wal_checkpoint(PASSIVE)");
  });
}

void Database::remove_winner(const std::string& workload_hash, const std::string& target) {
  as_user_errors([&] {
    Use s = state_->use("DELETE FROM winners WHERE workload_hash = ?1 AND target = ?2");
    s->bind(1, workload_hash).bind(2, target).done();
  });
}

std::vector<Winner> Database::winners(const std::string& target) const {
  return as_user_errors([&] {
    Use s = state_->use(std::string(select_winners) + (target.empty() ? "" : " WHERE target = ?1") +
                        " ORDER BY workload_hash, target");
    if (!target.empty()) s->bind(1, target);
    std::vector<Winner> all;
    while (s->step()) {
      if (Winner w = read_winner(*s); !implausible(w)) all.push_back(std::move(w));
    }
    return all;
  });
}

void Database::each_record(const Query& q, const std::function<bool(const Record&)>& visit) const {
  std::string sql = select_trials;
  const char* joint = " WHERE ";
  const auto where = [&](bool wanted, const char* condition) {
    if (!wanted) return;
    sql += joint;
    sql += condition;
    joint = " AND ";
  };
  where(!q.workload_hash.empty(), "t.workload_hash = ?1");
  where(!q.target.empty(), "t.target = ?2");
  where(q.ok_only, "t.status = 'ok'");
  where(!q.foreign, "t.origin = ''");
  sql += " ORDER BY t.id";
  as_user_errors([&] {
    Use s = state_->use(sql);
    if (!q.workload_hash.empty()) s->bind(1, q.workload_hash);
    if (!q.target.empty()) s->bind(2, q.target);
    int64_t count = 0;
    while (s->step()) {
      const Record r = read_trial(*s);
      if (q.ok_only && r.trial.status != Status::Ok) continue;
      if (!visit(r) || ++count == q.limit) break;
    }
  });
}

std::vector<Record> Database::records(const Query& q) const {
  std::vector<Record> all;
  each_record(q, [&](const Record& r) {
    all.push_back(r);
    return true;
  });
  return all;
}

std::optional<Record> Database::best(const std::string& workload_hash,
                                     const std::string& target) const {
  return as_user_errors([&]() -> std::optional<Record> {
    Use s = state_->use(
        std::string(select_trials) +
        " WHERE t.workload_hash = ?1 AND t.target = ?2 AND t.status = 'ok' AND t.median > 0 "
        "AND t.origin = '' ORDER BY t.median, t.id");
    s->bind(1, workload_hash).bind(2, target);
    while (s->step()) {
      if (Record r = read_trial(*s); r.trial.status == Status::Ok) return r;
    }
    return std::nullopt;
  });
}

int64_t Database::count() const {
  return as_user_errors([&] {
    Use s = state_->use("SELECT count(*) FROM trials");
    return s->step() ? s->integer(0) : int64_t{0};
  });
}

}  // namespace burnish::search
