// Every pass keeps what a network computes, on seeded random networks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "graph/op.h"
#include "passes/graph/passes.h"
#include "passes/loop/passes.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

constexpr uint64_t networks = 60;

TEST(Semantics, EachGraphPassAlone) {
  for (uint64_t seed = 1; seed <= networks; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph g = test::random_network(seed);
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    const std::vector<Tensor> wanted = test::evaluate_graph(g, inputs);
    for (const GraphPass& pass : graph_pipeline()) {
      const Graph after = pass.run(g, {});
      verify(after);
      ASSERT_EQ(after.outputs.size(), g.outputs.size());
      for (size_t i = 0; i < g.outputs.size(); ++i) {
        EXPECT_EQ(after.values[after.outputs[i]].name, g.values[g.outputs[i]].name) << pass.name;
      }
      test::expect_close(test::evaluate_graph(after, inputs), wanted, 1e-4, std::string(pass.name));
    }
  }
}

TEST(Semantics, WholeGraphPipeline) {
  for (uint64_t seed = 1; seed <= networks; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph g = test::random_network(seed);
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    Context context;
    context.options.verify = true;
    const Graph after = optimize_graph(g, context);
    test::expect_close(test::evaluate_graph(after, inputs), test::evaluate_graph(g, inputs), 1e-4, "pipeline");
  }
}

TEST(Semantics, ProgramInTheInterpreter) {
  for (uint64_t seed = 1; seed <= networks / 2; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Graph g = test::random_network(seed);
    const std::vector<Tensor> inputs = test::random_inputs(g, seed);
    Context context;
    context.target = &test::plain_target();
    context.options.verify = true;
    const Program p = compile_graph(g, context);
    test::expect_close(test::interpret_program(p, g, inputs), test::evaluate_graph(g, inputs), 1e-4, "program");
  }
}

TEST(Semantics, TextRoundTripsAfterEveryPass) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Graph g = test::random_network(seed);
    for (const GraphPass& pass : graph_pipeline()) {
      g = pass.run(g, {});
      // Long constants come back as noise, so compare from the first parsed graph on, without their hashes.
      const Graph parsed = parse_graph(to_text(g));
      auto without_hashes = [](std::string text) {
        for (size_t at = text.find('#'); at != std::string::npos; at = text.find('#', at + 1)) {
          text.replace(at, 17, "#");
        }
        return text;
      };
      EXPECT_EQ(without_hashes(to_text(parsed)), without_hashes(to_text(g))) << pass.name << " seed " << seed;
    }
  }
}

}  // namespace
}  // namespace burnish
