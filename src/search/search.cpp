#include "search/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "search/statistics.h"
#include "search/task_search.h"

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr size_t most_base_samples = 3000;  // of other tasks' records: more make training slow and teach little

class Searcher {
 public:
  Searcher(std::span<const Task> tasks, const Target& target, Measurer& measurer, CostModel* model, Database* db,
           const SearchOptions& options, const Observer& observer)
      : target_(target), measurer_(measurer), model_(model), db_(db), options_(options), observer_(observer),
        random_(options.seed) {
    for (const Task& t : tasks) {
      tasks_.push_back(std::make_unique<TaskSearch>(t, target, static_cast<uint32_t>(tasks_.size()), options_));
    }
  }

  SearchResult run() {
    start_ = Clock::now();
    measure_defaults();
    load_records();
    train(true);
    result_.stopped = explore();
    race();
    for (const auto& t : tasks_) {
      result_.tasks.push_back(t->state);
      result_.notes.push_back(std::move(t->notes));
      result_.finalists.push_back(finalists(*t));
    }
    result_.seconds = elapsed();
    return std::move(result_);
  }

 private:
  double elapsed() const { return since(start_); }

  std::vector<Outcome> measure(std::span<const Candidate> candidates) {
    const auto start = Clock::now();
    std::vector<Outcome> outcomes = measurer_.measure(candidates);
    result_.measuring_seconds += since(start);
    for (const Outcome& o : outcomes) result_.running_seconds += o.measure_seconds;
    return outcomes;
  }

  // Schedules that the target takes without tuning: what everything is compared with.
  void measure_defaults() {
    std::vector<Candidate> all;
    for (const auto& t : tasks_) {
      t->fallback.trace = target_.default_schedule(t->task().group).to_text();
      all.push_back({.task = &t->task(), .trace = t->fallback.trace, .check = true});
    }
    const std::vector<Outcome> outcomes = measure(all);
    std::vector<Record> records;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      TaskSearch& t = *tasks_[i];
      static_cast<Outcome&>(t.fallback) = outcomes[i];
      if (t.fallback.status == Status::Ok) {
        t.state.progress.default_seconds = t.fallback.timing.median;
      } else {
        t.exhaust(fmt::format("the default schedule: {}: {}", name_of(t.fallback.status), t.fallback.message));
      }
      const auto features = features_of_trace(t.task().group, t.fallback.trace, target_.machine(), t.default_draft());
      t.learn(t.fallback, "default", features ? *features : Features{});
      note(t, t.fallback, -1, 0, false, "default");
      records.push_back(record(t, t.fallback, "default", "default"));
    }
    if (db_) db_->add(records, "", "");
  }

  // What earlier searches found: of these tasks it is told to the explorers; of others it teaches the model.
  void load_records() {
    if (!db_) return;
    std::map<std::string, TaskSearch*> by_hash;
    for (const auto& t : tasks_) by_hash[t->task().hash] = t.get();
    std::map<std::string, StageGroup> groups;
    std::map<std::string, uint32_t> numbers;
    db_->each_record({.target = target_.text()}, [&](const Record& r) {
      if (r.trial.status == Status::Illegal || r.trial.status == Status::Lost || r.tuner == "default") return true;
      if (auto it = by_hash.find(r.workload_hash); it != by_hash.end()) {
        if (it->second->task().workload == r.workload) it->second->recall(r, target_.machine());
        return true;
      }
      if (!model_ || base_samples_.size() >= most_base_samples) return true;
      auto [group, fresh] = groups.try_emplace(r.workload_hash);
      try {
        if (fresh) group->second = parse_stages(r.workload);
      } catch (const UserError&) {
        // Another version's, or edited by hand: it teaches nothing. The empty group refuses its traces.
      }
      auto features = features_of_trace(group->second, r.trial.trace, target_.machine(), 0);
      if (!features) return true;
      const auto number = static_cast<uint32_t>(tasks_.size() + numbers.size());
      const uint32_t group_number = numbers.try_emplace(r.workload_hash, number).first->second;
      base_samples_.push_back({std::move(*features), seconds_of(r.trial), group_number});
      return true;
    });
    if (!options_.resume) return;
    for (const auto& t : tasks_) {
      if (!t->tuner) continue;
      if (const std::string state = db_->state(t->state_key); !state.empty()) t->tuner->restore(state);
    }
  }

  void train(bool first) {
    if (!model_) return;
    std::vector<Sample> all;
    for (const auto& t : tasks_) all.insert(all.end(), t->samples.begin(), t->samples.end());
    all = with_transfer(all, base_samples_);
    // Anew when there is a fifth more to learn from; a few dozen samples already order better than the draft.
    const size_t least = first ? 24 : trained_on_ + std::max<size_t>(32, trained_on_ / 5);
    if (all.size() < least) return;
    const auto start = Clock::now();
    model_->train(all);
    result_.learning_seconds += since(start);
    trained_on_ = all.size();
  }

  // Why it ended.
  std::string explore() {
    for (;;) {
      if (options_.trials > 0 && result_.trials >= options_.trials) return "all trials are made";
      if (elapsed() >= options_.seconds) return "the time is over";
      std::vector<Progress> progress;
      for (const auto& t : tasks_) progress.push_back(t->state.progress);
      // A number of trials that was asked for is made, while there are points left.
      const std::vector<size_t> next = next_tasks(progress, options_.trials > 0 ? 0 : options_.least_gain, tasks_a_round());
      if (next.empty()) {
        const bool all = std::ranges::all_of(progress, [](const Progress& p) { return p.exhausted; });
        return all ? "every point is tried" : "no task is expected to gain more";
      }
      round(next);
      if (!tell_observer(next.front())) return "stopped";
    }
  }

  // As many as are asked for, while a round takes no large part of the time.
  size_t tasks_a_round() const {
    constexpr double share = 0.05;
    const double each = elapsed() / static_cast<double>(result_.trials + std::ssize(tasks_)) * static_cast<double>(options_.batch);
    const double affordable = share * options_.seconds / each;
    return affordable < static_cast<double>(options_.tasks_a_round) ? std::max<size_t>(1, static_cast<size_t>(affordable))
                                                                    : options_.tasks_a_round;
  }

  // What a task tries in a round.
  struct Batch {
    TaskSearch* task;
    std::vector<Trial> trials;
    std::vector<double> predicted;  // by trial
    std::vector<size_t> measured;   // trials that are legal
    std::vector<Candidate> candidates;  // by measured trial
  };

  void round(const std::vector<size_t>& tasks) {
    std::vector<Batch> batches;
    std::vector<Candidate> all;
    int64_t left = options_.trials > 0 ? options_.trials - result_.trials : std::numeric_limits<int64_t>::max();
    for (const size_t i : tasks) {
      const auto n = static_cast<size_t>(std::min<int64_t>(left, static_cast<int64_t>(options_.batch)));
      if (n == 0) break;
      Batch b = propose(*tasks_[i], n);
      if (b.trials.empty()) continue;
      all.insert(all.end(), b.candidates.begin(), b.candidates.end());
      left -= std::ssize(b.trials);
      batches.push_back(std::move(b));
    }
    if (batches.empty()) return;
    const std::vector<Outcome> outcomes = measure(all);
    auto first = outcomes.begin();
    for (Batch& b : batches) {
      absorb(b, std::span<const Outcome>(first, b.candidates.size()));
      first += std::ssize(b.candidates);
    }
    train(false);
    if (!learned()) return;
    for (const Batch& b : batches) b.task->state.progress.predicted_gain = b.task->predicted_gain(*model_);
  }

  // No trials, and the task is done, where there are no more points.
  Batch propose(TaskSearch& t, size_t n) {
    Batch b{.task = &t};
    const auto start = Clock::now();
    const Oracle oracle = t.oracle(learned() ? model_ : nullptr);
    const std::vector<Point> points = t.tuner->ask(n, oracle);
    if (points.empty()) {
      t.exhaust("every point is tried");
      return b;
    }
    b.predicted = oracle.score(points);
    result_.proposing_seconds += since(start);
    b.trials.resize(points.size());
    for (size_t i = 0; i < points.size(); ++i) {
      const auto& entry = t.candidates.at(points[i]);
      b.trials[i].point = points[i];
      b.trials[i].trace = entry.trace;
      if (entry.trace.empty()) {
        b.trials[i].status = Status::Illegal;
        b.trials[i].message = entry.refusal;
        continue;
      }
      const bool check = std::generate_canonical<double, 32>(random_) < options_.checked_share;
      b.candidates.push_back({.task = &t.task(), .trace = entry.trace, .check = check,
                              .check_below = t.state.progress.best_seconds});
      b.measured.push_back(i);
    }
    return b;
  }

  void absorb(Batch& b, std::span<const Outcome> outcomes) {
    TaskSearch& t = *b.task;
    for (size_t k = 0; k < outcomes.size(); ++k) static_cast<Outcome&>(b.trials[b.measured[k]]) = outcomes[k];
    const auto round = static_cast<int64_t>(t.state.progress.history.size());
    for (size_t i = 0; i < b.trials.size(); ++i) {
      note(t, b.trials[i], round, b.predicted[i], learned(), text_of(*t.task().space, b.trials[i].point));
    }
    commit(t, b.trials);
    for (size_t k = 0; k < outcomes.size(); ++k) note_proof(t, b.candidates[k], outcomes[k]);
  }

  bool learned() const { return model_ && model_->trained() && options_.tuner == "xgb"; }

  // Of candidates that are checked whatever their time is, the measurer proves the loops, too. What records say of checks
  // counts for nothing here: it may be another compiler's.
  static void note_proof(TaskSearch& t, const Candidate& c, const Outcome& o) {
    if (c.check && o.checked && o.status == Status::Ok) t.measured[c.trace].proved = true;
  }

  static void note(TaskSearch& t, const Trial& trial, int64_t round, double predicted, bool learned, std::string knobs) {
    const double seconds = trial.status == Status::Ok ? trial.timing.median : 0;
    t.notes.push_back({round, predicted, learned, seconds, std::move(knobs), trial.status});
  }

  void commit(TaskSearch& t, std::span<const Trial> trials) {
    std::vector<Record> records;
    for (const Trial& trial : trials) {
      const std::string knobs = text_of(*t.task().space, trial.point);
      t.learn(trial, knobs, trial.status == Status::Illegal ? Features{} : t.candidates.at(trial.point).features);
      records.push_back(record(t, trial, knobs, options_.tuner));
    }
    t.tuner->tell(trials);
    result_.trials += static_cast<int64_t>(trials.size());
    t.state.progress.trials += static_cast<int64_t>(trials.size());
    t.state.progress.history.push_back(t.state.progress.best_seconds);
    if (db_) db_->add(records, t.state_key, t.tuner->state());
  }

  // The fastest of every task once more, in turns with the default: one good time among many may have been luck. Every
  // round keeps fewer of them, those that are the fastest by the median of all their times.
  void race() {
    std::vector<TaskSearch*> heaviest;
    for (const auto& t : tasks_) {
      if (t->measured.size() > 1) heaviest.push_back(t.get());
    }
    const auto share = [](const TaskSearch* t) { return t->task().weight * t->state.progress.default_seconds; };
    std::ranges::stable_sort(heaviest, std::greater{}, share);
    // About a tenth of the time, as the trials so far cost it: the heaviest tasks have long races, others short ones. Of
    // those left out the fastest runs once more, beyond that time: whatever can win is proved.
    const double each = elapsed() / static_cast<double>(std::max<int64_t>(1, result_.trials + std::ssize(tasks_)));
    double afforded = std::isfinite(options_.seconds) ? 0.1 * options_.seconds / each : 1e9;
    size_t left = heaviest.size();
    for (TaskSearch* t : heaviest) {
      const bool longer = afforded >= cost(long_race) + static_cast<double>(--left) * cost(short_race);
      const std::span<const size_t> rounds = longer ? std::span<const size_t>(long_race) : short_race;
      if (afforded < cost(rounds)) {
        if (t->state.progress.best_seconds < t->state.progress.default_seconds) race_round(*t, 1);
        continue;
      }
      afforded -= cost(rounds);
      for (const size_t entrants : rounds) race_round(*t, entrants);
    }
    for (const auto& t : tasks_) settle(*t);
  }

  // How many enter each round of a race; the default always does.
  static constexpr size_t long_race[] = {12, 8, 6, 4, 4, 4}, short_race[] = {4, 4};
  static double cost(std::span<const size_t> rounds) {
    return static_cast<double>(std::accumulate(rounds.begin(), rounds.end(), rounds.size()));
  }

  void race_round(TaskSearch& t, size_t entrants) {
    std::vector<std::pair<double, std::string>> order;
    for (const auto& [trace, times] : t.measured) {
      if (trace == t.fallback.trace || wrong_.contains(trace) || !std::isfinite(times.median())) continue;
      order.emplace_back(times.median(), trace);
    }
    std::sort(order.begin(), order.end());
    order.resize(std::min(order.size(), entrants));
    std::vector<Candidate> all = {{.task = &t.task(), .trace = t.fallback.trace}};
    // Proved and checked once: that takes longer than the timing.
    for (const auto& [seconds, trace] : order) {
      t.raced.insert(trace);
      all.push_back({.task = &t.task(), .trace = trace, .check = !t.measured[trace].proved});
    }
    for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random_() % i]);
    const std::vector<Outcome> outcomes = measure(all);
    // What slows a whole round down, a clock or a neighbour, says nothing of who is faster.
    std::vector<double> drifts;
    for (size_t k = 0; k < all.size(); ++k) {
      const double before = t.measured[all[k].trace].median();
      if (outcomes[k].status == Status::Ok && before > 0) drifts.push_back(outcomes[k].timing.median / before);
    }
    const double drift = drifts.empty() ? 1 : std::max(median(drifts), 1e-9);
    std::vector<Record> records;
    for (size_t k = 0; k < all.size(); ++k) {
      const Trial trial{outcomes[k], {}, all[k].trace};
      auto& times = t.measured[trial.trace];
      if (trial.status == Status::Ok) {
        times.seconds.push_back(trial.timing.median / drift);
        note_proof(t, all[k], outcomes[k]);
      } else if (trial.status != Status::Lost) {
        times.seconds.push_back(infinity);
        wrong_.insert(trial.trace);
      }
      records.push_back(record(t, trial, times.knobs, "race"));
    }
    if (db_) db_->add(records, "", "");
  }

  // What the race has shown: the default's time, and the best without what was luck.
  void settle(TaskSearch& t) const {
    Progress& p = t.state.progress;
    if (auto it = t.measured.find(t.fallback.trace); it != t.measured.end()) p.default_seconds = it->second.median();
    p.best_seconds = p.default_seconds;
    t.state.best_trace = t.fallback.trace;
    t.state.best_knobs = "default";
    if (const auto all = finalists(t); !all.empty()) {
      p.best_seconds = all[0].seconds;
      t.state.best_trace = all[0].trace;
      t.state.best_knobs = all[0].knobs;
    }
  }

  std::vector<Finalist> finalists(const TaskSearch& t) const {
    std::vector<Finalist> all;
    for (const auto& [trace, times] : t.measured) {
      if (trace == t.fallback.trace || wrong_.contains(trace) || !times.proved) continue;
      // Where there was a race: others have one time, which may have been luck.
      if (!t.raced.empty() && !t.raced.contains(trace)) continue;
      const double seconds = times.median();
      if (seconds < t.state.progress.default_seconds) all.push_back({trace, times.knobs, seconds});
    }
    std::ranges::sort(all, {}, [](const Finalist& f) { return f.seconds; });
    if (all.size() > 8) all.resize(8);
    return all;
  }

  Record record(const TaskSearch& t, const Trial& trial, const std::string& knobs, const std::string& tuner) const {
    return {.workload = t.task().workload,
            .workload_hash = t.task().hash,
            .target = target_.text(),
            .threads = target_.machine().threads,
            .compiler = options_.compiler,
            .machine = options_.machine,
            .tuner = tuner,
            .seed = options_.seed,
            .knobs = knobs,
            .trial = trial,
            .when = static_cast<int64_t>(std::time(nullptr))};
  }

  bool tell_observer(size_t current) {
    if (!observer_) return true;
    std::vector<TaskState> states;
    Snapshot s{.current = current, .trials = result_.trials, .elapsed = elapsed(), .limit = options_.seconds};
    for (const auto& t : tasks_) {
      states.push_back(t->state);
      s.default_seconds += t->task().weight * t->state.progress.default_seconds;
      s.best_seconds += t->task().weight * t->state.progress.best_seconds;
    }
    s.tasks = states;
    return observer_(s);
  }

  const Target& target_;
  Measurer& measurer_;
  CostModel* model_;
  Database* db_;
  const SearchOptions& options_;
  const Observer& observer_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<TaskSearch>> tasks_;
  std::vector<Sample> base_samples_;
  std::set<std::string> wrong_;  // traces that failed in the race
  size_t trained_on_ = 0;
  SearchResult result_;
  Clock::time_point start_;
};

}  // namespace

SearchResult search(std::span<const Task> tasks, const Target& target, Measurer& measurer, CostModel* model,
                    Database* db, const SearchOptions& options, const Observer& observer) {
  require(options.batch > 0, "a batch of no candidates measures nothing");
  return Searcher(tasks, target, measurer, model, db, options, observer).run();
}

}  // namespace burnish::search
