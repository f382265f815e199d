// From a group's stages to blocks and threads: what is cheap is inlined; a product of matrices, or a convolution, becomes
// tiles in registers; any other stage gives each point, or a vector of them, to a thread.
#include "target/cuda/space.h"

#include <algorithm>

#include "target/cuda/tiles.h"

namespace burnish::cuda_target {

namespace {

bool best_by_matrix(Schedule& s, const Roles& r, const Device& d) {
  std::vector<MatrixTile> tiles = matrix_tiles(s, r, d);
  std::ranges::stable_sort(tiles, {}, [&](const MatrixTile& t) { return matrix_cycles(s, r, t, d); });
  return std::ranges::any_of(tiles, [&](const MatrixTile& t) { return by_matrix(s, r, t, d); });
}

}  // namespace

Schedule default_schedule(const StageGroup& g, const Device& d) {
  Schedule s(g);
  inline_cheap(s);
  std::vector<std::string> stages;
  for (const Stage& x : s.group().stages)
    if (x.is_compute()) stages.push_back(x.name);
  if (stages.size() <= 2) {
    if (const auto roles = roles_of(s, s.group().outputs.back())) {
      if (best_by_matrix(s, *roles, d) || by_tile(s, *roles)) return s;
      const int64_t innermost = s.group()[roles->out].axes[roles->vector].extent;
      for (const int64_t vector : {4, 1})
        if (innermost % vector == 0 && finished_by_points(s, *roles, vector)) return s;
    }
  }
  for (const std::string& name : stages) {
    const Stage x = s.group()[*s.group().named(name)];
    const int64_t innermost = x.axes.empty() ? 1 : x.axes[physical_order(x).back()].extent;
    if (x.dtype == DType::F32 && innermost % 4 == 0 && by_points(s, name, 4)) continue;
    by_points(s, name, 1);
  }
  return s;
}

}  // namespace burnish::cuda_target
