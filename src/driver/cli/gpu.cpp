#include "driver/cli/gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace burnish::cli {

std::optional<std::vector<GpuStep>> gpu_steps(const Model& model) {
  using nlohmann::json;
  // The runtime has checked what it uses itself; figures for people are looked at here.
  const json all = json::parse(model.metadata());
  if (!all.contains("device")) return {};
  const json& kernels = all["device"]["kernels"];
  const auto number = [](const json& j, const char* key) {
    const auto at = j.find(key);
    return at != j.end() && at->is_number_unsigned() ? at->get<int64_t>() : 0;
  };
  std::vector<GpuStep> steps(model.info().steps);
  for (const json& launch : all["device"]["launches"]) {
    GpuStep& step = steps.at(static_cast<size_t>(number(launch, "step")));
    const json& kernel = kernels.at(static_cast<size_t>(number(launch, "kernel")));
    ++step.launches;
    step.blocks += number(launch, "blocks");
    step.threads = std::max(step.threads, static_cast<int>(number(kernel, "threads")));
    step.registers = std::max(step.registers, static_cast<int>(number(kernel, "registers")));
    step.spill_bytes = std::max(step.spill_bytes, number(kernel, "spill_bytes"));
    step.block_bytes = std::max(step.block_bytes, number(kernel, "block_bytes"));
  }
  return steps;
}

// Multiply-adds of dense matrices a multiprocessor finishes in a cycle, from NVIDIA's white papers;
// f32 with all its bits takes three products of TF32, or the ordinary units.
GpuPeaks gpu_peaks(const burnish_device_info& gpu, const std::string& target) {
  struct Rates {
    int capability, f32, tf32, fp16;
  };
  constexpr Rates known[] = {{75, 64, 0, 512},       {80, 64, 512, 1024}, {86, 128, 256, 512},
                             {87, 128, 512, 1024},   {89, 128, 256, 512}, {90, 128, 1024, 2048},
                             {100, 128, 2048, 4096}, {120, 128, 256, 512}};
  const int capability = 10 * gpu.major + gpu.minor;
  Rates rates = known[0];
  for (const Rates& r : known)
    if (r.capability <= capability) rates = r;
  int a_cycle = std::max(rates.f32, rates.tf32 / 3);
  if (target.find("precision=tf32") != target.npos) a_cycle = std::max(rates.f32, rates.tf32);
  for (const char* halves : {"precision=fp16", "precision=bf16"})
    if (target.find(halves) != target.npos) a_cycle = rates.fp16;
  return {.macs = static_cast<double>(gpu.processors) * static_cast<double>(gpu.clock_hz) * a_cycle,
          .bytes = static_cast<double>(gpu.memory_rate)};
}

std::string described(const burnish_device_info& gpu) {
  return fmt::format("{}, sm_{}{}", gpu.name, gpu.major, gpu.minor);
}

}  // namespace burnish::cli
