// burnish inspect MODEL: what a model is made of, and everything in it that cannot be compiled.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

bool is_open(const ModelSummary::Port& p) {
  return !p.has_shape || std::find(p.shape.begin(), p.shape.end(), -1) != p.shape.end();
}

// 1x3x512x512, or [batch, 3, height, width] where sizes are open.
std::string port_text(const ModelSummary::Port& p) {
  if (!p.has_shape) return "of any shape";
  if (!is_open(p)) return p.dims.empty() ? "scalar" : join(p.dims, "x");
  std::vector<std::string> dims;
  for (const std::string& d : p.dims) dims.push_back(d.size() <= 40 ? d : "?");  // formulas, where names belong
  return "[" + join(dims, ", ") + "]";
}

// A --shape for every input that needs one, as an example.
std::string shapes_to_give(const ModelSummary& s) {
  std::string text;
  for (const ModelSummary::Port& p : s.inputs) {
    if (!is_open(p)) continue;
    std::vector<std::string> sizes;
    for (size_t i = 0; i < p.shape.size(); ++i) sizes.push_back(p.shape[i] >= 0 ? p.dims[i] : i == 0 ? "1" : "320");
    text += fmt::format(" --shape {}={}", p.name, p.has_shape ? join(sizes, "x") : "1x3x224x224");
  }
  return text;
}

void print_summary(const ModelSummary& s) {
  for (const auto& p : s.inputs) fmt::print("input   {} {} {}\n", p.name, p.dtype, port_text(p));
  for (const auto& p : s.outputs) fmt::print("output  {} {} {}\n", p.name, p.dtype, port_text(p));
  for (const auto& o : s.operators) fmt::print("{:6}  {}\n", o.count, o.name);
  fmt::print("{:.3f} M parameters, ", s.parameters / 1e6);
  if (s.open) {
    fmt::print("multiply-adds once sizes are given, for example{}\n", shapes_to_give(s));
  } else {
    fmt::print("{:.1f} M multiply-adds a run\n", s.macs / 1e6);
  }
}

}  // namespace

void add_inspect(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("inspect", "what a model is made of: inputs, outputs, operators, parameters, MACs");
  auto args = std::make_shared<ModelArgs>();
  add_model_options(*command, *args, true);
  command->callback([args, &status] {
    print_summary(inspect(args->path, compile_options(*args)));
    status = ok;
  });
}

}  // namespace burnish::cli
