// Stages without axes: sums over everything, and what is computed from them.
#include "schedule/support.h"

namespace burnish::schedule_test {
namespace {

TEST(Scalars, AreComputedThoughTheyHaveNoAxes) {
  GroupBuilder b("g");
  StageId x = b.input("x", DType::F32, {{"i", 8}});
  StageId sum = b.reduce("sum", DType::F32, {}, {{"k", 8}}, Combine::Sum,
                         [&](AxisVars, AxisVars r) { return b.at(x, {Index(r[0])}); });
  StageId mean =
      b.compute("mean", DType::F32, {}, [&](AxisVars) { return b.at(sum, {}) / constant(8); });
  b.output(b.compute("o", DType::F32, {{"i", 8}},
                     [&](AxisVars a) { return b.at(x, {Index(a[0])}) - b.at(mean, {}); }));
  b.output(
      b.compute("two", DType::F32, {}, [&](AxisVars) { return b.at(mean, {}) * constant(2); }));
  expect_same(Case(b.group()), "mean of everything");
}

TEST(Scalars, AskTheirProducersForAPart) {
  GroupBuilder b("g");
  StageId x = b.input("x", DType::F32, {{"i", 8}});
  StageId y = b.compute("y", DType::F32, {{"i", 8}},
                        [&](AxisVars a) { return b.at(x, {Index(a[0])}) * constant(3); });
  StageId z = b.compute("z", DType::F32, {}, [&](AxisVars) { return b.at(y, {Index(5)}); });
  b.output(b.compute("o", DType::F32, {{"j", 4}},
                     [&](AxisVars a) { return b.at(z, {}) + b.at(x, {Index(a[0])}); }));
  Case c(b.group());
  expect_same(c, "one element");
  c.schedule.compute_at("z", "o", "j");
  c.schedule.compute_at("y", "o", "j");
  expect_same(c, "inside the loop");
}

}  // namespace
}  // namespace burnish::schedule_test
