/// Searching for faster code on this machine, as a library.
///
///   burnish::TuneOptions options;
///   options.model.shapes["input.1"] = {1, 3, 544, 960};
///   options.seconds = 60;
///   options.records = "tune.db";
///   burnish::TuneResult result = burnish::tune("centerface.onnx", options);
///   options.model.records = "tune.db";
///   burnish::compile("centerface.onnx", options.model).export_to("centerface.so");
///
/// Errors are the exceptions of burnish/error.h.
#ifndef BURNISH_TUNE_H
#define BURNISH_TUNE_H

#include <burnish/compiler.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace burnish {

/// One candidate that was measured.
struct TunedTrial {
  std::int64_t round = 0;           ///< of its task, from 0; -1: the default schedule
  double predicted = 0;             ///< the score before it was measured, higher is better; comparable within a round
  bool learned = false;             ///< the score is the learned model's; else the draft's
  double seconds = 0;               ///< of one run; 0: it failed
  std::string knobs;                ///< "rows=6 vectors=2"; "default"
  std::string status;               ///< ok, wrong, crashed, ...
};

/// One task as a search sees it. Times are seconds of one run of its kernel.
struct TunedTask {
  std::string name;                 ///< of the kernel
  std::vector<std::string> sources; ///< nodes of the model
  double weight = 1;                ///< how often a run of the model executes it
  std::int64_t macs = 0, bytes = 0; ///< of one run
  std::int64_t points = 0;          ///< in its space
  std::int64_t trials = 0, failed = 0;
  double default_seconds = 0, best_seconds = 0;  ///< alone, on otherwise idle CPUs
  std::vector<double> history;      ///< best so far after every round
  std::string knobs;                ///< of the best: "rows=6 vectors=2"
  std::string stopped;              ///< why nothing more is tried; empty: something may be
  std::vector<TunedTrial> measured; ///< of this search, in order; only in the result
  bool used = false;                ///< its schedule won inside the model
  double model_default_seconds = 0, model_tuned_seconds = 0;  ///< inside the model; 0: was not compared
};

struct TuneProgress {
  std::string phase;                ///< "alternatives", "search", "compare"
  const std::vector<TunedTask>* tasks = nullptr;
  std::size_t current = 0;          ///< the task of the last round
  std::int64_t trials = 0;
  double elapsed = 0, limit = 0;    ///< seconds
  double default_seconds = 0, best_seconds = 0;  ///< of a run of the model, estimated: sums over tasks
};

struct TuneOptions {
  CompileOptions model;             ///< shapes, target, threads; its `records` is not used
  /// For everything, the last comparison included; 0: no limit but `trials`. Nothing: a minute, or two and a half for GPUs,
  /// whose candidates differ in more.
  std::optional<double> seconds;
  std::int64_t trials = 0;          ///< 0: as many as the time allows
  std::filesystem::path records;    ///< the database; made when missing
  std::string tuner = "xgb";        ///< xgb, anneal, genetic, random, grid
  std::string tasks;                ///< regular expression (ECMAScript) on names and sources; empty: all
  std::uint64_t seed = 0;
  bool resume = false;              ///< go on where a search with the same tuner and seed ended
  std::filesystem::path report;     ///< an HTML file to write; empty: none
  /// Called after every round, on the calling thread; false ends the search (what was found is kept and compared).
  std::function<bool(const TuneProgress&)> progress;
};

struct TuneResult {
  std::vector<TunedTask> tasks;     ///< heaviest first
  std::int64_t trials = 0;
  double seconds = 0, search_seconds = 0;        ///< in all; until the last comparison
  /// Of the search: choosing candidates, training the cost model, and measuring them (compiling counts); of that, the
  /// time in which the process that runs candidates was at work.
  double proposing_seconds = 0, learning_seconds = 0, measuring_seconds = 0, running_seconds = 0;
  std::string stopped;              ///< why the search ended
  std::vector<std::string> notes;   ///< for people: no XGBoost, tasks left out
  /// Nodes whose chain is cut otherwise, or that are computed by another algorithm, since that was faster inside the
  /// model than what estimates had chosen; by how much.
  std::vector<std::string> changed;
  /// The whole model, as measured in turns: medians of a run, and the half width of a 95% interval of their ratio.
  double default_seconds = 0, tuned_seconds = 0;
  double speedup = 1, speedup_noise = 0;
  std::string target;               ///< as the target names itself: "llvm:cpu=znver5,...,threads=2"
  std::string machine;              ///< a description, for people
  int threads = 0;
};

/// Seconds of "90", "90s", "5m" or "2h"; 0 when the text is none of these, or no time of up to 1e9 seconds.
double parse_duration(std::string_view text);

/// The tasks of a model, heaviest first by multiply-adds: names, sources, weights, sizes of their spaces. Nothing is
/// measured.
std::vector<TunedTask> tasks_of(const std::filesystem::path& model, const CompileOptions& options = {});

/// Searches for faster schedules and records what it finds. Schedules are used (by compile with `records`) only when
/// they won inside the whole model, and none at all unless the model as a whole became faster.
TuneResult tune(const std::filesystem::path& model, const TuneOptions& options);

/// Which records of a database: all of its measurements; of every workload and target the fastest correct one; the
/// schedules that won inside a model, which compile uses.
enum class RecordSelection { All, Best, Winners };

/// Lines of JSON, a record a line, in the portable form that `burnish records export` writes.
std::vector<std::string> read_records(const std::filesystem::path& records,
                                      RecordSelection which = RecordSelection::All);

}  // namespace burnish
#endif
