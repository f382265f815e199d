#include <set>

#include "search/records_help.h"

namespace burnish::search {

namespace {

using Mode = Database::Mode;
namespace fs = std::filesystem;

std::string all_of(const std::vector<Finding>& findings, Finding::Kind kind) {
  std::string text;
  for (const Finding& f : findings) {
    if (f.kind == kind) text += f.text + "\n";
  }
  return text;
}

testing::AssertionResult says(const std::string& text, const std::string& word) {
  if (text.find(word) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << word << "\" is not in: " << text;
}

Winner some_winner(const Record& r) {
  return {.workload_hash = r.workload_hash,
          .target = r.target,
          .trace = r.trial.trace,
          .default_seconds = 2e-3,
          .tuned_seconds = 1e-3,
          .model = "m.onnx",
          .when = 1'700'000'000};
}

constexpr int count = 2000;

void make(const fs::path& path) {
  Database db(path, Mode::ReadWrite);
  std::vector<Record> all;
  for (int i = 1; i <= count; ++i) all.push_back(some_record(1e-3, i));
  db.add(all, "search", "{\"state\":[" + std::string(1000, ' ') + "]}");
  db.add_winner(some_winner(all[0]));
}

TEST(Examine, AGoodDatabase) {
  Folder folder;
  make(folder / "a.db");
  const auto findings = examine(folder / "a.db", this_target);
  EXPECT_EQ(all_of(findings, Finding::Kind::Problem), "");
  EXPECT_EQ(all_of(findings, Finding::Kind::Note), "");
  EXPECT_THROW(examine(folder / "none.db", ""), UserError);
}

TEST(Examine, WhatIsWorthKnowing) {
  Folder folder;
  make(folder / "a.db");
  {
    Database db(folder / "a.db", Mode::ReadWrite);
    Record foreign = some_record();
    foreign.foreign = "autotvm";
    Record other = some_record();
    other.target = "llvm:cpu=znver4,threads=2";
    other.compiler = "burnish 0.2.0";
    db.add({foreign, other}, "", "");
  }
  const auto findings = examine(folder / "a.db", this_target);
  EXPECT_EQ(all_of(findings, Finding::Kind::Problem), "");
  const std::string notes = all_of(findings, Finding::Kind::Note);
  EXPECT_TRUE(says(notes, "1 record of another target: llvm:cpu=znver4,threads=2"));
  EXPECT_TRUE(says(notes, "burnish 0.1.0 (2000 records), burnish 0.2.0 (1 record)"));
  EXPECT_TRUE(says(notes, "1 record of autotvm"));
}

TEST(Examine, WhatIsWrong) {
  Folder folder;
  make(folder / "a.db");
  sql(folder / "a.db", "UPDATE trials SET median = -1 WHERE id IN (3, 4); UPDATE trials SET status "
                       "= 'splendid' WHERE id = 5;"
                       "UPDATE trials SET workload_hash = '0123456789abcdef' WHERE id = 6;"
                       "INSERT INTO workloads VALUES ('aaaaaaaaaaaaaaaa', 'changed');"
                       "INSERT INTO winners VALUES ('bbbbbbbbbbbbbbbb', 't', '', 2, 1, 'm', 5);"
                       "INSERT INTO winners VALUES ('abababababababab', 't', 'avoid', 2, 1, 'm', 5);"
                       "INSERT INTO winners VALUES ('cccccccccccccccc', 't', '', 1, 2, 'm', 5);"
                       "INSERT INTO winners VALUES ('dddddddddddddddd', 't', '', -1, 2, 'm', 5);");
  const std::string problems = all_of(examine(folder / "a.db", ""), Finding::Kind::Problem);
  EXPECT_TRUE(
      says(problems, "2 records with impossible values, which never win (record 3: median is -1"));
  EXPECT_TRUE(says(problems, "1 record with an unknown status (record 5"));
  EXPECT_TRUE(says(problems, "1 record whose workload has no text"));
  EXPECT_TRUE(says(problems, "aaaaaaaaaaaaaaaa has the text of another one"));
  EXPECT_TRUE(says(problems, "bbbbbbbbbbbbbbbb on t is an orphan"));
  EXPECT_FALSE(says(problems, "abababababababab")) << "what is avoided has no trials";
  EXPECT_TRUE(says(problems, "cccccccccccccccc on t is slower"));
  EXPECT_TRUE(says(problems, "dddddddddddddddd on t is not used: default_seconds is -1"));
}

TEST(Examine, DamageAndStrangers) {
  Folder folder;
  make(folder / "a.db");
  const std::string good = read_file(folder / "a.db");
  write_file(folder / "cut.db", good.substr(0, good.size() / 2));
  EXPECT_TRUE(says(all_of(examine(folder / "cut.db", ""), Finding::Kind::Problem), "damaged"));
  std::string torn = good;
  torn.replace(20 * 4096, 4096, std::string(4096, '\0'));
  write_file(folder / "torn.db", torn);
  EXPECT_TRUE(says(all_of(examine(folder / "torn.db", ""), Finding::Kind::Problem), "damaged"));
  write_file(folder / "text.db", std::string(10'000, 't'));
  EXPECT_TRUE(says(all_of(examine(folder / "text.db", ""), Finding::Kind::Problem),
                   "no database of records"));
  sql(folder / "other.db", "CREATE TABLE songs(title TEXT)");
  EXPECT_TRUE(
      says(all_of(examine(folder / "other.db", ""), Finding::Kind::Problem), "another program"));
}

TEST(Salvage, AGoodDatabaseIsCopied) {
  Folder folder;
  make(folder / "a.db");
  const auto report = salvage(folder / "a.db", folder / "b.db");
  EXPECT_TRUE(report.lost.empty()) << report.lost[0];
  EXPECT_EQ(report.records, count);
  EXPECT_EQ(report.winners, 1);
  EXPECT_EQ(report.states, 1);
  Database a(folder / "a.db", Mode::ReadOnly), b(folder / "b.db", Mode::ReadOnly);
  const auto was = a.records({}), is = b.records({});
  ASSERT_EQ(was.size(), is.size());
  for (size_t i = 0; i < was.size(); ++i) expect_same(was[i], is[i]);
  EXPECT_EQ(a.state("search"), b.state("search"));
  EXPECT_TRUE(
      says(message_of([&] { salvage(folder / "a.db", folder / "b.db"); }), "there already"));
}

// The page, counted from 0, on which the only winner stands.
size_t winners_page(const std::string& bytes) { return bytes.find("m.onnx") / 4096; }

// Each page of the file torn in turn: most records are saved, all that are saved are right, and
// nothing is invented.
TEST(Salvage, AnyTornPage) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Folder folder;
  make(folder / "a.db");
  const std::string good = read_file(folder / "a.db");
  const size_t pages = good.size() / 4096;
  ASSERT_GT(pages, 100u);
  std::vector<size_t> torn = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, pages - 1};
  for (int i = 0; i < 8; ++i) torn.push_back(random() % pages);
  size_t damaged = 0;
  for (const size_t page : torn) {
    SCOPED_TRACE(page);
    std::string bad = good;
    std::string noise(4096, '\0');
    if (random() % 2) {
      for (char& c : noise) c = static_cast<char>(random());
    }
    bad.replace(page * 4096, 4096, noise);
    write_file(folder / "torn.db", bad);
    fs::remove(folder / "new.db");
    const auto report = salvage(folder / "torn.db", folder / "new.db");
    EXPECT_EQ(read_file(folder / "torn.db"), bad);
    const Database db(folder / "new.db", Mode::ReadOnly);
    const auto records = db.records({});
    EXPECT_EQ(report.records, static_cast<int64_t>(records.size()));
    if (records.size() < count) ++damaged;
    EXPECT_GE(records.size(), count - 40u);  // a leaf holds some ten; inner pages are no loss
    if (records.size() < count) {
      EXPECT_FALSE(report.lost.empty());
    }
    EXPECT_EQ(report.winners, page == winners_page(good) ? 0 : 1);
    std::set<int64_t> seen;
    for (const Record& r : records) {
      EXPECT_TRUE(seen.insert(r.when).second);
      Record expected = some_record(1e-3, r.when);
      if (r.workload.empty()) expected.workload.clear();
      if (r.machine.empty()) expected.machine.clear();
      expect_same(r, expected);
    }
  }
  EXPECT_GE(damaged, 1u);
}

TEST(Salvage, TheFirstPage) {
  Folder folder;
  make(folder / "a.db");
  std::string bad = read_file(folder / "a.db");
  bad.replace(0, 4096, std::string(4096, '\0'));
  write_file(folder / "torn.db", bad);
  EXPECT_TRUE(says(message_of([&] { Database(folder / "torn.db", Mode::ReadOnly); }), "--salvage"));
  const auto report = salvage(folder / "torn.db", folder / "new.db");
  EXPECT_EQ(report.records, count);
  EXPECT_EQ(report.winners, 1);
  EXPECT_EQ(report.states, 1);
  ASSERT_EQ(report.lost.size(), 1u);
  EXPECT_TRUE(says(report.lost[0], "first page"));
}

TEST(Salvage, ATruncatedFile) {
  Folder folder;
  make(folder / "a.db");
  const std::string good = read_file(folder / "a.db");
  for (const double part : {0.9, 0.5, 0.25}) {
    write_file(folder / "cut.db",
               good.substr(0, static_cast<size_t>(static_cast<double>(good.size()) * part)));
    fs::remove(folder / "new.db");
    const auto report = salvage(folder / "cut.db", folder / "new.db");
    EXPECT_GT(report.records, count * part * 0.7) << part;
    EXPECT_LT(report.records, count);
    EXPECT_FALSE(report.lost.empty());
    EXPECT_EQ(all_of(examine(folder / "new.db", this_target), Finding::Kind::Problem), "");
  }
}

TEST(Salvage, NothingToSave) {
  Folder folder;
  write_file(folder / "text.db", std::string(100'000, 't'));
  EXPECT_TRUE(says(message_of([&] { salvage(folder / "text.db", folder / "new.db"); }),
                   "nothing can be read"));
  EXPECT_FALSE(fs::exists(folder / "new.db"));
  EXPECT_TRUE(
      says(message_of([&] { salvage(folder / "none.db", folder / "new.db"); }), "there is no"));
}

}  // namespace

}  // namespace burnish::search
