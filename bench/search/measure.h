// Landscapes of whole spaces, measured here.
#pragma once

#include <filesystem>

#include "bench/search/landscape.h"

namespace burnish::search {

struct MeasuringOptions {
  size_t points = 20000;  // at most, at random
  uint64_t seed = 0;
  bool least = false;  // of the repeats, instead of their median
};

// `path`: what `burnish lower MODEL --task NAME` prints, or its stages alone.
Landscape measure_landscape(const std::filesystem::path& path, int threads,
                            const MeasuringOptions& options);

}  // namespace burnish::search
