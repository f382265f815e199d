// Steps that do not depend on one another as one step, where the target would rather launch them at
// once.
//
//   q = matmul(x, wq)   k = matmul(x, wk)   v = matmul(x, wv)        ->     q, k, v = { matmul;
//   matmul; matmul }
//
// On a device each step waits for the one before it, and many have too few blocks to fill it:
// siblings, branches, the heads of a detector. The function of a joined step has the bodies of all
// after one another, without barriers; a target's code divides blocks, or threads, among them. A
// step moves forward to the first one that it may join, so that all it reads is there.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "loop/join_functions.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr size_t most_joined = 8, furthest = 64;  // steps

class Joiner {
 public:
  Joiner(const Program& p, const Target& target) : p_(p), target_(target), uses_(p.steps.size()) {
    for (size_t i = 0; i < p.steps.size(); ++i) {
      const Step& s = p.steps[i];
      const Function& f = p.functions[s.function];
      for (size_t a = 0; a < s.args.size(); ++a) {
        const Buffer& b = f.buffers[f.params[a]];
        uses_[i].push_back(
            {s.args[a], footprint(b, s.offsets.empty() ? 0 : s.offsets[a]), b.written});
      }
    }
    for (size_t i = 0; i < p.steps.size(); ++i) {
      waits_for_.emplace_back();
      for (size_t before = 0; before < i; ++before)
        if (depend(uses_[before], uses_[i])) waits_for_.back().push_back(before);
    }
  }

  Program run() {
    Program out = p_;
    out.functions.clear();
    out.steps.clear();
    std::vector<bool> done(p_.steps.size(), false);
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      if (done[i]) continue;
      std::vector<size_t> together{i};
      std::vector<const Function*> functions{&function(i)};
      for (size_t j = i + 1;
           j < std::min(p_.steps.size(), i + furthest) && together.size() < most_joined; ++j) {
        if (done[j] || !std::ranges::all_of(waits_for_[j], [&](size_t k) { return done[k]; }))
          continue;
        functions.push_back(&function(j));
        if (target_.prefers_one_launch(functions))
          together.push_back(j);
        else
          functions.pop_back();
      }
      for (const size_t k : together) done[k] = true;
      out.steps.push_back(step_of(out, together));
    }
    return out;
  }

 private:
  struct Use {
    uint32_t tensor;
    Footprint bytes;
    bool written;
  };
  static bool depend(const std::vector<Use>& a, const std::vector<Use>& b) {
    return std::ranges::any_of(a, [&](const Use& x) {
      return std::ranges::any_of(b, [&](const Use& y) {
        return x.tensor == y.tensor && (x.written || y.written) && meet(x.bytes, y.bytes);
      });
    });
  }

  const Function& function(size_t step) const { return p_.functions[p_.steps[step].function]; }

  Step step_of(Program& out, const std::vector<size_t>& together) {
    std::vector<uint32_t> key;
    for (const size_t i : together) key.push_back(p_.steps[i].function);
    const auto [known, fresh] =
        functions_.try_emplace(key, static_cast<uint32_t>(out.functions.size()));
    if (fresh) out.functions.push_back(function_of(key));
    Step all = p_.steps[together[0]];
    all.function = known->second;
    if (together.size() == 1) return all;
    all.offsets.resize(all.args.size(), 0);
    for (size_t k = 1; k < together.size(); ++k) {
      const Step& s = p_.steps[together[k]];
      all.args.insert(all.args.end(), s.args.begin(), s.args.end());
      all.offsets.insert(all.offsets.end(), s.offsets.begin(), s.offsets.end());
      all.offsets.resize(all.args.size(), 0);
      all.sources.insert(all.sources.end(), s.sources.begin(), s.sources.end());
      all.macs += s.macs;
      all.bytes += s.bytes;
      all.schedule += "\n" + s.schedule;
    }
    if (std::ranges::count(all.offsets, 0) == std::ssize(all.offsets)) all.offsets.clear();
    return all;
  }

  // conv_and_matmul; of many the first, and how many more.
  Function function_of(const std::vector<uint32_t>& which) {
    if (which.size() == 1) return p_.functions[which[0]];
    std::vector<const Function*> functions;
    for (const uint32_t f : which) functions.push_back(&p_.functions[f]);
    std::string name = which.size() == 2
                           ? fmt::format("{}_and_{}", functions[0]->name, functions[1]->name)
                           : fmt::format("{}_and_{}_more", functions[0]->name, which.size() - 1);
    const int copy = names_[name]++;
    return joined(functions, copy == 0 ? name : fmt::format("{}.{}", name, copy));
  }

  const Program& p_;
  const Target& target_;
  std::vector<std::vector<Use>> uses_;
  std::vector<std::vector<size_t>> waits_for_;
  std::map<std::vector<uint32_t>, uint32_t> functions_;  // new ones, by the old ones in them
  std::map<std::string, int> names_;
};

}  // namespace

Program join_steps(const Program& p, const Context& c) {
  if (c.target == nullptr || !c.target->machine().device) return p;
  return Joiner(p, *c.target).run();
}

}  // namespace burnish
