// burnish verify MODEL: is the compiled model right? Its outputs are compared with the fp64 reference (the same network
// with every float in fp64, under plain schedules) and, when asked, with ONNX Runtime's.
//
// The rule: rmse(burnish, fp64) <= 2 * rmse(onnxruntime, fp64) + 1e-6 * rms(fp64) for every output, with 4 instead of 2 behind
// convolutions that are computed by Winograd's transforms (OpDef::rounding). Without ONNX Runtime
// what is allowed is 3e-5 * rms(fp64): a check of sanity, which outputs that are small differences of large numbers need.
// In fp16 and bf16 the peer is half precision as such: the fp64 reference with inputs, weights and every operator's result rounded to f16
// or bf16.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

struct VerifyArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  std::string against = "interpreter", python;
  bool layerwise = false;
};

// Reads inputs from a folder, runs the model, writes the outputs there; the value names are in `outputs.txt`.
constexpr const char* peer_script = R"(
import sys, pathlib, numpy, onnx, onnxruntime
model, folder, layerwise, threads = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])
m = onnx.load(model)
weights = {t.name for t in m.graph.initializer}
inputs = [i for i in m.graph.input if i.name not in weights]
del m.graph.input[:]
m.graph.input.extend(inputs)
feeds = {}
for k, i in enumerate(m.graph.input):
    feeds[i.name] = numpy.load(folder / f"in{k}.npy")
    for d, n in zip(i.type.tensor_type.shape.dim, feeds[i.name].shape): d.dim_value = n
for v in list(m.graph.output):
    v.type.tensor_type.ClearField("shape")
del m.graph.value_info[:]
if layerwise:
    have = {o.name for o in m.graph.output}
    m.graph.output.extend(onnx.ValueInfoProto(name=o) for n in m.graph.node for o in n.output if o and o not in have)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.log_severity_level = 3
s = onnxruntime.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])
names = [o.name for o in s.get_outputs()]
with open(folder / "outputs.txt", "w") as f:
    for k, (name, value) in enumerate(zip(names, s.run(None, feeds))):
        numpy.save(folder / f"out{k}.npy", numpy.ascontiguousarray(value))
        print(name, file=f)
)";

double rmse(const Array& a, const Array& b) {
  double sum = 0;
  const int64_t n = a.size();
  for (int64_t i = 0; i < n; ++i) {
    const double x = element(a, i), y = element(b, i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;  // equal infinities too
    sum += (x - y) * (x - y);
  }
  return n ? std::sqrt(sum / static_cast<double>(n)) : 0;
}

// What rounding alone may do to an output, relative to its size; `coarse`: products of 11 bits, as TF32 has them.
double slack(burnish_dtype t, bool coarse) {
  constexpr double of_coarse = 1e-2;
  if (coarse) return of_coarse;
  return t == BURNISH_F16 ? 1e-3 : t == BURNISH_BF16 ? 8e-3 : 3e-5;
}

double rms(const Array& a) {
  double sum = 0;
  const int64_t n = a.size();
  for (int64_t i = 0; i < n; ++i) sum += element(a, i) * element(a, i);
  return n ? std::sqrt(sum / static_cast<double>(n)) : 0;
}

Array widened(const Array& a) {
  Array w{DType::F64, a.shape, std::vector<std::byte>(static_cast<size_t>(a.size()) * 8)};
  for (int64_t i = 0; i < a.size(); ++i) {
    const double v = element(a, i);
    std::memcpy(w.bytes.data() + i * 8, &v, 8);
  }
  return w;
}

// ONNX Runtime's outputs by name, from a Python process that has it.
std::map<std::string, Array> run_peer(const VerifyArgs& args, const Model& model, Session& session) {
  TemporaryFolder folder;
  const std::vector<TensorInfo> inputs = model.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    burnish_tensor t{};
    detail::check(burnish_session_get_input(session.handle(), inputs[i].name.c_str(), &t));
    write_file(folder.path / fmt::format("in{}.npy", i), npy_text(dtype_of(t.dtype), inputs[i].shape, t.data));
  }
  write_file(folder.path / "peer.py", peer_script);
  auto quoted = [](const std::string& s) {
    std::string q = "'";
    for (char c : s) q += c == '\'' ? "'\\''" : std::string(1, c);
    return q + "'";
  };
  const char* variable = std::getenv("BURNISH_PYTHON");
  const std::string python = !args.python.empty() ? args.python : variable ? variable : "python3";
  const std::string command =
      fmt::format("{} {} {} {} {} {} >&2", quoted(python), quoted((folder.path / "peer.py").string()),
                  quoted(args.model.path), quoted(folder.path.string()), args.layerwise ? 1 : 0, session.threads());
  require(std::system(command.c_str()) == 0,
          "{} could not run the model in ONNX Runtime; give --python a Python that has onnx and onnxruntime", python);
  std::map<std::string, Array> out;
  size_t k = 0;
  for (const std::string& name : split_text(read_file(folder.path / "outputs.txt"), '\n')) {
    if (!name.empty()) out[name] = read_npy(folder.path / fmt::format("out{}.npy", k++));
  }
  return out;
}

// Outputs of the reference on the session's inputs: on this CPU, whatever the model is compiled for.
std::map<std::string, Array> reference_outputs(const VerifyArgs& args, CompileOptions options, const std::string& rounding, const Model& model,
                                               Session& session) {
  options.reference = true;
  options.reference_rounding = rounding;
  options.target = "native";
  options.precision.clear();
  const CompiledModel wide = compile(args.model.path, options);
  const Model reference = Model::load(wide.library().data(), wide.library().size());
  Session exact = reference.session({.threads = static_cast<uint32_t>(args.model.threads)});
  const std::vector<TensorInfo> inputs = model.inputs(), wide_inputs = reference.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    burnish_tensor t{};
    detail::check(burnish_session_get_input(session.handle(), inputs[i].name.c_str(), &t));
    Array a{dtype_of(t.dtype), inputs[i].shape, {}};
    const auto* data = static_cast<const std::byte*>(t.data);
    a.bytes.assign(data, data + t.bytes);
    set_input(exact, inputs[i].name, wide_inputs[i].dtype == BURNISH_F64 ? widened(a) : a);
  }
  exact.run();
  std::map<std::string, Array> all;
  const std::vector<TensorInfo> outputs = model.outputs(), wide_outputs = reference.outputs();
  for (size_t i = 0; i < outputs.size(); ++i) all[outputs[i].name] = output_of(exact, wide_outputs[i]);
  return all;
}

int verify_command(const VerifyArgs& args) {
  CompileOptions options = compile_options(args.model);
  options.every_value = args.layerwise;
  const CompiledModel compiled = compile(args.model.path, options);
  const Model model = Model::load(compiled.library().data(), compiled.library().size());
  Session session = open_session(args.model, model);
  set_inputs(session, model, args.inputs, true);
  const std::map<std::string, Array> exact = reference_outputs(args, options, "", model, session);
  const std::string target = model.info().target;
  const auto precision_is = [&](std::string_view name) { return target.find(fmt::format("precision={}", name)) != target.npos; };
  const std::string half = precision_is("fp16") ? "f16" : precision_is("bf16") ? "bf16" : "";
  const bool halves = !half.empty(), coarse = !halves && precision_is("");
  std::map<std::string, Array> peer, rounded;
  if (halves) rounded = reference_outputs(args, options, half, model, session);
  session.run();
  if (args.against == "onnxruntime") peer = run_peer(args, model, session);

  bool all = true;
  const std::vector<TensorInfo> outputs = model.outputs();
  const char* const compared = halves ? "half's" : peer.empty() ? "allowed" : "peer's";
  fmt::print("{:>11} {:>11} {:>11} {:>6}  output\n", "rms", "rmse", compared, "");
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Array mine = output_of(session, outputs[i]), &truth = exact.at(outputs[i].name);
    const double size = rms(truth), error = rmse(mine, truth);
    double allowed = slack(outputs[i].dtype, coarse) * size, shown = allowed;
    if (halves) {
      shown = rmse(rounded.at(outputs[i].name), truth);
      allowed = std::isfinite(shown) ? 2 * shown + 1e-6 * size : std::numeric_limits<double>::infinity();  // beyond its range
    } else if (auto it = peer.find(outputs[i].name); it != peer.end()) {
      require(it->second.size() == truth.size(), "output '{}' has {} elements here and {} in ONNX Runtime",
              outputs[i].name, truth.size(), it->second.size());
      shown = rmse(it->second, truth);
      allowed = coarse ? allowed : 2 * compiled.rounding_of(outputs[i].name) * shown + 1e-6 * size;
    }
    const bool good = error <= allowed;
    all &= good;
    fmt::print("{:>11.4g} {:>11.3g} {:>11.3g} {:>6}  {}\n", size, error, shown, good ? "ok" : "DIFFER", outputs[i].name);
  }
  return all ? ok : mismatch;
}

}  // namespace

void add_verify(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("verify", "compare a compiled model with the fp64 reference, and with ONNX Runtime");
  auto args = std::make_shared<VerifyArgs>();
  add_model_options(*command, args->model, true);
  add_device_option(*command, args->model);
  add_records_option(*command, args->model);
  add_input_option(*command, args->inputs, "as in `burnish run`; random numbers where nothing is given");
  command->add_option("--against", args->against, "interpreter: the fp64 reference alone; onnxruntime: both")
      ->check(CLI::IsMember({"onnxruntime", "interpreter"}))
      ->capture_default_str();
  command->add_option("--python", args->python, "the Python that has onnxruntime (default: $BURNISH_PYTHON, python3)");
  command->add_flag("--layerwise", args->layerwise, "compare every tensor, not only the outputs");
  command->callback([args, &status] { status = verify_command(*args); });
}

}  // namespace burnish::cli
