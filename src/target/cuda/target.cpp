#include "target/cuda/target.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "target/cuda/images.h"
#include "target/cuda/launches.h"
#include "target/cuda/nvrtc.h"
#include "target/cuda/space.h"
#include "target/weights.h"

namespace burnish::cuda_target {

namespace {

struct Options {
  std::vector<std::string> archs;  // from the oldest to the newest
  Precision precision = Precision::Strict;
};

// "sm_90a" is 90: what runs on that capability only.
int capability(std::string_view arch) {
  int n = 0;
  const std::string_view digits = arch.starts_with("sm_") ? arch.substr(3) : "";
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  const std::string_view rest(end, static_cast<size_t>(digits.data() + digits.size() - end));
  constexpr int oldest = 75, newest = 999;
  require(error == std::errc() && (rest.empty() || rest == "a") && n >= oldest && n <= newest,
          "\"{}\" is no architecture of NVIDIA GPUs from sm_75 on: write sm_80, sm_90 or sm_90a, "
          "several as sm_80+sm_90",
          arch);
  return n;
}

constexpr std::pair<std::string_view, Precision> precisions[] = {
    {"strict", Precision::Strict}, {"tf32", Precision::Tf32}, {"fp16", Precision::Fp16}, {"bf16", Precision::Bf16}};

Options parsed(std::string_view text) {
  Options o;
  for (const std::string& option : split_text(text, ',')) {
    const std::string_view t = trim(option);
    if (t.empty()) continue;
    if (t.starts_with("precision=")) {
      const auto known =
          std::ranges::find(precisions, t.substr(10), [](const auto& p) { return p.first; });
      require(known != std::end(precisions),
              "{}: known are precision=strict, precision=tf32, precision=fp16 and precision=bf16", t);
      o.precision = known->second;
    } else {
      require(t.starts_with("sm_"),
              "unknown option \"{}\" of the target cuda; known are sm_XY, several as sm_80+sm_90, "
              "and precision=",
              t);
      require(o.archs.empty(),
              "architectures are given twice, the second time as \"{}\": write them as sm_80+sm_90",
              t);
      o.archs = split_text(t, '+');
    }
  }
  if (o.archs.empty()) {
    constexpr int usual = 90, oldest = 75;
    const int here = capability_of_machine();
    o.archs = {fmt::format("sm_{}", here >= oldest ? here : usual)};
  }
  std::ranges::sort(o.archs, {},
                    [](const std::string& a) { return std::pair(capability(a), a.size()); });
  o.archs.erase(std::ranges::unique(o.archs).begin(), o.archs.end());
  constexpr int bfloats_from = 80;
  require(o.precision != Precision::Bf16 || capability(o.archs.front()) >= bfloats_from,
          "precision=bf16 needs instructions that {} does not have: name architectures from sm_{} on, or choose precision=fp16",
          o.archs.front(), bfloats_from);
  return o;
}

// Of the oldest architecture, with the least memory of all: kernels run on each. Multiprocessors are
// those of the largest common GPU of a capability.
Device device_of(const Options& o) {
  struct Known {
    int sm, multiprocessors;
    int64_t block_bytes;
  };
  constexpr Known known[] = {{75, 72, 64 << 10},    {80, 108, 163 << 10}, {86, 84, 99 << 10},
                             {87, 16, 163 << 10},   {89, 128, 99 << 10},  {90, 132, 227 << 10},
                             {100, 148, 227 << 10}, {120, 170, 99 << 10}};
  const auto known_of = [&](int sm) {
    const Known* last = known;
    for (const Known& k : known)
      if (k.sm <= sm) last = &k;
    return *last;
  };
  Device d;
  d.sm = capability(o.archs.front());
  d.multiprocessors = known_of(d.sm).multiprocessors;
  for (const std::string& arch : o.archs)
    d.block_bytes = std::min(d.block_bytes, known_of(capability(arch)).block_bytes);
  // GPUs of data centres have room for more blocks that meet.
  constexpr int large_below = 110;
  d.cluster = capability(o.archs.back()) < large_below ? c_like::kLargestCluster : c_like::kMostOfACluster;
  d.products = o.precision == Precision::Strict ? 3 : o.precision == Precision::Tf32 ? 1 : 0.5;
  d.storage = storage_of(o.precision);
  return d;
}

class CudaTarget : public BasicTarget {
 public:
  CudaTarget(Options o, std::shared_ptr<const Target> host)
      : options_(std::move(o)), device_(device_of(options_)), host_(std::move(host)),
        machine_(host_->machine()) {
    machine_.threads = 1;
    machine_.device = true;
    if (options_.precision != Precision::Strict) machine_.factor_epsilon = options_.precision == Precision::Bf16 ? 0x1p-8 : 0x1p-11;  // of 7 bits, or of 10
  }

  std::string text() const override {
    std::string s = "cuda:" + join(options_.archs, "+");
    for (const auto& [name, p] : precisions)
      if (p == options_.precision && p != Precision::Strict)
        s += fmt::format(",precision={}", name);
    return s;
  }
  const Machine& machine() const override { return machine_; }
  Schedule default_schedule(const StageGroup& g) const override {
    return cuda_target::default_schedule(g, device_);
  }
  std::unique_ptr<Space> space(const StageGroup& g) const override { return make_space(g, device_); }
  DType storage() const override { return device_.storage; }
  // Instructions do not look at more of a factor: constants are rounded once.
  DType weights() const override { return options_.precision == Precision::Tf32 ? DType::TF32 : device_.storage; }
  bool scales_operands() const override { return device_.sm >= 80; }
  bool prefers_one_nest(const StageGroup& g) const override { return prefers_one_kernel(g, device_); }
  bool prefers_one_launch(std::span<const Function* const> f) const override { return cuda_target::prefers_one_launch(f, device_); }
  std::optional<double> nest_us(const StageGroup& g) const override { return kernel_us(g, device_); }

  std::string emit(const Program& p, EmitKind kind) const override {
    require(kind == EmitKind::Cuda || kind == EmitKind::Ptx,
            "code for GPUs is written as cuda (the source) or ptx");
    const Launches l = launches_of(p, options_.precision, cluster_of(device_));
    if (kind == EmitKind::Cuda) return source_of(l.kernels);
    std::string all;
    for (const Image& i :
         compile_kernels(l.kernels, std::span(&options_.archs.back(), 1), options_.precision)
             .images)
      if (i.form == "ptx") all += i.bytes.substr(0, i.bytes.find('\0')) + "\n";
    return all;
  }
  std::string build(const Program& p, const std::string& metadata) const override;
  MemoryNeeds memory(const Program& p) const override {
    return {.arena_bytes = arena_bytes(p, cluster_of(device_)), .scratch_bytes = 0, .weights_bytes = weights_bytes(p)};
  }
  std::vector<std::string> required_features() const override { return host_->required_features(); }

 private:
  Options options_;
  Device device_;
  std::shared_ptr<const Target> host_;
  Machine machine_;  // what passes ask of CPUs: the host's, but for its threads
};

// Kernels are images behind the weights; the metadata tells the runtime what to launch
// (docs/artifact.md). What is left for the CPU is a program that does nothing.
std::string CudaTarget::build(const Program& p, const std::string& metadata) const {
  const Launches l = launches_of(p, options_.precision, cluster_of(device_));
  const Code code = compile_kernels(l.kernels, options_.archs, options_.precision);
  std::vector<std::byte> section = weights_of(p);
  nlohmann::json device = {{"kind", "cuda"}, {"weights_bytes", section.size()}};
  auto& images = device["images"] = nlohmann::json::array();
  for (const Image& i : code.images) {
    constexpr size_t align = 64;
    section.resize((section.size() + align - 1) / align * align);
    images.push_back({{"arch", i.arch},
                      {"form", i.form},
                      {"offset", section.size()},
                      {"bytes", i.bytes.size()}});
    const auto* bytes = reinterpret_cast<const std::byte*>(i.bytes.data());
    section.insert(section.end(), bytes, bytes + i.bytes.size());
  }
  auto& kernels = device["kernels"] = nlohmann::json::array();
  for (size_t i = 0; i < l.kernels.size(); ++i) {
    const c_like::Kernel& k = l.kernels[i];
    kernels.push_back({{"name", k.name},
                       {"threads", k.threads},
                       {"block_bytes", k.block_bytes},
                       {"cluster", k.cluster},
                       {"registers", code.registers[i]},
                       {"spill_bytes", code.spill_bytes[i]}});
  }
  auto& launches = device["launches"] = nlohmann::json::array();
  constexpr int dependent_launch = 90;
  for (const Launch& launch : l.launches) {
    // Kernels wait for those before them by themselves (c_like::Dialect::begin).
    const bool dependent = !launches.empty() && device_.sm >= dependent_launch;
    nlohmann::json args = nlohmann::json::array();
    for (const Argument& a : launch.args) args.push_back({a.place, a.offset});
    launches.push_back({{"step", launch.step},
                        {"kernel", launch.kernel},
                        {"blocks", l.kernels[launch.kernel].blocks},
                        {"dependent", dependent},
                        {"args", std::move(args)}});
  }
  nlohmann::json all =
      metadata.empty() ? nlohmann::json::object() : nlohmann::json::parse(metadata);
  all["device"] = std::move(device);
  all["weights_bytes"] = section.size();

  Program host;
  ProgramTensor bytes{.name = "weights", .kind = TensorKind::Constant, .dtype = DType::U8};
  bytes.size = static_cast<int64_t>(section.size());
  bytes.shape = {bytes.size};
  bytes.data = std::make_shared<const std::vector<std::byte>>(std::move(section));
  host.tensors.push_back(std::move(bytes));
  return host_->build(host, all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

std::shared_ptr<const Target> make_cuda_target(std::string_view options,
                                               std::shared_ptr<const Target> host) {
  return std::make_shared<CudaTarget>(parsed(options), std::move(host));
}

}  // namespace burnish::cuda_target
