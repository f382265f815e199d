// The report's head, and the order of its sections.
#include "driver/tune_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "driver/peak.h"
#include "driver/tune_report_parts.h"

namespace burnish {

namespace report {

std::string head_section(const std::string& model, const TuneResult& r, const Roofs& roofs) {
  const auto used = std::ranges::count_if(r.tasks, [](const TunedTask& t) { return t.used; });
  std::string out = fmt::format("<h1>Tuning {}</h1>", escaped(model));
  if (r.default_seconds > 0 && r.tuned_seconds > 0) {
    out += fmt::format("<p class=\"result\">{} → <b>{}</b> a run: {:.3f}× ± {:.3f}</p>",
                       time_text(r.default_seconds), time_text(r.tuned_seconds), r.speedup,
                       r.speedup_noise);
    out += "<p>Medians of whole runs, default and tuned in turns; ± is half a 95% interval of "
           "their ratio. ";
  } else {
    out += "<p>The model was not compared as a whole. ";
  }
  out += fmt::format(
      "{} of {} tasks use a schedule that was found; the others keep their default.</p>", used,
      r.tasks.size());
  for (const std::string& change : r.changed) out += fmt::format("<p>{}</p>", escaped(change));
  out += "<dl>";
  out += entry("machine", r.machine) + entry("target", r.target) +
         entry("threads", fmt::format("{}", r.threads));
  std::string trials = fmt::format("{} in {:.1f} s", r.trials, r.search_seconds);
  if (r.search_seconds > 0)
    trials += fmt::format(" ({:.1f} a second)", static_cast<double>(r.trials) / r.search_seconds);
  out += entry("trials", trials) + entry("time in all", fmt::format("{:.1f} s", r.seconds)) +
         entry("of it", fmt::format("{:.1f} s choosing candidates, {:.1f} s learning, {:.1f} s measuring (their own process "
                                    "{:.1f} s)", r.proposing_seconds, r.learning_seconds, r.measuring_seconds, r.running_seconds)) +
         entry("ended because", r.stopped);
  if (roofs.macs_per_second > 0 && roofs.bytes_per_second > 0) {
    out += entry("measured roofs",
                 fmt::format("{} GFLOP/s (f32, in registers), {} GB/s (read from memory)",
                             number_text(2e-9 * roofs.macs_per_second),
                             number_text(1e-9 * roofs.bytes_per_second)));
  }
  out += "</dl>";
  for (const std::string& note : r.notes)
    out += fmt::format("<p class=\"note\">{}</p>", escaped(note));
  return out;
}

}  // namespace report

std::string report_text(const std::string& model, const TuneResult& result, const Roofs& roofs) {
  using namespace report;
  return page("Tuning " + model, head_section(model, result, roofs),
              task_section(result, roofs) + curve_section(result) + order_section(result) +
                  roofline_section(result, roofs) + knob_section(result));
}

void write_report(const std::filesystem::path& path, const std::string& model,
                  const TuneResult& result, bool on_cpu) {
  const auto threads = static_cast<unsigned>(std::max(1, result.threads));
  write_file(path, report_text(model, result, on_cpu ? measured_roofs(threads) : Roofs{}));
}

}  // namespace burnish
