// Gives arena tensors their offsets: tensors that are not alive at the same time may share memory.
//
// Time is counted in moments, one a step. Between two barriers threads may be anywhere, so a step that they share takes
// all moments of that span; one that thread 0 executes alone takes its own, since it comes after those before it.
// Tensors that are touched at one moment never overlap, but for one case: an output takes the place of an input that
// dies with the step, where the step reads each element just before it writes the same place (may_overwrite).
// A tensor and those that take its place one after another are one tenant of the arena. The largest tenants are placed
// first, each at the lowest gap that fits (greedy by size, https://arxiv.org/abs/2001.03288).
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "passes/loop/one_thread.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr int64_t alignment = 64;

struct Moments {
  int64_t first = std::numeric_limits<int64_t>::max(), last = -1;

  bool meet(const Moments& o) const { return first <= o.last && o.first <= last; }
  void add(const Moments& o) {
    first = std::min(first, o.first);
    last = std::max(last, o.last);
  }
};

std::vector<Moments> moments_of(const Program& p) {
  std::vector<Moments> at(p.steps.size());
  for (size_t begin = 0, end = 0; begin < at.size(); begin = end) {
    do ++end;
    while (end < at.size() && !p.steps[end - 1].barrier);
    for (size_t i = begin; i < end; ++i) {
      const auto own = static_cast<int64_t>(i);
      at[i] = on_one_thread(p.functions[p.steps[i].function])
                  ? Moments{own, own}
                  : Moments{static_cast<int64_t>(begin), static_cast<int64_t>(end) - 1};
    }
  }
  return at;
}

// A tensor, or several one after another in one place.
struct Tenant {
  std::vector<uint32_t> tensors;
  Moments alive;
  int64_t bytes = 0, offset = 0;
};

class Tenants {
 public:
  // Outputs that threads share take no place of fewer than `least_shared` bytes.
  Tenants(const Program& p, bool in_place, int64_t least_shared = 0)
      : p_(p), least_shared_(least_shared), at_(moments_of(p)), touching_(p.tensors.size()), tenant_of_(p.tensors.size()) {
    for (size_t i = 0; i < p.steps.size(); ++i) {
      for (uint32_t t : p.steps[i].args) {
        if (touching_[t].empty() || touching_[t].back() != i) touching_[t].push_back(i);
      }
    }
    for (uint32_t t = 0; t < p.tensors.size(); ++t) {
      if (!is_placed(t)) continue;
      tenant_of_[t] = tenants_.size();
      tenants_.push_back({.tensors = {t}, .alive = life(t), .bytes = bytes_of(t)});
    }
    for (size_t i = 0; in_place && i < p.steps.size(); ++i) replace(i);
  }

  std::vector<Tenant> take() {
    std::erase_if(tenants_, [](const Tenant& t) { return t.tensors.empty(); });
    return std::move(tenants_);
  }

 private:
  Moments life(uint32_t t) const {
    Moments all;
    for (size_t i : touching_[t]) all.add(at_[i]);
    return all;
  }
  bool is_placed(uint32_t t) const { return p_.tensors[t].kind == TensorKind::Arena && !touching_[t].empty(); }

  int64_t bytes_of(uint32_t t) const {
    int64_t bytes = 0;
    require(!__builtin_mul_overflow(p_.tensors[t].size, int64_t{size_of(p_.tensors[t].dtype)}, &bytes) &&
                bytes < (int64_t{1} << 50),
            "tensor {} of {} elements is too large", p_.tensors[t].name, p_.tensors[t].size);
    return (std::max<int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  }

  // Whole arguments only: of a slice, other steps may touch the rest.
  bool is_whole(const Step& s, const Function& f, size_t i) const {
    return (s.offsets.empty() || s.offsets[i] == 0) && f.buffers[f.params[i]].size == p_.tensors[s.args[i]].size &&
           std::count(s.args.begin(), s.args.end(), s.args[i]) == 1;
  }

  // Whether all other steps that touch the tensor have ended before the step, or begin after it.
  bool ends_with(uint32_t t, size_t step) const {
    return std::ranges::all_of(touching_[t], [&](size_t i) { return i == step || at_[i].last < at_[step].first; });
  }
  bool begins_with(uint32_t t, size_t step) const {
    return std::ranges::all_of(touching_[t], [&](size_t i) { return i == step || at_[i].first > at_[step].last; });
  }

  // Lets each output of a step move in with an input that dies there.
  void replace(size_t step) {
    const Step& s = p_.steps[step];
    const Function& f = p_.functions[s.function];
    auto free_here = [&](size_t i) {
      return is_placed(s.args[i]) && is_whole(s, f, i) && !tenants_[tenant_of_[s.args[i]]].tensors.empty();
    };
    std::vector<bool> used(s.args.size(), false);
    for (size_t out = 0; out < s.args.size(); ++out) {
      if (!f.buffers[f.params[out]].written || !free_here(out) || !begins_with(s.args[out], step)) continue;
      if (bytes_of(s.args[out]) < least_shared_ && !on_one_thread(f)) continue;
      for (size_t in = 0; in < s.args.size(); ++in) {
        if (used[in] || f.buffers[f.params[in]].written || !free_here(in) || !ends_with(s.args[in], step) ||
            !may_overwrite(f, in, out)) {
          continue;
        }
        used[in] = true;
        join(tenant_of_[s.args[in]], s.args[out]);
        break;
      }
    }
  }

  void join(size_t tenant, uint32_t t) {
    tenants_[tenant_of_[t]].tensors.clear();
    tenant_of_[t] = tenant;
    tenants_[tenant].tensors.push_back(t);
    tenants_[tenant].alive.add(life(t));
  }

  const Program& p_;
  int64_t least_shared_;
  std::vector<Moments> at_;                     // by step
  std::vector<std::vector<size_t>> touching_;  // by tensor: steps
  std::vector<size_t> tenant_of_;
  std::vector<Tenant> tenants_;
};

// The lowest offset at which `tenant` overlaps none of the placed ones; they are sorted by offset.
int64_t lowest_gap(const Tenant& tenant, const std::vector<Tenant>& placed) {
  int64_t at = 0;
  for (const Tenant& o : placed) {
    if (!tenant.alive.meet(o.alive)) continue;
    if (o.offset - at >= tenant.bytes) break;
    at = std::max(at, o.offset + o.bytes);
  }
  return at;
}

// The bytes of the arena.
int64_t place(std::vector<Tenant>& tenants) {
  std::stable_sort(tenants.begin(), tenants.end(), [](const Tenant& a, const Tenant& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.alive.first < b.alive.first;
  });
  std::vector<Tenant> placed;
  int64_t bytes = 0;
  for (Tenant& tenant : tenants) {
    tenant.offset = lowest_gap(tenant, placed);
    bytes = std::max(bytes, tenant.offset + tenant.bytes);
    auto at = std::upper_bound(placed.begin(), placed.end(), tenant.offset,
                               [](int64_t offset, const Tenant& o) { return offset < o.offset; });
    placed.insert(at, tenant);
  }
  return bytes;
}

}  // namespace

Program plan_arena(const Program& p, const Context& context) {
  Program out = p;
  // What threads read is in the caches of several: to write it again, each line has to be taken from the others. What
  // their caches do not hold is not.
  int64_t least_shared = 0;
  if (context.target && context.target->machine().threads > 1) {
    least_shared = context.target->machine().threads * context.target->machine().l2_bytes;
  }
  // A device's threads keep loads and stores in flight, in an order of their own where arguments lie apart.
  const bool in_place = !context.target || !context.target->machine().device;
  std::vector<Tenant> tenants = Tenants(p, in_place, least_shared).take();
  out.arena_bytes = place(tenants);
  // Tenants that stay long leave gaps that others may not fit: then none moves in with another.
  std::vector<Tenant> apart = Tenants(p, false).take();
  if (const int64_t bytes = place(apart); bytes < out.arena_bytes) {
    out.arena_bytes = bytes;
    tenants = std::move(apart);
  }
  for (const Tenant& tenant : tenants) {
    for (uint32_t t : tenant.tensors) out.tensors[t].offset = tenant.offset;
  }
  return out;
}

}  // namespace burnish
