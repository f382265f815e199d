// burnish tune MODEL: searches for faster code on this machine.
#include <burnish/tune.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "driver/cli/commands.h"
#include "driver/cli/tune_view.h"

namespace burnish::cli {

namespace {

struct TuneArgs {
  ModelArgs model;
  std::string time, records = "tune.db", tuner = "xgb", tasks, report;
  int64_t trials = 0;
  uint64_t seed = 0;
  bool resume = false, list = false, json = false;
};

std::atomic<int> interrupts{0};

extern "C" void on_interrupt(int) {
  // The second one ends the process, as without a handler: the database is safe at any moment.
  if (interrupts.fetch_add(1) > 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
}

void list_tasks(const TuneArgs& args) {
  if (!args.json) fmt::print("{:<40} {:>4} {:>12} {:>10} {:>12}  sources\n", "task", "runs", "MACs", "MB", "points");
  for (const TunedTask& t : tasks_of(args.model.path, compile_options(args.model))) {
    if (args.json) {
      const nlohmann::json j = {{"name", t.name}, {"weight", t.weight}, {"macs", t.macs}, {"bytes", t.bytes},
                                {"points", t.points}, {"sources", t.sources}};
      fmt::print("{}\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      continue;
    }
    fmt::print("{:<40} {:>4.0f} {:>12} {:>10.2f} {:>12}  {}\n", t.name, t.weight, t.macs,
               static_cast<double>(t.bytes) / 1e6, t.points, fmt::join(t.sources, " "));
  }
}

void tune_command(const TuneArgs& args) {
  require_usage(!args.json || args.list, "--json belongs to --list");
  if (args.list) {
    list_tasks(args);
    return;
  }
  TuneOptions options;
  options.model = compile_options(args.model);
  if (!args.time.empty()) {
    options.seconds = parse_duration(args.time);
    require_usage(options.seconds > 0, "--time {}: write it as 60s, 5m or 2h", args.time);
  } else if (args.trials > 0) {
    options.seconds = 0;
  }
  options.trials = args.trials;
  options.records = args.records;
  options.tuner = args.tuner;
  options.tasks = args.tasks;
  options.seed = args.seed;
  options.resume = args.resume;
  options.report = args.report;
  TuneView view(stderr);
  options.progress = [&](const TuneProgress& p) {
    view.show(p);
    return interrupts == 0;
  };
  std::signal(SIGINT, on_interrupt);
  TuneResult result;
  try {
    result = tune(args.model.path, options);
  } catch (...) {
    view.end();
    throw;
  }
  view.end();
  std::signal(SIGINT, SIG_DFL);
  fmt::print("{}", summary_text(result, args.records));
}

}  // namespace

void add_tune(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("tune", "search for faster code on this machine");
  auto args = std::make_shared<TuneArgs>();
  add_model_options(*command, args->model, true);
  command->add_option("--time", args->time, "how long, the last comparison included: 60s, 5m, 2h; 60s, for GPUs 150s, unless --trials is given");
  command->add_option("--trials", args->trials, "how many candidates to measure")->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--records", args->records, "the database that is added to")->capture_default_str();
  command->add_option("--tuner", args->tuner, "what chooses candidates")
      ->check(CLI::IsMember({"xgb", "anneal", "genetic", "random", "grid"}))
      ->capture_default_str();
  command->add_option("--tasks", args->tasks, "only tasks of which the name or a source node matches this regular expression");
  command->add_option("--seed", args->seed, "of everything random")->capture_default_str();
  command->add_flag("--resume", args->resume, "go on where a search with the same tuner and seed ended");
  command->add_option("--report", args->report, "an HTML file to write");
  command->add_flag("--list", args->list, "only list the tasks, with the numbers of points in their spaces");
  command->add_flag("--json", args->json, "with --list: one JSON object a line");
  command->footer(
      "Ctrl-C ends the search early: what was found is kept and compared. A second Ctrl-C ends it at once.\n"
      "Then: burnish compile MODEL --records tune.db -o model.so");
  command->callback([args, &status] {
    tune_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
