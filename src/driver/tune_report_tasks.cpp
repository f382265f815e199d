// The report's tables: tasks, and what knobs won.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "driver/tune_report_parts.h"

namespace burnish::report {

namespace {

std::string task_row(size_t number, const TunedTask& t, double share, const Roofs& roofs) {
  const double best = t.best_seconds > 0 ? t.best_seconds : t.default_seconds;
  const double rate = best > 0 ? static_cast<double>(t.macs) / best : 0;
  std::string row = fmt::format("<tr><th scope=\"row\" class=\"left\">{}. {}<small>{}</small></th>",
                                number, escaped(t.name), escaped(sources_text(t.sources)));
  row += cell(fmt::format("{:.0f}", t.weight)) + cell(percent_text(share));
  row += cell(time_text(t.default_seconds)) + cell(time_text(t.best_seconds)) +
         cell(gain_text(t.default_seconds, t.best_seconds));
  if (t.model_default_seconds > 0 && t.weight > 0) {
    row += cell(time_text(t.model_default_seconds / t.weight)) +
           cell(time_text(t.model_tuned_seconds / t.weight)) +
           cell(gain_text(t.model_default_seconds, t.model_tuned_seconds));
  } else {
    row += cell("–") + cell("–") + cell("–");
  }
  row += t.used ? cell("yes", "yes") : cell("no");
  row += cell(fmt::format("{}", t.trials)) + cell(fmt::format("{}", t.failed));
  row += cell(rate > 0 ? number_text(2e-9 * rate) : "–");
  row += cell(rate > 0 && roofs.macs_per_second > 0 ? percent_text(rate / roofs.macs_per_second)
                                                    : "–");
  row += cell(escaped(t.used ? t.knobs : "default"), "left") + cell(escaped(t.stopped), "left");
  return row + "</tr>\n";
}

// ---- Knobs

struct ValueCount {
  int64_t trials = 0, failed = 0;
  double best = 0;  // seconds; 0: none ran
};
using Values = std::map<std::string, ValueCount>;

bool less_as_number(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

// What the winner has: the schedule in use, or else the fastest alone. Empty when the default was
// never beaten.
std::string winner_of(const TunedTask& t) { return t.knobs == "default" ? "" : t.knobs; }

std::string knob_table(const TunedTask& t) {
  std::vector<std::string> order;  // as the space has them
  std::map<std::string, Values> knobs;
  double best = 0;
  for (const TunedTrial& trial : t.measured) {
    for (const auto& [knob, value] : knobs_of(trial.knobs)) {
      if (!knobs.contains(knob)) order.push_back(knob);
      ValueCount& v = knobs[knob][value];
      ++v.trials;
      if (!(trial.seconds > 0)) {
        ++v.failed;
      } else if (v.best == 0 || trial.seconds < v.best) {
        v.best = trial.seconds;
      }
    }
    if (trial.seconds > 0 && (best == 0 || trial.seconds < best)) best = trial.seconds;
  }
  if (knobs.empty()) return "";
  const auto winners = knobs_of(winner_of(t));
  std::string out =
      "<div class=\"wide\"><table>" +
      heads({"knob", "value", "trials", "failed", "fastest", "against the fastest of all"}) +
      "<tbody>\n";
  for (const std::string& knob : order) {
    std::vector<std::string> values;
    for (const auto& [value, count] : knobs[knob]) values.push_back(value);
    std::ranges::sort(values, less_as_number);
    for (const std::string& value : values) {
      const ValueCount& v = knobs[knob][value];
      const bool won = std::ranges::find(winners, std::pair{knob, value}) != winners.end();
      out += fmt::format("<tr><th scope=\"row\" class=\"left\">{}</th>", escaped(knob));
      out += won ? cell(escaped(value) + " ✓", "yes") : cell(escaped(value));
      out += cell(fmt::format("{}", v.trials)) + cell(fmt::format("{}", v.failed)) +
             cell(time_text(v.best));
      const double share = v.best > 0 ? best / v.best : 0;
      out += cell(v.best > 0 ? fmt::format("<span class=\"bar\" style=\"width:{:.1f}em\"></span>{}",
                                           6 * share, percent_text(share))
                             : "–",
                  "left");
      out += "</tr>\n";
    }
  }
  return out + "</tbody></table></div>";
}

// Over all tasks: with which values the winners have a knob.
std::string winner_table(const TuneResult& r) {
  std::map<std::string, std::map<std::string, int64_t>> won;
  for (const TunedTask& t : r.tasks) {
    if (!t.used) continue;
    for (const auto& [knob, value] : knobs_of(t.knobs)) ++won[knob][value];
  }
  if (won.empty()) return "";
  std::string out = "<div class=\"wide\"><table><caption>Tasks that use what was found, by the "
                    "values that they have</caption>" +
                    heads({"knob", "values, each with its number of tasks"}) + "<tbody>\n";
  for (const auto& [knob, values] : won) {
    std::vector<std::pair<std::string, int64_t>> order(values.begin(), values.end());
    std::ranges::sort(order, [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : less_as_number(a.first, b.first);
    });
    std::vector<std::string> words;
    for (const auto& [value, count] : order)
      words.push_back(fmt::format("{} ({})", escaped(value), count));
    out +=
        fmt::format("<tr><th scope=\"row\" class=\"left\">{}</th><td class=\"left\">{}</td></tr>\n",
                    escaped(knob), join(words, ", "));
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> knobs_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> all;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (const size_t equals = word.find('='); equals != std::string_view::npos && equals > 0) {
      all.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return all;
}

std::string task_section(const TuneResult& r, const Roofs& roofs) {
  if (r.tasks.empty()) return "";
  double total = 0;
  for (const TunedTask& t : r.tasks) total += t.weight * t.default_seconds;
  std::string out = "<section><h2>Tasks</h2><p>A task is one kernel. Its share is that of the "
                    "default schedules' time of all tasks "
                    "listed. Alone: on its own, on otherwise idle CPUs. In the model: among the "
                    "others, default and tuned in turns; "
                    "only schedules that win there are used. GFLOP/s and share of peak are of the "
                    "best, alone.</p>\n<div class=\"wide\"><table>" +
                    heads({"task", "runs", "share", "default alone", "best alone", "gain",
                           "default in the model", "in use in the model", "gain", "used", "trials",
                           "failed", "GFLOP/s", "of peak", "schedule in use", "why it ended"}) +
                    "<tbody>\n";
  size_t number = 0;
  for (const TunedTask& t : r.tasks)
    out += task_row(++number, t, total > 0 ? t.weight * t.default_seconds / total : 0, roofs);
  return out + "</tbody></table></div></section>\n";
}

std::string knob_section(const TuneResult& r) {
  std::string tables;
  size_t number = 0;
  for (const TunedTask& t : r.tasks) {
    ++number;
    const std::string table = knob_table(t);
    if (table.empty()) continue;
    tables += fmt::format(
        "<details{}><summary>{}. {}: {}</summary>{}</details>\n",
        tables.empty() ? " open=\"open\"" : "", number, escaped(t.name),
        escaped(winner_of(t).empty() ? "the default was not beaten" : winner_of(t)), table);
  }
  if (tables.empty()) return "";
  return "<section><h2>What knobs won</h2><p>For every value of a knob the number of trials that "
         "had it and the fastest of "
         "them, whatever the other knobs were. ✓ marks the schedule in use, or the fastest one "
         "alone where the default stays.</p>\n" +
         winner_table(r) + tables + "</section>\n";
}

}  // namespace burnish::report
