// The report's comparison of the order that was predicted with the one that was measured, round by
// round: scores say nothing across rounds, since the model learns between them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "driver/tune_report_parts.h"

namespace burnish::report {

namespace {

constexpr size_t bins = 10;

struct Agreement {
  std::array<std::array<int64_t, bins>, bins> counts{};  // [measured][predicted], the best first
  int64_t trials = 0, rounds = 0, pairs = 0;
  double agreeing = 0;  // pairs; a tie of predictions is half a pair

  double accuracy() const { return pairs > 0 ? agreeing / static_cast<double>(pairs) : 0; }
};

using Round = std::vector<const TunedTrial*>;

// Places from 0 (the best) to 1, by `worse`; equal ones share the mean of theirs.
template <class Key> std::vector<double> places(const Round& round, Key key) {
  std::vector<size_t> order(round.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](size_t i) { return key(*round[i]); });
  std::vector<double> place(round.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i + 1;
    while (end < order.size() && key(*round[order[end]]) == key(*round[order[i]])) ++end;
    const double middle =
        static_cast<double>(i + end - 1) / 2 / static_cast<double>(round.size() - 1);
    for (; i < end; ++i) place[order[i]] = middle;
  }
  return place;
}

size_t bin_of(double place) { return std::min(bins - 1, static_cast<size_t>(place * bins)); }

void add(Agreement& a, const Round& round) {
  if (round.size() < 2) return;
  ++a.rounds;
  a.trials += static_cast<int64_t>(round.size());
  const auto predicted = places(round, [](const TunedTrial& t) { return -t.predicted; });
  const auto measured = places(round, [](const TunedTrial& t) { return t.seconds; });
  for (size_t i = 0; i < round.size(); ++i) {
    ++a.counts[bin_of(measured[i])][bin_of(predicted[i])];
    for (size_t k = 0; k < i; ++k) {
      if (measured[i] == measured[k]) continue;
      ++a.pairs;
      if (predicted[i] == predicted[k])
        a.agreeing += 0.5;
      else if ((predicted[i] < predicted[k]) == (measured[i] < measured[k]))
        a.agreeing += 1;
    }
  }
}

// By who scored: the draft, then the learned model.
std::array<Agreement, 2> agreements(const TuneResult& r) {
  std::array<Agreement, 2> both;
  for (const TunedTask& t : r.tasks) {
    std::map<std::pair<bool, int64_t>, Round> rounds;
    for (const TunedTrial& trial : t.measured) {
      if (trial.round >= 0 && trial.seconds > 0 && std::isfinite(trial.predicted))
        rounds[{trial.learned, trial.round}].push_back(&trial);
    }
    for (const auto& [key, round] : rounds) add(both[key.first ? 1 : 0], round);
  }
  return both;
}

std::string panel(const Agreement& a, std::string_view name) {
  int64_t most = 1;
  for (const auto& row : a.counts) most = std::max(most, *std::ranges::max_element(row));
  Plot plot({.width = 360, .height = 330}, {.lo = 0, .hi = 100}, {.lo = 0, .hi = 100});
  for (size_t m = 0; m < bins; ++m) {
    for (size_t p = 0; p < bins; ++p) {
      const int64_t n = a.counts[m][p];
      if (n == 0) continue;
      const double x = 10.0 * static_cast<double>(p), y = 10.0 * static_cast<double>(m);
      plot.cell({x, y}, {x + 10, y + 10},
                0.05 + 0.95 * static_cast<double>(n) / static_cast<double>(most),
                fmt::format("{} trials", n));
    }
  }
  plot.line({{0, 0}, {100, 100}}, "default");
  plot.axes("predicted place in its round, % (0: best)", "measured place, %");
  const std::string words = fmt::format(
      "{}: {} of {} pairs in the right order ({} trials in {} round{})", name,
      percent_text(a.accuracy()), a.pairs, a.trials, a.rounds, a.rounds == 1 ? "" : "s");
  return fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", plot.text(words),
                     escaped(words));
}

}  // namespace

std::string order_section(const TuneResult& r) {
  const auto [draft, learned] = agreements(r);
  if (draft.pairs + learned.pairs == 0) return "";
  std::string out =
      "<section><h2>Predicted against measured</h2><p>Where a candidate stood in its "
      "round by its score, and by its time; "
      "the stronger the colour, the more trials. A good model fills the dashed line. Of two "
      "candidates in one round, a coin gets 50% of "
      "the pairs right; candidates were chosen for good scores, so that they differ "
      "less than any two of the space.</p>\n"
      "<div class=\"pair\">";
  if (draft.pairs > 0) out += panel(draft, "Draft");
  if (learned.pairs > 0) out += panel(learned, "Learned model");
  return out + "</div></section>\n";
}

}  // namespace burnish::report
