// burnish compile MODEL -o model.so
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

struct CompileArgs {
  ModelArgs model;
  std::string output, emit = "so";
  std::vector<std::string> dump;  // pass, folder
  std::vector<std::string> disable;
  std::string stop_after;
  bool time_passes = false, verify_passes = false;
};

// What would make writing fail is found before a compilation of minutes.
void require_writable(const std::filesystem::path& path) {
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  require(!(exists && S_ISDIR(info.st_mode)) && path.has_filename(), "cannot write {}: it is a folder; name a file in it",
          path.string());
  const std::filesystem::path folder = (path.has_parent_path() ? path.parent_path() : ".") / ".";
  const bool replaced = !exists || S_ISREG(info.st_mode);  // a device or pipe is written to
  require(::access(replaced ? folder.c_str() : path.c_str(), W_OK) == 0, "cannot write {}: {}{}", path.string(),
          replaced ? folder.parent_path().string() + ": " : "", std::strerror(errno));
}

bool is_text(const std::string& kind) { return kind != "so" && kind != "obj"; }

void compile_command(const CompileArgs& args) {
  require_usage(!args.output.empty() || is_text(args.emit), "where to? give -o FILE for {}", args.emit);
  CompileOptions options = compile_options(args.model);
  if (!args.dump.empty()) {
    options.dump_passes = {args.dump[0]};
    options.dump_dir = args.dump[1];
  }
  options.disable_passes = args.disable;
  options.stop_after = args.stop_after;
  options.verify_passes = args.verify_passes;
  options.time_passes = args.time_passes;
  options.library = args.emit == "so";
  if (!args.output.empty() && args.output != "-") require_writable(args.output);
  show_progress(options);
  const auto start = Clock::now();
  const CompiledModel model = compile(args.model.path, options);
  const std::string text = model.emit(args.emit);
  if (args.output.empty() || args.output == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    write_file(args.output, text);
  }
  const double seconds = since(start);
  if (!args.output.empty() && args.output != "-") {
    spdlog::info("wrote {} ({:.2f} MB) in {:.1f} s", args.output, text.size() / 1e6, seconds);
  }
  for (const std::string& note : model.notes()) spdlog::warn("note: {}", note);
  for (const auto& [pass, time] : model.pass_times()) spdlog::info("{:9.1f} ms  {}", time * 1e3, pass);
}

}  // namespace

void add_compile(CLI::App& app, int& status) {
  auto* command = app.add_subcommand("compile", "compile a model to a native library");
  auto args = std::make_shared<CompileArgs>();
  add_model_options(*command, args->model, true);
  add_records_option(*command, args->model);
  command->add_option("-o,--output", args->output, "the file to write; - for stdout");
  command->add_option("--emit", args->emit, "what to write")
      ->check(CLI::IsMember({"graph", "loops", "llvm", "asm", "obj", "cuda", "ptx", "so"}))
      ->capture_default_str();
  command->add_option("--dump", args->dump, "PASS|all DIR: text before and after a pass, into a folder")->expected(2);
  command->add_option("--disable", args->disable, "a pass to leave out (may be repeated)")->allow_extra_args(false);
  command->add_option("--stop-after", args->stop_after, "the last graph pass to run (with --emit graph)");
  command->add_flag("--verify", args->verify_passes, "check the representation after every pass");
  command->add_flag("--time-passes", args->time_passes, "print the time of every pass");
  command->callback([args, &status] {
    compile_command(*args);
    status = ok;
  });
}

}  // namespace burnish::cli
