// Writes ONNX models byte by byte, so that tests can also write what no ONNX library would.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace burnish::test {

// One protobuf message.
class Message {
 public:
  Message& number(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(int field, const Message& m) { return bytes(field, m.text_); }
  Message& floating(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  // A length that need not be true.
  Message& length(int field, uint64_t claimed) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(claimed);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) text_ += static_cast<char>(v | 0x80);
    text_ += static_cast<char>(v);
  }
  std::string text_;
};

enum OnnxType {
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kHalf = 10
};

inline Message int_attribute(const std::string& name, int64_t v) {
  return Message().bytes(1, name).number(3, v).number(20, 2);
}
inline Message ints_attribute(const std::string& name, const std::vector<int64_t>& vs) {
  Message m;
  m.bytes(1, name).number(20, 7);
  for (int64_t v : vs) m.number(8, v);
  return m;
}
inline Message float_attribute(const std::string& name, float v) {
  return Message().bytes(1, name).floating(2, v).number(20, 1);
}
inline Message string_attribute(const std::string& name, const std::string& v) {
  return Message().bytes(1, name).bytes(4, v).number(20, 3);
}
inline Message graph_attribute(const std::string& name, const Message& graph) {
  return Message().bytes(1, name).message(6, graph).number(20, 5);
}

inline Message node(const std::string& op, const std::vector<std::string>& inputs,
                    const std::vector<std::string>& outputs,
                    const std::vector<Message>& attributes = {}, const std::string& name = "",
                    const std::string& domain = "") {
  Message m;
  for (const auto& i : inputs) m.bytes(1, i);
  for (const auto& o : outputs) m.bytes(2, o);
  if (!name.empty()) m.bytes(3, name);
  m.bytes(4, op);
  for (const auto& a : attributes) m.message(5, a);
  if (!domain.empty()) m.bytes(7, domain);
  return m;
}

template <class T> std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline Message tensor(const std::string& name, int type, const std::vector<int64_t>& dims,
                      std::string_view data) {
  Message m;
  for (int64_t d : dims) m.number(1, d);
  return m.number(2, type).bytes(8, name).bytes(9, data);
}
inline Message int_tensor(const std::string& name, const std::vector<int64_t>& values) {
  return tensor(name, kInt64, {static_cast<int64_t>(values.size())}, raw(values));
}

inline Message external_tensor(const std::string& name, const std::vector<int64_t>& dims,
                               const std::string& location,
                               const std::vector<std::pair<std::string, std::string>>& more = {}) {
  Message m;
  for (int64_t d : dims) m.number(1, d);
  m.number(2, kFloat).bytes(8, name).number(14, 1);
  m.message(13, Message().bytes(1, "location").bytes(2, location));
  for (const auto& [key, value] : more) m.message(13, Message().bytes(1, key).bytes(2, value));
  return m;
}

// A dimension: a size, or a symbol.
struct Dim {
  Dim(int v) : size(v) {}
  Dim(int64_t v) : size(v) {}
  Dim(const char* s) : symbol(s) {}
  int64_t size = 0;
  std::string symbol;
};

inline Message value_info(const std::string& name, int type, const std::vector<Dim>& dims) {
  Message shape;
  for (const Dim& d : dims) {
    shape.message(1, d.symbol.empty() ? Message().number(1, d.size) : Message().bytes(2, d.symbol));
  }
  return Message().bytes(1, name).message(
      2, Message().message(1, Message().number(1, type).message(2, shape)));
}

struct GraphParts {
  std::vector<Message> nodes, initializers, inputs, outputs;
};

inline Message graph(const GraphParts& p) {
  Message m;
  for (const auto& n : p.nodes) m.message(1, n);
  m.bytes(2, "g");
  for (const auto& i : p.initializers) m.message(5, i);
  for (const auto& i : p.inputs) m.message(11, i);
  for (const auto& o : p.outputs) m.message(12, o);
  return m;
}

inline Message opset(const std::string& domain, int64_t version) {
  return Message().bytes(1, domain).number(2, version);
}

inline std::string model(const GraphParts& p, int64_t version = 17,
                         const std::vector<Message>& functions = {}) {
  Message m;
  m.number(1, 8).message(8, opset("", version)).message(8, opset("local", 1)).message(7, graph(p));
  for (const auto& f : functions) m.message(25, f);
  return m.text();
}

}  // namespace burnish::test
