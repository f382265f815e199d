#include "metadata.h"

#include "cpu.h"
#include "failure.h"
#include "fields.h"
#include "parse_device.h"

#include <burnish/abi.h>

#include <algorithm>
#include <iterator>

namespace burnish::runtime {

namespace {

constexpr std::size_t max_json_bytes = 16 << 20;
constexpr std::size_t max_json_depth = 16, max_json_values = 2'000'000;
constexpr std::uint64_t max_bytes = std::uint64_t{1} << 46;
constexpr std::size_t max_rank = 32;

struct DtypeRow {
  burnish_dtype dtype;
  const char* name;
  std::size_t size;
};
constexpr DtypeRow dtypes[] = {
    {BURNISH_BOOL, "bool", 1}, {BURNISH_I8, "i8", 1},     {BURNISH_U8, "u8", 1},
    {BURNISH_I16, "i16", 2},   {BURNISH_U16, "u16", 2},   {BURNISH_I32, "i32", 4},
    {BURNISH_U32, "u32", 4},   {BURNISH_I64, "i64", 8},   {BURNISH_U64, "u64", 8},
    {BURNISH_F16, "f16", 2},   {BURNISH_BF16, "bf16", 2}, {BURNISH_F32, "f32", 4},
    {BURNISH_F64, "f64", 8},
};

const DtypeRow* find_dtype(burnish_dtype dtype) {
  for (const DtypeRow& row : dtypes) {
    if (row.dtype == dtype) return &row;
  }
  return nullptr;
}

// Bounds what the JSON parser may build, before it builds it.
void check_size(std::string_view text) {
  if (text.size() > max_json_bytes) damaged("it is larger than 16 MB");
  std::size_t depth = 0, values = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
      continue;
    }
    switch (c) {
    case '"': quoted = true; break;
    case '[':
    case '{':
      ++values;
      if (++depth > max_json_depth) damaged("it is nested too deeply");
      break;
    case ']':
    case '}':
      if (depth > 0) --depth;
      break;
    case ',': ++values; break;
    default: break;
    }
  }
  if (values > max_json_values) damaged("it has too many values");
}

TensorSpec parse_tensor(const Json& json, const std::string& where) {
  if (!json.is_object()) damaged(where + "is not an object");
  TensorSpec out;
  out.name = Field(json, "name", where).text();
  const std::string dtype = Field(json, "dtype", where).text();
  const DtypeRow* row = nullptr;
  for (const DtypeRow& r : dtypes) {
    if (dtype == r.name) row = &r;
  }
  if (!row) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "uses the dtype \"%s\" (tensor \"%s\"), which this runtime does not know", dtype.c_str(),
         out.name.c_str());
  }
  out.dtype = row->dtype;
  out.bytes = row->size;
  const Field shape(json, "shape", where);
  if (shape.array().size() > max_rank) damaged(shape.name() + " has more than 32 dimensions");
  for (const Json& dim : shape.array()) {
    if (dim.is_string()) {
      fail(BURNISH_ERROR_UNSUPPORTED,
           "has the symbolic dimension \"%s\" (tensor \"%s\"), which this runtime does not "
           "support; compile with "
           "--shape",
           dim.get_ref<const std::string&>().c_str(), out.name.c_str());
    }
    if (!dim.is_number_unsigned() || dim.get<std::uint64_t>() > max_bytes) {
      damaged("a dimension of " + shape.name() + " is not a whole number from 0 to 2^46");
    }
    const auto n = dim.get<std::uint64_t>();
    out.shape.push_back(static_cast<std::int64_t>(n));
    if (__builtin_mul_overflow(out.bytes, n, &out.bytes) || out.bytes > max_bytes) {
      damaged(shape.name() + " describes more than 2^46 bytes");
    }
  }
  return out;
}

std::vector<TensorSpec> parse_tensors(const Json& root, const char* key) {
  std::vector<TensorSpec> out;
  const Field list(root, key);
  for (const Json& tensor : list.array()) {
    out.push_back(
        parse_tensor(tensor, list.name() + " number " + std::to_string(out.size()) + ": "));
    for (std::size_t i = 0; i + 1 < out.size(); ++i) {
      if (out[i].name == out.back().name)
        damaged(list.name() + " names \"" + out[i].name + "\" twice");
    }
    if (out.size() > 4096) damaged(list.name() + " has more than 4096 tensors");
  }
  return out;
}

StepSpec parse_step(const Json& json, const std::string& where) {
  if (!json.is_object()) damaged(where + "is not an object");
  StepSpec out;
  out.name = Field(json, "name", where).text();
  if (const Field f(json, "source", where); f.present()) out.sources = f.texts();
  if (const Field f(json, "schedule", where); f.present()) out.schedule = f.text();
  if (const Field f(json, "macs", where); f.present()) out.macs = f.count(UINT64_MAX);
  if (const Field f(json, "bytes", where); f.present()) out.bytes = f.count(UINT64_MAX);
  return out;
}

}  // namespace

const char* dtype_name(burnish_dtype dtype) {
  const DtypeRow* row = find_dtype(dtype);
  return row ? row->name : nullptr;
}

std::size_t dtype_size(burnish_dtype dtype) {
  const DtypeRow* row = find_dtype(dtype);
  return row ? row->size : 0;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  if (shape.empty()) return "scalar";
  std::string out;
  for (const std::int64_t n : shape) {
    if (!out.empty()) out += 'x';
    out += std::to_string(n);
  }
  return out;
}

Metadata parse_metadata(std::string_view json) {
  // Notes are padded: what follows the object may be spaces or zero bytes.
  while (!json.empty() && (json.back() == '\0' || json.back() == ' ' || json.back() == '\n'))
    json.remove_suffix(1);
  check_size(json);
  const Json root = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) damaged("it is not a JSON object");

  const std::uint64_t abi = Field(root, "abi").count(UINT32_MAX);
  if (abi != BURNISH_ABI_VERSION) {
    const Field compiler(root, "compiler");
    fail(BURNISH_ERROR_UNSUPPORTED, "has ABI %llu (compiled by %s), this runtime has ABI %d; %s",
         static_cast<unsigned long long>(abi),
         compiler.present() ? compiler.text().c_str() : "an unknown compiler", BURNISH_ABI_VERSION,
         abi > BURNISH_ABI_VERSION ? "use a newer runtime" : "compile the model anew");
  }
  Metadata out;
  out.text = json;
  out.compiler = Field(root, "compiler").text();
  out.triple = Field(root, "triple").text();
  out.cpu = Field(root, "cpu").text();
  out.target = Field(root, "target").text();
  out.features = Field(root, "features").texts();
  out.threads = static_cast<std::uint32_t>(Field(root, "threads").count(1024));
  if (const Field f(root, "most_threads"); f.present()) {
    const std::uint64_t most = f.count(max_bytes);
    if (most == 0) damaged(f.name() + " is 0");
    out.most_threads = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, UINT32_MAX));
  }
  out.inputs = parse_tensors(root, "inputs");
  out.outputs = parse_tensors(root, "outputs");
  out.arena_bytes = Field(root, "arena_bytes").count(max_bytes);
  out.scratch_bytes = Field(root, "scratch_bytes").count(max_bytes / 1024);
  out.weights_bytes = Field(root, "weights_bytes").count(max_bytes);
  if (const Field f(root, "weights_hash"); f.present()) out.weights_hash = f.text();
  if (const Field f(root, "macs"); f.present()) out.macs = f.count(UINT64_MAX);
  const Field steps(root, "steps");
  for (const Json& step : steps.array()) {
    out.steps.push_back(
        parse_step(step, "\"steps\" number " + std::to_string(out.steps.size()) + ": "));
  }
  for (StepSpec& step : out.steps) {
    for (const std::string& source : step.sources) step.source_texts.push_back(source.c_str());
  }
  if (const Field f(root, "device"); f.present()) out.device = parse_device(f.object(), out);
  return out;
}

void check_machine(const Metadata& metadata) {
  const std::string_view triple = metadata.triple;
  const Machine here = this_machine();
  if (triple.substr(0, triple.find('-')) != here.arch || triple.find("linux") == triple.npos) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "was compiled for %s, this machine is %.*s-linux; compile it for this machine",
         metadata.triple.c_str(), static_cast<int>(here.arch.size()), here.arch.data());
  }
  std::string missing, unknown;
  for (const std::string& feature : metadata.features) {
    const Feature state = cpu_feature(feature);
    std::string& list = state == Feature::Missing ? missing : unknown;
    if (state != Feature::Present) list += (list.empty() ? "" : ", ") + feature;
  }
  if (!missing.empty()) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "needs CPU features that this machine does not have: %s (compiled for cpu=%s); compile it "
         "for this machine",
         missing.c_str(), metadata.cpu.c_str());
  }
  if (!unknown.empty()) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "needs CPU features that this runtime does not know: %s (compiled for cpu=%s); use a "
         "newer runtime",
         unknown.c_str(), metadata.cpu.c_str());
  }
}

}  // namespace burnish::runtime
