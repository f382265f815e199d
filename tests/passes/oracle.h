// Runs graphs node by node through the operators' formulas: what every pass has to preserve.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "passes/context.h"
#include "target/target.h"

namespace burnish::test {

std::vector<Tensor> evaluate_graph(const Graph& g, const std::vector<Tensor>& inputs);
std::vector<Tensor> random_inputs(const Graph& g, uint64_t seed);

// A constant "w" of floats between -1 and 1; `seed` goes on.
ValueId random_weights(Graph& g, Shape shape, uint64_t& seed);

size_t count(const Graph& g, std::string_view op);  // nodes

// Runs a program in the interpreter.
std::vector<Tensor> interpret_program(const Program& p, const Graph& g,
                                      const std::vector<Tensor>& inputs);

// A failure naming the first element that differs by more than `tolerance` times the larger
// magnitude (at least 1).
void expect_close(const std::vector<Tensor>& got, const std::vector<Tensor>& wanted,
                  double tolerance, const std::string& what);

// A seeded network of convolutions, norms, activations, residual adds, pools, concats, reshapes and
// softmax.
Graph random_network(uint64_t seed);

// A target that schedules every group as it stands: loops in the order of the axes.
class PlainTarget : public BasicTarget {
 public:
  std::string text() const override { return "plain"; }
  const Machine& machine() const override { return machine_; }
  Schedule default_schedule(const StageGroup& g) const override { return Schedule(g); }
  std::string emit(const Program&, EmitKind) const override { return {}; }
  std::string build(const Program&, const std::string&) const override { return {}; }
  MemoryNeeds memory(const Program&) const override { return {}; }
  std::vector<std::string> required_features() const override { return {}; }

 protected:
  Machine machine_;
};
// The same on a device.
class PlainDevice : public PlainTarget {
 public:
  PlainDevice() { machine_.device = true; }
};
const Target& plain_target();

// Compares with tests/passes/golden/<name>.txt; under --update it writes the file instead.
extern bool update_golden;
void expect_golden(const std::string& name, const std::string& text,
                   const std::filesystem::path& folder = std::filesystem::path(BURNISH_TEST_DATA) /
                                                         "golden");

}  // namespace burnish::test
