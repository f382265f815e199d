// Default schedules of the CUDA target: the interpreter runs them on random input, with races and registers watched.
#include <array>
#include <cmath>
#include <set>

#include "schedule/support.h"
#include "target/cuda/chain.h"
#include "target/cuda/dialect.h"
#include "target/cuda/space.h"
#include "target/cuda/tiles.h"
#include "target/cuda/ways.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using schedule_test::Case;
using schedule_test::expect_same;
using target_test::Conv;

void expect_scheduled(const StageGroup& g, const std::string& what, const std::string& step = "", int sm = 90) {
  const Schedule s = cuda_target::default_schedule(g, {.sm = sm});
  EXPECT_NE(s.to_text().find(step), std::string::npos) << what << "\n" << s.to_text();
  expect_same(Case(g, s), what);
}

StageGroup one_conv(const Conv& c, bool residual = false) {
  GroupBuilder b("conv");
  const StageId x = target_test::image(b, c.in, c.height, c.width);
  StageId r = target_test::none;
  if (residual) {
    r = b.input("R", DType::F32, {{"n", 1}, {"c", c.out}, {"y", c.height}, {"x", c.width}}, target_test::nhwc);
  }
  b.output(target_test::conv(b, "O", x, c, r));
  return b.group();
}

TEST(Schedules, Convolutions) {
  for (const int sm : {75, 90}) {
    const std::string step = sm < 80 ? "cache_read" : "tensorize";
    expect_scheduled(one_conv({.height = 9, .width = 11, .in = 72, .out = 40}), "1x1", step, sm);
    expect_scheduled(one_conv({.height = 9, .width = 11, .in = 72, .out = 24}, true), "1x1 with residual", step, sm);
    expect_scheduled(one_conv({.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3}), "3x3", step, sm);
    expect_scheduled(one_conv({.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3, .stride = 2}), "3x3, stride 2", step, sm);
    expect_scheduled(one_conv({.height = 10, .width = 13, .in = 72, .out = 10}), "few channels", step, sm);
  }
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 3, .out = 24, .kernel = 3, .stride = 2}), "of 3 channels");
  expect_scheduled(one_conv({.height = 80, .width = 90, .in = 3, .out = 64, .kernel = 3, .stride = 2}), "of 3 channels, large", "flatten");
  expect_scheduled(one_conv({.height = 75, .width = 60, .in = 29, .out = 24}), "of 29 channels, large", "flatten");
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 24, .out = 24, .kernel = 3, .depthwise = true}), "depthwise");
  expect_scheduled(one_conv({.height = 10, .width = 13, .in = 7, .out = 7, .kernel = 3, .stride = 2, .depthwise = true}), "depthwise of 7");
  expect_scheduled(one_conv({.height = 6, .width = 5, .in = 73, .out = 7}), "odd channels", "cache_read");
  expect_scheduled(one_conv({.height = 6, .width = 5, .in = 13, .out = 7}), "a short sum of odd channels");
  expect_scheduled(one_conv({.height = 7, .width = 30, .in = 3, .out = 32, .kernel = 3}), "of columns that are cut");
}

using target_test::product;

// Of several pairs of matrices, neither of them constant.
StageGroup products(int64_t batch, int64_t m, int64_t n, int64_t k) {
  GroupBuilder b("products");
  const StageId x = b.input("X", DType::F32, {{"b", batch}, {"m", m}, {"k", k}}), y = b.input("Y", DType::F32, {{"b", batch}, {"k", k}, {"n", n}});
  b.output(b.reduce("O", DType::F32, {{"b", batch}, {"m", m}, {"n", n}}, {{"k", k}}, Combine::Sum,
                    [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], a[1], r[0]}) * b.at(y, {a[0], r[0], a[2]}); }));
  return b.group();
}

// Softmax along planes, channels or the outermost axis.
TEST(Schedules, RowsOfThreads) {
  const auto softmax_along = [](int64_t a, int64_t b, int64_t c, uint32_t along) {
    GroupBuilder g("softmax");
    const std::vector<NamedExtent> axes = {{"a", a}, {"b", b}, {"c", c}};
    const StageId x = g.input("X", DType::F32, axes);
    const std::vector<NamedExtent> row = {axes[along]};
    std::vector<NamedExtent> rows = axes;
    rows.erase(rows.begin() + along);
    const auto in_row = [&](AxisVars v, Index k) {
      std::vector<Index> at;
      for (uint32_t i = 0, j = 0; i < 3; ++i) at.push_back(i == along ? k : Index(v[j++]));
      return at;
    };
    const auto of_row = [&](AxisVars v) {
      std::vector<Index> at;
      for (uint32_t i = 0; i < 3; ++i)
        if (i != along) at.push_back(Index(v[i]));
      return at;
    };
    const StageId most = g.reduce("most", DType::F32, rows, row, Combine::Max, [&](AxisVars v, AxisVars r) { return g.at(x, in_row(v, r[0])); });
    const StageId e = g.compute("e", DType::F32, axes, [&](AxisVars v) { return unary(UnaryOp::Exp, g.at(x, target_test::at(v)) - g.at(most, of_row(v))); });
    const StageId sum = g.reduce("sum", DType::F32, rows, row, Combine::Sum, [&](AxisVars v, AxisVars r) { return g.at(e, in_row(v, r[0])); });
    g.output(g.compute("O", DType::F32, axes, [&](AxisVars v) { return g.at(e, target_test::at(v)) / g.at(sum, of_row(v)); }));
    return g.group();
  };
  for (const auto& [a, b, c, along] : {std::array<int64_t, 4>{16, 4, 210, 0}, {3, 7, 21, 1}, {2, 32, 1, 1}, {5, 300, 3, 0}, {1, 9, 129, 1}})
    expect_scheduled(softmax_along(a, b, c, static_cast<uint32_t>(along)), fmt::format("{} x {} x {} along {}", a, b, c, along), "compute_at(most, O");
}

// The layout of the result is another one than the lanes of operands would like: planes of channels, heads side by side.
TEST(Schedules, ResultsInOtherOrders) {
  const auto laid_out = [](StageGroup g, Layout layout) {
    g.stages[g.outputs[0]].layout = std::move(layout);
    return g;
  };
  std::mt19937_64 random(schedule_test::seed());
  for (const StageGroup& g : {laid_out(one_conv({.height = 9, .width = 21, .in = 24, .out = 10}), {}), laid_out(one_conv({.height = 6, .width = 40, .in = 24, .out = 2}), {}),
                              laid_out(one_conv({.height = 10, .width = 31, .in = 16, .out = 40, .kernel = 3, .stride = 2}), {}),
                              laid_out(one_conv({.height = 7, .width = 16, .in = 16, .out = 24, .kernel = 3}, true), {}),
                              laid_out(products(3, 21, 40, 16), permuted({1, 0, 2}))}) {
    expect_scheduled(g, to_text(g), "tensorize");
    target_test::expect_points_compute(g, cuda_target::make_space(g, {}).get(), random, true);
  }
  expect_scheduled(laid_out(target_test::chain(21, 19, 1, 24, 96), {}), "a chain");
}

TEST(Schedules, TilesOfMatrixInstructions) {
  for (const auto& g : {one_conv({.height = 21, .width = 18, .in = 16, .out = 40, .kernel = 3}), one_conv({.height = 5, .width = 9, .in = 32, .out = 58, .kernel = 3}),
                        product(45, 24, 64), products(2, 21, 37, 32)}) {
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    const auto tiles = cuda_target::matrix_tiles(s, *roles, {});
    EXPECT_GT(tiles.size(), 15u);
    for (size_t i = 0; i < tiles.size(); i += 1 + tiles.size() / schedule_test::cases(11)) {
      Schedule t = s;
      const auto& x = tiles[i];
      EXPECT_TRUE(cuda_target::by_matrix(t, *roles, x, {}));
      expect_same(Case(g, t), fmt::format("{} x {} tiles, {} x {} x {} warps, {} ahead", x.rows, x.columns, x.warps_m, x.warps_n, x.warps_k, x.ahead));
    }
  }
}

TEST(Schedules, StagedTiles) {
  for (const auto& g : {one_conv({.height = 21, .width = 18, .in = 16, .out = 40, .kernel = 3}), one_conv({.height = 11, .width = 9, .in = 48, .out = 58, .kernel = 3, .stride = 2}, true),
                        product(45, 24, 64), product(33, 50, 96)}) {
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    const auto tiles = cuda_target::staged_tiles(s, *roles, {});
    EXPECT_GT(tiles.size(), 9u);
    for (size_t i = 0; i < tiles.size(); i += 1 + tiles.size() / schedule_test::cases(9)) {
      Schedule t = s;
      const auto& x = tiles[i];
      EXPECT_TRUE(cuda_target::by_matrix(t, *roles, x, {}));
      expect_same(Case(g, t), fmt::format("{} x {} tiles, {} x {} warps, {} staged", x.rows, x.columns, x.warps_m, x.warps_n, x.staged));
    }
  }
}

TEST(Schedules, SplitProducts) {
  for (const auto& g : {one_conv({.height = 7, .width = 7, .in = 64, .out = 40, .kernel = 3}), one_conv({.height = 9, .width = 9, .in = 48, .out = 58, .kernel = 3, .stride = 2}, true),
                        one_conv({.height = 5, .width = 6, .in = 96, .out = 24}), product(45, 24, 128)}) {
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    const auto tiles = cuda_target::split_tiles(s, *roles, {});
    EXPECT_GT(tiles.size(), 9u);
    for (size_t i = 0; i < tiles.size(); i += 1 + tiles.size() / schedule_test::cases(5)) {
      Schedule t = s;
      const auto& x = tiles[i];
      EXPECT_TRUE(cuda_target::by_split(t, *roles, x, {}));
      expect_same(Case(g, t), fmt::format("{} parts, {} x {} tiles", x.parts, x.tile.rows, x.tile.columns));
    }
  }
}

// The ways of a product are in the order of their estimates.
TEST(Schedules, WaysOfProducts) {
  cuda_target::Device tf32;
  tf32.products = 1;
  const auto first = [&](const StageGroup& g) {
    Schedule s(g);
    inline_cheap(s);
    std::vector<double> cycles;
    std::string name;
    for (const cuda_target::Way& w : cuda_target::ways_of(s, tf32)) {
      if (w.variants.empty() || w.cycles == 0 || std::isinf(w.cycles)) continue;
      if (cycles.empty()) name = w.name;
      cycles.push_back(w.cycles);
    }
    EXPECT_TRUE(std::ranges::is_sorted(cycles));
    EXPECT_GT(cycles.size(), 1u);
    return name;
  };
  EXPECT_EQ(first(one_conv({.height = 68, .width = 120, .in = 32, .out = 192})), "matrix");
  EXPECT_EQ(first(one_conv({.height = 17, .width = 30, .in = 960, .out = 160}, true)), "split") << "few points, many terms";
  EXPECT_EQ(first(one_conv({.height = 136, .width = 240, .in = 24, .out = 24, .kernel = 3})), "staged") << "few channels, large maps";
  EXPECT_EQ(first(one_conv({.height = 5, .width = 7, .in = 48, .out = 24})), "matrix");
}

TEST(Schedules, Chains) {
  using cuda_target::ChainTile;
  for (const int stride : {1, 2}) {
    for (const ChainTile& c : {ChainTile{.columns = 6, .expand_n = 1}, ChainTile{.columns = 6, .warps_y = 2, .warps_x = 3, .chunk = 48, .expand_y = 2, .expand_n = 1, .expand_rows = 4},
                               ChainTile{.columns = 6, .warps_x = 3, .warps_k = 2, .chunk = 96, .expand_y = 2, .expand_n = 3}, ChainTile{.columns = 8, .warps_k = 6, .chunk = 96, .expand_y = 1, .expand_n = 3},
                               ChainTile{.columns = 6, .warps_k = 3, .chunk = 144, .expand_n = 3, .rows = 2}}) {
      const StageGroup g = target_test::chain(21, 19, stride, 24, c.chunk == 144 ? 144 : 96);
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, c, {}));
      expect_same(Case(g, s), fmt::format("stride {}", stride));
    }
  }
}

// What is expanded stays in registers, of which threads read their neighbours' rows: windows, strides, a residual, parts.
TEST(Schedules, ChainsInRegisters) {
  using target_test::conv;
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  for (int i = 0; i < schedule_test::cases(8); ++i) {
    const int stride = any(1, 2), height = any(9, 33), width = any(5, 19), kernel = i % 4 == 3 ? 5 : 3, channels = 8 * any(1, 3), warps = any(1, 3);
    cuda_target::ChainTile c{.columns = 2 * any(1, 3), .warps_k = warps, .chunk = 8 * warps * any(1, 2), .weights = any(0, 2), .splits = any(1, 2), .rows = 2 / stride,
                             .groups = 8 - (kernel - stride + 1) / 2};
    if (stride == 1 && any(0, 1)) ++c.columns;
    const int expanded = static_cast<int>(c.chunk * c.splits) * 2, out_height = (height - 1) / stride + 1, out_width = (width - 1) / stride + 1;
    const cuda_target::Device device{.storage = std::array{DType::F32, DType::F16, DType::BF16}[static_cast<size_t>(any(0, 2))]};
    GroupBuilder b("chain");
    const StageId x = target_test::image(b, channels, height, width, target_test::nhwc, 1, device.storage);
    const StageId e = conv(b, "E", x, {height, width, channels, expanded});
    const StageId d = conv(b, "D", e, {height, width, expanded, expanded, kernel, stride, true});
    b.output(conv(b, "O", d, {out_height, out_width, expanded, channels, 1, 1, false, false}, stride == 1 ? x : target_test::none));
    const StageGroup g = b.group();
    Schedule s(g);
    inline_cheap(s);
    const std::string what = fmt::format("{} x {} x {}-{}, window {}, stride {}, {} columns, {} warps, {} parts, weights {}, {}", height, width, channels, expanded, kernel, stride,
                                         c.columns, warps, c.splits, c.weights, name_of(device.storage));
    ASSERT_TRUE(cuda_target::by_chain(s, c, device)) << what;
    EXPECT_NE(s.to_text().find("set_scope(E, warp)"), std::string::npos);
    expect_same(Case(g, s), what);
    c.groups = 8 - c.groups;
    EXPECT_FALSE(cuda_target::by_chain(s, c, device)) << "too few groups";
  }
}

// Of random chains, that end with a projection.
const cuda_target::ChainTile tiles_of_chains[] = {{.columns = 6, .warps_x = 3, .expand_n = 1, .expand_rows = 4},
                                                  {.columns = 8, .warps_y = 2, .warps_n = 2, .expand_y = 2},
                                                  {.columns = 6, .warps_x = 3, .warps_k = 2, .expand_y = 3, .expand_n = 2},
                                                  {.columns = 14, .warps_k = 4, .chunk = 64, .expand_n = 2, .expand_rows = 4}};

// A convolution of an image's few channels as the expansion: filters, strides, layouts, with and without a projection.
TEST(Schedules, ChainsOfImages) {
  using cuda_target::ChainTile;
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  for (int i = 0; i < schedule_test::cases(10); ++i) {
    ChainTile t = tiles_of_chains[any(0, 3)];
    if (any(0, 3) == 0) t.splits = 2;
    t.rows = any(1, 2);
    target_test::ImageChain c{.channels = any(1, 5), .height = any(5, 40), .width = any(5, 40), .filter = any(1, 3) * 2 + 1, .first_stride = any(1, 2), .stride = any(1, 2)};
    if (c.channels * c.filter * c.filter > 96) c.channels = 1;
    c.expanded = static_cast<int>(t.chunk * t.splits) * any(1, 2);
    c.by_planes = any(0, 3) > 0;
    c.images = any(1, 2);
    c.project = t.splits > 1 || any(0, 4) > 0;
    if (!c.project) t = {.columns = 6, .warps_x = 3, .chunk = t.chunk, .expand_rows = 4};
    const StageGroup g = target_test::image_chain(c);
    t.expand_n = t.threads() / 32 / (ceil_div((t.columns - 1) * c.stride + 3, int64_t{8}) * t.expand_y);
    if (t.expand_n == 0 || (t.chunk / 8) % t.expand_n) t.expand_n = 1;
    Schedule s(g);
    inline_cheap(s);
    const std::string what = fmt::format("{} of {} x {} x {}, filter {}, strides {} and {}, {} expanded, {} columns, {} parts, by planes {}, projection {}", c.images, c.channels, c.height,
                                         c.width, c.filter, c.first_stride, c.stride, c.expanded, t.columns, t.splits, c.by_planes, c.project);
    ASSERT_TRUE(cuda_target::by_chain(s, t, {.products = i % 2 ? 1.0 : 3.0})) << what;
    EXPECT_NE(s.to_text().find("flatten"), std::string::npos);
    expect_same(Case(g, s), what);
  }
}

// Random chains with a projection: with the expansion and without, with a residual or not; of tiles in so many parts, whose threads have so many rows.
void expect_random_chains(int times, int fewest_parts, int most_parts, int fewest_rows) {
  using cuda_target::ChainTile;
  using target_test::conv;
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  for (int i = 0; i < schedule_test::cases(times); ++i) {
    ChainTile t = tiles_of_chains[any(0, 3)];
    t.splits = any(fewest_parts, most_parts);
    t.rows = any(fewest_rows, 2);
    if (t.rows > 1 && any(0, 3) == 0) t.columns = t.warps_x * any(2, 5);  // an odd number for a thread, too
    const int stride = any(1, 2), height = any(5, 37), width = any(5, 23), kernel = any(0, 3) ? 3 : 5;
    const int channels = 16 * any(1, 3), expanded = static_cast<int>(t.chunk * t.splits) * any(1, 2), images = any(1, 3) / 2 + 1;
    const int out_height = (height - 1) / stride + 1, out_width = (width - 1) / stride + 1;
    const bool expand = any(0, 3) > 0, residual = any(0, 1) > 0;
    t.weights = any(0, 2);
    t.expand_n = expand ? t.threads() / 32 / (ceil_div((t.columns - 1) * stride + kernel, int64_t{8}) * t.expand_y) : 1;
    if (t.expand_n == 0 || (t.chunk / 8) % t.expand_n) t.expand_n = 1;
    GroupBuilder b("chain");
    const StageId x = target_test::image(b, expand ? channels : expanded, height, width, target_test::nhwc, images);
    const StageId e = expand ? conv(b, "E", x, {height, width, channels, expanded}) : x;
    const StageId d = conv(b, "D", e, {height, width, expanded, expanded, kernel, stride, true});
    StageId r = target_test::none;
    if (residual && expand && stride == 1)
      r = x;
    else if (residual)
      r = b.input("R", DType::F32, {{"n", images}, {"c", channels}, {"y", out_height}, {"x", out_width}}, target_test::nhwc);
    b.output(conv(b, "O", d, {out_height, out_width, expanded, channels, 1, 1, false, i % 3 > 0}, r));
    const StageGroup g = b.group();
    Schedule s(g);
    inline_cheap(s);
    const std::string what = fmt::format("{} x {} x {}-{}-{}, window {}, stride {}, {} columns, {} rows, {} parts, {} warps, weights {}, residual {}", height, width,
                                         expand ? channels : 0, expanded, channels, kernel, stride, t.columns, t.rows, t.splits, t.threads() / 32, t.weights, residual);
    ASSERT_TRUE(cuda_target::by_chain(s, t, {})) << what;
    EXPECT_EQ(s.to_text().find("rfactor") != std::string::npos, t.splits > 1 || t.warps_k > 1) << what;
    expect_same(Case(g, s), what);
  }
}

// Parts of the expanded channels to blocks of their own.
TEST(Schedules, ChainsInParts) { expect_random_chains(12, 2, 4, 1); }

// A region of 65 rows, of which a thread copies more than are constants of its instructions.
TEST(Schedules, TallRegionsOfChains) {
  GroupBuilder b("chain");
  const StageId x = target_test::image(b, 32, 70, 5);
  const StageId e = target_test::conv(b, "E", x, {70, 5, 32, 96}), d = target_test::conv(b, "D", e, {70, 5, 96, 96, 3, 2, true});
  b.output(target_test::conv(b, "O", d, {35, 3, 96, 32}));
  const StageGroup g = b.group();
  Schedule s(g);
  inline_cheap(s);
  const cuda_target::ChainTile t{.columns = 3, .warps_y = 2, .warps_n = 2, .expand_y = 2, .expand_n = 2, .weights = 1, .splits = 3, .rows = 2};
  ASSERT_TRUE(cuda_target::by_chain(s, t, {}));
  expect_same(Case(g, s), "tall");
}

// Two neighbouring rows to a thread, which share what it reads.
TEST(Schedules, ChainsOfTwoRows) { expect_random_chains(16, 1, 2, 2); }

// The best by estimate lower, and are right; the list is short enough to go through.
TEST(Schedules, BestChains) {
  for (const int stride : {1, 2}) {
    const StageGroup g = target_test::chain(21, 19, stride, 24, 96);
    Schedule s(g);
    inline_cheap(s);
    const auto tiles = cuda_target::chain_tiles(s, {});
    EXPECT_GT(tiles.size(), 20u);
    EXPECT_LT(tiles.size(), 3000u);
    for (size_t i = 0; i < std::min<size_t>(3, tiles.size()); ++i) {
      Schedule t = s;
      EXPECT_TRUE(cuda_target::by_chain(t, tiles[i], {}));
      expect_same(Case(g, t), fmt::format("stride {}, tile {}", stride, i));
    }
  }
}

// Without the projection, without the expansion.
TEST(Schedules, PartsOfChains) {
  using target_test::conv;
  for (const int stride : {1, 2}) {
    const int height = (21 - 1) / stride + 1, width = (19 - 1) / stride + 1;
    for (const bool expand : {true, false}) {
      GroupBuilder b("part");
      const StageId x = target_test::image(b, expand ? 16 : 48, 21, 19);
      const StageId e = expand ? conv(b, "E", x, {21, 19, 16, 48}) : x;
      const StageId d = conv(b, "D", e, {21, 19, 48, 48, 3, stride, true});
      b.output(expand ? d : conv(b, "O", d, {height, width, 48, 24}));
      const StageGroup g = b.group();
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, {.columns = 6, .warps_y = 1, .warps_x = 3, .chunk = 48, .expand_n = 1}, {}));
      expect_same(Case(g, s), fmt::format("stride {}", stride));
    }
  }
}

// Sums of few points, by threads together: products of one row and of several, convolutions of maps of one point; odd sizes.
TEST(Schedules, FewPoints) {
  const std::string lanes = "guarded";
  expect_scheduled(product(1, 40, 256), "a vector by a matrix", lanes);
  expect_scheduled(product(1, 13, 1023), "odd sizes", lanes);
  expect_scheduled(product(3, 10, 90), "three rows", lanes);
  expect_scheduled(one_conv({.height = 1, .width = 1, .in = 96, .out = 4}), "to few channels", lanes);
  expect_scheduled(one_conv({.height = 1, .width = 1, .in = 10, .out = 39}, true), "of few channels, residual", lanes);
  expect_scheduled(one_conv({.height = 2, .width = 3, .in = 44, .out = 21}), "of six points", lanes);
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int64_t most) { return std::uniform_int_distribution<int64_t>(2, most)(random); };
  for (int i = 0; i < schedule_test::cases(8); ++i) {
    const int64_t m = any(8), n = any(50), k = any(700);
    expect_scheduled(product(m, n, k), fmt::format("{} x {} x {}", m, n, k));
  }
}

// Whatever the estimates say: all that a space offers, and what the default schedule takes.
TEST(Space, BlocksHoldWhatTheyShare) {
  for (const int stride : {1, 2}) {
    const StageGroup g = target_test::chain(68, 60, stride, 24, 144);
    for (const int64_t block_bytes : {20'000, 227 << 10}) {
      const cuda_target::Device d{.block_bytes = block_bytes};
      const auto most = [&](const Schedule& s) {
        int64_t bytes = 0;
        for (const c_like::Kernel& k : c_like::kernels_of(schedule_test::lowered(s), cuda_target::dialect())) bytes = std::max(bytes, k.block_bytes);
        return bytes;
      };
      EXPECT_LE(most(cuda_target::default_schedule(g, d)), block_bytes);
      const auto space = cuda_target::make_space(g, d);
      for (int64_t i = stride; i < size_of(*space); i += 9) {
        const auto s = space->schedule(point_at(*space, i));
        if (s) {
          EXPECT_LE(most(*s), block_bytes) << text_of(*space, point_at(*space, i));
        }
      }
    }
  }
}

TEST(Space, PointsCompute) {
  std::mt19937_64 random(5);
  for (const StageGroup& g : {one_conv({.height = 9, .width = 11, .in = 72, .out = 40}), one_conv({.height = 6, .width = 5, .in = 13, .out = 7}, true),
                              product(45, 24, 64), target_test::softmax(5, 33), target_test::transposition(2, 17, 40),
                              target_test::chain(9, 10, 1, 24, 96)}) {
    const auto space = cuda_target::make_space(g, {});
    const Point p = space->default_point();
    SCOPED_TRACE(text_of(*space, p));
    EXPECT_EQ(space->schedule(p)->to_text(), cuda_target::default_schedule(g, {}).to_text());
    std::set<std::string> names;
    for (int64_t i = 0; i < size_of(*space); ++i) {
      const std::string text = text_of(*space, point_at(*space, i));
      EXPECT_TRUE(names.insert(text).second) << text;
      EXPECT_EQ(parse_point(*space, text), point_at(*space, i)) << text;
    }
    EXPECT_GT(names.size(), 5u);
    target_test::expect_points_compute(g, space.get(), random, true);
  }
}

// All stages in one kernel, rows of one warp, of a part of it, and of several.
TEST(Schedules, Rows) {
  const auto one_kernel = [](const StageGroup& g, const std::string& what) {
    const Schedule s = cuda_target::default_schedule(g, {});
    const std::string text = s.to_text();
    EXPECT_NE(text.find("guarded"), std::string::npos) << what;
    EXPECT_EQ(text.find("parallel("), text.rfind("parallel(")) << what << "\n" << text;
    expect_same(Case(g, s), what);
  };
  for (const auto& [rows, length] : {std::array<int64_t, 2>{5, 128}, {7, 33}, {3, 10}, {1, 300}, {2, 3000}, {300, 197}, {530, 16}}) {
    one_kernel(target_test::softmax(rows, length), fmt::format("softmax {} x {}", rows, length));
    one_kernel(target_test::layer_norm(rows, length), fmt::format("layer norm {} x {}", rows, length));
    if (rows > 1) one_kernel(target_test::mean(rows, length, true), fmt::format("mean of rows {} x {}", rows, length));
  }
}

TEST(Schedules, Columns) {
  for (const auto& [rows, columns] : {std::array<int64_t, 2>{49, 64}, {17, 37}, {200, 10}, {1000, 3}})
    expect_scheduled(target_test::mean(rows, columns, false), fmt::format("{} x {}", rows, columns), "guarded");
}

// Cut at each of their sums, for as many blocks as come out even.
TEST(Schedules, Squeezed) {
  using cuda_target::SqueezeTile;
  for (const auto& [channels, squeezed, height, width] :
       {std::array<int, 4>{40, 10, 14, 9}, {32, 8, 56, 56}, {144, 6, 8, 7}, {96, 5, 6, 6}, {21, 3, 7, 5}, {1152, 48, 7, 7}, {9, 7, 9, 3}}) {
    const StageGroup g = target_test::squeeze(channels, squeezed, height, width, channels % 2 == 0);
    Schedule s(g);
    inline_cheap(s);
    const auto tiles = cuda_target::squeeze_tiles(s, {});
    EXPECT_GE(tiles.size(), 1u);
    size_t fit = 0;
    for (const SqueezeTile& x : tiles) {
      if (channels > 1000 && x.blocks < 6) continue;  // slow to interpret
      Schedule t = s;
      if (!cuda_target::by_squeeze(t, x)) continue;
      ++fit;
      expect_same(Case(g, t), fmt::format("{} channels, {} squeezed, {} x {}, {} blocks, cut at {}", channels, squeezed, height, width, x.blocks, x.cut));
    }
    EXPECT_GE(fit, 1u) << channels;
  }
  const StageGroup g = target_test::squeeze(40, 10, 14, 9);
  Schedule s(g);
  inline_cheap(s);
  EXPECT_TRUE(cuda_target::squeeze_tiles(s, {.sm = 80}).empty());
  for (const SqueezeTile& x : {SqueezeTile{.cut = 1, .blocks = 3}, {.cut = 3, .blocks = 2}, {.cut = 0, .blocks = 4}}) EXPECT_FALSE(cuda_target::by_squeeze(s, x)) << x.cut;
  // By default one kernel, of as many blocks as neighbours that meet.
  const auto kernels = c_like::kernels_of(*lower(cuda_target::default_schedule(g, {})), cuda_target::dialect());
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_EQ(kernels[0].cluster, kernels[0].blocks);
  // Results of more than one point, and stages that others read too, are something else.
  for (const StageGroup& other : {one_conv({.height = 2, .width = 1, .in = 24, .out = 8}), target_test::mean(17, 37, false)}) {
    Schedule o(other);
    inline_cheap(o);
    EXPECT_TRUE(cuda_target::squeeze_tiles(o, {}).empty());
  }
}

TEST(Schedules, Others) {
  expect_scheduled(target_test::softmax(5, 33), "softmax");
  expect_scheduled(target_test::transposition(2, 17, 40), "transposition");
  expect_scheduled(target_test::chain(9, 10, 1), "a chain");
}

// Where a chunk of channels and the padding after it let them, a warp's stores of what is expanded meet every bank once.
TEST(Schedules, ColumnsOfChainsInBanksOfTheirOwn) {
  cuda_target::Chain chain;
  chain.expand = chain.project = cuda_target::Link{};
  chain.window = 3;
  const auto banks = [&](int64_t chunk, int64_t expand_n, DType t) {
    const cuda_target::ChainTile c{.columns = 6, .chunk = chunk, .expand_n = expand_n};
    return cuda_target::banks_for(chain, c, t, t == DType::F16 ? 32 : 16);
  };
  EXPECT_EQ(banks(32, 1, DType::F16).pad, 0);
  EXPECT_EQ(banks(32, 1, DType::F16).store, 4);
  EXPECT_EQ(banks(64, 1, DType::F16).pad, 8);
  EXPECT_EQ(banks(64, 1, DType::F16).store, 4);
  EXPECT_EQ(banks(32, 1, DType::F32).pad, 4);
  EXPECT_EQ(banks(32, 1, DType::F32).store, 4);
  EXPECT_EQ(banks(48, 2, DType::F32).store, 2);
  EXPECT_EQ(banks(32, 1, DType::F32).window, 4);
}

}  // namespace
}  // namespace burnish::cuda_test
