// What a search and its workers say to one another: frames over any stream of bytes. A frame is a header of 16 bytes
// (magic "BRNW", version, type, number of the request, length; little endian), then the payload. Nothing here reads or
// writes: what came in is fed, what goes out is a string, so that a pipe, a socket or a file of recorded talk will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace burnish::search {

inline constexpr uint16_t protocol_version = 2;
inline constexpr uint32_t most_payload = uint32_t{1} << 30;

enum class MessageType : uint16_t {
  Hello = 1,  // worker, once: it is there
  Setup,      // to a worker, once: what it shall be
  Ready,      // its answer
  Build,      // a schedule to code
  Built,
  Run,        // code to times
  Ran,
  Compare,    // libraries against each other
  Compared,
  Phase,      // worker: what it does now, so that its death or silence can be told about
};
bool is_message_type(uint16_t number);

struct Message {
  MessageType type = MessageType::Hello;
  uint32_t request = 0;  // an answer has the number of what it answers
  std::string payload;
};

// The bytes of a frame. InternalError when the payload is too long.
std::string frame(const Message& m);

// Bytes in, messages out.
class FrameReader {
 public:
  void feed(std::string_view bytes);
  // The next whole message; nothing when there is none yet, or when the stream is broken.
  std::optional<Message> next();
  // Why the stream cannot go on; empty: it can. The other side is then no worker of ours, or its memory is damaged.
  const std::string& broken() const { return broken_; }

 private:
  std::string bytes_;
  size_t at_ = 0;
  std::string broken_;
};

}  // namespace burnish::search
