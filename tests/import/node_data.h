// ONNX's own tests as its package ships them: a folder a test, with a model and sets of inputs and
// expected outputs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace burnish::test {

enum class Outcome { Passed, Unsupported, Refused, Wrong };

struct NodeResult {
  Outcome outcome;
  std::string why;
};

// Imports the model with the shapes of its data set's inputs and computes it with the operators'
// formulas. `compute` false: stops after the import.
NodeResult run_node_test(const std::filesystem::path& folder, bool compute);

// The data folder of the onnx package in the build's Python environment, or of the variable
// BURNISH_ONNX_DATA; empty when there is none.
std::filesystem::path onnx_data_folder();

std::vector<std::filesystem::path> node_tests(const std::filesystem::path& data,
                                              const std::string& kind);

}  // namespace burnish::test
