// Arithmetic in registers and nothing else, on one thread or on several that meet at the end of each run: what the
// machine itself adds to the longest runs. bench/engines.py builds it as a library.
#include <atomic>
#include <thread>

namespace {

void work(long steps) {
  double x = 1;
  for (long i = 0; i < steps; ++i) {
    x = x * 0.999999 + 1e-9;
    asm volatile("" : "+x"(x));
  }
}

std::atomic<int> started{0}, finished{0};
long steps_of_run = 0;
int workers = 0;

// Spins first, as engines' threads do between runs, then sleeps, so that others are not disturbed.
void wait_while(const std::atomic<int>& word, int old) {
  for (int i = 0; i < 2000; ++i) {
    if (word.load(std::memory_order_acquire) != old) return;
    __builtin_ia32_pause();
  }
  word.wait(old);
}

}  // namespace

extern "C" {

void busy_threads(int threads) {
  workers = threads - 1;
  for (int t = 0; t < workers; ++t) {
    std::thread([] {
      for (int seen = 0;; ++seen) {
        wait_while(started, seen);
        work(steps_of_run);
        finished.fetch_add(1, std::memory_order_acq_rel);
      }
    }).detach();
  }
}

void busy_run(long steps) {
  steps_of_run = steps;
  finished.store(0, std::memory_order_relaxed);
  started.fetch_add(1, std::memory_order_acq_rel);
  started.notify_all();
  work(steps);
  while (finished.load(std::memory_order_acquire) != workers) __builtin_ia32_pause();
}
}
