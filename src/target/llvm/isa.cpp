#include "target/llvm/isa.h"

#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "target/llvm/emit.h"

namespace burnish::llvm_target {

namespace {

// What LLVM may use in compiled kernels and a runtime can ask the CPU for. Others (virtualisation, random numbers,
// cache control) never appear in such code.
constexpr std::array x86_features = {
    "sse2",     "sse3",     "ssse3",    "sse4.1",     "sse4.2",      "popcnt",     "lzcnt",      "movbe",
    "bmi",      "bmi2",     "avx",      "f16c",       "fma",         "avx2",       "avxvnni",    "avx512f",
    "avx512cd", "avx512bw", "avx512dq", "avx512vl",   "avx512ifma",  "avx512vbmi", "avx512vbmi2", "avx512vnni",
    "gfni",     "vaes",     "vpclmulqdq", "avx512bitalg", "avx512vpopcntdq", "avx512bf16", "avx512fp16",
    "avx512vp2intersect", "sse4a", "xop", "fma4", "avxifma", "avxvnniint8", "avxneconvert", "avxvnniint16"};
constexpr std::array arm_features = {"neon", "fullfp16", "dotprod", "sve", "sve2", "fp16fml", "i8mm", "bf16", "rdm", "lse"};

bool has(const llvm::TargetMachine& tm, std::string_view feature) {
  return tm.getMCSubtargetInfo()->checkFeatures("+" + std::string(feature));
}

// The best of the x86-64 levels for a CPU that LLVM cannot name.
std::string level_of(const llvm::StringMap<bool>& host) {
  auto all = [&](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(), [&](const char* n) { return host.lookup(n); });
  };
  if (all({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})) return "x86-64-v4";
  if (all({"avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"})) return "x86-64-v3";
  return all({"sse4.2", "popcnt", "ssse3"}) ? "x86-64-v2" : "x86-64";
}

}  // namespace

std::string host_triple() { return llvm::sys::getDefaultTargetTriple(); }

Isa host_isa() {
  Isa isa;
  isa.triple = host_triple();
  isa.cpu = llvm::sys::getHostCPUName().str();
  llvm::Triple triple(isa.triple);
  if (triple.isX86()) {
    auto host = llvm::sys::getHostCPUFeatures();
    if (isa.cpu == "generic" || isa.cpu == "x86-64" || isa.cpu.empty()) isa.cpu = level_of(host);
    // A virtual machine may hide what the named CPU has.
    auto tm = make_machine(isa);
    std::vector<std::string> hidden;
    for (const char* f : x86_features) {
      if (has(*tm, f) && !host.lookup(f)) hidden.push_back(fmt::format("-{}", f));
    }
    isa.features = join(hidden, ",");
  }
  return complete(isa);
}

Isa complete(Isa isa) {
  initialize_llvm();
  std::unique_ptr<llvm::TargetMachine> tm;
  {
    Isa plain = isa;
    plain.cpu.clear();
    auto any = make_machine(plain);
    require(any->getMCSubtargetInfo()->isCPUStringValid(isa.cpu),
            "the CPU \"{}\" is not known for {}; say for example cpu=x86-64-v3, cpu=znver4 or cpu=native", isa.cpu,
            isa.triple);
    tm = make_machine(isa);
  }
  if (llvm::Triple(isa.triple).isX86()) {
    isa.fma = has(*tm, "fma");
    isa.f16c = has(*tm, "f16c");
    isa.rounding = has(*tm, "sse4.1");
    bool wide = has(*tm, "avx512f") && has(*tm, "avx512vl") && has(*tm, "avx512bw") && has(*tm, "avx512dq");
    isa.masked = isa.scalef = isa.permute = wide;
    isa.vector_bytes = wide ? 64 : has(*tm, "avx") ? 32 : 16;
    isa.registers = wide ? 32 : 16;
    // Zen 4 works on 512-bit vectors in two halves.
    isa.datapath_bytes = isa.cpu == "znver4" ? 32 : 64;
  } else {
    isa.fma = isa.f16c = isa.rounding = true;
    isa.registers = 32;
  }
  return isa;
}

std::vector<std::string> required_features(const Isa& isa) {
  auto tm = make_machine(isa);
  std::vector<std::string> r;
  auto collect = [&](const auto& names) {
    for (const char* f : names) {
      if (has(*tm, f)) r.push_back(f);
    }
  };
  if (llvm::Triple(isa.triple).isX86()) {
    collect(x86_features);
  } else {
    collect(arm_features);
  }
  return r;
}

}  // namespace burnish::llvm_target
