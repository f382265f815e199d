// The worker that runs libraries: times them, and compares their answers with the reference's.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <optional>

#include "base/error.h"
#include "search/statistics.h"
#include "search/worker/probe.h"
#include "search/worker/task_data.h"
#include "search/worker/values.h"
#include "search/worker/worker.h"

namespace burnish::search {

namespace {

constexpr size_t most_repeats = 20'000;
constexpr double most_overhead = 3;  // of starting runs: kernels of a microsecond are counted less long
constexpr double hopeless = 4;  // times the time that would be worth checking
constexpr int most_again = 2;   // timings that were disturbed
constexpr double uneven = 1.02; // the median over the minimum
constexpr std::byte poison{0xff};  // NaN: elements that are not written show

// How often this process has lost a CPU that it did not want to give up.
int64_t preemptions() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  return use.ru_nivcsw;
}

void require_unharmed(const Parameter& p, const GuardedBuffer& b) {
  const auto at = b.damage();
  if (!at) return;
  throw RunFailure{Status::Wrong, *at < 0 ? fmt::format("it wrote {} bytes before {}", -*at, p.name)
                                          : fmt::format("it wrote {} bytes behind the end of {} ({} bytes)",
                                                        *at - static_cast<int64_t>(b.size()), p.name, b.size())};
}

// Elements between the rows of a padded output are others'.
void require_gaps_unharmed(const Parameter& p, const GuardedBuffer& b) {
  const Runs runs = runs_of(p.layout, p.shape);
  if (runs.pitch == 0) return;
  const auto width = static_cast<size_t>(size_of(p.dtype));
  for (size_t i = 0; i < b.size(); ++i) {
    const auto element = static_cast<int64_t>(i / width);
    if (element % runs.pitch < runs.run || b.data()[i] == poison) continue;
    throw RunFailure{Status::Wrong, fmt::format("it wrote to element {} of {}, which lies between its rows", element, p.name)};
  }
}

// Buffers whose ends are guarded, for one run that is looked at closely.
std::vector<GuardedBuffer> guarded(TaskData& d, const std::vector<Parameter>& parameters, int seed) {
  std::vector<GuardedBuffer> all;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    GuardedBuffer& b = all.emplace_back(bytes_of(p), GuardedBuffer::Place::End);
    if (p.output) {
      b.fill(poison);
      continue;
    }
    if (p.constant)
      std::ranges::copy(*d.packed_constant(i, seed, p), b.data());
    else
      std::ranges::copy(d.input(i, seed), b.data());
    b.read_only();
  }
  return all;
}

}  // namespace

struct Runner::State {
  Setup setup;
  Teller& teller;
  Handle<burnish_pool> pool;
  TaskCache cache;
  // Of the last task: allocating tensors, and copying them through the host's, takes longer than timing what runs on them.
  std::optional<DeviceTensors> on_device;

  State(const Setup& s, Teller& t)
      : setup(s), teller(t), pool(new_pool(s.threads)), cache(std::max<size_t>(s.memory_bytes / (s.device ? 4 : 8), size_t{1} << 27)) {}

  void compute_answers(TaskData& d, const Built& reference) {
    teller.phase(Phase::Reference);
    try {
      compute_answers_with(KernelLibrary(reference, pool.get()), d, reference);
    } catch (const RunFailure& f) {
      d.answers[0].clear();
      throw RunFailure{Status::Lost, "the reference has no answer: " + f.message};
    }
    teller.phase(Phase::ReferenceDone);
  }

  static void compute_answers_with(KernelLibrary k, TaskData& d, const Built& reference) {
    for (int seed = 0; seed < check_seeds; ++seed) {
      const auto buffers = guarded(d, reference.parameters, seed);
      for (size_t i = 0; i < buffers.size(); ++i) k.bind(reference.parameters[i], buffers[i].data());
      k.run();
      d.answers[seed].resize(buffers.size());
      for (size_t i = 0; i < buffers.size(); ++i) {
        if (reference.parameters[i].output) {
          d.answers[seed][i].assign(buffers[i].data(), buffers[i].data() + buffers[i].size());
        }
      }
    }
  }

  void check_answers(KernelLibrary& k, TaskData& d, const RunRequest& r) {
    const auto& parameters = r.candidate.parameters;
    if (!same_task(r.reference.parameters, parameters)) {
      throw RunFailure{Status::Wrong, "its parameters are not those of the reference"};
    }
    if (d.answers[0].empty()) compute_answers(d, r.reference);
    teller.phase(Phase::Checking);
    for (int seed = 0; seed < check_seeds; ++seed) {
      auto buffers = guarded(d, parameters, seed);
      for (size_t i = 0; i < buffers.size(); ++i) k.bind(parameters[i], buffers[i].data());
      k.run();
      require_right(d, r, seed, buffers);
      if (seed > 0) continue;
      // Twice the same: threads that meet do not meet every time.
      for (size_t i = 0; i < buffers.size(); ++i)
        if (parameters[i].output) buffers[i].fill(poison);
      k.run();
      require_right(d, r, seed, buffers);
    }
  }

  void require_right(const TaskData& d, const RunRequest& r, int seed, const std::vector<GuardedBuffer>& buffers) const {
    for (size_t i = 0; i < buffers.size(); ++i) {
      const Parameter& p = r.candidate.parameters[i];
      require_unharmed(p, buffers[i]);
      if (!p.output) continue;
      if (!setup.device) require_gaps_unharmed(p, buffers[i]);  // there they are not what they were here
      const std::string why = difference(p, {buffers[i].data(), buffers[i].size()}, d.answers[seed][i], r.candidate.tolerance);
      if (!why.empty()) throw RunFailure{Status::Wrong, why};
    }
  }

  // By graphs of launches, inputs where the kernel before would have left them, constants in turns.
  Timing time_on_device(KernelLibrary& k, TaskData& d, const RunRequest& r) const {
    const auto& parameters = r.candidate.parameters;
    place_constants(d, parameters, 0);
    for (size_t i = 0; i < parameters.size(); ++i)
      k.bind(parameters[i], parameters[i].constant ? d.constant(i, 0) : on_device ? on_device->at[i] : d.buffers[i].data());
    k.run();
    k.on_device();
    const double limit = r.check_below > 0 ? hopeless * r.check_below : std::numeric_limits<double>::infinity();
    const double first = k.launch_seconds();
    if (first > limit) return timing_of({first});
    const auto least = static_cast<size_t>(std::max(setup.min_repeats, 1));
    std::vector<double> seconds;
    for (double sum = 0; seconds.size() < most_repeats && (sum < setup.min_time || seconds.size() < least);) {
      seconds.push_back(k.launch_seconds());
      sum += seconds.back() * r.candidate.launches;
    }
    return timing_of(seconds);
  }

  Timing time(KernelLibrary& k, TaskData& d, const RunRequest& r) {
    if (setup.device) return time_on_device(k, d, r);
    const auto& parameters = r.candidate.parameters;
    place_constants(d, parameters, setup.cold_weights ? 2 * static_cast<size_t>(setup.l2_bytes) : 0);
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].output) d.buffers[i].repair();
      if (!parameters[i].constant) k.bind(parameters[i], d.buffers[i].data());
    }
    size_t runs = 0;
    const auto once = [&] {
      for (size_t i = 0; (runs == 0 || d.copies > 1) && i < parameters.size(); ++i) {
        if (parameters[i].constant) k.bind(parameters[i], d.constant(i, runs));
      }
      ++runs;
      return k.run();
    };
    const double limit = r.check_below > 0 ? hopeless * r.check_below : std::numeric_limits<double>::infinity();
    KernelLibrary::Times t = once();
    if (t.kernel > limit && t.whole >= setup.min_time) return timing_of({t.kernel});
    double warm = t.whole;
    for (int i = 0; i < 2 && warm < 1e-3; ++i) warm += once().whole;
    const auto least = static_cast<size_t>(std::max(setup.min_repeats, 1));
    const auto counted = [&] {
      std::vector<double> seconds;
      for (double sum = 0, spent = 0; seconds.size() < most_repeats;) {
        t = once();
        seconds.push_back(t.kernel);
        sum += t.kernel;
        spent += t.whole;
        const bool long_enough = sum >= setup.min_time || spent >= most_overhead * setup.min_time;
        if (long_enough && (seconds.size() >= least || t.kernel > limit)) break;
      }
      return timing_of(seconds);
    };
    // Once more where another process took a CPU away: a kernel of two threads then takes twice its time.
    int64_t before = preemptions();
    Timing timing = counted();
    const auto doubtful = [&] {
      return preemptions() > before && timing.median > uneven * timing.min && timing.median <= limit &&
             timing.median * timing.repeats < 10 * setup.min_time;
    };
    for (int again = 0; again < most_again && doubtful(); ++again) {
      before = preemptions();
      if (const Timing next = counted(); next.median < timing.median) timing = next;
    }
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].output) require_unharmed(parameters[i], d.buffers[i]);
    }
    return timing;
  }

  void run(const RunRequest& r, RunReply& reply) {
    if (on_device && !same_task(on_device->parameters, r.candidate.parameters)) on_device.reset();  // before others want memory
    KernelLibrary k(r.candidate, pool.get());
    TaskData& d = cache.get(r.hash, r.candidate.parameters);
    reply.timing = time(k, d, r);
    if (!r.reference.library.empty() && (r.check || reply.timing.median < r.check_below)) {
      check_answers(k, d, r);
      reply.checked = true;
    }
    if (setup.device && !on_device) on_device = std::move(k).keep_tensors();
  }
};

Runner::Runner(const Setup& setup, Teller& teller) : state_(std::make_unique<State>(setup, teller)) {}

Runner::~Runner() = default;

RunReply Runner::run(const RunRequest& r) {
  RunReply reply{.probe_seconds = probe()};
  const auto fail = [&](Status status, std::string why) {
    reply.status = status;
    reply.message = std::move(why);
    reply.checked = status == Status::Wrong;
  };
  try {
    state_->run(r, reply);
  } catch (const RunFailure& f) {
    fail(f.status, f.message);
  } catch (const std::bad_alloc&) {
    fail(Status::OutOfMemory, "running it took more memory than a worker may have");
  } catch (const std::exception& e) {
    fail(Status::BuildFailed, e.what());
  }
  return reply;
}

}  // namespace burnish::search
