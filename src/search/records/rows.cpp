#include "search/records/rows.h"

#include <fmt/format.h>

#include <charconv>

#include "search/records/plausible.h"

namespace burnish::search {

#define BARE_COLUMNS                                                                               \
  "t.id, t.workload_hash, t.target, t.threads, t.compiler, t.tuner, t.seed, t.knobs, t.point, "    \
  "t.trace, t.status, "                                                                            \
  "t.message, t.median, t.mad, t.min, t.repeats, t.checked, t.build_seconds, t.measure_seconds, "  \
  "t.probe_seconds, "                                                                              \
  "t.recorded_at, t.origin, t.machine"

const char* const select_trials =
    "SELECT " BARE_COLUMNS
    ", w.text, m.text FROM trials t LEFT JOIN workloads w ON w.hash = t.workload_hash "
    "LEFT JOIN machines m ON m.id = t.machine";
const char* const select_bare_trials = "SELECT " BARE_COLUMNS " FROM trials t";

const char* const insert_trial = "INSERT INTO trials(workload_hash, target, threads, compiler, "
                                 "tuner, seed, knobs, point, trace, status, message, median, "
                                 "mad, min, repeats, checked, build_seconds, measure_seconds, "
                                 "probe_seconds, recorded_at, origin, machine) "
                                 "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, "
                                 "?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";

const char* const select_winners = "SELECT workload_hash, target, trace, default_seconds, "
                                   "tuned_seconds, model, recorded_at FROM winners";
const char* const insert_winner = "INSERT OR REPLACE INTO winners(workload_hash, target, trace, "
                                  "default_seconds, tuned_seconds, model, recorded_at) "
                                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

namespace {

Point parse_point(const std::string& text) {
  Point p;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    uint16_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc()) return {};
    p.push_back(value);
    at = next == end ? end : next + 1;
  }
  return p;
}

int to_int(int64_t value) {
  return value < INT32_MIN || value > INT32_MAX
             ? -1
             : static_cast<int>(value);  // -1 is implausible everywhere
}

}  // namespace

Record read_bare_trial(const Statement& row, int64_t& machine) {
  int column = 0;
  const auto text = [&] { return row.text(column++); };
  const auto integer = [&] { return row.integer(column++); };
  const auto number = [&] { return row.number(column++); };
  Record r;
  r.id = integer();
  r.workload_hash = text();
  r.target = text();
  r.threads = to_int(integer());
  r.compiler = text();
  r.tuner = text();
  r.seed = static_cast<uint64_t>(integer());
  r.knobs = text();
  r.trial.point = parse_point(text());
  r.trial.trace = text();
  const std::string status = text();
  r.trial.message = text();
  if (!parse_status(status, r.trial.status)) {
    r.trial.status = Status::Lost;
    r.trial.message = fmt::format("unknown status \"{}\"", status);
  }
  r.trial.timing = {
      .median = number(), .mad = number(), .min = number(), .repeats = to_int(integer())};
  r.trial.checked = integer() != 0;
  r.trial.build_seconds = number();
  r.trial.measure_seconds = number();
  r.trial.probe_seconds = number();
  r.when = integer();
  r.foreign = text();
  machine = integer();
  return r;
}

Record read_trial(const Statement& row) {
  int64_t machine = 0;
  Record r = read_bare_trial(row, machine);
  r.workload = row.text(23);
  r.machine = row.text(24);
  make_plausible(r.trial);
  return r;
}

void bind_trial(Statement& s, const Record& r, int64_t machine) {
  std::string point;
  for (const uint16_t v : r.trial.point) point += fmt::format("{}{}", point.empty() ? "" : ",", v);
  Trial t = r.trial;
  make_plausible(t);
  s.bind(1, r.workload_hash)
      .bind(2, r.target)
      .bind(3, int64_t{r.threads})
      .bind(4, r.compiler)
      .bind(5, r.tuner);
  s.bind(6, static_cast<int64_t>(r.seed)).bind(7, r.knobs).bind(8, point).bind(9, t.trace);
  s.bind(10, name_of(t.status)).bind(11, t.message);
  s.bind(12, t.timing.median)
      .bind(13, t.timing.mad)
      .bind(14, t.timing.min)
      .bind(15, int64_t{t.timing.repeats});
  s.bind(16, int64_t{t.checked})
      .bind(17, t.build_seconds)
      .bind(18, t.measure_seconds)
      .bind(19, t.probe_seconds);
  s.bind(20, r.when).bind(21, r.foreign).bind(22, machine);
}

Winner read_winner(const Statement& row) {
  return {.workload_hash = row.text(0),
          .target = row.text(1),
          .trace = row.text(2),
          .default_seconds = row.number(3),
          .tuned_seconds = row.number(4),
          .model = row.text(5),
          .when = row.integer(6)};
}

void bind_winner(Statement& s, const Winner& w) {
  s.bind(1, w.workload_hash)
      .bind(2, w.target)
      .bind(3, w.trace)
      .bind(4, w.default_seconds)
      .bind(5, w.tuned_seconds);
  s.bind(6, w.model).bind(7, w.when);
}

}  // namespace burnish::search
