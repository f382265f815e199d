#include <chrono>
#include <cmath>

#include "search/records_help.h"

namespace burnish::search {

namespace {

using Mode = Database::Mode;

struct Import : testing::Test {
  Folder folder;
  Database db{folder / "a.db", Mode::ReadWrite};

  ImportReport import(const std::string& text) {
    std::istringstream lines(text);
    return import_lines(db, lines);
  }
  std::vector<Record> all() { return db.records({.foreign = true}); }
};

// A good line with one member's value replaced.
std::string with(const std::string& name, const std::string& value) {
  std::string line = to_json_line(some_record());
  const size_t at = line.find("\"" + name + "\":");
  EXPECT_NE(at, std::string::npos) << name;
  size_t start = at + name.size() + 3, end = start;
  bool quoted = false;
  int depth = 0;
  for (; end < line.size(); ++end) {
    const char c = line[end];
    if (c == '\\') {
      ++end;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == '[') {
      ++depth;
    } else if (!quoted && c == ']') {
      --depth;
    } else if (!quoted && depth == 0 && (c == ',' || c == '}')) {
      break;
    }
  }
  return line.substr(0, start) + value + line.substr(end);
}

std::string without(const std::string& name) {
  const std::string line = with(name, "0");
  const std::string member = "\"" + name + "\":0";
  const size_t at = line.find(member);  // with the comma before it
  return line.substr(0, at - 1) + line.substr(at + member.size());
}

TEST(JsonLine, RoundTripIsExact) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 500; ++i) {
    const Record r = random_record(random);
    const std::string line = to_json_line(r);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto back = from_json_line(line);
    ASSERT_TRUE(back) << back.reason() << "\n" << line;
    expect_same(r, *back);
    EXPECT_EQ(to_json_line(*back), line);
  }
}

TEST(JsonLine, NumbersAreShort) {
  Record r = some_record(0.1);
  r.trial.timing.min = 0.1;
  EXPECT_NE(to_json_line(r).find("\"median\":0.1,"), std::string::npos);
  EXPECT_NE(to_json_line(r).find("\"probe_seconds\":1.25e-05,"), std::string::npos);
  r.trial.build_seconds = HUGE_VAL;  // what JSON has not
  EXPECT_TRUE(from_json_line(to_json_line(r)));
}

TEST(JsonLine, TextThatIsNotUtf8StillMakesALine) {
  Record r = some_record();
  r.trial.message = "\xff\xfe";
  EXPECT_TRUE(from_json_line(to_json_line(r)));
}

struct BadLine {
  std::string line, reason;
};

std::vector<BadLine> bad_lines() {
  const std::string good = to_json_line(some_record());
  std::vector<BadLine> lines = {
      {with("median", "NaN"), "NaN and infinity"},
      {with("median", "-Infinity"), "NaN and infinity"},
      {with("median", "inf"), "NaN and infinity"},
      {with("median", "1e999"), "larger than a double"},
      {with("median", "1e30"), "median is 1e+30"},
      {with("median", "-0.001"), "median is -0.001"},
      {with("median", "0"), "median is 0"},
      {with("median", "\"0.001\""), "no number"},
      {with("median", "null"), "no number"},
      {with("min", "0.5"), "more than the median"},
      {with("mad", "-1"), "mad is -1"},
      {with("build_seconds", "-1"), "build_seconds is -1"},
      {with("repeats", "-1"), "\"repeats\" is -1"},
      {with("repeats", "1e3"), "no integer"},
      {with("repeats", "99999999999999999999"), "no integer"},
      {with("threads", "0"), "\"threads\" is 0"},
      {with("threads", "4"), "threads= is not the record's 4"},
      {with("threads", "18446744073709551615"), "\"threads\""},
      {with("seed", "-1"), "\"seed\" is -1"},
      {with("when", "-5"), "\"when\" is -5"},
      {with("when", "999999999999999"), "\"when\""},
      {with("status", "\"splendid\""), "splendid"},
      {with("status", "3"), "no text"},
      {with("checked", "1"), "neither true nor false"},
      {with("point", "[1,-2]"), "no index"},
      {with("point", "[65536]"), "no index"},
      {with("point", "\"1\""), "no list"},
      {with("target", "\"\""), "no family"},
      {with("target", "\"cuda:sm=86,cpu=x,threads=2\""), "no such target"},
      {with("target", "\"native\""), "no family"},
      {with("target", "\"llvm:\""), "name=value"},
      {with("target", "\"llvm:threads=2\""), "names no cpu"},
      {with("target", "\"llvm:cpu=a b,threads=2\""), "characters"},
      {with("target", "\"llvm:cpu=a;rm -rf /,threads=2\""), "characters"},
      {with("target", "\"llvm:cpu=\\u001b[2J,threads=2\""), "characters"},
      {with("target", "\"llvm:cpu=a,threads=99999999999\""), "threads="},
      {with("target", "\"llvm -keys=cpu\""), "no family"},
      {with("target", "\"" + std::string(5000, 'l') + "\""), "more than 4096"},
      {with("workload", "\"\""), "empty"},
      {with("workload", "\"something else\""), "workload_hash"},
      {with("workload_hash", "\"0123456789abcdef\""), "that of the workload is"},
      {with("trace", "\"split(relu\""), "step 1"},
      {with("trace", "\"vectorize(relu, c)\\nexecute(rm)\""), "step 2"},
      {with("tuner", "\"a\\u0000b\""), "zero byte"},
      {with("burnish", "2"), "newer Burnish"},
      {with("burnish", "\"1\""), "no integer"},
      {with("machine", "\"\xff\""), "not UTF-8"},
      {with("machine", "\"\xc3\""), "not UTF-8"},
      {with("machine", std::string(100'000, '[') + std::string(100'000, ']')), "deep"},
      {std::string(1'000'000, '['), "no JSON object"},
      {"{" + std::string(40, '[') + "}", "deep"},
      {"{}", "no record"},
      {"[]", "no JSON object"},
      {"true", "no JSON object"},
      {"median,0.5", "no JSON object"},
      {"{\"burnish\":1}", "missing"},
      {good + good, "not JSON"},
      {good + "x", "not JSON"},
  };
  for (const size_t part : {1, 2, 3})
    lines.push_back({good.substr(0, good.size() * part / 4), "ends too early"});
  lines.push_back({good.substr(0, good.size() - 1), "ends too early"});
  for (const char* name :
       {"workload",      "workload_hash", "target",  "threads",       "compiler",
        "machine",       "tuner",         "seed",    "knobs",         "point",
        "trace",         "status",        "message", "median",        "mad",
        "min",           "repeats",       "checked", "build_seconds", "measure_seconds",
        "probe_seconds", "when"}) {
    lines.push_back({without(name), std::string("\"") + name + "\" is missing"});
  }
  Record r = some_record();
  r.workload = "group relu {";
  r.workload_hash = hash_text(r.workload);
  lines.push_back({to_json_line(r), "\"workload\""});
  r.workload = relu_workload;
  for (size_t at = 0; (at = r.workload.find("c:16", at)) != std::string::npos;) {
    r.workload.replace(at, 4, "c:9223372036854775807");
  }
  r.workload_hash = hash_text(r.workload);
  lines.push_back({to_json_line(r), "no kernel is that large"});
  r.workload = std::string(5 << 20, 'w');
  r.workload_hash = hash_text(r.workload);
  lines.push_back({to_json_line(r), "more than 4194304"});
  return lines;
}

TEST_F(Import, EveryBadLineIsRefusedAlone) {
  std::string text;
  const auto bad = bad_lines();
  for (size_t i = 0; i < bad.size(); ++i) {
    text += bad[i].line + "\n" + to_json_line(some_record(1e-3, static_cast<int64_t>(i))) + "\n";
  }
  const auto report = import(text);
  EXPECT_EQ(report.imported, static_cast<int64_t>(bad.size()));
  EXPECT_EQ(report.duplicates, 0);
  ASSERT_EQ(report.refused.size(), bad.size());
  EXPECT_EQ(report.refused_lines, static_cast<int64_t>(bad.size()));
  for (size_t i = 0; i < bad.size(); ++i) {
    const std::string number = "line " + std::to_string(2 * i + 1) + ": ";
    EXPECT_EQ(report.refused[i].substr(0, number.size()), number);
    EXPECT_NE(report.refused[i].find(bad[i].reason), std::string::npos)
        << report.refused[i] << "\nshould say: " << bad[i].reason << "\n"
        << bad[i].line.substr(0, 300);
    EXPECT_LT(report.refused[i].size(), 500u);
  }
  EXPECT_EQ(db.count(), static_cast<int64_t>(bad.size()));
}

TEST_F(Import, LinesWithoutEndAreNotHeld) {
  // A line of 200 MB is skipped as it comes; the good ones around it count.
  struct Long : std::streambuf {
    std::string before = to_json_line(some_record()) + "\n{\"burnish\":1,\"x\":\"",
                after = "\n" + to_json_line(some_record(2e-3)) + "\n";
    std::string middle = std::string(1 << 20, 'x');
    int state = -1;
    int underflow() override {
      ++state;
      std::string& s = state == 0 ? before : state <= 200 ? middle : after;
      if (state > 201) return traits_type::eof();
      setg(s.data(), s.data(), s.data() + s.size());
      return traits_type::to_int_type(s[0]);
    }
  } buffer;
  std::istream in(&buffer);
  const auto report = import_lines(db, in);
  EXPECT_EQ(report.imported, 2);
  ASSERT_EQ(report.refused.size(), 1u);
  EXPECT_EQ(report.refused[0].substr(0, 17), "line 2: 209715218");
}

TEST_F(Import, RandomDamageNeverThrows) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::string good =
      to_json_line(some_record()) + "\n" +
      to_json_line(Winner{hash_text(relu_workload), this_target, "", 2, 1, "m", 3}) + "\n";
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    for (uint64_t k = 0, n = 1 + random() % 5; k < n; ++k)
      bad[random() % bad.size()] = static_cast<char>(random());
    import(bad);
  }
  for (const Record& r : all()) EXPECT_TRUE(from_json_line(to_json_line(r)));
}

TEST_F(Import, DuplicatesAndBlankLines) {
  const std::string line = to_json_line(some_record());
  auto report =
      import("\n# a comment\n" + line + "\r\n\n  " + line + "\n" + to_json_line(some_record(2e-3)));
  EXPECT_EQ(report.imported, 2);
  EXPECT_EQ(report.duplicates, 1);
  EXPECT_TRUE(report.refused.empty());
  report = import(line);
  EXPECT_EQ(report.imported, 0);
  EXPECT_EQ(report.duplicates, 1);
  EXPECT_TRUE(import("").refused.empty());
}

TEST_F(Import, ManyBadLinesAreCounted) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "x\n";
  const auto report = import(text);
  EXPECT_EQ(report.refused_lines, 5000);
  EXPECT_EQ(report.refused.size(), 1000u);
}

// Failures of one task have the same times, all of them 0: looking for duplicates must not go
// through all of them.
TEST_F(Import, ManyFailuresOfOneTask) {
  Record r = some_record();
  r.trial.status = Status::Crashed;
  r.trial.timing = {};
  std::vector<Record> all;
  for (int i = 0; i < 20'000; ++i) {
    r.when = 1'700'000'000 + i;
    all.push_back(r);
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(db.add_new(all), 20'000);
  EXPECT_EQ(db.add_new(all), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST_F(Import, WinnersComeAlong) {
  Winner w{.workload_hash = hash_text(relu_workload),
           .target = this_target,
           .trace = "vectorize(relu, c)",
           .default_seconds = 2e-3,
           .tuned_seconds = 1e-3,
           .model = "m.onnx",
           .when = 100};
  EXPECT_EQ(import(to_json_line(w)).winners, 1);
  ASSERT_EQ(db.winners("").size(), 1u);
  EXPECT_EQ(to_json_line(db.winners("")[0]), to_json_line(w));
  Winner older = w, newer = w;
  older.when = 99;
  newer.when = 101;
  newer.trace = "";
  EXPECT_EQ(import(to_json_line(older) + "\n" + to_json_line(newer) + "\n").winners, 1);
  EXPECT_EQ(db.winners("")[0].when, 101);
  Winner avoided = w;
  avoided.trace = avoid_trace;
  avoided.when = 102;
  EXPECT_EQ(import(to_json_line(avoided)).winners, 1);
  EXPECT_TRUE(db.winners("")[0].avoids());
  EXPECT_EQ(to_json_line(db.winners("")[0]), to_json_line(avoided));
  Winner bad = w;
  bad.tuned_seconds = -1;
  bad.when = 200;
  Winner other_target = w;
  other_target.target = "cuda:sm=1";
  Winner no_hash = w;
  no_hash.workload_hash = "zz";
  const auto report = import(to_json_line(bad) + "\n" + to_json_line(other_target) + "\n" +
                             to_json_line(no_hash) + "\n");
  EXPECT_EQ(report.winners, 0);
  EXPECT_EQ(report.refused.size(), 3u);
}

const std::string autotvm_02 =
    R"({"input": ["llvm -keys=cpu -mcpu=core-avx2", "conv2d_NCHWc.x86", [["TENSOR", [1, 3, 8, 8], "float32"], ["TENSOR", [4, 3, 3, 3], "float32"], [1, 1], "NCHW"], {}], "config": {"index": 172, "code_hash": null, "entity": [["tile_ic", "sp", [-1, 1]], ["unroll_kw", "ot", false]]}, "result": [[0.0045, 0.0041, 0.0044], 0, 0.53, 1676344759.52], "version": 0.2, "tvm_version": "0.10.0"})";
const std::string autotvm_01 =
    R"({"i": ["cuda -model=1080ti", "topi_nn_conv2d", [["TENSOR", [1, 3, 8, 8], "float32"]], {}, ["conv2d", [1, 3, 8, 8, "float32"]], {"i": 7, "t": "direct", "c": null, "e": [["tile_f", "sp", [1, 2, 8, 4]]]}], "r": [[1.5e-05], 0, 1.25, 1543000000.5], "v": 0.1})";

TEST_F(Import, AutoTvmLinesAreKeptAsForeign) {
  const std::string failed =
      R"({"input": ["cuda", "dense.cuda", [], {"k": 1}], "config": {"index": 3, "code_hash": null, "entity": []}, "result": [[1000000000.0], 6, 10.0, 1676344760], "version": 0.2, "tvm_version": "0.6.dev"})";
  const auto report = import(autotvm_02 + "\n" + autotvm_01 + "\n" + failed + "\n");
  EXPECT_TRUE(report.refused.empty()) << report.refused[0];
  EXPECT_EQ(report.imported, 3);
  EXPECT_EQ(report.foreign, 3);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("no code can be made"), std::string::npos);

  const auto records = all();
  ASSERT_EQ(records.size(), 3u);
  const Record& r = records[0];
  EXPECT_EQ(r.foreign, "autotvm");
  EXPECT_EQ(r.target, "llvm -keys=cpu -mcpu=core-avx2");
  EXPECT_EQ(
      r.workload,
      R"(autotvm conv2d_NCHWc.x86 [["TENSOR",[1,3,8,8],"float32"],["TENSOR",[4,3,3,3],"float32"],[1,1],"NCHW"])");
  EXPECT_EQ(r.compiler, "tvm 0.10.0");
  EXPECT_EQ(r.knobs, "tile_ic=[-1,1] unroll_kw=false");
  EXPECT_EQ(r.trial.timing.median, 0.0044);
  EXPECT_EQ(r.trial.timing.min, 0.0041);
  EXPECT_EQ(r.trial.timing.repeats, 3);
  EXPECT_EQ(r.trial.measure_seconds, 0.53);
  EXPECT_EQ(r.when, 1676344759);
  EXPECT_EQ(r.trial.trace, "");
  EXPECT_EQ(records[1].knobs, "tile_f=[1,2,8,4]");
  EXPECT_EQ(records[1].compiler, "tvm");
  EXPECT_EQ(records[1].target, "cuda -model=1080ti");
  EXPECT_EQ(records[2].trial.status, Status::BuildTimeout);
  EXPECT_EQ(records[2].workload, R"(autotvm dense.cuda [] {"k":1})");

  // Never used for code: not among the records that searches and compilations see.
  EXPECT_TRUE(db.records({}).empty());
  for (const Record& f : records) EXPECT_FALSE(db.best(f.workload_hash, f.target));
  EXPECT_EQ(import(autotvm_02).duplicates, 1);
  // They survive our own form, too.
  for (const Record& f : records) {
    const auto back = from_json_line(to_json_line(f));
    ASSERT_TRUE(back) << back.reason();
    expect_same(f, *back);
  }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST_F(Import, BadAutoTvmLines) {
  const BadLine bad[] = {
      {replaced(autotvm_02, "0.0045,", "NaN,"), "NaN"},
      {replaced(autotvm_02, "0.0045,", "-0.0045,"), "-0.0045"},
      {replaced(autotvm_02, "0.0045,", "0,"), "no time"},
      {replaced(autotvm_02, "0.0045,", "1e9,"), "no time"},
      {replaced(autotvm_02, "0.0045,", "\"0.1\","), "no number"},
      {replaced(autotvm_02, "[0.0045, 0.0041, 0.0044]", "[]"), "no list of times"},
      {replaced(autotvm_02, "[0.0045, 0.0041, 0.0044]", "0.1"), "no list of times"},
      {replaced(autotvm_02, ", 0, 0.53", ", \"none\", 0.53"), "error number"},
      {replaced(autotvm_02, "0.53", "-1"), "total time"},
      {replaced(autotvm_02, "1676344759.52", "1e300"), "time of measuring"},
      {replaced(autotvm_02, "\"llvm -keys=cpu -mcpu=core-avx2\"", "12"), "target"},
      {replaced(autotvm_02, "\"llvm -keys=cpu -mcpu=core-avx2\"", "\"\\u001b[31m\""),
       "control characters"},
      {replaced(autotvm_02, "\"llvm -keys=cpu -mcpu=core-avx2\"",
                "\"" + std::string(5000, 'x') + "\""),
       "5000 bytes"},
      {replaced(autotvm_02, "\"conv2d_NCHWc.x86\"", "\"\""), "empty"},
      {replaced(autotvm_02, "\"config\": {", "\"konfig\": {"), "config"},
      {replaced(autotvm_02, ", {}]", "]"), "no list of more than 3"},
      {R"({"i": [["[\"abc\", 1]", "llvm"], [[], []]], "r": [[0.1], 0, 1.0, 1600000000], "v": "v0.6"})",
       "only AutoTVM's own"},
      {autotvm_02.substr(0, 200), "ends too early"},
      {"llvm\tgASVDAAA\tgASVCwAA\tgASVDgAA", "would run code"},
      {R"({"input": {}, "result": {}, "version": 0.2, "config": {}})", "no list"},
  };
  std::string text;
  for (const BadLine& b : bad) text += b.line + "\n";
  const auto report = import(text + autotvm_02 + "\n");
  EXPECT_EQ(report.imported, 1);
  ASSERT_EQ(report.refused.size(), std::size(bad));
  for (size_t i = 0; i < std::size(bad); ++i) {
    EXPECT_NE(report.refused[i].find(bad[i].reason), std::string::npos) << report.refused[i] << "\n"
                                                                        << bad[i].reason;
  }
}

TEST(Merging, BringsWhatIsNew) {
  Folder folder;
  Database a(folder / "a.db", Mode::ReadWrite), b(folder / "b.db", Mode::ReadWrite);
  a.add({some_record(1e-3, 1), some_record(1e-3, 2)}, "s", "of a");
  b.add({some_record(1e-3, 2), some_record(1e-3, 3)}, "s", "of b");
  b.add({}, "t", "of b");
  Winner w{.workload_hash = "1",
           .target = "t",
           .trace = "of a",
           .default_seconds = 2,
           .tuned_seconds = 1,
           .model = "",
           .when = 5};
  a.add_winner(w);
  w.when = 6;
  w.trace = "of b";
  b.add_winner(w);
  auto report = merge(a, b);
  EXPECT_EQ(report.added, 1);
  EXPECT_EQ(report.duplicates, 1);
  EXPECT_EQ(report.winners, 1);
  EXPECT_EQ(report.states, 1);
  EXPECT_EQ(a.count(), 3);
  EXPECT_EQ(a.winners("")[0].trace, "of b");
  EXPECT_EQ(a.state("s"), "of a");
  EXPECT_EQ(a.state("t"), "of b");
  report = merge(a, b);
  EXPECT_EQ(report.added + report.winners + report.states, 0);
  EXPECT_EQ(b.count(), 2);
}

}  // namespace

}  // namespace burnish::search
