// burnish lower MODEL --task NAME: a fused group as formulas, schedule and loops.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/cli/commands.h"
#include "passes/pipeline.h"

namespace burnish::cli {

namespace {

struct LowerArgs {
  ModelArgs model;
  std::string task, pass;
};

void lower_command(const LowerArgs& args) {
  CompileOptions options = compile_options(args.model);
  TemporaryFolder folder;
  if (!args.pass.empty()) {
    options.dump_passes = {args.pass};
    options.dump_dir = folder.path;
  }
  options.library = false;
  for (const std::string& pass : passes_across_steps())  // groups are listed one by one
    if (args.pass != pass) options.disable_passes.push_back(pass);
  const CompiledModel model = compile(args.model.path, options);
  if (!args.pass.empty()) {
    std::vector<std::filesystem::path> files;
    for (const auto& f : std::filesystem::directory_iterator(folder.path)) files.push_back(f.path());
    const auto order = [](const std::filesystem::path& f) {  // 03-fuse.before.txt: by place, "before" first
      const std::string name = f.filename().string();
      return std::pair(name.substr(0, name.find('.')), name.find(".after.") != std::string::npos);
    };
    std::ranges::sort(files, {}, order);
    for (const auto& f : files) fmt::print("# {}\n{}\n", f.stem().string(), read_file(f));
  }
  if (args.task.empty()) {
    fmt::print("{:>5} {:>9} {:>9}  task: nodes\n", "times", "MMAC", "MB");
    for (const TaskSummary& t : model.tasks()) {
      fmt::print("{:>5} {:>9.2f} {:>9.2f}  {}: {}\n", t.count, t.macs / 1e6, t.bytes / 1e6, t.name, join(t.sources, "+"));
    }
    return;
  }
  const TaskText text = model.task(args.task);
  fmt::print("# stages\n{}\n# schedule\n{}\n# loops\n{}", text.stages, text.schedule, text.loops);
}

}  // namespace

void add_lower(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("lower", "the loops and the schedule of a fused group; without --task the list of groups");
  auto args = std::make_shared<LowerArgs>();
  add_model_options(*command, args->model, true);
  add_records_option(*command, args->model);
  command->add_option("--task", args->task, "name of a group");
  command->add_option("--pass", args->pass, "also the text before and after this pass");
  command->callback([args, &status] {
    lower_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
