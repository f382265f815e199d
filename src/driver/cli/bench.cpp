// burnish bench model.so: how long a run takes, and how far that is from the machine's peak.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "driver/cli/commands.h"
#include "driver/peak.h"

namespace burnish::cli {

namespace {

struct BenchArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  double warmup = 0.5, duration = 3;
  bool json = false;
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

void bench_command(const BenchArgs& args) {
  const Model model = open_model(args.model);
  Session session = model.session({.threads = static_cast<uint32_t>(args.model.threads)});
  set_inputs(session, model, args.inputs, true);
  const double peak = measured_peak(session.threads());
  times_for(session, args.warmup);
  std::vector<double> times = times_for(session, args.duration);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2], p90 = times[times.size() * 9 / 10];
  const double rate = static_cast<double>(model.info().macs) / median;
  if (args.json) {
    nlohmann::json j = {{"threads", session.threads()}, {"runs", times.size()}, {"median_ms", median * 1e3},
                        {"p90_ms", p90 * 1e3}, {"min_ms", times[0] * 1e3}, {"macs", model.info().macs},
                        {"macs_per_second", rate}, {"peak_macs_per_second", peak}, {"share_of_peak", rate / peak}};
    fmt::print("{}\n", j.dump());
    return;
  }
  fmt::print("{} threads, {} runs: median {:.3f} ms, p90 {:.3f} ms, min {:.3f} ms\n", session.threads(), times.size(),
             median * 1e3, p90 * 1e3, times[0] * 1e3);
  fmt::print("{:.1f} GMAC/s, {:.0f}% of this machine's measured {:.1f}\n", rate / 1e9, 100 * rate / peak, peak / 1e9);
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
  command->add_flag("--json", args->json, "one JSON object instead of text");
  command->callback([args, &status] {
    bench_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
