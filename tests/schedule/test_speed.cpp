// How long lowering takes: a search lowers tens of thousands of candidates. Printed, not judged:
// machines differ.
#include <chrono>

#include "base/text.h"
#include "support.h"

namespace burnish::schedule_test {
namespace {

double milliseconds(const std::function<void()>& f) {
  double best = 1e9;
  for (int i = 0; i < 30; ++i) {
    auto begin = std::chrono::steady_clock::now();
    f();
    best = std::min(
        best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
                  .count());
  }
  return best;
}

TEST(Speed, LoweringOfAChain) {
  StageGroup g = chain::group({});
  Schedule s = chain::schedule(g, {});
  size_t statements = 0;
  Function f = lowered(s);
  visit(f.body, [&](const Stmt&) { ++statements; });
  fmt::print("chain 24-144-24 at 136x232: {} steps, {} statements\n", s.trace().size(), statements);
  fmt::print("  lowering        {:.3f} ms\n", milliseconds([&] { (void)lower(s); }));
  fmt::print("  recording steps {:.3f} ms\n", milliseconds([&] { (void)chain::schedule(g, {}); }));
  std::string trace = s.to_text();
  fmt::print("  replaying text  {:.3f} ms\n",
             milliseconds([&] { (void)Schedule(g).replay(trace); }));
}

// The trace that benchmarks replay is the one that the code above makes.
TEST(Speed, TheStoredTraceIsTheChains) {
  std::string stored = read_file(std::string(BURNISH_TEST_DATA) + "/data/chain.trace");
  EXPECT_EQ(stored, chain::schedule(chain::group({}), {}).to_text());
}

}  // namespace
}  // namespace burnish::schedule_test
