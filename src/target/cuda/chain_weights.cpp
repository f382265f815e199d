// Weights of a chain in the block's memory: every block asks for all of them at once, while it waits for its input, instead of
// piece by piece where instructions want them. Not those of the expansion, which warps hold in registers over all their rows.
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

bool weights_in_block(Schedule& t, const std::string& sum, const std::string& reader, const std::string& at, const std::string& left_out,
                      int64_t threads) {
  std::vector<std::string> weights;
  for (const StageId p : producers(t.group(), *t.group().named(sum)))
    if (const Stage& s = t.group()[p]; s.kind == StageKind::Constant && s.name != left_out) weights.push_back(s.name);
  for (const std::string& w : weights) {
    const Stage& self = t.group()[*t.group().named(w)];
    const Layout layout = self.layout.empty() ? axes_in_order(self.axes.size(), {}, {}) : self.layout;
    const std::string copy = t.cache_read(w);
    if (t.failure()) return false;
    t.compute_at(copy, reader, at);
    t.pack(copy, layout);
    if (!copy_in_order(t, copy, t.group()[*t.group().named(copy)].shape(), threads)) return false;
  }
  return true;
}

}  // namespace burnish::cuda_target
