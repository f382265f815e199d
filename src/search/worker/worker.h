// The program that builds and runs candidates. It may end at any moment: whoever started it expects that.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "search/measure/messages.h"

namespace burnish::search {

// Tells the other side what this worker is doing. Blocks until it is written.
class Teller {
 public:
  virtual ~Teller() = default;
  virtual void phase(Phase p) = 0;
};

class Builder {
 public:
  explicit Builder(const Setup& setup);
  ~Builder();
  BuildReply build(const BuildRequest& r);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Runner {
 public:
  Runner(const Setup& setup, Teller& teller);
  ~Runner();
  RunReply run(const RunRequest& r);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

CompareReply compare(const CompareRequest& r);

// Answers requests from the socket until it is closed; the exit code. `folder`: where its temporary files are.
int serve(int socket, const std::string& folder);

// ---- limits.cpp: what a candidate must not do to the machine.

// Ends this process and its group, and removes `folder`, when the other side of the socket is gone, even while a
// candidate hangs.
void end_with(int socket, const std::string& folder);
// No core files, no large files, and no more address space than now plus `bytes`.
void limit_memory(uint64_t bytes);
// From now on starting a process ends this one (SIGSYS). Threads may be started. False: this system cannot do it.
bool forbid_processes();

}  // namespace burnish::search
