// InferenceSession.time_evaluator: repeated, timed runs without Python in between.
#include "session.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace burnish::python {
namespace {

using namespace nb::literals;

struct TimeResult {
  std::vector<double> results;  // seconds of one run, a figure a repeat; never empty
  uint64_t number;              // runs in each repeat

  double mean() const {
    return std::accumulate(results.begin(), results.end(), 0.0) / static_cast<double>(results.size());
  }
  double median() const {
    std::vector<double> sorted = results;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  }
  double min() const { return *std::min_element(results.begin(), results.end()); }
  double max() const { return *std::max_element(results.begin(), results.end()); }
  double deviation() const {
    const double middle = mean();
    double sum = 0;
    for (double x : results) sum += (x - middle) * (x - middle);
    return std::sqrt(sum / static_cast<double>(results.size()));
  }
};

struct TimeEvaluator {
  nb::object session;
  uint64_t number, repeat;
  double min_repeat_ms;
};

// Ten times a second, out of the measured time, signals are looked at: Ctrl-C ends a measurement.
double seconds_of(burnish_session* session, uint64_t number) {
  using Clock = std::chrono::steady_clock;
  auto begin = Clock::now(), looked = begin;
  for (uint64_t i = 0; i < number; ++i) {
    check(burnish_session_run(session));
    const auto now = Clock::now();
    if (now - looked < std::chrono::milliseconds(100)) continue;
    nb::gil_scoped_acquire held;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    looked = Clock::now();
    begin += looked - now;
  }
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

TimeResult evaluate(const TimeEvaluator& evaluator, nb::dict feeds) {
  TimeResult result{{}, evaluator.number};
  nb::cast<InferenceSession&>(evaluator.session).with_feeds(feeds, [&](burnish_session* session) {
    check(burnish_session_run(session));
    const double wanted = evaluator.min_repeat_ms / 1000;
    for (uint64_t i = 0; i < evaluator.repeat; ++i) {
      double seconds = seconds_of(session, result.number);
      while (seconds < wanted) {  // as many runs as a repeat of that length needs, and a little more
        const double factor = std::clamp(1.1 * wanted / std::max(seconds, 1e-9), 1.1, 100.0);
        result.number = static_cast<uint64_t>(std::ceil(static_cast<double>(result.number) * factor));
        seconds = seconds_of(session, result.number);
      }
      result.results.push_back(seconds / static_cast<double>(result.number));
    }
  });
  return result;
}

std::string repr(const TimeResult& result) {
  char text[160];
  std::snprintf(text, sizeof text, "TimeResult(mean=%.4f ms, median=%.4f ms, std=%.4f ms, repeats=%zu)",
                1e3 * result.mean(), 1e3 * result.median(), 1e3 * result.deviation(), result.results.size());
  return text;
}

TimeEvaluator evaluator_of(nb::object session, uint64_t number, uint64_t repeat, double min_repeat_ms) {
  if (number == 0 || repeat == 0) throw UserError("time_evaluator: number and repeat must be at least 1");
  if (!(min_repeat_ms >= 0 && min_repeat_ms <= 1e6)) {
    throw UserError("time_evaluator: min_repeat_ms must be between 0 and 1000000");
  }
  return {std::move(session), number, repeat, min_repeat_ms};
}

}  // namespace

void bind_timing(nb::module_& module) {
  nb::class_<TimeResult>(module, "TimeResult", "Seconds that one run takes: a figure a repeat, and their statistics.")
      .def_ro("results", &TimeResult::results)
      .def_ro("number", &TimeResult::number, "Runs in each repeat.")
      .def_prop_ro("mean", &TimeResult::mean)
      .def_prop_ro("median", &TimeResult::median)
      .def_prop_ro("min", &TimeResult::min)
      .def_prop_ro("max", &TimeResult::max)
      .def_prop_ro("std", &TimeResult::deviation)
      .def("__repr__", &repr);

  nb::class_<TimeEvaluator>(module, "TimeEvaluator", "What InferenceSession.time_evaluator gives; call it to measure.")
      .def("__call__", &evaluate, "feeds"_a = nb::dict(),
           "Measures; inputs that feeds does not name are zero. The GIL is released meanwhile.");

  nb::object session = module.attr("InferenceSession");
  nb::cpp_function_def(
      &evaluator_of, nb::scope(session), nb::name("time_evaluator"), nb::is_method(), "number"_a = 10, "repeat"_a = 3,
      "min_repeat_ms"_a = 0.0,
      "Returns an evaluator. Called, it runs the network once to warm up, then `repeat` times `number` runs in a row; "
      "number grows until one repeat takes at least min_repeat_ms milliseconds.");
}

}  // namespace burnish::python
