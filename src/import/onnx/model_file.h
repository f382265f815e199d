// Reading an ONNX file into its messages, with what a hostile file may cost bounded beforehand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace burnish::onnx_pb {
class ModelProto;
}

namespace burnish::onnx {

// A file mapped into memory, read-only.
class MappedFile {
 public:
  MappedFile(const std::filesystem::path& file, uint64_t limit);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// UserError unless `bytes` is one whole ONNX model with a graph.
std::unique_ptr<onnx_pb::ModelProto> parse_model(std::string_view bytes, std::string_view name);

}  // namespace burnish::onnx
