// What the compiler asks of a target. Each folder under target/ implements it; targets.cpp lists them. Callers ask for
// capabilities and never compare a target by name.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loop/program.h"
#include "schedule/schedule.h"
#include "target/space.h"

namespace burnish {

// What the schedules need to know of a machine.
struct Machine {
  std::string cpu;             // LLVM's name: znver4, x86-64-v3
  std::string triple;
  int vector_bytes = 16;       // widest useful vector: 16, 32, 64
  int vector_registers = 16;
  bool masked = false;         // masks for free (AVX-512VL, SVE)
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 8 << 20;
  // For estimates; of one core, in cycles and bytes a cycle. Loads, stores and multiply-adds are of at most datapath_bytes;
  // wider vectors take several of them.
  int datapath_bytes = 64;
  double passes(int64_t bytes) const { return bytes <= datapath_bytes ? 1.0 : static_cast<double>(bytes) / datapath_bytes; }
  double fma_per_cycle = 2, loads_per_cycle = 2, stores_per_cycle = 1, fma_latency = 4, gigahertz = 4;
  double l2_bandwidth = 48, l3_bandwidth = 20, memory_bandwidth = 6;
  int threads = 1;             // threads that the code is laid out for; any number may run it
  bool device = false;         // steps are launched on a device, each after all those before it
  double factor_epsilon = 0;   // what factors of products that are summed lose, where that is more than their type does
};

// Forms of code. A target writes some of them and refuses the others.
enum class EmitKind : uint8_t { LlvmIr, Assembly, Object, Cuda, Ptx };

// What a run of a program needs besides its tensors, in bytes.
struct MemoryNeeds {
  int64_t arena_bytes = 0;    // the program's arena and the shared buffers of its kernels
  int64_t scratch_bytes = 0;  // of each thread
  int64_t weights_bytes = 0;
};

// All of it is pure, so that a target which passes questions on to another (driver/forwarding_target.h) cannot forget one.
class Target {
 public:
  virtual ~Target() = default;
  virtual std::string text() const = 0;  // parses back: llvm:cpu=znver4
  virtual const Machine& machine() const = 0;

  // A good schedule without tuning: always lowers. `threads` is machine().threads.
  virtual Schedule default_schedule(const StageGroup& g) const = 0;
  // What may be tried instead. Null where there is nothing to choose.
  virtual std::unique_ptr<Space> space(const StageGroup&) const = 0;
  // What a run of this group takes with its default schedule, by the draft, in microseconds: passes compare ways to
  // compute the same by it. Infinite where there is no estimate.
  virtual double estimate_us(const StageGroup&) const = 0;
  // What tensors of f32 between kernels, and what the weights of products, should be stored as; arithmetic stays what it is. Asked by the
  // pass narrow_storage.
  virtual DType storage() const = 0;
  virtual DType weights() const = 0;
  // Does scaling an operand of a product where it is loaded cost next to nothing? Else the pass gate_weights scales weights.
  virtual bool scales_operands() const = 0;
  // Would this group, made of two that feed one another, run faster as one nest? Asked by the passes fuse_chains and
  // recognize_attention.
  virtual bool prefers_one_nest(const StageGroup&) const = 0;
  // What a group takes as one nest by estimate, in microseconds, 0 where nothing is known of its kind: chains are cut where the sum
  // is least. None: they are cut where the fewest bytes go through memory.
  virtual std::optional<double> nest_us(const StageGroup&) const = 0;

  // Should functions that do not depend on one another be one, whose parts run at once? Asked by the pass join_steps of devices.
  virtual bool prefers_one_launch(std::span<const Function* const>) const = 0;

  // Code for the whole program: text of one kind, or the bytes of an object file. UserError names the kinds that there are.
  virtual std::string emit(const Program& p, EmitKind kind) const = 0;
  // A complete shared library that says `metadata`, the JSON of docs/artifact.md, of itself, with what only building makes
  // known: where images of kernels stand.
  virtual std::string build(const Program& p, const std::string& metadata) const = 0;
  virtual MemoryNeeds memory(const Program& p) const = 0;
  // CPU features that the generated code needs, by LLVM's names.
  virtual std::vector<std::string> required_features() const = 0;
};

// Answers for what a target has no opinion about.
class BasicTarget : public Target {
 public:
  std::unique_ptr<Space> space(const StageGroup&) const override { return nullptr; }
  double estimate_us(const StageGroup&) const override { return std::numeric_limits<double>::infinity(); }
  DType storage() const override { return DType::F32; }
  DType weights() const override { return storage(); }
  bool scales_operands() const override { return false; }
  bool prefers_one_nest(const StageGroup&) const override { return false; }
  std::optional<double> nest_us(const StageGroup&) const override { return std::nullopt; }
  bool prefers_one_launch(std::span<const Function* const>) const override { return false; }
};

// "native", "llvm", "llvm:cpu=x86-64-v3,threads=2", "cuda:sm_90,precision=tf32". UserError lists the known targets.
std::shared_ptr<const Target> make_target(std::string_view text, int threads);

}  // namespace burnish
