#include "driver/model_tasks.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "driver/found_schedules.h"
#include "driver/options.h"
#include "graph/op.h"
#include "passes/graph/kernels.h"
#include "passes/graph/passes.h"
#include "passes/pipeline.h"
#include "target/metadata.h"

namespace burnish {

namespace {

Context context_for(const Target& target) {
  Context c;
  c.target = &target;
  c.options.disable = passes_across_steps();  // steps are tasks, and timed one by one
  return c;
}

// What of the groups that the target was asked about stands in the tasks.
std::vector<std::vector<std::string>> choices_in(const ModelTasks& m, const GroupHashes& offered) {
  std::map<std::string, size_t> task_of;
  for (size_t i = 0; i < m.tasks.size(); ++i) task_of[m.tasks[i].hash] = i;
  std::vector<std::vector<std::string>> choices(m.tasks.size());
  for (const Node& n : m.graph.nodes) {
    if (n.op != &group_op() || n.bodies.size() != 1) continue;
    const auto task = task_of.find(search::hash_text(to_text(kernel_stages(m.graph, n).group)));
    if (task == task_of.end()) continue;
    const auto add = [&](const StageGroup& group) {
      std::vector<std::string>& known = choices[task->second];
      std::string hash = search::hash_text(to_text(group));
      if (offered.contains(hash) && std::ranges::find(known, hash) == known.end()) known.push_back(std::move(hash));
    };
    add(stages_of_group(m.graph, n));
    for (const Node& part : n.bodies[0].nodes) {
      // Of others there is one algorithm only; they may have been asked about for their layouts.
      if (part.op->fusion != Fusion::Anchor) continue;
      add(stages_alone(n.bodies[0], part));
    }
  }
  return choices;
}

}  // namespace

ModelTasks model_tasks(Graph imported, std::shared_ptr<const Target> target, const GroupHashes& avoided) {
  ModelTasks m;
  m.target = std::move(target);
  m.imported = std::move(imported);
  GroupHashes offered;
  m.graph = optimize_graph(m.imported, context_for(*with_avoided(m.target, avoided, &offered)));
  std::ranges::set_intersection(offered, avoided, std::inserter(m.avoided, m.avoided.end()));

  std::vector<StageGroup> groups;
  const auto seeing = with_schedules(m.target, [&](const StageGroup& g) {
    groups.push_back(g);
    return m.target->default_schedule(g);
  });
  const Program p = lower_graph(m.graph, context_for(*seeing));
  check(groups.size() == p.functions.size(), "{} kernels were scheduled, {} functions made", groups.size(),
        p.functions.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    m.tasks.push_back(search::make_task(p.functions[i].name, std::move(groups[i]), *m.target));
    m.tasks.back().weight = 0;
  }
  for (const Step& s : p.steps) {
    search::Task& t = m.tasks[s.function];
    if (t.weight++ == 0) {
      t.macs = s.macs;
      t.bytes = s.bytes;
    }
    t.sources.insert(t.sources.end(), s.sources.begin(), s.sources.end());
    m.task_of_step.push_back(s.function);
    m.sources_of_step.push_back(s.sources);
  }
  const MemoryNeeds needs = m.target->memory(p);
  m.weights_bytes = needs.weights_bytes;
  m.arena_bytes = needs.arena_bytes;
  m.choices = choices_in(m, offered);
  return m;
}

ModelTasks model_tasks(const std::filesystem::path& model, const CompileOptions& options,
                       const GroupHashes& avoided) {
  auto target = target_of(options);
  return model_tasks(import_model(model, import_options(options)), std::move(target), avoided);
}

ModelTasks avoiding(const ModelTasks& m, const GroupHashes& avoided) {
  return model_tasks(m.imported, m.target, avoided);
}

std::string library_with(const ModelTasks& m, const Scheduler& scheduler) {
  const Program p = lower_graph(m.graph, context_for(*with_schedules(m.target, scheduler)));
  return m.target->build(p, metadata_of(p, *m.target));
}

std::string library_with(const ModelTasks& m, const std::vector<std::string>& traces) {
  check(traces.size() == m.tasks.size(), "{} traces for {} tasks", traces.size(), m.tasks.size());
  size_t next = 0;
  return library_with(m, [&](const StageGroup& g) {
    const std::string& trace = traces.at(next++);
    if (trace.empty()) return m.target->default_schedule(g);
    return replayed(g, trace).expect("the schedule that was measured for " + g.name);
  });
}

}  // namespace burnish
