// burnish run model.so --input x=picture.png --output out.npz
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "driver/cli/commands.h"
#include "graph/graph.h"

namespace burnish::cli {

namespace {

struct RunArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  std::string output;
};

// Minimum, mean and maximum of an output, so that a run without --output says something.
std::string summary(const Array& a) {
  double low = INFINITY, high = -INFINITY, sum = 0;
  const int64_t n = a.size();
  for (int64_t i = 0; i < n; ++i) {
    const double v = element(a, i);
    low = std::min(low, v);
    high = std::max(high, v);
    sum += v;
  }
  if (std::isnan(sum)) low = high = sum;  // comparisons pass over NaN: say that there are some
  return n ? fmt::format(" min {:.6g} mean {:.6g} max {:.6g}", low, sum / static_cast<double>(n), high) : "";
}

void run_command(const RunArgs& args) {
  const Model model = open_model(args.model);
  Session session = open_session(args.model, model);
  set_inputs(session, model, args.inputs, false);
  session.run();
  std::vector<std::pair<std::string, std::string>> files;
  for (const TensorInfo& info : model.outputs()) {
    const Array a = output_of(session, info);
    fmt::print("{} {} {}{}\n", info.name, burnish_dtype_name(info.dtype), shape_text(info.shape), summary(a));
    if (args.output.empty()) continue;
    const Array saved = a.dtype == DType::BF16 ? bfloat_as_float(a) : a;  // NumPy has no bf16
    files.emplace_back(info.name, npy_text(saved.dtype, saved.shape, saved.bytes.data()));
  }
  if (args.output.empty()) return;
  // A name is no path: '/' becomes '_', and names that are then equal are numbered.
  std::set<std::string> taken;
  for (auto& [name, data] : files) {
    std::replace(name.begin(), name.end(), '/', '_');
    const std::string plain = name;
    for (int k = 1; !taken.insert(name).second; ++k) name = fmt::format("{}.{}", plain, k);
    name += ".npy";
  }
  if (args.output.ends_with(".npz")) {
    write_npz(args.output, files);
    return;
  }
  std::error_code error;
  std::filesystem::create_directories(args.output, error);
  require(!error, "cannot make the folder {}: {}", args.output, error.message());
  for (const auto& [name, data] : files) write_file(std::filesystem::path(args.output) / name, data);
}

}  // namespace

void add_run(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("run", "run a model once");
  auto args = std::make_shared<RunArgs>();
  add_model_options(*command, args->model, false);
  add_records_option(*command, args->model);
  add_input_option(*command, args->inputs,
                   "name=@file.npy, name=random[:seed], or name=picture.png[:mean=..,scale=..,bgr]: RGB 0-255, "
                   "value = (byte - mean) * scale (may be repeated)");
  command->add_option("--output", args->output, "a folder for .npy files, or one .npz file");
  command->callback([args, &status] {
    run_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
