// Explorers at equal numbers of trials.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/search/landscape.h"

namespace burnish::search {

struct AblationOptions {
  size_t trials = 256;  // a search; fewer where a landscape has fewer points
  size_t batch = 16;
  uint64_t seeds = 3;
  double enough = 0.95;  // of the best known speed
};

// Best time so far after every trial; one curve a seed.
using Curves = std::vector<std::vector<double>>;

struct Ablation {
  std::vector<std::string> explorers;
  std::vector<std::map<std::string, Curves>> tasks;  // by landscape
  std::string note;                                  // why one is missing; empty: none is
};

Ablation run_ablation(const std::vector<Landscape>& landscapes, const AblationOptions& options);

// Trials until `enough` of the best known speed is reached, for every task and on the whole:
// Markdown.
std::string table_of(const Ablation& a, const std::vector<Landscape>& landscapes,
                     const AblationOptions& options);
// Share of the best known speed against trials, averaged over tasks and seeds.
std::string svg_of(const Ablation& a, const std::vector<Landscape>& landscapes,
                   const AblationOptions& options);

}  // namespace burnish::search
