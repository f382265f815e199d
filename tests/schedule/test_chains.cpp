// Several convolutions in one nest: rings of rows, warm-ups, threads, partial sums.
#include "support.h"

namespace burnish::schedule_test {
namespace {

constexpr DType F = DType::F32;
using chain::conv;
using chain::conv_tile;
using chain::tile_order;

Case chain_case(const chain::Shape& shape, const chain::Options& o) {
  StageGroup g = chain::group(shape);
  return Case(g, chain::schedule(g, o));
}

TEST(Chain, StridesRowsThreads) {
  for (int64_t stride : {1, 2})
    for (int64_t rows : {1, 2, 4})
      for (int64_t threads : {1, 2})
        expect_same(chain_case({17, 19, 24, 48, 24, stride}, {.rows = rows, .threads = threads}),
                    fmt::format("stride {} rows {} threads {}", stride, rows, threads));
  expect_same(chain_case({16, 30, 16, 40, 24, 2}, {}), "16x30 16-40-24 stride 2");
  expect_same(chain_case({9, 7, 24, 24, 24, 1}, {.rows = 4, .blocked = false}),
              "rows and pixels of channels");
}

// The expanded channels in chunks, outermost: partial sums live in the output.
Case chunked(int64_t H, int64_t W, int64_t Ci, int64_t Ce, int64_t Co, int64_t chunk, bool ring,
             int64_t stride = 1) {
  Case c(chain::group({H, W, Ci, Ce, Co, stride, true}));
  Schedule& s = c.schedule;
  const std::string P = "O.acc";
  std::string rf = s.rfactor(P, "k", chunk);
  s.merge_epilogue(P);
  s.set_scope(rf, Scope::Register);
  auto [strip, rest] = s.split_parts(P, "y", 2);
  auto [step, row] = s.split(P, rest, 2);
  auto [xo, xi] = s.split(P, "x", 8, Tail::Balanced);
  auto [cv, cl] = s.split(P, "c", 16, Tail::Tail);
  s.reorder(P, {strip, "ko", step, row, xo, xi, cv, cl});
  s.parallel(P, strip);
  s.unroll(P, xi);
  s.unroll(P, cv);
  s.vectorize(P, cl);
  s.compute_at(rf, P, xo);
  auto [v, l] = s.split(rf, "c", 16, Tail::Tail);
  s.reorder(rf, {"ki", "x", v, l});
  s.unroll(rf, "x");
  s.unroll(rf, v);
  s.vectorize(rf, l);
  s.compute_at("D", P, step);
  s.compute_at("E", P, step);
  if (ring) {
    s.store_at("E", P, "ko");
    s.fold_storage("E", "y");
  }
  auto t = conv_tile(s, "E", 8, 16, {"k"});
  s.reorder("E", tile_order({"y", t.c_outer}, t));
  t = conv_tile(s, "D", 8, 16, {"ky", "kx"});
  s.reorder("D", tile_order({t.c_outer, "y"}, t));
  s.unroll("D.acc", "ky");
  s.unroll("D.acc", "kx");
  return c;
}

TEST(Chain, ChannelChunksWithPartialSumsInMemory) {
  for (bool ring : {false, true}) {
    expect_same(chunked(17, 11, 24, 64, 24, 32, ring), ring ? "ring, residual" : "residual");
    expect_same(chunked(10, 12, 16, 96, 32, 48, ring), ring ? "ring" : "plain");
  }
  expect_same(chunked(17, 11, 16, 64, 24, 32, true, 2), "stride 2");
}

// Two 3x3 convolutions; the rows of the first live in a ring, and so do the padded rows of the
// input.
Case stacked(int64_t H, int64_t W, int64_t C, int64_t C1, int64_t C2, int64_t s1, int64_t s2,
             int64_t rows) {
  GroupBuilder b("stacked");
  int64_t H1 = (H - 1) / s1 + 1, W1 = (W - 1) / s1 + 1, H2 = (H1 - 1) / s2 + 1,
          W2 = (W1 - 1) / s2 + 1;
  StageId x = b.input("X", F, {{"y", H}, {"x", W}, {"c", C}});
  StageId wa = b.constant("Wa", F, {{"ky", 3}, {"kx", 3}, {"k", C}, {"c", C1}}),
          ba = b.constant("Ba", F, {{"c", C1}});
  StageId wb = b.constant("Wb", F, {{"ky", 3}, {"kx", 3}, {"k", C1}, {"c", C2}}),
          bb = b.constant("Bb", F, {{"c", C2}});
  StageId a = conv(b, "A", x, wa, ba, H1, W1,
                   {.outputs = C1, .inputs = C, .kernel = 3, .stride = s1, .pad = 1});
  b.output(conv(b, "O", a, wb, bb, H2, W2,
                {.outputs = C2, .inputs = C1, .kernel = 3, .stride = s2, .pad = 1}));
  Case c(b.group());
  Schedule& s = c.schedule;
  std::string cached = s.cache_read("X");
  auto [strip, rest] = s.split_parts("O", "y", 2);
  auto [step, row] = s.split("O", rest, rows);
  auto t = conv_tile(s, "O", 6, 32, {"ky", "kx", "k"});
  s.reorder("O", tile_order({strip, step, row, t.c_outer}, t));
  s.parallel("O", strip);
  for (const std::string& p : {std::string("A"), cached}) {
    s.compute_at(p, "O", step);
    s.store_at(p, "O", strip);
    s.fold_storage(p, "y");
  }
  t = conv_tile(s, "A", 6, 32, {"ky", "kx", "k"});
  s.reorder("A", tile_order({"y", t.c_outer}, t));
  return c;
}

TEST(Chain, TwoConvolutionsStacked) {
  for (auto [H, W, C, C1, C2] : {std::array<int64_t, 5>{17, 13, 3, 16, 24}, {12, 10, 8, 24, 16}})
    for (auto [s1, s2] : {std::pair<int64_t, int64_t>{1, 1}, {2, 1}, {1, 2}})
      for (int64_t rows : {1, 2, 4})
        expect_same(
            stacked(H, W, C, C1, C2, s1, s2, rows),
            fmt::format("{}x{} {}-{}-{} strides {},{} rows {}", H, W, C, C1, C2, s1, s2, rows));
}

// 3x3 convolution, ReLU, 3x3 max pool of stride 2: the convolution's rows roll, their halo is
// -infinity.
Case pooled(int64_t H, int64_t W, int64_t C, int64_t K, int64_t threads) {
  GroupBuilder b("pooled");
  int64_t rows = (H - 1) / 2 + 1, columns = (W - 1) / 2 + 1;
  StageId x = b.input("X", F, {{"y", H}, {"x", W}, {"c", C}});
  StageId w = b.constant("W", F, {{"ky", 3}, {"kx", 3}, {"k", C}, {"c", K}}),
          bias = b.constant("B", F, {{"c", K}});
  StageId a = conv(b, "C", x, w, bias, H, W, {.outputs = K, .inputs = C, .kernel = 3, .pad = 1});
  b.output(b.reduce("P", F, {{"y", rows}, {"x", columns}, {"c", K}}, {{"ky", 3}, {"kx", 3}},
                    Combine::Max, [&](AxisVars v, AxisVars r) {
                      return b.at(a, {v[0] * 2 - Aff(1) + r[0], v[1] * 2 - Aff(1) + r[1], v[2]},
                                  neutral(Combine::Max, F));
                    }));
  Case c(b.group());
  Schedule& s = c.schedule;
  s.cache_write("P");
  auto [strip, row] = s.split_parts("P", "y", threads);
  s.parallel("P", strip);
  auto t = conv_tile(s, "P", 6, 16, {"ky", "kx"});
  s.reorder("P", tile_order({strip, row, t.c_outer}, t));
  s.unroll("P.acc", "ky");
  s.unroll("P.acc", "kx");
  s.compute_at("C", "P", row);
  s.store_at("C", "P", strip);
  s.fold_storage("C", "y");
  t = conv_tile(s, "C", 6, 16, {"ky", "kx", "k"});
  s.reorder("C", tile_order({"y", t.c_outer}, t));
  return c;
}

TEST(Chain, ConvolutionAndMaxPool) {
  for (int64_t threads : {1, 2})
    expect_same(pooled(17, 15, 8, 24, threads), fmt::format("{} threads", threads));
}

StageId box3(GroupBuilder& b, const std::string& name, StageId x, int64_t H, int64_t W,
             int64_t dilation = 1) {
  return b.reduce(name, F, {{"y", H}, {"x", W}}, {{"ky", 3}, {"kx", 3}}, Combine::Sum,
                  [&](AxisVars a, AxisVars r) {
                    Aff y = a[0] + r[0] * dilation - Aff(dilation),
                        xx = a[1] + r[1] * dilation - Aff(dilation);
                    return b.at(x, {y, xx}, constant(0.0, F)) * constant(0.2, F);
                  });
}

// n filters in a row, every intermediate in a ring of its own.
Case deep(int64_t H, int64_t W, int n, int64_t threads, int64_t rows, int64_t dilation) {
  GroupBuilder b("deep");
  StageId last = b.input("X", F, {{"y", H}, {"x", W}});
  for (int i = 0; i < n; ++i) last = box3(b, fmt::format("F{}", i), last, H, W, dilation);
  b.output(last);
  Case c(b.group());
  Schedule& s = c.schedule;
  std::string o = fmt::format("F{}", n - 1);
  auto [strip, rest] = s.split_parts(o, "y", threads);
  auto [step, row] = s.split(o, rest, rows);
  s.parallel(o, strip);
  for (int i = 0; i + 1 < n; ++i) {
    std::string f = fmt::format("F{}", i);
    s.compute_at(f, o, step);
    s.store_at(f, o, strip);
    s.fold_storage(f, "y");
  }
  return c;
}

TEST(Chain, RingsDoNotGrowWithDepth) {
  for (auto [n, threads, rows, dilation] :
       {std::array<int64_t, 4>{3, 1, 1, 1}, {4, 2, 1, 1}, {5, 2, 3, 1}, {3, 2, 2, 2}}) {
    Case c = deep(23, 9, static_cast<int>(n), threads, rows, dilation);
    std::string what =
        fmt::format("{} filters, {} threads, {} rows, dilation {}", n, threads, rows, dilation);
    expect_same(c, what);
    Function f = lowered(c.schedule);
    for (const Buffer& buffer : f.buffers) {
      if (buffer.scope == Scope::Param) continue;
      // The ring of filter i is as wide as what the filters after it reach.
      int64_t i = buffer.name[1] - '0', width = 9 + 2 * dilation;
      EXPECT_EQ(buffer.size, (rows + 2 * dilation) * width) << what << ", filter " << i;
    }
  }
}

// One producer, two consumers with different windows.
Case diamond(int64_t H, int64_t W, bool fused) {
  GroupBuilder b("diamond");
  StageId x = b.input("X", F, {{"y", H}, {"x", W}});
  StageId a = b.compute("A", F, {{"y", H}, {"x", W}},
                        [&](AxisVars v) { return max(b.at(x, {v[0], v[1]}), constant(0.0, F)); });
  StageId n = box3(b, "B", a, H, W);
  b.output(b.compute("C", F, {{"y", H}, {"x", W}}, [&](AxisVars v) {
    return b.at(a, {v[0], v[1]}) * constant(2.0, F) + b.at(n, {v[0], v[1]});
  }));
  Case c(b.group());
  Schedule& s = c.schedule;
  if (fused) {
    std::string f = s.fuse("C", "y", "x");
    s.compute_at("B", "C", f);
    s.parallel("C", f);
  } else {
    for (const char* t : {"A", "B"}) {
      s.compute_at(t, "C", "y");
      s.store_root(t);
    }
    s.fold_storage("A", "y");
  }
  return c;
}

TEST(Chain, TwoConsumers) {
  expect_same(diamond(11, 7, false), "rolling");
  expect_same(diamond(11, 7, true), "fused loops");
}

TEST(Chain, TraceReplaysOnOtherShapes) {
  Schedule first = chain::schedule(chain::group({17, 19, 24, 48, 24, 1}), {});
  StageGroup other = chain::group({29, 21, 16, 64, 40, 2});
  Case c(other);
  auto done = c.schedule.replay(first.to_text());
  ASSERT_TRUE(done.ok()) << done.reason();
  expect_same(c, "29x21 16-64-40 stride 2");
  Schedule again(chain::group({17, 19, 24, 48, 24, 1}));
  ASSERT_TRUE(again.replay(first.to_text()).ok());
  EXPECT_EQ(again.to_text(), first.to_text());
  EXPECT_EQ(to_text(lowered(again)), to_text(lowered(first)));
}

// The ring computes each expanded row once, plus kh - stride rows where a second thread's strip
// begins.
TEST(Chain, NoRowIsComputedTwiceInAThread) {
  for (auto [H, stride, R, T] : {std::array<int64_t, 4>{16, 1, 2, 1},
                                 {16, 1, 2, 2},
                                 {17, 1, 4, 2},
                                 {16, 2, 2, 2},
                                 {17, 2, 1, 2}}) {
    Case c = chain_case({H, 12, 16, 32, 16, stride}, {.rows = R, .threads = T});
    int64_t rows_out = (H - 1) / stride + 1, columns = 11 / stride + 1,
            strip = ceil_div(rows_out, T), rows = 0;
    for (int64_t t = 0; t < T; ++t)
      rows += stride * (std::min(rows_out, strip * (t + 1)) - 1 - strip * t) + 3;
    EXPECT_EQ(count_stores(lowered(c.schedule), "E"), rows * (stride * (columns - 1) + 3) * 32)
        << "H " << H << " stride " << stride << " rows " << R << " threads " << T;
  }
}

TEST(Chain, RandomShapesAndTiles) {
  std::mt19937_64 random(seed());
  auto pick = [&](std::initializer_list<int64_t> of) { return of.begin()[random() % of.size()]; };
  for (int i = 0; i < 12; ++i) {
    int64_t H = pick({5, 9, 17, 22}), W = pick({4, 11, 19, 30}), ci = pick({3, 16, 24}),
            ce = pick({8, 24, 40, 64});
    int64_t co = pick({8, 16, 24, 40}), stride = pick({1, 2}), R = pick({1, 2, 3, 4}),
            T = pick({1, 2, 3}), M = pick({4, 6, 8});
    expect_same(chain_case({H, W, ci, ce, co, stride}, {R, T, M, M}),
                fmt::format("{}x{} {}-{}-{} stride {} rows {} threads {} columns {}", H, W, ci, ce,
                            co, stride, R, T, M));
  }
}

}  // namespace
}  // namespace burnish::schedule_test
