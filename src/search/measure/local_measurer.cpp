// Measuring on this machine: all candidates of a batch are compiled, by several processes; then they are run one after
// the other by one process, while nothing else works. On a device, each is run as soon as it is compiled and those of the
// tasks before it have run.
#include <burnish/runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "search/measure/crew.h"
#include "search/measure/task_by_task.h"
#include "search/measurer.h"

namespace burnish::search {

namespace {

Setup setup_of(const MeasureOptions& o, std::string target, int threads, int64_t l2_bytes) {
  return {.role = Role::Runner, .target = std::move(target), .threads = threads, .memory_bytes = o.memory_bytes,
          .l2_bytes = l2_bytes, .min_time = o.min_time, .min_repeats = o.min_repeats, .cold_weights = o.cold_weights, .device = o.device};
}

class LocalMeasurer : public Measurer {
 public:
  LocalMeasurer(const Target& target, const MeasureOptions& o)
      : recruiter_(find_worker(o.worker)),
        // On a device's side, all CPUs compute what it is compared with.
        setup_(setup_of(o, target.text(), o.device ? static_cast<int>(burnish_cpu_count()) : target.machine().threads,
                        target.machine().l2_bytes)),
        builders_(recruiter_, setup_, builders(o), o.build_timeout),
        runner_((recruiter_.prepare(static_cast<size_t>(builders(o)) + 2), recruiter_), setup_, o.run_timeout) {}

  std::vector<Outcome> measure(std::span<const Candidate> candidates) override {
    std::vector<Outcome> outcomes(candidates.size());
    std::map<const Task*, double> best;  // of this batch
    const auto time = [&](size_t i, BuildReply& built) {
      Outcome& o = outcomes[i];
      o.status = built.status;
      o.message = std::move(built.message);
      o.build_seconds = built.seconds;
      if (o.status != Status::Ok) return;
      const auto faster = best.find(candidates[i].task);
      const double below = faster == best.end() ? candidates[i].check_below
                                                : std::min(candidates[i].check_below, faster->second);
      run(candidates[i], below, std::move(built.built), o);
      if (o.status == Status::Ok && below > 0 && o.timing.median < below) best[candidates[i].task] = o.timing.median;
    };
    if (setup_.device) {
      TaskByTask<BuildReply> order(candidates, time);
      build(candidates, [&](size_t i, BuildReply& b) { order.add(i, std::move(b)); });  // the builders do not disturb it
    } else {
      std::vector<BuildReply> built(candidates.size());
      build(candidates, [&](size_t i, BuildReply& b) { built[i] = std::move(b); });
      for (size_t i = 0; i < candidates.size(); ++i) time(i, built[i]);
    }
    recruiter_.prepare(1);  // now, when it disturbs nobody
    return outcomes;
  }

 private:
  struct Reference {
    Built built;
    std::string why_not;
  };

  static int builders(const MeasureOptions& o) {
    return o.builders > 0 ? o.builders : static_cast<int>(burnish_cpu_count());
  }

  // The candidates, and references of their tasks that are not there yet. Proving a candidate's loops right takes as long
  // as compiling them: only those whose answers will be checked in any case, all finalists among them, are proved.
  // `finished` is called for every candidate, in any order, after its reference is there.
  void build(std::span<const Candidate> candidates, const BuilderCrew::Finished& finished) {
    std::vector<BuildJob> jobs;
    std::vector<const Task*> references;
    std::set<std::string> pending;
    for (const Candidate& c : candidates) {
      if (!(c.check || c.check_below > 0) || references_.count(c.task->hash)) continue;
      references_[c.task->hash] = {};
      references.push_back(c.task);
      pending.insert(c.task->hash);
      jobs.push_back({&c.task->hash, &c.task->workload, nullptr});
    }
    // Not on a device: threads in several digits make proofs that take minutes.
    for (const Candidate& c : candidates)
      jobs.push_back({&c.task->hash, &c.task->workload, &c.trace, c.check && !setup_.device, &c.task->name});
    std::vector<std::pair<size_t, BuildReply>> early;
    builders_.build(jobs, [&](size_t job, BuildReply& reply) {
      if (job < references.size()) {
        const Task& task = *references[job];
        Reference& r = references_[task.hash];
        if (reply.status == Status::Ok) r.built = std::move(reply.built);
        else r.why_not = fmt::format("the reference of {} could not be built: {}", task.name, reply.message);
        pending.erase(task.hash);
        return;
      }
      const size_t i = job - references.size();
      if (pending.contains(candidates[i].task->hash)) early.emplace_back(i, std::move(reply));
      else finished(i, reply);
    });
    for (auto& [i, reply] : early) finished(i, reply);
  }

  void run(const Candidate& c, double check_below, Built built, Outcome& o) {
    RunRequest r{.hash = c.task->hash, .candidate = std::move(built), .reference = {}, .check = c.check,
                 .check_below = check_below};
    const auto it = references_.find(c.task->hash);
    if (it != references_.end()) {
      r.reference = it->second.built;
      o.message = it->second.why_not;
    }
    const auto start = Clock::now();
    RunReply reply = runner_.run(r);
    o.measure_seconds = since(start);
    o.status = reply.status;
    if (!reply.message.empty()) o.message = std::move(reply.message);
    o.timing = reply.timing;
    o.checked = reply.checked;
    o.probe_seconds = reply.probe_seconds;
  }

  Recruiter recruiter_;
  Setup setup_;
  BuilderCrew builders_;
  RunnerClient runner_;
  std::map<std::string, Reference> references_;  // by hash of the workload
};

}  // namespace

std::unique_ptr<Measurer> local_measurer(std::shared_ptr<const Target> target, const MeasureOptions& options) {
  return std::make_unique<LocalMeasurer>(*target, options);
}

Result<Comparison> compare_libraries(const std::vector<std::string>& paths, int threads, double seconds, bool steps,
                                     const MeasureOptions& options) {
  Recruiter recruiter(find_worker(options.worker));
  // Loading and the first runs of large models take longer than a kernel.
  const double timeout = seconds + std::max(60.0, 4 * options.run_timeout);
  RunnerClient runner(recruiter, setup_of(options, {}, threads, 0), options.run_timeout);
  CompareReply reply = runner.compare({.paths = paths, .threads = threads, .seconds = seconds, .steps = steps}, timeout);
  if (!reply.failure.empty()) return Reason{std::move(reply.failure)};
  return std::move(reply.comparison);
}

}  // namespace burnish::search
