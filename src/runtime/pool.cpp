#include "pool.h"

#include "cpu.h"
#include "failure.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>

namespace burnish::runtime {

namespace {

// Threads of this process's pools (and their callers) that are awake: running a job or spinning.
// The one piece of state that all pools share; it decides only how they wait. `awake_process` tells
// a child after fork that the count is stale.
constinit std::atomic<int> awake{0};
constinit std::atomic<pid_t> awake_process{0};

class Awake {
 public:
  Awake() { awake.fetch_add(1, std::memory_order_relaxed); }
  ~Awake() { awake.fetch_sub(1, std::memory_order_relaxed); }
  Awake(const Awake&) = delete;
  Awake& operator=(const Awake&) = delete;
};

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
}

// Changes the word and wakes whoever sleeps on it. Sequentially consistent on both sides: either
// this sees the sleeper, or the sleeper (which counts itself first) sees the new word.
void raise(Signal& signal, std::uint32_t value) {
  signal.word.store(value, std::memory_order_seq_cst);
  if (signal.sleepers.load(std::memory_order_seq_cst) != 0) {
    syscall(SYS_futex, &signal.word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

// IEEE rounding and denormals on every thread of a job, whatever the host program has set on the
// calling one: outputs must not depend on it.
class FloatDefaults {
 public:
#if defined(__x86_64__)
  FloatDefaults() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(0x1f80); }
  ~FloatDefaults() { __builtin_ia32_ldmxcsr(saved_); }

 private:
  unsigned saved_;
#else
  FloatDefaults() : saved_(__builtin_aarch64_get_fpcr()) { __builtin_aarch64_set_fpcr(0); }
  ~FloatDefaults() { __builtin_aarch64_set_fpcr(saved_); }

 private:
  unsigned saved_;
#endif
 public:
  FloatDefaults(const FloatDefaults&) = delete;
  FloatDefaults& operator=(const FloatDefaults&) = delete;
};

void pin_to(pthread_t thread, int cpu) {
  const auto n = static_cast<std::size_t>(cpu);
  cpu_set_t* set = CPU_ALLOC(n + 1);
  if (!set) return;
  CPU_ZERO_S(CPU_ALLOC_SIZE(n + 1), set);
  CPU_SET_S(n, CPU_ALLOC_SIZE(n + 1), set);
  pthread_setaffinity_np(thread, CPU_ALLOC_SIZE(n + 1), set);  // a wish
  CPU_FREE(set);
}

}  // namespace

Pool::Pool(const PoolOptions& options) : process_(getpid()) {
  if (awake_process.exchange(process_) != process_) awake.store(0);
  const std::vector<int> mine = affinity_cpus();
  if (options.threads > max_threads) {
    fail(BURNISH_ERROR_USER, "%u threads are asked for; the most is %u", options.threads,
         max_threads);
  }
  threads_ = options.threads != 0 ? options.threads
                                  : std::min(static_cast<std::uint32_t>(mine.size()), max_threads);
  // Pools that were created under different masks run beside each other: the process's mask is what
  // they share.
  cpus_ = static_cast<std::uint32_t>(std::max(mine.size(), affinity_cpus(process_).size()));
  always_crowded_ = threads_ > mine.size();
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (!options.pin && !always_crowded_ && mine.back() < CPU_SETSIZE) {
    for (const int cpu : mine) CPU_SET(static_cast<unsigned>(cpu), &allowed);
    may_keep_apart_ = true;
  }
  spin_time_ = std::chrono::microseconds(options.spin_us == 0 ? 100 : std::max(0, options.spin_us));
  members_ = std::make_unique<Member[]>(threads_);
  if (threads_ == 1) return;

  // Signals are the business of the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::uint32_t count = 1;
  int error = 0;
  for (; count < threads_; ++count) {
    Member& m = members_[count];
    m.pool = this;
    m.index = count;
    m.allowed = m.put = allowed;
    error = pthread_create(&m.thread, nullptr, worker_main, &m);
    if (error != 0) break;
    char name[24];
    std::snprintf(name, sizeof name, "burnish-%u", count);
    pthread_setname_np(m.thread, name);
    if (options.pin) pin_to(m.thread, mine[count % mine.size()]);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    stop(count);
    fail(BURNISH_ERROR_MEMORY, "the system gives %u of %u threads: %s", count, threads_,
         std::strerror(error));
  }
}

Pool::~Pool() {
  if (threads_ > 1 && getpid() == process_) stop(threads_);
}

// Ends the workers among the first `count` members.
void Pool::stop(std::uint32_t count) {
  stopping_.store(true);
  for (std::uint32_t t = 1; t < count; ++t) {
    raise(members_[t].start, members_[t].start.word.load() + 1);
  }
  for (std::uint32_t t = 1; t < count; ++t) pthread_join(members_[t].thread, nullptr);
}

void* Pool::worker_main(void* member) {
  Member& self = *static_cast<Member*>(member);
  self.pool->work(self);
  return nullptr;
}

void Pool::Member::seen_here() {
  const int here = sched_getcpu();
  if (cpu.load(std::memory_order_relaxed) != here) cpu.store(here, std::memory_order_relaxed);
}

void Pool::work(Member& self) {
  const Awake awake_here;
  const FloatDefaults defaults;
  for (std::uint32_t seen = 0;; ++seen) {
    wait(self, self.start, seen);
    if (stopping_.load()) return;
    self.seen_here();
    // Read now: the next job may begin once all have counted themselves.
    const std::uint32_t workers = count_.load(std::memory_order_relaxed) - 1;
    job_(ctx_, self.index);
    if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers) {
      raise(done_, done_.word.load(std::memory_order_relaxed) + 1);
    }
  }
}

void Pool::run(std::uint32_t count, Job job, void* ctx) {
  const FloatDefaults defaults;
  if (count > 1 && getpid() != process_) {
    fail(BURNISH_ERROR_USER, "this session's threads belong to the process that created it, which "
                             "forked; create it after fork");
  }
  const std::lock_guard lock(turn_);
  const Awake awake_here;
  Member& self = members_[0];
  self.seen_here();
  job_ = job;
  ctx_ = ctx;
  count_.store(count, std::memory_order_relaxed);
  finished_.store(0, std::memory_order_relaxed);
  if (count > 1 && may_keep_apart_) keep_apart(count);
  const std::uint32_t jobs = done_.word.load(std::memory_order_relaxed);
  for (std::uint32_t t = 1; t < count; ++t) {
    Signal& start = members_[t].start;
    raise(start, start.word.load(std::memory_order_relaxed) + 1);
  }
  job(ctx, 0);
  if (count > 1) wait(self, done_, jobs);
}

void Pool::barrier(std::uint32_t thread) {
  Member& self = members_[thread];
  self.seen_here();
  const std::uint32_t before = released_.word.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 ==
      count_.load(std::memory_order_relaxed)) {
    arrived_.store(0, std::memory_order_relaxed);
    raise(released_, before + 1);
  } else {
    wait(self, released_, before);
  }
}

void Pool::wait(Member& self, Signal& signal, std::uint32_t old) const {
  if (spin(self, signal, old)) return;
  signal.sleepers.fetch_add(1, std::memory_order_seq_cst);
  awake.fetch_sub(1, std::memory_order_relaxed);
  while (signal.word.load(std::memory_order_seq_cst) == old) futex_wait(signal.word, old);
  self.seen_here();
  awake.fetch_add(1, std::memory_order_relaxed);
  signal.sleepers.fetch_sub(1, std::memory_order_relaxed);
}

// True when the word changed while this thread spun.
bool Pool::spin(const Member& self, const Signal& signal, std::uint32_t old) const {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start{};
  for (int round = 0;; ++round) {
    for (int i = 0; i < 32; ++i) {
      if (signal.word.load(std::memory_order_acquire) != old) return true;
      pause_cpu();
    }
    if (spin_time_.count() == 0 || in_the_way(self)) return false;
    const Clock::time_point now = Clock::now();
    if (round == 0) start = now;
    if (now - start > spin_time_) return false;
  }
}

// Could a thread that spins here keep the one that it waits for from running?
bool Pool::in_the_way(const Member& self) const {
  if (always_crowded_ || awake.load(std::memory_order_relaxed) > static_cast<int>(cpus_)) {
    return true;
  }
  const int here = sched_getcpu();
  const std::uint32_t count = count_.load(std::memory_order_relaxed);
  for (std::uint32_t t = 0; t < count; ++t) {
    if (t != self.index && members_[t].cpu.load(std::memory_order_relaxed) == here) return true;
  }
  return false;
}

// Called while the workers wait for a job.
void Pool::keep_apart(std::uint32_t count) {
  const auto seen = [this](std::uint32_t t) { return members_[t].cpu.load(std::memory_order_relaxed); };
  for (std::uint32_t t = 1; t < count; ++t) {
    bool clash = false;
    for (std::uint32_t u = 0; u < t; ++u) clash |= seen(u) >= 0 && seen(u) == seen(t);
    if (!clash) continue;
    Member& m = members_[t];
    cpu_set_t now;
    if (pthread_getaffinity_np(m.thread, sizeof now, &now) != 0) continue;
    if (!CPU_EQUAL(&now, &m.put)) m.allowed = now;  // others than Burnish have confined it since
    cpu_set_t others = m.allowed;
    for (std::uint32_t u = 0; u < count; ++u) {
      const int cpu = seen(u);
      if (u != t && cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(static_cast<unsigned>(cpu), &others);
    }
    if (CPU_COUNT(&others) == 0 || pthread_setaffinity_np(m.thread, sizeof others, &others) != 0) {
      m.put = now;
      continue;
    }
    m.put = others;
    m.cpu.store(-1, std::memory_order_relaxed);  // where it is, it will say
  }
}

}  // namespace burnish::runtime
