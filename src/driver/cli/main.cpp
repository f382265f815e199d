// burnish: compiles networks to native libraries, runs, times and checks them.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

int run(int argc, char** argv) {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("burnish", std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  spdlog::set_pattern("%v");
  CLI::App app("Compiles trained networks to native libraries, and runs, times and checks them.", "burnish");
  app.set_version_flag("--version", std::string("burnish ") + std::string(version()));
  app.require_subcommand(1);
  app.footer(
      "Results are printed to stdout, messages to stderr.\n"
      "Exit status: 0 ok, 1 failure, 2 wrong usage, 3 the model needs something unsupported, 4 results differ.\n\n"
      "  burnish compile centerface.onnx -o centerface.so --shape input.1=1x3x544x960\n"
      "  burnish bench centerface.so");
  int status = ok;
  add_inspect(app, status);
  add_compile(app, status);
  add_run(app, status);
  add_bench(app, status);
  add_profile(app, status);
  add_verify(app, status);
  add_lower(app, status);
  add_tune(app, status);
  add_records(app, status);
  add_completion(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& e) {
    if (!app.get_subcommands().empty() || argc < 2 || *argv[1] == '-') return app.exit(e), usage;
    std::fprintf(stderr, "burnish: there is no command '%s'; see burnish --help\n", argv[1]);
    return usage;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? ok : usage;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    std::fprintf(stderr, "burnish: cannot write the results\n");
    return failure;
  }
  return status;
}

}  // namespace

}  // namespace burnish::cli

int main(int argc, char** argv) {
  using namespace burnish;
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is an error of write(), which cleans up
  const auto report = [](const char* text) {
    if (::isatty(STDERR_FILENO)) std::fputs("\r\033[K", stderr);  // a progress bar may stand there
    std::fprintf(stderr, "burnish: %s\n", text);
  };
  try {
    return cli::run(argc, argv);
  } catch (const Unsupported& e) {
    report(e.what());
    return cli::unsupported;
  } catch (const std::bad_alloc&) {
    report("out of memory");
  } catch (const std::exception& e) {
    report(e.what());
  }
  return cli::failure;
}
