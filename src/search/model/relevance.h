// From measured times to what the rank objective learns from.
#pragma once

#include <span>
#include <vector>

#include "search/cost_model.h"

namespace burnish::search {

// Throughput as a share of the best of the sample's group, in steps of 1/64: 64 for the fastest, 0
// for failures. Times closer than a step are equals, so that the model is not asked to order noise.
std::vector<float> relevance_of(std::span<const Sample> samples);

}  // namespace burnish::search
