// Candidates for GPUs, on the fake driver and the fake NVRTC: timed, checked, and blamed for what
// they do.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <regex>

#include "search/measure/crew.h"
#include "search/measure/kernel.h"
#include "search/measurer.h"
#include "search/worker/worker.h"

namespace burnish::search {
namespace {

constexpr const char* product = R"(group product {
  input in0: f32[y:6, k:16]
  constant w1: f32[k:16, c:24]
  constant w2: f32[c:24]
  compute sum: f32[y:6, c:24] sum[k:16]
  compute relu: f32[y:6, c:24]
  inputs in0, w1, w2
  outputs relu
  sum {
    body in0[y, k] * w1[k, c]
  }
  relu {
    body max(sum[y, c] + w2[c], 0.0)
  }
}
)";

class Gpu : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("BURNISH_CUDA_DRIVER", BURNISH_FAKE_CUDA, 1);
    setenv("BURNISH_NVRTC", BURNISH_FAKE_NVRTC, 1);
    setenv("BURNISH_CACHE", "off", 1);
  }
  static void TearDownTestSuite() {
    for (const char* name : {"BURNISH_CUDA_DRIVER", "BURNISH_NVRTC", "BURNISH_CACHE"})
      unsetenv(name);
  }

  Gpu() : group(parse_stages(product)), target(make_target("cuda:sm_90", 1)) {}

  Built built(const char* fault = "") {
    setenv("BURNISH_FAKE_FAULT", fault, 1);
    Result<Built> b = build_kernel(target->default_schedule(group), *target, true);
    unsetenv("BURNISH_FAKE_FAULT");
    return b ? std::move(*b) : throw std::runtime_error(b.reason());
  }

  StageGroup group;
  std::shared_ptr<const Target> target;
};

TEST_F(Gpu, CandidatesThatMisbehave) {
  const auto host = make_target("native", 2);
  const Built reference = *build_kernel(plain_schedule(group, host->machine()), *host, true);
  const Built good = built();
  EXPECT_GT(good.launches, 1);
  EXPECT_GT(good.copies, 1);
  Recruiter recruiter(find_worker({}));
  RunnerClient runner(recruiter,
                      {.target = target->text(),
                       .threads = 2,
                       .memory_bytes = uint64_t{2} << 30,
                       .min_time = 0.001,
                       .min_repeats = 3,
                       .device = true},
                      3);
  const auto run = [&](const Built& b) {
    return runner.run({.hash = "p", .candidate = b, .reference = reference, .check = true});
  };
  struct Case {
    const char* fault;
    Status status;
    const char* words;
  };
  for (const Case& c : {Case{"nothing", Status::Wrong, "relu["},
                        Case{"illegal", Status::Crashed, "ILLEGAL_ADDRESS"},
                        Case{"hang", Status::TimedOut, "3 s"}}) {
    const RunReply bad = run(built(c.fault));
    EXPECT_EQ(bad.status, c.status) << c.fault << ": " << bad.message;
    EXPECT_NE(bad.message.find(c.words), std::string::npos) << bad.message;
    const RunReply next = run(good);
    EXPECT_EQ(next.status, Status::Ok) << "after " << c.fault << ": " << next.message;
    EXPECT_TRUE(next.checked);
    EXPECT_GE(next.timing.repeats, 3);
    EXPECT_GT(next.timing.min, 0);
  }
}

// Candidates run on the tensors that the first one of their task has left on the device, whether they are checked or not.
TEST_F(Gpu, TensorsThatStayOnTheDevice) {
  const auto host = make_target("native", 2);
  const StageGroup larger = parse_stages(std::regex_replace(product, std::regex("y:6"), "y:70"));
  const auto built_of = [&](const StageGroup& g) { return *build_kernel(target->default_schedule(g), *target, true); };
  const auto reference_of = [&](const StageGroup& g) { return *build_kernel(plain_schedule(g, host->machine()), *host, true); };
  Recruiter recruiter(find_worker({}));
  RunnerClient runner(recruiter, {.target = target->text(), .threads = 2, .memory_bytes = uint64_t{2} << 30, .min_time = 0.001, .min_repeats = 3, .device = true}, 30);
  const Built small = built_of(group), large = built_of(larger), wrong = built("nothing");
  const Built of_small = reference_of(group), of_large = reference_of(larger);
  const auto run = [&](const Built& b, const Built& reference, bool check) {
    return runner.run({.hash = &reference == &of_small ? "p" : "q", .candidate = b, .reference = reference, .check = check});
  };
  for (const bool check : {false, true}) {
    for (const bool again : {false, true}) {
      const RunReply p = run(small, of_small, check), bad = run(wrong, of_small, true), after = run(small, of_small, true), q = run(large, of_large, check);
      for (const RunReply* r : {&p, &after, &q}) EXPECT_EQ(r->status, Status::Ok) << again << r->message;
      EXPECT_EQ(p.checked, check);
      EXPECT_EQ(bad.status, Status::Wrong) << "what others have written there is not its own";
    }
  }
}

// And none but the first of a task allocates them.
TEST_F(Gpu, TensorsOfATaskAreAllocatedOnce) {
  struct Quiet : Teller {
    void phase(Phase) override {}
  } teller;
  const auto host = make_target("native", 2);
  const StageGroup other = parse_stages(std::regex_replace(product, std::regex("y:6"), "y:7"));
  const Built small = built(), larger = *build_kernel(target->default_schedule(other), *target, true);
  Runner runner({.target = target->text(), .threads = 2, .memory_bytes = uint64_t{2} << 30, .min_time = 0.001, .min_repeats = 3, .device = true}, teller);
  void* const driver = dlopen(BURNISH_FAKE_CUDA, RTLD_NOW);
  const auto calls = reinterpret_cast<int (*)(const char*)>(dlsym(driver, "fake_cuda_calls"));
  ASSERT_NE(calls, nullptr);
  const auto allocated_by = [&](const char* hash, const Built& b) {
    const int before = calls("cuMemAlloc_v2");
    const RunReply r = runner.run({.hash = hash, .candidate = b, .reference = {}, .check = false});
    EXPECT_EQ(r.status, Status::Ok) << r.message;
    return calls("cuMemAlloc_v2") - before;
  };
  const int first = allocated_by("p", small), second = allocated_by("p", small);
  EXPECT_EQ(second, first - 2) << "the product's input and output";
  EXPECT_EQ(allocated_by("p", small), second);
  EXPECT_EQ(allocated_by("q", larger), first) << "another task's are others";
  EXPECT_EQ(allocated_by("q", larger), second);
}

TEST_F(Gpu, PointsOfTheSpace) {
  Task task;
  task.workload = product;
  task.group = parse_stages(product);
  task.hash = hash_text(task.workload);
  const auto space = target->space(group);
  ASSERT_TRUE(space);
  std::vector<std::string> traces;
  for (int64_t i = 0; i < size_of(*space) && traces.size() < 5; ++i) {
    const auto s = space->schedule(point_at(*space, i));
    if (s) traces.push_back(s->to_text());
  }
  ASSERT_GE(traces.size(), 3U);
  std::vector<Candidate> candidates;
  for (const std::string& t : traces)
    candidates.push_back({.task = &task, .trace = t, .check = true});
  candidates.push_back({.task = &task, .trace = "no step", .check = true});
  Task other;
  other.workload = std::regex_replace(product, std::regex("y:6"), "y:7");
  other.group = parse_stages(other.workload);
  other.hash = hash_text(other.workload);
  candidates.push_back({.task = &other, .trace = target->default_schedule(other.group).to_text(), .check = true});
  const auto m = local_measurer(
      target, {.builders = 2, .build_timeout = 60, .run_timeout = 60, .min_time = 0.001, .device = true});
  const auto outcomes = m->measure(candidates);
  for (size_t i = 0; i < traces.size(); ++i) {
    EXPECT_EQ(outcomes[i].status, Status::Ok) << traces[i] << ": " << outcomes[i].message;
    EXPECT_TRUE(outcomes[i].checked);
  }
  EXPECT_EQ(outcomes[traces.size()].status, Status::Illegal);
  EXPECT_EQ(outcomes.back().status, Status::Ok) << outcomes.back().message;
  EXPECT_TRUE(outcomes.back().checked);
}

TEST_F(Gpu, WhatDoesNotCompile) {
  Task task;
  task.workload = product;
  task.group = parse_stages(product);
  task.hash = hash_text(task.workload);
  setenv("BURNISH_FAKE_FAULT", "refuse", 1);
  const auto m = local_measurer(target, {.builders = 1, .build_timeout = 60, .device = true});
  const Candidate c{.task = &task, .trace = target->default_schedule(group).to_text()};
  const Outcome o = m->measure(std::span(&c, 1)).at(0);
  unsetenv("BURNISH_FAKE_FAULT");
  EXPECT_EQ(o.status, Status::BuildFailed);
  EXPECT_NE(o.message.find("refused as asked"), std::string::npos) << o.message;
}

}  // namespace
}  // namespace burnish::search
