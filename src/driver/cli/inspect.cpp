// burnish inspect MODEL: what a model is made of, and everything in it that cannot be compiled.
#include <fmt/format.h>

#include "driver/cli/commands.h"
#include "graph/graph.h"

namespace burnish::cli {

void add_inspect(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("inspect", "what a model is made of: inputs, outputs, operators, parameters, MACs");
  auto args = std::make_shared<ModelArgs>();
  add_model_options(*command, *args, true);
  command->callback([args, &status] {
    const ModelSummary s = inspect(args->path, compile_options(*args));
    for (const auto& p : s.inputs) fmt::print("input   {} {} {}\n", p.name, p.dtype, shape_text(p.shape));
    for (const auto& p : s.outputs) fmt::print("output  {} {} {}\n", p.name, p.dtype, shape_text(p.shape));
    for (const auto& o : s.operators) fmt::print("{:6}  {}\n", o.count, o.name);
    fmt::print("{:.3f} M parameters, {:.1f} M multiply-adds a run\n", s.parameters / 1e6, s.macs / 1e6);
    status = ok;
  });
}

}  // namespace burnish::cli
