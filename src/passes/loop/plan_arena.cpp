// Gives arena tensors their offsets: tensors that are not alive at the same time may share memory.
//
// Time is counted in epochs, the spans between barriers: threads may be anywhere within an epoch, so tensors touched
// in one epoch never overlap, but for one case: an output takes the place of an input that dies with the step, where
// the step reads each element just before it writes the same place (may_overwrite) and is alone in its epoch with both.
// A tensor and those that take its place one after another are one tenant of the arena. The largest tenants are placed
// first, each at the lowest gap that fits (greedy by size, https://arxiv.org/abs/2001.03288).
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr int64_t alignment = 64;

// A tensor, or several one after another in one place.
struct Tenant {
  std::vector<uint32_t> tensors;
  int64_t first = 0, last = 0;  // epochs
  int64_t bytes = 0, offset = 0;

  bool meets(const Tenant& o) const { return first <= o.last && o.first <= last; }
};

// When tensors are touched.
struct Life {
  int64_t first = std::numeric_limits<int64_t>::max(), last = -1;  // epochs
  int64_t last_steps = 0;                                          // that touch it in the epoch `last`
  size_t first_step = 0;
};

class Tenants {
 public:
  Tenants(const Program& p, bool in_place) : p_(p), life_(p.tensors.size()), tenant_of_(p.tensors.size()) {
    for (size_t i = 0; i < p.steps.size(); ++i) {
      for (uint32_t t : p.steps[i].args) touch(life_[t], i);
      if (p.steps[i].barrier) ++epoch_;
    }
    for (uint32_t t = 0; t < p.tensors.size(); ++t) {
      if (!is_placed(t)) continue;
      tenant_of_[t] = tenants_.size();
      tenants_.push_back({.tensors = {t}, .first = life_[t].first, .last = life_[t].last, .bytes = bytes_of(t)});
    }
    for (size_t i = 0; in_place && i < p.steps.size(); ++i) replace(i);
  }

  std::vector<Tenant> take() {
    std::erase_if(tenants_, [](const Tenant& t) { return t.tensors.empty(); });
    return std::move(tenants_);
  }

 private:
  void touch(Life& life, size_t step) {
    if (life.last < 0) {
      life.first = epoch_;
      life.first_step = step;
    }
    life.last_steps = life.last == epoch_ ? life.last_steps + 1 : 1;
    life.last = epoch_;
  }
  bool is_placed(uint32_t t) const { return p_.tensors[t].kind == TensorKind::Arena && life_[t].last >= 0; }

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

  // Lets each output of a step move in with an input that dies there.
  void replace(size_t step) {
    const Step& s = p_.steps[step];
    const Function& f = p_.functions[s.function];
    auto free_here = [&](size_t i) {
      return is_placed(s.args[i]) && is_whole(s, f, i) && !tenants_[tenant_of_[s.args[i]]].tensors.empty();
    };
    std::vector<bool> used(s.args.size(), false);
    for (size_t out = 0; out < s.args.size(); ++out) {
      const Life& born = life_[s.args[out]];
      if (!f.buffers[f.params[out]].written || !free_here(out) || born.first_step != step) continue;
      for (size_t in = 0; in < s.args.size(); ++in) {
        const Life& dying = life_[s.args[in]];
        // Alone in the epoch: of two steps between barriers one may write while the other still reads.
        if (used[in] || f.buffers[f.params[in]].written || !free_here(in) || dying.last != born.first ||
            dying.last_steps != 1 || (born.last == born.first && born.last_steps != 1) || !may_overwrite(f, in, out)) {
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
    tenants_[tenant].last = life_[t].last;
  }

  const Program& p_;
  std::vector<Life> life_;
  std::vector<size_t> tenant_of_;
  std::vector<Tenant> tenants_;
  int64_t epoch_ = 0;
};

// The lowest offset at which `tenant` overlaps none of the placed ones; they are sorted by offset.
int64_t lowest_gap(const Tenant& tenant, const std::vector<Tenant>& placed) {
  int64_t at = 0;
  for (const Tenant& o : placed) {
    if (!tenant.meets(o)) continue;
    if (o.offset - at >= tenant.bytes) break;
    at = std::max(at, o.offset + o.bytes);
  }
  return at;
}

// The bytes of the arena.
int64_t place(std::vector<Tenant>& tenants) {
  std::stable_sort(tenants.begin(), tenants.end(), [](const Tenant& a, const Tenant& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.first < b.first;
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

Program plan_arena(const Program& p, const Context&) {
  Program out = p;
  std::vector<Tenant> tenants = Tenants(p, true).take();
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
