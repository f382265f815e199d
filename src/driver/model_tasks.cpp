#include "driver/model_tasks.h"

#include "driver/found_schedules.h"
#include "driver/options.h"
#include "passes/graph/passes.h"
#include "passes/pipeline.h"
#include "target/metadata.h"

namespace burnish {

namespace {

Context context_for(const Target& target) {
  Context c;
  c.target = &target;
  return c;
}

}  // namespace

ModelTasks model_tasks(const std::filesystem::path& model, const CompileOptions& options) {
  ModelTasks m;
  m.target = target_of(options);
  m.graph = optimize_graph(import_model(model, import_options(options)), context_for(*m.target));

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
  }
  const MemoryNeeds needs = m.target->memory(p);
  m.weights_bytes = needs.weights_bytes;
  m.arena_bytes = needs.arena_bytes;
  return m;
}

std::string library_with(const ModelTasks& m, const std::vector<std::string>& traces) {
  check(traces.size() == m.tasks.size(), "{} traces for {} tasks", traces.size(), m.tasks.size());
  size_t next = 0;
  const auto target = with_schedules(m.target, [&](const StageGroup& g) {
    const std::string& trace = traces.at(next++);
    if (trace.empty()) return m.target->default_schedule(g);
    return replayed(g, trace).expect("the schedule that was measured for " + g.name);
  });
  const Program p = lower_graph(m.graph, context_for(*target));
  return m.target->build(p, metadata_of(p, *m.target));
}

}  // namespace burnish
