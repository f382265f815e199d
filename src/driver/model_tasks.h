// A model as the search sees it: its tasks, and the same model under other schedules.
#pragma once

#include <burnish/tune.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "loop/program.h"
#include "search/task.h"

namespace burnish {

struct ModelTasks {
  std::shared_ptr<const Target> target;
  Graph graph;                        // fused groups
  std::vector<search::Task> tasks;    // one a distinct kernel, in the order of the program's functions
  std::vector<uint32_t> task_of_step;
  int64_t weights_bytes = 0, arena_bytes = 0;
};

ModelTasks model_tasks(const std::filesystem::path& model, const CompileOptions& options);

// The library of the model with these schedules, one trace a task; empty: the default one. A trace that does not lower
// is an InternalError: the search has measured it.
std::string library_with(const ModelTasks& m, const std::vector<std::string>& traces);

}  // namespace burnish
