#include "search/model/relevance.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace burnish::search {

namespace {

constexpr double steps = 64;

bool measured(const Sample& s) { return std::isfinite(s.seconds) && s.seconds > 0; }

}  // namespace

std::vector<float> relevance_of(std::span<const Sample> samples) {
  std::unordered_map<uint32_t, double> best;
  for (const Sample& s : samples) {
    if (!measured(s)) continue;
    auto [it, fresh] = best.try_emplace(s.group, s.seconds);
    if (!fresh) it->second = std::min(it->second, s.seconds);
  }
  std::vector<float> out;
  out.reserve(samples.size());
  for (const Sample& s : samples) {
    // What ran at all is better than what did not.
    out.push_back(measured(s) ? static_cast<float>(
                                    std::max(1.0, std::round(steps * best.at(s.group) / s.seconds)))
                              : 0);
  }
  return out;
}

std::vector<Sample> with_transfer(std::span<const Sample> local, std::span<const Sample> earlier,
                                  size_t most) {
  std::vector<Sample> out(local.begin(), local.end());
  if (out.size() >= most || earlier.empty()) return out;
  // An equal part of each group's samples, evenly spaced: early ones are random, late ones good,
  // and both teach.
  const double share =
      std::min(1.0, static_cast<double>(most - out.size()) / static_cast<double>(earlier.size()));
  std::unordered_map<uint32_t, double> credit;
  for (const Sample& s : earlier) {
    if (!local.empty() && s.group == local[0].group) continue;
    double& c = credit.try_emplace(s.group, 1 - share).first->second;
    c += share;
    if (c < 1) continue;
    c -= 1;
    out.push_back(s);
    out.back().weight = s.weight * transfer_weight;
  }
  return out;
}

}  // namespace burnish::search
