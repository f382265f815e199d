// The roofline as an HTML file: a picture whose empty area is the time above the floors, and a
// table.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "driver/report_parts.h"
#include "driver/roofline.h"

namespace burnish {

namespace report {

namespace {

std::string share_text(double part, double whole) {
  return whole > 0 ? percent_text(part / whole) : "–";
}

std::string head(const Roofline& r) {
  const double floors = sum_of_floors(r), kernels = sum_of_kernels(r);
  std::string out = fmt::format("<h1>Roofline of {}</h1>", escaped(r.model));
  out += fmt::format(
      "<p class=\"result\">{} in {} kernels, of which the floors are <b>{}</b> ({})</p>",
      time_text(kernels), r.kernels.size(), time_text(floors), share_text(floors, kernels));
  if (disturbed(r))
    out +=
        fmt::format("<p class=\"note\">The machine was not quiet: the kernels' least times are {} "
                    "in all.</p>",
                    time_text(sum_of_least(r)));
  out += "<dl>" + entry("a whole run", time_text(r.run_seconds)) + entry("target", r.target) +
         entry("threads", fmt::format("{}", r.threads));
  const auto rate = [](double bytes) {
    return bytes > 0 ? number_text(1e-9 * bytes) + " GB/s" : "–";
  };
  out += entry("measured roofs",
               fmt::format("{} GFLOP/s (f32, in registers); reading: L2 {}, L3 {}, memory {}",
                           number_text(2e-9 * r.roofs.macs_per_second),
                           rate(r.roofs.l2_bytes_per_second), rate(r.roofs.l3_bytes_per_second),
                           rate(r.roofs.bytes_per_second)));
  for (const PeerProfile& p : r.peers) {
    double layers = 0;
    for (const PeerLayer& l : p.layers) layers += l.seconds;
    out += entry(p.engine, fmt::format("{} a run, {} in {} layers, {} thread{}",
                                       time_text(p.run_seconds), time_text(layers), p.layers.size(),
                                       p.threads, p.threads == 1 ? "" : "s"));
  }
  return out + "</dl>";
}

std::string tip(const ProfiledKernel& k) {
  return fmt::format("{}. {}: {}, floor {} ({})", k.step, k.name, time_text(k.seconds),
                     time_text(k.floor.seconds()), k.floor.bound());
}

// Kernels side by side in the order of the run: as wide as their time, filled as far as their
// floor.
std::string picture(const Roofline& r) {
  const double total = sum_of_kernels(r);
  if (!(total > 0)) return "";
  const double scale = total >= 1e-3 ? 1e3 : 1e6;
  Plot plot({.width = 1000, .height = 300}, {.lo = 0, .hi = total * scale}, {.lo = 0, .hi = 100});
  double at = 0;
  const std::vector<size_t> order = by_gap(r);
  for (size_t i = 0; i < r.kernels.size(); ++i) {
    const ProfiledKernel& k = r.kernels[i];
    const double end = at + k.seconds * scale;
    const double share = k.seconds > 0 ? std::min(1.0, k.floor.seconds() / k.seconds) : 0;
    plot.cell({at, 0}, {end, 100}, 0.12, tip(k));
    plot.cell({at, 0}, {end, 100 * share}, k.floor.bound() == "compute" ? 0.95 : 0.55, tip(k));
    at = end;
  }
  plot.axes(scale == 1e3 ? "ms of a run, kernel after kernel" : "µs of a run, kernel after kernel",
            "floor, % of the time", 12, 5);
  at = 0;
  constexpr size_t labelled = 10;
  for (size_t i = 0; i < r.kernels.size(); ++i) {
    const ProfiledKernel& k = r.kernels[i];
    const auto place = std::ranges::find(order, i) - order.begin();
    if (static_cast<size_t>(place) < labelled && k.seconds > 0.01 * total)
      plot.label({at + k.seconds * scale / 2, 100}, 0, 10, fmt::format("{}", k.step), "middle");
    at += k.seconds * scale;
  }
  return "<section><h2>The run</h2><p>Every kernel in the order of the run, as wide as its time "
         "and "
         "filled as far as its floor: the pale area is what is lost. Darker: bound by arithmetic; "
         "lighter: by a memory level. The ten largest gaps are numbered by their step.</p>\n"
         "<div class=\"wide\">" +
         plot.text(fmt::format("{} kernels, {}, floors {}; the table has the numbers",
                               r.kernels.size(), time_text(total), time_text(sum_of_floors(r)))) +
         "</div></section>\n";
}

std::string bar(double floor, double measured, double longest) {
  if (!(longest > 0)) return "";
  const double inner = std::min(floor, measured);
  return fmt::format(
      "<span class=\"bar\" style=\"width:{:.2f}em;margin:0\"></span><span class=\"bar\" "
      "style=\"width:{:.2f}em;opacity:.3\"></span>",
      12 * inner / longest, 12 * (measured - inner) / longest);
}

std::string peer_cells(const PeerMatch& m, size_t kernel) {
  if (m.group_of[kernel] == PeerMatch::npos) return cell("–") + cell("–");
  const Match& g = m.groups[m.group_of[kernel]];
  const std::string with = g.kernels.size() > 1 ? fmt::format(" <small>for {} kernels, {}</small>",
                                                              g.kernels.size(), time_text(g.ours))
                                                : "";
  return cell(time_text(g.theirs) + with) +
         cell(gain_text(g.theirs, g.ours), g.theirs >= g.ours ? "yes" : "");
}

std::string table(const Roofline& r) {
  std::vector<PeerMatch> matches;
  for (const PeerProfile& p : r.peers) matches.push_back(match(r.kernels, p));
  double longest = 0;
  for (const ProfiledKernel& k : r.kernels) longest = std::max(longest, k.seconds);
  std::string out =
      "<section><h2>Kernels</h2><p>The largest gap first. The floor is the largest of what the "
      "multiply-adds take and what the bytes take that must pass each level; an argument comes "
      "from "
      "the innermost cache that is larger than what was touched since its last use. Peers' times "
      "are "
      "of the layers that came from the same nodes; where engines fuse differently, kernels are "
      "compared together.</p>\n<div class=\"wide\"><table><thead><tr>";
  for (const char* name : {"kernel", "floor and gap", "time", "floor", "gap", "floor / time",
                           "bound by", "compute", "L2", "L3", "memory", "GFLOP/s", "MB"})
    out += fmt::format("<th scope=\"col\">{}</th>", name);
  for (const PeerProfile& p : r.peers)
    out += fmt::format("<th scope=\"col\">{}</th><th scope=\"col\">its time / ours</th>",
                       escaped(p.engine));
  out += "</tr></thead><tbody>\n";
  for (const size_t i : by_gap(r)) {
    const ProfiledKernel& k = r.kernels[i];
    out += fmt::format("<tr><th scope=\"row\" class=\"left\">{}. {}<small>{}</small></th>", k.step,
                       escaped(k.name), escaped(sources_text(k.sources)));
    out += cell(bar(k.floor.seconds(), k.seconds, longest), "left") + cell(time_text(k.seconds)) +
           cell(time_text(k.floor.seconds())) + cell(time_text(k.gap())) +
           cell(share_text(k.floor.seconds(), k.seconds)) + cell(k.floor.bound());
    for (const double t : {k.floor.compute, k.floor.l2, k.floor.l3, k.floor.memory})
      out += cell(t > 0 ? time_text(t) : "–");
    out += cell(k.macs > 0 && k.seconds > 0
                    ? number_text(2e-9 * static_cast<double>(k.macs) / k.seconds)
                    : "–") +
           cell(number_text(1e-6 * static_cast<double>(k.bytes)));
    for (const PeerMatch& m : matches) out += peer_cells(m, i);
    out += "</tr>\n";
  }
  const double floors = sum_of_floors(r), kernels = sum_of_kernels(r);
  out += "<tr><th scope=\"row\" class=\"left\">all</th>" + cell("") + cell(time_text(kernels)) +
         cell(time_text(floors)) + cell(time_text(kernels - floors)) +
         cell(share_text(floors, kernels));
  for (int i = 0; i < 7; ++i) out += cell("");
  for (size_t p = 0; p < matches.size(); ++p) {
    double layers = 0;
    for (const PeerLayer& l : r.peers[p].layers) layers += l.seconds;
    out += cell(fmt::format("{} <small>{} of them in layers of no kernel</small>",
                            time_text(layers), time_text(matches[p].unmatched))) +
           cell(gain_text(layers, kernels));
  }
  return out + "</tr>\n</tbody></table></div></section>\n";
}

}  // namespace

}  // namespace report

std::string roofline_html(const Roofline& r) {
  using namespace report;
  return page("Roofline of " + r.model, head(r), picture(r) + table(r));
}

}  // namespace burnish
