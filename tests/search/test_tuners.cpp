// Explorers on made-up landscapes: what they may ask, that they end, that they repeat and resume,
// and that they are worth more than chance.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "search/explore/explorer.h"
#include "search/fake_space.h"

namespace burnish::search {
namespace {

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const std::string_view n : tuner_names()) names.emplace_back(n);
  return names;
}

Trial measured(const FakeSpace& s, const Point& p) {
  Trial t;
  t.point = p;
  t.status = Status::Ok;
  t.timing.median = s.seconds(p);
  return t;
}

std::vector<Trial> measured(const FakeSpace& s, const std::vector<Point>& points) {
  std::vector<Trial> trials;
  for (const Point& p : points) trials.push_back(measured(s, p));
  return trials;
}

std::vector<Point> legal_points(const FakeSpace& s) {
  std::vector<Point> points;
  for (int64_t i = 0; i < size_of(s); ++i) {
    if (Point p = point_at(s, i); s.lowers(p)) points.push_back(std::move(p));
  }
  return points;
}

// Asks and tells until `trials` points are measured or nothing is left; the points in order.
std::vector<Point> search(Tuner& tuner, const FakeSpace& s, const Oracle& oracle, size_t trials,
                          size_t batch = 8) {
  std::vector<Point> all;
  while (all.size() < trials) {
    const std::vector<Point> points = tuner.ask(std::min(batch, trials - all.size()), oracle);
    if (points.empty()) break;
    tuner.tell(measured(s, points));
    all.insert(all.end(), points.begin(), points.end());
  }
  return all;
}

double best_of(const FakeSpace& s, const std::vector<Point>& points) {
  double best = std::numeric_limits<double>::infinity();
  for (const Point& p : points) best = std::min(best, s.seconds(p));
  return best;
}

class EveryTuner : public testing::TestWithParam<std::string> {
 protected:
  static std::shared_ptr<FakeSpace> space(std::vector<size_t> sizes, uint64_t seed = 1) {
    return std::make_shared<FakeSpace>(std::move(sizes), seed);
  }
  std::unique_ptr<Tuner> tuner(const std::shared_ptr<FakeSpace>& s, uint64_t seed = 7) {
    return make_tuner(GetParam(), s, seed);
  }
};

INSTANTIATE_TEST_SUITE_P(Tuners, EveryTuner, testing::ValuesIn(kinds()),
                         [](const auto& i) { return i.param; });

TEST_P(EveryTuner, AsksForEachLegalPointOnceAndEnds) {
  for (const size_t batch : {size_t{1}, size_t{7}, size_t{64}, size_t{100000}}) {
    const auto s = space({5, 4, 1, 6, 3});
    auto t = tuner(s);
    std::vector<Point> asked = search(*t, *s, s->oracle(), 1000000, batch);
    std::vector<Point> legal = legal_points(*s);
    ASSERT_GT(legal.size(), 200u);
    ASSERT_LT(legal.size(), 360u);
    std::sort(asked.begin(), asked.end());
    std::sort(legal.begin(), legal.end());
    EXPECT_EQ(asked, legal) << "batches of " << batch;
    EXPECT_TRUE(t->ask(batch, s->oracle()).empty());
  }
}

TEST_P(EveryTuner, AsksForNothingTwiceWhenNothingIsTold) {
  const auto s = space({9, 8, 7, 6});
  auto t = tuner(s);
  std::set<Point> seen;
  for (int i = 0; i < 30; ++i) {
    for (const Point& p : t->ask(16, s->oracle())) {
      EXPECT_TRUE(seen.insert(p).second) << text_of(*s, p);
      EXPECT_TRUE(s->lowers(p)) << text_of(*s, p);
    }
  }
  EXPECT_EQ(seen.size(), 480u);
}

TEST_P(EveryTuner, TakesSpacesOfOnePointAndOfNone) {
  for (const std::vector<size_t>& sizes : {std::vector<size_t>{}, {1}, {1, 1, 1}}) {
    const auto s = space(sizes);
    s->illegal(0);
    auto t = tuner(s);
    EXPECT_EQ(t->ask(8, s->oracle()), (std::vector<Point>{Point(sizes.size(), 0)}));
    EXPECT_TRUE(t->ask(8, s->oracle()).empty());
  }
  const auto none = space({3, 0, 2});
  EXPECT_TRUE(tuner(none)->ask(8, none->oracle()).empty());
}

TEST_P(EveryTuner, EndsWhenNoPointIsLegal) {
  for (const std::vector<size_t>& sizes :
       {std::vector<size_t>{7, 6, 5}, std::vector<size_t>(15, 16)}) {
    const auto senseless = space(sizes);
    senseless->illegal(1);
    EXPECT_TRUE(tuner(senseless)->ask(8, senseless->oracle()).empty());
    const auto refused = space(sizes);
    Oracle oracle = refused->oracle();
    int64_t refusals = 0;
    oracle.legal = [&](const Point&) { return ++refusals, false; };
    EXPECT_TRUE(tuner(refused)->ask(8, oracle).empty());
    EXPECT_LE(refusals, 4096);
  }
}

TEST_P(EveryTuner, SearchesSpacesOfTwoToTheSixty) {
  const auto s = space(std::vector<size_t>(15, 16));
  ASSERT_EQ(size_of(*s), int64_t{1} << 60);
  auto t = tuner(s);
  const std::vector<Point> points = search(*t, *s, s->oracle(), 64, 16);
  EXPECT_EQ(points.size(), 64u);
  EXPECT_EQ(std::set<Point>(points.begin(), points.end()).size(), 64u);
  EXPECT_EQ(search(*tuner(s), *s, s->oracle(), 64, 16), points);
}

TEST_P(EveryTuner, RefusesSpacesWhosePointsHaveNoNumbers) {
  const auto s = space(std::vector<size_t>(32, 4));
  EXPECT_THROW(tuner(s), UserError);
}

TEST_P(EveryTuner, RepeatsItselfWithASeedOnly) {
  const auto s = space({8, 8, 8, 8});
  const std::vector<Point> a = search(*tuner(s, 3), *s, s->oracle(), 80);
  EXPECT_EQ(search(*tuner(s, 3), *s, s->oracle(), 80), a);
  if (GetParam() != "grid") {
    EXPECT_NE(search(*tuner(s, 4), *s, s->oracle(), 80), a);
  }
}

TEST_P(EveryTuner, GoesOnFromASavedStateAsIfNothingHappened) {
  for (const std::vector<size_t>& sizes :
       {std::vector<size_t>{6, 7, 5, 4}, std::vector<size_t>(15, 16)}) {
    const auto s = space(sizes);
    auto one = tuner(s), other = tuner(s, 1234);
    search(*one, *s, s->oracle(), 45, 9);
    const std::vector<Point> pending =
        one->ask(5, s->oracle());  // asked for, and not told when the state is saved
    ASSERT_EQ(pending.size(), 5u);
    const std::string state = one->state();
    other->restore(state);
    EXPECT_EQ(other->state(), state);
    for (Tuner* t : {one.get(), other.get()})
      t->tell(measured(*s, {pending[0], pending[1], pending[3]}));
    EXPECT_EQ(search(*other, *s, s->oracle(), 60, 7), search(*one, *s, s->oracle(), 60, 7));
    EXPECT_EQ(other->state(), one->state());
  }
}

TEST_P(EveryTuner, KeepsItsStateWhenItRefusesAnother) {
  const auto s = space({6, 7, 5});
  auto t = tuner(s);
  search(*t, *s, s->oracle(), 20);
  const std::string state = t->state();
  auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = state;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from << " in " << state;
    if (at != std::string::npos) changed.replace(at, from.size(), to);
    return changed;
  };
  const std::string told = "\"told\":[";
  std::vector<std::string> hostile = {
      "",
      "null",
      "[]",
      "7",
      "{}",
      "{\"tuner\":1}",
      "\xff\xfe",
      state.substr(0, state.size() / 2),
      state + "x",
      with("\"tuner\":\"" + GetParam(), "\"tuner\":\"treegru"),
      with("\"version\":1", "\"version\":2"),
      with("\"space\":\"", "\"space\":\"0"),
      with("\"asked\":[", "\"asked\":[210,"),
      with("\"asked\":[", "\"asked\":[-1,"),
      with("\"asked\":[", "\"asked\":[18446744073709551616,"),
      with("\"asked\":[", "\"asked\":[1.5,"),
      with("\"asked\":[", "\"asked\":{"),
      with("\"cursor\":", "\"cursor\":9999"),
      with("\"batches\":", "\"batches\":-"),
      with("\"seed\":", "\"sead\":"),
      with(told, told + "[3],"),
      with(told, told + "3,"),
      with(told, told + "[999999,0.1],"),
      with(told, told + "[0,0.0],"),
      with(told, told + "[0,-1.0],"),
      with(told, told + "[0,1e999],"),
      with(told, told + "[0,true],"),
      with(told, told + "[0,\"fast\"],"),
      with(told, told + "[0,1,2],"),
      with(told, told + "[0,1],[0,1],"),
      with(told, told + "[0,1],[0,1],[1,1],"),
      std::string(100000, '['),
      std::string(100000, '[') + std::string(100000, ']'),
      std::string((size_t{64} << 20) + 1, ' '),
  };
  for (const std::string& h : hostile) {
    EXPECT_THROW(t->restore(h), UserError) << h.substr(0, 200);
    EXPECT_EQ(t->state(), state);
  }
  t->restore(state);
}

TEST_P(EveryTuner, RefusesAStateOfAnotherSpace) {
  const auto a = space({6, 7}), b = space({7, 6});
  auto of_a = tuner(a), of_b = tuner(b);
  EXPECT_THROW(of_b->restore(of_a->state()), UserError);
}

// Every prefix, and every state with a byte changed, is refused or taken; nothing else happens.
TEST_P(EveryTuner, SurvivesDamagedStates) {
  const auto s = space({4, 4, 3});
  auto t = tuner(s);
  search(*t, *s, s->oracle(), 12, 4);
  t->ask(3, s->oracle());
  const std::string state = t->state();
  Rng rng(5);
  for (size_t i = 0; i < 3000; ++i) {
    std::string damaged = state;
    if (i < state.size()) {
      damaged.resize(i);
    } else {
      for (int k = 0; k < 2; ++k)
        damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
    }
    auto other = tuner(s);
    try {
      other->restore(damaged);
    } catch (const UserError&) {
      continue;
    }
    EXPECT_LE(search(*other, *s, s->oracle(), 1000).size(), 48u);
  }
}

TEST_P(EveryTuner, TakesOutcomesOfPointsNeverAskedFor) {
  const auto s = space({6, 5, 4, 3});
  const std::vector<Point> legal = legal_points(*s);
  auto t = tuner(s);
  const std::vector<Point> earlier(legal.begin() + 20, legal.begin() + 120);
  t->tell(measured(*s, earlier));
  const std::vector<Point> asked = search(*t, *s, s->oracle(), 1000000);
  EXPECT_EQ(asked.size(), legal.size() - earlier.size());
  for (const Point& p : asked)
    EXPECT_EQ(std::count(earlier.begin(), earlier.end(), p), 0) << text_of(*s, p);
}

TEST_P(EveryTuner, TakesFailuresAndNonsense) {
  const auto s = space({6, 5, 4, 3});
  auto t = tuner(s);
  const Status bad[] = {Status::Illegal, Status::BuildFailed, Status::BuildTimeout,
                        Status::Crashed, Status::TimedOut,    Status::OutOfMemory,
                        Status::Wrong,   Status::Lost};
  Trial foreign;  // imported, and of other spaces
  foreign.status = Status::Ok;
  foreign.timing.median = 1e-9;
  for (const Point& p : {Point{}, Point{1}, Point{0, 0, 0, 3}, Point(100, 65535)}) {
    foreign.point = p;
    t->tell({&foreign, 1});
  }
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinite = std::numeric_limits<double>::infinity();
  size_t count = 0, turn = 0;
  for (;;) {
    const std::vector<Point> points = t->ask(8, s->oracle());
    if (points.empty()) break;
    count += points.size();
    for (const Point& p : points) {
      Trial trial = measured(*s, p);
      trial.status = turn % 3 ? bad[turn % std::size(bad)] : Status::Ok;
      if (turn % 7 == 0) trial.timing.median = turn % 2 ? nan : infinite;
      if (turn % 11 == 0) trial.timing.median = -1;
      t->tell({&trial, 1});
      ++turn;
    }
    tuner(s)->restore(t->state());
  }
  EXPECT_EQ(count, legal_points(*s).size());
}

TEST_P(EveryTuner, AsksForLostPointsOfOtherSearches) {
  const auto s = space({5, 4, 3});
  auto t = tuner(s);
  const std::vector<Point> legal = legal_points(*s);
  Trial lost;
  lost.point = legal[3];
  lost.status = Status::Lost;
  t->tell({&lost, 1});
  EXPECT_EQ(search(*t, *s, s->oracle(), 1000).size(), legal.size());
}

TEST_P(EveryTuner, DoesWithoutAnOracle) {
  const auto s = space({5, 4, 3, 3});
  size_t sensible = 0;
  for (int64_t i = 0; i < size_of(*s); ++i) sensible += s->makes_sense(point_at(*s, i)) ? 1 : 0;
  EXPECT_EQ(search(*tuner(s), *s, Oracle{}, 1000).size(), sensible);
}

TEST(Tuners, AreListedWhenAnotherIsAskedFor) {
  const auto s = std::make_shared<FakeSpace>(std::vector<size_t>{2}, 1);
  try {
    make_tuner("treegru", s, 0);
    FAIL();
  } catch (const UserError& e) {
    EXPECT_EQ(std::string(e.what()),
              "there is no tuner treegru; choose one of xgb, anneal, genetic, random, grid");
  }
}

TEST(Tuners, GridKeepsTheOrderOfTheSpace) {
  const auto s = std::make_shared<FakeSpace>(std::vector<size_t>{4, 3, 2}, 1);
  EXPECT_EQ(search(*make_tuner("grid", s, 0), *s, s->oracle(), 1000), legal_points(*s));
}

TEST(Tuners, GuidedOnesStartWithTheDefault) {
  const auto s = std::make_shared<FakeSpace>(std::vector<size_t>{9, 9, 9}, 2);
  s->illegal(0);
  for (const char* kind : {"xgb", "anneal", "genetic"}) {
    const std::vector<Point> first = make_tuner(kind, s, 0)->ask(8, s->oracle());
    ASSERT_EQ(first.size(), 8u);
    EXPECT_EQ(first[0], s->default_point());
  }
}

// Wrong answers never come back as good ones, whatever is told later.
TEST(Tuners, WrongAnswersStayWrong) {
  const auto s = std::make_shared<FakeSpace>(std::vector<size_t>{8, 8}, 2);
  auto t = make_tuner("random", s, 0);
  Trial trial = measured(*s, {2, 3});
  t->tell({&trial, 1});
  EXPECT_NE(t->state().find("[19,"), std::string::npos);
  trial.status = Status::Wrong;
  t->tell({&trial, 1});
  EXPECT_NE(t->state().find("[[19,false]]"), std::string::npos) << t->state();
  trial.status = Status::Ok;
  t->tell({&trial, 1});
  EXPECT_NE(t->state().find("[[19,false]]"), std::string::npos) << t->state();
}

TEST(Rng, NumbersAreTheSameEverywhere) {
  Rng rng(42);
  EXPECT_EQ(rng.next(), 13679457532755275413u);  // of the published splitmix64
  EXPECT_EQ(rng.next(), 2949826092126892291u);
  std::vector<int> counts(7);
  for (int i = 0; i < 7000; ++i) ++counts[rng.below(7)];
  for (const int c : counts) EXPECT_NEAR(c, 1000, 150);
  double sum = 0, exponential = 0;
  for (int i = 0; i < 10000; ++i) {
    sum += rng.unit();
    const double e = rng.exponential();
    EXPECT_GE(e, 0);
    exponential += e;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
  EXPECT_NEAR(exponential / 10000, 1, 0.1);
}

TEST(Shuffle, IsAPermutationOfAnyCount) {
  for (const uint64_t count : {1u, 2u, 3u, 100u, 4096u, 4097u, 5000u, 65536u, 70001u}) {
    const Shuffle one(count, 1), other(count, 2);
    std::vector<bool> seen(count);
    size_t equal = 0;
    double distance = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t at = one.at(i);
      ASSERT_LT(at, count);
      EXPECT_FALSE(seen[at]);
      seen[at] = true;
      equal += at == other.at(i) ? 1 : 0;
      distance +=
          std::abs(static_cast<double>(at) - static_cast<double>(i)) / static_cast<double>(count);
    }
    if (count >= 100) {
      EXPECT_LT(equal, 10u) << count;
      EXPECT_NEAR(distance / static_cast<double>(count), 1.0 / 3, 0.07) << count;
    }
  }
}

// ---- Worth

struct Landscape {
  std::shared_ptr<FakeSpace> space;
  double best;
};

// Trials until the best found is within 5% of the best there is; `most` when it never is.
size_t trials_to_find(const Landscape& l, Tuner& tuner, const Oracle& oracle, size_t most) {
  for (size_t trials = 0; trials < most;) {
    const std::vector<Point> points = search(tuner, *l.space, oracle, 8);
    for (const Point& p : points) {
      ++trials;
      if (l.space->seconds(p) <= l.best / 0.95) return trials;
    }
    if (points.empty()) break;
  }
  return most;
}

double median(std::vector<size_t> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<ptrdiff_t>(v.size() / 2), v.end());
  return static_cast<double>(v[v.size() / 2]);
}

// A score like a learned model's: the truth, with errors of a fifth of its logarithm's range.
Oracle decent(const FakeSpace& s) {
  Oracle o = s.oracle();
  o.score = [&s](std::span<const Point> points) {
    std::vector<double> scores;
    for (const Point& p : points) {
      uint64_t h = 99;
      for (const uint16_t v : p) h = mix(h * 31 + v);
      scores.push_back(s.makes_sense(p) ? -std::log(s.seconds(p)) + 0.4 * Rng(h).unit()
                                        : -std::numeric_limits<double>::infinity());
    }
    return scores;
  };
  return o;
}

TEST(Worth, GuidedSearchesNeedLessThanHalfTheTrialsOfRandom) {
  std::map<std::string, std::vector<size_t>> trials;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Landscape l{std::make_shared<FakeSpace>(std::vector<size_t>{7, 6, 5, 4, 3, 2}, seed), 0};
    l.best = best_of(*l.space, legal_points(*l.space));
    const Oracle good = decent(*l.space), draft = l.space->oracle();
    const size_t most = 4000;
    trials["xgb"].push_back(trials_to_find(l, *make_tuner("xgb", l.space, seed), good, most));
    trials["anneal"].push_back(
        trials_to_find(l, *make_tuner("anneal", l.space, seed), draft, most));
    trials["genetic"].push_back(
        trials_to_find(l, *make_tuner("genetic", l.space, seed), draft, most));
    trials["random"].push_back(
        trials_to_find(l, *make_tuner("random", l.space, seed), draft, most));
  }
  std::string all;
  for (const auto& [name, counts] : trials) {
    all += name + ":";
    for (const size_t c : counts) all += " " + std::to_string(c);
    all += "\n";
  }
  SCOPED_TRACE(all);
  const double random = median(trials["random"]);
  EXPECT_LT(median(trials["xgb"]), random / 8);
  EXPECT_LT(median(trials["anneal"]), random / 2);
  EXPECT_LT(median(trials["genetic"]), random);
  if (testing::Test::HasFailure()) return;
  RecordProperty("trials", all);
}

// In a space too large to score whole, equal trials: the guided ones end far below random.
TEST(Worth, GuidedSearchesFindBetterPointsOfLargeSpaces) {
  std::map<std::string, double> logs;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const auto s = std::make_shared<FakeSpace>(std::vector<size_t>(10, 8), seed);
    const Oracle good = decent(*s), draft = s->oracle();
    for (const char* kind : {"xgb", "anneal", "genetic", "random"}) {
      const auto t = make_tuner(kind, s, seed);
      logs[kind] += std::log(best_of(
                        *s, search(*t, *s, kind == std::string("xgb") ? good : draft, 128, 16))) /
                    4;
    }
  }
  EXPECT_LT(logs["xgb"], logs["random"] - 0.7);
  EXPECT_LT(logs["anneal"], logs["random"] - 0.4);
  EXPECT_LT(logs["genetic"], logs["random"]);
  EXPECT_LT(logs["xgb"], logs["anneal"]);
}

}  // namespace
}  // namespace burnish::search
