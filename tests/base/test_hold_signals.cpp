#include "base/hold_signals.h"

#include <gtest/gtest.h>

#include <thread>

namespace burnish {
namespace {

volatile std::sig_atomic_t delivered = 0;

class HoldSignalsTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    delivered = 0;
    before_ = std::signal(GetParam(), [](int) { delivered = delivered + 1; });
  }
  void TearDown() override { std::signal(GetParam(), before_); }
  void (*before_)(int) = nullptr;
};

TEST_P(HoldSignalsTest, DeliversThemAtItsEnd) {
  {
    const HoldSignals held;
    {
      const HoldSignals again;
      std::raise(GetParam());
    }
    std::thread([] { std::raise(GetParam()); }).join();
    EXPECT_EQ(delivered, 0);
  }
  EXPECT_EQ(delivered, 1);  // the thread's own went with the thread
  std::raise(GetParam());
  EXPECT_EQ(delivered, 2);
}

INSTANTIATE_TEST_SUITE_P(Ends, HoldSignalsTest, testing::Values(SIGINT, SIGTERM, SIGHUP));

}  // namespace
}  // namespace burnish
