// burnish bench model.so: how long a run takes, and how far that is from the machine's peak.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "driver/cli/commands.h"
#include "driver/cli/gpu.h"
#include "driver/peak.h"
#include "search/statistics.h"

namespace burnish::cli {

namespace {

struct BenchArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  double warmup = 0.5, duration = 3;
  bool json = false, device_memory = false;
};

std::vector<double> times_for(Session& session, double seconds) {
  using clock = std::chrono::steady_clock;
  std::vector<double> times;
  const auto start = clock::now();
  auto before = start;
  do {
    session.run();
    const auto now = clock::now();
    times.push_back(std::chrono::duration<double>(now - before).count());
    before = now;
  } while (std::chrono::duration<double>(before - start).count() < seconds);
  return times;
}

struct Summary {
  size_t runs;
  double median, p90, least;  // seconds
};

Summary timed(Session& session, const BenchArgs& args) {
  times_for(session, args.warmup);
  std::vector<double> times = times_for(session, args.duration);
  std::sort(times.begin(), times.end());
  return {times.size(), times[times.size() / 2], times[times.size() * 9 / 10], times[0]};
}

void print(const BenchArgs& args, const Model& model, const Summary& t, double peak, nlohmann::json more,
           const std::string& where, const std::string& of_what) {
  const double rate = static_cast<double>(model.info().macs) / t.median;
  if (args.json) {
    more.update({{"runs", t.runs}, {"median_ms", t.median * 1e3}, {"p90_ms", t.p90 * 1e3}, {"min_ms", t.least * 1e3},
                 {"macs", model.info().macs}, {"macs_per_second", rate}, {"peak_macs_per_second", peak},
                 {"share_of_peak", peak > 0 ? rate / peak : 0}});
    fmt::print("{}\n", more.dump());
    return;
  }
  fmt::print("{}, {} runs: median {:.3f} ms, p90 {:.3f} ms, min {:.3f} ms\n", where, t.runs, t.median * 1e3,
             t.p90 * 1e3, t.least * 1e3);
  fmt::print("{:.1f} GMAC/s", rate / 1e9);
  if (peak > 0) fmt::print(", {:.0f}% of {} {:.1f}", 100 * rate / peak, of_what, peak / 1e9);
  fmt::print("\n");
}

// Whole calls of `run`, with the copies unless memory is the GPU's; and what the GPU was busy for.
void bench_gpu(const BenchArgs& args, const Model& model, Session& session) {
  session.run();  // inputs are on the GPU now
  if (args.device_memory) {
    for (const TensorInfo& i : model.inputs()) {
      burnish_tensor t{};
      detail::check(burnish_session_get_device_input(session.handle(), i.name.c_str(), &t));
    }
    for (const TensorInfo& o : model.outputs()) {
      burnish_tensor t{};
      detail::check(burnish_session_get_device_output(session.handle(), o.name.c_str(), &t));
    }
  }
  const Summary t = timed(session, args);
  std::vector<double> busy;
  constexpr int samples = 50;
  for (int i = 0; i < samples; ++i) busy.push_back(static_cast<double>(session.profile().total_ns) * 1e-9);
  const double on_gpu = search::median(busy);
  const burnish_device_info gpu = session.device();
  print(args, model, t, gpu_peaks(gpu, model.info().target).macs,
        {{"device", described(gpu)}, {"device_memory", args.device_memory}, {"device_ms", on_gpu * 1e3}},
        fmt::format("{}, {} memory", described(gpu), args.device_memory ? "the GPU's" : "the host's"),
        "the GPU's nominal");
  if (!args.json)
    fmt::print("of it on the GPU: {:.3f} ms{}\n", on_gpu * 1e3, args.device_memory ? "" : ", copies included");
}

void bench_command(const BenchArgs& args) {
  const Model model = open_model(args.model);
  Session session = open_session(args.model, model);
  set_inputs(session, model, args.inputs, true);
  if (gpu_steps(model)) return bench_gpu(args, model, session);
  require(!args.device_memory, "--device-memory is for models that run on a GPU");
  const double peak = measured_peak(session.threads());
  print(args, model, timed(session, args), peak, {{"threads", session.threads()}},
        fmt::format("{} threads", session.threads()), "this machine's measured");
}

}  // namespace

void add_bench(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("bench", "time a model");
  auto args = std::make_shared<BenchArgs>();
  add_model_options(*command, args->model, false);
  add_records_option(*command, args->model);
  add_input_option(*command, args->inputs, "as in `burnish run`; random numbers where nothing is given");
  command->add_option("--warmup", args->warmup, "seconds that are not counted")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  command->add_option("--duration", args->duration, "seconds that are counted")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  command->add_flag("--device-memory", args->device_memory,
                    "of a model for GPUs: inputs and outputs stay in the GPU's memory; without, each run copies them");
  command->add_flag("--json", args->json, "one JSON object instead of text");
  command->callback([args, &status] {
    bench_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
