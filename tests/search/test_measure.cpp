// Candidates built and timed in worker processes. No test asserts a time.
#include <gtest/gtest.h>

#include "search/measurer.h"
#include "base/error.h"

namespace burnish::search {
namespace {

Task conv_task() {
  Task t;
  t.name = "conv";
  t.workload = R"(group conv_relu {
  input in0: f32[n:1, c:24, y:17, x:30] layout(n, y, x, c)
  constant w1: f32[n:40, c:24, y:3, x:3]
  constant w2: f32[c:40]
  compute conv.acc: f32[n:1, c:40, y:17, x:30] sum[k:24, ky:3, kx:3]
  compute relu: f32[n:1, c:40, y:17, x:30] layout(n, y, x, c)
  inputs in0, w1, w2
  outputs relu
  conv.acc {
    body in0[n, k, y + ky - 1, x + kx - 1 else 0.0] * w1[c, k, ky, kx]
  }
  relu {
    body max(conv.acc[n, c, y, x] + w2[c], 0.0)
  }
}
)";
  t.group = parse_stages(t.workload);
  t.hash = hash_text(t.workload);
  return t;
}

TEST(Measure, GoodCandidates) {
  const auto target = make_target("native", 2);
  const auto m = local_measurer(target, {});
  const Task task = conv_task();
  const std::string trace = target->default_schedule(task.group).to_text();
  const Candidate c[] = {{&task, trace, true}, {&task, "", true}, {&task, "split(relu, nothing, 3)", false}, {&task, trace, false, 1}};
  const auto outcomes = m->measure(c);
  ASSERT_EQ(outcomes.size(), 4u);
  for (size_t i : {0, 1, 3}) {
    const Outcome& o = outcomes[i];
    EXPECT_EQ(o.status, Status::Ok) << o.message;
    EXPECT_TRUE(o.checked);
    EXPECT_GE(o.timing.repeats, 3);
    EXPECT_GT(o.timing.min, 0);
    EXPECT_GE(o.timing.median, o.timing.min);
    EXPECT_GT(o.probe_seconds, 0);
    printf("%g us, mad %g, min %g, %d repeats, built %g ms, measured %g ms, probe %g us\n", o.timing.median * 1e6, o.timing.mad*1e6,o.timing.min*1e6,o.timing.repeats,o.build_seconds*1e3,o.measure_seconds*1e3,o.probe_seconds*1e6);
  }
  EXPECT_EQ(outcomes[2].status, Status::Illegal);
  EXPECT_NE(outcomes[2].message.find("nothing"), std::string::npos) << outcomes[2].message;
}

}  // namespace
}  // namespace burnish::search
