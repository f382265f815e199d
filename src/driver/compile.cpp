// The whole way of a model, in one place: import, graph passes, lowering, code, library.
#include <burnish/artifact_format.h>
#include <burnish/compiler.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "target/metadata.h"
#include "driver/found_schedules.h"
#include "driver/options.h"
#include "driver/scheduled_target.h"
#include "base/version.h"
#include "graph/op.h"
#include "import/import.h"
#include "passes/graph/passes.h"
#include "passes/pipeline.h"
#include "target/target.h"

namespace burnish {

struct CompiledModel::State {
  std::shared_ptr<const Target> target;
  Graph graph;      // fused groups
  Program program;
  mutable std::string metadata;
  std::string missing;              // why the program is not complete: no code can be made from it
  mutable std::string library;  // built when it is first asked for

  // Also takes over what building added to the metadata.
  void build() const {
    library = target->build(program, metadata);
    const artifact::Layout layout = artifact::read_layout(std::as_bytes(std::span(library)));
    check(!layout.error, "the library that was built {}", layout.error ? layout.error : "");
    metadata = library.substr(layout.metadata.offset, layout.metadata.size);
  }
  std::vector<std::pair<std::string, double>> times;
  std::vector<std::string> notes;
};

namespace {

Graph with_every_output(Graph g) {
  for (const Node& n : g.nodes) {
    for (ValueId v : n.outputs) {
      if (std::find(g.outputs.begin(), g.outputs.end(), v) == g.outputs.end()) g.outputs.push_back(v);
    }
  }
  return g;
}

template <class F>
auto timed(const char* what, std::vector<PassTime>& times, F f) {
  const auto start = Clock::now();
  auto result = f();
  times.push_back({what, since(start)});
  return result;
}

bool disables(const CompileOptions& o, std::string_view pass) {
  return std::find(o.disable_passes.begin(), o.disable_passes.end(), pass) != o.disable_passes.end();
}

// Why no code can be made from what these options leave of the pipeline; empty when it can.
std::string missing_passes(const CompileOptions& o) {
  constexpr std::string_view last = "place_weights";
  if (!o.stop_after.empty() && o.stop_after != last) return "the passes after '" + o.stop_after + "' were not run";
  if (disables(o, last)) return "'place_weights' is disabled, and kernels would read the weights of others";
  return "";
}

const Step& step_named(const Program& p, std::string_view name) {
  std::vector<std::string> known;
  for (const Step& s : p.steps) {
    const std::string& function = p.functions[s.function].name;
    if (function == name) return s;
    if (std::find(known.begin(), known.end(), function) == known.end()) known.push_back(function);
  }
  fail_user("there is no task '{}'; the tasks are {}", name, join(known, ", "));
}

std::vector<ModelSummary::Count> by_number(const std::map<std::string, int64_t>& counts) {
  std::vector<ModelSummary::Count> list;
  for (const auto& [name, count] : counts) list.push_back({name, count});
  std::stable_sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.count > b.count; });
  return list;
}

ModelSummary summary_of(const ModelOutline& outline) {
  ModelSummary s;
  s.open = true;
  auto port = [](const DeclaredTensor& t) {
    ModelSummary::Port p{t.name, t.dtype, {}, t.dims, t.has_shape};
    for (const std::string& d : t.dims) {
      int64_t size = -1;
      const auto [end, error] = std::from_chars(d.data(), d.data() + d.size(), size);
      p.shape.push_back(error == std::errc() && end == d.data() + d.size() ? size : -1);
    }
    return p;
  };
  for (const DeclaredTensor& t : outline.inputs) s.inputs.push_back(port(t));
  for (const DeclaredTensor& t : outline.outputs) s.outputs.push_back(port(t));
  s.operators = by_number(outline.operators);
  s.parameters = outline.parameters;
  return s;
}

DType rounding_of(const CompileOptions& options) {
  if (options.reference_rounding.empty()) return DType::F64;
  const auto t = dtype_named(options.reference_rounding);
  require(t && is_float(*t), "the reference cannot be rounded to '{}'; say f16 or bf16, or nothing", options.reference_rounding);
  return *t;
}

}  // namespace

CompiledModel::CompiledModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
CompiledModel::CompiledModel(CompiledModel&&) noexcept = default;
CompiledModel& CompiledModel::operator=(CompiledModel&&) noexcept = default;
CompiledModel::~CompiledModel() = default;

CompiledModel compile(const std::filesystem::path& model, const CompileOptions& options) {
  auto state = std::make_unique<CompiledModel::State>();
  state->target = target_of(options);
  std::optional<FoundSchedules> found;
  if (options.reference) {
    state->target = with_schedules(state->target, plain_schedules());
  } else if (!options.records.empty()) {
    found = found_schedules(options.records, state->target);
    state->target = with_schedules(with_avoided(state->target, found->avoided), found->scheduler);
  }
  std::vector<PassTime> times;
  Context context;
  context.target = state->target.get();
  context.options.dump = options.dump_passes;
  context.options.dump_dir = options.dump_dir;
  context.options.stop_after = options.stop_after;
  context.options.disable = options.disable_passes;
  context.options.verify |= options.verify_passes;
  context.times = &times;

  // Shares of the time as networks of some dozen layers show them: nearly all goes into machine code.
  const auto report = [&](std::string_view stage, double done) {
    if (options.progress) options.progress(stage, done);
  };
  const bool has_program = options.stop_after.empty() || !is_graph_pass(options.stop_after);
  require(!has_program || !disables(options, "fuse"),
          "programs are made of the groups of 'fuse', which is disabled: stop after a graph pass instead");
  report("import", 0);
  Graph graph = timed("import", times, [&] { return import_model(model, import_options(options)); });
  if (options.every_value) graph = with_every_output(std::move(graph));
  if (options.reference) graph = to_double(graph, context, rounding_of(options));
  report("optimize", 0.05);
  state->graph = optimize_graph(graph, context);
  state->missing = missing_passes(options);
  if (has_program) {
    report("lower", 0.1);
    state->program = lower_graph(state->graph, context);
    state->metadata = metadata_of(state->program, *state->target);
    if (state->missing.empty() && options.library) {
      report("build", 0.2);
      timed("build", times, [&] {
        state->build();
        return 0;
      });
    }
  }
  if (found) state->notes = *found->notes;
  report("done", 1);
  if (options.time_passes) {
    for (const PassTime& t : times) state->times.emplace_back(t.pass, t.seconds);
  }
  return CompiledModel(std::move(state));
}

const std::string& CompiledModel::library() const {
  require(state_->missing.empty(), "there is no code to write: {}", state_->missing);
  if (state_->library.empty()) state_->build();
  return state_->library;
}

double CompiledModel::rounding_of(std::string_view output) const {
  const Graph& g = state_->graph;
  const auto rounding = [](const auto& self, const Graph& within) -> double {
    double most = 1;
    for (const Node& n : within.nodes) {
      most = std::max(most, n.op->rounding);
      for (const Graph& body : n.bodies) most = std::max(most, self(self, body));
    }
    return most;
  };
  std::vector<double> of(g.values.size(), 1);
  for (const Node& n : g.nodes) {
    double most = n.op->rounding;
    for (const Graph& body : n.bodies) most = std::max(most, rounding(rounding, body));
    for (ValueId v : n.inputs) most = v == no_value ? most : std::max(most, of[v]);
    for (ValueId v : n.outputs) of[v] = most;
  }
  for (ValueId v : g.outputs) {
    if (g.values[v].name == output) return of[v];
  }
  fail_user("there is no output '{}'", output);
}

const std::string& CompiledModel::metadata() const { return state_->metadata; }
const std::vector<std::pair<std::string, double>>& CompiledModel::pass_times() const { return state_->times; }
const std::vector<std::string>& CompiledModel::notes() const { return state_->notes; }
void CompiledModel::export_to(const std::filesystem::path& path) const { write_file(path, library()); }

std::string CompiledModel::emit(std::string_view kind) const {
  if (kind == "graph") return to_text(state_->graph);
  if (kind == "loops") return to_text(state_->program);
  if (kind == "so") return library();
  constexpr std::pair<std::string_view, EmitKind> of_target[] = {{"llvm", EmitKind::LlvmIr}, {"asm", EmitKind::Assembly},
                                                                 {"obj", EmitKind::Object},  {"cuda", EmitKind::Cuda},
                                                                 {"ptx", EmitKind::Ptx}};
  for (const auto& [name, code] : of_target) {
    if (name != kind) continue;
    require(state_->missing.empty(), "there is no code to write: {}", state_->missing);
    return state_->target->emit(state_->program, code);
  }
  fail_user("cannot emit '{}': choose graph, loops, llvm, asm, obj, cuda, ptx or so", kind);
}

std::vector<TaskSummary> CompiledModel::tasks() const {
  std::vector<TaskSummary> all;
  std::map<std::string, size_t> index;
  for (const Step& s : state_->program.steps) {
    const std::string& name = state_->program.functions[s.function].name;
    auto [it, fresh] = index.emplace(name, all.size());
    if (!fresh) {
      ++all[it->second].count;
      continue;
    }
    all.push_back({name, s.sources, s.macs, s.bytes, 1});
  }
  return all;
}

TaskText CompiledModel::task(std::string_view name) const {
  const Step& step = step_named(state_->program, name);
  TaskText text;
  text.loops = to_text(state_->program.functions[step.function]);
  text.schedule = step.schedule;
  for (const Node& n : state_->graph.nodes) {
    if (n.bodies.empty() || n.source != join(step.sources, "+")) continue;
    text.stages = to_text(stages_of_group(state_->graph, n));
    break;
  }
  return text;
}

ModelSummary inspect(const std::filesystem::path& model, const CompileOptions& options) {
  const ImportOptions import = import_options(options);
  if (const auto outline = outline_of_open_model(model, import)) return summary_of(*outline);
  const Graph g = import_model(model, import);
  ModelSummary s;
  auto port = [&](ValueId v) {
    ModelSummary::Port p{g.values[v].name, std::string(name_of(g.type(v).dtype)), g.type(v).shape, {}};
    for (int64_t d : p.shape) p.dims.push_back(std::to_string(d));
    return p;
  };
  for (ValueId v : g.inputs) s.inputs.push_back(port(v));
  for (ValueId v : g.outputs) s.outputs.push_back(port(v));
  for (const Value& v : g.values) {
    if (v.is_constant()) s.parameters += v.constant->size();
  }
  std::map<std::string, int64_t> counts;
  for (const Node& n : g.nodes) {
    ++counts[std::string(n.op->name)];
    s.macs += macs_of(g, n);
  }
  s.operators = by_number(counts);
  return s;
}

std::string_view version() { return version_text; }

}  // namespace burnish
