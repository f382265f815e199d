// The metadata of a compiled library (docs/artifact.md), parsed and checked.
#pragma once

#include "device_metadata.h"

#include <burnish/runtime.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace burnish::runtime {

struct TensorSpec {
  std::string name;
  burnish_dtype dtype = BURNISH_F32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};

struct StepSpec {
  std::string name, schedule;
  std::vector<std::string> sources;
  std::vector<const char*> source_texts;  // the same, for the C interface
  std::uint64_t macs = 0, bytes = 0;
};

struct Metadata {
  std::string text;
  std::string compiler, triple, cpu, target, weights_hash;
  std::vector<std::string> features;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<StepSpec> steps;
  std::uint32_t threads = 0, most_threads = UINT32_MAX;
  std::uint64_t arena_bytes = 0, scratch_bytes = 0, weights_bytes = 0, macs = 0;
  std::optional<DeviceSpec> device;  // of models for GPUs
};

const char* dtype_name(burnish_dtype dtype);                  // null for a value that is none
std::size_t dtype_size(burnish_dtype dtype);                  // 0 for a value that is none
std::string shape_text(std::span<const std::int64_t> shape);  // "1x3x544x960"; "scalar" for rank 0

// Throws Failure; its text ends the sentence "PATH ...".
Metadata parse_metadata(std::string_view json);
// Does the library suit this machine: system, CPU family, every CPU feature? Throws Failure
// likewise.
void check_machine(const Metadata& metadata);

}  // namespace burnish::runtime
