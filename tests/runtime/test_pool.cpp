// Threads: barriers under stress, sharing, crowding, fork.
#include "support.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace burnish::test {
namespace {

TEST(Pool, BarriersHoldUnderStress) {
  const ModelHandle model = load(rounds());
  for (std::uint32_t threads = 1; threads <= 4; ++threads) {
    const SessionHandle session = new_session(model, threads);
    EXPECT_EQ(burnish_session_threads(session.get()), threads);
    for (std::uint32_t run = 0; run < 2000; ++run)
      ASSERT_TRUE(run_rounds(session.get(), run)) << threads;
  }
}

TEST(Pool, NoMoreThreadsThanHaveWork) {
  for (std::uint32_t most = 1; most <= 4; ++most) {
    const std::string field = R"("threads":2,"most_threads":)" + std::to_string(most) + ',';
    const ModelHandle model = load(compile_model(
        "rounds", replaced(rounds_metadata(), R"("threads":2,)", field), "-DTELL_THREADS"));
    const SessionHandle session = new_session(model, 3);
    EXPECT_EQ(burnish_session_threads(session.get()), 3u);
    burnish_tensor y{};
    ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
    ASSERT_EQ(burnish_session_get_output(session.get(), "y", &y), BURNISH_OK);
    EXPECT_EQ(static_cast<const std::uint32_t*>(y.data)[0], std::min(most, 3u));
  }
}

TEST(Pool, EveryKindOfWaiting) {
  const ModelHandle model = load(rounds());
  for (const std::int32_t spin_us : {-1, 1, 5000}) {
    for (const bool pin : {false, true}) {
      const SessionHandle session = new_session(model, 2, nullptr, spin_us, pin);
      for (std::uint32_t run = 0; run < 300; ++run) {
        ASSERT_TRUE(run_rounds(session.get(), run)) << spin_us << ' ' << pin;
        if (run % 100 == 0)
          std::this_thread::sleep_for(std::chrono::milliseconds(8));  // workers fall asleep
      }
    }
  }
}

TEST(Pool, SessionsOnOneModelFromManyThreads) {
  const ModelHandle model = load(rounds());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const SessionHandle session = new_session(model, 2);
      for (std::uint32_t run = 0; run < 200; ++run)
        wrong += !run_rounds(session.get(), run * 7 + t);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Pool, SharedPoolTakesTurns) {
  const ModelHandle model = load(rounds());
  const PoolHandle pool = new_pool(3);
  EXPECT_EQ(burnish_pool_threads(pool.get()), 3u);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const SessionHandle session =
          new_session(model, t, pool.get());  // 0 (all 3), 1, 2 and 3 of its threads
      for (std::uint32_t run = 0; run < 200; ++run)
        wrong += !run_rounds(session.get(), run * 7 + t);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Pool, SessionKeepsThePool) {
  const ModelHandle model = load(rounds());
  PoolHandle pool = new_pool(2);
  const SessionHandle session = new_session(model, 0, pool.get());
  pool.reset();
  EXPECT_TRUE(run_rounds(session.get(), 1));
}

TEST(Pool, FarMoreThreadsThanCpus) {
  const ModelHandle model = load(rounds());
  const SessionHandle session = new_session(model, 24);
  for (std::uint32_t run = 0; run < 50; ++run) ASSERT_TRUE(run_rounds(session.get(), run));
}

TEST(Pool, OneCpuForAllThreads) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &before)) ++cpu;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(burnish_cpu_count(), 1u);
  {
    const ModelHandle model = load(rounds());
    EXPECT_EQ(burnish_session_threads(new_session(model, 0).get()), 1u);
    const SessionHandle session = new_session(model, 3);
    for (std::uint32_t run = 0; run < 100; ++run) ASSERT_TRUE(run_rounds(session.get(), run));
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

// The worker of the only session with two threads.
pid_t worker() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    if (name == "burnish-1") return std::stoi(entry.path().filename());
  }
  return 0;
}

// The CPUs of this thread, the first of them alone, and its number; -1 when they are not known. At the end the thread has
// them back, also where an assertion ends the test.
struct Cpus {
  cpu_set_t all, one;
  int first = -1;

  Cpus() {
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    first = 0;
    while (!CPU_ISSET(first, &all)) ++first;
    CPU_SET(first, &one);
  }
  ~Cpus() {
    if (first >= 0) sched_setaffinity(0, sizeof all, &all);
  }
  Cpus(const Cpus&) = delete;
  Cpus& operator=(const Cpus&) = delete;
};

TEST(Pool, WorkerLeavesTheCallersCpu) {
  const Cpus cpus;
  ASSERT_GE(cpus.first, 0);
  const auto& [before, one, cpu] = cpus;
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "needs two CPUs";
  cpu_set_t now;
  const ModelHandle model = load(rounds());
  for (const bool pin : {false, true}) {
    // The last session's leaves /proc only after it was joined.
    while (worker() != 0) std::this_thread::yield();
    const SessionHandle session = new_session(model, 2, nullptr, 0, pin);
    const pid_t other = worker();
    ASSERT_NE(other, 0);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    ASSERT_EQ(sched_setaffinity(other, sizeof one, &one), 0);
    ASSERT_TRUE(run_rounds(session.get(), 1));  // it is seen there
    if (!pin) {
      ASSERT_EQ(sched_setaffinity(other, sizeof before, &before), 0);
    }
    ASSERT_TRUE(run_rounds(session.get(), 2));
    ASSERT_EQ(sched_getaffinity(other, sizeof now, &now), 0);
    EXPECT_EQ(CPU_ISSET(cpu, &now) != 0, pin) << "where it was put, it stays";
    EXPECT_EQ(CPU_COUNT(&now), pin ? 1 : CPU_COUNT(&before) - 1);
    ASSERT_TRUE(run_rounds(session.get(), 3));
    ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  }
}

TEST(Pool, AWorkerStaysWhereOthersConfineIt) {
  const Cpus cpus;
  ASSERT_GE(cpus.first, 0);
  const auto& [before, one, cpu] = cpus;
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "needs two CPUs";
  cpu_set_t now;
  const ModelHandle model = load(rounds());
  while (worker() != 0) std::this_thread::yield();
  const SessionHandle session = new_session(model, 2);
  const pid_t other = worker();
  ASSERT_NE(other, 0);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  ASSERT_EQ(sched_setaffinity(other, sizeof one, &one), 0);
  for (std::uint32_t run = 1; run < 4; ++run) {
    ASSERT_TRUE(run_rounds(session.get(), run));
    ASSERT_EQ(sched_getaffinity(other, sizeof now, &now), 0);
    EXPECT_TRUE(CPU_EQUAL(&now, &one));
  }
}

TEST(Pool, CreatedAndDestroyedQuickly) {
  const ModelHandle model = load(rounds());
  for (std::uint32_t i = 0; i < 200; ++i) {
    const SessionHandle session = new_session(model, 1 + i % 4);
    ASSERT_TRUE(i % 3 != 0 || run_rounds(session.get(), i));
  }
}

TEST(Pool, SessionUsedByTwoThreadsAtOnceIsAnError) {
  const ModelHandle model = load(rounds());
  const SessionHandle session = new_session(model, 2);
  std::atomic<int> refused{0}, good{0};
  std::atomic<bool> strange{false};
  const auto hammer = [&] {
    for (int i = 0; i < 400; ++i) {
      const burnish_status status = burnish_session_run(session.get());
      if (status == BURNISH_OK) {
        ++good;
      } else {
        ++refused;
        if (std::string(burnish_last_error()).find("in use by another thread") == std::string::npos)
          strange = true;
      }
    }
  };
  std::thread other(hammer);
  hammer();
  other.join();
  EXPECT_EQ(refused + good, 800);
  EXPECT_GT(good, 0);
  EXPECT_FALSE(strange);
  EXPECT_TRUE(run_rounds(session.get(), 3));
}

TEST(Pool, ForkedChildGetsAnErrorInsteadOfWaitingForever) {
  const ModelHandle model = load(rounds());
  SessionHandle session = new_session(model, 2);
  ASSERT_TRUE(run_rounds(session.get(), 1));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool refused = burnish_session_run(session.get()) == BURNISH_ERROR_USER;
    session.reset();
    const bool fresh = run_rounds(new_session(model, 2).get(), 2);
    _exit(refused && fresh ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(run_rounds(session.get(), 3));
}

}  // namespace
}  // namespace burnish::test
