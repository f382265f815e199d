// The threads of a session (or of several that share them): one parallel region at a time, with
// barriers inside.
//
// A worker waits on its own word, the caller on one, a barrier on one; every wait spins first and
// then sleeps on the word (futex). Spinning stops at once where the thread that is waited for may
// need the CPU of the one that waits: while more threads of the process's pools are awake than
// there are CPUs, or when another thread of the pool was last seen on the same CPU. (Yielding
// instead would hand the CPU to any other program for a whole time slice.)
//
// Threads that wake each other on one CPU may stay there though another CPU is idle: one sleeps
// whenever the other runs, and in a virtual machine the system takes a halted CPU for a busy one.
// So a worker that was seen on the CPU of another thread of its pool is forbidden the CPUs of all
// others before it is woken again.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

namespace burnish::runtime {

// A 32-bit word that threads wait on until it changes.
struct alignas(64) Signal {
  std::atomic<std::uint32_t> word{0};
  std::atomic<std::uint32_t> sleepers{0};
};

struct PoolOptions {
  std::uint32_t threads = 0;  // 0: the CPUs of the calling thread's mask
  std::int32_t spin_us = 0;   // 0: 100; negative: never
  bool pin = false;
};

class Pool {
 public:
  static constexpr std::uint32_t max_threads = 1024;

  explicit Pool(const PoolOptions& options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  std::uint32_t threads() const { return threads_; }

  // job(ctx, t) on threads t = 0 .. count-1, 0 being the caller; returns when all have returned.
  // count <= threads(). Calls from several threads take turns. Allocates nothing.
  using Job = void (*)(void* ctx, std::uint32_t thread);
  void run(std::uint32_t count, Job job, void* ctx);

  // Inside a job, on thread `thread`: returns when all its threads have come here.
  void barrier(std::uint32_t thread);

 private:
  // One of the threads; number 0 is whoever calls run.
  struct Member {
    Signal start;
    std::atomic<int> cpu{-1};  // where it last ran; when woken, it most likely waits there
    cpu_set_t allowed{},
        put{};  // CPUs of a worker that may be kept apart; those that it was left last
    std::uint32_t index = 0;
    Pool* pool = nullptr;
    pthread_t thread{};

    void seen_here();
  };

  static void* worker_main(void* member);
  void work(Member& self);
  void stop(std::uint32_t count);
  // Until signal.word differs from `old`.
  void wait(Member& self, Signal& signal, std::uint32_t old) const;
  bool spin(const Member& self, const Signal& signal, std::uint32_t old) const;
  bool in_the_way(const Member& self) const;
  void keep_apart(std::uint32_t count);

  std::uint32_t threads_ = 1;
  std::uint32_t cpus_ = 1;       // how many threads of the process may run at once
  bool always_crowded_ = false;  // more threads than the creator's mask has CPUs
  bool may_keep_apart_ = false;
  pid_t process_ = 0;
  std::chrono::nanoseconds spin_time_{};
  std::unique_ptr<Member[]> members_;
  std::mutex turn_;

  // Of the running job; written by the caller while the workers wait.
  Job job_ = nullptr;
  void* ctx_ = nullptr;
  std::atomic<std::uint32_t> count_{1};
  std::atomic<bool> stopping_{false};

  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  Signal released_;  // barriers that all have reached
  alignas(64) std::atomic<std::uint32_t> finished_{0};
  Signal done_;  // jobs that all workers have finished
};

}  // namespace burnish::runtime

struct burnish_pool {
  std::shared_ptr<burnish::runtime::Pool> pool;
};
