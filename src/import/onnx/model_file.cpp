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

enum class Form { Good, Malformed, CutOff, TooDeep };

// Walks the wire format without building anything, to learn how many messages a parser would build.
class MessageCounter {
 public:
  Form walk(std::string_view bytes, Kind kind, int depth) {
    if (depth > max_depth) return Form::TooDeep;
    // A message inside another has its length: only the outermost can be cut off.
    const Form ends_early = depth == 0 ? Form::CutOff : Form::Malformed;
    size_t at = 0;
    while (at < bytes.size()) {
      uint64_t tag = 0, value = 0;
      if (!varint(bytes, at, tag)) return ends_early;
      switch (tag & 7) {
      case 0:
        if (!varint(bytes, at, value)) return ends_early;
        break;
      case 1: at += 8; break;
      case 5: at += 4; break;
      case 2: {
        if (!varint(bytes, at, value) || value > bytes.size() - at) return ends_early;
        if (++count_ > max_messages) return Form::Good;
        const Kind child = child_kind(kind, static_cast<uint32_t>(tag >> 3));
        if (child != Kind::Leaf) {
          const Form inner = walk(bytes.substr(at, value), child, depth + 1);
          if (inner != Form::Good) return inner;
        }
        at += value;
        break;
      }
      default: return Form::Malformed;  // groups occur in no ONNX message
      }
      if (at > bytes.size()) return ends_early;
    }
    return Form::Good;
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

// Every writer of protobuf puts a model's first field, the version of the format, first.
bool starts_with_version(std::string_view bytes) { return bytes.starts_with('\x08'); }

[[noreturn]] void refuse(std::string_view bytes, Form form, std::string_view name) {
  if (form == Form::TooDeep) fail_user("{} nests deeper than {} levels: refused", name, max_depth);
  if (!starts_with_version(bytes)) fail_user("{} is no ONNX model", name);
  if (form == Form::CutOff) {
    fail_user("{} is truncated: it ends after {} bytes, inside a message; copy it anew", name,
              bytes.size());
  }
  fail_user("{} is damaged: a message inside it is not well-formed", name);
}

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
  require(!bytes.starts_with("\x7f"
                             "ELF"),
          "{} is a compiled library or a program: give the model that it was made from", name);
  MessageCounter counter;
  const Form form = counter.walk(bytes, Kind::Model, 0);
  if (form != Form::Good) refuse(bytes, form, name);
  require(counter.count() <= max_messages, "{} holds more than {} messages: refused", name,
          max_messages);

  auto model = std::make_unique<onnx_pb::ModelProto>();
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  in.SetTotalBytesLimit(static_cast<int>(bytes.size()));
  in.SetRecursionLimit(max_depth);
  require(model->ParseFromCodedStream(&in) && in.ConsumedEntireMessage(),
          "{} {}, or its types nest deeper than {} levels", name,
          starts_with_version(bytes) ? "is damaged" : "is no ONNX model", max_depth);
  require(model->has_graph(), "{} holds no graph: it is no ONNX model, or is truncated", name);
  return model;
}

}  // namespace burnish::onnx
