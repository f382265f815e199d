// Which functions share a launch: blocks of all of them get the threads, registers and memory of
// the one that wants most.
#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "loop/matrix_sum.h"
#include "target/cuda/space.h"

namespace burnish::cuda_target {

namespace {

struct Needs {
  int64_t blocks = 0, threads = 1, block_bytes = 0;
  double registers = 0;  // of a thread, about
};

// Registers of a step's operands; with those of the next one, where they are prefetched.
double operands_of(const Function& f, const Stmt& tensor_loop, std::span<const ForStmt> threads, DType storage) {
  constexpr double least = 24;
  const auto m = matrix_sum(f, tensor_loop, threads);
  if (!m) return least;
  double values = 0;
  bool prefetched = false;
  for (const Expr& operand : {m->a, m->b}) {
    double each = static_cast<double>(m->values()) * (depends_on(operand, m->row) || depends_on(operand, m->group) ? kMatrixPairs : 1);
    for (const ForStmt& l : m->tiles)
      if (depends_on(operand, l.var)) each *= static_cast<double>(l.extent);
    values += each;
    visit(operand, [&](const Expr& e) { prefetched |= e.kind() == ExprKind::Load && f.buffers[e.from()].prefetch > 0; });
  }
  return std::max(least, values * static_cast<double>(size_of(storage)) / 4 * (prefetched ? 2 : 1));
}

// Nothing where the function is several kernels, or shares memory among blocks.
std::optional<Needs> needs_of(const Function& f, DType storage) {
  constexpr double places = 30;  // registers besides those of the function and operands of matrix instructions
  if (!f.body) return std::nullopt;
  Needs n{.registers = places};
  bool one_kernel = true;
  const auto top_level = [&](const auto& self, const Stmt& s) -> void {
    if (s.kind() == StmtKind::Seq) {
      for (const Stmt& c : s.children()) self(self, c);
      return;
    }
    one_kernel &= s.kind() != StmtKind::Barrier;
    const bool parallel = s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel;
    n.blocks += parallel ? s->loop.extent : 1;
    const int64_t threads = parallel ? c_like::threads_inside(s) : 1;
    n.threads = std::max(n.threads, threads);
    int64_t bytes = 0, registers = 0;
    const bool shares = has_loop(s, LoopKind::Thread);
    visit(s, [&](const Stmt& x) {
      if (x.kind() != StmtKind::Alloc) return;
      const Buffer& b = f.buffers[x->buffer];
      one_kernel &= b.scope != Scope::Shared;
      if (in_registers(b.scope))
        registers += b.size;
      else if (shares)
        bytes += (b.size * size_of(b.dtype) + 15) / 16 * 16;
    });
    n.block_bytes = std::max(n.block_bytes, bytes);
    double operands = 0;
    visit_tensor_loops(s, [&](const Stmt& loop, std::span<const ForStmt> around) {
      operands = std::max(operands, operands_of(f, loop, around, storage));
    });
    n.registers = std::max(n.registers, places + operands + static_cast<double>(registers) / static_cast<double>(threads));
  };
  top_level(top_level, f.body);
  if (!one_kernel || n.blocks == 0) return std::nullopt;
  return n;
}

// Blocks that run at once.
double resident(const Needs& n, const Device& d) {
  const auto real = [](int64_t x) { return static_cast<double>(x); };
  constexpr double most = 32, registers = 65536, most_threads = 2048, own_bytes = 1024;
  const double threads = real((n.threads + 31) / 32 * 32);
  return d.multiprocessors *
         std::max(1.0,
                  std::floor(std::min({most, most_threads / threads,
                                       registers / (threads * std::min(n.registers, 255.0)),
                                       real(d.block_bytes) / (real(n.block_bytes) + own_bytes)})));
}

}  // namespace

// Where all blocks run at once, or none of the functions has many fewer at work than by itself; not where a block has a multiprocessor to
// itself, since nothing then runs beside it.
bool prefers_one_launch(std::span<const Function* const> functions, const Device& d) {
  constexpr double least_kept = 0.8;
  constexpr size_t most_parameters = 256;  // pointers
  Needs all;
  double most = 0;  // at work by themselves
  size_t parameters = 0;
  for (const Function* f : functions) {
    const std::optional<Needs> n = needs_of(*f, d.storage);
    if (!n) return false;
    parameters += f->params.size();
    most = std::max(most, std::min(resident(*n, d), static_cast<double>(n->blocks)));
    all.blocks += n->blocks;
    all.threads = std::max(all.threads, n->threads);
    all.block_bytes = std::max(all.block_bytes, n->block_bytes);
    all.registers = std::max(all.registers, n->registers);
  }
  const double together = resident(all, d);
  return parameters <= most_parameters &&
         (static_cast<double>(all.blocks) <= together || (together >= least_kept * most && together > d.multiprocessors));
}

}  // namespace burnish::cuda_target
