// The CPU target: options, detection, and the parts of the folder behind the interface.
#include "target/llvm/target.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "target/llvm/attention.h"
#include "target/llvm/isa.h"
#include "target/llvm/module.h"
#include "target/llvm/space.h"
#include "target/weights.h"

namespace burnish::llvm_target {

namespace {

// "48K" of /sys/devices/system/cpu/cpu0/cache/index*/size; 0 when the level is absent.
int64_t cache_bytes(int level) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/devices/system/cpu/cpu0/cache", error)) {
    auto text = [&](const char* file) -> std::string {
      try {
        return std::string(trim(read_file(entry.path() / file, 4096)));
      } catch (const UserError&) {
        return {};  // not a cache
      }
    };
    if (text("level") != std::to_string(level) || text("type") == "Instruction") continue;
    std::string size = text("size");
    int64_t n = 0;
    auto end = std::from_chars(size.data(), size.data() + size.size(), n).ptr;
    char unit = end < size.data() + size.size() ? *end : 'B';
    return unit == 'K' ? n << 10 : unit == 'M' ? n << 20 : n;
  }
  return 0;
}

class LlvmTarget : public BasicTarget {
 public:
  LlvmTarget(Isa isa, Machine machine) : isa_(std::move(isa)), machine_(std::move(machine)) {}

  std::string text() const override {
    std::string s = "llvm:cpu=" + isa_.cpu;
    if (!isa_.features.empty()) {
      for (const std::string& f : split_text(isa_.features, ',')) s += "," + f;
    }
    if (isa_.triple != host_triple()) s += ",triple=" + isa_.triple;
    return s + fmt::format(",threads={}", machine_.threads);
  }
  const Machine& machine() const override { return machine_; }
  Schedule default_schedule(const StageGroup& g) const override {
    return llvm_target::default_schedule(g, machine_);
  }
  std::unique_ptr<Space> space(const StageGroup& g) const override { return make_space(g, machine_); }
  double estimate_us(const StageGroup& g) const override {
    // Drafts divide by extents.
    const auto empty = [](const Stage& s) { return s.is_compute() && points(s.axes) == 0; };
    if (std::ranges::any_of(g.stages, empty)) return 0;
    const auto space = make_space(g, machine_);
    return space ? space->draft_us(space->default_point()) : std::numeric_limits<double>::infinity();
  }
  bool prefers_one_nest(const StageGroup& g) const override { 
    return chain_pays(g, machine_) || attention_pays(g, machine_);
  }
  std::string emit(const Program& p, EmitKind kind) const override { return emit_program(p, isa_, kind); }
  std::string build(const Program& p, const std::string& metadata) const override {
    return build_program(p, isa_, metadata);
  }
  MemoryNeeds memory(const Program& p) const override {
    ProgramMemory m = memory_of(p);
    return {.arena_bytes = m.arena, .scratch_bytes = m.scratch, .weights_bytes = weights_bytes(p)};
  }
  std::vector<std::string> required_features() const override { return llvm_target::required_features(isa_); }

 private:
  Isa isa_;
  Machine machine_;
};

}  // namespace

std::shared_ptr<const Target> make_llvm_target(std::string_view options, int threads) {
  Isa isa;
  isa.triple = host_triple();
  isa.cpu = "native";
  std::vector<std::string> features;
  for (const std::string& option : split_text(options, ',')) {
    std::string_view o = trim(option);
    if (o.empty()) continue;
    size_t eq = o.find('=');
    std::string_view name = o.substr(0, eq), value = eq == o.npos ? "" : o.substr(eq + 1);
    if (eq == o.npos && (o[0] == '+' || o[0] == '-')) {
      features.emplace_back(o);
    } else if (name == "cpu" && !value.empty()) {
      isa.cpu = value;
    } else if (name == "triple" && !value.empty()) {
      isa.triple = value;
    } else if (name == "threads") {
      auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
      require(error == std::errc() && end == value.data() + value.size() && threads >= 1 && threads <= 4096,
              "threads={} is not a number of threads from 1 to 4096", value);
    } else if (name == "precision") {
      require(value == "strict", "precision={}: CPUs compute as the model says, which is precision=strict; others are for cuda", value);
    } else {
      fail_user("unknown option \"{}\" of the target llvm; known are cpu=, triple=, threads=, +feature and -feature", o);
    }
  }
  bool native = isa.cpu == "native";
  if (native) {
    require(isa.triple == host_triple(), "cpu=native is {}; say which CPU of {} is meant", host_triple(), isa.triple);
    isa = host_isa();
  }
  if (!features.empty()) {
    isa.features += (isa.features.empty() ? "" : ",") + join(features, ",");
  }
  isa = complete(isa);

  Machine m;
  m.cpu = isa.cpu;
  m.triple = isa.triple;
  m.vector_bytes = isa.vector_bytes;
  m.vector_registers = isa.registers;
  m.masked = isa.masked;
  m.datapath_bytes = isa.datapath_bytes;
  m.threads = std::max(1, threads);
  if (native) {
    if (int64_t n = cache_bytes(1)) m.l1_bytes = n;
    if (int64_t n = cache_bytes(2)) m.l2_bytes = n;
    // Other cores and what streams past take their part of it: with all of 32 MB counted on, Winograd convolutions of
    // PP-OCR's detector became 7% slower.
    constexpr int64_t share = 4;
    if (int64_t n = cache_bytes(3)) m.l3_bytes = n / share;
  }
  return std::make_shared<LlvmTarget>(std::move(isa), std::move(m));
}

}  // namespace burnish::llvm_target
