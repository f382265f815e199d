#include "driver/tune_report.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <vector>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/html_fault.h"
#include "driver/peak.h"
#include "driver/tune_report_parts.h"

namespace burnish {
namespace {

constexpr Roofs roofs{.macs_per_second = 100e9, .bytes_per_second = 20e9};

// A search as it might have gone: `tasks` tasks, rounds of 8, the draft first, then a learned model
// that is mostly right.
TuneResult plausible(size_t tasks, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return std::generate_canonical<double, 32>(random); };
  TuneResult r{.seconds = 60.2,
               .search_seconds = 54.1,
               .stopped = "the time is over",
               .default_seconds = 12.5e-3,
               .tuned_seconds = 9.8e-3,
               .speedup = 1.275,
               .speedup_noise = 0.012,
               .target = "llvm:cpu=znver4,threads=2",
               .machine = "A CPU, caches 32/1024/32768 KB",
               .threads = 2};
  r.notes.push_back("tasks were left out: 3");
  for (size_t i = 0; i < tasks; ++i) {
    TunedTask t{.name = "conv_relu_" + std::to_string(i),
                .sources = {"Conv_" + std::to_string(i), "Relu"},
                .weight = 1.0 + double(i % 3)};
    t.macs = static_cast<int64_t>(1e7 * (1 + 9 * uniform()));
    t.bytes = static_cast<int64_t>(double(t.macs) / (1 + 30 * uniform()));
    t.default_seconds = double(t.macs) / (20e9 + 40e9 * uniform());
    t.best_seconds = t.default_seconds;
    t.knobs = "default";
    t.measured.push_back(
        {.round = -1, .seconds = t.default_seconds, .knobs = "default", .status = "ok"});
    for (int64_t k = 0; k < 64; ++k) {
      const bool learned = k >= 16, failed = uniform() < 0.05;
      const int rows = 1 << (random() % 4), vectors = 1 + static_cast<int>(random() % 3);
      const double seconds =
          t.default_seconds * (0.7 + 0.6 * std::abs(rows - 4) / 4 + 0.2 * uniform());
      t.measured.push_back(
          {.round = k / 8,
           .predicted = -seconds * (1 + (learned ? 0.3 : 2) * uniform()),
           .learned = learned,
           .seconds = failed ? 0 : seconds,
           .knobs = "rows=" + std::to_string(rows) + " vectors=" + std::to_string(vectors),
           .status = failed ? "wrong" : "ok"});
      if (failed)
        ++t.failed;
      else if (seconds < t.best_seconds)
        t.best_seconds = seconds, t.knobs = t.measured.back().knobs;
    }
    t.trials = 64;
    t.used = i % 4 != 3;
    t.model_default_seconds = t.weight * t.default_seconds * 1.05;
    t.model_tuned_seconds = t.used ? t.weight * t.best_seconds * 1.1 : t.model_default_seconds;
    r.trials += 64;
    r.tasks.push_back(std::move(t));
  }
  return r;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(TuneReport, HasEverySectionAndNothingToLoad) {
  const uint64_t seed = 11;
  SCOPED_TRACE(seed);
  const std::string html = report_text("centerface.onnx", plausible(6, seed), roofs);
  EXPECT_EQ(fault_of(html), "");
  for (const char* part :
       {"Tuning centerface.onnx", "12.500 ms", "9.800 ms", "1.275× ± 0.012", "the time is over",
        "tasks were left out: 3", "conv_relu_5", "Best so far", "Predicted against measured",
        "Draft: ", "Learned model: ", "Share of peak", "peak 200 GFLOP/s", "memory 20 GB/s",
        "What knobs won"}) {
    EXPECT_TRUE(has(html, part)) << part;
  }
  for (const char* part : {"<script", " src=", "href=", "url(", "@import", "<link", "nan", "inf\""})
    EXPECT_FALSE(has(html, part)) << part;
  if (const char* path = std::getenv("BURNISH_REPORT"))
    write_file(path, report_text("centerface.onnx", plausible(30, seed), roofs));
}

TEST(TuneReport, NamesCannotBecomeMarkup) {
  TuneResult r = plausible(1, 3);
  const std::string evil =
      "</td></table><script>alert(\"1\")</script>&nbsp;\x01\xff\xc0\xaf\xed\xa0\x80'";
  r.tasks[0].name = r.machine = r.target = r.stopped = evil;
  r.tasks[0].sources = {evil};
  r.tasks[0].knobs = r.tasks[0].stopped = "rows=" + evil;
  r.tasks[0].measured[1].knobs = "\"><b>=" + evil;
  r.notes = {evil};
  const std::string html = report_text(evil, r, roofs);
  EXPECT_EQ(fault_of(html), "");
  EXPECT_FALSE(has(html, "<script"));
  EXPECT_FALSE(has(html, "\xff"));
  EXPECT_TRUE(has(html, "&lt;script&gt;alert(&quot;1&quot;)"));
}

TEST(TuneReport, StrangeFiguresStayOutOfThePlots) {
  const double inf = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  TuneResult r = plausible(3, 4);
  r.tasks[0].measured[1].predicted = nan;
  r.tasks[0].measured[2].predicted = -inf;
  r.tasks[1].default_seconds = r.tasks[1].best_seconds = 0;
  r.tasks[2].macs = r.tasks[2].bytes = 0;
  for (TunedTrial& t : r.tasks[2].measured) t.seconds = 0;
  r.default_seconds = 0;
  const std::string html = report_text("m", r, roofs);
  EXPECT_EQ(fault_of(html), "");
  EXPECT_TRUE(has(html, "was not compared as a whole"));
  const size_t svg = html.find("<svg");
  ASSERT_NE(svg, std::string::npos);
  EXPECT_EQ(html.find("nan", svg), std::string::npos);
  EXPECT_EQ(html.find("inf", svg), std::string::npos);
  EXPECT_EQ(fault_of(report_text("m", TuneResult{}, Roofs{})), "");
  EXPECT_FALSE(has(report_text("m", plausible(2, 5), Roofs{}), "Share of peak"));
}

TunedTask task_with(std::vector<TunedTrial> trials) {
  TunedTask t{.name = "t", .default_seconds = 4e-3, .best_seconds = 1e-3};
  t.measured = std::move(trials);
  return t;
}

TEST(TuneReport, CountsPairsWithinRoundsOnly) {
  // Round 0: of three pairs two are in order. Round 1: one pair, tied scores. Across rounds nothing
  // counts.
  TuneResult r;
  r.tasks.push_back(task_with({{.round = -1, .seconds = 4e-3, .knobs = "default"},
                               {.round = 0, .predicted = 3, .seconds = 2e-3},
                               {.round = 0, .predicted = 2, .seconds = 1e-3},
                               {.round = 0, .predicted = 1, .seconds = 3e-3},
                               {.round = 0, .predicted = 9, .seconds = 0, .status = "wrong"},
                               {.round = 1, .predicted = 5, .seconds = 5e-3},
                               {.round = 1, .predicted = 5, .seconds = 6e-3}}));
  const std::string html = report::order_section(r);
  EXPECT_TRUE(has(html, "Draft: 62.5% of 4 pairs in the right order (5 trials in 2 rounds)"))
      << html;
  EXPECT_FALSE(has(html, "Learned"));
}

TEST(TuneReport, CurveFallsOnlyWhereATrialWasFaster) {
  TuneResult r;
  r.tasks.push_back(task_with({{.round = -1, .seconds = 4e-3},
                               {.round = 0, .seconds = 5e-3},
                               {.round = 0, .seconds = 2e-3},
                               {.round = 1, .seconds = 0},
                               {.round = 1, .seconds = 1e-3}}));
  const std::string html = report::curve_section(r);
  EXPECT_TRUE(has(html, "default 4.000 ms, best 1.000 ms after 4 trials: 4.00×")) << html;
  EXPECT_FALSE(has(html, "an earlier search"));
  const size_t from = html.find("class=\"best\" d=\"") + 16;
  const std::string path = html.substr(from, html.find('"', from) - from);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 5)
      << path;  // two steps of two corners, and the end
  r.tasks[0].best_seconds = 0.5e-3;
  EXPECT_TRUE(has(report::curve_section(r),
                  "1.000 ms after 4 trials: 4.00×; an earlier search found 500.0 µs"));
}

TEST(TuneReport, MarksTheWinnersKnobs) {
  TuneResult r;
  r.tasks.push_back(task_with({{.seconds = 2e-3, .knobs = "rows=16 order=0"},
                               {.seconds = 1e-3, .knobs = "rows=4 order=1"},
                               {.seconds = 0, .knobs = "rows=4 order=0"}}));
  r.tasks[0].knobs = "rows=4 order=1";
  r.tasks[0].used = true;
  const std::string html = report::knob_section(r);
  EXPECT_TRUE(has(html, "<td class=\"yes\">4 ✓</td><td>2</td><td>1</td><td>1.000 ms</td>")) << html;
  EXPECT_TRUE(has(html, "<td>16</td><td>1</td><td>0</td><td>2.000 ms</td>")) << html;
  EXPECT_LT(html.find("<td class=\"yes\">4 ✓</td><td>2"), html.find("<td>16</td>"))
      << "values count upwards";
}

TEST(TuneReport, FilesAreWrittenWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const auto path = folder.path / "tune.html";
  write_report(path, "m.onnx", plausible(2, 6));
  EXPECT_EQ(fault_of(read_file(path)), "");
  EXPECT_THROW(write_report(folder.path / "none" / "tune.html", "m.onnx", plausible(1, 6)),
               UserError);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path), {}), 1);
}

TEST(TuneReportParts, TicksAreRoundAndInside) {
  using report::Scale;
  EXPECT_EQ((Scale{.lo = 0, .hi = 100}.ticks(5)), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ((Scale{.lo = 0.5, .hi = 60, .logarithmic = true}.ticks(9)),
            (std::vector<double>{0.5, 1, 2, 5, 10, 20, 50}));
  EXPECT_EQ((Scale{.lo = 0.5, .hi = 60, .logarithmic = true}.ticks(3)),
            (std::vector<double>{1, 10}));
  const Scale s{.lo = 1, .hi = 100, .from = 0, .to = 200, .logarithmic = true};
  EXPECT_DOUBLE_EQ(s.at(10), 100);
  EXPECT_DOUBLE_EQ(s.at(1e9), 200);
  EXPECT_DOUBLE_EQ(s.at(-1), 0);
}

TEST(TuneReportParts, KnobsOfText) {
  EXPECT_TRUE(report::knobs_of("default").empty());
  EXPECT_EQ(report::knobs_of("rows=6 vectors=2"),
            (std::vector<std::pair<std::string, std::string>>{{"rows", "6"}, {"vectors", "2"}}));
  EXPECT_TRUE(report::knobs_of("= =3  ").empty());
}

TEST(Peak, RoofsArePlausible) {
  EXPECT_GT(measured_peak(1), 1e8);
  EXPECT_GT(measured_bandwidth(1), 1e8);
  EXPECT_GT(measured_bandwidth(1000), 1e8) << "no more threads than CPUs";
}

// As under emulators and on machines that hide them.
TEST(Peak, CachesThatTheSystemDoesNotTellOf) {
  const Roofs none = measured_roofs(1, 0, 0, 0);
  EXPECT_GT(none.macs_per_second, 1e8);
  EXPECT_GT(none.bytes_per_second, 1e8);
  EXPECT_EQ(none.l2_bytes_per_second, 0);
  EXPECT_EQ(none.l3_bytes_per_second, 0);
  const Roofs last = measured_roofs(1, 32 << 10, 0, 32 << 20);
  EXPECT_EQ(last.l2_bytes_per_second, 0);
  EXPECT_EQ(last.l3_bytes_per_second, 0);
  EXPECT_EQ(last.l3_bytes, 32 << 20);
}

}  // namespace
}  // namespace burnish
