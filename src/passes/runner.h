// Runs tables of passes: dump, stop, disable, time and verify by a pass's name, the same for every pass.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "loop/program.h"
#include "passes/context.h"

namespace burnish {

template <class IR>
struct Pass {
  std::string_view name;  // of the function, its file, its dump and its option
  IR (*run)(const IR&, const Context&);
  std::string_view why;   // what it needs to stand after, or what needs it; empty: its place is free
};

using GraphPass = Pass<Graph>;
using ProgramPass = Pass<Program>;

// Runs the passes in order. `stopped`, if given, is set when options.stop_after was reached. Dumps are named
// 03-fuse.before.txt and 03-fuse.after.txt, by place and pass: `first` is the place of the first pass.
// InternalError names the pass that failed and where its input was dumped.
Graph run_passes(std::span<const GraphPass> passes, Graph g, const Context& context, int first = 1,
                 bool* stopped = nullptr);
Program run_passes(std::span<const ProgramPass> passes, Program p, const Context& context, int first = 1,
                   bool* stopped = nullptr);

// A step that is no pass because it changes the representation, with the same treatment.
Program run_lowering(std::string_view name, Program (*run)(const Graph&, const Context&), const Graph& g,
                     const Context& context, int number);

// The table of --time-passes: seconds and share a pass, the longest first.
std::string times_text(const std::vector<PassTime>& times);

}  // namespace burnish
