// What is half done on disk is finished, or removed, before Ctrl-C ends the process.
#pragma once

#include <csignal>
#include <initializer_list>

namespace burnish {

// Holds back SIGINT, SIGTERM and SIGHUP from this thread, and from threads that it starts, while it lives.
class HoldSignals {
 public:
  HoldSignals() {
    sigset_t held;
    sigemptyset(&held);
    for (int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&held, s);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~HoldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  HoldSignals(const HoldSignals&) = delete;
  HoldSignals& operator=(const HoldSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace burnish
