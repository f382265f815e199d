// What is wrong with a database, and what is worth knowing about it.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "search/records.h"
#include "search/records/json_fields.h"
#include "search/records/open.h"
#include "search/records/plausible.h"
#include "search/records/rows.h"
#include "search/records/schema.h"

namespace burnish::search {

namespace {

std::string counted(int64_t n, const char* what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

class Examiner {
 public:
  explicit Examiner(std::vector<Finding>& findings) : findings_(findings) {}

  void all(Connection db, const std::string& target) {
    const Content content = content_of(db);
    switch (content) {
    case Content::Empty:
    case Content::Newer:
    case Content::Foreign: try { refuse_content(db, content);
      } catch (const UserError& e) {
        problem(e.what());
      }
      return;
    case Content::Older:
      note(fmt::format(
          "its schema is {}, older than this program's {}: the next one who writes migrates it",
          db.integer("PRAGMA user_version"), schema_version));
      break;
    case Content::Current: break;
    }
    pages(db);
    if (content == Content::Older) {
      db = db.in_memory();
      migrate(db);
    }
    trials(db);
    workloads(db);
    winners(db);
    origins(db, target);
    const auto is_note = [](const Finding& f) { return f.kind == Finding::Kind::Note; };
    if (std::ranges::all_of(findings_, is_note))
      db.keep_log(false);  // well: closed as by any reader
  }

  void problem(std::string text) { findings_.push_back({Finding::Kind::Problem, std::move(text)}); }
  void note(std::string text) { findings_.push_back({Finding::Kind::Note, std::move(text)}); }

 private:
  void pages(Connection& db) {
    Statement s(db, "PRAGMA integrity_check(20)");
    while (s.step()) {
      if (const std::string line = s.text(0); line != "ok") problem("damaged pages: " + line);
    }
  }

  void trials(Connection& db) {
    struct Kind {
      int64_t count = 0;
      std::string first;
    };
    std::map<std::string, Kind> wrong;
    const auto tell = [&](const char* kind, const Record& r, const std::string& why) {
      Kind& k = wrong[kind];
      if (k.count++ == 0) k.first = fmt::format("record {}: {}", r.id, shortened(why, 200));
    };
    Statement s(db, select_bare_trials);
    while (s.step()) {
      int64_t machine = 0;
      const Record r = read_bare_trial(s, machine);
      if (r.trial.status == Status::Lost && r.trial.message.starts_with("unknown status")) {
        tell("with an unknown status", r, r.trial.message);
      } else if (const auto why = implausible(r)) {
        tell("with impossible values, which never win", r, *why);
      }
    }
    for (const auto& [kind, k] : wrong)
      problem(fmt::format("{} {} ({})", counted(k.count, "record"), kind, k.first));
    const int64_t textless =
        db.integer("SELECT count(*) FROM trials t LEFT JOIN workloads w ON w.hash = "
                   "t.workload_hash WHERE w.text IS NULL OR w.text = ''");
    if (textless > 0) {
      problem(fmt::format("{} whose workload has no text: no cost model can learn from them",
                          counted(textless, "record")));
    }
  }

  void workloads(Connection& db) {
    Statement s(db, "SELECT hash, text FROM workloads");
    while (s.step()) {
      if (const std::string hash = s.text(0), text = s.text(1);
          !text.empty() && hash != hash_text(text)) {
        problem(
            fmt::format("the workload {} has the text of another one ({}): it was changed by hand",
                        shortened(hash), hash_text(text)));
      }
    }
  }

  void winners(Connection& db) {
    Statement s(db, select_winners);
    Statement measured(db, "SELECT 1 FROM trials WHERE workload_hash = ?1 AND target = ?2 AND "
                           "status = 'ok' AND trace = ?3");
    while (s.step()) {
      const Winner w = read_winner(s);
      const std::string name = fmt::format("the winner of {} on {}", shortened(w.workload_hash),
                                           shortened(w.target, 200));
      if (const auto why = implausible(w)) {
        problem(fmt::format("{} is not used: {}", name, *why));
        continue;
      }
      if (w.tuned_seconds > w.default_seconds) {
        problem(fmt::format("{} is slower than the default schedule: {} s, not {} s", name,
                            w.tuned_seconds, w.default_seconds));
      }
      if (w.avoids()) continue;  // measured within models only
      measured.bind(1, w.workload_hash).bind(2, w.target).bind(3, w.trace);
      if (!measured.step())
        problem(
            name +
            " is an orphan: no record here has its schedule; measure it again with `burnish tune`");
      measured.reset();
    }
  }

  void origins(Connection& db, const std::string& target) {
    Statement targets(
        db,
        "SELECT target, count(*) FROM trials WHERE origin = '' GROUP BY target ORDER BY 2 DESC, 1");
    int64_t others = 0;
    while (targets.step()) {
      if (target.empty() || without_threads(targets.text(0)) == without_threads(target)) continue;
      if (++others <= 20) {
        note(fmt::format("{} of another target: {}", counted(targets.integer(1), "record"),
                         shortened(targets.text(0), 300)));
      }
    }
    if (others > 20) note(fmt::format("and of {} more targets", others - 20));
    Statement compilers(db, "SELECT compiler, count(*) FROM trials WHERE origin = '' GROUP BY "
                            "compiler ORDER BY 2 DESC, 1 LIMIT 20");
    std::vector<std::string> seen;
    while (compilers.step()) {
      seen.push_back(fmt::format("{} ({})", shortened(compilers.text(0), 100),
                                 counted(compilers.integer(1), "record")));
    }
    if (seen.size() > 1)
      note(fmt::format("measured by several compilers: {}", fmt::join(seen, ", ")));
    Statement tools(
        db, "SELECT origin, count(*) FROM trials WHERE origin <> '' GROUP BY origin LIMIT 20");
    while (tools.step()) {
      note(fmt::format("{} of {}: listed, never used for code", counted(tools.integer(1), "record"),
                       shortened(tools.text(0), 100)));
    }
  }

  std::vector<Finding>& findings_;
};

}  // namespace

std::vector<Finding> examine(const std::filesystem::path& path, const std::string& target) {
  std::vector<Finding> findings;
  Examiner examiner(findings);
  try {
    examiner.all(open_as_it_is(path), target);
  } catch (const SqliteError& e) {
    examiner.problem(e.what());
  }
  return findings;
}

}  // namespace burnish::search
