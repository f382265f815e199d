// Kernels of the CUDA dialect against the interpreter.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

#include "cuda/kernels.h"
#include "loop/interpreter.h"
#include "schedule/blocks.h"
#include "target/cuda/tiles.h"
#include "target/groups.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::Precision;
using schedule_test::Case;

StageGroup conv(const target_test::Conv& c) {
  GroupBuilder b("conv");
  b.output(target_test::conv(b, "O", target_test::image(b, c.in, c.height, c.width), c));
  return b.group();
}

TEST_P(Kernels, MatrixProducts) {
  expect_right(schedule_test::block_matmul(64, 64, 32), "whole tiles");
  expect_right(schedule_test::block_matmul(37, 52, 20), "tails");
  expect_right(schedule_test::block_matmul(37, 51, 19), "odd tails");
}

// Copies that a thread has started arrive when it waits for them: one barrier an iteration is enough, and none too early.
TEST_P(Kernels, MultiBuffers) {
  for (const int64_t slots : {2, 3, 4, 5}) {
    expect_right(schedule_test::block_matmul(64, 64, 32, {.slots = slots}), fmt::format("whole tiles, {} slots", slots));
    expect_right(schedule_test::block_matmul(37, 52, 20, {.slots = slots}), fmt::format("tails, {} slots", slots));
    expect_right(schedule_test::block_matmul(37, 51, 67, {.slots = slots}), fmt::format("odd tails, {} slots", slots));
  }
}

// A count of groups that waits for one less reads what is not there yet.
TEST_P(Kernels, CopiesInFlight) {
  const auto source = [](int64_t slots) {
    return c_like::kernels_of(*lower(schedule_test::block_matmul(64, 64, 64, {.slots = slots}).schedule), cuda_target::dialect())[0].source;
  };
  EXPECT_EQ(source(2).find("group_copies"), std::string::npos);
  EXPECT_NE(source(3).find("wait_for_copies<1>();"), std::string::npos);
  EXPECT_NE(source(4).find("wait_for_copies<2>();"), std::string::npos);
  if (GetParam() != On::Emulation) return;
  Function f = *lower(schedule_test::block_matmul(64, 64, 64, {.slots = 4}).schedule);
  f.body = rewrite(f.body, [](const Stmt& s) {
    if (s.kind() != StmtKind::For || s->loop.in_flight < 0) return Stmt();
    ForStmt l = s->loop;
    ++l.in_flight;
    return make_for(l, s.children()[0]);
  });
  std::vector<std::vector<float>> memory;
  std::vector<void*> args;
  for (BufferId b : f.params) memory.emplace_back(static_cast<size_t>(f.buffers[b].size), 1.0f);
  for (auto& m : memory) args.push_back(m.data());
  ASSERT_TRUE(run_function(GetParam(), f, Precision::Strict, args, false));
  EXPECT_TRUE(std::ranges::any_of(memory.back(), [](float x) { return x != 65; }));
}

TEST_P(Kernels, MatrixInstructions) {
  for (const Precision p : {Precision::Strict, Precision::Tf32}) {
    expect_right(schedule_test::tensor_matmul(64, 16, 16, 8), "whole tiles", p);
    expect_right(schedule_test::tensor_matmul(67, 21, 32, 16), "tails", p);
  }
  for (const Precision p : {Precision::Fp16, Precision::Bf16})
    for (const int64_t depth : {8, 16, 32})
      expect_right(schedule_test::tensor_matmul(67, 21, 64, depth), fmt::format("{} halves deep", depth), p);
}

TEST_P(Kernels, DefaultSchedules) {
  for (const auto& c : {target_test::Conv{.height = 9, .width = 11, .in = 24, .out = 40},
                        target_test::Conv{.height = 10, .width = 13, .in = 16, .out = 24, .kernel = 3, .stride = 2}}) {
    const StageGroup g = conv(c);
    expect_right(Case(g, cuda_target::default_schedule(g, {})), fmt::format("{} x {} convolution", c.kernel, c.kernel));
  }
}

// Parts of the reduction to warps, operands loaded ahead.
TEST_P(Kernels, TilesOfMatrixInstructions) {
  for (const int kernel : {1, 3}) {
    const StageGroup g = conv({.height = 5, .width = 11, .in = 64, .out = 48, .kernel = kernel});
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    for (const cuda_target::MatrixTile& t : {cuda_target::MatrixTile{1, 2, 1, 1, 4, 0}, {2, 3, 1, 2, 1, 1}, {1, 3, 2, 1, 2, 2}, {1, 6, 1, 1, 8, 0}, {1, 2, 1, 2, 1, 4}}) {
      Schedule x = s;
      ASSERT_TRUE(cuda_target::by_matrix(x, *roles, t, {}));
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        expect_right(Case(g, x), fmt::format("{} x {}, {} parts, {} steps ahead", kernel, kernel, t.warps_k, t.ahead), p);
      }
    }
  }
}

struct Window {
  int64_t in, out, height, width, kernel_y, kernel_x, stride, dilation, pad;
};

StageGroup window_sum(const Window& w) {
  GroupBuilder b("window");
  const auto size = [&](int64_t n, int64_t kernel) { return (n + 2 * w.pad - w.dilation * (kernel - 1) - 1) / w.stride + 1; };
  const StageId x = target_test::image(b, static_cast<int>(w.in), static_cast<int>(w.height), static_cast<int>(w.width), {});
  const StageId f = b.constant("W", DType::F32, {{"c", w.out}, {"k", w.in}, {"ky", w.kernel_y}, {"kx", w.kernel_x}});
  const StageId o = b.reduce("O", DType::F32, {{"n", 1}, {"c", w.out}, {"y", size(w.height, w.kernel_y)}, {"x", size(w.width, w.kernel_x)}},
                             {{"k", w.in}, {"ky", w.kernel_y}, {"kx", w.kernel_x}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
                               return b.at(x, {a[0], r[0], a[2] * w.stride + r[1] * w.dilation - Aff(w.pad), a[3] * w.stride + r[2] * w.dilation - Aff(w.pad)},
                                           w.pad ? constant(0) : Expr{}) *
                                      b.at(f, {a[1], r[0], r[1], r[2]});
                             });
  b[o].layout = target_test::nhwc;
  b.output(o);
  return b.group();
}

Schedule flattened(const StageGroup& g, const cuda_target::MatrixTile& tile) {
  Schedule s(g);
  const auto roles = roles_of(s, s.group().outputs.back());
  s.flatten("O", 2, 4);
  EXPECT_TRUE(roles && !s.failure() && cuda_target::by_matrix(s, *roles, tile, {})) << s.to_text();
  return s;
}

// What is added to sums is asked for before them, or before the barrier behind them; not where threads would have other numbers, or where it may not be there.
TEST_P(Kernels, LoadsOfResultsComeFirst) {
  struct Stored {
    const char* what;
    const char* stores;  // of O, from T, X and W
    const char* first;   // a value that is held; nothing: none is
  };
  for (const auto& [what, stores, first] : {
           Stored{"a vector", "thread for t in 0..16 { vectorize for v in 0..4 { O[64*b + 4*t + v] = T[-4*t - v + 63] * W[4*t + v] + X[64*b + 4*t + v] } }", "X.held"},
           {"several vectors, some of which are not there",
            "for i in 0..min(4, -3*b + 4) { thread for t in 0..4 { vectorize for v in 0..4 { O[64*b + 16*i + 4*t + v] = T[16*i - 4*t - v + 15] + X[64*b + 16*i + 4*t + v] } } }", "X.held"},
           {"one for all", "thread for t in 0..16 { unroll for i in 0..4 { O[64*b + 16*i + t] = T[16*i + t] + W[t] } }", "W.held"},
           {"what is not there", "thread for t in 0..64 { O[64*b + t] = T[-t + 63] + select([-t + 30] >= 0, X[64*b + t], 0.0) }", ""},
           {"sums of neighbours", "thread for t in 0..32 { alloc S: register f32[1] { S[0] = 0.0 thread for u in 0..2 { S[0] = S[0] + T[2*t + u] } O[64*b + t] = S[0] + X[64*b + t] } }", ""},
           {"what the kernel writes", "thread for t in 0..64 { O[64*b + t] = T[-t + 63] + Q[64*b + t] }", ""},
           {"a place that is computed", "thread for t in 0..64 { let k = {(i64(T[-t + 63])) % 64} { O[64*b + t] = T[t] + W[k] } }", ""},
           {"an iteration that may not be there", "thread for t in 0..32 { unroll for i in 0..min(2, -b + 1) { O[64*b + 32*i + t] = T[32*i + t] + X[64*b + t + 33*b] } }", "X.held"},
           {"what is shared", "thread for t in 0..64 { O[64*b + t] = max(W[t], 0.0) * max(W[t], 0.0) + T[t] }", "W.held"}}) {
    const Function f = parse_function(fmt::format(R"(func f(X: param f32[128], W: param f32[64], Q: out f32[128], O: out f32[128]) {{
  parallel for b in 0..2 {{
    alloc T: thread f32[64] {{
      thread for s in 0..64 {{ T[s] = X[64*b + s] * 2.0 Q[64*b + s] = 1.0 }}
      barrier
      {}
    }}
  }}
}})", stores));
    verify(f);
    const std::string source = c_like::kernels_of(f, cuda_target::dialect()).at(0).source;
    const size_t held = source.find("_held_b");
    EXPECT_EQ(held != std::string::npos, *first != 0) << what << source;
    if (held != std::string::npos) {
      EXPECT_LT(source.find(fmt::format("{}_held", first[0]), source.find('{')), source.find("__syncthreads")) << what << source;
    }
    std::vector<std::vector<float>> wanted, got;
    for (BufferId b : f.params) wanted.emplace_back(static_cast<size_t>(f.buffers[b].size));
    for (size_t k = 0; k < 2; ++k)
      for (size_t i = 0; i < wanted[k].size(); ++i) wanted[k][i] = static_cast<float>((i * 7 + k) % 13);
    got = wanted;
    std::vector<void*> expected, args;
    for (auto& m : wanted) expected.push_back(m.data());
    for (auto& m : got) args.push_back(m.data());
    interpret(f, expected);
    ASSERT_TRUE(run_function(GetParam(), f, Precision::Strict, args, false)) << what;
    EXPECT_EQ(got.back(), wanted.back()) << what;
  }
}

// Threads of a warp beside the last result compute what is there for all, and do not store it: a branch would keep iterations apart.
TEST_P(Kernels, ThreadsBesideTheLastResultStoreNothing) {
  for (const int size : {64, 52}) {
    const Function f = parse_function(fmt::format(R"(func f(X: param f32[64], O: out f32[104]) {{
  parallel for b in 0..2 {{
    alloc T: thread f32[{0}] {{
      thread for t in 0..{0} {{ T[t] = X[t] }}
      barrier
      thread for g in 0..min(8, -8*b + 13) {{
        thread for u in 0..4 {{ unroll for i in 0..2 {{ O[64*b + 8*g + 2*u + i] = T[32*b + 4*g + u] * 2.0 }} }}
      }}
    }}
  }}
}})", size));
    verify(f);
    const std::string source = c_like::kernels_of(f, cuda_target::dialect()).at(0).source;
    const size_t loop = source.find("#pragma unroll"), condition = source.rfind("if (g");
    ASSERT_TRUE(loop != std::string::npos && condition != std::string::npos) << source;
    EXPECT_EQ(loop < condition, size == 64) << source;
    std::vector<float> x(64), wanted(104), got(104);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    interpret(f, std::vector<void*>{x.data(), wanted.data()});
    ASSERT_TRUE(run_function(GetParam(), f, Precision::Strict, {x.data(), got.data()}, false));
    EXPECT_EQ(got, wanted);
  }
}

// Of few channels: all reduce axes but the last as one, which is that of four threads.
TEST_P(Kernels, FlattenedWindows) {
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(random); };
  for (int i = 0; i < 6; ++i) {
    const Window w{any(1, 5), 8 * any(1, 4) - (i % 3 == 0 ? any(1, 3) : 0), any(9, 20), any(9, 30), any(1, 7), any(2, 7), any(1, 3), any(1, 2), any(0, 2)};
    if (w.dilation * (std::max(w.kernel_y, w.kernel_x) - 1) >= 9 + 2 * w.pad || w.in * w.kernel_y == 1) continue;
    const int64_t columns = any(1, std::min<int64_t>(3, ceil_div(w.out, int64_t{8})));
    const cuda_target::MatrixTile t{any(1, 2), columns, any(1, 2), w.out >= 16 * columns ? any(1, 2) : 1};
    const StageGroup g = window_sum(w);
    expect_right(Case(g, flattened(g, t)),
                 fmt::format("{} of {}x{}x{} by {}x{}, stride {}, dilation {}, padding {}, {} x {} tiles", w.out, w.in, w.height, w.width, w.kernel_y,
                             w.kernel_x, w.stride, w.dilation, w.pad, t.rows, t.columns),
                 static_cast<Precision>(i % 4));
  }
}

// What the terms that fill up a window would read is no part of its sum.
TEST_P(Kernels, NothingBesideAWindow) {
  for (const int64_t pad : {0, 1}) {
    const StageGroup g = window_sum({3, 16, 9, 21, 3, 3, 2, 1, pad});
    const Function plain = schedule_test::lowered(Schedule(g)), f = schedule_test::lowered(flattened(g, {1, 2, 2, 1}));
    std::vector<std::vector<float>> memory;
    for (BufferId b : f.params) memory.emplace_back(static_cast<size_t>(f.buffers[b].size), 1.0f);
    for (size_t k = 25; k < memory[0].size(); k += 61) memory[0][k] = k % 2 ? INFINITY : NAN;
    std::vector<void*> args;
    for (auto& m : memory) args.push_back(m.data());
    interpret(plain, args);
    const std::vector<float> expected = memory.back();
    ASSERT_TRUE(run_function(GetParam(), f, Precision::Strict, args, false));
    for (size_t k = 0; k < expected.size(); ++k) EXPECT_EQ(std::isfinite(memory.back()[k]), std::isfinite(expected[k])) << k;
    EXPECT_TRUE(std::ranges::any_of(expected, [](float x) { return std::isfinite(x); }));
  }
}

// Transposed: every so many rows and columns have the same weights.
TEST_P(Kernels, Phases) {
  std::mt19937_64 random(schedule_test::seed());
  const auto any = [&](int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(random); };
  for (int i = 0; i < 6; ++i) {
    const int64_t stride = any(2, 3), taps = any(1, 2), pad = any(0, stride - 1), in = 8 * any(1, 3), out = 8 * any(1, 3);
    const int64_t height = any(1, 7), width = any(3, 20), high = i == 0 ? 1 : stride * (height + taps - 1) - any(0, 2), wide = stride * (width + taps - 1) - any(0, 2);
    GroupBuilder b("transposed");
    const StageId x = target_test::image(b, static_cast<int>(in), static_cast<int>(height), static_cast<int>(width));
    const StageId w = b.constant("W", DType::F32, {{"k", in}, {"c", out}, {"ky", stride * taps}, {"kx", stride * taps}});
    const StageId acc = b.reduce("O.acc", DType::F32, {{"n", 1}, {"c", out}, {"y", high}, {"x", wide}}, {{"k", in}, {"ky", taps}, {"kx", taps}}, Combine::Sum,
                                 [&](AxisVars a, AxisVars r) {
                                   const auto from = [&](const Aff& at, const Aff& tap) {
                                     Index index(-tap);
                                     index.atoms.push_back({at + Aff(pad), {}, stride, 0, 1});
                                     return index;
                                   };
                                   const auto weight = [&](const Aff& at, const Aff& tap) {
                                     Index index(tap * stride);
                                     index.atoms.push_back({at + Aff(pad), {}, 1, stride, 1});
                                     return index;
                                   };
                                   return b.at(x, {a[0], r[0], from(a[2], r[1]), from(a[3], r[2])}, constant(0)) *
                                          b.at(w, {r[0], a[1], weight(a[2], r[1]), weight(a[3], r[2])});
                                 });
    const StageId o = b.compute("O", DType::F32, {{"n", 1}, {"c", out}, {"y", high}, {"x", wide}},
                                [&](AxisVars a) { return max(b.at(acc, target_test::at(a)), constant(0)); });
    b[o].layout = target_test::nhwc;
    b.output(o);
    const StageGroup g = b.group();
    const std::string what = fmt::format("{}x{}x{} to {}x{}x{} by {}, {} taps, padding {}", in, height, width, out, high, wide, stride, taps, pad);
    Schedule s(g);
    const auto roles = roles_of(s, s.group().outputs.back());
    const int64_t columns = any(1, std::min<int64_t>(2, out / 8));
    const cuda_target::MatrixTile t{any(1, 2), columns, any(1, 2), out >= 16 * columns ? any(1, 2) : 1};
    ASSERT_TRUE(roles && cuda_target::by_matrix(s, *roles, t, {})) << what;
    expect_right(Case(g, s), what, static_cast<Precision>(i % 4));
    Schedule best(g);
    const auto tiles = cuda_target::matrix_tiles(best, *roles, {});
    ASSERT_TRUE(!tiles.empty() && cuda_target::by_matrix(best, *roles, tiles.front(), {})) << what;
    schedule_test::expect_same(Case(g, best), what);
  }
}

// Data in the block's memory, chunk by chunk: of images with the halo of filters, of rows; one chunk, and several.
TEST_P(Kernels, StagedTiles) {
  for (const StageGroup& g : {conv({.height = 9, .width = 11, .in = 48, .out = 24, .kernel = 3}), conv({.height = 11, .width = 19, .in = 48, .out = 40, .kernel = 3, .stride = 2}),
                              conv({.height = 5, .width = 13, .in = 48, .out = 21}), target_test::product(45, 24, 96)}) {
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    for (const cuda_target::MatrixTile& t : {cuda_target::MatrixTile{.rows = 1, .columns = 1, .warps_m = 2, .warps_n = 1, .staged = 16}, {.rows = 2, .columns = 3, .warps_m = 2, .warps_n = 1, .staged = 24},
                                             {.rows = 1, .columns = 2, .warps_m = 1, .warps_n = 2, .staged = 48},
                                             {.rows = 1, .columns = 1, .warps_m = 2, .warps_n = 1, .ahead = 3, .staged = 24},
                                             {.rows = 1, .columns = 2, .warps_m = 1, .warps_n = 2, .ahead = 1, .staged = 48}}) {
      const Precision p = t.staged == 48 ? t.ahead ? Precision::Bf16 : Precision::Fp16 : t.ahead ? Precision::Tf32 : Precision::Strict;
      Schedule x = s;
      ASSERT_TRUE(cuda_target::by_matrix(x, *roles, t, {}));
      ASSERT_NE(x.to_text().find("multi_buffer"), std::string::npos);
      expect_right(Case(g, x), fmt::format("{} x {} tiles, {} channels staged, {} steps ahead", t.rows, t.columns, t.staged, t.ahead), p);
    }
  }
}

// Of channels-last images, or, of filters of 0, a product of `width` rows.
StageGroup stored(const target_test::Conv& c, DType storage, std::optional<DType> data = {}, std::optional<DType> weights = {}, int images = 1) {
  GroupBuilder b("stored");
  const DType of_x = data.value_or(storage), of_w = weights.value_or(storage);
  const auto as = [](DType t, const Expr& e) { return e.dtype() == t ? e : cast(t, e); };
  if (c.kernel == 0) {
    const StageId x = b.input("X", of_x, {{"m", c.width}, {"k", c.in}}), w = b.constant("W", of_w, {{"k", c.in}, {"n", c.out}});
    const StageId acc = b.reduce("O.acc", DType::F32, {{"m", c.width}, {"n", c.out}}, {{"k", c.in}}, Combine::Sum,
                                 [&](AxisVars a, AxisVars r) { return f32(b.at(x, {a[0], r[0]})) * f32(b.at(w, {r[0], a[1]})); });
    b.output(b.compute("O", storage, {{"m", c.width}, {"n", c.out}}, [&](AxisVars a) { return as(storage, b.at(acc, {a[0], a[1]})); }));
    return b.group();
  }
  const int pad = c.kernel / 2, height = (c.height - 1) / c.stride + 1, width = (c.width - 1) / c.stride + 1;
  const StageId x = b.input("X", of_x, {{"n", images}, {"c", c.in}, {"y", c.height}, {"x", c.width}}, target_test::nhwc);
  const StageId w = b.constant("W", of_w, {{"c", c.out}, {"k", c.in}, {"ky", c.kernel}, {"kx", c.kernel}});
  const std::vector<NamedExtent> axes = {{"n", images}, {"c", c.out}, {"y", height}, {"x", width}};
  const StageId acc = b.reduce("O.acc", DType::F32, axes, {{"k", c.in}, {"ky", c.kernel}, {"kx", c.kernel}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
    return f32(b.at(x, {a[0], r[0], a[2] * c.stride + r[1] - Aff(pad), a[3] * c.stride + r[2] - Aff(pad)}, pad ? constant(0, of_x) : Expr{})) *
           f32(b.at(w, {a[1], r[0], r[1], r[2]}));
  });
  const StageId o = b.compute("O", storage, axes, [&](AxisVars a) { return as(storage, max(b.at(acc, target_test::at(a)), constant(0))); });
  b[o].layout = target_test::nhwc;
  b.output(o);
  return b.group();
}

// Products that start from a bias, as Gemm's do, and 1x1 convolutions of several images, whose points are one axis: by matrix instructions.
TEST_P(Kernels, ProductsByDefault) {
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16}) {
    const cuda_target::Device d = device(p);
    GroupBuilder b("gemm");
    const StageId x = b.input("X", d.storage, {{"m", 16}, {"k", 512}}), w = b.constant("W", d.storage, {{"k", 512}, {"n", 40}});
    const StageId bias = b.constant("B", DType::F32, {{"n", 40}});
    b.output(b.reduce("O", DType::F32, {{"m", 16}, {"n", 40}}, {{"k", 512}}, Combine::Sum,
                      [&](AxisVars a, AxisVars r) { return f32(b.at(x, {a[0], r[0]})) * f32(b.at(w, {r[0], a[1]})); },
                      [&](AxisVars a) { return b.at(bias, {a[1]}); }));
    for (const StageGroup& g : {b.group(), stored({.height = 7, .width = 7, .in = 64, .out = 40}, d.storage, {}, {}, 5)}) {
      const Schedule s = cuda_target::default_schedule(g, d);
      EXPECT_NE(s.to_text().find("tensorize"), std::string::npos) << s.to_text();
      EXPECT_EQ(s.to_text().find("join_axes(O, n, x)") != std::string::npos, g.name == "stored") << s.to_text();
      expect_right(Case(g, s), fmt::format("{}, precision {}", g.name, int(p)), p);
    }
  }
}

// Large products of many images are instructions of four warps by default, small ones are not. Blocks that take a multiprocessor's memory share
// no launch.
TEST(Cuda, LargeProducts) {
  for (const Precision p : {Precision::Tf32, Precision::Fp16}) {
    const cuda_target::Device d = device(p);
    const DType factors = p == Precision::Tf32 ? DType::TF32 : d.storage;
    const auto of = [&](const target_test::Conv& c, int images) { return schedule_test::lowered(cuda_target::default_schedule(stored(c, d.storage, factors, factors, images), d)); };
    const auto by_groups = [&](const Function& f) { return c_like::kernels_of(f, cuda_target::dialect(p)).at(0).source.find("warpgroup_sum_") != std::string::npos; };
    const Function large = of({.height = 14, .width = 14, .in = 256, .out = 256, .kernel = 3}, 16), small = of({.height = 14, .width = 14, .in = 32, .out = 16}, 1);
    EXPECT_TRUE(by_groups(large));
    EXPECT_FALSE(by_groups(small));
    const Function* const two_large[] = {&large, &large};
    const Function* const two_small[] = {&small, &small};
    EXPECT_FALSE(cuda_target::prefers_one_launch(two_large, d));
    EXPECT_TRUE(cuda_target::prefers_one_launch(two_small, d));
    // GPUs without them.
    cuda_target::Device older = d;
    older.sm = 80;
    const Function plain = schedule_test::lowered(cuda_target::default_schedule(stored({.height = 14, .width = 14, .in = 256, .out = 256, .kernel = 3}, d.storage, factors, factors, 16), older));
    EXPECT_TRUE(std::ranges::none_of(plain.buffers, [](const Buffer& b) { return b.swizzle > 0; }));
  }
}

// The same by instructions of four warps: images with the halo of filters, rows, edges; one group and several, along points and channels.
class WarpgroupTiles : public Kernels {
 protected:
  void expect_all_right(Precision p) const;
};
BURNISH_ON_MACHINES(WarpgroupTiles);
TEST_P(WarpgroupTiles, Tf32) { expect_all_right(Precision::Tf32); }
TEST_P(WarpgroupTiles, Fp16) { expect_all_right(Precision::Fp16); }
TEST_P(WarpgroupTiles, Bf16) { expect_all_right(Precision::Bf16); }

void WarpgroupTiles::expect_all_right(Precision p) const {
  const cuda_target::Device d = device(p);
  const std::vector<target_test::Conv> shapes = {{.height = 1, .width = 75, .in = 128, .out = 96, .kernel = 0},
                                                 {.height = 11, .width = 13, .in = 64, .out = 64, .kernel = 3},
                                                 {.height = 19, .width = 21, .in = 64, .out = 32, .kernel = 3, .stride = 2},
                                                 {.height = 5, .width = 13, .in = 128, .out = 48}};
  const cuda_target::MatrixTile tiles[] = {{.rows = 1, .columns = 2, .warps_m = 4, .warps_n = 1, .staged = 32, .stages = 2, .weights = true, .warpgroups = true},
                                           {.rows = 1, .columns = 2, .warps_m = 8, .warps_n = 1, .staged = 16, .stages = 3, .weights = true, .warpgroups = true},
                                           {.rows = 1, .columns = 1, .warps_m = 4, .warps_n = 2, .staged = 64, .stages = 2, .weights = true, .warpgroups = true},
                                           {.rows = 1, .columns = 2, .warps_m = 4, .warps_n = 2, .staged = 8, .stages = 4, .weights = true, .warpgroups = true}};
  for (size_t i = 0; i < shapes.size(); ++i) {
    // Floats that are rounded already where strides are; the others are rounded on their way.
    const bool rounded = p == Precision::Tf32 && shapes[i].stride > 1;
    const DType weights = p == Precision::Tf32 ? DType::TF32 : d.storage;
    const StageGroup g = stored(shapes[i], d.storage, rounded ? DType::TF32 : d.storage, weights);
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    for (const cuda_target::MatrixTile& t : tiles) {
      Schedule x = s;
      const int64_t row = t.staged * size_of(d.storage);
      const bool fits = is_swizzle(row) && shapes[i].out % (8 * t.columns * t.warps_n) == 0;
      const std::string what = fmt::format("{} from {} by {}, {} columns of {} x {} warps, {} channels in {} stages, precision {}", shapes[i].out, shapes[i].in,
                                           shapes[i].kernel, t.columns, t.warps_m, t.warps_n, t.staged, t.stages, int(p));
      ASSERT_EQ(cuda_target::by_matrix(x, *roles, t, d), fits) << what;
      if (!fits) continue;
      EXPECT_NE(x.to_text().find(fmt::format("swizzle(X.cached, {})", row)), std::string::npos) << x.to_text();
      const std::string source = c_like::kernels_of(schedule_test::lowered(x), cuda_target::dialect(p))[0].source;
      EXPECT_NE(source.find(fmt::format("warpgroup_sum_{}_{}(", 8 * t.columns, row)), std::string::npos) << what << source;
      EXPECT_EQ(source.find("load_tiles"), std::string::npos) << what << source;
      EXPECT_EQ(source.find("nearly_tf32(") != std::string::npos, p == Precision::Tf32 && !rounded && t.staged < shapes[i].in) << what << source;
      expect_right(Case(g, x), what, p);
      // For GPUs without them the same schedule has instructions of each warp.
      const std::string of_warps = c_like::kernels_of(schedule_test::lowered(x), cuda_target::dialect(p, 0))[0].source;
      EXPECT_EQ(of_warps.find("warpgroup"), std::string::npos) << what << of_warps;
      EXPECT_NE(of_warps.find(p == Precision::Tf32 ? "sum_tf32(" : p == Precision::Fp16 ? "sum_f16(" : "sum_bf16("), std::string::npos) << what << of_warps;
    }
  }
}

// Both operands in the block's memory, chunks of them on their way there.
TEST_P(Kernels, PipelinedTiles) {
  const std::vector<target_test::Conv> shapes = {{.height = 1, .width = 45, .in = 192, .out = 96, .kernel = 0},
                                                 {.height = 9, .width = 11, .in = 96, .out = 48, .kernel = 3},
                                                 {.height = 5, .width = 13, .in = 160, .out = 96},
                                                 {.height = 11, .width = 19, .in = 32, .out = 48, .kernel = 3, .stride = 2}};
  const cuda_target::MatrixTile tiles[] = {{.rows = 1, .columns = 2, .warps_m = 2, .warps_n = 1, .staged = 32, .stages = 2, .weights = true},
                                           {.rows = 2, .columns = 3, .warps_m = 1, .warps_n = 2, .staged = 32, .stages = 3, .weights = true},
                                           {.rows = 4, .columns = 6, .warps_m = 1, .warps_n = 1, .staged = 32, .stages = 4, .weights = true},
                                           {.rows = 2, .columns = 2, .warps_m = 2, .warps_n = 1, .staged = 16, .stages = 3, .weights = true},
                                           {.rows = 1, .columns = 3, .warps_m = 1, .warps_n = 2, .staged = 16, .stages = 4}};
  for (size_t i = 0; i < shapes.size(); ++i) {
    for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
      const cuda_target::Device d = device(p);
      const StageGroup g = stored(shapes[i], d.storage);
      Schedule s(g);
      inline_cheap(s);
      const auto roles = roles_of(s, s.group().outputs.back());
      ASSERT_TRUE(roles);
      for (size_t k = 0; k < std::size(tiles); ++k) {
        if ((k + static_cast<size_t>(p)) % shapes.size() != i) continue;  // each tile once of a precision
        const cuda_target::MatrixTile& t = tiles[k];
        Schedule x = s;
        const std::string what = fmt::format("{} from {} by {}, tiles {} x {}, {} channels in {} stages{}, precision {}", shapes[i].out, shapes[i].in,
                                             shapes[i].kernel, t.rows, t.columns, t.staged, t.stages, t.weights ? " with weights" : "", int(p));
        ASSERT_TRUE(cuda_target::by_matrix(x, *roles, t, d)) << what;
        ASSERT_NE(x.to_text().find(fmt::format("multi_buffer(X.cached, {})", t.stages)), std::string::npos);
        const std::string source = c_like::kernels_of(schedule_test::lowered(x), cuda_target::dialect(p))[0].source;
        const auto count = [&](std::string_view text) {
          size_t n = 0;
          for (size_t at = 0; (at = source.find(text, at)) != std::string::npos; ++at) ++n;
          return n;
        };
        // Of both operands a warp loads tiles; all copies are of 16 bytes.
        EXPECT_GE(count("load_tiles"), t.weights ? 2u : 1u) << what << source;
        EXPECT_EQ(count("copy_async<"), count("copy_async<16>")) << what << source;
        const int64_t slots = std::min<int64_t>(t.stages, shapes[i].in / t.staged);
        EXPECT_EQ(count(fmt::format("wait_for_copies<{}>", slots - 2)), slots > 2 ? 1u : 0u) << what << source;
        expect_right(Case(g, x), what, p);
      }
    }
  }
}

// What another kernel writes may be read once that has ended, and not before: compilers are told of constants alone that nobody writes them.
// Small kernels copy these while they wait.
TEST_P(Kernels, DataIsReadBehindTheWait) {
  const auto at = [](const std::string& text, std::string_view what) { return text.find(what); };
  const auto source = [&](const StageGroup& g) {
    return c_like::kernels_of(*lower(cuda_target::default_schedule(g, {})), cuda_target::dialect()).at(0).source;
  };
  const std::string product = source(stored({.height = 9, .width = 11, .in = 32, .out = 24, .kernel = 3}, DType::F32));
  EXPECT_NE(at(product, "const float* __restrict__ W_"), std::string::npos) << product;
  EXPECT_EQ(at(product, "__restrict__ X_"), std::string::npos) << product;
  EXPECT_NE(at(product, "float* __restrict__ O_"), std::string::npos) << product;
  EXPECT_EQ(at(product, "constant_where(t"), at(product, "constant_where(")) << product;
  const std::string squeeze = source(target_test::squeeze(64, 16, 12, 12));
  const size_t wait = at(squeeze, "wait_for_kernels_before();");
  ASSERT_NE(wait, std::string::npos) << squeeze;
  EXPECT_LT(at(squeeze, "copy_async"), wait) << squeeze;
  EXPECT_GT(at(squeeze, "X_b0 +"), wait) << squeeze;
  EXPECT_EQ(squeeze.find("wait_for_kernels_before();", wait + 1), std::string::npos) << squeeze;
}

// Tensors of bf16: its numbers are those of products in TF32, and arithmetic is that of f32.
TEST_P(Kernels, BfloatTensors) {
  const std::vector<target_test::Conv> shapes = {{.height = 1, .width = 45, .in = 64, .out = 40, .kernel = 0},
                                                 {.height = 9, .width = 11, .in = 32, .out = 24, .kernel = 3},
                                                 {.height = 7, .width = 6, .in = 5, .out = 3, .kernel = 3, .stride = 2}};
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
    const cuda_target::Device d = device(p);
    for (const target_test::Conv& c : shapes) {
      const StageGroup g = stored(c, DType::BF16);
      expect_right(Case(g, cuda_target::default_schedule(g, d)), fmt::format("{} from {} by {}, precision {}", c.out, c.in, c.kernel, int(p)), p);
    }
  }
  GroupBuilder b("elementwise");
  const std::vector<NamedExtent> axes = {{"y", 7}, {"x", 33}};
  const StageId x = b.input("X", DType::BF16, axes), y = b.input("Y", DType::BF16, axes);
  const auto f32 = [&](StageId s, AxisVars a) { return cast(DType::F32, b.at(s, {a[0], a[1]})); };
  b.output(b.compute("O", DType::BF16, axes, [&](AxisVars a) {
    return max(b.at(x, {a[0], a[1]}) * b.at(y, {a[0], a[1]}), cast(DType::BF16, f32(x, a) + f32(y, a))) + constant(0.25, DType::BF16);
  }));
  expect_right(Case(b.group(), cuda_target::default_schedule(b.group(), {})), "elementwise");
}

// Channels that do not come out even, and weights that are no constants, are not staged.
TEST_P(Kernels, WeightsThatAreNotStaged) {
  const cuda_target::MatrixTile t{.rows = 1, .columns = 2, .warps_m = 2, .warps_n = 1, .staged = 32, .stages = 3, .weights = true};
  for (const StageGroup& g : {stored({.height = 1, .width = 45, .in = 64, .out = 40, .kernel = 0}, DType::F32),
                              stored({.height = 1, .width = 45, .in = 80, .out = 48, .kernel = 0}, DType::F32)}) {
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    const std::string before = s.to_text();
    EXPECT_FALSE(cuda_target::by_matrix(s, *roles, t, {}));
    EXPECT_EQ(s.to_text(), before);
  }
}

// Parts of the reduction to blocks, which add them up as clusters; or, where GPUs have none, in a second kernel, or the last block of a tile does.
TEST_P(Kernels, SplitProducts) {
  for (const int kernel : {1, 3}) {
    const StageGroup g = conv({.height = 5, .width = 11, .in = 64, .out = 64, .kernel = kernel});
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    ASSERT_TRUE(roles);
    for (const cuda_target::SplitTile& t : {cuda_target::SplitTile{2, {1, 2, 1, 2}}, {4, {1, 1, 2, 1, 2}},
                                            {2, {.rows = 1, .columns = 4, .warps_m = 1, .warps_n = 2, .staged = 16, .stages = 2, .weights = true}}}) {
      Schedule x = s;
      ASSERT_TRUE(cuda_target::by_split(x, *roles, t, {}));
      const Function f = schedule_test::lowered(x);
      const auto kernels = c_like::kernels_of(f, cuda_target::dialect());
      ASSERT_EQ(kernels.size(), 1u) << to_text(f) << x.to_text();
      EXPECT_EQ(kernels[0].cluster, t.parts);
      EXPECT_EQ(c_like::kernels_of(f, cuda_target::dialect(Precision::Strict, 0)).size(), 2u);
      expect_right(Case(g, x), fmt::format("{} x {}, {} parts", kernel, kernel, t.parts));
      Schedule two = s;
      ASSERT_TRUE(cuda_target::by_split(two, *roles, t, {.sm = 80}));
      EXPECT_EQ(c_like::kernels_of(schedule_test::lowered(two), cuda_target::dialect(Precision::Strict, 0)).size(), 2u) << two.to_text();
      expect_right(Case(g, two), fmt::format("{} x {}, {} parts, two kernels", kernel, kernel, t.parts), Precision::Strict, 0);
      Schedule last = s;
      cuda_target::SplitTile alone = t;
      alone.last = true;
      ASSERT_TRUE(cuda_target::by_split(last, *roles, alone, {.sm = 80}));
      const auto one = c_like::kernels_of(schedule_test::lowered(last), cuda_target::dialect(Precision::Strict, 0));
      ASSERT_EQ(one.size(), 1u) << last.to_text();
      EXPECT_EQ(one[0].cluster, 1);
      EXPECT_EQ(one[0].counters, kernels[0].blocks / t.parts);
      EXPECT_NE(one[0].source.find(fmt::format("last_of_group<{}>(counters)", t.parts)), std::string::npos) << one[0].source;
      EXPECT_EQ(c_like::kernels_of(schedule_test::lowered(last), cuda_target::dialect()).size(), 2u);
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        if (p != Precision::Strict && kernel > 1) continue;
        expect_right(Case(g, last), fmt::format("{} x {}, {} parts, the last", kernel, kernel, t.parts), p, 0);
      }
    }
  }
}

// Expansion, depthwise convolution and projection by matrix instructions in one kernel; several blocks in both directions.
TEST_P(Kernels, ChainsByMatrixInstructions) {
  using cuda_target::ChainTile;
  for (const int stride : {1, 2}) {
    for (const ChainTile& t : {ChainTile{.columns = 6, .expand_n = 1},
                               ChainTile{.columns = 6, .warps_y = 2, .warps_x = 3, .expand_y = 2, .expand_rows = 4},
                               ChainTile{.columns = 7, .warps_k = 2, .expand_n = 1, .rows = 2}}) {
      const StageGroup g = target_test::chain(21, 19, stride, 24, 96);
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, t, {}));
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        expect_right(Case(g, s), fmt::format("stride {}, {} threads", stride, t.threads()), p);
      }
    }
  }
}

// Blocks inside of the image have loops of their own, which do not ask what lies outside.
TEST_P(Kernels, BlocksInsideOfImages) {
  using cuda_target::ChainTile;
  for (const auto& [t, p] : {std::pair{ChainTile{.columns = 6, .expand_n = 1, .weights = 1}, Precision::Fp16},
                             {ChainTile{.columns = 6, .expand_n = 1, .weights = 1}, Precision::Bf16},
                             {ChainTile{.columns = 4, .warps_k = 2, .chunk = 32, .rows = 2, .groups = 7}, Precision::Fp16}}) {
    const cuda_target::Device halves = device(p);
    const StageGroup g = target_test::chain(50, 22, 1, 24, 96, 1, halves.storage);
    Schedule s(g);
    inline_cheap(s);
    ASSERT_TRUE(cuda_target::by_chain(s, t, halves));
    const auto kernels = c_like::kernels_of(schedule_test::lowered(s), cuda_target::dialect(p));
    ASSERT_EQ(kernels.size(), 1u);
    const std::string& source = kernels[0].source;
    const size_t otherwise = source.find("} else {");
    ASSERT_NE(otherwise, std::string::npos) << source;
    EXPECT_EQ(source.rfind(" : 0x0u", otherwise), std::string::npos) << source;
    EXPECT_NE(source.find(" : 0x0u", otherwise), std::string::npos) << source;
    EXPECT_EQ(source.find("relu_pair_of_bf16(") != std::string::npos, p == Precision::Bf16) << source;
    expect_right(Case(g, s), fmt::format("{} columns", t.columns), p);
  }
}

// Without a projection a block has any rectangle and any eights of channels.
TEST_P(Kernels, ChainsWithoutProjections) {
  using cuda_target::ChainTile;
  for (const int stride : {1, 2}) {
    for (const ChainTile& t : {ChainTile{.columns = 7, .chunk = 24, .tall = 5}, ChainTile{.columns = 4, .chunk = 48, .expand_y = 2, .expand_n = 3, .expand_rows = 4, .tall = 14},
                               ChainTile{.columns = 21, .chunk = 8, .tall = 1}}) {
      const StageGroup g = target_test::image_chain({.channels = 24, .height = 21, .width = 19, .filter = 1, .first_stride = 1, .stride = stride, .expanded = 48, .by_planes = false, .project = false});
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        const cuda_target::Device d = device(p);
        Schedule s(g);
        inline_cheap(s);
        ChainTile fits = t;
        fits.warps_x = ceil_div((t.columns - 1) * stride + 3, int64_t{8}) * t.expand_n * t.expand_y;
        ASSERT_TRUE(cuda_target::by_chain(s, fits, d)) << stride << ' ' << t.columns << ' ' << int(p);
        EXPECT_EQ(lower(s)->body.kind(), StmtKind::For);
        expect_right(Case(g, s), fmt::format("stride {}, {} x {}, {} channels", stride, t.tall, t.columns, t.chunk), p);
      }
    }
  }
  ChainTile with{.columns = 6, .expand_n = 1, .tall = 8};
  Schedule s(target_test::chain(21, 19, 1, 24, 96));
  inline_cheap(s);
  EXPECT_FALSE(cuda_target::by_chain(s, with, {})) << "a projection's tiles are of whole instructions";
}

// What is expanded stays in registers: threads get what they read of their neighbours' before instructions sum.
TEST_P(Kernels, ChainsInRegisters) {
  using cuda_target::ChainTile;
  const auto expect_chain = [this](int stride, const ChainTile& t, Precision p) {
    const cuda_target::Device d = device(p);
    const bool halves = d.halves();
    const StageGroup g = target_test::chain(17, 11, stride, 24, halves ? 96 : 48, 1, d.storage);
    Schedule s(g);
    inline_cheap(s);
    ASSERT_TRUE(cuda_target::by_chain(s, t, d));
    EXPECT_EQ(s.to_text().find("cache_read(X, E.acc, tf32)") != std::string::npos, p == Precision::Tf32);
    const auto kernels = c_like::kernels_of(schedule_test::lowered(s), cuda_target::dialect(p));
    ASSERT_EQ(kernels.size(), 1u);
    const std::string& source = kernels[0].source;
    EXPECT_NE(source.find("of_later_thread"), std::string::npos);
    EXPECT_EQ(source.find("load_tiles") != std::string::npos, p != Precision::Strict);
    EXPECT_EQ(source.find("relu_of_fma_of_pairs(") != std::string::npos, p == Precision::Fp16) << "what finishes a sum of halves";
    // Two halves share a register, also on their way.
    EXPECT_EQ(source.find("unsigned E_") != std::string::npos, halves) << source;
    for (const char* one : {"half E_", "bfloat16 E_"}) EXPECT_EQ(source.find(one), std::string::npos) << source;
    expect_right(Case(g, s), fmt::format("stride {}, {} threads", stride, t.threads()), p);
  };
  expect_chain(1, {.columns = 4, .chunk = 8, .rows = 2, .groups = 7}, Precision::Strict);
  expect_chain(1, {.columns = 5, .warps_k = 3, .chunk = 24, .weights = 2, .rows = 2, .groups = 7}, Precision::Tf32);
  expect_chain(2, {.columns = 6, .warps_k = 2, .chunk = 16, .groups = 7}, Precision::Strict);
  expect_chain(2, {.columns = 2, .chunk = 8, .weights = 1, .groups = 7}, Precision::Tf32);
  // Two instructions share what they read of the input.
  expect_chain(1, {.columns = 3, .warps_k = 3, .chunk = 48, .weights = 2, .rows = 2, .groups = 7}, Precision::Tf32);
  expect_chain(2, {.columns = 4, .chunk = 16, .groups = 7}, Precision::Strict);
  // Halves: steps of 8, of 16, of 32.
  expect_chain(1, {.columns = 4, .chunk = 8, .rows = 2, .groups = 7}, Precision::Fp16);
  expect_chain(1, {.columns = 5, .warps_k = 3, .chunk = 48, .weights = 2, .rows = 2, .groups = 7}, Precision::Fp16);
  expect_chain(2, {.columns = 6, .warps_k = 2, .chunk = 32, .weights = 1, .groups = 7}, Precision::Fp16);
  expect_chain(2, {.columns = 2, .chunk = 32, .groups = 7}, Precision::Fp16);
  expect_chain(1, {.columns = 5, .warps_k = 3, .chunk = 48, .weights = 2, .rows = 2, .groups = 7}, Precision::Bf16);
  expect_chain(2, {.columns = 4, .chunk = 8, .groups = 7}, Precision::Bf16);
}

// What a block's warps have summed lies over the data and weights that they have read, once all of them have.
TEST_P(Kernels, SumsOverWhatWasSummed) {
  for (const cuda_target::ChainTile& t : {cuda_target::ChainTile{.columns = 6, .warps_k = 6, .chunk = 96, .expand_n = 6, .weights = 1},
                                          cuda_target::ChainTile{.columns = 6, .warps_k = 3, .chunk = 96, .expand_n = 3, .rows = 2}}) {
    const StageGroup g = target_test::chain(21, 19, 1, 24, 96);
    Schedule s(g);
    inline_cheap(s);
    ASSERT_TRUE(cuda_target::by_chain(s, t, {}));
    const Function f = schedule_test::lowered(s);
    int64_t all = 0, barriers = 0;
    visit(f.body, [&](const Stmt& x) {
      barriers += x.kind() == StmtKind::Barrier;
      if (x.kind() != StmtKind::Alloc || f.buffers[x->buffer].scope == Scope::Register) return;
      all += f.buffers[x->buffer].size * size_of(f.buffers[x->buffer].dtype);
    });
    const int64_t sums = 4 * t.high() * t.columns * t.warps_k * 24;
    const auto kernels = c_like::kernels_of(f, cuda_target::dialect());
    ASSERT_EQ(kernels.size(), 1u);
    EXPECT_LT(kernels[0].block_bytes, all - sums / 2);
    // Warps of the emulation go on together, so that it does not see that one more is needed.
    const std::string barrier(cuda_target::dialect().barrier);
    for (size_t at = 0; (at = kernels[0].source.find(barrier, at)) != std::string::npos; at += barrier.size()) --barriers;
    EXPECT_EQ(barriers, -1);
    expect_right(Case(g, s), fmt::format("{} rows", t.rows));
  }
}

// The same of an image's few channels: in vectors and one by one, with a filter that takes several steps of instructions.
TEST_P(Kernels, ChainsOfImages) {
  using cuda_target::ChainTile;
  const ChainTile t{.columns = 6, .warps_x = 3, .expand_n = 1, .expand_rows = 4};
  for (target_test::ImageChain c : {target_test::ImageChain{.height = 37, .width = 44}, target_test::ImageChain{.height = 21, .width = 27, .filter = 5, .first_stride = 1, .stride = 2},
                                    target_test::ImageChain{.channels = 4, .height = 30, .width = 23, .by_planes = false, .project = false},
                                    target_test::ImageChain{.channels = 6, .height = 19, .width = 26}}) {
    for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16, Precision::Bf16}) {
      c.storage = device(p).storage;
      const StageGroup g = target_test::image_chain(c);
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, t, device(p))) << c.channels << " channels";
      expect_right(Case(g, s), fmt::format("{} x {}", c.height, c.width), p);
    }
  }
}

// Blocks of one image each: in the block's memory, in registers, in parts, without a projection, with the image's few channels.
TEST_P(Kernels, ChainsOfSeveralImages) {
  using cuda_target::ChainTile;
  for (const Precision p : {Precision::Strict, Precision::Tf32, Precision::Fp16}) {
    const cuda_target::Device d = device(p);
    const StageGroup whole = target_test::chain(11, 13, 1, 24, 96, 3, d.storage);
    const StageGroup first = target_test::image_chain({.height = 25, .width = 22, .storage = d.storage, .images = 3});
    const StageGroup depthwise = target_test::image_chain({.channels = 24, .height = 21, .width = 19, .filter = 1, .first_stride = 1, .expanded = 48, .by_planes = false, .project = false, .storage = d.storage, .images = 2});
    struct Tiled {
      const StageGroup* group;
      ChainTile tile;
    };
    for (const auto& [g, t] : {Tiled{&whole, {.columns = 6, .expand_n = 1}}, {&whole, {.columns = 8, .warps_k = 2, .expand_n = 1, .splits = 3}},
                               {&whole, {.columns = 6, .warps_k = 3, .chunk = 48, .rows = 2, .groups = 7}},
                               {&first, {.columns = 6, .warps_x = 3, .expand_n = 1, .expand_rows = 4}},
                               {&depthwise, {.columns = 6, .warps_x = 3, .chunk = 48, .expand_n = 1, .tall = 8}}}) {
      if (p == Precision::Strict && g != &first) continue;  // of which one is enough
      Schedule s(*g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, t, d)) << g->name;
      expect_right(Case(*g, s), fmt::format("{}, {} parts, {} rows", g->name, t.splits, t.rows), p);
    }
  }
  // With one row another axis seems to be that of the rows.
  Schedule flat(target_test::chain(2, 13, 2, 24, 96, 3));
  inline_cheap(flat);
  EXPECT_TRUE(cuda_target::chain_tiles(flat, device(Precision::Tf32)).empty());
  EXPECT_FALSE(cuda_target::by_chain(flat, {.columns = 6, .expand_n = 1}, device(Precision::Tf32)));
  // Many small images leave nobody idle: their tiles are as many blocks.
  Schedule one(target_test::chain(14, 14, 1, 96, 576)), many(target_test::chain(14, 14, 1, 96, 576, 32));
  const auto best = [&](Schedule& s) {
    inline_cheap(s);
    return cuda_target::chain_tiles(s, device(Precision::Tf32)).at(0);
  };
  EXPECT_GT(best(one).splits, 1);
  EXPECT_EQ(best(many).splits, 1);
}

// A depthwise convolution as the output: rows of a thread, of which the last block has fewer, share what they read.
TEST_P(Kernels, RowsOfChains) {
  const StageGroup g = target_test::image_chain({.height = 37, .width = 44, .project = false});
  Schedule s(g);
  inline_cheap(s);
  ASSERT_TRUE(cuda_target::by_chain(s, {.columns = 6, .warps_x = 3, .expand_n = 1}, {.products = 1}));
  const Function f = schedule_test::lowered(s);
  const std::string source = c_like::kernels_of(f, cuda_target::dialect(Precision::Tf32)).at(0).source;
  EXPECT_EQ(source.find("_end = smaller("), std::string::npos) << source;  // a loop of as many rows as there are
  // What some threads alone load of the filter is not loaded by others, though compilers move it out of the loop over rows.
  EXPECT_NE(source.find("const bool branch_1 = unknown(x"), std::string::npos) << source;
  EXPECT_NE(source.find(" & branch_1, &(E_w"), std::string::npos) << source;
  expect_right(Case(g, s), "rows", Precision::Tf32);
}

// Parts of the expanded channels to blocks of their own, which add up as clusters; or in a second kernel, where GPUs have none.
TEST_P(Kernels, ChainsInParts) {
  using cuda_target::ChainTile;
  for (const int stride : {1, 2}) {
    for (const ChainTile& t : {ChainTile{.columns = 6, .warps_x = 3, .chunk = 48, .expand_n = 1, .splits = 2},
                               ChainTile{.columns = 8, .warps_k = 2, .expand_n = 1, .splits = 3},
                               ChainTile{.columns = 6, .warps_x = 2, .expand_n = 1, .splits = 3, .rows = 2}}) {
      const StageGroup g = target_test::chain(13, 17, stride, 24, 96);
      Schedule s(g);
      inline_cheap(s);
      ASSERT_TRUE(cuda_target::by_chain(s, t, {}));
      const Function f = schedule_test::lowered(s);
      const auto kernels = c_like::kernels_of(f, cuda_target::dialect());
      ASSERT_EQ(kernels.size(), 1u);
      EXPECT_EQ(kernels[0].cluster, t.splits);
      EXPECT_EQ(c_like::kernels_of(f, cuda_target::dialect(Precision::Strict, 0)).size(), 2u);
      for (const Precision p : {Precision::Strict, Precision::Tf32}) {
        expect_right(Case(g, s), fmt::format("stride {}, {} threads, {} parts", stride, t.threads(), t.splits), p);
      }
    }
  }
}

// Sums over the threads of a warp, or of a part of it.
TEST_P(Kernels, FewPoints) {
  using target_test::product;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 40, 384}, {2, 13, 1023}, {5, 7, 30}, {1, 10, 4}}) {
    const StageGroup g = product(m, n, k);
    expect_right(Case(g, cuda_target::default_schedule(g, {})), fmt::format("{} x {} x {}", m, n, k));
  }
}

// Pools and products of their means by clusters: cut at the pool, and at either product.
TEST_P(Kernels, Squeezed) {
  for (const auto& [channels, squeezed, size] : {std::array<int, 3>{40, 10, 14}, {42, 7, 9}}) {
    const StageGroup g = target_test::squeeze(channels, squeezed, size, size, channels == 40);
    Schedule s(g);
    inline_cheap(s);
    std::set<size_t> cuts;
    for (const auto& x : cuda_target::squeeze_tiles(s, {})) {
      Schedule t = s;
      if (!cuts.insert(x.cut).second || !cuda_target::by_squeeze(t, x)) continue;
      expect_right(Case(g, t), fmt::format("{} channels, {} squeezed, {} blocks, cut at {}", channels, squeezed, x.blocks, x.cut));
    }
    EXPECT_GE(cuts.size(), 2u);
  }
}

TEST_P(Kernels, RowsAndColumns) {
  using target_test::softmax;
  const auto by_default = [&](const StageGroup& g, const std::string& what) { expect_right(Case(g, cuda_target::default_schedule(g, {})), what); };
  by_default(softmax(6, 50), "softmax of a warp");
  by_default(softmax(1, 1000), "softmax of several warps");
  by_default(target_test::layer_norm(5, 384), "layer norm");
  by_default(target_test::mean(9, 43, true), "means of rows");
  by_default(target_test::mean(43, 24, false), "means of columns");
}

TEST_P(Kernels, Chains) {
  expect_right(schedule_test::block_chain(11, 13, 8, 24, 1), "tails");
  expect_right(schedule_test::block_chain(11, 13, 8, 16, 2), "stride 2");
}

TEST_P(Kernels, Softmax) { expect_right(schedule_test::block_softmax(5, 45, 32), "tail"); }


}  // namespace
}  // namespace burnish::cuda_test
