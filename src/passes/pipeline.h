// The pipelines: from an imported graph to a program that a target can turn into code.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "passes/runner.h"

namespace burnish {

std::span<const GraphPass> graph_pipeline();
std::span<const ProgramPass> program_pipeline();

// Every name that --dump, --stop-after and --disable understand, in the order of execution.
std::vector<std::string_view> pass_names();

// The graph after graph_pipeline(): fused groups. UserError when an option names an unknown pass.
Graph optimize_graph(const Graph& g, const Context& context);

// From fused groups to the program; context.target must be set.
Program lower_graph(const Graph& groups, const Context& context);

// Those on programs after which functions are no longer what was scheduled, one a step: left out where steps are looked at one by one.
std::vector<std::string> passes_across_steps();

// Does `name` belong to the graph passes (after which there is no program yet)?
bool is_graph_pass(std::string_view name);

// All the way. options.stop_after of a graph pass is refused here: there would be no program.
// context.target must be set.
Program compile_graph(const Graph& g, const Context& context);

}  // namespace burnish
