// Default schedules of the CUDA target: the interpreter runs them on random input, with races and registers watched.
#include "schedule/support.h"
#include "target/cuda/space.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using schedule_test::Case;
using schedule_test::expect_same;
using target_test::Conv;

void expect_scheduled(const StageGroup& g, const std::string& what, bool tiled = false) {
  const Schedule s = cuda_target::default_schedule(g, {});
  EXPECT_EQ(s.to_text().find("cache_read") != std::string::npos, tiled) << what << "\n" << s.to_text();
  expect_same(Case(g, s), what);
}

StageGroup one_conv(const Conv& c, bool residual = false) {
  GroupBuilder b("conv");
  const StageId x = target_test::image(b, c.in, c.height, c.width);
  StageId r = target_test::none;
  if (residual) {
    r = b.input("R", DType::F32, {{"n", 1}, {"c", c.out}, {"y", c.height}, {"x", c.width}}, target_test::nhwc);
  }
  b.output(target_test::conv(b, "O", x, c, r));
  return b.group();
}

TEST(Schedules, Convolutions) {
  expect_scheduled(one_conv({.height = 9, .width = 11, .in = 24, .out = 40}), "1x1", true);
  expect_scheduled(one_conv({.height = 9, .width = 11, .in = 24, .out = 24}, true), "1x1 with residual", true);
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3}), "3x3", true);
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3, .stride = 2}), "3x3, stride 2", true);
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 3, .out = 24, .kernel = 3, .stride = 2}), "of 3 channels");
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 24, .out = 24, .kernel = 3, .depthwise = true}), "depthwise");
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 7, .out = 7, .kernel = 3, .stride = 2, .depthwise = true}), "depthwise of 7");
  expect_scheduled(one_conv({.height = 6, .width = 5, .in = 13, .out = 7}), "odd channels", true);
}

TEST(Schedules, Others) {
  expect_scheduled(target_test::softmax(5, 33), "softmax");
  expect_scheduled(target_test::transposition(2, 17, 40), "transposition");
  expect_scheduled(target_test::chain(9, 10, 1), "a chain");
}

}  // namespace
}  // namespace burnish::cuda_test
