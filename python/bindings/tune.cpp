#include "tune.h"

#include <burnish/tune.h>

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstdio>
#include <optional>
#include <variant>

namespace burnish::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;
using Path = std::filesystem::path;
using Shapes = std::map<std::string, std::vector<int64_t>>;
using Time = std::variant<double, std::string>;

// What a callback gets: its own copy, so that it may keep it.
struct Progress {
  std::string phase;
  std::vector<TunedTask> tasks;
  std::optional<size_t> current;
  int64_t trials;
  double elapsed, limit, default_seconds, best_seconds;
};

Progress copy_of(const TuneProgress& p) {
  Progress copy{p.phase, {}, {}, p.trials, p.elapsed, p.limit, p.default_seconds, p.best_seconds};
  if (p.tasks) copy.tasks = *p.tasks;
  if (p.phase == "search" && p.current < copy.tasks.size()) copy.current = p.current;
  return copy;
}

// 90, "90s", "5m", "2h"
double seconds_of(const Time& time) {
  if (const double* number = std::get_if<double>(&time)) return *number;
  const std::string& text = std::get<std::string>(time);
  const double seconds = parse_duration(text);
  if (!(seconds > 0)) throw UserError("time is \"" + text + "\": write it as 60, \"60s\", \"5m\" or \"2h\"");
  return seconds;
}

// Calls the callbacks after a round. What they raise, and Ctrl-C, ends the search; it is kept until
// what was found is compared and recorded, and raised then.
class Observer {
 public:
  explicit Observer(std::vector<nb::callable> callbacks) : callbacks_(std::move(callbacks)) {}

  bool operator()(const TuneProgress& progress) {
    nb::gil_scoped_acquire held;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      if (raised_) return false;
      bool go_on = true;
      if (!callbacks_.empty()) {
        const nb::object copy = nb::cast(copy_of(progress));
        for (const nb::callable& callback : callbacks_)
          go_on &= !callback(copy).is(nb::bool_(false));
      }
      return go_on;
    } catch (nb::python_error& error) {
      if (!raised_) raised_.emplace(std::move(error));
      return false;
    }
  }

  void raise() {
    if (raised_) throw std::move(*raised_);
  }

 private:
  std::vector<nb::callable> callbacks_;
  std::optional<nb::python_error> raised_;
};

TuneResult tune_file(const Path& model, const Shapes& shapes, const std::string& target,
                     const std::optional<std::string>& precision, int threads, const std::optional<Time>& time, std::optional<int64_t> trials,
                     const std::optional<Path>& records, const std::string& tuner,
                     const std::optional<std::string>& tasks, uint64_t seed, bool resume,
                     const std::optional<Path>& report, std::vector<nb::callable> callbacks) {
  TuneOptions options;
  options.model.shapes = shapes;
  options.model.target = target;
  options.model.precision = precision.value_or("");
  options.model.threads = threads;
  options.model.python_messages = true;
  if (trials && *trials < 1)
    throw UserError("trials is " + std::to_string(*trials) + ": give 1 or more, or None");
  options.trials = trials.value_or(0);
  if (time) options.seconds = seconds_of(*time);
  else if (trials) options.seconds = 0;
  options.records = records.value_or(Path());
  options.tuner = tuner;
  options.tasks = tasks.value_or("");
  options.seed = seed;
  options.resume = resume;
  options.report = report.value_or(Path());
  Observer observer(std::move(callbacks));
  options.progress = [&](const TuneProgress& p) { return observer(p); };
  TuneResult result = [&] {
    nb::gil_scoped_release released;
    return tune(model, options);
  }();
  observer.raise();
  return result;
}

nb::list records_of(const Path& path, const std::string& which) {
  RecordSelection selection = RecordSelection::All;
  if (which == "best")
    selection = RecordSelection::Best;
  else if (which == "winners")
    selection = RecordSelection::Winners;
  else if (which != "all")
    throw UserError("there are no \"" + which +
                    "\" records: ask for \"all\", \"best\" or \"winners\"");
  std::vector<std::string> lines;
  {
    nb::gil_scoped_release released;
    lines = read_records(path, selection);
  }
  const nb::object loads = nb::module_::import_("json").attr("loads");
  nb::list all;
  for (const std::string& line : lines) all.append(loads(nb::bytes(line.data(), line.size())));
  return all;
}

std::string repr(const TuneResult& r) {
  char text[200];
  std::snprintf(text, sizeof text,
                "TuneResult(default=%.4f ms, tuned=%.4f ms, speedup=%.3f +- %.3f, trials=%lld)",
                1e3 * r.default_seconds, 1e3 * r.tuned_seconds, r.speedup, r.speedup_noise,
                static_cast<long long>(r.trials));
  return text;
}

std::string repr(const TunedTask& t) {
  char text[120];
  std::snprintf(text, sizeof text, ", default=%.1f us, best=%.1f us, trials=%lld)",
                1e6 * t.default_seconds, 1e6 * t.best_seconds, static_cast<long long>(t.trials));
  return "TunedTask(" + t.name + text;
}

void bind_tasks(nb::module_& module) {
  nb::class_<TunedTrial>(module, "TunedTrial", "One candidate that was measured.")
      .def_ro("round", &TunedTrial::round, "Of its task, from 0; -1: the default schedule.")
      .def_ro("predicted", &TunedTrial::predicted,
              "The score before it was measured, higher is better within a round.")
      .def_ro("learned", &TunedTrial::learned,
              "The score is the learned model's; else the draft's.")
      .def_ro("seconds", &TunedTrial::seconds, "Of one run; 0: it failed.")
      .def_ro("knobs", &TunedTrial::knobs)
      .def_ro("status", &TunedTrial::status, "\"ok\", \"wrong\", \"crashed\", ...");

  nb::class_<TunedTask>(
      module, "TunedTask",
      "A kernel of the model as the search sees it. Times are seconds of one run of it.")
      .def_ro("name", &TunedTask::name)
      .def_ro("sources", &TunedTask::sources, "Names of the model's nodes.")
      .def_ro("weight", &TunedTask::weight, "How often a run of the model executes it.")
      .def_ro("macs", &TunedTask::macs)
      .def_ro("bytes", &TunedTask::bytes)
      .def_ro("points", &TunedTask::points, "Schedules in its space.")
      .def_ro("trials", &TunedTask::trials)
      .def_ro("failed", &TunedTask::failed, "Trials without a time.")
      .def_ro("default_seconds", &TunedTask::default_seconds, "Alone, on otherwise idle CPUs.")
      .def_ro("best_seconds", &TunedTask::best_seconds, "Alone, on otherwise idle CPUs.")
      .def_ro("history", &TunedTask::history, "The best so far after every round.")
      .def_ro("knobs", &TunedTask::knobs, "Of the best: \"rows=6 vectors=2\".")
      .def_ro("stopped", &TunedTask::stopped, "Why nothing more is tried; empty: something may be.")
      .def_ro("measured", &TunedTask::measured,
              "All trials of this search, in order; only in the result.")
      .def_ro("used", &TunedTask::used, "Its schedule won inside the model.")
      .def_ro("model_default_seconds", &TunedTask::model_default_seconds,
              "All its runs inside the model; 0: was not compared.")
      .def_ro("model_tuned_seconds", &TunedTask::model_tuned_seconds)
      .def("__repr__", [](const TunedTask& t) { return repr(t); });
}

void bind_results(nb::module_& module) {
  nb::class_<Progress>(module, "TuneProgress", "Where a search stands, for its callbacks.")
      .def_ro("phase", &Progress::phase,
              "\"search\", or \"compare\": candidates against the default inside the model.")
      .def_ro("tasks", &Progress::tasks)
      .def_prop_ro(
          "task",
          [](const Progress& p) {
            return p.current ? std::optional(p.tasks[*p.current]) : std::nullopt;
          },
          "The task of the last round; None while comparing.")
      .def_ro("trials", &Progress::trials)
      .def_ro("elapsed", &Progress::elapsed, "Seconds.")
      .def_ro("limit", &Progress::limit, "Seconds; 0: none.")
      .def_ro("default_seconds", &Progress::default_seconds,
              "A run of the model, estimated: the sum over its tasks.")
      .def_ro("best_seconds", &Progress::best_seconds, "The same with the best so far.");

  nb::class_<TuneResult>(module, "TuneResult", "What a search found.")
      .def_ro("tasks", &TuneResult::tasks, "Heaviest first.")
      .def_ro("trials", &TuneResult::trials)
      .def_ro("seconds", &TuneResult::seconds, "In all.")
      .def_ro("search_seconds", &TuneResult::search_seconds, "Until the last comparison.")
      .def_ro("proposing_seconds", &TuneResult::proposing_seconds, "Of the search: choosing candidates.")
      .def_ro("learning_seconds", &TuneResult::learning_seconds, "Of the search: training the cost model.")
      .def_ro("measuring_seconds", &TuneResult::measuring_seconds, "Of the search: compiling and running candidates.")
      .def_ro("running_seconds", &TuneResult::running_seconds, "Of measuring: the process that runs candidates at work.")
      .def_ro("stopped", &TuneResult::stopped, "Why the search ended.")
      .def_ro("notes", &TuneResult::notes, "For people.")
      .def_ro("changed", &TuneResult::changed,
              "Nodes whose chain is cut otherwise, or that are computed by another algorithm, since that was faster.")
      .def_ro("default_seconds", &TuneResult::default_seconds,
              "Median of the whole model's runs, measured in turns.")
      .def_ro("tuned_seconds", &TuneResult::tuned_seconds)
      .def_ro("speedup", &TuneResult::speedup,
              "Default over tuned, the median of neighbouring runs.")
      .def_ro("speedup_noise", &TuneResult::speedup_noise,
              "Half the width of a 95% interval of the speedup.")
      .def_ro("target", &TuneResult::target)
      .def_ro("machine", &TuneResult::machine)
      .def_ro("threads", &TuneResult::threads)
      .def("__repr__", [](const TuneResult& r) { return repr(r); });
}

constexpr const char* tune_signature =
    "def tune(model: str | os.PathLike, *, shapes: typing.Mapping[str, typing.Sequence[int]] = {}, "
    "target: str = 'native', precision: str | None = None, threads: int = 0, "
    "time: str | float | None = None, "
    "trials: int | None = None, records: str | os.PathLike | None = ..., tuner: str = 'xgb', "
    "tasks: str | None = None, seed: int = 0, resume: bool = False, "
    "report: str | os.PathLike | None = None, "
    "callbacks: typing.Sequence[typing.Callable[[TuneProgress], object]] = ()) -> TuneResult";

constexpr const char* tune_text =
    R"(Searches for faster code on this machine and records what it finds, for compile(records=...).

time, in seconds or as "60s", "5m", "2h", is for everything, the last comparison included: a minute (two and a half for GPUs), or no limit
when trials is given. records is a database, "tune.db" unless told otherwise, that is made when missing; None keeps
nothing. tuner is "xgb", "anneal", "genetic", "random" or "grid". tasks is a regular expression on names of kernels
and nodes. resume goes on where a search with the same tuner and seed ended. report is an HTML file to write.

callbacks are called with a TuneProgress after every round; one that returns False ends the search. What a callback
raises, and Ctrl-C, ends it, too, and is raised once what was found is compared and recorded. The GIL is released
meanwhile.)";

constexpr const char* records_text =
    R"(Reads a database of tune: "all" of its measurements, of every workload and target the "best" correct one,
or the "winners", schedules that won inside a model, which compile uses.)";

}  // namespace

void bind_tuning(nb::module_& module) {
  bind_tasks(module);
  bind_results(module);
  module.def("tune", &tune_file, "model"_a, nb::kw_only(), "shapes"_a = Shapes(),
             "target"_a = "native", "precision"_a = nb::none(), "threads"_a = 0, "time"_a = nb::none(), "trials"_a = nb::none(),
             "records"_a = Path("tune.db"), "tuner"_a = "xgb", "tasks"_a = nb::none(), "seed"_a = 0,
             "resume"_a = false, "report"_a = nb::none(),
             "callbacks"_a = std::vector<nb::callable>(), nb::sig(tune_signature), tune_text);
  module.def("records", &records_of, "path"_a, "which"_a = "all",
             nb::sig("def records(path: str | os.PathLike, which: str = 'all') "
                     "-> list[dict[str, typing.Any]]"),
             records_text);
}

}  // namespace burnish::python
