// The search without measuring: explorers and models on recorded landscapes. README.md has the formats.
//   bench_search ablation [FILE...] [--synthetic N] [--trials N] [--batch N] [--seeds N] [--threads N] [--enough PERCENT] [--svg FILE]
//   bench_search dump FILE...
//   bench_search measure STAGES... [--points N] [--threads N] [--seed N] [--least]
//   bench_search rank FILE...
//   bench_search race SEARCHED EVERY                  what a search chose beside the best of all points
//   bench_search replay DATABASE MODEL [--shape NAME=1x3x...]
// --least: the least of the repeats, not their median, for a machine that is not quiet.
// FILE: JSON lines, or a database of records. STAGES: what `burnish lower MODEL --task NAME` prints.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"
#include "bench/search/ablation.h"
#include "bench/search/commands.h"
#include "bench/search/measure.h"

using namespace burnish;
using namespace burnish::search;

namespace {

struct Arguments {
  std::vector<std::string> files;
  AblationOptions ablation;
  size_t synthetic = 0;
  int threads = 2;
  MeasuringOptions measuring;
  std::string svg;
  std::map<std::string, std::vector<int64_t>> shapes;
};

template <class T>
void read_number(T& value, const std::string& option, const std::string& text) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && value >= 1, "{} takes a positive number, not {}", option,
          text);
}

void read_shape(std::map<std::string, std::vector<int64_t>>& shapes, const std::string& text) {
  const size_t at = text.rfind('=');
  require(at != std::string::npos, "--shape {}: write it as name=1x3x544x960", text);
  for (const std::string& part : split_text(std::string_view(text).substr(at + 1), 'x')) {
    read_number(shapes[text.substr(0, at)].emplace_back(), "--shape", part);
  }
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 2; i < argc; ++i) {
    const std::string option = argv[i];
    if (!option.starts_with("--")) {
      a.files.push_back(option);
      continue;
    }
    if (option == "--least") {
      a.measuring.least = true;
      continue;
    }
    require(i + 1 < argc, "{} needs a value", option);
    const std::string value = argv[++i];
    if (option == "--synthetic") read_number(a.synthetic, option, value);
    else if (option == "--trials") read_number(a.ablation.trials, option, value);
    else if (option == "--batch") read_number(a.ablation.batch, option, value);
    else if (option == "--seeds") read_number(a.ablation.seeds, option, value);
    else if (option == "--threads") read_number(a.threads, option, value);
    else if (option == "--points") read_number(a.measuring.points, option, value);
    else if (option == "--seed") read_number(a.measuring.seed, option, value);
    else if (option == "--shape") read_shape(a.shapes, value);
    else if (option == "--enough") {
      int percent = 0;
      read_number(percent, option, value);
      require(percent <= 100, "--enough {} is more than 100 percent", percent);
      a.ablation.enough = percent / 100.0;
    } else if (option == "--svg") a.svg = value;
    else fail_user("there is no option {}", option);
  }
  return a;
}

std::vector<Landscape> landscapes(const Arguments& a) {
  std::vector<Landscape> all = synthetic_landscapes(a.synthetic);
  for (const std::string& f : a.files) {
    for (Landscape& l : read_landscapes(f, a.threads)) all.push_back(std::move(l));
  }
  require(!all.empty(), "no landscapes: name files, or --synthetic N");
  return all;
}

int run(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const Arguments a = parse(argc, argv);
  if (command == "dump") {
    for (const Landscape& l : landscapes(a)) std::fputs(to_line(l).c_str(), stdout);
    return 0;
  }
  if (command == "measure") {
    for (const std::string& f : a.files) {
      std::fputs(to_line(measure_landscape(f, a.threads, a.measuring)).c_str(), stdout);
      std::fflush(stdout);
    }
    return 0;
  }
  if (command == "ablation") {
    const std::vector<Landscape> all = landscapes(a);
    const Ablation done = run_ablation(all, a.ablation);
    if (!done.note.empty()) std::fprintf(stderr, "%s\n", done.note.c_str());
    std::fputs(table_of(done, all, a.ablation).c_str(), stdout);
    if (!a.svg.empty()) write_file(a.svg, svg_of(done, all, a.ablation));
    return 0;
  }
  if (command == "rank") {
    std::fputs(rank_table(landscapes(a)).c_str(), stdout);
    return 0;
  }
  if (command == "race") {
    require(a.files.size() == 2, "race wants two databases: of a search, and of every point");
    std::fputs(race_databases(a.files[0], a.files[1], a.threads).c_str(), stdout);
    return 0;
  }
  if (command == "replay") {
    require(a.files.size() == 2, "replay takes a database and a model");
    return replay_database(a.files[0], a.files[1], a.shapes, a.threads) ? 0 : 1;
  }
  fail_user("say what to do: ablation, dump, measure, rank, race or replay (bench/search/README.md)");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_search: %s\n", e.what());
    return 1;
  }
}
