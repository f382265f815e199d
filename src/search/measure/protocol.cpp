#include "search/measure/protocol.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace burnish::search {

namespace {

constexpr std::string_view magic = "BRNW";
constexpr size_t header_bytes = 16;

void put(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

uint32_t get(std::string_view in, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= uint32_t{static_cast<unsigned char>(in[at + i])} << (8 * i);
  return value;
}

}  // namespace

bool is_message_type(uint16_t number) {
  return number >= static_cast<uint16_t>(MessageType::Hello) && number <= static_cast<uint16_t>(MessageType::Phase);
}

std::string frame(const Message& m) {
  check(m.payload.size() <= most_payload, "a message of {} bytes, more than {}", m.payload.size(), most_payload);
  std::string out(magic);
  out.reserve(header_bytes + m.payload.size());
  put(out, protocol_version, 2);
  put(out, static_cast<uint16_t>(m.type), 2);
  put(out, m.request, 4);
  put(out, static_cast<uint32_t>(m.payload.size()), 4);
  return out + m.payload;
}

void FrameReader::feed(std::string_view bytes) {
  if (!broken_.empty()) return;
  if (at_ > 0) {
    bytes_.erase(0, at_);
    at_ = 0;
  }
  bytes_ += bytes;
}

std::optional<Message> FrameReader::next() {
  if (!broken_.empty()) return {};
  const std::string_view rest = std::string_view(bytes_).substr(at_);
  const size_t known = std::min(rest.size(), magic.size());
  if (rest.substr(0, known) != magic.substr(0, known)) {
    broken_ = "the stream has bytes that begin no message";
    return {};
  }
  if (rest.size() < header_bytes) return {};
  const uint32_t version = get(rest, 4, 2), type = get(rest, 6, 2), length = get(rest, 12, 4);
  if (version != protocol_version) {
    broken_ = fmt::format("the other side speaks version {} of the protocol, not {}; use programs of one release",
                          version, protocol_version);
  } else if (!is_message_type(static_cast<uint16_t>(type))) {
    broken_ = fmt::format("a message has the unknown type {}", type);
  } else if (length > most_payload) {
    broken_ = fmt::format("a message of {} bytes, more than {}", length, most_payload);
  }
  if (!broken_.empty() || rest.size() - header_bytes < length) return {};
  Message m{static_cast<MessageType>(type), get(rest, 8, 4), std::string(rest.substr(header_bytes, length))};
  at_ += header_bytes + length;
  return m;
}

}  // namespace burnish::search
