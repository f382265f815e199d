#include "passes/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace burnish {

namespace {

bool names(const std::vector<std::string>& list, std::string_view pass) {
  return std::find(list.begin(), list.end(), pass) != list.end();
}

bool dumps(const Context& c, std::string_view pass) {
  return names(c.options.dump, "all") || names(c.options.dump, pass);
}

// A pass at its place in the pipeline; some stand there twice.
struct Place {
  int number;
  std::string_view pass;
};

template <class IR>
std::filesystem::path dump(const Context& c, Place at, std::string_view moment, const IR& ir) {
  std::error_code error;
  std::filesystem::create_directories(c.options.dump_dir, error);
  require(!error, "cannot make the folder {} for dumps: {}", c.options.dump_dir.string(), error.message());
  const std::filesystem::path file = c.options.dump_dir / fmt::format("{:02}-{}.{}.txt", at.number, at.pass, moment);
  write_file(file, to_text(ir));
  return file;
}

// Our own errors get the pass's name and a file to look at; the user's pass through.
template <class IR, class F>
auto guarded(const Context& c, Place at, const IR& before, F run) {
  const std::string pass(at.pass);
  try {
    const auto start = Clock::now();
    auto after = run();
    if (c.times != nullptr) c.times->push_back({pass, since(start)});
    if (c.options.verify) verify(after);
    return after;
  } catch (const InternalError& e) {
    std::string where = "add --dump " + pass + " DIR to keep its input";
    if (dumps(c, pass)) where = "its input is " + dump(c, at, "before", before).string();
    throw InternalError(fmt::format("pass {}: {}; {}", pass, e.what(), where));
  }
}

template <class IR>
IR run_all(std::span<const Pass<IR>> passes, IR ir, const Context& c, int first, bool* stopped) {
  for (const Pass<IR>& pass : passes) {
    const Place at{first++, pass.name};
    if (names(c.options.disable, pass.name)) continue;
    if (dumps(c, pass.name)) dump(c, at, "before", ir);
    ir = guarded(c, at, ir, [&] { return pass.run(ir, c); });
    if (dumps(c, pass.name)) dump(c, at, "after", ir);
    if (c.options.stop_after == pass.name) {
      if (stopped != nullptr) *stopped = true;
      break;
    }
  }
  return ir;
}

}  // namespace

Graph run_passes(std::span<const GraphPass> passes, Graph g, const Context& context, int first, bool* stopped) {
  return run_all(passes, std::move(g), context, first, stopped);
}

Program run_passes(std::span<const ProgramPass> passes, Program p, const Context& context, int first, bool* stopped) {
  return run_all(passes, std::move(p), context, first, stopped);
}

Program run_lowering(std::string_view name, Program (*run)(const Graph&, const Context&), const Graph& g,
                     const Context& c, int number) {
  const Place at{number, name};
  if (dumps(c, name)) dump(c, at, "before", g);
  Program p = guarded(c, at, g, [&] { return run(g, c); });
  if (dumps(c, name)) dump(c, at, "after", p);
  return p;
}

std::string times_text(const std::vector<PassTime>& times) {
  std::map<std::string, double> by_pass;
  double total = 0;
  for (const PassTime& t : times) {
    by_pass[t.pass] += t.seconds;
    total += t.seconds;
  }
  std::vector<std::pair<std::string, double>> rows(by_pass.begin(), by_pass.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string out = fmt::format("{:<24} {:>10} {:>7}\n", "pass", "ms", "share");
  for (const auto& [pass, seconds] : rows) {
    out += fmt::format("{:<24} {:>10.2f} {:>6.1f}%\n", pass, seconds * 1e3,
                       total > 0 ? 100 * seconds / total : 0);
  }
  return out + fmt::format("{:<24} {:>10.2f}\n", "all", total * 1e3);
}

}  // namespace burnish
