#include "bench/search/ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "search/tuner.h"

namespace burnish::search {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr size_t first_training = 16;  // samples of the task, without transfer

struct Explorer {
  std::string name, tuner;
  bool learns = false, transfers = false;
};

const std::vector<Explorer>& explorers() {
  static const std::vector<Explorer> all = {
      {.name = "xgb, transfer", .tuner = "xgb", .learns = true, .transfers = true},
      {.name = "xgb", .tuner = "xgb", .learns = true},
      {.name = "anneal", .tuner = "anneal"},
      {.name = "genetic", .tuner = "genetic"},
      {.name = "random", .tuner = "random"},
      {.name = "grid", .tuner = "grid"},
  };
  return all;
}

bool has_features(const Landscape& l) {
  return std::ranges::all_of(l.points, [](const auto& p) { return !p.second.features.empty(); });
}

// What earlier searches of other tasks would have recorded: an even sample of each.
std::vector<Sample> samples_of_others(const std::vector<Landscape>& all, size_t without) {
  constexpr size_t most = 150;
  std::vector<Sample> samples;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == without || !has_features(all[i])) continue;
    const size_t step = std::max<size_t>(1, all[i].points.size() / most);
    size_t n = 0;
    for (const auto& [p, m] : all[i].points) {
      if (n++ % step == 0) samples.push_back({m.features, m.seconds, static_cast<uint32_t>(i)});
    }
  }
  return samples;
}

std::vector<double> explore(const std::vector<Landscape>& all, size_t which, const Explorer& e,
                            uint64_t seed, const AblationOptions& options) {
  const Landscape& l = all[which];
  const std::shared_ptr<const Space> space = space_of(l);
  const auto tuner = make_tuner(e.tuner, space, seed);
  std::unique_ptr<CostModel> model;
  std::vector<Sample> samples, others;
  if (e.learns) model = make_xgboost(seed).expect("the learned model");
  if (e.transfers) {
    others = samples_of_others(all, which);
    if (!others.empty()) model->train(with_transfer({}, others));
  }
  Oracle oracle;
  oracle.space = space.get();
  oracle.legal = [&](const Point& p) { return l.points.contains(p); };
  oracle.score = [&](std::span<const Point> points) {
    std::vector<double> scores(points.size(), -infinity);
    const bool learned = model && model->trained();
    std::vector<Features> features;
    std::vector<size_t> which_points;
    for (size_t i = 0; i < points.size(); ++i) {
      const auto at = l.points.find(points[i]);
      if (at == l.points.end()) continue;
      if (!learned) {
        scores[i] = -at->second.draft_us;
      } else {
        features.push_back(at->second.features);
        which_points.push_back(i);
      }
    }
    if (learned) {
      const std::vector<float> predicted = model->predict(features);
      for (size_t i = 0; i < predicted.size(); ++i) scores[which_points[i]] = predicted[i];
    }
    return scores;
  };
  std::vector<double> curve;
  const size_t most = std::min(options.trials, l.points.size());
  while (curve.size() < most) {
    const std::vector<Point> points =
        tuner->ask(std::min(options.batch, most - curve.size()), oracle);
    if (points.empty()) break;
    std::vector<Trial> trials;
    for (const Point& p : points) {
      const Landscape::Measured& m = l.points.at(p);
      Trial t;
      t.point = p;
      t.status = std::isfinite(m.seconds) ? Status::Ok : Status::BuildFailed;
      t.timing.median = std::isfinite(m.seconds) ? m.seconds : 0;
      trials.push_back(std::move(t));
      samples.push_back({m.features, m.seconds, static_cast<uint32_t>(which)});
      curve.push_back(std::min(curve.empty() ? infinity : curve.back(), m.seconds));
    }
    tuner->tell(trials);
    if (model && (e.transfers || samples.size() >= first_training))
      model->train(with_transfer(samples, others));
  }
  return curve;
}

// Trials until the curve is near enough to the best; more than all, when it never is.
size_t trials_to(const std::vector<double>& curve, double best, double enough, size_t never) {
  for (size_t i = 0; i < curve.size(); ++i) {
    if (curve[i] <= best / enough) return i + 1;
  }
  return never;
}

}  // namespace

Ablation run_ablation(const std::vector<Landscape>& landscapes, const AblationOptions& options) {
  Ablation a;
  const auto model = make_xgboost(0);
  if (!model) a.note = "no learned model: " + model.reason();
  const bool features = std::ranges::all_of(landscapes, has_features);
  if (!features) a.note = "no learned model: not all points have features";
  a.tasks.resize(landscapes.size());
  for (const Explorer& e : explorers()) {
    if (e.learns && !a.note.empty()) continue;
    if (e.transfers && landscapes.size() < 2) continue;
    a.explorers.push_back(e.name);
    for (size_t i = 0; i < landscapes.size(); ++i) {
      for (uint64_t seed = 0; seed < options.seeds; ++seed) {
        a.tasks[i][e.name].push_back(explore(landscapes, i, e, seed, options));
      }
    }
  }
  return a;
}

std::string table_of(const Ablation& a, const std::vector<Landscape>& landscapes,
                     const AblationOptions& options) {
  std::string text = "| task | points |", line = "|---|---:|";
  for (const std::string& e : a.explorers) {
    text += fmt::format(" {} |", e);
    line += "---:|";
  }
  text += "\n" + line + "\n";
  std::map<std::string, double> logs, sums;
  std::map<std::string, int> missed;
  for (size_t i = 0; i < landscapes.size(); ++i) {
    const Landscape& l = landscapes[i];
    const size_t most = std::min(options.trials, l.points.size());
    text += fmt::format("| {} | {} |", l.task, l.points.size());
    for (const std::string& e : a.explorers) {
      std::vector<size_t> counts;
      for (const std::vector<double>& c : a.tasks[i].at(e))
        counts.push_back(trials_to(c, l.best(), options.enough, most + 1));
      std::sort(counts.begin(), counts.end());
      for (const size_t c : counts) {
        const double share = 1 / static_cast<double>(counts.size() * landscapes.size());
        logs[e] += share * std::log(static_cast<double>(c));
        sums[e] += share * static_cast<double>(c);
        missed[e] += c > most ? 1 : 0;
      }
      const size_t median = counts[counts.size() / 2];
      const auto show = [&](size_t c) {
        return c > most ? fmt::format(">{}", most) : fmt::format("{}", c);
      };
      text += fmt::format(" {} ({}-{}) |", show(median), show(counts.front()), show(counts.back()));
    }
    text += "\n";
  }
  text += "| mean | |";
  for (const std::string& e : a.explorers)
    text += fmt::format(" {:.1f} ({:.2f}x) |", sums[e], sums[e] / sums["random"]);
  text += "\n| geometric mean | |";
  for (const std::string& e : a.explorers) {
    text +=
        fmt::format(" {:.1f} ({:.2f}x) |", std::exp(logs[e]), std::exp(logs[e] - logs["random"]));
  }
  text += "\n| searches that did not get there | |";
  for (const std::string& e : a.explorers) {
    text += fmt::format(" {} of {} |", missed[e], landscapes.size() * options.seeds);
  }
  return text + "\n";
}

}  // namespace burnish::search
