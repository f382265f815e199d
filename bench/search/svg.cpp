#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bench/search/ablation.h"

namespace burnish::search {

namespace {

constexpr double width = 720, height = 400, left = 60, right = 150, top = 24, bottom = 48;
constexpr double lowest = 0.5;  // of the best known speed: the axis begins here
// Readable in grey and by colour-blind eyes (Okabe and Ito 2008).
constexpr std::array<const char*, 6> colours = {"#d55e00", "#0072b2", "#009e73",
                                                "#cc79a7", "#555555", "#b59f00"};
constexpr std::array<const char*, 6> dashes = {"", "", "6 3", "2 3", "8 3 2 3", "1 2"};

// Share of the best known speed after each number of trials, on average over tasks and seeds.
std::vector<double> mean_share(const Ablation& a, const std::vector<Landscape>& landscapes,
                               const std::string& explorer, size_t trials) {
  std::vector<double> mean(trials, 0);
  double curves = 0;
  for (size_t i = 0; i < landscapes.size(); ++i) {
    for (const std::vector<double>& c : a.tasks[i].at(explorer)) {
      if (c.empty()) continue;
      for (size_t t = 0; t < trials; ++t)
        mean[t] += landscapes[i].best() / c[std::min(t, c.size() - 1)];
      ++curves;
    }
  }
  for (double& m : mean) m /= std::max(1.0, curves);
  return mean;
}

}  // namespace

std::string svg_of(const Ablation& a, const std::vector<Landscape>& landscapes,
                   const AblationOptions& options) {
  const size_t trials = options.trials;
  const auto x_of = [&](double t) {
    return left + (width - left - right) * std::log(t) /
                      std::log(static_cast<double>(std::max<size_t>(2, trials)));
  };
  const auto y_of = [&](double share) {
    return top + (height - top - bottom) * (1 - (std::max(share, lowest) - lowest) / (1 - lowest));
  };
  std::string s = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" "
                              "width=\"{0}\" height=\"{1}\" "
                              "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333333\">\n"
                              "<title>Share of the best known speed against trials, mean of {2} "
                              "tasks and {3} seeds</title>\n"
                              "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
                              width, height, landscapes.size(), options.seeds);
  for (int percent = static_cast<int>(100 * lowest); percent <= 100; percent += 10) {
    const double y = y_of(percent / 100.0);
    s += fmt::format("<path d=\"M{} {:.1f}H{}\" stroke=\"#dddddd\"/><text x=\"{}\" y=\"{:.1f}\" "
                     "text-anchor=\"end\">{}%</text>\n",
                     left, y, width - right, left - 8, y + 4, percent);
  }
  const double enough = y_of(options.enough);
  s += fmt::format("<path d=\"M{} {:.1f}H{}\" stroke=\"#999999\" stroke-dasharray=\"4 4\"/>\n",
                   left, enough, width - right);
  for (size_t t = 1; t <= trials; t *= 2) {
    const double x = x_of(static_cast<double>(t));
    s += fmt::format("<path d=\"M{:.1f} {}v5\" stroke=\"#333333\"/><text x=\"{:.1f}\" y=\"{}\" "
                     "text-anchor=\"middle\">{}</text>\n",
                     x, height - bottom, x, height - bottom + 19, t);
  }
  s += fmt::format("<path d=\"M{} {}V{}H{}\" fill=\"none\" stroke=\"#333333\"/>\n", left, top,
                   height - bottom, width - right);
  s += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">trials</text>\n",
                   (left + width - right) / 2, height - 10);
  s += fmt::format("<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">of the "
                   "best known speed</text>\n",
                   (top + height - bottom) / 2);
  for (size_t e = 0; e < a.explorers.size(); ++e) {
    const std::vector<double> mean = mean_share(a, landscapes, a.explorers[e], trials);
    std::string path;
    for (size_t t = 0; t < mean.size(); ++t) {
      const double x = x_of(static_cast<double>(t + 1)), y = y_of(mean[t]);
      path += t ? fmt::format("H{:.1f}V{:.1f}", x, y) : fmt::format("M{:.1f} {:.1f}", x, y);
    }
    const char *colour = colours[e % colours.size()], *dash = dashes[e % dashes.size()];
    s += fmt::format(
        "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n",
        path, colour, dash);
    const double y = top + 14 + 20 * static_cast<double>(e), x = width - right + 14;
    s += fmt::format("<path d=\"M{} {}h26\" stroke=\"{}\" stroke-width=\"2\" "
                     "stroke-dasharray=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>\n",
                     x, y - 4, colour, dash, x + 32, y, a.explorers[e]);
  }
  return s + "</svg>\n";
}

}  // namespace burnish::search
