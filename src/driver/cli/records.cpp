// burnish records ls|best|export|import|merge|doctor: what was measured, shown, shared and mended.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "driver/cli/commands.h"
#include "driver/cli/records_view.h"
#include "search/records.h"
#include "target/target.h"

namespace burnish::cli {

namespace {

using search::Database;
using search::Record;
using search::Winner;
using Json = nlohmann::json;

struct RecordsArgs {
  std::vector<std::string> databases, files;
  std::string database, target, task, status, output, salvage;
  int64_t limit = -1;
  bool json = false;
};

// Which records and winners a command is about.
class Filter {
 public:
  explicit Filter(const RecordsArgs& args) : target_(args.target), status_(args.status) {
    if (target_ == "native") target_ = search::without_threads(make_target("native", 1)->text());
    if (!args.task.empty()) task_.emplace(args.task);
  }

  bool takes(const Record& r) const {
    if (r.target.find(target_) == std::string::npos) return false;
    if (!status_.empty() && search::name_of(r.trial.status) != status_) return false;
    return !task_ || task_->matches(task_name(r)) || task_->matches(r.workload_hash) ||
           task_->matches(r.workload);
  }
  bool takes(const Winner& w, const std::string& workload) const {
    if (w.target.find(target_) == std::string::npos || (!status_.empty() && status_ != "ok"))
      return false;
    Record r{.workload = workload, .workload_hash = w.workload_hash, .target = w.target};
    r.trial.status = search::Status::Ok;
    return !task_ || takes(r);
  }

 private:
  std::string target_, status_;
  std::optional<Pattern> task_;
};

std::string json_text(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// All databases are opened before anything is printed: what cannot be opened is said first.
std::vector<Database> open_all(const std::vector<std::string>& paths) {
  std::vector<Database> all;
  for (const std::string& path : paths) all.emplace_back(path, Database::Mode::ReadOnly);
  return all;
}

void title(const RecordsArgs& args, size_t i) {
  if (args.databases.size() > 1) fmt::print("{}{}:\n", i > 0 ? "\n" : "", args.databases[i]);
}

std::string noise_text(const search::Timing& t) {
  return t.median > 0 ? fmt::format("{:.1f}%", 100 * t.mad / t.median) : "-";
}

void ls_command(const RecordsArgs& args) {
  const Filter filter(args);
  const auto databases = open_all(args.databases);
  const int64_t limit = args.limit >= 0 ? args.limit : args.json ? 0 : 50;
  for (size_t i = 0; i < databases.size(); ++i) {
    std::deque<Record> shown;  // the newest
    int64_t count = 0;
    databases[i].each_record({.foreign = true}, [&](const Record& r) {
      if (!filter.takes(r)) return true;
      ++count;
      if (args.json && limit == 0) {
        fmt::print("{}\n", search::to_json_line(r));
        return true;
      }
      shown.push_back(r);
      if (limit > 0 && static_cast<int64_t>(shown.size()) > limit) shown.pop_front();
      return true;
    });
    if (args.json) {
      for (const Record& r : shown) fmt::print("{}\n", search::to_json_line(r));
      continue;
    }
    title(args, i);
    Table table({"id", "when (UTC)", "status", "time", "noise", "target", "tuner", "workload",
                 "task", "knobs"});
    TargetNumbers targets;
    for (const Record& r : shown) {
      const search::Trial& t = r.trial;
      const bool good = t.status == search::Status::Ok;
      table.add({fmt::to_string(r.id), date_text(r.when),
                 std::string(search::name_of(t.status)) + (t.checked && good ? "*" : ""),
                 good ? time_text(t.timing.median) : "-", good ? noise_text(t.timing) : "-",
                 targets.number(r.target), printable(r.tuner, 10), printable(r.workload_hash, 16),
                 printable(task_name(r), 40),
                 printable(good || t.message.empty() ? r.knobs : t.message, 80)});
    }
    if (count == 0) {
      fmt::print("no records\n");
      continue;
    }
    table.print();
    targets.print();
    if (count > static_cast<int64_t>(shown.size())) {
      spdlog::info("the newest {} of {} records; --limit 0 shows all", shown.size(), count);
    }
  }
}

// What is known of one workload on one target.
struct Summary {
  std::string workload;
  std::optional<Record> best;
  int64_t trials = 0, good = 0;
  std::optional<Winner> winner;
};

std::map<std::pair<std::string, std::string>, Summary> summaries(const Database& db,
                                                                 const Filter& filter) {
  std::map<std::pair<std::string, std::string>, Summary> all;  // by target, then workload
  std::map<std::string, std::string> workloads;
  db.each_record({.foreign = true}, [&](const Record& r) {
    workloads.try_emplace(r.workload_hash, r.workload);
    if (!filter.takes(r)) return true;
    Summary& s = all[{r.target, r.workload_hash}];
    s.workload = r.workload;
    ++s.trials;
    if (r.trial.status != search::Status::Ok) return true;
    ++s.good;
    if (!s.best || r.trial.timing.median < s.best->trial.timing.median) s.best = r;
    return true;
  });
  for (const Winner& w : db.winners("")) {
    const auto text = workloads.find(w.workload_hash);
    const std::string workload = text == workloads.end() ? "" : text->second;
    if (filter.takes(w, workload)) {
      Summary& s = all[{w.target, w.workload_hash}];
      s.workload = workload;
      s.winner = w;
    }
  }
  return all;
}

void best_command(const RecordsArgs& args) {
  const Filter filter(args);
  const auto databases = open_all(args.databases);
  for (size_t i = 0; i < databases.size(); ++i) {
    Table table({"workload", "task", "target", "trials", "best", "noise",
                 "winner: default -> tuned", "knobs"});
    TargetNumbers targets;
    int64_t shown = 0;
    for (const auto& [key, s] : summaries(databases[i], filter)) {
      if (args.limit > 0 && shown == args.limit) break;
      ++shown;
      const auto& [target, hash] = key;
      if (args.json) {
        fmt::print("{{\"workload_hash\":{},\"target\":{},\"trials\":{},\"ok\":{},\"best\":{},"
                   "\"winner\":{}}}\n",
                   json_text(hash), json_text(target), s.trials, s.good,
                   s.best ? search::to_json_line(*s.best) : "null",
                   s.winner ? search::to_json_line(*s.winner) : "null");
        continue;
      }
      const Record named{.workload = s.workload, .foreign = s.best ? s.best->foreign : ""};
      std::string winner = "-";
      if (s.winner) {
        winner = fmt::format("{} -> {} ({:+.1f}%)", time_text(s.winner->default_seconds),
                             time_text(s.winner->tuned_seconds),
                             100 * (s.winner->tuned_seconds / s.winner->default_seconds - 1));
        if (s.winner->avoids()) winner = "avoided: " + winner;
        if (!s.winner->model.empty()) winner += " in " + printable(s.winner->model, 30);
      }
      if (s.best && !s.best->foreign.empty())
        winner = "no code from " + printable(s.best->foreign, 20);
      table.add({printable(hash, 16), printable(task_name(named), 40), targets.number(target),
                 fmt::format("{}/{}", s.good, s.trials),
                 s.best ? time_text(s.best->trial.timing.median) : "-",
                 s.best ? noise_text(s.best->trial.timing) : "-", winner,
                 s.best ? printable(s.best->knobs, 80) : ""});
    }
    if (args.json) continue;
    title(args, i);
    if (table.size() == 0) {
      fmt::print("no records\n");
      continue;
    }
    table.print();
    targets.print();
  }
}

void export_command(const RecordsArgs& args) {
  const Filter filter(args);
  const auto databases = open_all(args.databases);
  const bool to_file = !args.output.empty() && args.output != "-";
  std::string text;
  int64_t records = 0, winners = 0;
  const auto write = [&](std::string line) {
    line += '\n';
    if (to_file) {
      text += line;
    } else {
      std::fwrite(line.data(), 1, line.size(), stdout);
    }
  };
  for (const Database& db : databases) {
    std::map<std::string, std::string> workloads;
    db.each_record({.foreign = true}, [&](const Record& r) {
      workloads.try_emplace(r.workload_hash, r.workload);
      if (!filter.takes(r)) return true;
      write(search::to_json_line(r));
      return args.limit <= 0 || ++records < args.limit;
    });
    for (const Winner& w : db.winners("")) {
      if (!filter.takes(w, workloads[w.workload_hash])) continue;
      write(search::to_json_line(w));
      ++winners;
    }
  }
  if (to_file) {
    write_file(args.output, text);
    spdlog::info("wrote {}", args.output);
  }
}

search::ImportReport import_file(Database& db, const std::string& file) {
  if (file == "-") return search::import_lines(db, std::cin);
  std::ifstream in(file, std::ios::binary);
  in.peek();
  require(in.good() || in.eof(), "cannot read {}: {}", file, std::strerror(errno));
  return search::import_lines(db, in);
}

int import_command(const RecordsArgs& args) {
  Database db(args.database, Database::Mode::ReadWrite);
  bool any = false, refused = false;
  for (const std::string& file : args.files) {
    const search::ImportReport r = import_file(db, file);
    for (const std::string& line : r.refused) spdlog::warn("{}: {}", file, printable(line, 1000));
    if (r.refused_lines > static_cast<int64_t>(r.refused.size())) {
      spdlog::warn("{}: and {} more lines", file,
                   r.refused_lines - static_cast<int64_t>(r.refused.size()));
    }
    for (const std::string& note : r.notes) spdlog::info("{}: {}", file, note);
    any |= r.imported + r.duplicates + r.winners > 0;
    refused |= r.refused_lines > 0;
    if (args.json) {
      const Json j = {
          {"file", file},         {"imported", r.imported}, {"duplicates", r.duplicates},
          {"winners", r.winners}, {"foreign", r.foreign},   {"refused_lines", r.refused_lines},
          {"refused", r.refused}, {"notes", r.notes}};
      fmt::print("{}\n", j.dump(-1, ' ', false, Json::error_handler_t::replace));
    } else {
      fmt::print("{}: imported {}, known already {}, winners {}, refused lines {}\n", file,
                 r.imported, r.duplicates, r.winners, r.refused_lines);
    }
  }
  return refused && !any ? failure : ok;
}

void merge_command(const RecordsArgs& args) {
  const auto sources = open_all(args.databases);
  Database into(args.output, Database::Mode::ReadWrite);
  for (size_t i = 0; i < sources.size(); ++i) {
    std::error_code error;
    if (std::filesystem::equivalent(args.databases[i], args.output, error)) continue;
    const search::MergeReport r = search::merge(into, sources[i]);
    fmt::print("{}: added {}, known already {}, winners {}, states of searches {}\n",
               args.databases[i], r.added, r.duplicates, r.winners, r.states);
  }
  fmt::print("{}: records {}\n", args.output, into.count());
}

int doctor_command(const RecordsArgs& args) {
  require_usage(args.salvage.empty() || args.databases.size() == 1,
                "--salvage takes one database at a time");
  const std::string target = args.target.empty() || args.target == "native"
                                 ? make_target("native", 1)->text()
                                 : args.target;
  bool ill = false;
  for (const std::string& path : args.databases) {
    std::vector<std::string> problems, notes;
    for (const search::Finding& f : search::examine(path, target)) {
      (f.kind == search::Finding::Kind::Problem ? problems : notes)
          .push_back(printable(f.text, 2000));
    }
    ill |= !problems.empty();
    if (args.json) {
      const Json j = {{"file", path}, {"problems", problems}, {"notes", notes}};
      fmt::print("{}\n", j.dump(-1, ' ', false, Json::error_handler_t::replace));
      continue;
    }
    fmt::print("{}: {}\n", path,
               problems.empty()
                   ? "well"
                   : fmt::format("{} problem{}", problems.size(), problems.size() > 1 ? "s" : ""));
    for (const std::string& p : problems) fmt::print("  problem: {}\n", p);
    for (const std::string& n : notes) fmt::print("  note: {}\n", n);
  }
  if (args.salvage.empty()) return ill ? failure : ok;
  const search::SalvageReport r = search::salvage(args.databases[0], args.salvage);
  if (args.json) {
    const Json j = {{"file", args.salvage},
                    {"records", r.records},
                    {"winners", r.winners},
                    {"states", r.states},
                    {"lost", r.lost}};
    fmt::print("{}\n", j.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}: saved records {}, winners {}, states of searches {}\n", args.salvage, r.records,
               r.winners, r.states);
    for (const std::string& what : r.lost) fmt::print("  lost: {}\n", printable(what, 1000));
  }
  return ok;
}

using Args = std::shared_ptr<RecordsArgs>;

CLI::App* add_command(CLI::App& records, Args& args, const char* name, const char* help) {
  auto* command = records.add_subcommand(name, help);
  args = std::make_shared<RecordsArgs>();
  return command;
}

void add_databases(CLI::App& command, RecordsArgs& args) {
  command.add_option("DB", args.databases, "databases of records")->required()->type_name("FILE");
}

void add_filter(CLI::App& command, RecordsArgs& args, bool status) {
  command.add_option("--target", args.target,
                     "only targets with this text in them; native: this machine's");
  command
      .add_option("--task,--workload", args.task,
                  "only tasks whose name, hash or text matches this regular expression")
      ->type_name("REGEX");
  if (status) {
    std::vector<std::string> names;
    for (int s = 0; s <= static_cast<int>(search::Status::Lost); ++s) {
      names.emplace_back(search::name_of(static_cast<search::Status>(s)));
    }
    command.add_option("--status", args.status, "only trials that ended so")
        ->check(CLI::IsMember(names));
  }
  command.add_option("--limit", args.limit, "at most so many; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
}

}  // namespace

void add_records(CLI::App& app, int& status) {
  auto* records = app.add_subcommand("records", "what tuning measured: show, share, merge, mend");
  records->require_subcommand(1);
  Args args;

  auto* ls = add_command(*records, args, "ls",
                         "records, the newest last; * after ok: the answer was checked");
  add_databases(*ls, *args);
  add_filter(*ls, *args, true);
  ls->add_flag("--json", args->json, "one JSON object a record");
  ls->callback([args, &status] { ls_command(*args), status = ok; });

  auto* best =
      add_command(*records, args, "best",
                  "the fastest record of every workload, and the schedule verified in a model");
  add_databases(*best, *args);
  add_filter(*best, *args, false);
  best->add_flag("--json", args->json, "one JSON object a workload");
  best->callback([args, &status] { best_command(*args), status = ok; });

  auto* exporting = add_command(*records, args, "export", "records and winners as JSON lines");
  add_databases(*exporting, *args);
  add_filter(*exporting, *args, true);
  exporting->add_option("-o,--output", args->output, "the file to write; stdout otherwise")
      ->type_name("FILE");
  exporting->callback([args, &status] { export_command(*args), status = ok; });

  auto* importing =
      add_command(*records, args, "import", "JSON lines, Burnish's or AutoTVM's, into a database");
  importing->add_option("DB", args->database, "the database; made when missing")
      ->required()
      ->type_name("FILE");
  importing->add_option("LINES", args->files, "files of lines; - for stdin")
      ->required()
      ->type_name("FILE");
  importing->add_flag("--json", args->json, "one JSON object a file");
  importing->callback([args, &status] { status = import_command(*args); });

  auto* merging =
      add_command(*records, args, "merge", "databases into another one, each record once");
  add_databases(*merging, *args);
  merging->add_option("-o,--output", args->output, "the database to add to; made when missing")
      ->required()
      ->type_name("FILE");
  merging->callback([args, &status] { merge_command(*args), status = ok; });

  auto* doctor =
      add_command(*records, args, "doctor",
                  "looks for damage and impossible values; exit status 1 when there are some");
  add_databases(*doctor, *args);
  doctor->add_option("--target", args->target,
                     "note records of other targets than this one; native otherwise");
  doctor->add_option("--salvage", args->salvage, "copy what is readable into this new database")
      ->type_name("FILE");
  doctor->add_flag("--json", args->json, "one JSON object a database");
  doctor->callback([args, &status] { status = doctor_command(*args); });
}

}  // namespace burnish::cli
