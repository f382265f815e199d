#include "target/cuda/launches.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"

namespace burnish::cuda_target {

namespace {

constexpr int64_t alignment = 256;
// A counter is of two blocks at least.
constexpr int64_t counter_bytes = sizeof(uint32_t) * c_like::kMostBlocksThatMeet / 2;
int64_t aligned(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

int64_t offset_of(const Step& s, size_t arg) { return s.offsets.empty() ? 0 : s.offsets[arg]; }

// What a function shares among its kernels, by buffer: parts of a kernel run at once, so that no
// two have one place.
std::map<BufferId, int64_t> shared_places(const Function& f, int64_t& end) {
  std::map<BufferId, int64_t> at;
  if (!f.body) return at;
  visit(f.body, [&](const Stmt& s) {
    if (s.kind() != StmtKind::Alloc || f.buffers[s->buffer].scope != Scope::Shared ||
        at.contains(s->buffer))
      return;
    const Buffer& b = f.buffers[s->buffer];
    constexpr int64_t limit = int64_t{1} << 45;
    check(b.size >= 0 && b.size <= (limit - end) / size_of(b.dtype),
          "{} of {} elements is too large", b.name, b.size);
    at[s->buffer] = end;
    end = aligned(end + b.size * size_of(b.dtype));
  });
  return at;
}

// Whether the step writes what it also reads through another argument: compilers must not believe
// that they differ.
bool writes_over(const Program& p, const Step& s) {
  const Function& f = p.functions[s.function];
  for (size_t a = 0; a < s.args.size(); ++a) {
    const Buffer& out = f.buffers[f.params[a]];
    if (!out.written) continue;
    for (size_t b = 0; b < s.args.size(); ++b) {
      const ProgramTensor &x = p.tensors[s.args[a]], &y = p.tensors[s.args[b]];
      const bool both = x.kind == TensorKind::Arena && y.kind == TensorKind::Arena;
      if (a == b || (!both && s.args[a] != s.args[b])) continue;
      const int64_t base_x = both ? x.offset : 0, base_y = both ? y.offset : 0;
      if (meet(footprint(out, base_x + offset_of(s, a)),
               footprint(f.buffers[f.params[b]], base_y + offset_of(s, b))))
        return true;
    }
  }
  return false;
}

class Collector {
 public:
  Collector(const Program& p, Precision precision, int64_t cluster)
      : p_(p), dialect_(dialect(precision, cluster)), unrestricted_(dialect_) {
    unrestricted_.restrict = "";
    slot_.resize(p.tensors.size(), in_arena);
    for (size_t i = 0; i < p.inputs.size(); ++i) slot_.at(p.inputs[i]) = static_cast<int>(i);
    for (size_t i = 0; i < p.outputs.size(); ++i)
      slot_.at(p.outputs[i]) = static_cast<int>(p.inputs.size() + i);
  }

  Launches run() {
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      const Step& s = p_.steps[i];
      check(s.function < p_.functions.size(), "step {} runs function {} of {}", i, s.function,
            p_.functions.size());
      const Function& f = p_.functions[s.function];
      check(s.args.size() == f.params.size() &&
                (s.offsets.empty() || s.offsets.size() == s.args.size()),
            "step {} gives {} arguments to {}, which has {} parameters", i, s.args.size(), f.name,
            f.params.size());
      int64_t end = aligned(p_.arena_bytes);
      const auto shared = shared_places(f, end);
      for (const uint32_t k : kernels_of_step(s)) {
        Launch launch{.step = static_cast<uint32_t>(i), .kernel = k};
        for (const BufferId b : all_.kernels[k].args)
          launch.args.push_back(argument(f, s, shared, b));
        // The same for all: each leaves them as it found them, and none begins before the one before it has ended.
        if (all_.kernels[k].counters) launch.args.push_back({in_arena, counters_begin(p_)});
        all_.launches.push_back(std::move(launch));
      }
    }
    let_begin();
    return std::move(all_);
  }

 private:
  // Blocks that wait take room. So the next kernel may begin only where it has few blocks, or the one that it waits for has.
  void let_begin() {
    if (dialect_.let_next_begin.empty()) return;
    const auto few = [&](uint32_t kernel) { return all_.kernels[kernel].blocks <= dialect_.few_blocks; };
    std::vector<bool> lets(all_.kernels.size(), true);
    for (size_t i = 0; i < all_.launches.size(); ++i) {
      const uint32_t k = all_.launches[i].kernel;
      const bool last = i + 1 == all_.launches.size();
      if (last || (!few(k) && !few(all_.launches[i + 1].kernel))) lets[k] = false;
    }
    for (size_t k = 0; k < lets.size(); ++k) {
      c_like::Kernel& kernel = all_.kernels[k];
      if (lets[k] && kernel.after_wait) kernel.source.insert(kernel.after_wait, fmt::format("  {}\n", dialect_.let_next_begin));
    }
  }

  // Bytes that arguments are aligned to: of parts that begin within a tensor fewer, perhaps, than a vector has.
  std::vector<int64_t> alignments(const Step& s) const {
    const Function& f = p_.functions[s.function];
    std::vector<int64_t> all;
    for (size_t a = 0; a < s.args.size(); ++a) {
      constexpr int64_t widest = 16;
      const int64_t offset = offset_of(s, a), own = f.buffers[f.params[a]].align;
      all.push_back(offset % widest ? std::min(own, offset & -offset) : own);
    }
    return all;
  }

  // Functions are printed when first used, and again where arguments overlap, or are aligned otherwise.
  const std::vector<uint32_t>& kernels_of_step(const Step& s) {
    const bool over = writes_over(p_, s);
    const std::vector<int64_t> aligned_to = alignments(s);
    const auto [at, fresh] = printed_.emplace(std::tuple(s.function, over, aligned_to), std::vector<uint32_t>());
    if (!fresh) return at->second;
    Function f = p_.functions[s.function];
    for (size_t a = 0; a < s.args.size(); ++a) f.buffers[f.params[a]].align = aligned_to[a];
    const std::string name = f.name + (over ? "_over" : "");
    // Of functions with one name the later ones have a number behind it.
    for (int n = 1;; ++n) {
      f.name = n == 1 ? name : fmt::format("{}_{}", name, n);
      std::vector<c_like::Kernel> kernels = c_like::kernels_of(f, over ? unrestricted_ : dialect_);
      std::erase_if(kernels, [](const c_like::Kernel& k) { return k.blocks == 0; });
      if (std::ranges::any_of(kernels,
                              [&](const c_like::Kernel& k) { return names_.contains(k.name); }))
        continue;
      for (c_like::Kernel& k : kernels) {
        constexpr int most_threads = 1024;
        check(k.threads <= most_threads, "kernel {} has {} threads a block", k.name, k.threads);
        names_.insert(k.name);
        at->second.push_back(static_cast<uint32_t>(all_.kernels.size()));
        all_.kernels.push_back(std::move(k));
      }
      return at->second;
    }
  }

  Argument argument(const Function& f, const Step& s, const std::map<BufferId, int64_t>& shared,
                    BufferId b) const {
    if (const auto at = shared.find(b); at != shared.end()) return {in_arena, at->second};
    const size_t n = static_cast<size_t>(std::ranges::find(f.params, b) - f.params.begin());
    check(n < s.args.size() && s.args[n] < p_.tensors.size(), "{}: buffer {} is no parameter",
          f.name, f.buffers[b].name);
    const ProgramTensor& t = p_.tensors[s.args[n]];
    const int64_t extra = offset_of(s, n);
    if (t.kind == TensorKind::Constant) return {in_weights, t.offset + extra};
    if (t.kind == TensorKind::Arena) return {in_arena, t.offset + extra};
    const int slot = slot_[s.args[n]];
    check(slot >= 0, "tensor {} is neither among the inputs nor the outputs", t.name);
    return {slot, extra};
  }

  const Program& p_;
  const c_like::Dialect& dialect_;
  c_like::Dialect unrestricted_;
  std::vector<int> slot_;
  Launches all_;
  std::map<std::tuple<uint32_t, bool, std::vector<int64_t>>, std::vector<uint32_t>> printed_;
  std::set<std::string> names_;
};

}  // namespace

Launches launches_of(const Program& p, Precision precision, int64_t cluster) {
  return Collector(p, precision, cluster).run();
}

int64_t counters_begin(const Program& p) {
  int64_t most = aligned(p.arena_bytes);
  for (const Function& f : p.functions) {
    int64_t end = aligned(p.arena_bytes);
    shared_places(f, end);
    most = std::max(most, end);
  }
  return most;
}

int64_t arena_bytes(const Program& p, int64_t cluster) {
  const int64_t end = counters_begin(p);
  if (cluster == 0) return end + counter_bytes;  // whether or not a kernel has any, which printing them would tell
  return end == aligned(p.arena_bytes) ? p.arena_bytes : end;
}

}  // namespace burnish::cuda_target
