// What a compiled model tells of itself; tests/python/test_compile.py compiles and runs.
#include <burnish/compiler.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/scheduled_target.h"
#include "import/model_writer.h"

namespace burnish {
namespace {

// early = relu(x), y = conv(early) of 3x3 on 64 channels: large enough for Winograd.
std::string relu_and_conv() {
  using namespace test;
  std::vector<float> weights(64 * 64 * 3 * 3);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0.01f * static_cast<float>(i % 7);
  return model({.nodes = {node("Relu", {"x"}, {"early"}),
                          node("Conv", {"early", "w"}, {"y"},
                               {ints_attribute("kernel_shape", {3, 3}),
                                ints_attribute("pads", {1, 1, 1, 1})})},
                .initializers = {tensor("w", kFloat, {64, 64, 3, 3}, raw(weights))},
                .inputs = {value_info("x", kFloat, {1, 64, 40, 40})},
                .outputs = {value_info("early", kFloat, {1, 64, 40, 40}),
                            value_info("y", kFloat, {1, 64, 40, 40})}});
}

// Records and tuning compile what the target itself would.
TEST(Compile, TargetsWithOtherSchedulesAreTheSameOtherwise) {
  const auto target = make_target("cuda:sm_90,precision=fp16", 1);
  const auto scheduled = with_avoided(with_schedules(target, [&](const StageGroup& g) { return target->default_schedule(g); }), {});
  EXPECT_EQ(scheduled->text(), target->text());
  EXPECT_EQ(scheduled->storage(), DType::F16);
  EXPECT_TRUE(scheduled->scales_operands());
  Function f{.name = "one"};
  const BufferId out = f.add_buffer({.name = "O", .size = 8, .written = true});
  const VarId i = f.fresh("i");
  f.body = make_for({.var = i, .kind = LoopKind::Parallel, .extent = 8}, make_store(out, Index(Aff::of(i)), constant(1.0)));
  const Function* two[] = {&f, &f};
  EXPECT_TRUE(scheduled->prefers_one_launch(two));
}

// Products of halves have instructions of their type; those of bf16 are there from sm_80 on.
TEST(Compile, PrecisionsOfGpus) {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.onnx";
  write_file(path, relu_and_conv());
  CompileOptions options;
  options.library = false;
  options.target = "cuda:sm_80";
  for (const auto& [precision, sum] : {std::pair{"strict", "sum_3xtf32("}, {"tf32", "sum_tf32("}, {"fp16", "sum_f16("}, {"bf16", "sum_bf16("}}) {
    options.precision = precision;
    const std::string source = compile(path, options).emit("cuda");
    EXPECT_NE(source.find(sum, source.find("__global__")), std::string::npos) << precision;
  }
  options.target = "cuda:sm_75+sm_90";
  EXPECT_THROW(
      try { (void)compile(path, options); } catch (const UserError& e) {
        EXPECT_NE(std::string(e.what()).find("precision=bf16 needs instructions that sm_75 does not have"), std::string::npos) << e.what();
        throw;
      },
      UserError);
}

TEST(Compile, RoundingIsThatOfTheOperatorsThatAnOutputDependsOn) {
  const TemporaryFolder folder;
  const auto path = folder.path / "model.onnx";
  write_file(path, relu_and_conv());
  CompileOptions options;
  options.target = "llvm:cpu=znver4";
  options.threads = 1;
  options.library = false;
  const CompiledModel chosen = compile(path, options);
  EXPECT_EQ(chosen.rounding_of("early"), 1);
  EXPECT_EQ(chosen.rounding_of("y"), 2);
  EXPECT_THROW(static_cast<void>(chosen.rounding_of("z")), UserError);
  options.disable_passes = {"choose_algorithms"};
  EXPECT_EQ(compile(path, options).rounding_of("y"), 1);
}

}  // namespace
}  // namespace burnish
