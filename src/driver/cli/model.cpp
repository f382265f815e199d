// Models and their inputs, as the commands take them.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "driver/cli/commands.h"
#include "driver/cli/picture.h"

namespace burnish::cli {

namespace {

std::pair<std::string, std::vector<int64_t>> parse_shape(const std::string& text) {
  const auto at = text.rfind('=');
  require_usage(at != std::string::npos && at > 0, "--shape {}: write it as name=1x3x544x960", text);
  std::vector<int64_t> shape;
  const std::string dims = text.substr(at + 1);
  for (const std::string& part : split_text(dims, 'x')) {
    int64_t d = 0;
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), d);
    require_usage(error == std::errc() && end == part.data() + part.size() && d > 0,
                  "--shape {}: '{}' is not a size", text, part);
    shape.push_back(d);
  }
  return {text.substr(0, at), shape};
}

uint64_t parse_seed(std::string_view text) {
  uint64_t seed = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  require_usage(error == std::errc() && end == text.data() + text.size(), "--input: '{}' is not a seed", text);
  return seed;
}

Array picture_array(const TensorInfo& info, const std::string& path, const PictureOptions& options) {
  require(info.dtype == BURNISH_F32 && info.shape.size() == 4 && info.shape[0] == 1 && info.shape[1] == 3,
          "input '{}' is {} with {} dimensions: a picture fits f32 of 1x3xHxW", info.name,
          burnish_dtype_name(info.dtype), info.shape.size());
  const std::vector<float> planes =
      to_planes(read_picture(path), static_cast<int>(info.shape[2]), static_cast<int>(info.shape[3]), options);
  Array a{DType::F32, info.shape, {}};
  a.bytes.resize(planes.size() * sizeof(float));
  std::memcpy(a.bytes.data(), planes.data(), a.bytes.size());
  return a;
}

Array array_of(const TensorInfo& info, const std::string& value) {
  if (value.starts_with("@")) return read_npy(value.substr(1));
  if (value == "random") return random_array(info, 0);
  if (value.starts_with("random:")) return random_array(info, parse_seed(std::string_view(value).substr(7)));
  // picture[:options]; options contain '=' or begin with "bgr", so that a colon in a path does no harm.
  const auto colon = value.rfind(':');
  if (colon != std::string::npos) {
    const std::string tail = value.substr(colon + 1);
    if (tail.find('=') != std::string::npos || tail == "bgr" || tail.starts_with("bgr,")) {
      return picture_array(info, value.substr(0, colon), parse_picture_options(tail));
    }
  }
  return picture_array(info, value, {});
}

}  // namespace

void add_model_options(CLI::App& command, ModelArgs& args, bool compiles) {
  command.add_option("model", args.path, compiles ? "a model file (ONNX)" : "a compiled library, or a model file")
      ->required();
  command.add_option("--shape", args.shapes, "shape of an input: name=1x3x544x960 (may be repeated)")
      ->allow_extra_args(false);  // one value a flag: the model may follow
  command.add_option("--target", args.target, "native, llvm:cpu=NAME[,triple=TRIPLE,+feature,-feature], or cuda[:sm_80+sm_90]")->capture_default_str();
  command.add_option("--precision", args.precision, "of a GPU: strict (as f32, the default), tf32, fp16 or bf16")
      ->check(CLI::IsMember({"strict", "tf32", "fp16", "bf16"}));
  command.add_option("--threads", args.threads, "threads; 0: all CPUs")->check(CLI::Range(0, 1024));
  if (!compiles) add_device_option(command, args);
}

void add_device_option(CLI::App& command, ModelArgs& args) {
  command.add_option("--device", args.device, "the GPU that a model for GPUs runs on, as CUDA numbers them");
}

void add_records_option(CLI::App& command, ModelArgs& args) {
  command.add_option("--records", args.records, "use the verified schedules of this database of `burnish tune`")
      ->check(CLI::ExistingFile);
}

void add_input_option(CLI::App& command, std::vector<std::string>& inputs, const char* help) {
  command.add_option("--input", inputs, help)->allow_extra_args(false);
}

CompileOptions compile_options(const ModelArgs& args) {
  CompileOptions o;
  for (const std::string& s : args.shapes) {
    const auto [name, shape] = parse_shape(s);
    require_usage(o.shapes.emplace(name, shape).second, "--shape is given twice for '{}'", name);
  }
  o.target = args.target;
  o.precision = args.precision;
  o.threads = args.threads;
  o.records = args.records;
  return o;
}

void show_progress(CompileOptions& options) {
  if (!::isatty(STDERR_FILENO)) return;
  options.progress = [](std::string_view stage, double done) {
    constexpr int width = 24;
    const int filled = static_cast<int>(done * width);
    std::fprintf(stderr, "\r\033[K");
    if (done < 1) {
      std::fprintf(stderr, "[%s%s] %.*s", std::string(filled, '#').c_str(), std::string(width - filled, '.').c_str(),
                   static_cast<int>(stage.size()), stage.data());
    }
    std::fflush(stderr);
  };
}

bool is_library(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, sizeof magic);
  return std::memcmp(magic, "\x7f" "ELF", 4) == 0;
}

Model open_model(const ModelArgs& args) {
  if (is_library(args.path)) {
    require_usage(args.shapes.empty(), "{} is compiled already: --shape belongs to `burnish compile`", args.path);
    return Model::load(args.path);
  }
  const auto start = Clock::now();
  CompileOptions options = compile_options(args);
  show_progress(options);
  const CompiledModel compiled = compile(args.path, options);
  spdlog::info("compiled {} in {:.1f} s", args.path, since(start));
  return Model::load(compiled.library().data(), compiled.library().size());
}

DType dtype_of(burnish_dtype t) { return *dtype_named(burnish_dtype_name(t)); }

Array random_array(const TensorInfo& info, uint64_t seed) {
  Array a{dtype_of(info.dtype), info.shape, {}};
  a.bytes.resize(info.bytes);
  std::mt19937_64 engine(seed);
  auto fill = [&]<class T>(T*, auto next) {
    for (uint64_t i = 0; i < info.size(); ++i) {
      const T value = static_cast<T>(next());
      std::memcpy(a.bytes.data() + i * sizeof(T), &value, sizeof(T));
    }
  };
  auto unit = [&] { return static_cast<double>(engine() >> 40) * 0x1p-24; };
  switch (a.dtype) {
    case DType::TF32:
    case DType::F32: fill(static_cast<float*>(nullptr), unit); break;
    case DType::F64: fill(static_cast<double*>(nullptr), unit); break;
    case DType::Bool: fill(static_cast<uint8_t*>(nullptr), [&] { return engine() & 1; }); break;
    case DType::I8:
    case DType::U8: fill(static_cast<uint8_t*>(nullptr), [&] { return engine() & 255; }); break;
    case DType::I16:
    case DType::U16: fill(static_cast<uint16_t*>(nullptr), [&] { return engine() & 7; }); break;
    case DType::I32:
    case DType::U32: fill(static_cast<uint32_t*>(nullptr), [&] { return engine() & 7; }); break;
    case DType::I64:
    case DType::U64: fill(static_cast<uint64_t*>(nullptr), [&] { return engine() & 7; }); break;
    case DType::F16: fill(static_cast<uint16_t*>(nullptr), [&] { return 0x3800 | (engine() & 0x3ff); }); break;
    case DType::BF16: fill(static_cast<uint16_t*>(nullptr), [&] { return 0x3f00 | (engine() & 0x7f); }); break;
  }
  return a;
}

Session open_session(const ModelArgs& args, const Model& model) {
  return model.session({.threads = static_cast<uint32_t>(args.threads), .device = args.device});
}

void set_input(Session& session, const std::string& name, const Array& a) {
  burnish_tensor t{};
  t.data = const_cast<std::byte*>(a.bytes.data());
  t.bytes = a.bytes.size();
  t.dtype = static_cast<burnish_dtype>(static_cast<int>(a.dtype) + 1);
  t.rank = static_cast<uint32_t>(a.shape.size());
  t.shape = a.shape.data();
  detail::check(burnish_session_set_input(session.handle(), name.c_str(), &t));
}

void set_inputs(Session& session, const Model& model, const std::vector<std::string>& specs, bool random) {
  std::map<std::string, std::string> values;
  const std::vector<TensorInfo> inputs = model.inputs();
  std::vector<std::string> names;
  for (const TensorInfo& i : inputs) names.push_back(i.name);
  for (const std::string& spec : specs) {
    auto at = spec.find('=');
    require_usage(at != std::string::npos && at > 0,
                  "--input {}: write name=@file.npy, name=random or name=picture.png; the inputs are {}", spec,
                  join(names, ", "));
    for (const std::string& known : names) {  // a name may contain '=' itself
      if (spec.size() > known.size() && spec.starts_with(known) && spec[known.size()] == '=') at = known.size();
    }
    const std::string name = spec.substr(0, at);
    require(std::find(names.begin(), names.end(), name) != names.end(), "there is no input '{}'; the inputs are {}",
            name, join(names, ", "));
    require_usage(values.emplace(name, spec.substr(at + 1)).second, "--input is given twice for '{}'", name);
  }
  for (const TensorInfo& info : inputs) {
    auto it = values.find(info.name);
    require(it != values.end() || random, "input '{}' is not given: add --input {}=random or name=@file.npy",
            info.name, info.name);
    set_input(session, info.name, it == values.end() ? random_array(info, 0) : array_of(info, it->second));
  }
}

Array output_of(Session& session, const TensorInfo& info) {
  burnish_tensor t{};
  detail::check(burnish_session_get_output(session.handle(), info.name.c_str(), &t));
  Array a{dtype_of(info.dtype), info.shape, {}};
  const auto* data = static_cast<const std::byte*>(t.data);
  a.bytes.assign(data, data + t.bytes);
  return a;
}

}  // namespace burnish::cli
