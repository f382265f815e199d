// Search over a model: tasks out of it, the search, the race inside the model, what is kept.
#include <burnish/tune.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <regex>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "base/version.h"
#include "driver/alternatives.h"
#include "driver/found_schedules.h"
#include "driver/model_race.h"
#include "driver/model_tasks.h"
#include "driver/options.h"
#include "driver/tune_report.h"
#include "search/search.h"
#include "search/tuner.h"

namespace burnish {

namespace {

// Of the first GPU, by NVIDIA's driver.
std::string gpu_text() {
  std::error_code none;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    std::string line;
    std::ifstream information(gpu.path() / "information");
    while (std::getline(information, line))
      if (line.starts_with("Model:")) return std::string(trim(std::string_view(line).substr(6)));
  }
  return "GPU";
}

std::string machine_text(const Machine& m) {
  std::string name = m.cpu, line;
  std::ifstream info("/proc/cpuinfo");
  while (std::getline(info, line)) {
    if (!line.starts_with("model name")) continue;
    name = line.substr(line.find(':') + 2);
    break;
  }
  if (m.device) return fmt::format("{}, beside {} ({})", gpu_text(), name, m.cpu);
  return fmt::format("{} ({}), caches {}/{}/{} KB, vectors of {} bytes", name, m.cpu, m.l1_bytes >> 10,
                     m.l2_bytes >> 10, m.l3_bytes >> 10, m.vector_bytes);
}

std::vector<bool> selected(const std::vector<search::Task>& tasks, const std::string& pattern) {
  std::vector<bool> all(tasks.size(), true);
  if (pattern.empty()) return all;
  std::regex expression;
  try {
    expression.assign(pattern);
  } catch (const std::regex_error& e) {
    fail_user("'{}' is no regular expression: {}", pattern, e.what());
  }
  bool any = false;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const auto& sources = tasks[i].sources;
    all[i] = std::regex_search(tasks[i].name, expression) ||
             std::ranges::any_of(sources, [&](const std::string& s) { return std::regex_search(s, expression); });
    any |= all[i];
  }
  std::vector<std::string> names;
  for (const search::Task& t : tasks) names.push_back(t.name);
  require(any, "no task matches '{}'; the tasks are {}", pattern, fmt::join(names, ", "));
  return all;
}

TunedTask tuned_task(const search::TaskState& s) {
  const search::Task& t = *s.task;
  return {.name = t.name,
          .sources = t.sources,
          .weight = t.weight,
          .macs = t.macs,
          .bytes = t.bytes,
          .points = s.progress.points,
          .trials = s.progress.trials,
          .failed = s.failed,
          .default_seconds = s.progress.default_seconds,
          .best_seconds = s.progress.best_seconds,
          .history = s.progress.history,
          .knobs = s.best_knobs,
          .stopped = s.stopped};
}

constexpr double alternatives_share = 0.12;  // of the time: after that no further round of alternatives begins

class TuneJob {
 public:
  TuneJob(const std::filesystem::path& model, const TuneOptions& o)
      : options_(o), model_name_(model.filename().string()), start_(Clock::now()) {
    seconds_ = options_.seconds.value_or(1);
    check_options();
    // Before the model is read, so that a mistake in the path costs no time.
    if (!o.records.empty()) db_.emplace(o.records, search::Database::Mode::ReadWrite);
    if (db_) found_ = found_schedules(o.records, target_of(o.model));
    model_ = model_tasks(model, o.model, found_.avoided);
    constexpr double usual = 60, usual_on_device = 150;
    if (!options_.seconds) seconds_ = model_.target->machine().device ? usual_on_device : usual;
    require(std::ranges::any_of(model_.tasks, [](const search::Task& t) { return t.space != nullptr; }),
            "there is nothing to search for {} on {}: it offers no schedules but its own, which `burnish compile` uses", model_name_,
            model_.target->text());
    select();
    if (model_.target->machine().device) {
      measure_.device = true;
      measure_.min_time = 0.003;  // nobody else works there
      measure_.build_timeout = 60;  // NVRTC, beside as many others
    }
    measure_.cold_weights = model_.weights_bytes + model_.arena_bytes > model_.target->machine().l2_bytes;
  }

  TuneResult run() {
    TuneResult result;
    result.target = model_.target->text();
    result.machine = machine_text(model_.target->machine());
    result.threads = model_.target->machine().threads;
    std::unique_ptr<search::CostModel> learned;
    if (options_.tuner == "xgb") {
      auto xgboost = search::make_xgboost(options_.seed);
      if (xgboost) learned = std::move(*xgboost);
      else result.notes.push_back("no learned model, the draft alone orders candidates: " + xgboost.reason());
    }
    choose_alternatives(result);
    const auto measurer = search::local_measurer(model_.target, measure_);
    const search::SearchResult found =
        search::search(tasks_, *model_.target, *measurer, learned.get(), db_ ? &*db_ : nullptr, search_options(),
                       [&](const search::Snapshot& s) { return tell(s); });
    result.trials = found.trials;
    result.search_seconds = since(start_);
    result.proposing_seconds = found.proposing_seconds;
    result.learning_seconds = found.learning_seconds;
    result.measuring_seconds = found.measuring_seconds;
    result.running_seconds = found.running_seconds;
    result.stopped = found.stopped;
    tell_phase("compare", found.tasks, found.trials);
    compare(found, result);
    result.seconds = since(start_);
    std::ranges::stable_sort(result.tasks, std::greater{},
                             [](const TunedTask& t) { return t.weight * t.default_seconds; });
    if (!options_.report.empty()) write_report(options_.report, model_name_, result, !model_.target->machine().device);
    return result;
  }

 private:
  void check_options() const {
    require(seconds_ >= 0 && std::isfinite(seconds_), "the time is {} seconds: give 0 or more",
            seconds_);
    require(options_.trials >= 0, "{} trials: give 0 or more", options_.trials);
    require(seconds_ > 0 || options_.trials > 0, "a search without an end: give a time or a number of trials");
    const auto known = search::tuner_names();
    require(std::ranges::find(known, options_.tuner) != known.end(), "there is no tuner '{}'; the tuners are {}",
            options_.tuner, fmt::join(known, ", "));
    require(!options_.resume || !options_.records.empty(), "resuming needs the records of the search: give its database");
  }

  void select() {
    number_.clear();
    tasks_.clear();
    const std::vector<bool> chosen = selected(model_.tasks, options_.tasks);
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i]) continue;
      number_.push_back(i);
      tasks_.push_back(model_.tasks[i]);
    }
  }

  // Other cuts and algorithms, before the search, whose time then goes to the kernels that stay. What wins is kept at
  // once: a search that is killed and resumed goes on with the same tasks.
  void choose_alternatives(TuneResult& result) {
    if (!db_ || options_.resume || !options_.tasks.empty() || !has_alternatives(model_)) return;
    std::vector<search::TaskState> states(tasks_.size());
    for (size_t i = 0; i < tasks_.size(); ++i) states[i].task = &tasks_[i];
    tell_phase("alternatives", states, 0);
    const double limit = seconds_ > 0 ? seconds_ : 60;
    Alternatives best = race_alternatives(model_, found_.scheduler, std::clamp(0.05 * limit, 2.0, 16.0),
                                          alternatives_share * limit, measure_);
    if (best.changes.empty()) return;
    model_ = std::move(best.model);
    for (const Change& c : best.changes) {
      for (const std::string& hash : c.groups) {
        if (model_.avoided.contains(hash)) keep(hash, std::string(search::avoid_trace), c.before, c.after);
        else db_->remove_winner(hash, model_.target->text());
      }
      result.changed.push_back(
          fmt::format("{}: cut or computed otherwise, {:.2f}x inside the model", fmt::join(c.sources, "+"), c.before / c.after));
    }
    select();
  }

  // The last comparison needs its share of the time: some libraries are built, then runs are counted.
  static double comparison_seconds(double of) { return std::clamp(of * 0.08, 2.0, 20.0); }

  search::SearchOptions search_options() const {
    search::SearchOptions s;
    const double reserve = comparison_seconds(seconds_) + 0.06 * seconds_;
    s.seconds = seconds_ > 0 ? std::max(1.0, seconds_ - reserve - since(start_))
                                     : std::numeric_limits<double>::infinity();
    s.trials = options_.trials;
    constexpr size_t on_device = 4;
    if (model_.target->machine().device) s.tasks_a_round = on_device;
    s.tuner = options_.tuner;
    s.seed = options_.seed;
    s.resume = options_.resume;
    s.compiler = fmt::format("burnish {}", version_text);
    s.machine = machine_text(model_.target->machine());
    return s;
  }

  bool tell(const search::Snapshot& s) {
    if (!options_.progress) return true;
    std::vector<TunedTask> tasks;
    for (const search::TaskState& t : s.tasks) tasks.push_back(tuned_task(t));
    return options_.progress({.phase = "search",
                              .tasks = &tasks,
                              .current = s.current,
                              .trials = s.trials,
                              .elapsed = since(start_),
                              .limit = seconds_,
                              .default_seconds = s.default_seconds,
                              .best_seconds = s.best_seconds});
  }

  void tell_phase(const char* phase, const std::vector<search::TaskState>& states, int64_t trials) {
    if (!options_.progress) return;
    std::vector<TunedTask> tasks;
    for (const search::TaskState& t : states) tasks.push_back(tuned_task(t));
    options_.progress({.phase = phase, .tasks = &tasks, .trials = trials, .elapsed = since(start_),
                       .limit = seconds_});
  }

  void compare(const search::SearchResult& found, TuneResult& result) {
    std::vector<std::vector<search::Finalist>> finalists(model_.tasks.size());
    for (size_t i = 0; i < number_.size(); ++i) finalists[number_[i]] = found.finalists[i];
    // Who has ended the search early does not want to wait long, nor where it has ended by itself.
    const double seconds = found.stopped == "stopped" ? 2 : comparison_seconds(std::min(seconds_, since(start_)));
    std::optional<ModelTasks> plain;
    if (!model_.avoided.empty()) plain = avoiding(model_, {});
    const ModelRace race = race_in_model(model_, finalists, plain ? &*plain : nullptr, seconds, measure_);
    result.default_seconds = race.default_seconds;
    result.tuned_seconds = race.tuned_seconds;
    result.speedup = race.speedup;
    result.speedup_noise = race.noise;
    if (!race.note.empty()) {
      result.notes.push_back(race.note);
      if (db_) {
        for (const std::string& hash : model_.avoided) db_->remove_winner(hash, model_.target->text());
      }
      result.changed.clear();
    }
    for (size_t i = 0; i < number_.size(); ++i) {
      const ModelRace::Entry& e = race.tasks[number_[i]];
      TunedTask t = tuned_task(found.tasks[i]);
      t.used = !e.trace.empty();
      t.model_default_seconds = e.default_seconds;
      t.model_tuned_seconds = t.used ? e.tuned_seconds : e.default_seconds;
      if (t.used) t.knobs = e.knobs;
      for (const search::TrialNote& n : found.notes[i]) {
        t.measured.push_back({n.round, n.predicted, n.learned, n.seconds, n.knobs, std::string(name_of(n.status))});
      }
      if (e.trace.empty() && db_) db_->remove_winner(tasks_[i].hash, model_.target->text());
      else if (db_) keep(tasks_[i].hash, e.trace, e.default_seconds, e.tuned_seconds);
      result.tasks.push_back(std::move(t));
    }
  }

  void keep(const std::string& hash, const std::string& trace, double before, double after) {
    db_->add_winner({.workload_hash = hash,
                     .target = model_.target->text(),
                     .trace = trace,
                     .default_seconds = before,
                     .tuned_seconds = after,
                     .model = model_name_,
                     .when = static_cast<int64_t>(std::time(nullptr))});
  }

  const TuneOptions& options_;
  std::string model_name_;
  Clock::time_point start_;
  double seconds_ = 0;                // for everything; 0: no limit
  std::optional<search::Database> db_;
  FoundSchedules found_;              // of earlier searches
  ModelTasks model_;
  std::vector<size_t> number_;        // in the model, of every task that is searched
  std::vector<search::Task> tasks_;
  search::MeasureOptions measure_;
};

}  // namespace

double parse_duration(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const double scale = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  return error == std::errc() && value > 0 && value * scale <= 1e9 ? value * scale : 0;
}

std::vector<TunedTask> tasks_of(const std::filesystem::path& model, const CompileOptions& options) {
  const ModelTasks m = model_tasks(model, options);
  std::vector<TunedTask> all;
  for (const search::Task& t : m.tasks) {
    search::TaskState s;
    s.task = &t;
    s.progress.points = t.space ? size_of(*t.space) : 0;
    all.push_back(tuned_task(s));
  }
  std::ranges::stable_sort(all, std::greater{}, [](const TunedTask& t) { return t.weight * double(t.macs); });
  return all;
}

TuneResult tune(const std::filesystem::path& model, const TuneOptions& options) { return TuneJob(model, options).run(); }

}  // namespace burnish
