#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "te/builder.h"

namespace burnish {
namespace {

constexpr DType F = DType::F32;

TEST(Layout, RowMajorUnlessSaid) {
  auto dims = physical({}, {2, 3, 4});
  ASSERT_EQ(dims.size(), 3u);
  EXPECT_EQ(dims[0].stride, 12);
  EXPECT_EQ(dims[2].stride, 1);
  EXPECT_EQ(physical_size({}, {}), 1);
}

TEST(Layout, BlocksRoundUpAndPads) {
  Layout blocked = {{1, 16, 0}, {0}, {1, 1, 16}};
  EXPECT_EQ(physical_size(blocked, {5, 24}), 2 * 5 * 16);
  EXPECT_EQ(physical_size({{0}, {1, 1, 0, 8}}, {5, 24}), 4 * 32 + 24) << "nothing after the last element";
  EXPECT_EQ(layout_text(blocked, {"y", "c"}), "c/16 y c%16");
  auto dims = physical(permuted({0, 2, 3, 1}), {1, 8, 5, 7});
  EXPECT_EQ(dims[3].dim.axis, 1u);
  EXPECT_EQ(dims[1].stride, 7 * 8);
}

TEST(Layout, RunsOfPaddedRows) {
  auto text = [](const Layout& layout, const std::vector<int64_t>& shape) {
    Runs r = runs_of(layout, shape);
    return fmt::format("{}/{}", r.run, r.pitch);
  };
  EXPECT_EQ(text({}, {5, 24}), "0/0");
  EXPECT_EQ(text({{0}, {1, 1, 0, 8}}, {5, 24}), "24/32");
  EXPECT_EQ(text({{0}, {2}, {3}, {1, 1, 0, 40}}, {1, 24, 3, 3}), "24/64");
  EXPECT_EQ(text({{0}, {1, 1, 0, 2}, {2}}, {4, 3, 5}), "15/25");
  EXPECT_EQ(text({{0}, {1, 1, 0, 8}}, {1, 24}), "0/0") << "one row";
  EXPECT_EQ(text({{0}, {1, 1, 0, 8}}, {0, 24}), "0/0") << "nothing";
  EXPECT_EQ(physical_size({{0}, {1, 1, 0, 8}}, {0, 24}), 0);
  EXPECT_EQ(physical_size({{0}, {1, 1, 0, 8}}, {5, 0}), 0);
}

TEST(Layout, SizesThatOverflowAreRefused) {
  int64_t big = std::numeric_limits<int64_t>::max() / 2;
  EXPECT_THROW((void)physical_size({}, {big, 4}), UserError);
}

TEST(Combine, NeutralElementsChangeNothing) {
  for (DType t : {DType::I8, DType::U8, DType::I32, DType::U32, DType::I64, DType::F32, DType::F64,
                  DType::F16})
    for (Combine c : {Combine::Sum, Combine::Prod, Combine::Min, Combine::Max})
      for (int v : {0, 1, 5, 100}) {
        Expr x = is_float(t) ? constant(v, t) : constant_int(v, t);
        EXPECT_TRUE(equal(combine(c, neutral(c, t), x), x))
            << name_of(c) << " " << name_of(t) << " " << v;
      }
}

StageGroup sample() {
  GroupBuilder b("sample group");
  StageId x = b.input("X", F, {{"y", 5}, {"c", 24}}, {{1, 16, 0}, {0}, {1, 1, 16}});
  StageId w = b.constant("max", F, {{"select", 3}, {"c", 24}});
  StageId s = b.reduce(
      "sum.1", F, {{"y", 5}, {"c", 24}}, {{"k", 3}}, Combine::Sum,
      [&](AxisVars a, AxisVars r) {
        return b.at(x, {a[0] + r[0] - Aff(1), a[1]}, constant(0.0, F)) * b.at(w, {r[0], a[1]});
      },
      [&](AxisVars a) { return b.at(w, {Index(0), a[1]}); });
  b[s].finish = max(acc(F), constant(0.0, F));
  StageId l = s + 1;
  b.compute("carry", F, {{"t", 4}, {"c", 24}}, [&](AxisVars a) {
    Index half;
    half.atoms.push_back({a[0], {}, 2, 0, 1});
    return load(F, l, {a[0] - Aff(1), a[1]}, constant(0.5, F)) + b.at(s, {half, a[1]});
  });
  b[l].scan = 0;
  b.output(l);
  return b.group();
}

TEST(StageText, RoundTrip) {
  StageGroup g = sample();
  ASSERT_NO_THROW(verify(g));
  std::string text = to_text(g);
  StageGroup again = parse_stages(text);
  ASSERT_NO_THROW(verify(again));
  EXPECT_EQ(to_text(again), text);
  ASSERT_EQ(again.stages.size(), g.stages.size());
  EXPECT_EQ(again[0].layout, g[0].layout);
  EXPECT_EQ(again[3].scan, g[3].scan);
  EXPECT_EQ(again.inputs, g.inputs);
}

TEST(StageText, EveryPrefixIsRefusedOrReadsBack) {
  std::string text = to_text(sample());
  for (size_t n = 0; n + 2 < text.size(); ++n) {
    try {
      (void)parse_stages(std::string_view(text).substr(0, n));
      ADD_FAILURE() << "prefix of " << n << " characters was accepted";
    } catch (const UserError&) {
    }
  }
}

TEST(StageText, Refusals) {
  for (const char* text : {"group g { compute A: f32[i:0] outputs A A { body 1.0 } }",
                           "group g { compute A: f32[i:2] outputs B A { body 1.0 } }",
                           "group g { compute A: f32[i:2] outputs A }",
                           "group g { compute A: f32[i:2] compute A: f32[i:2] outputs A }",
                           "group g { compute A: f32[i:2] scan(j) outputs A A { body 1.0 } }",
                           "group g { compute A: f32[i:2] outputs A A { body 1.0 body 2.0 } }",
                           "group g { input A: f32[i:2] inputs A outputs A A { body 1.0 } }",
                           "group g { compute A: f32[i:2] layout(i/0) outputs A A { body 1.0 } }"})
    EXPECT_THROW((void)parse_stages(text), UserError) << text;
}

TEST(StageVerify, SaysWhatIsWrong) {
  auto wrong = [](auto change, const char* part) {
    StageGroup g = sample();
    change(g);
    try {
      verify(g);
      ADD_FAILURE() << "was accepted, expected: " << part;
    } catch (const InternalError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  wrong([](StageGroup& g) { g[1].name = "X"; }, "two stages are called 'X'");
  wrong([](StageGroup& g) { g[2].axes[1].name = "y"; }, "two axes called y");
  wrong([](StageGroup& g) { g[2].axes[1].extent = 0; }, "has the extent 0");
  wrong([](StageGroup& g) { g[2].dtype = DType::F64; }, "its formula is f32");
  wrong([](StageGroup& g) { g[2].op = Combine::None; }, "combines nothing");
  wrong([](StageGroup& g) { g[3].scan.reset(); }, "does not come before it");
  wrong([](StageGroup& g) { g.outputs.clear(); }, "has no outputs");
  wrong([](StageGroup& g) { g.inputs.pop_back(); }, "listed once among the inputs");
  wrong([](StageGroup& g) { g[2].init = affine(g[2].raxes[0].var); }, "init is i64");
  wrong([](StageGroup& g) { g[2].init = cast(F, affine(g[2].raxes[0].var)); }, "none of its axes");
  wrong([](StageGroup& g) { g[2].body = acc(F); }, "outside its finish");
}

}  // namespace
}  // namespace burnish
