#include "import/onnx/model_file.h"

#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "onnx.pb.h"

namespace burnish::onnx {

namespace {

// A graph inside an attribute of a node costs four levels: nets nest a few times, bombs without
// end.
constexpr int max_depth = 100;
// A message takes two bytes in the file but some 150 in memory; no network comes near this number.
constexpr uint64_t max_messages = 8'000'000;

// Which fields of a message hold messages that may be many.
enum class Kind { Model, Graph, Function, Node, Attribute, Leaf };

Kind child_kind(Kind parent, uint32_t field) {
  switch (parent) {
  case Kind::Model: return field == 7 ? Kind::Graph : field == 25 ? Kind::Function : Kind::Leaf;
  case Kind::Graph: return field == 1 ? Kind::Node : Kind::Leaf;
  case Kind::Function: return field == 7 ? Kind::Node : Kind::Leaf;
  case Kind::Node: return field == 5 ? Kind::Attribute : Kind::Leaf;
  case Kind::Attribute: return field == 6 || field == 11 ? Kind::Graph : Kind::Leaf;
  case Kind::Leaf: break;
  }
  return Kind::Leaf;
}

// Walks the wire format without building anything, to learn how many messages a parser would build.
class MessageCounter {
 public:
  // False: not well-formed, or too deep.
  bool walk(std::string_view bytes, Kind kind, int depth) {
    if (depth > max_depth) return false;
    size_t at = 0;
    while (at < bytes.size()) {
      uint64_t tag = 0, value = 0;
      if (!varint(bytes, at, tag)) return false;
      switch (tag & 7) {
      case 0:
        if (!varint(bytes, at, value)) return false;
        break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      case 2: {
        if (!varint(bytes, at, value) || value > bytes.size() - at) return false;
        if (++count_ > max_messages) return true;
        const Kind child = child_kind(kind, static_cast<uint32_t>(tag >> 3));
        if (child != Kind::Leaf && !walk(bytes.substr(at, value), child, depth + 1)) return false;
        at += value;
        break;
      }
      default: return false;  // groups occur in no ONNX message
      }
      if (at > bytes.size()) return false;
    }
    return true;
  }
  uint64_t count() const { return count_; }

 private:
  static bool varint(std::string_view bytes, size_t& at, uint64_t& value) {
    for (int shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.size()) return false;
      const auto b = static_cast<uint8_t>(bytes[at++]);
      if (shift < 64) value |= uint64_t{b & 0x7fu} << shift;
      if ((b & 0x80) == 0) return true;
    }
    return false;
  }
  uint64_t count_ = 0;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file, uint64_t limit) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(fd >= 0, "cannot open {}: {}", file.string(), std::strerror(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  struct stat info{};
  require(::fstat(fd, &info) == 0, "cannot read {}: {}", file.string(), std::strerror(errno));
  require(S_ISREG(info.st_mode), "{} is not a regular file", file.string());
  size_ = static_cast<size_t>(info.st_size);
  require(size_ <= limit,
          "{} has {} bytes, but at most {} are read: keep the weights in external data files",
          file.string(), size_, limit);
  if (size_ == 0) return;
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  require(data_ != MAP_FAILED, "cannot map {}: {}", file.string(), std::strerror(errno));
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(data_, size_);
}

std::unique_ptr<onnx_pb::ModelProto> parse_model(std::string_view bytes, std::string_view name) {
  require(!bytes.empty(), "{} is empty: an ONNX model is expected", name);
  require(bytes.size() < (size_t{1} << 31), "{} has {} bytes, but an ONNX file holds at most 2 GB",
          name, bytes.size());
  MessageCounter counter;
  require(counter.walk(bytes, Kind::Model, 0),
          "{} is no ONNX model, is truncated, or nests deeper than {} levels", name, max_depth);
  require(counter.count() <= max_messages, "{} holds more than {} messages: refused", name,
          max_messages);

  auto model = std::make_unique<onnx_pb::ModelProto>();
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  in.SetTotalBytesLimit(static_cast<int>(bytes.size()));
  in.SetRecursionLimit(max_depth);
  require(model->ParseFromCodedStream(&in) && in.ConsumedEntireMessage(),
          "{} is no ONNX model, is truncated, or nests deeper than {} levels", name, max_depth);
  require(model->has_graph(), "{} holds no graph: it is no ONNX model, or is truncated", name);
  return model;
}

}  // namespace burnish::onnx
