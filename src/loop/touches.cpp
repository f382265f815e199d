#include "loop/touches.h"

#include <algorithm>

namespace burnish {

std::vector<std::vector<Touch>> touches_of(const Program& p) {
  const size_t steps = p.steps.size();
  std::vector<std::vector<Touch>> all(steps);
  for (size_t s = 0; s < steps; ++s) {
    const Function& f = p.functions[p.steps[s].function];
    for (const BufferId b : f.params)
      all[s].push_back({own_elements(f.buffers[b]) * size_of(f.buffers[b].dtype), 0});
  }
  // Back from each step, round the end of the run, to the last one that has the tensor. A tensor
  // that several steps in between touch in parts counts with the largest part.
  std::vector<int64_t> touched(p.tensors.size(), 0);
  std::vector<uint32_t> seen;
  for (size_t s = 0; s < steps; ++s) {
    for (size_t a = 0; a < all[s].size(); ++a) {
      const uint32_t wanted = p.steps[s].args[a];
      int64_t distance = 0;
      const auto touch = [&](uint32_t tensor, int64_t bytes) {
        if (touched[tensor] == 0) seen.push_back(tensor);
        distance += std::max<int64_t>(0, bytes - touched[tensor]);
        touched[tensor] = std::max(touched[tensor], bytes);
      };
      touch(wanted, all[s][a].bytes);
      for (size_t back = 1; back <= steps; ++back) {
        const size_t t = (s + steps - back) % steps;
        const auto& args = p.steps[t].args;
        for (size_t k = 0; k < args.size(); ++k) touch(args[k], all[t][k].bytes);
        if (std::ranges::find(args, wanted) != args.end()) break;
      }
      all[s][a].distance = distance;
      for (const uint32_t t : seen) touched[t] = 0;
      seen.clear();
    }
  }
  return all;
}

}  // namespace burnish
