// Spaces of schedules and their default points, against the formulas they are schedules of: convolutions of all shapes,
// chains of them, matrix products, reductions over rows, concatenation. What lowers has to compute what the formula says,
// in the interpreter.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "groups.h"
#include "loop/program.h"
#include "support.h"
#include "target/llvm/space.h"

namespace burnish::llvm_target {
namespace {

using target_test::at;
using target_test::chain;
using target_test::Conv;
using target_test::conv;
using target_test::expect_computes;
using target_test::image;
using target_test::machine;
using target_test::nhwc;
using target_test::softmax;
using target_test::transposition;

void expect_same(const StageGroup& g, const Machine& m) { expect_computes(default_schedule(g, m), g); }

// One channel of an image whose other ones lie between its points: no lanes but in the epilogue.
StageGroup head(bool transposed) {
  const int y = transposed ? 8 : 4, x = transposed ? 34 : 17;
  return parse_stages(fmt::format(R"(group head {{
  input in0: f32[n:1, c:24, y:4, x:17] layout(n, y, x, c)
  constant w1: f32[n:24, c:1, y:2, x:2]
  constant w2: f32[c:1]
  compute acc: f32[n:1, c:1, y:{0}, x:{1}] sum[k:24, ky:1, kx:1]
  compute sigmoid: f32[n:1, c:1, y:{0}, x:{1}]
  inputs in0, w1, w2
  outputs sigmoid
  acc {{
    body {2}
  }}
  sigmoid {{
    body sigmoid(acc[n, c, y, x] + w2[c])
  }}
}}
)",
                                  y, x,
                                  transposed ? "in0[n, k, -ky + {y / 2}, -kx + {x / 2} else 0.0] * w1[k, c, 2*ky + {y % 2}, 2*kx + {x % 2}]"
                                             : "in0[n, k, y, x] * w1[k, c, ky, kx]"));
}

TEST(DefaultSchedule, Convolutions) {
  for (const Conv& c : {Conv{9, 19, 24, 144}, Conv{9, 19, 20, 24}, Conv{8, 17, 24, 24, 3, 2, true},
                        Conv{9, 19, 48, 48, 3, 1, true}, Conv{9, 19, 16, 40, 3, 1}, Conv{9, 19, 24, 1}, Conv{5, 7, 24, 10},
                        Conv{1, 1, 64, 33}, Conv{7, 7, 32, 64, 5, 1, false, false}}) {
    for (int threads : {1, 2}) {
      for (int bytes : {16, 32, 64}) {
        SCOPED_TRACE(testing::Message() << c.in << " to " << c.out << ", window " << c.kernel << ", " << threads
                                        << " threads, vectors of " << bytes);
        GroupBuilder b("conv");
        b.output(conv(b, "conv", image(b, c.in, c.height, c.width), c));
        expect_same(b.group(), machine(threads, bytes));
      }
    }
  }
}

TEST(DefaultSchedule, RowMajorInput) {
  GroupBuilder b("stem");
  b.output(conv(b, "conv", image(b, 3, 16, 32, {}), {16, 32, 3, 32, 3, 2}));
  expect_same(b.group(), machine(2));
}

TEST(DefaultSchedule, ChainsShareOneNest) {
  for (int stride : {1, 2}) {
    for (int threads : {1, 2, 3}) {
      const StageGroup g = chain(17, 30, stride);
      SCOPED_TRACE(testing::Message() << "stride " << stride << ", " << threads << " threads");
      const Schedule s = default_schedule(g, machine(threads));
      EXPECT_NE(s.to_text().find("fold_storage(E, y"), std::string::npos) << s.to_text();
      expect_same(g, machine(threads));
    }
  }
}

// Rows too long for the second-level cache: stretches of columns, each with rings of its own.
TEST(DefaultSchedule, WideChainsGoInStretches) {
  for (int width : {90, 131}) {
    for (int stride : {1, 2}) {
      for (int threads : {1, 3}) {
        const StageGroup g = chain(5, stride * width, stride);
        SCOPED_TRACE(testing::Message() << width << " columns, stride " << stride << ", " << threads << " threads");
        Machine m = machine(threads);
        m.l2_bytes = stride == 1 ? 96 << 10 : 160 << 10;
        const std::string steps = default_schedule(g, m).to_text();
        EXPECT_NE(steps.find("partition(O, x"), steps.npos) << steps;
        EXPECT_NE(steps.find("store_at(E, O, x.o)"), steps.npos) << steps;
        expect_same(g, m);
      }
    }
  }
}

TEST(DefaultSchedule, SoftmaxRunsInLanes) {
  for (int64_t length : {5, 16, 33, 100}) {
    const StageGroup g = softmax(7, length);
    SCOPED_TRACE(length);
    expect_same(g, machine(2));
    const std::string text = default_schedule(g, machine(1)).to_text();
    EXPECT_EQ(text.find("lanes)") != std::string::npos, length >= 32) << text;
  }
}

TEST(DefaultSchedule, TranspositionsTurnSquares) {
  for (int64_t rows : {5, 16, 33}) {
    const StageGroup g = transposition(2, rows, 50);
    SCOPED_TRACE(rows);
    expect_same(g, machine(2));
    const std::string text = default_schedule(g, machine(1)).to_text();
    EXPECT_EQ(text.find("unroll") != std::string::npos, rows >= 16) << text;
  }
}

TEST(DefaultSchedule, SingleChannelsFinishInLanes) {
  for (bool transposed : {false, true}) {
    for (int threads : {1, 2}) {
      const StageGroup g = head(transposed);
      SCOPED_TRACE(testing::Message() << (transposed ? "transposed, " : "") << threads << " threads");
      const std::string steps = default_schedule(g, machine(threads)).to_text();
      EXPECT_NE(steps.find("set_scope(acc, stack)"), std::string::npos) << steps;
      EXPECT_NE(steps.find("rfactor(acc, k, 8, lanes)"), std::string::npos) << steps;
      expect_same(g, machine(threads));
    }
  }
}

TEST(DefaultSchedule, ConcatIsCutAtItsOperands) {
  GroupBuilder b("concat");
  const StageId x = image(b, 24, 5, 6);
  const StageId y = b.input("Y", DType::F32, {{"n", 1}, {"c", 40}, {"y", 5}, {"x", 6}}, nhwc);
  const StageId o = b.compute("concat", DType::F32, {{"n", 1}, {"c", 64}, {"y", 5}, {"x", 6}}, [&](AxisVars a) {
    const Index first = Index(Aff(23) - a[1]);
    return select(all_nonnegative(std::span(&first, 1)), b.at(x, at(a)), b.at(y, {a[0], a[1] - Aff(24), a[2], a[3]}));
  });
  b[o].layout = nhwc;
  b.output(o);
  expect_same(b.group(), machine(1));
  EXPECT_NE(default_schedule(b.group(), machine(1)).to_text().find("partition(concat, c, 24)"), std::string::npos);
}

// ---- spaces

struct Case {
  std::string name;
  StageGroup group;
};

StageGroup conv_group(const Conv& c, Layout layout = nhwc) {
  GroupBuilder b("conv");
  b.output(conv(b, "conv", image(b, c.in, c.height, c.width, std::move(layout)), c));
  return b.group();
}

StageGroup matmul(int64_t batch, int64_t rows, int64_t columns, int64_t depth, bool constant_weights) {
  GroupBuilder b("matmul");
  const StageId x = b.input("X", DType::F32, {{"b", batch}, {"m", rows}, {"k", depth}});
  const std::vector<NamedExtent> axes = {{"b", constant_weights ? 1 : batch}, {"k", depth}, {"n", columns}};
  const StageId w = constant_weights ? b.constant("W", DType::F32, axes) : b.input("W", DType::F32, axes);
  const StageId acc = b.reduce("acc", DType::F32, {{"b", batch}, {"m", rows}, {"n", columns}}, {{"k", depth}}, Combine::Sum,
                               [&](AxisVars a, AxisVars r) {
                                 return b.at(x, {a[0], a[1], r[0]}) *
                                        b.at(w, {constant_weights ? Index(Aff(0)) : Index(a[0]), r[0], a[2]});
                               });
  b.output(b.compute("Y", DType::F32, {{"b", batch}, {"m", rows}, {"n", columns}},
                     [&](AxisVars a) { return max(b.at(acc, at(a)), constant(0)); }));
  return b.group();
}

StageGroup transposed_conv() {
  return parse_stages(R"(group conv_transpose {
  input in0: f32[n:1, c:24, y:4, x:9] layout(n, y, x, c)
  constant w1: f32[n:24, c:20, y:2, x:2]
  input in2: f32[n:1, c:20, y:8, x:18] layout(n, y, x, c)
  compute acc: f32[n:1, c:20, y:8, x:18] sum[k:24, ky:1, kx:1]
  compute add: f32[n:1, c:20, y:8, x:18] layout(n, y, x, c)
  inputs in0, w1, in2
  outputs add
  acc {
    body in0[n, k, -ky + {y / 2}, -kx + {x / 2} else 0.0] * w1[k, c, 2*ky + {y % 2}, 2*kx + {x % 2}]
  }
  add {
    body acc[0, c, y, x] + in2[0, c, y, x]
  }
}
)");
}

StageGroup max_pool(int height, int width, int channels) {
  GroupBuilder b("pool");
  const StageId x = image(b, channels, height, width);
  const StageId o = b.reduce("pool", DType::F32, {{"n", 1}, {"c", channels}, {"y", height / 2}, {"x", width / 2}},
                             {{"ky", 2}, {"kx", 2}}, Combine::Max, [&](AxisVars a, AxisVars r) {
                               return b.at(x, {a[0], a[1], a[2] * 2 + r[0], a[3] * 2 + r[1]});
                             });
  b[o].layout = nhwc;
  b.output(o);
  return b.group();
}

StageGroup average_of_planes(int channels, int height, int width) {
  GroupBuilder b("average");
  const StageId x = image(b, channels, height, width);
  const std::vector<NamedExtent> axes = {{"n", 1}, {"c", channels}, {"y", 1}, {"x", 1}};
  const StageId sum = b.reduce("sum", DType::F32, axes, {{"ky", height}, {"kx", width}}, Combine::Sum,
                               [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], a[1], r[0], r[1]}); });
  const StageId o = b.compute("average", DType::F32, axes,
                              [&](AxisVars a) { return b.at(sum, at(a)) * constant(1.0 / (height * width), DType::F32); });
  b[o].layout = nhwc;
  b.output(o);
  return b.group();
}

StageGroup elementwise(int channels, int height, int width) {
  GroupBuilder b("add");
  const StageId x = image(b, channels, height, width);
  const StageId y = b.input("Y", DType::F32, {{"n", 1}, {"c", channels}, {"y", 1}, {"x", 1}});
  const StageId o = b.compute("add", DType::F32, {{"n", 1}, {"c", channels}, {"y", height}, {"x", width}}, [&](AxisVars a) {
    return b.at(x, at(a)) + b.at(y, {a[0], a[1], Aff(0), Aff(0)});
  });
  b[o].layout = nhwc;
  b.output(o);
  return b.group();
}

std::vector<Case> cases() {
  std::vector<Case> all;
  all.push_back({"3x3 of an odd image", conv_group({9, 13, 20, 40, 3})});
  all.push_back({"3x3, stride 2", conv_group({11, 15, 17, 48, 3, 2})});
  all.push_back({"3x3 of a small image", conv_group({7, 7, 32, 64, 3})});
  all.push_back({"5x5, one channel more than a vector", conv_group({6, 10, 4, 17, 5})});
  all.push_back({"1x1 of many channels", conv_group({5, 9, 24, 96})});
  all.push_back({"1x1 to one channel", conv_group({9, 19, 24, 1})});
  all.push_back({"3x3 of a row-major image", conv_group({16, 18, 3, 32, 3, 2}, {})});
  all.push_back({"depthwise", conv_group({9, 13, 40, 40, 3, 1, true})});
  all.push_back({"depthwise, stride 2", conv_group({10, 11, 24, 24, 3, 2, true})});
  all.push_back({"groups of 4", conv_group({6, 11, 12, 12, 3, 1, false, true, 3})});
  all.push_back({"groups of 16 to 32, stride 2", conv_group({7, 12, 48, 96, 3, 2, false, true, 3})});
  all.push_back({"groups of 5 to 12", conv_group({5, 9, 20, 48, 1, 1, false, true, 4})});
  all.push_back({"transposed", transposed_conv()});
  all.push_back({"1x1 to one channel, sigmoid", head(false)});
  all.push_back({"transposed to one channel, sigmoid", head(true)});
  all.push_back({"max pool", max_pool(10, 14, 24)});
  all.push_back({"average of planes", average_of_planes(40, 28, 50)});
  all.push_back({"average of planes, an odd height", average_of_planes(72, 27, 31)});
  all.push_back({"matrix product", matmul(1, 33, 70, 40, true)});
  all.push_back({"one row times a matrix", matmul(1, 1, 70, 64, true)});
  all.push_back({"batch of matrix products", matmul(3, 7, 40, 20, false)});
  all.push_back({"chain", chain(12, 15, 1)});
  all.push_back({"chain, stride 2", chain(13, 18, 2, 16, 40)});
  all.push_back({"wide chain", chain(6, 131, 1, 16, 40)});
  all.push_back({"chain of three images", chain(9, 10, 1, 16, 40, 3)});
  all.push_back({"softmax", softmax(40, 131)});
  all.push_back({"elementwise", elementwise(24, 9, 31)});
  all.push_back({"transposition", transposition(3, 37, 50)});
  return all;
}

// Two threads compute a row of expanded channels twice where their strips meet: of few rows that is more than what passes
// through the caches otherwise.
TEST(Space, ShortImagesAreNotCutIntoStrips) {
  const StageGroup high = chain(112, 56, 1, 16, 96), low = chain(14, 14, 1, 80, 480);
  EXPECT_TRUE(chain_pays(high, machine(1)));
  EXPECT_TRUE(chain_pays(high, machine(2)));
  EXPECT_TRUE(chain_pays(low, machine(1)));
  EXPECT_FALSE(chain_pays(low, machine(2)));
}

// A projection and the expansion behind it stand apart while the second-level cache holds what lies between.
TEST(Space, PointwiseProductsAreJoinedForTrafficOnly) {
  for (const int size : {48, 160}) {
    GroupBuilder b("products");
    const StageId x = image(b, 96, size, size);
    const StageId p = conv(b, "P", x, {size, size, 96, 16, 1, 1, false, false});
    b.output(conv(b, "E", p, {size, size, 16, 96}));
    EXPECT_EQ(chain_pays(b.group(), machine(1)), size == 160) << size;
  }
}

TEST(Space, RowsOfAPlaneAreSharedByThreads) {
  const std::string steps = default_schedule(average_of_planes(40, 28, 50), machine(2)).to_text();
  EXPECT_NE(steps.find("rfactor(sum, ky, 14)"), steps.npos) << steps;
  EXPECT_NE(steps.find("parallel(sum.rf, kyo)"), steps.npos) << steps;
}

TEST(Space, ImagesOfABatchAreSharedByThreads) {
  for (const int threads : {1, 2, 4}) {
    const std::string steps = default_schedule(chain(12, 15, 1, 24, 72, 3), machine(threads)).to_text();
    EXPECT_NE(steps.find("fold_storage(E, y"), steps.npos) << steps;
    EXPECT_NE(steps.find("fuse(O, n, y.o)"), steps.npos) << steps;
    EXPECT_EQ(steps.find("parallel(O, n@y.o)") != steps.npos, threads > 1) << steps;
  }
}

TEST(Space, NothingIsDividedByAnEmptyBatch) {
  for (const int threads : {1, 2}) {
    EXPECT_TRUE(lower(default_schedule(chain(9, 10, 1, 16, 40, 0), machine(threads))).ok());
  }
}

TEST(Space, DefaultPointIsTheDefaultSchedule) {
  for (const Case& c : cases()) {
    for (int threads : {1, 2}) {
      for (int bytes : {16, 32, 64}) {
        SCOPED_TRACE(testing::Message() << c.name << ", " << threads << " threads, vectors of " << bytes);
        const Machine m = machine(threads, bytes);
        const auto space = make_space(c.group, m);
        ASSERT_NE(space, nullptr);
        const auto s = space->schedule(space->default_point());
        ASSERT_TRUE(s.ok()) << s.reason();
        EXPECT_EQ(s->to_text(), default_schedule(c.group, m).to_text());
        EXPECT_TRUE(std::isfinite(space->draft_us(space->default_point())));
      }
    }
  }
}

// A sample of every space: each point is refused with a reason, or replays from its text, lowers, and computes what the
// formula says.
TEST(Space, PointsComputeTheFormula) {
  const uint64_t seed = target_test::seed();
  std::mt19937_64 random(seed);
  for (const Case& c : cases()) {
    for (int threads : {1, 2}) {
      SCOPED_TRACE(testing::Message() << c.name << ", " << threads << " threads, seed " << seed);
      const auto space = make_space(c.group, machine(threads));
      ASSERT_NE(space, nullptr);
      const int64_t points = size_of(*space);
      int legal = 0, lowered = 0;
      for (int64_t i = 0; i < 400 && lowered < 12; ++i) {
        const Point p = point_at(*space, points <= 24 ? i % points : static_cast<int64_t>(random() % static_cast<uint64_t>(points)));
        const auto s = space->schedule(p);
        const double us = space->draft_us(p);
        if (!s) {
          EXPECT_FALSE(s.reason().empty());
          EXPECT_TRUE(std::isinf(us)) << text_of(*space, p) << ": " << s.reason();
          continue;
        }
        SCOPED_TRACE(text_of(*space, p));
        ++legal;
        EXPECT_GT(us, 0);
        EXPECT_EQ(us, space->draft_us(p));
        Schedule again(c.group);
        const auto replayed = again.replay(s->to_text());
        ASSERT_TRUE(replayed.ok()) << replayed.reason();
        EXPECT_EQ(again.to_text(), s->to_text());
        const auto f = lower(again);
        if (!f) {
          EXPECT_FALSE(f.reason().empty());
          continue;
        }
        ++lowered;
        expect_computes(again, c.group);
        if (HasFailure()) return;
      }
      // Reasons come before lowering: nearly all that the space lets pass lowers.
      EXPECT_GE(lowered, std::min<int64_t>(points, 4)) << points << " points, " << legal << " legal";
      EXPECT_GE(lowered * 4, legal * 3) << "of " << legal << " points";
    }
  }
}

TEST(Space, SpacesAreLargeWhereThereIsMuchToChoose) {
  for (const Case& c : {Case{"3x3", conv_group({28, 28, 128, 128, 3})}, Case{"1x1", conv_group({14, 14, 256, 256})},
                        Case{"matrix product", matmul(1, 197, 768, 768, true)}, Case{"chain", chain(56, 56, 1, 24, 144)}}) {
    const auto space = make_space(c.group, machine(2));
    ASSERT_NE(space, nullptr);
    int64_t legal = 0;
    const int64_t points = std::min<int64_t>(size_of(*space), 30'000);
    for (int64_t i = 0; i < points; ++i) legal += std::isfinite(space->draft_us(point_at(*space, i)));
    EXPECT_GE(legal, 100) << c.name;
  }
}

// Vectors of a grouped convolution lie inside groups, as wide as those are.
TEST(Space, GroupedConvolutionsRunInLanes) {
  for (const auto& [channels, lanes] : {std::pair{4, 4}, {8, 8}, {16, 16}, {24, 8}, {64, 16}}) {
    const StageGroup g = conv_group({9, 14, 8 * channels, 8 * channels, 3, 1, false, true, 8});
    const std::string s = default_schedule(g, machine(1)).to_text();
    EXPECT_NE(s.find(fmt::format("split(conv.acc, c, {}, tail)", lanes)), std::string::npos) << channels << ": " << s;
    EXPECT_NE(s.find("vectorize(conv.acc, c.i)"), std::string::npos) << s;
  }
}

// Points of an image that lie a page apart share one set of the first-level cache: tiles take no more of them than it has ways.
TEST(Space, DraftKeepsTilesInTheFirstCache) {
  const auto rows_of = [](int channels) {
    const auto space = make_space(conv_group({14, 14, channels, 256}), machine(1));
    const Point p = space->default_point();
    int64_t points = 1;
    for (size_t i = 0; i < p.size(); ++i) {
      const Knob& k = space->knobs()[i];
      if (k.name == "rows" || k.name == "patch") points *= k.values[p[i]];
    }
    return points;
  };
  EXPECT_LE(rows_of(1024), 7);
  EXPECT_GT(rows_of(1040), 7);
}

// Refusals name what does not fit.
TEST(Space, TilesThatNeedMoreRegistersAreRefused) {
  const auto space = make_space(conv_group({28, 28, 64, 128}), machine(1));
  Point p = space->default_point();
  for (size_t i = 0; i < p.size(); ++i) {
    const Knob& k = space->knobs()[i];
    if (k.name == "rows" || k.name == "vectors") p[i] = static_cast<uint16_t>(k.values.size() - 1);
  }
  const auto s = space->schedule(p);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.reason().find("registers"), std::string::npos) << s.reason();
  EXPECT_TRUE(std::isinf(space->draft_us(p)));
}

// What the draft promises: tiles that fill the machine before tiles that do not.
TEST(Space, DraftPrefersFullTiles) {
  const auto space = make_space(conv_group({28, 28, 128, 128, 3}), machine(1));
  // The default point but for some knobs.
  const auto with = [&](const std::map<std::string, int64_t>& values) {
    Point p = space->default_point();
    for (size_t i = 0; i < p.size(); ++i) {
      const Knob& k = space->knobs()[i];
      const auto it = values.find(k.name);
      if (it == values.end()) continue;
      const auto at = std::ranges::find(k.values, it->second);
      EXPECT_NE(at, k.values.end()) << k.name << "=" << it->second;
      p[i] = static_cast<uint16_t>(at - k.values.begin());
    }
    return space->draft_us(p);
  };
  SCOPED_TRACE(text_of(*space, space->default_point()));
  const double full = with({{"rows", 14}, {"vectors", 2}, {"patch", 1}});
  EXPECT_LT(full, with({{"rows", 4}, {"vectors", 1}, {"patch", 1}}));
  EXPECT_LT(full, with({{"rows", 10}, {"vectors", 2}, {"patch", 1}}));
  EXPECT_LT(full, with({{"rows", 14}, {"vectors", 1}, {"patch", 1}}));
}

// Sequences may have no elements: their groups take no time.
TEST(Space, NothingToComputeTakesNoTime) {
  for (const int64_t rows : {0, 3}) {
    GroupBuilder b("empty");
    const int64_t columns = rows == 0 ? 8 : 0;
    const StageId x = b.input("X", DType::F32, {{"i", rows}, {"j", columns}});
    b.output(b.compute("O", DType::F32, {{"i", rows}, {"j", columns}},
                       [&](AxisVars a) { return max(b.at(x, {a[0], a[1]}), constant(0)); }));
    for (const int threads : {1, 2}) {
      EXPECT_EQ(make_target("native", threads)->estimate_us(b.group()), 0);
      if (const auto space = make_space(b.group(), machine(threads))) {
        EXPECT_TRUE(std::isfinite(space->draft_us(space->default_point())));
      }
    }
  }
}

}  // namespace
}  // namespace burnish::llvm_target
