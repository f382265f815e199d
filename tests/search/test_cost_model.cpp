// The learned model: does it learn, does it say the same twice, and what happens where there is no
// library.
#include "search/cost_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>

#include "base/text.h"
#include "random_schedules.h"
#include "search/model/rank_quality.h"
#include "search/model/relevance.h"
#include "search/model/remaining_gain.h"
#include "search/model/xgboost_library.h"

namespace burnish::search {
namespace {

using search_test::ConvShape;
using search_test::ConvTile;

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr uint64_t seed = 4;

Machine machine() {
  Machine m;
  m.vector_bytes = 64;
  m.vector_registers = 32;
  m.threads = 2;
  return m;
}

// A stand-in for a measurement, from the tile and not from the features: registers, tails, weights
// read anew.
double seconds_of(const ConvShape& c, const ConvTile& t, std::mt19937_64& random) {
  const auto outputs_x = static_cast<double>(c.width), outputs_y = static_cast<double>(c.height);
  const double block = static_cast<double>(t.lanes * t.vectors), rows = static_cast<double>(t.rows),
               vectors = static_cast<double>(t.vectors);
  const double tiles =
      outputs_y * std::ceil(outputs_x / rows) * std::ceil(static_cast<double>(c.out) / block);
  const double steps = static_cast<double>(c.in * c.kernel * c.kernel);
  double step = std::max(rows * vectors / 2, (vectors * (t.packed ? 1 : 2) + rows) / 2) +
                (t.unroll_kx ? 0 : 0.2);
  if (rows * vectors + vectors + 1 > 32) step += rows * vectors + vectors - 31;
  double cycles = tiles * (steps * step + rows * vectors);
  if (t.panels_outside) cycles *= 0.9;
  if (t.k_block) cycles *= 1.05;
  std::normal_distribution<double> noise(0, 0.02);
  return cycles * 1e-9 * std::exp(noise(random));
}

std::vector<Sample> samples_of(const ConvShape& c, int n, uint32_t group, std::mt19937_64& random) {
  const StageGroup g = search_test::conv_group(c);
  std::vector<Sample> out;
  for (int tries = 0; static_cast<int>(out.size()) < n && tries < 10 * n; ++tries) {
    const ConvTile t = search_test::random_tile(random);
    const auto f = search_test::lowered(g, search_test::trace_of(c, t));
    if (f) out.push_back({features_of(*f, machine(), 1), seconds_of(c, t, random), group});
  }
  return out;
}

std::vector<Features> features_only(std::span<const Sample> samples) {
  std::vector<Features> out;
  for (const Sample& s : samples) out.push_back(s.features);
  return out;
}

RankQuality quality(const CostModel& m, std::span<const Sample> samples) {
  std::vector<double> seconds;
  for (const Sample& s : samples) seconds.push_back(s.seconds);
  return rank_quality(m.predict(features_only(samples)), seconds, 8, 0.03);
}

// The tests of what needs the library are skipped where there is none.
class Model : public testing::Test {
 protected:
  void SetUp() override {
    auto m = make_xgboost(seed);
    if (!m) GTEST_SKIP() << m.reason();
    model = std::move(*m);
  }
  std::unique_ptr<CostModel> model;
  std::mt19937_64 random{seed};
};

TEST_F(Model, LearnsAnOrder) {
  const ConvShape c{28, 28, 64, 128, 3};
  const std::vector<Sample> all = samples_of(c, 200, 0, random);
  ASSERT_EQ(all.size(), 200u);
  EXPECT_FALSE(model->trained());
  model->train(std::span(all).first(100));
  EXPECT_TRUE(model->trained());
  const RankQuality q = quality(*model, std::span(all).subspan(100));
  fmt::print("one task, 100 samples: {:.3f} of pairs, recall {:.2f}, best of top 8 {:.3f}\n",
             q.pairwise, q.recall, q.best_of_top);
  EXPECT_GT(q.pairwise, 0.85);
  EXPECT_GT(q.best_of_top, 0.85);
}

TEST_F(Model, TransfersToATaskNeverMeasured) {
  std::vector<Sample> known;
  uint32_t group = 0;
  for (const ConvShape& c :
       {ConvShape{28, 28, 64, 128, 3}, ConvShape{14, 14, 96, 96}, ConvShape{56, 56, 24, 144}}) {
    for (Sample& s : samples_of(c, 80, group, random)) known.push_back(std::move(s));
    ++group;
  }
  const std::vector<Sample> unseen = samples_of({20, 20, 160, 64}, 80, group, random);
  model->train(with_transfer({}, known));
  const RankQuality q = quality(*model, unseen);
  fmt::print("an unseen task: {:.3f} of pairs, recall {:.2f}, best of top 8 {:.3f}\n", q.pairwise,
             q.recall, q.best_of_top);
  EXPECT_GT(q.pairwise, 0.75);
  // And with a few of its own, better than from these alone.
  const std::span<const Sample> local = std::span(unseen).first(16);
  model->train(local);
  const double alone = quality(*model, std::span(unseen).subspan(16)).pairwise;
  model->train(with_transfer(local, known));
  const double both = quality(*model, std::span(unseen).subspan(16)).pairwise;
  fmt::print("with 16 samples of its own: {:.3f} from these alone, {:.3f} with transfer\n", alone,
             both);
  EXPECT_GT(both, alone);
}

TEST_F(Model, SameSamplesSamePredictions) {
  const std::vector<Sample> all = samples_of({14, 14, 96, 96}, 60, 3, random);
  const std::vector<Features> ask = features_only(all);
  model->train(all);
  const std::vector<float> first = model->predict(ask);
  model->train(std::span(all).first(30));
  model->train(all);
  EXPECT_EQ(model->predict(ask), first);
  auto other = make_xgboost(seed);
  ASSERT_TRUE(other.ok());
  (*other)->train(all);
  EXPECT_EQ((*other)->predict(ask), first);
  EXPECT_EQ((*other)->save(), model->save());
}

TEST_F(Model, GroupsMayBeMixed) {
  // Samples of two tasks in turns are the same as one task after the other.
  const std::vector<Sample> a = samples_of({14, 14, 96, 96}, 30, 0, random),
                            b = samples_of({28, 28, 16, 96}, 30, 1, random);
  std::vector<Sample> mixed, sorted = a;
  sorted.insert(sorted.end(), b.begin(), b.end());
  for (size_t i = 0; i < a.size(); ++i) {
    mixed.push_back(b[i]);
    mixed.push_back(a[i]);
  }
  model->train(sorted);
  const std::vector<float> want = model->predict(features_only(sorted));
  model->train(mixed);
  EXPECT_EQ(model->predict(features_only(sorted)), want);
}

TEST_F(Model, SavesAndLoads) {
  const std::vector<Sample> all = samples_of({14, 14, 96, 96}, 60, 0, random);
  const std::vector<Features> ask = features_only(all);
  model->train(all);
  const std::string bytes = model->save();
  auto other = make_xgboost(seed + 1);
  ASSERT_TRUE(other.ok());
  (*other)->load(bytes);
  EXPECT_TRUE((*other)->trained());
  EXPECT_EQ((*other)->predict(ask), model->predict(ask));
  // An untrained one, too.
  auto fresh = make_xgboost(seed);
  ASSERT_TRUE(fresh.ok());
  (*other)->load((*fresh)->save());
  EXPECT_FALSE((*other)->trained());
}

TEST_F(Model, RefusesOtherBytes) {
  const std::vector<Sample> all = samples_of({14, 14, 96, 96}, 40, 0, random);
  model->train(all);
  const std::vector<float> before = model->predict(features_only(all));
  const std::string good = model->save();
  for (size_t cut :
       {size_t{0}, size_t{5}, size_t{30}, size_t{60}, good.size() / 2, good.size() - 1}) {
    EXPECT_THROW(model->load(good.substr(0, cut)), UserError) << cut;
  }
  std::string changed = good;
  changed[good.size() / 2] = static_cast<char>(changed[good.size() / 2] ^ 1);
  EXPECT_THROW(model->load(changed), UserError);
  EXPECT_THROW(model->load(good + "x"), UserError);
  EXPECT_THROW(model->load("a model of something else"), UserError);
  EXPECT_EQ(model->predict(features_only(all)), before);  // as it was
}

TEST_F(Model, FailuresAreSlowest) {
  std::vector<Sample> all = samples_of({14, 14, 96, 96}, 100, 0, random);
  // Large tiles do not build, say: the model has to see it.
  for (size_t i = 0; i < feature_names().size(); ++i) {
    if (feature_names()[i] != "s0.unrolled") continue;
    for (Sample& s : all) {
      if (s.features[i] > 4.5) s.seconds = infinite;
    }
  }
  model->train(all);
  const std::vector<float> p = model->predict(features_only(all));
  double failed = 0, ran = 0;
  int failures = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    (std::isfinite(all[i].seconds) ? ran : failed) += p[i];
    failures += !std::isfinite(all[i].seconds);
  }
  ASSERT_GT(failures, 5);
  ASSERT_LT(failures, 95);
  EXPECT_LT(failed / failures, ran / (100 - failures));
}

TEST_F(Model, StartsNoThreads) {
  // They would run while candidates are timed.
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                         std::filesystem::directory_iterator());
  };
  const auto before = threads();
  const std::vector<Sample> all = samples_of({14, 14, 96, 96}, 60, 0, random);
  model->train(all);
  (void)model->predict(features_only(all));
  EXPECT_FALSE(model->save().empty());
  EXPECT_EQ(threads(), before);
}

TEST_F(Model, NothingToLearn) {
  std::vector<Sample> all = samples_of({14, 14, 96, 96}, 10, 0, random);
  model->train({});
  EXPECT_FALSE(model->trained());
  for (Sample& s : all) s.seconds = infinite;
  model->train(all);
  EXPECT_FALSE(model->trained());
  EXPECT_THROW((void)model->predict(features_only(all)), UserError);
  EXPECT_TRUE(model->predict({}).empty());
  for (Sample& s : all) s.seconds = NAN;
  model->train(all);
  EXPECT_FALSE(model->trained());
}

TEST_F(Model, TrainingTime) {
  // Printed, not judged: machines differ.
  std::vector<Sample> many = samples_of({28, 28, 64, 128, 3}, 200, 0, random);
  std::uniform_real_distribution<float> jitter(0.9f, 1.1f);
  while (many.size() < 3000) {
    many.push_back(many[many.size() - 200]);
    for (float& x : many.back().features) x *= jitter(random);
    many.back().group = static_cast<uint32_t>(many.size() / 300);
  }
  // Of the processor, so that other programs do not count.
  const std::clock_t begin = std::clock();
  model->train(many);
  const std::clock_t trained = std::clock();
  const std::vector<float> p = model->predict(features_only(many));
  const std::clock_t end = std::clock();
  const auto seconds = [](std::clock_t from, std::clock_t to) {
    return static_cast<double>(to - from) / CLOCKS_PER_SEC;
  };
  fmt::print("{} samples, {} features: {:.0f} ms to train, {:.1f} us to predict one\n", many.size(),
             feature_names().size(), seconds(begin, trained) * 1e3,
             seconds(trained, end) * 1e6 / static_cast<double>(p.size()));
}

// ---- no library

class WithLibrary {
 public:
  explicit WithLibrary(const char* path) {
    if (const char* v = std::getenv("BURNISH_XGBOOST")) before_ = v;
    setenv("BURNISH_XGBOOST", path, 1);
  }
  ~WithLibrary() {
    if (before_) {
      setenv("BURNISH_XGBOOST", before_->c_str(), 1);
    } else {
      unsetenv("BURNISH_XGBOOST");
    }
  }

 private:
  std::optional<std::string> before_;
};

TEST(NoXgboost, SaysHowToGetIt) {
  WithLibrary none("/nonexistent/libxgboost.so");
  const auto m = make_xgboost(1);
  ASSERT_FALSE(m.ok());
  for (const char* part :
       {"/nonexistent/libxgboost.so", "libxgboost0", "pip install", "BURNISH_XGBOOST"}) {
    EXPECT_NE(m.reason().find(part), std::string::npos) << part << " in: " << m.reason();
  }
}

TEST(NoXgboost, AnotherLibraryIsRefused) {
  WithLibrary other("libm.so.6");
  const auto m = make_xgboost(1);
  ASSERT_FALSE(m.ok());
  EXPECT_NE(m.reason().find("XGBoostVersion"), std::string::npos) << m.reason();
}

class Folder {
 public:
  Folder()
      : path(std::filesystem::temp_directory_path() / fmt::format("burnish-xgboost-{}", getpid())) {
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

TEST(NoXgboost, ALibraryThatFailsIsAnErrorWithItsWords) {
  Folder folder;
  std::string code =
      "void XGBoostVersion(int* a, int* b, int* c) { *a = 9; *b = 8; *c = 7; }\n"
      "const char* XGBGetLastError(void) { return \"out of luck\\nStack trace: long\"; }\n";
  for (const char* name :
       {"XGBSetGlobalConfig", "XGDMatrixCreateFromMat", "XGDMatrixFree", "XGDMatrixSetFloatInfo",
        "XGDMatrixSetUIntInfo", "XGBoosterCreate", "XGBoosterFree", "XGBoosterSetParam",
        "XGBoosterUpdateOneIter", "XGBoosterGetNumFeature", "XGBoosterPredictFromDMatrix",
        "XGBoosterSaveModelToBuffer", "XGBoosterLoadModelFromBuffer"}) {
    code += fmt::format("int {}(void) {{ return -1; }}\n", name);
  }
  write_file(folder.path / "failing.c", code);
  const std::string library = (folder.path / "libfailing.so").string();
  const std::string command = fmt::format("{} -shared -fPIC -o {} {}", BURNISH_TEST_CC, library,
                                          (folder.path / "failing.c").string());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  WithLibrary failing(library.c_str());
  auto m = make_xgboost(1);
  ASSERT_TRUE(m.ok()) << m.reason();
  const Features none(feature_names().size(), 0.0f);
  const std::vector<Sample> samples = {{none, 1.0, 0}, {none, 2.0, 0}};
  try {
    (*m)->train(samples);
    FAIL() << "no error";
  } catch (const UserError& e) {
    const std::string text = e.what();
    for (const char* part : {"9.8.7", "out of luck", library.c_str()}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
    }
    EXPECT_EQ(text.find("Stack trace"), std::string::npos) << text;
  }
  EXPECT_FALSE((*m)->trained());
}

TEST(NoXgboost, PythonsPackagesAreCandidates) {
  Folder folder;
  const auto packages = folder.path / "lib" / "python3.11" / "site-packages";
  std::filesystem::create_directories(packages / "xgboost" / "lib");
  const auto file = packages / "xgboost" / "lib" / "libxgboost.so";
  write_file(file, "no library");
  WithLibrary unset("");
  setenv("PYTHONPATH", fmt::format("/nonexistent:{}", packages.string()).c_str(), 1);
  const auto found = xgboost_candidates();
  unsetenv("PYTHONPATH");
  EXPECT_EQ(found.front(), "libxgboost.so");
  EXPECT_NE(std::find(found.begin(), found.end(), file.string()), found.end());
  // A file that is no library is one more thing tried.
  WithLibrary given(file.c_str());
  EXPECT_EQ(xgboost_candidates(), std::vector<std::string>{file.string()});
  EXPECT_FALSE(make_xgboost(1).ok());
}

// ---- relevance, transfer, gain, quality

TEST(RemainingGain, ReadsTheLineOfScoresAndTimes) {
  // A score more is a tenth less time.
  std::vector<float> scores;
  std::vector<double> seconds;
  for (int i = 0; i < 20; ++i) {
    scores.push_back(static_cast<float>(i));
    seconds.push_back(std::pow(0.9, i));
  }
  EXPECT_NEAR(remaining_gain(scores, seconds, std::vector<float>{21, 3}), 1 - 0.9 * 0.9, 1e-3);
  EXPECT_EQ(remaining_gain(scores, seconds, std::vector<float>{18, 3}), 0);
  EXPECT_EQ(remaining_gain(scores, seconds, {}), 0);
  // Few points, scores that say the opposite or nothing, failures.
  EXPECT_EQ(remaining_gain(std::span(scores).first(7), std::span(seconds).first(7),
                           std::vector<float>{21}),
            0);
  std::vector<float> wrong = scores;
  std::reverse(wrong.begin(), wrong.end());
  EXPECT_EQ(remaining_gain(wrong, seconds, std::vector<float>{21}), 0);
  EXPECT_EQ(remaining_gain(std::vector<float>(20, 1.0f), seconds, std::vector<float>{21}), 0);
  seconds.push_back(infinite);
  scores.push_back(100);
  EXPECT_NEAR(remaining_gain(scores, seconds, std::vector<float>{21, NAN, INFINITY}), 1 - 0.9 * 0.9,
              1e-3);
}

TEST(Relevance, IsShareOfTheBestOfTheGroup) {
  const std::vector<Sample> s = {{{}, 2e-3, 0},     {{}, 1e-3, 0}, {{}, infinite, 0}, {{}, 5.0, 1},
                                 {{}, 1.002e-3, 0}, {{}, 1.0, 0},  {{}, -1, 1}};
  EXPECT_EQ(relevance_of(s), (std::vector<float>{32, 64, 0, 64, 64, 1, 0}));
}

TEST(Transfer, TakesAllOfTheTaskAndAnEqualShareOfOthers) {
  std::vector<Sample> local(10, {{}, 1.0, 7}), earlier;
  for (int i = 0; i < 100; ++i) earlier.push_back({{}, 1.0 + i, 1});
  for (int i = 0; i < 20; ++i) earlier.push_back({{}, 1.0 + i, 2});
  for (int i = 0; i < 20; ++i) earlier.push_back({{}, 1.0 + i, 7});
  const std::vector<Sample> all = with_transfer(local, earlier, 80);
  auto count = [&](uint32_t group) {
    return std::count_if(all.begin(), all.end(), [&](const Sample& s) { return s.group == group; });
  };
  EXPECT_EQ(count(7), 10);
  EXPECT_EQ(count(1), 50);
  EXPECT_EQ(count(2), 10);
  EXPECT_EQ(all[0].weight, 1);
  EXPECT_EQ(all.back().weight, transfer_weight);
  EXPECT_EQ(with_transfer(local, earlier, 5).size(), 10u);
  EXPECT_EQ(with_transfer({}, earlier).size(), earlier.size());
}

TEST(RankQuality, Definitions) {
  const std::vector<double> t = {1, 2, 3, 4};
  const RankQuality right = rank_quality(std::vector<float>{4, 3, 2, 1}, t, 2);
  EXPECT_EQ(right.pairwise, 1);
  EXPECT_EQ(right.recall, 1);
  EXPECT_TRUE(right.found_best);
  EXPECT_EQ(right.best_of_top, 1);
  const RankQuality wrong = rank_quality(std::vector<float>{1, 2, 3, 4}, t, 2);
  EXPECT_EQ(wrong.pairwise, 0);
  EXPECT_EQ(wrong.recall, 0);
  EXPECT_FALSE(wrong.found_best);
  EXPECT_NEAR(wrong.best_of_top, 1.0 / 3, 1e-12);
  const RankQuality nothing = rank_quality(std::vector<float>{0, 0, 0, 0}, t, 2);
  EXPECT_EQ(nothing.pairwise, 0.5);
  EXPECT_EQ(nothing.recall, 0);  // ties go against the predictor
  // 1 against 2 and 3 against 4 differ by less than the noise that is granted.
  const RankQuality noisy =
      rank_quality(std::vector<float>{3, 4, 1, 2}, std::vector<double>{1, 1.01, 2, 2.01}, 2, 0.05);
  EXPECT_EQ(noisy.pairwise, 1);
}

TEST(RankQuality, FailuresAndFewCandidates) {
  const std::vector<double> t = {infinite, 1, NAN, 2};
  const RankQuality q = rank_quality(std::vector<float>{9, 5, 8, 1}, t, 2);
  EXPECT_EQ(q.recall, 0);
  EXPECT_EQ(q.best_of_top, 0);
  EXPECT_NEAR(q.pairwise, 1.0 / 5, 1e-12);  // 1 before 2; 1 and 2 before neither failure
  const RankQuality all = rank_quality(std::vector<float>{1, 1, NAN, 1}, t, 8);
  EXPECT_EQ(all.recall, 1);
  EXPECT_EQ(all.best_of_top, 1);
  EXPECT_EQ(rank_quality({}, {}, 8).candidates, 0u);
  const RankQuality dead =
      rank_quality(std::vector<float>{1, 2}, std::vector<double>{infinite, infinite}, 1);
  EXPECT_EQ(dead.pairwise, 1);
  EXPECT_EQ(dead.best_of_top, 1);
}

}  // namespace
}  // namespace burnish::search
