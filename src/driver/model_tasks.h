// A model as the search sees it: its tasks, and the same model under other schedules.
#pragma once

#include <burnish/tune.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "driver/scheduled_target.h"
#include "graph/graph.h"
#include "loop/program.h"
#include "search/task.h"

namespace burnish {

struct ModelTasks {
  std::shared_ptr<const Target> target;
  Graph imported;
  Graph graph;                        // fused groups
  std::vector<search::Task> tasks;    // one a distinct kernel, in the order of the program's functions
  std::vector<uint32_t> task_of_step;
  std::vector<std::vector<std::string>> sources_of_step;
  int64_t weights_bytes = 0, arena_bytes = 0;

  GroupHashes avoided;                // groups that passes would have chosen, and were kept from
  // By task: what passes chose in it and could do without, as they asked the target: all of it, which is a chain, then
  // convolutions by their formulas alone.
  std::vector<std::vector<std::string>> choices;
};

ModelTasks model_tasks(const std::filesystem::path& model, const CompileOptions& options,
                       const GroupHashes& avoided = {});
ModelTasks model_tasks(Graph imported, std::shared_ptr<const Target> target, const GroupHashes& avoided = {});
// The same model with other groups avoided.
ModelTasks avoiding(const ModelTasks& m, const GroupHashes& avoided);

// The library of the model with these schedules.
std::string library_with(const ModelTasks& m, const Scheduler& scheduler);
// One trace a task; empty: the default schedule. A trace that does not lower is an InternalError: the search has
// measured it.
std::string library_with(const ModelTasks& m, const std::vector<std::string>& traces);

}  // namespace burnish
