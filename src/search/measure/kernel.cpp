#include "search/measure/kernel.h"

#include <algorithm>

#include "base/error.h"
#include "search/measure/tolerance.h"
#include "target/metadata.h"

namespace burnish::search {

namespace {

// Axes from the outermost in memory to the innermost; blocked layouts name an axis more than once.
std::vector<uint32_t> memory_order(const Stage& s) {
  std::vector<uint32_t> order;
  for (const LayoutDim& d : s.layout) {
    std::erase(order, d.axis);
    order.push_back(d.axis);
  }
  for (uint32_t a = 0; s.layout.empty() && a < s.axes.size(); ++a) order.push_back(a);
  return order;
}

// The same schedule with more steps, where they are accepted and it still lowers.
void try_steps(Schedule& s, const std::vector<ScheduleStep>& steps) {
  Schedule more = s;
  for (const ScheduleStep& step : steps) {
    if (!more.apply(step)) return;
  }
  if (lower(more).ok()) s = std::move(more);
}

void widen(Schedule& s, const Stage& stage, const Machine& m) {
  const std::vector<uint32_t> order = memory_order(stage);
  if (order.empty() || stage.scan) return;
  const std::string& inner = stage.axes[order.back()].name;
  const int64_t lanes = m.vector_bytes / size_of(stage.dtype);
  if (lanes > 1 && stage.axes[order.back()].extent >= lanes) {
    std::vector<std::string> loops;
    for (uint32_t a : order) loops.push_back(stage.axes[a].name);
    loops.back() = inner + ".o";
    for (const Axis& k : stage.raxes) loops.push_back(k.name);
    loops.push_back(inner + ".i");
    try_steps(s, {step::Split{stage.name, inner, lanes, Tail::Guard}, step::Reorder{stage.name, loops},
                  step::Vectorize{stage.name, inner + ".i"}});
  }
  for (uint32_t a : order) {
    if (stage.axes[a].extent < 2) continue;
    if (a != order.back() && m.threads > 1) try_steps(s, {step::Parallel{stage.name, stage.axes[a].name}});
    break;
  }
}

}  // namespace

Schedule plain_schedule(const StageGroup& g, const Machine& m) {
  Schedule s(g);
  for (const Stage& stage : g.stages) {
    if (stage.is_compute()) widen(s, stage, m);
  }
  return s;
}

Result<Built> build_kernel(const Schedule& s, const Target& t) {
  Result<Function> lowered = lower(s);
  if (!lowered) return Reason{lowered.reason()};
  const StageGroup& g = s.group();
  Built built;
  Program p;
  // An empty step first: what a run costs before its first step is no part of the kernel's time in a model.
  Function start;
  start.name = "start";
  start.body = make_seq({});
  p.functions = {std::move(start), std::move(*lowered)};
  Step kernel{.function = 1};
  std::vector<StageId> stages = g.inputs;
  stages.insert(stages.end(), g.outputs.begin(), g.outputs.end());
  const Function& f = p.functions[1];
  check(stages.size() == f.params.size(), "{} has {} parameters, not {}", f.name, f.params.size(), stages.size());
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = g[stages[i]];
    const bool output = i >= g.inputs.size();
    const Layout layout = stage.kind == StageKind::Constant ? packed_layout(s, stages[i]) : stage.layout;
    const Buffer& b = f.buffers[f.params[i]];
    check(b.written == output && b.dtype == stage.dtype, "parameter {} of {} is not {}", i, f.name, stage.name);
    const auto id = static_cast<uint32_t>(p.tensors.size());
    p.tensors.push_back({.name = stage.name,
                         .kind = output ? TensorKind::Output : TensorKind::Input,
                         .dtype = stage.dtype,
                         .shape = {physical_size(layout, stage.shape())},
                         .size = physical_size(layout, stage.shape())});
    (output ? p.outputs : p.inputs).push_back(id);
    kernel.args.push_back(id);
    built.parameters.push_back({.name = stage.name, .dtype = stage.dtype, .shape = stage.shape(), .layout = layout,
                                .constant = stage.kind == StageKind::Constant, .output = output});
  }
  p.steps = {Step{.function = 0}, std::move(kernel)};
  verify(p);
  built.library = t.build(p, metadata_of(p, t));
  built.tolerance = tolerance_of(g);
  return built;
}

}  // namespace burnish::search
