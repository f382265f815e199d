#include "search/records/plausible.h"

#include <fmt/format.h>

#include "base/text.h"
#include "search/records.h"

namespace burnish::search {

namespace {

bool is_time(double seconds) { return seconds >= 0 && seconds <= most_seconds; }  // false for NaN

std::optional<std::string> impossible(const char* name, double seconds) {
  return fmt::format("{} is {}, which is no time in seconds", name, number_text(seconds));
}

}  // namespace

std::optional<std::string> implausible(const Trial& t) {
  const std::pair<const char*, double> times[] = {
      {"median", t.timing.median},
      {"mad", t.timing.mad},
      {"min", t.timing.min},
      {"build_seconds", t.build_seconds},
      {"measure_seconds", t.measure_seconds},
      {"probe_seconds", t.probe_seconds},
  };
  for (const auto& [name, seconds] : times) {
    if (!is_time(seconds)) return impossible(name, seconds);
  }
  if (t.timing.repeats < 0 || t.timing.repeats > most_repeats)
    return fmt::format("repeats is {}", t.timing.repeats);
  if (t.status != Status::Ok) return std::nullopt;
  if (t.timing.median <= 0) return "median is 0, though the status is ok";
  if (t.timing.min > t.timing.median) {
    return fmt::format("min is {}, more than the median of {}", number_text(t.timing.min),
                       number_text(t.timing.median));
  }
  return std::nullopt;
}

std::optional<std::string> implausible(const Record& r) {
  if (auto reason = implausible(r.trial)) return reason;
  if (r.threads < 0 || r.threads > most_threads) return fmt::format("threads is {}", r.threads);
  if (r.when < 0 || r.when > last_when)
    return fmt::format("when is {}, which is no second since 1970", r.when);
  return std::nullopt;
}

std::optional<std::string> implausible(const Winner& w) {
  for (const auto& [name, seconds] :
       {std::pair{"default_seconds", w.default_seconds}, {"tuned_seconds", w.tuned_seconds}}) {
    if (!is_time(seconds) || seconds == 0) return impossible(name, seconds);
  }
  if (w.when < 0 || w.when > last_when)
    return fmt::format("when is {}, which is no second since 1970", w.when);
  return std::nullopt;
}

void make_plausible(Trial& t) {
  const auto reason = implausible(t);
  if (!reason) return;
  t.message = t.message.empty() ? *reason : *reason + "; " + t.message;
  if (t.status == Status::Ok) t.status = Status::Lost;
  if (t.timing.repeats < 0 || t.timing.repeats > most_repeats) t.timing.repeats = 0;
  for (double* seconds : {&t.timing.median, &t.timing.mad, &t.timing.min, &t.build_seconds,
                          &t.measure_seconds, &t.probe_seconds}) {
    if (!is_time(*seconds)) *seconds = 0;
  }
}

std::string without_threads(const std::string& target) {
  return target.substr(0, target.find(",threads="));
}

}  // namespace burnish::search
