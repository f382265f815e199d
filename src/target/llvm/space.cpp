// Loop nests of the LLVM target. From a group's stages: inline what is cheap, find what part the axes play, choose the
// register tile, build the schedule; whatever does not fit falls back to a plainer nest, in the end to loops as written.
#include "target/llvm/space.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "target/llvm/attention.h"

namespace burnish::llvm_target {

namespace {

// A group whose cheap stages are inlined.
struct Inlined {
  Schedule schedule;
  std::vector<StageId> computed;
  StageId out;
};

Inlined inlined(const StageGroup& g) {
  Inlined x{Schedule(g), {}, 0};
  inline_cheap(x.schedule);
  for (StageId p = 0; p < x.schedule.group().stages.size(); ++p) {
    if (x.schedule.group()[p].is_compute()) x.computed.push_back(p);
  }
  x.out = x.schedule.group().outputs.back();
  return x;
}

std::unique_ptr<Space> space_of(const Inlined& x, const Machine& m) {
  const StageGroup& g = x.schedule.group();
  if (g.outputs.size() != 1) return nullptr;
  if (x.computed.size() == 1 && !g[x.out].is_reduction()) {
    if (auto space = elementwise_space(x.schedule, m)) return space;
  }
  if (auto space = winograd_space(x.schedule, x.out, m)) return space;
  if (auto space = attention_space(x.schedule, x.out, m)) return space;
  if (auto space = chain_space(x.schedule, x.out, m)) return space;
  if (auto roles = roles_of(x.schedule, x.out); roles && x.computed.size() <= 2) {
    const int64_t lanes = lanes_of(m, g[roles->acc].dtype);
    if (auto space = planes_space(x.schedule, *roles, m)) return space;
    if (auto space = tile_space(x.schedule, *roles, lanes, m)) return space;
    if (reduces_contiguous(g, g[roles->acc])) {
      if (auto space = rows_space(x.schedule, x.out, true, m)) return space;
    }
    if (auto space = folded_space(x.schedule, *roles, m)) return space;
    if (auto space = tile_space(x.schedule, *roles, 1, m)) return space;
  }
  if (x.computed.size() < 2) return nullptr;
  for (bool vectors : {true, false}) {
    if (auto space = rows_space(x.schedule, x.out, vectors, m)) return space;
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Space> make_space(const StageGroup& g, const Machine& m) { return space_of(inlined(g), m); }

Schedule default_schedule(const StageGroup& g, const Machine& m) {
  const Inlined x = inlined(g);
  if (auto space = space_of(x, m)) {
    return std::move(*space->schedule(space->default_point()));
  }
  // Every stage on its own, in the order of its axes.
  Schedule plain = x.schedule;
  for (StageId p : x.computed) {
    if (plain.group()[p].is_reduction()) continue;
    Schedule s = plain;
    schedule_elementwise(s, s.group()[p].name, m);
    if (lowers(s)) plain = s;
  }
  return plain;
}

}  // namespace burnish::llvm_target
