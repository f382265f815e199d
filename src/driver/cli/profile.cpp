// burnish profile model.so: time, rate and traffic of every kernel, with the nodes that it came from;
// with --roofline, how far each is from what the machine could do.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "driver/cli/commands.h"
#include "driver/cli/gpu.h"
#include "driver/peak.h"
#include "driver/roofline.h"
#include "search/statistics.h"

namespace burnish::cli {

namespace {

using search::median;

struct ProfileArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  int runs = 50;
  bool by_time = false, roofline = false, json = false;
  std::string report, peers;
};

struct Times {
  std::vector<double> median, least;  // seconds, by step
  double run = 0;                     // median of whole runs that were not profiled
  double total = 0;                   // median of what profiles tell of the whole
};

Times measure(Session& session, size_t steps, int runs) {
  std::vector<std::vector<double>> samples(steps);
  std::vector<double> whole, totals;
  for (int i = 0; i < 5; ++i) session.run();
  for (int i = 0; i < runs; ++i) {
    const Profile p = session.profile();
    for (size_t s = 0; s < steps; ++s) samples[s].push_back(static_cast<double>(p.step_ns[s]) * 1e-9);
    totals.push_back(static_cast<double>(p.total_ns) * 1e-9);
    const auto start = Clock::now();
    session.run();
    whole.push_back(since(start));
  }
  Times t;
  for (const std::vector<double>& s : samples) {
    t.median.push_back(median(s));
    t.least.push_back(*std::ranges::min_element(s));
  }
  t.run = median(whole);
  t.total = median(totals);
  return t;
}

// What the metadata says of each step's arguments (docs/artifact.md); nothing in libraries of older
// compilers.
std::vector<std::vector<Touch>> touches_in(const Model& model, const std::string& path, size_t steps) {
  using nlohmann::json;
  std::vector<std::vector<Touch>> all(steps);
  const auto is_size = [](const json& n) { return n.is_number_unsigned() && n.get<uint64_t>() <= uint64_t{1} << 46; };
  const json told = json::parse(model.metadata()).value("steps", json::array());
  for (size_t s = 0; s < std::min(steps, told.size()); ++s) {
    for (const json& t : told[s].value("touches", json::array())) {
      require(t.is_array() && t.size() == 2 && is_size(t[0]) && is_size(t[1]),
              "{} has malformed metadata: \"touches\" are pairs of sizes up to 2^46; compile the model anew",
              path);
      all[s].push_back({t[0].get<int64_t>(), t[1].get<int64_t>()});
    }
  }
  return all;
}

Roofline roofline_of(const ProfileArgs& args, const Model& model, const Session& session, const Times& times) {
  Roofline r{.model = std::filesystem::path(args.model.path).filename().string(),
             .target = model.info().target,
             .threads = static_cast<int>(session.threads()),
             .run_seconds = times.run,
             .roofs = measured_roofs(session.threads()),
             .kernels = {},
             .peers = {}};
  const std::vector<StepInfo> steps = model.steps();
  const auto touches = touches_in(model, args.model.path, steps.size());
  for (size_t s = 0; s < steps.size(); ++s) {
    r.kernels.push_back({.step = s,
                         .name = steps[s].name,
                         .sources = steps[s].sources,
                         .macs = static_cast<int64_t>(steps[s].macs),
                         .bytes = static_cast<int64_t>(steps[s].bytes),
                         .floor = floor_of(static_cast<int64_t>(steps[s].macs), touches[s], r.roofs),
                         .seconds = times.median[s],
                         .least = times.least[s]});
  }
  if (!args.peers.empty()) r.peers = read_peer_profiles(args.peers);
  return r;
}

std::vector<size_t> order_of(const Times& times, bool by_time) {
  std::vector<size_t> order(times.median.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (by_time) std::ranges::stable_sort(order, std::greater{}, [&](size_t s) { return times.median[s]; });
  return order;
}

// Of the time that memory or arithmetic would take at their nominal rates, whichever is longer, as a share of what was
// taken.
double share_of_peak(const StepInfo& step, const GpuPeaks& peaks, double seconds) {
  const double of_bytes = peaks.bytes > 0 ? static_cast<double>(step.bytes) / peaks.bytes : 0;
  const double of_macs = peaks.macs > 0 ? static_cast<double>(step.macs) / peaks.macs : 0;
  return std::max(of_bytes, of_macs) / std::max(1e-9, seconds);
}

void print_gpu(const Model& model, const std::vector<GpuStep>& launched, const burnish_device_info& gpu,
               const Times& times, bool by_time) {
  const std::vector<StepInfo> steps = model.steps();
  const GpuPeaks peaks = gpu_peaks(gpu, model.info().target);
  const double total = std::accumulate(times.median.begin(), times.median.end(), 0.0);
  fmt::print("{:>4} {:>8} {:>8} {:>5} {:>8} {:>7} {:>6} {:>7} {:>7} {:>8} {:>5} {:>6}  kernel: nodes\n", "step", "us",
             "min us", "%", "GFLOP/s", "GB/s", "peak%", "kernels", "blocks", "threads", "regs", "block");
  int kernels = 0;
  for (const size_t s : order_of(times, by_time)) {
    const GpuStep& g = launched[s];
    const double seconds = std::max(1e-9, times.median[s]);
    kernels += g.launches;
    fmt::print("{:>4} {:>8.1f} {:>8.1f} {:>5.1f} {:>8.0f} {:>7.0f} {:>6.1f} {:>7} {:>7} {:>8} {:>5} {:>6}  {}: {}{}\n", s,
               times.median[s] * 1e6, times.least[s] * 1e6, 100 * times.median[s] / std::max(1e-12, total),
               2e-9 * static_cast<double>(steps[s].macs) / seconds, 1e-9 * static_cast<double>(steps[s].bytes) / seconds,
               100 * share_of_peak(steps[s], peaks, seconds), g.launches, g.blocks, g.threads, g.registers,
               g.block_bytes, steps[s].name, join(steps[s].sources, "+"),
               g.spill_bytes ? fmt::format(" (spills {} bytes)", g.spill_bytes) : "");
  }
  fmt::print("{} steps, {} kernels on {}: {:.3f} ms step by step, {:.3f} ms as one graph with its copies, {:.3f} ms a call\n",
             steps.size(), kernels, described(gpu), total * 1e3, times.total * 1e3, times.run * 1e3);
}

void print_kernels(const std::vector<StepInfo>& steps, const Times& times, unsigned threads, bool by_time) {
  const double total = std::accumulate(times.median.begin(), times.median.end(), 0.0);
  const double least = std::accumulate(times.least.begin(), times.least.end(), 0.0);
  const std::vector<size_t> order = order_of(times, by_time);
  fmt::print("{:>4} {:>9} {:>9} {:>6} {:>9} {:>9}  kernel: nodes\n", "step", "us", "min us", "%", "GFLOP/s", "MB");
  for (const size_t s : order) {
    fmt::print("{:>4} {:>9.1f} {:>9.1f} {:>6.1f} {:>9.1f} {:>9.2f}  {}: {}\n", s, times.median[s] * 1e6,
               times.least[s] * 1e6, 100 * times.median[s] / total,
               2e-9 * static_cast<double>(steps[s].macs) / std::max(1e-9, times.median[s]),
               static_cast<double>(steps[s].bytes) / 1e6, steps[s].name, join(steps[s].sources, "+"));
  }
  fmt::print("{} kernels, {:.3f} ms (sum of minima {:.3f}, a whole run {:.3f}), {} threads\n", steps.size(), total * 1e3,
             least * 1e3, times.run * 1e3, threads);
}

void profile_command(const ProfileArgs& args) {
  require_usage(args.roofline || (!args.json && args.peers.empty()), "--json and --peers belong to --roofline");
  require_usage(!args.roofline || !args.by_time, "--by-time does not go with --roofline, whose order is the gap");
  const Model model = open_model(args.model);
  Session session = open_session(args.model, model);
  set_inputs(session, model, args.inputs, true);
  const std::vector<StepInfo> steps = model.steps();
  const auto launched = gpu_steps(model);
  require(!launched || !args.roofline, "--roofline is for models that run on the CPU; without it, the share of a GPU's peak is told");
  const Times times = measure(session, steps.size(), args.runs);
  if (launched) return print_gpu(model, *launched, session.device(), times, args.by_time);
  if (!args.roofline) {
    print_kernels(steps, times, session.threads(), args.by_time);
    return;
  }
  const Roofline r = roofline_of(args, model, session, times);
  if (!args.report.empty()) write_file(args.report, roofline_html(r));
  fmt::print("{}", args.json ? roofline_json(r) : roofline_text(r));
}

}  // namespace

void add_profile(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("profile", "time every kernel of a model");
  auto args = std::make_shared<ProfileArgs>();
  add_model_options(*command, args->model, false);
  add_records_option(*command, args->model);
  add_input_option(*command, args->inputs, "as in `burnish run`; random numbers where nothing is given");
  command->add_option("--runs", args->runs, "profiled runs to take the median of; as many plain ones are timed")->check(CLI::Range(1, 100000))->capture_default_str();
  command->add_flag("--by-time", args->by_time, "longest first; not with --roofline");
  auto* roofline = command->add_option("--roofline", args->report,
                                       "what each kernel must take at least, the largest gap first; with a name, also as an "
                                       "HTML file (give it after the model)");
  roofline->expected(0, 1);
  command->add_option("--peers", args->peers, "with --roofline: a file of bench/peer_profile.py, other engines' times beside")
      ->check(CLI::ExistingFile);
  command->add_flag("--json", args->json, "with --roofline: one JSON object instead of the table");
  command->callback([args, roofline, &status] {
    args->roofline = roofline->count() > 0;
    profile_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
