// burnish profile model.so: time, rate and traffic of every kernel, with the nodes that it came from.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/text.h"
#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

struct ProfileArgs {
  ModelArgs model;
  std::vector<std::string> inputs;
  int runs = 50;
  bool by_time = false;
};

void profile_command(const ProfileArgs& args) {
  const Model model = open_model(args.model);
  Session session = model.session({.threads = static_cast<uint32_t>(args.model.threads)});
  set_inputs(session, model, args.inputs, true);
  const std::vector<StepInfo> steps = model.steps();
  std::vector<std::vector<double>> samples(steps.size());
  for (int i = 0; i < 5; ++i) session.run();
  for (int i = 0; i < args.runs; ++i) {
    const Profile p = session.profile();
    for (size_t s = 0; s < steps.size(); ++s) samples[s].push_back(static_cast<double>(p.step_ns[s]));
  }
  std::vector<double> median(steps.size()), best(steps.size());
  for (size_t s = 0; s < steps.size(); ++s) {
    auto middle = samples[s].begin() + static_cast<std::ptrdiff_t>(samples[s].size() / 2);
    std::nth_element(samples[s].begin(), middle, samples[s].end());
    median[s] = *middle;
    best[s] = *std::min_element(samples[s].begin(), samples[s].end());
  }
  const double total = std::accumulate(median.begin(), median.end(), 0.0);
  const double best_total = std::accumulate(best.begin(), best.end(), 0.0);
  std::vector<size_t> order(steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (args.by_time) std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return median[a] > median[b]; });
  fmt::print("{:>4} {:>9} {:>9} {:>6} {:>9} {:>9}  kernel: nodes\n", "step", "us", "min us", "%", "GFLOP/s", "MB");
  for (size_t s : order) {
    fmt::print("{:>4} {:>9.1f} {:>9.1f} {:>6.1f} {:>9.1f} {:>9.2f}  {}: {}\n", s, median[s] / 1e3, best[s] / 1e3, 100 * median[s] / total,
               2 * static_cast<double>(steps[s].macs) / std::max(1.0, median[s]),
               static_cast<double>(steps[s].bytes) / 1e6, steps[s].name, join(steps[s].sources, "+"));
  }
  fmt::print("{} kernels, {:.3f} ms (sum of minima {:.3f}), {} threads\n", steps.size(), total / 1e6, best_total / 1e6,
             session.threads());
}

}  // namespace

void add_profile(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("profile", "time every kernel of a model");
  auto args = std::make_shared<ProfileArgs>();
  add_model_options(*command, args->model, false);
  add_records_option(*command, args->model);
  add_input_option(*command, args->inputs, "as in `burnish run`; random numbers where nothing is given");
  command->add_option("--runs", args->runs, "runs to take the median of")->check(CLI::Range(1, 100000))->capture_default_str();
  command->add_flag("--by-time", args->by_time, "longest first");
  command->callback([args, &status] {
    profile_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
