// burnish._compiler: compiling models. A module of its own, so that `import burnish` does not load LLVM.
#include "tune.h"

#include <burnish/compiler.h>

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <optional>
#include <utility>

namespace burnish::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;
using Path = std::filesystem::path;
using Shapes = std::map<std::string, std::vector<int64_t>>;

// Given its own class, because the compiler's result can only be moved.
struct Compiled {
  CompiledModel model;
};

Compiled compile_file(const Path& model, const Shapes& shapes, const std::string& target, const std::optional<std::string>& precision,
                      int threads, bool reference, const std::string& reference_rounding, const std::optional<Path>& records) {
  CompileOptions options;
  options.shapes = shapes;
  options.target = target;
  options.precision = precision.value_or("");
  options.threads = threads;
  options.reference = reference;
  options.reference_rounding = reference_rounding;
  options.records = records.value_or(Path());
  options.python_messages = true;
  nb::gil_scoped_release released;
  return {compile(model, options)};
}

ModelSummary inspect_file(const Path& model, const Shapes& shapes) {
  CompileOptions options;
  options.shapes = shapes;
  options.python_messages = true;
  nb::gil_scoped_release released;
  return inspect(model, options);
}

nb::bytes bytes_of(const std::string& text) { return nb::bytes(text.data(), text.size()); }

nb::object emitted(const Compiled& compiled, const std::string& kind) {
  std::string text;
  {
    nb::gil_scoped_release released;
    text = compiled.model.emit(kind);
  }
  if (kind == "obj" || kind == "so") return bytes_of(text);
  return nb::str(text.data(), text.size());
}

nb::object shape_of(const ModelSummary::Port& port) {
  if (!port.has_shape) return nb::none();
  nb::list shape;
  for (size_t i = 0; i < port.shape.size(); ++i) {
    if (port.shape[i] >= 0) {
      shape.append(port.shape[i]);
    } else {
      shape.append(nb::str(port.dims[i].data(), port.dims[i].size()));
    }
  }
  return shape;
}

void bind_summaries(nb::module_& module) {
  nb::class_<ModelSummary> summary(module, "ModelSummary", "What a model is made of.");
  nb::class_<ModelSummary::Port>(summary, "Port", "An input or output.")
      .def_ro("name", &ModelSummary::Port::name)
      .def_ro("dtype", &ModelSummary::Port::dtype)
      .def_prop_ro("shape", &shape_of, nb::sig("def shape(self) -> list[int | str] | None"),
                   "Sizes; those that are open by their names, or '?'. None where not even their number is known.");
  summary.def_ro("inputs", &ModelSummary::inputs)
      .def_ro("outputs", &ModelSummary::outputs)
      .def_prop_ro("operators", [](const ModelSummary& self) {
        nb::dict counts;
        for (const auto& [name, count] : self.operators) counts[nb::str(name.c_str())] = count;
        return counts;
      }, nb::sig("def operators(self) -> dict[str, int]"))
      .def_ro("parameters", &ModelSummary::parameters, "Elements of all constants.")
      .def_prop_ro("macs", [](const ModelSummary& self) {
        return self.open ? nb::object(nb::none()) : nb::object(nb::int_(self.macs));
      }, nb::sig("def macs(self) -> int | None"), "Multiply-accumulates of one run; None when sizes are open.");

  nb::class_<TaskSummary>(module, "Task", "A fused group of the model: what runs as one kernel.")
      .def_ro("name", &TaskSummary::name)
      .def_ro("sources", &TaskSummary::sources, "Names of the model's nodes.")
      .def_ro("macs", &TaskSummary::macs)
      .def_ro("bytes", &TaskSummary::bytes)
      .def_ro("count", &TaskSummary::count, "How often the model runs this very kernel.");

  nb::class_<TaskText>(module, "TaskText", "One task as text.")
      .def_ro("stages", &TaskText::stages)
      .def_ro("schedule", &TaskText::schedule)
      .def_ro("loops", &TaskText::loops);
}

}  // namespace
}  // namespace burnish::python

NB_MODULE(_compiler, module) {
  using namespace burnish;
  using namespace burnish::python;
  module.doc() = "Compiling models: Burnish's compiler.";
  nb::module_::import_("burnish._core");  // translates the exceptions
  bind_summaries(module);
  bind_tuning(module);

  nb::class_<Compiled>(module, "CompiledModel", "A compiled model, not yet in a file.")
      .def("export", [](const Compiled& self, const Path& path) {
             nb::gil_scoped_release released;
             self.model.export_to(path);
           }, "path"_a, "Writes the library, whole or not at all.")
      .def_prop_ro("library", [](const Compiled& self) { return bytes_of(self.model.library()); },
                   "The library as bytes, which InferenceSession and Model take.")
      .def_prop_ro("metadata", [](const Compiled& self) { return self.model.metadata(); },
                   "All that the compiler recorded, as JSON.")
      .def_prop_ro("notes", [](const Compiled& self) { return self.model.notes(); },
                   "What the user should know, a sentence each: records that do not apply.")
      .def("emit", &emitted, "kind"_a, nb::sig("def emit(self, kind: str) -> str | bytes"),
           "The program on its way: \"graph\", \"loops\", \"llvm\", \"asm\", \"cuda\" or \"ptx\" as text, \"obj\" or \"so\" as bytes.")
      .def("tasks", [](const Compiled& self) { return self.model.tasks(); })
      .def("task", [](const Compiled& self, const std::string& name) { return self.model.task(name); }, "name"_a,
           "Stages, schedule and loops of one task.");

  module.def("compile", &compile_file, "model"_a, nb::kw_only(), "shapes"_a = Shapes(), "target"_a = "native",
             "precision"_a = nb::none(), "threads"_a = 0, "reference"_a = false, "reference_rounding"_a = "", "records"_a = nb::none(),
             nb::sig("def compile(model: str | os.PathLike, *, shapes: typing.Mapping[str, typing.Sequence[int]] = {}, "
                     "target: str = 'native', precision: str | None = None, threads: int = 0, reference: bool = False, "
                     "reference_rounding: str = '', records: str | os.PathLike | None = None) -> CompiledModel"),
             "Compiles a model file. shapes binds inputs' shapes by name: needed for symbolic dimensions, may override "
             "declared ones. target is \"native\", \"llvm:cpu=NAME\", \"cuda\" (the GPU of this machine) "
             "or \"cuda:sm_90\". precision, of GPUs: \"strict\" (the default: errors as of f32), \"tf32\", \"fp16\" or \"bf16\". threads is what the code is laid out for (0: all "
             "CPUs); any number may run it. reference computes all floats in fp64 with plain schedules; with reference_rounding \"f16\" or \"bf16\" inputs, "
             "weights and the result of every operator are rounded to it, as frameworks do in half precision. records is a "
             "database of tune: its schedules that won inside a model are used where they apply. Raises UserError "
             "or Unsupported, which lists every operator that is missing. The GIL is released meanwhile.");
  module.def("inspect", &inspect_file, "model"_a, nb::kw_only(), "shapes"_a = Shapes(),
             nb::sig("def inspect(model: str | os.PathLike, *, "
                     "shapes: typing.Mapping[str, typing.Sequence[int]] = {}) -> ModelSummary"),
             "Says what a model is made of, without compiling it. Where sizes are open and shapes does not give them, "
             "operators are the model's own nodes by their own names, and macs is None. Raises Unsupported, which lists "
             "every operator that is missing.");
}
