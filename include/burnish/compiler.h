/// The compiler as a library: from a model file to a native library.
///
///   burnish::CompileOptions options;
///   options.shapes["input.1"] = {1, 3, 544, 960};
///   burnish::compile("centerface.onnx", options).export_to("centerface.so");
///
/// Errors are the three exceptions of burnish/error.h: UserError (the file or the call), Unsupported (lists every
/// operator that is missing, with its source nodes), InternalError (ours: names the pass).
#ifndef BURNISH_COMPILER_H
#define BURNISH_COMPILER_H

#include <burnish/error.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace burnish {

struct CompileOptions {
  /// Shapes of inputs by name; needed for symbolic dimensions, and may override declared ones.
  std::map<std::string, std::vector<std::int64_t>> shapes;
  /// "native", "llvm:cpu=NAME" with LLVM's name of a CPU (x86-64, x86-64-v3, znver4), "cuda" for the GPU of this machine,
  /// or "cuda:sm_90", "cuda:sm_80+sm_90" for NVIDIA GPUs of these compute capabilities and later ones.
  std::string target = "native";
  /// How exactly GPUs compute: "strict" (the error of f32 sums), "tf32" (factors of products rounded to 10 bits), "fp16"
  /// and "bf16" (tensors of 16 bits). Empty: as the target's text says, or strict.
  std::string precision;
  /// Threads that the code is laid out for, up to 1024; any number may run it. 0: all CPUs this process may use.
  int threads = 0;
  /// Database of `burnish tune`: its verified schedules for this target are used. Empty: default schedules.
  std::filesystem::path records;
  /// The reference: all floats in fp64, plain schedules. Inputs and outputs are then f64.
  bool reference = false;
  /// Of the reference: "f16" or "bf16" rounds inputs, weights and the result of every operator to it, as frameworks do in half
  /// precision. Empty: nothing is rounded.
  std::string reference_rounding;
  /// Every tensor of the model becomes an output, under its name in the file: for comparing layer by layer.
  bool every_value = false;
  /// Build the library at once; else when it is first asked for.
  bool library = true;

  /// Called as the work goes on: what is being done, and the share of the time that is behind, from 0 to 1.
  std::function<void(std::string_view stage, double done)> progress;
  /// Messages write shapes={"x": (1, 3)} instead of --shape x=1x3.
  bool python_messages = false;

  // Working on the compiler itself (HACKING.md).
  std::vector<std::string> disable_passes;
  std::string stop_after;               ///< name of a graph pass: the later ones do not run
  std::vector<std::string> dump_passes; ///< names, or "all": text before and after, into dump_dir
  std::filesystem::path dump_dir;
  bool verify_passes = false;
  bool time_passes = false;             ///< fills CompiledModel::pass_times
};

/// What a model is made of, before anything is compiled.
struct ModelSummary {
  struct Port {
    std::string name, dtype;
    std::vector<std::int64_t> shape;  ///< -1 where a size is open
    std::vector<std::string> dims;    ///< the same as text; open sizes by their names, or "?"
    bool has_shape = true;            ///< else the model leaves even the number of sizes open
  };
  struct Count {
    std::string name;
    std::int64_t count;
  };
  std::vector<Port> inputs, outputs;
  /// Inputs have sizes that neither the model nor options.shapes gives. Ports are then as the model declares them,
  /// and operators are its own nodes under their own names (Conv); else they are what the import made of them (conv).
  bool open = false;
  std::vector<Count> operators;  ///< by number, most frequent first
  std::int64_t parameters = 0;   ///< elements of all constants
  std::int64_t macs = 0;         ///< multiply-adds of one run; unknown, 0, when sizes are open
};

/// A fused group of the model: what is scheduled, tuned and timed as one kernel.
struct TaskSummary {
  std::string name;
  std::vector<std::string> sources;  ///< nodes of the model
  std::int64_t macs = 0, bytes = 0;
  std::int64_t count = 1;            ///< how often the model runs this very kernel
};

struct TaskText {
  std::string stages, schedule, loops;
};

class CompiledModel {
 public:
  CompiledModel(CompiledModel&&) noexcept;
  CompiledModel& operator=(CompiledModel&&) noexcept;
  ~CompiledModel();

  /// The shared library, whole.
  const std::string& library() const;
  /// The JSON object of docs/artifact.md.
  const std::string& metadata() const;
  /// Writes the library, whole or not at all. UserError when that fails.
  void export_to(const std::filesystem::path& path) const;
  /// The program as text: "graph", "loops"; of CPUs "llvm", "asm", "obj" (bytes of an object file), of GPUs "cuda", "ptx"; "so".
  std::string emit(std::string_view kind) const;
  std::vector<TaskSummary> tasks() const;
  /// Stages, schedule and loops of one task. UserError lists the names when there is no such task.
  TaskText task(std::string_view name) const;
  /// Seconds a pass, in order, when asked for.
  const std::vector<std::pair<std::string, double>>& pass_times() const;
  /// How much larger the rounding errors of an output may be than those of plain sums: the largest factor among the
  /// operators that it depends on (2: Winograd convolutions). UserError when there is no such output.
  double rounding_of(std::string_view output) const;
  /// What the user should know of the compilation, a sentence each: records that do not apply.
  const std::vector<std::string>& notes() const;

 private:
  struct State;
  explicit CompiledModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
  friend CompiledModel compile(const std::filesystem::path&, const CompileOptions&);
};

/// Compiles a model file (ONNX).
CompiledModel compile(const std::filesystem::path& model, const CompileOptions& options = {});

/// Reads a model and says what it is made of. Unsupported lists all operators that cannot be compiled, whether sizes are
/// open or not; unsupported attributes are found once sizes are known.
ModelSummary inspect(const std::filesystem::path& model, const CompileOptions& options = {});

/// The version of Burnish: "0.1.0".
std::string_view version();

}  // namespace burnish
#endif
