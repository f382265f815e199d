// Cuts and algorithms that are not what the target's estimates say: what avoiding a group makes of
// a graph, that a bad choice is found by measuring, and that a compilation does what the records
// say.
#include "driver/alternatives.h"

#include <burnish/burnish.hpp>
#include <burnish/compiler.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/forwarding_target.h"
#include "driver/model_race.h"
#include "graph/op.h"
#include "import/import.h"
#include "import/model_writer.h"
#include "search/records.h"

namespace burnish {
namespace {

using namespace test;

constexpr const char* cpu = "llvm:cpu=x86-64-v3";

Message weights(const std::string& name, const std::vector<int64_t>& dims, std::mt19937& random) {
  int64_t size = 1;
  for (const int64_t d : dims) size *= d;
  std::vector<float> values(static_cast<size_t>(size));
  for (float& v : values) v = std::uniform_real_distribution<float>(-0.1f, 0.1f)(random);
  return tensor(name, kFloat, dims, raw(values));
}

// A 3x3 convolution of `channels`, then 1x1, depthwise, 1x1 with an addition around.
std::string model_of(int64_t channels, int64_t size) {
  std::mt19937 random(7);
  const int64_t c = channels, wide = 4 * channels;
  const Message pads = ints_attribute("pads", {1, 1, 1, 1});
  return model(
      {.nodes = {node("Conv", {"x", "w0"}, {"a"}, {pads}, "square"), node("Relu", {"a"}, {"b"}),
                 node("Conv", {"b", "w1"}, {"c"}, {}, "expand"), node("Relu", {"c"}, {"d"}),
                 node("Conv", {"d", "w2"}, {"e"}, {pads, int_attribute("group", wide)},
                      "depthwise"),
                 node("Relu", {"e"}, {"f"}), node("Conv", {"f", "w3"}, {"g"}, {}, "project"),
                 node("Add", {"g", "b"}, {"y"})},
       .initializers = {weights("w0", {c, c, 3, 3}, random), weights("w1", {wide, c, 1, 1}, random),
                        weights("w2", {wide, 1, 3, 3}, random),
                        weights("w3", {c, wide, 1, 1}, random)},
       .inputs = {value_info("x", kFloat, {1, c, size, size})},
       .outputs = {value_info("y", kFloat, {1, c, size, size})}});
}

size_t nodes_of(const Graph& g, std::string_view op) {
  size_t count = 0;
  for (const Node& n : g.nodes) {
    count += n.op->name == op;
    for (const Graph& body : n.bodies) count += nodes_of(body, op);
  }
  return count;
}

class Avoiding : public testing::Test {
 protected:
  ModelTasks tasks(std::shared_ptr<const Target> target, int64_t channels, int64_t size) {
    return model_tasks(import_model(model_of(channels, size), "m.onnx", {}), std::move(target));
  }

  // The choices of the only task that has any and holds a node of this operator.
  static GroupHashes choices(const ModelTasks& m, const std::string& source) {
    for (size_t i = 0; i < m.tasks.size(); ++i) {
      if (std::ranges::find(m.tasks[i].sources, source) == m.tasks[i].sources.end()) continue;
      return {m.choices[i].begin(), m.choices[i].end()};
    }
    return {};
  }

  TemporaryFolder folder;
};

TEST_F(Avoiding, AvoidingAGroupCutsItsChain) {
  const ModelTasks m = tasks(make_target(cpu, 1), 24, 56);
  const GroupHashes chain = choices(m, "depthwise");
  ASSERT_EQ(chain.size(), 1u);
  const ModelTasks cut = avoiding(m, chain);
  EXPECT_GT(nodes_of(cut.graph, "group"), nodes_of(m.graph, "group"));
  EXPECT_EQ(cut.avoided, chain);
  // What is not asked about is not avoided, and without it the graph is as before.
  const ModelTasks again = avoiding(cut, {"0123456789abcdef"});
  EXPECT_TRUE(again.avoided.empty());
  EXPECT_EQ(to_text(again.graph), to_text(m.graph));
}

TEST_F(Avoiding, AvoidingAConvolutionTakesTheNextAlgorithm) {
  const ModelTasks m = tasks(make_target(cpu, 1), 64, 40);
  ASSERT_EQ(nodes_of(m.graph, "winograd_conv"), 1u);
  GroupHashes avoided = choices(m, "square");
  ASSERT_FALSE(avoided.empty());
  const ModelTasks next = avoiding(m, avoided);
  EXPECT_NE(to_text(next.graph), to_text(m.graph));
  // The other size of tiles, or none: there is an end.
  for (int i = 0; i < 3; ++i) avoided.merge(choices(avoiding(m, avoided), "square"));
  EXPECT_EQ(nodes_of(avoiding(m, avoided).graph, "winograd_conv"), 0u);
}

// Believes that tiles of four by four cost nothing.
class Mistaken final : public ForwardingTarget {
 public:
  using ForwardingTarget::ForwardingTarget;
  double estimate_us(const StageGroup& g) const override {
    for (const Stage& s : g.stages) {
      if (s.name.ends_with(".columns")) return 1e-3;
    }
    return ForwardingTarget::estimate_us(g);
  }
};

TEST_F(Avoiding, AMistakeIsFoundByMeasuring) {
  const auto target = std::make_shared<Mistaken>(make_target(cpu, 1));
  const ModelTasks m =
      tasks(target, 3, 96);  // three channels: transforming costs more than it saves
  ASSERT_EQ(nodes_of(m.graph, "winograd_conv"), 1u);
  ASSERT_TRUE(has_alternatives(m));
  Alternatives best;
  // Whatever else runs makes times noisy.
  for (int i = 0; i < 5 && best.changes.empty(); ++i) {
    best = race_alternatives(m, [&](const StageGroup& g) { return target->default_schedule(g); }, 3,
                             10, {});
  }
  ASSERT_FALSE(best.changes.empty());
  EXPECT_GT(best.speedup.ratio, 1);
  EXPECT_FALSE(best.model.avoided.empty());
  EXPECT_NE(to_text(best.model.graph), to_text(m.graph));
  for (const Change& c : best.changes) EXPECT_LT(c.after, c.before);
}

TEST_F(Avoiding, WhatWasAvoidedWronglyIsTakenBack) {
  const auto target = make_target(cpu, 1);
  const ModelTasks best = tasks(target, 64, 40);
  GroupHashes wrong = choices(best, "square");
  for (int i = 0; i < 3; ++i) wrong.merge(choices(avoiding(best, wrong), "square"));
  const ModelTasks m = avoiding(best, wrong);
  ASSERT_EQ(nodes_of(m.graph, "winograd_conv"), 0u);
  Alternatives found;
  for (int i = 0; i < 5 && found.changes.empty(); ++i) {
    found = race_alternatives(m, [&](const StageGroup& g) { return target->default_schedule(g); },
                              3, 10, {});
  }
  EXPECT_FALSE(found.changes.empty());
  EXPECT_EQ(nodes_of(found.model.graph, "winograd_conv"), 1u);
}

// Kernels are right one by one, and what they do together is not: as the last comparison would find it.
TEST_F(Avoiding, WhatMakesOutputsDifferIsNotUsed) {
  const auto target = make_target(cpu, 1);
  const ModelTasks m = tasks(target, 24, 56);
  const std::vector<std::vector<search::Finalist>> none(m.tasks.size());
  const ModelRace same = race_in_model(m, none, &m, 0.2, {});
  EXPECT_EQ(same.note.find("differ"), std::string::npos) << same.note;
  Graph g = import_model(model_of(24, 56), "m.onnx", {});
  for (Value& v : g.values) {
    if (!v.constant || v.constant->dtype != DType::F32) continue;
    auto other = std::make_shared<Tensor>(*v.constant);
    for (int64_t i = 0; i < other->size(); ++i) other->data<float>()[i] *= 1.1f;
    v.constant = other;
  }
  const ModelTasks others = model_tasks(std::move(g), target);
  const ModelRace race = race_in_model(m, none, &others, 0.2, {});
  EXPECT_NE(race.note.find("outputs differ"), std::string::npos) << race.note;
  EXPECT_EQ(race.speedup, 1);
}

// Functions that passes on programs make anew are no tasks, and steps that are one only when compiled are timed one by one.
TEST_F(Avoiding, TasksOfADeviceAreWhatIsScheduled) {
  std::mt19937 random(7);
  const std::string heads = model({.nodes = {node("Conv", {"x", "w0"}, {"a"}, {}, "lead"), node("Conv", {"a", "w1"}, {"b"}, {}, "one"), node("Sigmoid", {"b"}, {"p"}),
                                             node("Conv", {"a", "w2"}, {"q"}, {}, "two"), node("Conv", {"a", "w3"}, {"r"}, {}, "three")},
                                   .initializers = {weights("w0", {24, 8, 1, 1}, random), weights("w1", {1, 24, 1, 1}, random), weights("w2", {2, 24, 1, 1}, random),
                                                    weights("w3", {10, 24, 1, 1}, random)},
                                   .inputs = {value_info("x", kFloat, {1, 8, 12, 20})},
                                   .outputs = {value_info("p", kFloat, {1, 1, 12, 20}), value_info("q", kFloat, {1, 2, 12, 20}), value_info("r", kFloat, {1, 10, 12, 20})}});
  for (const char* target : {"cuda:sm_90", "cuda:sm_90,precision=fp16"}) {
    const ModelTasks m = model_tasks(import_model(heads, "m.onnx", {}), make_target(target, 1));
    const auto of_heads = std::ranges::find_if(m.tasks, [](const search::Task& t) { return std::ranges::count(t.sources, "one") + std::ranges::count(t.sources, "three") == 2; });
    ASSERT_NE(of_heads, m.tasks.end()) << target;
    EXPECT_EQ(of_heads->weight, 1) << target;
    EXPECT_NE(of_heads->space, nullptr) << target;
    const double steps = std::accumulate(m.tasks.begin(), m.tasks.end(), 0.0, [](double sum, const search::Task& t) { return sum + t.weight; });
    EXPECT_EQ(steps, static_cast<double>(m.task_of_step.size())) << target;
  }
}

TEST_F(Avoiding, ChangesAreTimedByWhatBelongsTogether) {
  const ModelTasks m = tasks(make_target(cpu, 1), 24, 56);
  const GroupHashes chain = choices(m, "depthwise");
  const ModelTasks cut = avoiding(m, chain);
  const std::vector<double> before(m.task_of_step.size(), 3), after(cut.task_of_step.size(), 1);
  const auto changes = changes_between(m, before, cut, after, chain);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].groups, chain);
  EXPECT_EQ(changes[0].before, 3);
  EXPECT_GE(changes[0].after, 2);
  EXPECT_LE(changes[0].after, 3);
  EXPECT_TRUE(changes_between(m, before, m, before, chain).empty());
}

std::vector<float> run(const CompiledModel& compiled, const std::vector<float>& x) {
  const std::string& library = compiled.library();
  const auto model = Model::load(library.data(), library.size());
  auto session = model.session();
  session.set_input("x", x.data(), x.size());
  session.run();
  const auto y = session.output<float>("y");
  return {y.data(), y.data() + y.size()};
}

TEST_F(Avoiding, CompilingWithRecordsAvoidsWhatLost) {
  const auto path = folder.path / "m.onnx", records = folder.path / "tune.db";
  write_file(path, model_of(64, 40));
  CompileOptions options;
  options.target = cpu;
  options.threads = 1;
  const CompiledModel plain = compile(path, options);
  const ModelTasks m = model_tasks(path, options);
  GroupHashes all;
  for (const auto& choices : m.choices) all.insert(choices.begin(), choices.end());
  ASSERT_GE(all.size(), 1u);
  {
    search::Database db(records, search::Database::Mode::ReadWrite);
    for (const std::string& hash : all) {
      db.add_winner({.workload_hash = hash,
                     .target = m.target->text(),
                     .trace = std::string(search::avoid_trace),
                     .default_seconds = 2,
                     .tuned_seconds = 1,
                     .model = "m.onnx"});
    }
  }
  options.records = records;
  const CompiledModel recorded = compile(path, options);
  EXPECT_TRUE(recorded.notes().empty());
  EXPECT_NE(recorded.emit("graph"), plain.emit("graph"));
  EXPECT_EQ(recorded.emit("graph"), to_text(avoiding(m, all).graph));

  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::vector<float> x(64 * 40 * 40);
  for (float& v : x) v = std::uniform_real_distribution<float>(-1, 1)(random);
  const std::vector<float> a = run(plain, x), b = run(recorded, x);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], 1e-4 * std::max(1.0f, std::abs(a[i]))) << i;
}

}  // namespace
}  // namespace burnish
