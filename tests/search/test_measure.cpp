// Candidates built and timed in worker processes. No test asserts a time.
#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>
#include <thread>

#include "base/temporary_folder.h"
#include "base/text.h"
#include "search/measure/crew.h"
#include "search/measure/kernel.h"
#include "search/measure/task_by_task.h"
#include "search/measurer.h"

namespace burnish::search {
namespace {

// What a worker says while something is sent to it ends the next wait at once: a builder that answered so soon was waited for until its
// time was over.
TEST(Worker, WhatCameBeforeSomethingWasSentIsNotWaitedFor) {
  const TemporaryFolder folder;
  const auto started = std::make_unique<Worker>(find_worker({}), (folder.path / "w").string());
  Worker* const one[] = {started.get()};
  std::this_thread::sleep_for(std::chrono::milliseconds(2000));  // its greeting has come
  ASSERT_EQ(kill(started->pid(), SIGSTOP), 0);
  started->send({MessageType::Phase, 0, {}});
  const auto begin = Clock::now();
  wait_for(one, begin + std::chrono::seconds(20));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
  const auto m = started->next();
  ASSERT_TRUE(m);
  EXPECT_EQ(m->type, MessageType::Hello);
}

TEST(TaskByTask, EverythingOnceAndNoTaskBeforeThoseBeforeIt) {
  const Task tasks[3];
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<Candidate> candidates;
    for (const Task& t : tasks)
      for (unsigned n = random() % 4; n > 0; --n) candidates.push_back({.task = &t, .trace = {}});
    std::vector<size_t> ready(candidates.size()), order;
    std::iota(ready.begin(), ready.end(), 0);
    std::ranges::shuffle(ready, random);
    TaskByTask<size_t> t(candidates, [&](size_t i, size_t& r) {
      EXPECT_EQ(r, i + 100);
      order.push_back(i);
    });
    size_t given = 0, at_once = 0;  // the first task's candidates do not wait
    for (const size_t i : ready) {
      t.add(i, i + 100);
      ++given;
      if (candidates[i].task == candidates[0].task) ++at_once;
      EXPECT_GE(order.size(), at_once) << given;
    }
    ASSERT_EQ(order.size(), candidates.size());
    EXPECT_TRUE(std::ranges::is_sorted(order, {}, [&](size_t i) { return candidates[i].task; }));
    std::ranges::sort(order);
    std::ranges::sort(ready);
    EXPECT_EQ(order, ready);
  }
}

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

class Measure : public ::testing::Test {
 protected:
  Outcome one(Measurer& m, const Candidate& c) { return m.measure(std::span(&c, 1)).at(0); }
  std::shared_ptr<const Target> target = make_target("native", 2);
  const Task task = conv_task();
  const std::string trace = target->default_schedule(task.group).to_text();
};

TEST_F(Measure, GoodAndIllegalCandidates) {
  const auto m = local_measurer(target, {});
  const Candidate c[] = {{&task, trace, false, 1},
                         {&task, "", true},
                         {&task, "split(relu, nothing, 3)"},
                         {&task, "no step at all"},
                         {&task, trace, true},
                         {&task, trace, false, 1e-9},
                         {&task, trace}};
  const auto outcomes = m->measure(c);
  ASSERT_EQ(outcomes.size(), std::size(c));
  for (size_t i : {0, 1, 4, 5, 6}) {
    const Outcome& o = outcomes[i];
    EXPECT_EQ(o.status, Status::Ok) << i << ": " << o.message;
    EXPECT_EQ(o.checked, i < 5) << i;  // asked for, or faster than a second
    EXPECT_GE(o.timing.repeats, i == 5 ? 1 : 3);
    EXPECT_GT(o.timing.min, 0);
    EXPECT_GE(o.timing.median, o.timing.min);
    EXPECT_GE(o.timing.mad, 0);
    EXPECT_GT(o.probe_seconds, 0);
    EXPECT_GT(o.build_seconds, 0);
    EXPECT_GE(o.measure_seconds, o.timing.min);
  }
  EXPECT_LT(outcomes[0].timing.median, outcomes[1].timing.median);  // by a factor of 1000
  EXPECT_EQ(outcomes[2].status, Status::Illegal);
  EXPECT_NE(outcomes[2].message.find("nothing"), std::string::npos) << outcomes[2].message;
  EXPECT_EQ(outcomes[3].status, Status::Illegal) << outcomes[3].message;
  EXPECT_TRUE(m->measure({}).empty());
}

TEST_F(Measure, OnlyWhatIsFasterThanThoseBeforeIsChecked) {
  const auto m = local_measurer(target, {});
  // As it is written it is slower by a factor of 1000.
  const Candidate c[] = {{&task, trace, false, 1e9}, {&task, "", false, 1e9}};
  const auto outcomes = m->measure(c);
  ASSERT_EQ(outcomes.size(), 2u);
  for (const Outcome& o : outcomes) EXPECT_EQ(o.status, Status::Ok) << o.message;
  EXPECT_TRUE(outcomes[0].checked);
  EXPECT_FALSE(outcomes[1].checked);
}

// A part of a concat of channels: its rows lie apart, what lies between belongs to others.
TEST_F(Measure, OutputsWhoseRowsLieApart) {
  Task part = conv_task();
  part.workload.replace(part.workload.rfind("layout(n, y, x, c)"), 18, "layout(n, y, x, c+24)");
  part.group = parse_stages(part.workload);
  part.hash = hash_text(part.workload);
  const auto m = local_measurer(target, {});
  const Outcome o = one(*m, {&part, target->default_schedule(part.group).to_text(), true});
  EXPECT_EQ(o.status, Status::Ok) << o.message;
  EXPECT_TRUE(o.checked);
}

TEST_F(Measure, WarmWeights) {
  const auto m = local_measurer(target, {.cold_weights = false});
  const Outcome o = one(*m, {&task, trace, true});
  EXPECT_EQ(o.status, Status::Ok) << o.message;
}

TEST_F(Measure, SchedulesThatRefuseToLowerAreIllegal) {
  const auto m = local_measurer(target, {.builders = 1});
  const Outcome o = one(*m, {&task, "compute_at(conv.acc, relu, x)\nparallel(conv.acc, k)"});
  EXPECT_EQ(o.status, Status::Illegal) << o.message;
  EXPECT_NE(o.message, "");
}

// A kernel of another group under this task's name: what a miscompiled candidate looks like.
TEST_F(Measure, AWrongAnswerIsFound) {
  Recruiter recruiter(find_worker({}));
  RunnerClient runner(recruiter, {.target = target->text(), .threads = 2, .l2_bytes = 1 << 20, .min_time = 1e-3}, 5);
  std::string text = task.workload;
  text.replace(text.find("+ w2"), 1, "-");
  const Built good = *build_kernel(target->default_schedule(task.group), *target);
  const Built bad = *build_kernel(target->default_schedule(parse_stages(text)), *target);
  const Built plain = *build_kernel(plain_schedule(task.group, target->machine()), *target);
  const RunReply right = runner.run({.hash = "conv", .candidate = good, .reference = plain, .check = true});
  EXPECT_EQ(right.status, Status::Ok) << right.message;
  const RunReply wrong = runner.run({.hash = "conv", .candidate = bad, .reference = plain, .check = true});
  EXPECT_EQ(wrong.status, Status::Wrong) << wrong.message;
  EXPECT_NE(wrong.message.find("elements are wrong"), std::string::npos) << wrong.message;
  const RunReply unchecked = runner.run({.hash = "conv", .candidate = bad, .reference = plain});
  EXPECT_EQ(unchecked.status, Status::Ok);
  EXPECT_FALSE(unchecked.checked);
}

// Steps may give stages other axes: tensors are of those that they had before.
TEST_F(Measure, PointsOfImagesAsOneAxis) {
  const StageGroup g = parse_stages(R"(group conv {
  input x: f32[n:3, c:8, y:5, x:7] layout(n, y, x, c)
  constant w: f32[n:16, c:8, y:1, x:1]
  compute o: f32[n:3, c:16, y:5, x:7] sum[k:8, ky:1, kx:1] layout(n, y, x, c)
  inputs x, w
  outputs o
  o {
    body x[n, k, y + ky, x + kx] * w[c, k, ky, kx]
  }
}
)");
  Schedule s(g);
  s.join_axes("o", "y", "x");
  s.join_axes("o", "n", "x");
  ASSERT_FALSE(s.failure()) << s.failure()->text;
  const Built joined = *build_kernel(s, *target);
  EXPECT_EQ(joined.parameters[0].shape, (std::vector<int64_t>{3, 8, 5, 7}));
  EXPECT_EQ(joined.parameters[2].shape, (std::vector<int64_t>{3, 16, 5, 7}));
  Recruiter recruiter(find_worker({}));
  RunnerClient runner(recruiter, {.target = target->text(), .threads = 2, .l2_bytes = 1 << 20, .min_time = 1e-3}, 5);
  const Built plain = *build_kernel(plain_schedule(g, target->machine()), *target);
  const RunReply r = runner.run({.hash = "joined", .candidate = joined, .reference = plain, .check = true});
  EXPECT_EQ(r.status, Status::Ok) << r.message;
  EXPECT_TRUE(r.checked);
}

TEST_F(Measure, BuildersThatTakeTooLongAreReplaced) {
  const auto hasty = local_measurer(target, {.builders = 2, .build_timeout = 1e-4});
  const Candidate c[] = {{&task, trace}, {&task, trace}, {&task, trace}};
  for (const Outcome& o : hasty->measure(c)) EXPECT_EQ(o.status, Status::BuildTimeout) << o.message;
}

TEST_F(Measure, KilledWorkersAreReplaced) {
  const auto m = local_measurer(target, {.builders = 2});
  for (int round = 0; round < 3; ++round) {
    std::ifstream in("/proc/self/task/" + std::to_string(getpid()) + "/children");
    for (pid_t p; in >> p;) kill(p, SIGKILL);
    const Candidate c[] = {{&task, trace, true}, {&task, trace}, {&task, trace}};
    for (const Outcome& o : m->measure(c)) EXPECT_EQ(o.status, Status::Ok) << o.message;
  }
}

TEST_F(Measure, KernelsOfOtherTypes) {
  Task quantised;
  quantised.name = "q";
  quantised.workload = R"(group q {
  input X: u8[i:70, j:33]
  input W: tf32[i:70]
  compute t: i32[i:70] sum[j:33]
  compute Y: i64[i:70]
  compute Z: bf16[i:70]
  compute V: f32[i:70]
  inputs X, W
  outputs Y, Z, V
  t {
    body i32(X[i, j])
  }
  Y {
    body i64(t[i])
  }
  Z {
    body bf16(t[i])
  }
  V {
    body f32(W[i]) * 3.0
  }
}
)";
  quantised.group = parse_stages(quantised.workload);
  quantised.hash = hash_text(quantised.workload);
  const auto m = local_measurer(target, {.builders = 1});
  const Outcome o = one(*m, {&quantised, target->default_schedule(quantised.group).to_text(), true});
  EXPECT_EQ(o.status, Status::Ok) << o.message;
  EXPECT_TRUE(o.checked);
}

TEST_F(Measure, LibrariesAgainstEachOther) {
  const TemporaryFolder folder;
  const std::string a = (folder.path / "a.so").string(), b = (folder.path / "b.so").string();
  write_file(a, build_kernel(target->default_schedule(task.group), *target)->library);
  // Loops as written, but constants packed alike: they are inputs here.
  Schedule slow(task.group);
  for (const std::string& line : split_text(trace, '\n')) {
    if (line.starts_with("pack(w")) {
      ASSERT_TRUE(slow.replay(line).ok());
    }
  }
  write_file(b, build_kernel(slow, *target)->library);
  const auto c = compare_libraries({a, b, a}, 2, 0.05, true, {});
  ASSERT_TRUE(c.ok()) << c.reason();
  ASSERT_EQ(c->runs.size(), 3u);
  ASSERT_EQ(c->steps.size(), 3u);
  for (const auto& runs : c->runs) {
    EXPECT_GE(runs.size(), 3u);
    EXPECT_EQ(runs.size(), c->runs[0].size());
  }
  for (const auto& steps : c->steps) EXPECT_EQ(steps.size(), 2u);
  ASSERT_EQ(c->deviation.size(), 3u);
  EXPECT_EQ(c->deviation[0], 0);
  EXPECT_EQ(c->deviation[2], 0);
  EXPECT_LT(c->deviation[1], 1e-4);
  EXPECT_LT(*std::ranges::min_element(c->runs[0]), *std::ranges::min_element(c->runs[1]));
  const auto whole = compare_libraries({a}, 1, 0, false, {});
  ASSERT_TRUE(whole.ok()) << whole.reason();
  EXPECT_TRUE(whole->steps.at(0).empty());
  std::string other = task.workload;
  other.replace(other.find("+ w2"), 1, "-");
  write_file(b, build_kernel(target->default_schedule(parse_stages(other)), *target)->library);
  const auto different = compare_libraries({a, b}, 1, 0, false, {});
  ASSERT_TRUE(different.ok()) << different.reason();
  EXPECT_GT(different->deviation.at(1), 0.01);
  const auto none = compare_libraries({a, "/nowhere/model.so"}, 1, 0.01, false, {});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.reason().find("/nowhere/model.so"), std::string::npos) << none.reason();
}

}  // namespace
}  // namespace burnish::search
