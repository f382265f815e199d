// How a function falls into kernels.
#include "target/c_like/kernel.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "target/c_like/early_loads.h"
#include "target/c_like/inside_loops.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

namespace {

class Splitter {
 public:
  Splitter(const Function& f, const Dialect& d, size_t own_buffers) : f_(f), d_(d), own_buffers_(own_buffers) {}

  std::vector<Kernel> run() {
    if (f_.body) walk(f_.body);
    end_parts();
    for (size_t i = 0; i < groups_.size(); ++i) {
      const bool both = i + 1 < groups_.size() && may_be_one(groups_[i], groups_[i + 1]);
      if (both && (meet(groups_[i][0], groups_[i + 1][0]) || gather(groups_[i][0], groups_[i + 1][0])))
        ++i;
      else
        beside(groups_[i]);
    }
    return std::move(kernels_);
  }

 private:
  // Between barriers, parallel loops and what one thread does are independent: parts of one kernel. Lone statements are
  // one thread's, in their order.
  void walk(const Stmt& s) {
    switch (s.kind()) {
    case StmtKind::Seq:
      for (const Stmt& c : s.children()) walk(c);
      return;
    case StmtKind::Alloc:
      if (f_.buffers[s->buffer].scope != Scope::Shared) break;
      walk(s.children()[0]);
      return;
    case StmtKind::Barrier: end_parts(); return;
    case StmtKind::For:
    case StmtKind::Let:
    case StmtKind::Store:
    case StmtKind::If:
    case StmtKind::While:
    case StmtKind::Call: break;
    }
    if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel)
      parts_.push_back(s);
    else
      lone_.push_back(s);
  }

  void end_parts() {
    if (!lone_.empty()) parts_.push_back(make_seq(std::exchange(lone_, {})));
    if (!parts_.empty()) groups_.push_back(std::exchange(parts_, {}));
  }

  static bool is_parallel(const Stmt& s) { return s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel; }

  // Where arguments may overlap it is not known what is written.
  bool may_be_one(const std::vector<Stmt>& before, const std::vector<Stmt>& after) const {
    return !d_.restrict.empty() && before.size() == 1 && after.size() == 1 && is_parallel(before[0]) && is_parallel(after[0]);
  }

  // Both as one kernel, whose blocks meet in between by themselves or as clusters; false: they cannot be that.
  bool meet(const Stmt& before, const Stmt& after) {
    const auto cluster = static_cast<int>(blocks_that_meet(f_, before, after, std::max<int64_t>(1, d_.most_of_a_cluster)));
    if (cluster == 0) return false;
    Printer p(f_, d_, own_buffers_);
    if (before->loop.extent <= d_.few_blocks) p.wait_late();
    p.expect(before);
    p.expect(after);
    if (cluster > 1) {
      p.clustered(before, after, cluster);
    } else {
      p.block_loop(before, std::string(d_.block));
      p.line(d_.barrier);
      p.block_loop(after, std::string(d_.block));
    }
    finish(p, before->loop.extent, cluster);
    return true;
  }

  // Both as one kernel, the last block of each group of the first loop having a block of the second to do, too.
  bool gather(const Stmt& before, const Stmt& after) {
    const int64_t n = d_.last_of_group.empty() ? 0 : blocks_that_gather(f_, before, after);
    if (n == 0) return false;
    Printer p(f_, d_, own_buffers_);
    p.expect(before);
    p.expect(after);
    p.block_loop(before, std::string(d_.block));
    // No `open_if`, which would name the condition, and this one counts.
    p.open(fmt::format("if ({}({})) {{", fmt::format(fmt::runtime(d_.last_of_group), n), counters));
    p.block_loop(after, fmt::format("{} / {}", d_.block, n));
    p.close();
    finish(p, before->loop.extent, 1, after->loop.extent);
    return true;
  }

  void beside(std::vector<Stmt> parts) {
    Printer p(f_, d_, own_buffers_);
    int64_t blocks = 0;
    const auto blocks_of = [&](const Stmt& s) { return is_parallel(s) ? s->loop.extent : 1; };
    for (const Stmt& s : parts)
      if (is_parallel(s)) p.expect(s);
    // Few blocks begin first: each of them has much to do, and the many of others fill up what they leave.
    std::ranges::stable_sort(parts, {}, blocks_of);
    for (const Stmt& s : parts) {
      const int64_t n = blocks_of(s);
      if (parts.size() > 1) p.open_if(fmt::format("{0} >= {1} && {0} < {2}", d_.block, blocks, blocks + n));
      const std::string block = blocks ? fmt::format("{} - {}", d_.block, blocks) : std::string(d_.block);
      if (is_parallel(s))
        p.block_loop(s, block);
      else
        p.lone(s);
      if (parts.size() > 1) p.close_if();
      blocks += n;
    }
    finish(p, blocks, 1);
  }

  static constexpr std::string_view counters = "counters";  // names of buffers have a number behind them

  void finish(Printer& p, int64_t blocks, int cluster, int64_t groups = 0) {
    Kernel k;
    k.name = fmt::format("{}_{}", sanitized(f_.name), kernels_.size());
    k.blocks = blocks;
    k.cluster = cluster;
    k.counters = groups;
    require(k.blocks < (int64_t{1} << 31), "{} would have {} blocks", k.name, k.blocks);
    k.args = p.args();
    k.threads = p.threads();
    k.registers = p.registers();
    k.block_bytes = p.block_bytes();
    k.helpers = p.helpers();
    k.halves = p.halves();
    k.bfloats = p.bfloats();
    std::string parameters;
    for (BufferId b : k.args) {
      const Buffer& buffer = f_.buffers[b];
      const bool written = buffer.scope != Scope::Param || buffer.written;
      // Compilers read before the wait what they believe that nobody writes: of what other kernels write they are not told so. That results
      // do not lie over it is known from theirs.
      const bool restricted = written || buffer.constant || d_.begin.empty();
      parameters += fmt::format("{}{} {}{}* {} {}", parameters.empty() ? "" : ", ", d_.global, written ? "" : "const ",
                                type_name(buffer.dtype), restricted ? d_.restrict : "", p.buffer_name(b));
    }
    if (groups) parameters += fmt::format("{}{}unsigned* {}", parameters.empty() ? "" : ", ", d_.global, counters);
    const int64_t together = d_.blocks_together ? d_.blocks_together(k) : 0;
    k.source = fmt::format(fmt::runtime(cluster > 1 ? d_.cluster_head : d_.kernel_head), k.name, k.threads, cluster,
                           together ? fmt::format(fmt::runtime(d_.room), together) : std::string()) +
               "(" + parameters + ") {\n";
    if (k.block_bytes) k.source += fmt::format("  {}\n", d_.block_memory);
    std::string body = p.take();
    if (!d_.begin.empty()) {
      const size_t mark = body.find(Printer::wait_mark);
      const bool late = mark != std::string::npos;
      // Addresses depend on the wait, since loads of what the kernel does not write could be moved before it otherwise.
      std::string wait = fmt::format("  const int here = {}();\n", d_.begin);
      for (BufferId b : k.args)
        if (!late || !f_.buffers[b].constant) wait += fmt::format("  {} += here;\n", p.buffer_name(b));
      body.replace(late ? mark : 0, late ? Printer::wait_mark.size() : 0, wait);
      k.after_wait = k.source.size() + (late ? mark : 0) + wait.size();
    }
    k.source += body + "}\n";
    kernels_.push_back(std::move(k));
  }

  const Function& f_;
  const Dialect& d_;
  size_t own_buffers_;
  std::vector<Stmt> parts_, lone_;
  std::vector<std::vector<Stmt>> groups_;  // what stands between barriers
  std::vector<Kernel> kernels_;
};

}  // namespace

std::vector<Kernel> kernels_of(const Function& f, const Dialect& d) {
  const Function early = d.half_pairs ? with_inside_loops(with_early_loads(f)) : with_early_loads(f);
  return Splitter(early, d, f.buffers.size()).run();
}

}  // namespace burnish::c_like
