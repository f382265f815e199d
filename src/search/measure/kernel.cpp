#include "search/measure/kernel.h"

#include <algorithm>
#include <utility>

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
bool try_steps(Schedule& s, const std::vector<ScheduleStep>& steps) {
  Schedule more = s;
  for (const ScheduleStep& step : steps) {
    if (!more.apply(step)) return false;
  }
  if (!lower(more).ok()) return false;
  s = std::move(more);
  return true;
}

Layout with_last(size_t rank, uint32_t last) {
  std::vector<uint32_t> order;
  for (uint32_t a = 0; a < rank; ++a) {
    if (a != last) order.push_back(a);
  }
  order.push_back(last);
  return permuted(order);
}

// Tensors between stages, and constants, contiguous along the axis that is contiguous in the output.
void align_layouts(Schedule& s, const StageGroup& g) {
  const Stage& out = g[g.outputs.back()];
  const std::vector<uint32_t> order = memory_order(out);
  if (order.empty()) return;
  const std::string& inner = out.axes[order.back()].name;
  for (StageId id = 0; id < g.stages.size(); ++id) {
    const Stage& stage = g[id];
    const auto axis = stage.axis_named(inner);
    if (!stage.is_compute() || stage.scan || !axis) continue;
    if (std::ranges::find(g.outputs, id) == g.outputs.end()) {
      try_steps(s, {step::Pack{stage.name, with_last(stage.axes.size(), *axis)}});
    }
    visit(stage.body, [&](const Expr& e) {
      if (e.kind() != ExprKind::Load || g[e.from()].kind != StageKind::Constant) return;
      for (uint32_t i = 0; i < e.indices().size(); ++i) {
        if (e.indices()[i].a.slope(stage.axes[*axis].var) != 1) continue;
        try_steps(s, {step::Pack{g[e.from()].name, with_last(e.indices().size(), i)}});
        return;
      }
    });
  }
}

// Vectors along the contiguous axis, sums outside of a row of them.
void widen(Schedule& s, const Stage& stage, const Machine& m) {
  const std::vector<uint32_t> order = memory_order(stage);
  if (order.empty() || stage.scan) return;
  std::vector<std::string> rows, sums;
  for (uint32_t a : order) rows.push_back(stage.axes[a].name);
  for (const Axis& k : stage.raxes) sums.push_back(k.name);
  const std::string inner = rows.back();
  const int64_t lanes = m.vector_bytes / size_of(stage.dtype);
  bool done = false;
  if (lanes > 1 && stage.axes[order.back()].extent >= lanes) {
    rows.back() = inner + ".o";
    const step::Split split{stage.name, inner, lanes, Tail::Tail};
    const step::Vectorize vectorize{stage.name, inner + ".i"};
    const auto in_order = [&](size_t rows_inside) {
      std::vector<std::string> loops = rows;
      if (rows_inside > 0) std::swap(loops[loops.size() - 1], loops[loops.size() - 2]);
      loops.insert(loops.end() - static_cast<std::ptrdiff_t>(rows_inside), sums.begin(), sums.end());
      loops.push_back(inner + ".i");
      return try_steps(s, {split, step::Reorder{stage.name, loops}, vectorize});
    };
    done = (rows.size() > 1 && !sums.empty() && in_order(1)) || in_order(0);
    rows.back() = inner;
  }
  if (!done) {
    rows.insert(rows.end(), sums.begin(), sums.end());
    try_steps(s, {step::Reorder{stage.name, rows}});
  }
  for (const std::string& loop : s.loops(stage.name)) {
    const auto axis = stage.axis_named(loop);
    if (m.threads == 1 || std::ranges::find(sums, loop) != sums.end()) break;
    if (axis && stage.axes[*axis].extent == 1) continue;
    if (loop != inner + ".i") try_steps(s, {step::Parallel{stage.name, loop}});
    break;
  }
}

// A device is timed by graphs of launches: enough of them that starting a graph does not count.
constexpr int device_launches = 16;
constexpr int64_t most_copied_bytes = int64_t{128} << 20;

}  // namespace

Schedule plain_schedule(const StageGroup& g, const Machine& m) {
  Schedule s(g);
  align_layouts(s, g);
  for (StageId id = 0; id < g.stages.size(); ++id) {
    if (g[id].is_compute()) widen(s, Stage(s.group()[id]), m);
  }
  return s;
}

Result<Built> build_kernel(const Schedule& s, const Target& t, bool verified, const std::string& name) {
  Result<Function> lowered = lower(s);
  if (!lowered) return Reason{lowered.reason()};
  if (!name.empty()) lowered->name = name;
  const StageGroup &g = s.group(), &given = s.given();
  Built built;
  Program p;
  // An empty step first: what a run costs before its first step is no part of the kernel's time in a model.
  Function start;
  start.name = "start";
  start.body = make_seq({});
  p.functions = {std::move(start), std::move(*lowered)};
  const bool device = t.machine().device;
  Step kernel{.function = 1};
  std::vector<StageId> stages = g.inputs;
  stages.insert(stages.end(), g.outputs.begin(), g.outputs.end());
  const Function& f = p.functions[1];
  check(stages.size() == f.params.size(), "{} has {} parameters, not {}", f.name, f.params.size(), stages.size());
  int64_t constant_bytes = 0;
  for (const StageId input : g.inputs) {
    if (g[input].kind == StageKind::Constant) constant_bytes += physical_size(packed_layout(s, input), g[input].shape()) * size_of(g[input].dtype);
  }
  if (device) {
    built.launches = device_launches;
    built.copies = static_cast<int>(std::clamp<int64_t>(most_copied_bytes / std::max<int64_t>(constant_bytes, 1), 1, built.launches));
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = g[stages[i]];
    const bool output = i >= g.inputs.size();
    const std::vector<int64_t> shape = given[output ? given.outputs[i - g.inputs.size()] : given.inputs[i]].shape();
    const Layout layout = stage.kind == StageKind::Constant ? packed_layout(s, stages[i]) : stage.layout;
    const Buffer& b = f.buffers[f.params[i]];
    check(b.written == output && b.dtype == stage.dtype, "parameter {} of {} is not {}", i, f.name, stage.name);
    const auto id = static_cast<uint32_t>(p.tensors.size());
    built.parameters.push_back({.name = stage.name, .dtype = stage.dtype, .shape = shape, .layout = layout,
                                .constant = stage.kind == StageKind::Constant, .output = output});
    const Parameter& parameter = built.parameters.back();
    int64_t size = physical_size(layout, shape);
    if (parameter.constant && built.copies > 1) size = built.copies * stride_of(parameter) / size_of(stage.dtype);
    p.tensors.push_back({.name = stage.name,
                         .kind = output ? TensorKind::Output : TensorKind::Input,
                         .dtype = stage.dtype,
                         .shape = {size},
                         .size = size,
                         .run = b.run,
                         .pitch = b.pitch});
    (output ? p.outputs : p.inputs).push_back(id);
    kernel.args.push_back(id);
  }
  if (!device) {
    p.steps = {Step{.function = 0}, std::move(kernel)};
  } else {
    for (int i = 0; i < built.launches; ++i) {
      Step& step = p.steps.emplace_back(kernel);
      for (const Parameter& x : built.parameters) step.offsets.push_back(x.constant ? i % built.copies * stride_of(x) : 0);
    }
  }
  if (verified) verify(p);
  built.library = t.build(p, metadata_of(p, t));
  built.tolerance = tolerance_of(g, t.machine().factor_epsilon);
  return built;
}

}  // namespace burnish::search
