// A worker process from the parent's side: started, spoken to without waiting, ended with all that it started.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "search/measure/protocol.h"

namespace burnish::search {

// The program of workers: `wanted`, or BURNISH_WORKER, or "burnish-worker" beside this program or library, in ../bin,
// or where the build puts it. UserError when there is none.
std::string find_worker(const std::string& wanted);

// How a process ended.
struct Death {
  int signal = 0, code = 0;   // one of them, unless the cause is unknown
  bool killed = false;        // by us
  bool nonsense = false;      // because what it sent was no message
  std::string text;           // "was ended by SIGSEGV (invalid memory reference)", and what it said last
};

class Worker {
 public:
  // In a process group of its own, with nothing of this process but a socket. Its temporary files go into `folder`, which
  // it removes when this process is gone. UserError when it cannot be started.
  Worker(const std::string& program, const std::string& folder);
  ~Worker();  // ends the whole group
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  pid_t pid() const { return pid_; }
  void send(const Message& m);  // queued; goes out as the worker reads
  // The next message that has come.
  std::optional<Message> next() { return in_.next(); }
  // No more messages will come: the worker ended, closed its socket, or sends what is no message.
  bool gone() const { return gone_ || !in_.broken().empty(); }
  // Ends the group if it still runs, and says how the worker ended. Later calls say the same.
  const Death& end();

 private:
  friend void wait_for(std::span<Worker* const> workers, Clock::time_point until);
  void write();
  void read();
  void collect(bool killed);
  std::string last_words() const;

  pid_t pid_ = -1;
  int socket_ = -1, stderr_ = -1;
  std::string out_;
  size_t sent_ = 0;
  FrameReader in_;
  bool gone_ = false;
  std::optional<Death> death_;
};

// Moves bytes until one of the workers has something to tell or is gone, or until the time. Signals end the wait early.
void wait_for(std::span<Worker* const> workers, Clock::time_point until);

}  // namespace burnish::search
