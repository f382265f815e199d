// Weights that a model keeps in files beside it.
//
// The model names those files, and a model is not trusted: only files inside its own folder are
// read, reached without any symbolic link, and only byte ranges that exist.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

namespace burnish::onnx {

struct ExternalRange {
  std::string_view location;  // relative, as the model writes it
  uint64_t offset = 0;
  std::optional<uint64_t> length;  // to the end of the file when absent
};

// Fills `into` from the file. UserError when the location leaves the folder, passes a symbolic
// link, or is not `into.size()` bytes long.
void read_external(const std::filesystem::path& folder, const ExternalRange& range,
                   std::span<std::byte> into);

// Checks all that read_external checks, without reading: called before memory is taken.
void check_external(const std::filesystem::path& folder, const ExternalRange& range,
                    uint64_t bytes_needed);

}  // namespace burnish::onnx
