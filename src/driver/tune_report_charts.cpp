// The report's plots of tasks: the best so far of each, and the roofline.
#include <fmt/format.h>

#include <algorithm>

#include "driver/tune_report_parts.h"

namespace burnish::report {

namespace {

// A unit in which a plot's times are short numbers.
struct Unit {
  double scale;
  const char* name;
};
Unit unit_of(double seconds) {
  if (seconds >= 1) return {1, "s"};
  if (seconds >= 1e-3) return {1e3, "ms"};
  return {1e6, "µs"};
}

// Trials with their times, thinned where a plot could not show them apart.
std::vector<Spot> trial_spots(const TunedTask& t, double scale, double top) {
  constexpr size_t most = 2000;
  const size_t stride = t.measured.size() / most + 1;
  std::vector<Spot> spots;
  double number = 0;
  for (const TunedTrial& trial : t.measured) {
    if (trial.round < 0) continue;
    ++number;
    if (trial.seconds > 0 && scale * trial.seconds <= top &&
        static_cast<size_t>(number) % stride == 0) {
      spots.push_back({number, scale * trial.seconds});
    }
  }
  return spots;
}

std::string curve(size_t number, const TunedTask& t) {
  const double start = t.default_seconds;
  if (!(start > 0)) return "";
  const auto [scale, unit] = unit_of(start);
  std::vector<Spot> steps = {{0, scale * start}};
  double best = start, fastest = start, trials = 0;
  for (const TunedTrial& trial : t.measured) {
    if (trial.seconds > 0) fastest = std::min(fastest, trial.seconds);
    if (trial.round < 0) continue;
    ++trials;
    if (!(trial.seconds > 0) || trial.seconds >= best) continue;
    steps.push_back({trials, scale * best});
    best = trial.seconds;
    steps.push_back({trials, scale * best});
  }
  if (trials == 0) return "";
  steps.push_back({trials, scale * best});
  const double room = std::max(start - best, 0.05 * start);
  const double low = std::max(0.0, best - 0.3 * room), high = start + 0.5 * room;
  Plot plot({.width = 260, .height = 150}, {.lo = 0, .hi = trials},
            {.lo = scale * low, .hi = scale * high});
  plot.axes("trials", fmt::format("{} a run", unit), 4, 4);
  plot.dots(trial_spots(t, scale, scale * high), "trials");
  plot.line({{0, scale * start}, {trials, scale * start}}, "default");
  plot.line(steps, "best");
  std::string words = fmt::format("default {}, best {} after {:.0f} trials: {}", time_text(start),
                                  time_text(best), trials, gain_text(start, best));
  if (t.best_seconds > 0 && t.best_seconds < 0.999 * fastest) {
    words += fmt::format("; an earlier search found {}", time_text(t.best_seconds));
  }
  return fmt::format("<figure><h3>{}. {}</h3>{}<figcaption>{}</figcaption></figure>\n", number,
                     escaped(t.name),
                     plot.text(fmt::format("best time so far of {}: {}", t.name, words)), words);
}

}  // namespace

std::string curve_section(const TuneResult& r) {
  constexpr size_t shown = 24;  // the others are a click away: they have the small shares
  std::string first, others;
  size_t number = 0, plots = 0;
  for (const TunedTask& t : r.tasks) {
    const std::string plot = curve(++number, t);
    if (!plot.empty()) (plots++ < shown ? first : others) += plot;
  }
  if (plots == 0) return "";
  std::string out = "<section><h2>Best so far</h2><p>Time of one run, alone, over the number of "
                    "trials. The stepped line is the best so "
                    "far, the dashed one the default schedule, every dot a trial; slower ones lie "
                    "above the plot. The axis need not "
                    "begin at 0.</p>\n<div class=\"many\">" +
                    first + "</div>";
  if (!others.empty()) {
    out += fmt::format("<details><summary>{} more</summary><div class=\"many\">{}</div></details>",
                       plots - shown, others);
  }
  return out + "</section>\n";
}

std::string roofline_section(const TuneResult& r, const Roofs& roofs) {
  if (!(roofs.macs_per_second > 0) || !(roofs.bytes_per_second > 0)) return "";
  struct Entry {
    size_t number;
    const TunedTask* task;
    double intensity, before, after;  // FLOP a byte, GFLOP/s
  };
  std::vector<Entry> entries;
  const double peak = 2e-9 * roofs.macs_per_second, bandwidth = 1e-9 * roofs.bytes_per_second,
               ridge = peak / bandwidth;
  double left = ridge / 4, right = ridge * 4, low = peak / 4;
  for (size_t i = 0; i < r.tasks.size(); ++i) {
    const TunedTask& t = r.tasks[i];
    if (t.macs <= 0 || t.bytes <= 0 || !(t.default_seconds > 0)) continue;
    const double flops = 2e-9 * static_cast<double>(t.macs),
                 best = t.best_seconds > 0 ? t.best_seconds : t.default_seconds;
    const Entry e{i + 1, &t, 2 * static_cast<double>(t.macs) / static_cast<double>(t.bytes),
                  flops / t.default_seconds, flops / best};
    left = std::min(left, e.intensity / 1.5);
    right = std::max(right, e.intensity * 1.5);
    low = std::min({low, e.before / 1.5, e.after / 1.5});
    entries.push_back(e);
  }
  if (entries.empty()) return "";
  const double roof_left = std::min(peak, bandwidth * left);
  low = std::min(low, roof_left);
  Plot plot({.width = 760, .height = 420}, {.lo = left, .hi = right, .logarithmic = true},
            {.lo = low, .hi = peak * 1.5, .logarithmic = true});
  plot.axes("FLOP a byte of inputs, constants and outputs", "GFLOP/s", 12, 9);
  plot.line({{left, roof_left}, {ridge, peak}, {right, peak}}, "roof");
  // Beside the corner and below the slope, where few tasks are.
  plot.label({ridge, peak}, -6, -6, fmt::format("peak {} GFLOP/s", number_text(peak)), "end");
  plot.label({1.5 * left, 1.5 * roof_left}, 12, 8,
             fmt::format("memory {} GB/s", number_text(bandwidth)));
  for (const Entry& e : entries)
    plot.line({{e.intensity, e.before}, {e.intensity, e.after}}, "move");
  constexpr size_t labelled = 12;
  for (size_t i = entries.size(); i-- > 0;) {  // the heaviest on top
    const Entry& e = entries[i];
    const auto tip = [&](const char* what, double rate) {
      return fmt::format("{}. {}, {}: {} GFLOP/s, {} of peak", e.number, e.task->name, what,
                         number_text(rate), percent_text(rate / peak));
    };
    plot.circle({e.intensity, e.before}, 4, "before", tip("default", e.before));
    plot.circle({e.intensity, e.after}, 4.5, "after", tip("best", e.after));
    if (i < labelled) plot.label({e.intensity, e.after}, 6, -3, fmt::format("{}", e.number));
  }
  return "<section><h2>Share of peak</h2><p>Every task with multiply-adds: its default schedule "
         "(ring) and its best one, alone "
         "(disc), under the roofs that were measured on this machine with as many threads. The "
         "heaviest are numbered as in the table. "
         "Bytes are those of inputs, constants and outputs, each counted once; what the caches "
         "hold from run to run can lie "
         "above the memory's roof.</p>\n<div class=\"big\">" +
         plot.text(fmt::format("roofline: {} tasks, peak {} GFLOP/s, memory {} GB/s; the table of "
                               "tasks has the rates",
                               entries.size(), number_text(peak), number_text(bandwidth))) +
         "</div></section>\n";
}

}  // namespace burnish::report
