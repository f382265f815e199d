#include "loop/touches.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace burnish {
namespace {

// Steps over tensors of the given bytes; a function a step, whose buffers are whole tensors.
Program program(const std::vector<int64_t>& bytes,
                const std::vector<std::vector<uint32_t>>& steps) {
  Program p;
  for (const int64_t b : bytes) p.tensors.push_back({.size = b / 4});
  for (const auto& args : steps) {
    Function f;
    for (const uint32_t t : args) f.add_buffer({.size = p.tensors[t].size});
    p.steps.push_back({.function = static_cast<uint32_t>(p.functions.size()), .args = args});
    p.functions.push_back(std::move(f));
  }
  return p;
}

TEST(Touches, CountWhatLiesBetweenTwoUses) {
  // x, w0, h, w1, y, each of its own size; h is read by the next step and by the last one.
  const auto t = touches_of(program({4, 40, 400, 4000, 40000}, {{0, 1, 2}, {2, 3, 4}, {2, 4}}));
  ASSERT_EQ(t.size(), 3u);
  EXPECT_EQ(t[1][0].bytes, 400);
  EXPECT_EQ(t[1][0].distance, 400 + 4 + 40);        // the step before has it
  EXPECT_EQ(t[2][0].distance, 400 + 4000 + 40000);  // the nearest use counts
  EXPECT_EQ(t[0][1].distance, 44444);               // weights: all that a run touches
  EXPECT_EQ(t[0][2].distance, 400 + 40000);         // round the end of the run
}

TEST(Touches, AgreeWithSetsOnRandomPrograms) {
  const uint32_t seed = 5;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 30; ++round) {
    std::vector<int64_t> bytes(2 + random() % 6);
    for (int64_t& b : bytes) b = 4 * (1 + random() % 1000);
    std::vector<std::vector<uint32_t>> steps(1 + random() % 7);
    for (auto& args : steps) {
      std::set<uint32_t> some;
      for (int k = 0; k < 3; ++k) some.insert(random() % bytes.size());
      args.assign(some.begin(), some.end());
    }
    const auto touches = touches_of(program(bytes, steps));
    for (size_t s = 0; s < steps.size(); ++s) {
      for (size_t a = 0; a < steps[s].size(); ++a) {
        std::set<uint32_t> between{steps[s][a]};
        for (size_t t = s + steps.size() - 1;; --t) {
          const auto& args = steps[t % steps.size()];
          between.insert(args.begin(), args.end());
          if (std::ranges::find(args, steps[s][a]) != args.end()) break;
        }
        int64_t sum = 0;
        for (const uint32_t t : between) sum += bytes[t];
        EXPECT_EQ(touches[s][a].distance, sum) << "round " << round << " step " << s;
        EXPECT_EQ(touches[s][a].bytes, bytes[steps[s][a]]);
      }
    }
  }
}

}  // namespace
}  // namespace burnish
