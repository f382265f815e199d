// The worker's side of the talk: one request at a time, each answered.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>

#include "base/error.h"
#include "search/measure/protocol.h"
#include "search/worker/worker.h"

namespace burnish::search {

namespace {

// Nothing is left to do: the other side is gone, or talks nonsense.
struct Over {
  bool nonsense;
};

class Talk : public Teller {
 public:
  explicit Talk(int socket) : socket_(socket) {}

  Message receive() {
    for (;;) {
      if (auto m = in_.next()) return std::move(*m);
      if (!in_.broken().empty()) throw Over{true};
      char buffer[1 << 16];
      const ssize_t n = read(socket_, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw Over{false};
      in_.feed({buffer, static_cast<size_t>(n)});
    }
  }

  void send(MessageType type, uint32_t request, std::string payload) {
    const std::string bytes = frame({type, request, std::move(payload)});
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t n = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw Over{false};
      sent += static_cast<size_t>(n);
    }
  }

  void phase(Phase p) override { send(MessageType::Phase, request, encode(p)); }

  uint32_t request = 0;  // the one in work

 private:
  int socket_;
  FrameReader in_;
};

void serve(Talk& talk) {
  std::optional<Builder> builder;
  std::optional<Runner> runner;
  const auto unexpected = [](MessageType t) {
    fail_user("a message of type {} that this worker cannot answer", static_cast<int>(t));
  };
  talk.send(MessageType::Hello, 0, {});
  for (;;) {
    const Message m = talk.receive();
    talk.request = m.request;
    switch (m.type) {
      case MessageType::Setup: {
        Setup setup;
        decode(m.payload, setup);
        // A GPU's driver maps all memory that there is, and starts programs of its own; candidates are code for the GPU.
        limit_memory(setup.device && setup.role == Role::Runner ? 0 : setup.memory_bytes);
        if (setup.role == Role::Builder) {
          constexpr int politeness = 5;  // to the runner of candidates on a device, who works meanwhile
          if (setup.device) setpriority(PRIO_PROCESS, 0, politeness);
          builder.emplace(setup);
        } else {
          runner.emplace(setup, talk);
          if (!setup.device) forbid_processes();  // a wish: the group is ended with the worker in any case
        }
        talk.send(MessageType::Ready, m.request, {});
        break;
      }
      case MessageType::Build: {
        if (!builder) unexpected(m.type);
        BuildRequest r;
        decode(m.payload, r);
        talk.send(MessageType::Built, m.request, encode(builder->build(r)));
        break;
      }
      case MessageType::Run: {
        if (!runner) unexpected(m.type);
        RunRequest r;
        decode(m.payload, r);
        talk.send(MessageType::Ran, m.request, encode(runner->run(r)));
        break;
      }
      case MessageType::Compare: {
        if (!runner) unexpected(m.type);
        CompareRequest r;
        decode(m.payload, r);
        talk.send(MessageType::Compared, m.request, encode(compare(r)));
        break;
      }
      case MessageType::Hello: case MessageType::Ready: case MessageType::Built: case MessageType::Ran:
      case MessageType::Compared: case MessageType::Phase: unexpected(m.type);
    }
  }
}

}  // namespace

int serve(int socket, const std::string& folder) {
  end_with(socket, folder);
  Talk talk(socket);
  try {
    serve(talk);
  } catch (const Over& over) {
    if (!over.nonsense) sleep(10);  // end_with clears up, and then ends this process
    return over.nonsense;
  } catch (const std::bad_alloc&) {
    std::fputs("out of memory\n", stderr);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  return 1;
}

}  // namespace burnish::search
