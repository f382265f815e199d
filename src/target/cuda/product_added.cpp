// A product, or a convolution, whose finish adds another one of the same points, as one kernel: a thread has both sums of
// its points in registers. Both have the tile of the first, phases of a transposed convolution included: those are points
// like others to the second.
//
//   block: acc     registers: matrix instructions
//          other   registers: matrix instructions
//     out
#include <algorithm>
#include <limits>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

struct Term {
  Roles roles;
  Operands operands;
};

// The two sums, the one with phases first; nothing where the group is another one.
std::vector<Term> terms_of(const Schedule& s, const Device& d) {
  const StageGroup& g = s.group();
  if (d.sm < 80 || g.outputs.size() != 1 || std::ranges::count_if(g.stages, &Stage::is_compute) != 3) return {};
  std::vector<Term> terms;
  for (Roles& r : roles_of_sums(s, g.outputs[0])) {
    auto operands = !r.tile || r.grouped || !r.broadcast ? std::nullopt : operands_of(s, g[r.acc], r);
    if (!operands || operands->lanes || !operands->weights) return {};
    terms.push_back({std::move(r), *std::move(operands)});
  }
  if (terms.size() != 2) return {};
  if (terms[0].operands.phases() == 1) std::swap(terms[0], terms[1]);
  Operands &first = terms[0].operands, &second = terms[1].operands;
  if (first.image != second.image || second.phases() > 1) return {};
  second.row_phases = first.row_phases;
  second.column_phases = first.column_phases;
  return terms;
}

double cycles_of(const Schedule& s, const std::vector<Term>& terms, const MatrixTile& t, const Device& d) {
  double all = 0;
  for (const Term& x : terms) all += matrix_cycles(s, x.roles, x.operands, t, d);
  return all - kKernelCycles;
}

std::vector<MatrixTile> tiles_of(const Schedule& s, const std::vector<Term>& terms, const Device& d) {
  std::vector<MatrixTile> tiles;
  for (const int64_t rows : {1, 2, 4})
    for (const int64_t columns : {1, 2})
      for (const int64_t warps_m : {1, 2, 4, 8})
        for (const int64_t warps_n : {1, 2, 3, 4}) {
          const MatrixTile t{.rows = rows, .columns = columns, .warps_m = warps_m, .warps_n = warps_n};
          const int64_t eights = ceil_div(s.group()[terms[0].roles.out].axes[terms[0].roles.vector].extent, int64_t{8}), wide = columns * warps_n;
          const bool computes_little_more = 4 * ceil_div(eights, wide) * wide <= 5 * eights;
          if (warps_m * warps_n > 1 && warps_m * warps_n <= 8 && computes_little_more) tiles.push_back(t);
        }
  return from_the_best(tiles, [&](const MatrixTile& t) { return cycles_of(s, terms, t, d); });
}

double best_cycles(const Schedule& s, const std::vector<Term>& terms, const Device& d) {
  const auto tiles = tiles_of(s, terms, d);
  return tiles.empty() ? std::numeric_limits<double>::infinity() : cycles_of(s, terms, tiles[0], d);
}

}  // namespace

std::vector<MatrixTile> added_tiles(const Schedule& s, const Device& d) {
  const std::vector<Term> terms = terms_of(s, d);
  return terms.empty() ? std::vector<MatrixTile>{} : tiles_of(s, terms, d);
}

std::optional<double> added_cycles(const Schedule& s, const Device& d) {
  const std::vector<Term> terms = terms_of(s, d);
  return terms.empty() ? std::nullopt : std::optional(best_cycles(s, terms, d));
}

bool added_pays(const Schedule& s, const Device& d) {
  const std::vector<Term> terms = terms_of(s, d);
  if (terms.empty()) return false;
  double apart = 0;
  for (const Term& x : terms) apart += product_alone(s, x.roles, d);
  return best_cycles(s, terms, d) < apart;
}

bool by_added(Schedule& s, const MatrixTile& tile, const Device& d) {
  const std::vector<Term> terms = terms_of(s, d);
  if (terms.empty() || through_block(tile) || tile.staged || tile.ahead > 0) return false;
  Schedule t = s;
  const Stage o = t.group()[terms[0].roles.out];
  const uint32_t vector = terms[0].roles.vector;
  const WarpLoops stored = warp_loops(t, o, terms[0].roles, terms[0].operands, tile, "", {});
  store_by_warps(t, o.name, stored, vector, tile.columns);
  const std::string block = fused(t, o.name, stored.outside);
  t.parallel(o.name, block);
  for (const Term& x : terms) {
    const Stage a = t.group()[x.roles.acc];
    const Axis k = a.raxes[x.operands.reduce];
    const int64_t depth = depth_for(k.extent, d);
    pack_weights(t, o.axes[vector].extent, x.operands, tile, depth, {});
    if (!o.layout.empty()) t.pack(a.name, o.layout);
    const WarpLoops summed = warp_loops(t, a, x.roles, x.operands, tile, "", {});
    if (!sum_operands(t, a.name, summed, k, k.name, depth, tile, {}, o.name, block)) return false;
  }
  if (!lowers(t)) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
