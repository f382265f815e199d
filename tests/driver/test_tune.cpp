// What can be said of tune() and read_records() without a search; tests/python/test_tune.py
// searches.
#include <burnish/tune.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "search/records.h"

namespace burnish {
namespace {

std::string fault(const TuneOptions& options, const std::string& model = "/none.onnx") {
  try {
    tune(model, options);
  } catch (const UserError& e) {
    return e.what();
  }
  return "nothing was raised";
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Tune, MistakesAreToldBeforeTheModelIsRead) {
  EXPECT_PRED2(has, fault({.seconds = -1}), "the time is -1 seconds");
  EXPECT_PRED2(has, fault({.seconds = NAN}), "give 0 or more");
  EXPECT_PRED2(has, fault({.seconds = 0, .trials = 0}), "without an end");
  EXPECT_PRED2(has, fault({.trials = -4}), "-4 trials");
  EXPECT_PRED2(has, fault({.tuner = "magic"}), "the tuners are xgb, anneal, genetic, random, grid");
  EXPECT_PRED2(has, fault({.resume = true}), "resuming needs the records");
  EXPECT_PRED2(has, fault({}), "/none.onnx");
}

TEST(Tune, DurationsAreNumbersWithOrWithoutAUnit) {
  EXPECT_EQ(parse_duration("90"), 90);
  EXPECT_EQ(parse_duration("90s"), 90);
  EXPECT_EQ(parse_duration("5m"), 300);
  EXPECT_EQ(parse_duration("1.5h"), 5400);
  for (const char* text : {"", "s", "0", "5x", "-1", "nan", "inf", "1e400", "1e10", "2h ", " 2h"})
    EXPECT_EQ(parse_duration(text), 0) << text;
}

TEST(Tune, RecordsThatAreNoneStayAsTheyAre) {
  const TemporaryFolder folder;
  const auto path = folder.path / "tune.db";
  write_file(path, "these are not records");
  EXPECT_PRED2(has, fault({.records = path}), "tune.db");
  EXPECT_THROW(read_records(path), UserError);
  EXPECT_THROW(read_records(folder.path / "none.db"), UserError);
  EXPECT_EQ(read_file(path), "these are not records");
}

search::Record record(const std::string& workload, const std::string& target, double seconds,
                      search::Status status) {
  search::Record r{.workload = workload,
                   .workload_hash = search::hash_text(workload),
                   .target = target,
                   .threads = 2,
                   .compiler = "burnish 0.1.0",
                   .machine = "a machine",
                   .tuner = "random",
                   .knobs = "rows=4"};
  r.trial.status = status;
  r.trial.trace = "split(O, x, 4)\n";
  if (status == search::Status::Ok)
    r.trial.timing = {.median = seconds, .mad = 0, .min = seconds, .repeats = 3};
  else
    r.trial.message = "why";
  return r;
}

TEST(ReadRecords, AllBestAndWinners) {
  const TemporaryFolder folder;
  const auto path = folder.path / "tune.db";
  const std::string here = "llvm:cpu=znver4,threads=2", there = "llvm:cpu=znver4,threads=1";
  {
    using search::Status;
    search::Database db(path, search::Database::Mode::ReadWrite);
    db.add({record("b", here, 3e-3, Status::Ok), record("a", here, 5e-3, Status::Ok),
            record("b", here, 2e-3, Status::Ok), record("b", here, 0, Status::Wrong),
            record("b", there, 4e-3, Status::Ok)},
           "", "");
    db.add_winner({.workload_hash = search::hash_text("b"),
                   .target = here,
                   .trace = "split(O, x, 4)\n",
                   .default_seconds = 3e-3,
                   .tuned_seconds = 2e-3,
                   .model = "m.onnx"});
  }
  EXPECT_EQ(read_records(path).size(), 5u);
  std::vector<std::pair<std::string, double>> best;
  for (const std::string& line : read_records(path, RecordSelection::Best)) {
    const auto json = nlohmann::json::parse(line);
    best.emplace_back(json.at("workload").get<std::string>() + " " +
                          json.at("target").get<std::string>(),
                      json.at("median"));
  }
  EXPECT_EQ(best, (decltype(best){{"b " + here, 2e-3}, {"a " + here, 5e-3}, {"b " + there, 4e-3}}));
  const auto winners = read_records(path, RecordSelection::Winners);
  ASSERT_EQ(winners.size(), 1u);
  EXPECT_EQ(nlohmann::json::parse(winners[0]).at("tuned_seconds"), 2e-3);
}

}  // namespace
}  // namespace burnish
