// The commands of `burnish`. Results go to stdout, everything else to stderr.
#pragma once

#include <burnish/burnish.hpp>
#include <burnish/compiler.h>

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "driver/cli/npy.h"

namespace burnish::cli {

// A mistake in the command line itself: exit status 2.
template <class... Args>
void require_usage(bool good, fmt::format_string<Args...> text, Args&&... args) {
  if (!good) throw CLI::ValidationError(fmt::format(text, std::forward<Args>(args)...));
}

enum ExitCode { ok = 0, failure = 1, usage = 2, unsupported = 3, mismatch = 4 };

// What every command that takes a model understands.
struct ModelArgs {
  std::string path;
  std::vector<std::string> shapes;  // name=1x3x544x960
  std::string target = "native", precision;
  int threads = 0, device = 0;
  std::string records;              // compile with what `burnish tune` found
};
void add_model_options(CLI::App& command, ModelArgs& args, bool compiles);
void add_device_option(CLI::App& command, ModelArgs& args);  // part of those, but of commands that only compile
void add_records_option(CLI::App& command, ModelArgs& args);
void add_input_option(CLI::App& command, std::vector<std::string>& inputs, const char* help);
CompileOptions compile_options(const ModelArgs& args);
// A progress bar on stderr while compiling, where that is a terminal.
void show_progress(CompileOptions& options);

// A compiled library as it is, or a model file compiled in memory.
Model open_model(const ModelArgs& args);
bool is_library(const std::string& path);
Session open_session(const ModelArgs& args, const Model& model);

// Fills the session's inputs: name=@file.npy, name=random[:seed], name=picture.png[:mean=..,scale=..,bgr].
// Inputs that are not named get random numbers of seed 0 when `random` is set, else it is an error.
void set_inputs(Session& session, const Model& model, const std::vector<std::string>& specs, bool random);
// Numbers as `random` gives them: uniform in [0, 1) for floats, 0..255 for bytes, small for other integers.
Array random_array(const TensorInfo& info, uint64_t seed);
void set_input(Session& session, const std::string& name, const Array& a);
Array output_of(Session& session, const TensorInfo& info);
DType dtype_of(burnish_dtype t);

// Each adds its subcommand; `status` is what the process returns.
void add_inspect(CLI::App& app, int& status);
void add_compile(CLI::App& app, int& status);
void add_run(CLI::App& app, int& status);
void add_bench(CLI::App& app, int& status);
void add_profile(CLI::App& app, int& status);
void add_verify(CLI::App& app, int& status);
void add_lower(CLI::App& app, int& status);
void add_tune(CLI::App& app, int& status);
void add_records(CLI::App& app, int& status);
void add_completion(CLI::App& app, int& status);

}  // namespace burnish::cli
