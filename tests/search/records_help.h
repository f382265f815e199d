// What the tests of records share: folders of their own, and records that could be real.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "search/records.h"

namespace burnish::search {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "burnish-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path operator/(const char* name) const { return path / name; }
};

inline const std::string relu_workload = "group relu {\n"
                                         "  input in0: f32[n:1, c:16]\n"
                                         "  compute relu: f32[n:1, c:16]\n"
                                         "  inputs in0\n"
                                         "  outputs relu\n"
                                         "  relu {\n"
                                         "    body max(in0[n, c], 0.0)\n"
                                         "  }\n"
                                         "}\n";

inline const std::string this_target = "llvm:cpu=x86-64-v3,+fma,threads=2";

inline Record some_record(double median = 1e-3, int64_t when = 1'700'000'000) {
  Record r{.workload = relu_workload,
           .workload_hash = hash_text(relu_workload),
           .target = this_target,
           .threads = 2,
           .compiler = "burnish 0.1.0",
           .machine = "some CPU, L2 1 MiB",
           .tuner = "xgb",
           .seed = 7,
           .knobs = "rows=6 vectors=2",
           .when = when};
  r.trial = {{.status = Status::Ok,
              .timing = {.median = median, .mad = median / 100, .min = median * 0.9, .repeats = 5},
              .checked = true,
              .build_seconds = 0.021,
              .measure_seconds = 0.0062,
              .probe_seconds = 1.25e-5},
             {3, 0, 65535},
             "split(relu, c, 8, tail)\nvectorize(relu, c.i)"};
  return r;
}

inline void expect_same(const Record& a, const Record& b) {
  EXPECT_EQ(a.workload, b.workload);
  EXPECT_EQ(a.workload_hash, b.workload_hash);
  EXPECT_EQ(a.target, b.target);
  EXPECT_EQ(a.threads, b.threads);
  EXPECT_EQ(a.compiler, b.compiler);
  EXPECT_EQ(a.machine, b.machine);
  EXPECT_EQ(a.tuner, b.tuner);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.knobs, b.knobs);
  EXPECT_EQ(a.when, b.when);
  EXPECT_EQ(a.foreign, b.foreign);
  EXPECT_EQ(a.trial.point, b.trial.point);
  EXPECT_EQ(a.trial.trace, b.trial.trace);
  EXPECT_EQ(a.trial.status, b.trial.status);
  EXPECT_EQ(a.trial.message, b.trial.message);
  EXPECT_EQ(a.trial.timing.median, b.trial.timing.median);
  EXPECT_EQ(a.trial.timing.mad, b.trial.timing.mad);
  EXPECT_EQ(a.trial.timing.min, b.trial.timing.min);
  EXPECT_EQ(a.trial.timing.repeats, b.trial.timing.repeats);
  EXPECT_EQ(a.trial.checked, b.trial.checked);
  EXPECT_EQ(a.trial.build_seconds, b.trial.build_seconds);
  EXPECT_EQ(a.trial.measure_seconds, b.trial.measure_seconds);
  EXPECT_EQ(a.trial.probe_seconds, b.trial.probe_seconds);
}

// A record with random contents; the same generator gives the same ones.
inline Record random_record(std::mt19937_64& random) {
  const auto below = [&](uint64_t n) { return random() % n; };
  const auto time = [&] {
    return std::ldexp(1.0 + static_cast<double>(random() >> 12) * 0x1p-52,
                      -static_cast<int>(below(40)));
  };
  Record r = some_record();
  r.seed = random();
  r.when = static_cast<int64_t>(below(1) + below(4'000'000'000));
  r.knobs = "rows=" + std::to_string(below(100)) + "\t\"quoted\" \\ \xc3\xa9 \xf0\x9f\x98\x80";
  r.machine = "machine " + std::to_string(below(3));
  r.trial.point.assign(below(6), static_cast<uint16_t>(random()));
  r.trial.status = static_cast<Status>(below(9));
  r.trial.message =
      r.trial.status == Status::Ok ? "" : "line\nline \x01 " + std::to_string(random());
  const double median = time();
  r.trial.timing = {.median = median,
                    .mad = time() * 1e-3,
                    .min = median * (1 - time() * 0.1),
                    .repeats = static_cast<int>(1 + below(1000))};
  r.trial.timing.min = std::min(r.trial.timing.min, median);
  if (r.trial.timing.min < 0) r.trial.timing.min = 0;
  r.trial.checked = below(2) != 0;
  r.trial.build_seconds = time();
  r.trial.measure_seconds = time();
  r.trial.probe_seconds = time();
  return r;
}

// What SQLite itself does to a file, beside our own code.
inline void sql(const std::filesystem::path& path, const std::string& statements) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  const int code = sqlite3_exec(db, statements.c_str(), nullptr, nullptr, &message);
  EXPECT_EQ(code, SQLITE_OK) << (message ? message : "");
  sqlite3_free(message);
  sqlite3_close(db);
}

inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const UserError& e) {
    return e.what();
  }
  ADD_FAILURE() << "no UserError";
  return "";
}

}  // namespace burnish::search
