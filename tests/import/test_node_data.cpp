// ONNX's own tests, computed with the operators' formulas: what the importer and the formulas
// together get right.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "import/import.h"
#include "node_data.h"

namespace burnish::test {
namespace {

// How many pass at least; raise them when more do.
struct Expected {
  const char* kind;
  int plain, expanded;
};

class NodeData : public testing::TestWithParam<Expected> {};

TEST_P(NodeData, PassAndNoneIsWrong) {
  const std::filesystem::path data = onnx_data_folder();
  if (data.empty()) GTEST_SKIP() << "the onnx package is not installed: run tools/setup.sh";
  // Half-precision results one step apart from those of the reference, which rounds in another
  // order; and a zero for which the reference has its own rounding error.
  const std::set<std::string> rounding = {
      "test_attention_4d_fp16",
      "test_attention_4d_fp16_expanded",
      "test_attention_4d_gqa_with_past_and_present_fp16",
      "test_attention_4d_gqa_with_past_and_present_fp16_expanded",
      "test_causal_conv_with_state_silu_fp16",
      "test_causal_conv_with_state_silu_fp16_expanded",
      "test_dft_inverse",
      "test_dft_inverse_opset19",
  };
  int plain = 0, expanded = 0;
  for (const auto& folder : node_tests(data, GetParam().kind)) {
    const std::string name = folder.filename().string();
    const NodeResult result = run_node_test(folder, true);
    const bool passed = result.outcome == Outcome::Passed;
    (name.find("_expanded") == std::string::npos ? plain : expanded) += passed;
    if (!rounding.contains(name)) {
      EXPECT_NE(result.outcome, Outcome::Wrong) << name << ": " << result.why;
    }
  }
  std::printf("%s: %d plain and %d expanded tests pass\n", GetParam().kind, plain, expanded);
  EXPECT_GE(plain, GetParam().plain);
  EXPECT_GE(expanded, GetParam().expanded);
}

// Every operator's converter and shape inference, over damaged models: an error in a sentence or a
// graph, never a crash and never an internal error.
TEST(DamagedModels, OfEveryOperator) {
  const std::filesystem::path data = onnx_data_folder();
  if (data.empty()) GTEST_SKIP() << "the onnx package is not installed: run tools/setup.sh";
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const ImportOptions small{.max_tensor_bytes = 1 << 24, .max_made_bytes = 1 << 26};
  for (const auto& folder : node_tests(data, "node")) {
    const std::string whole = read_file(folder / "model.onnx");
    for (int round = 0; round < 6; ++round) {
      std::string bytes = whole;
      for (int k = 0; k < 1 + round % 2; ++k) {
        char& c = bytes[random() % bytes.size()];
        c = random() % 2 == 0 ? static_cast<char>(random())
                              : static_cast<char>(c ^ (1 << random() % 8));
      }
      try {
        import_model(bytes, folder.filename().string(), {}, small);
      } catch (const UserError&) {
      } catch (const Unsupported&) {
      } catch (const std::exception& e) {
        ADD_FAILURE() << folder.filename() << " with seed " << seed << ": " << e.what();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, NodeData,
                         testing::Values(Expected{"node", 1030, 380}, Expected{"simple", 15, 0},
                                         Expected{"pytorch-converted", 82, 0},
                                         Expected{"pytorch-operator", 35, 0}),
                         [](const auto& info) {
                           std::string name = info.param.kind;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace burnish::test
