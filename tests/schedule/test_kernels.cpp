// Single kernels: matrix products, convolutions, softmax, split sums, attention.
#include "support.h"

namespace burnish::schedule_test {
namespace {

constexpr DType F = DType::F32;

Case matmul(int64_t M, int64_t N, int64_t K, int64_t rows = 6, int64_t vectors = 2,
            Tail tail = Tail::Balanced) {
  GroupBuilder b("matmul");
  StageId a = b.input("A", F, {{"m", M}, {"k", K}}), w = b.constant("B", F, {{"k", K}, {"n", N}});
  StageId bias = b.constant("b", F, {{"n", N}});
  b.output(b.reduce(
      "C", F, {{"m", M}, {"n", N}}, {{"k", K}}, Combine::Sum,
      [&](AxisVars x, AxisVars r) { return b.at(a, {x[0], r[0]}) * b.at(w, {r[0], x[1]}); },
      [&](AxisVars x) { return b.at(bias, {x[1]}); }));
  Case c(b.group());
  Schedule& s = c.schedule;
  s.cache_write("C");
  s.set_scope("C.acc", Scope::Register);
  int64_t panel = 16 * vectors;
  s.pack("B", {{1, panel, 0}, {0}, {1, 1, panel}});
  auto [no, ni] = s.split("C", "n", panel, Tail::Tail);
  auto [mo, mi] = s.split("C", "m", rows, tail);
  auto [nv, nl] = s.split("C", ni, 16, Tail::Tail);
  s.reorder("C", {no, mo, mi, nv, nl});
  s.unroll("C", mi);
  s.unroll("C", nv);
  s.vectorize("C", nl);
  s.parallel("C", no);
  s.compute_at("C.acc", "C", mo);
  auto [v, l] = s.split("C.acc", "n", 16, Tail::Tail);
  s.reorder("C.acc", {"k", "m", v, l});
  s.unroll("C.acc", "m");
  s.unroll("C.acc", v);
  s.vectorize("C.acc", l);
  return c;
}

TEST(Matmul, TilesPanelsAndTails) {
  expect_same(matmul(17, 40, 23), "17x40x23");
  expect_same(matmul(64, 64, 64), "64x64x64");
  expect_same(matmul(13, 96, 7), "13x96x7");
  expect_same(matmul(1, 24, 33), "1x24x33");
  expect_same(matmul(17, 48, 9, 6, 2, Tail::Overlap), "overlap");
}

Case conv3(int64_t H, int64_t W, int64_t C, int64_t K, int64_t stride, bool ring, bool residual) {
  GroupBuilder b("conv");
  int64_t rows = (H - 1) / stride + 1, columns = (W - 1) / stride + 1;
  StageId x = b.input("X", F, {{"y", H}, {"x", W}, {"c", C}});
  StageId w = b.constant("W", F, {{"ky", 3}, {"kx", 3}, {"k", C}, {"c", K}}),
          bias = b.constant("B", F, {{"c", K}});
  StageId q = b.input("Q", F, {{"y", rows}, {"x", columns}, {"c", K}});
  b.output(chain::conv(b, "O", x, w, bias, rows, columns,
                       {.outputs = K, .inputs = C, .kernel = 3, .stride = stride, .pad = 1},
                       residual ? &q : nullptr));
  Case c(b.group());
  Schedule& s = c.schedule;
  std::string cached = ring ? s.cache_read("X") : "";
  auto t = chain::conv_tile(s, "O", 6, 32, {"ky", "kx", "k"});
  s.reorder("O", chain::tile_order({"y", t.c_outer}, t));
  s.unroll("O.acc", "kx");
  if (ring) {  // padded rows, rolling
    s.compute_at(cached, "O", "y");
    s.store_root(cached);
    s.fold_storage(cached, "y");
  } else {
    s.parallel("O", "y");
  }
  return c;
}

TEST(Conv3x3, GuardsAndRings) {
  for (int64_t stride : {1, 2})
    for (bool ring : {false, true})
      for (auto [H, W, C, K] : {std::array<int64_t, 4>{17, 13, 5, 24}, {8, 9, 16, 40}})
        expect_same(
            conv3(H, W, C, K, stride, ring, true),
            fmt::format("{}x{} {}->{} stride {} {}", H, W, C, K, stride, ring ? "ring" : "guards"));
}

enum class Rows { Whole, Blocks, Lanes };

Case softmax(int64_t N, int64_t J, Rows rows) {
  GroupBuilder b("softmax");
  StageId x = b.input("X", F, {{"i", N}, {"j", J}});
  StageId m = b.reduce("m", F, {{"i", N}}, {{"j", J}}, Combine::Max,
                       [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}); });
  StageId e = b.compute("e", F, {{"i", N}, {"j", J}}, [&](AxisVars a) {
    return unary(UnaryOp::Exp, b.at(x, {a[0], a[1]}) - b.at(m, {a[0]}));
  });
  StageId z = b.reduce("z", F, {{"i", N}}, {{"j", J}}, Combine::Sum,
                       [&](AxisVars a, AxisVars r) { return b.at(e, {a[0], r[0]}); });
  b.output(b.compute("Y", F, {{"i", N}, {"j", J}},
                     [&](AxisVars a) { return b.at(e, {a[0], a[1]}) / b.at(z, {a[0]}); }));
  Case c(b.group());
  Schedule& s = c.schedule;
  std::vector<std::string> at = {"m", "e", "z"};
  if (rows != Rows::Whole) {
    for (const char* t : {"m", "z"}) {
      s.rfactor(t, "j", 16, rows == Rows::Lanes);
      at.push_back(std::string(t) + ".rf");
      if (rows != Rows::Lanes) continue;
      s.reorder(at.back(), {"jo", "ji"});
      s.vectorize(at.back(), "ji");
      if (J > 16 && J % 16) at.push_back(std::string(t) + ".rest");
    }
  }
  for (auto& t : at) s.compute_at(t, "Y", "i");
  s.parallel("Y", "i");
  return c;
}

TEST(Softmax, RowAtATime) {
  for (int64_t J : {7, 33, 64})
    for (Rows rows : {Rows::Whole, Rows::Blocks, Rows::Lanes})
      expect_same(softmax(7, J, rows), fmt::format("7x{} {}", J, static_cast<int>(rows)));
}

Case split_k(int64_t M, int64_t N, int64_t K, int64_t parts) {
  GroupBuilder b("splitk");
  StageId x = b.input("A", F, {{"m", M}, {"k", K}}), w = b.input("B", F, {{"k", K}, {"n", N}});
  b.output(
      b.reduce("C", F, {{"m", M}, {"n", N}}, {{"k", K}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
        return b.at(x, {a[0], r[0]}) * b.at(w, {r[0], a[1]});
      }));
  Case c(b.group());
  Schedule& s = c.schedule;
  std::string p = s.rfactor("C", "k", ceil_div(K, parts));
  s.parallel(p, "ko");
  s.pack(p, {{2}, {0}, {1}});
  auto [v, l] = s.split(p, "n", 16, Tail::Tail);
  s.reorder(p, {"ko", "m", v, "ki", l});
  s.vectorize(p, l);
  std::tie(v, l) = s.split("C", "n", 16, Tail::Tail);
  s.reorder("C", {"m", v, "ko", l});
  s.vectorize("C", l);
  return c;
}

// Of every block of neighbours, each lane has some that follow one another.
TEST(SplitK, LanesOfNeighbours) {
  for (const auto& [lanes, together] : {std::pair(2, 8), std::pair(3, 4)}) {
    GroupBuilder b("splitk");
    StageId x = b.input("A", F, {{"m", 5}, {"k", 96}}), w = b.input("B", F, {{"k", 96}, {"n", 7}});
    b.output(b.reduce("C", F, {{"m", 5}, {"n", 7}}, {{"k", 96}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
      return b.at(x, {a[0], r[0]}) * b.at(w, {r[0], a[1]});
    }));
    Case c(b.group());
    const std::string part = c.schedule.rfactor("C", "k", lanes, true, together);
    c.schedule.reorder(part, {"ko", "ki", "kn", "m", "n"});
    expect_same(c, fmt::format("{} of {}", lanes, together));
  }
}

TEST(Flatten, ReduceAxesBecomeOne) {
  for (const int64_t multiple : {1, 16}) {
    GroupBuilder b("conv");
    StageId x = b.input("X", F, {{"c", 3}, {"y", 6}}), w = b.constant("W", F, {{"o", 5}, {"c", 3}, {"y", 3}});
    b.output(b.reduce("O", F, {{"o", 5}, {"y", 6}}, {{"k", 3}, {"ky", 3}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
      return b.at(x, {r[0], a[1] + r[1] - Aff(1)}, constant(0.0)) * b.at(w, {a[0], r[0], r[1]});
    }));
    Case c(b.group());
    c.schedule.flatten("O", multiple);
    c.schedule.split("O", "r", multiple, Tail::Exact);
    expect_same(c, fmt::format("to a multiple of {}", multiple));
  }
}

TEST(Flatten, LastReduceAxisStaysApart) {
  for (const auto& [columns, stride] : {std::pair(3, 2), std::pair(4, 1), std::pair(6, 3)}) {
    GroupBuilder b("conv");
    StageId x = b.input("X", F, {{"c", 3}, {"y", 6}, {"x", 20}}), w = b.constant("W", F, {{"o", 5}, {"c", 3}, {"ky", 3}, {"kx", columns}});
    b.output(b.reduce("O", F, {{"o", 5}, {"y", 6}, {"x", (20 - columns) / stride + 1}}, {{"k", 3}, {"ky", 3}, {"kx", columns}}, Combine::Sum,
                      [&, stride = stride](AxisVars a, AxisVars r) {
                        return b.at(x, {r[0], a[1] + r[1] - Aff(1), a[2] * stride + r[2]}, constant(0.0)) * b.at(w, {a[0], r[0], r[1], r[2]});
                      }));
    Case c(b.group());
    c.schedule.flatten("O", 2, 4);
    c.schedule.split("O", "kx", 4, Tail::Exact);
    c.schedule.split("O", "r", 2, Tail::Exact);
    EXPECT_EQ(c.schedule.to_text(), Schedule(replayed(b.group(), c.schedule.to_text()).value()).to_text());
    expect_same(c, fmt::format("{} columns", columns));
  }
}

// Channels filled up to fours are neighbours of the one axis; constants in blocks of them hold zeros, which need no guard.
TEST(Flatten, AnAxisIsFilledUp) {
  for (const int64_t channels : {3, 4, 6}) {
    GroupBuilder b("conv");
    StageId x = b.input("X", F, {{"c", channels}, {"y", 6}, {"x", 9}}), w = b.constant("W", F, {{"o", 5}, {"c", channels}, {"ky", 3}, {"kx", 3}});
    b.output(b.reduce("O", F, {{"o", 5}, {"y", 6}, {"x", 7}}, {{"k", channels}, {"ky", 3}, {"kx", 3}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
      return b.at(x, {r[0], a[1] + r[1] - Aff(1), a[2] + r[2]}, constant(0.0)) * b.at(w, {a[0], r[0], r[1], r[2]});
    }));
    Case c(b.group());
    c.schedule.pack("W", {{0}, {2}, {3, 4, 0}, {3, 1, 4}, {1, 4, 0}, {1, 1, 4}});
    c.schedule.flatten("O", 4, 4, "k");
    c.schedule.split("O", "r", 4, Tail::Exact);
    EXPECT_EQ(c.schedule.to_text(), Schedule(replayed(b.group(), c.schedule.to_text()).value()).to_text());
    const std::string loops = to_text(schedule_test::lowered(c.schedule));
    size_t guards = 0;
    for (size_t at = 0; (at = loops.find("select(", at)) != std::string::npos; ++at) ++guards;
    EXPECT_EQ(guards, 1u) << loops;  // of the image
    expect_same(c, fmt::format("{} channels", channels));
  }
}

// A convolution of one point, with what is added to it: rows and columns, and images, as one axis.
TEST(JoinAxes, PointsOfImages) {
  constexpr DType F = DType::F32;
  const Layout nhwc = {{0}, {2}, {3}, {1}};
  const auto images = [&](int64_t pad) {
    GroupBuilder b("conv");
    const std::vector<NamedExtent> axes = {{"n", 3}, {"c", 8}, {"y", 5}, {"x", 7}};
    const StageId x = b.input("X", F, {{"n", 3}, {"c", 6}, {"y", 5}, {"x", 7}}, nhwc), r = b.input("R", F, axes, nhwc);
    const StageId w = b.constant("W", F, {{"c", 8}, {"k", 6}, {"ky", 1}, {"kx", 1}}), bias = b.constant("B", F, {{"c", 8}});
    const StageId acc = b.reduce("O.acc", F, axes, {{"k", 6}, {"ky", 1}, {"kx", 1}}, Combine::Sum, [&](AxisVars a, AxisVars k) {
      return b.at(x, {a[0], k[0], a[2] + k[1] - Aff(pad), a[3] + k[2] - Aff(pad)}, pad ? constant(0) : Expr{}) * b.at(w, {a[1], k[0], k[1], k[2]});
    });
    const StageId o = b.compute("O", F, axes, [&](AxisVars a) { return b.at(acc, {a[0], a[1], a[2], a[3]}) + b.at(r, {a[0], a[1], a[2], a[3]}) + b.at(bias, {a[1]}); });
    b[o].layout = nhwc;
    b.output(o);
    return b.group();
  };
  Case c(images(0));
  c.schedule.join_axes("O", "y", "x");
  expect_same(c, "rows and columns");
  c.schedule.join_axes("O", "n", "x");
  EXPECT_FALSE(c.schedule.failure());
  const StageGroup& g = c.schedule.group();
  EXPECT_EQ(g[*g.named("O.acc")].shape(), (std::vector<int64_t>{1, 8, 1, 105}));
  EXPECT_EQ(g[*g.named("X")].shape(), (std::vector<int64_t>{1, 6, 1, 105}));
  expect_same(c, "and images");
  auto [xo, xi] = c.schedule.split("O", "x", 16);
  c.schedule.compute_at("O.acc", "O", xo);
  expect_same(c, "in tiles");
  // Memory has channels between them; a border is elsewhere; loops were changed.
  Schedule s(images(0));
  expect_refused(s.apply(parse_step("join_axes(O, n, x)")), "no neighbours in the memory of");
  expect_refused(Schedule(images(1)).apply(parse_step("join_axes(O, y, x)")), "O.acc reads X at other places");
  s.split("O", "c", 4);
  expect_refused(s.apply(parse_step("join_axes(O, y, x)")), "loops of O were changed");
}

TEST(SplitK, PartialSumsInParallel) {
  expect_same(split_k(5, 24, 100, 2), "5x24x100 by 2");
  expect_same(split_k(3, 32, 257, 4), "3x32x257 by 4");
}

// Online softmax: maximum, sum and output are carried along blocks of keys; everything else lives
// inside one block.
Case attention(int64_t N, int64_t J, int64_t D, int64_t B, int64_t rows = 4) {
  int64_t blocks = J / B;
  auto inputs = [&](GroupBuilder& b) {
    return std::array<StageId, 3>{b.input("Q", F, {{"i", N}, {"d", D}}),
                                  b.input("K", F, {{"j", J}, {"d", D}}),
                                  b.input("V", F, {{"j", J}, {"d", D}})};
  };
  GroupBuilder naive("attention");
  {
    auto& b = naive;
    auto [q, k, v] = inputs(b);
    StageId s = b.reduce("S", F, {{"i", N}, {"j", J}}, {{"d", D}}, Combine::Sum,
                         [&, q = q, k = k](AxisVars a, AxisVars r) {
                           return b.at(q, {a[0], r[0]}) * b.at(k, {a[1], r[0]});
                         });
    StageId m = b.reduce("m", F, {{"i", N}}, {{"j", J}}, Combine::Max,
                         [&](AxisVars a, AxisVars r) { return b.at(s, {a[0], r[0]}); });
    StageId p = b.compute("P", F, {{"i", N}, {"j", J}}, [&](AxisVars a) {
      return unary(UnaryOp::Exp, b.at(s, {a[0], a[1]}) - b.at(m, {a[0]}));
    });
    StageId z = b.reduce("z", F, {{"i", N}}, {{"j", J}}, Combine::Sum,
                         [&](AxisVars a, AxisVars r) { return b.at(p, {a[0], r[0]}); });
    StageId o = b.reduce("O", F, {{"i", N}, {"d", D}}, {{"j", J}}, Combine::Sum,
                         [&, v = v](AxisVars a, AxisVars r) {
                           return b.at(p, {a[0], r[0]}) * b.at(v, {r[0], a[1]});
                         });
    b.output(b.compute("Y", F, {{"i", N}, {"d", D}},
                       [&](AxisVars a) { return b.at(o, {a[0], a[1]}) / b.at(z, {a[0]}); }));
  }
  GroupBuilder b("attention");
  auto [q, k, v] = inputs(b);
  std::vector<NamedExtent> bi = {{"jb", blocks}, {"i", N}},
                           bij = {{"jb", blocks}, {"i", N}, {"jj", B}},
                           bid = {{"jb", blocks}, {"i", N}, {"d", D}};
  Expr low = constant(-1e30, F), zero = constant(0.0, F);
  auto key = [&](const Aff& jb, const Aff& jj) { return jb * B + jj; };
  StageId S =
      b.reduce("S", F, bij, {{"d", D}}, Combine::Sum, [&, q = q, k = k](AxisVars a, AxisVars r) {
        return b.at(q, {a[1], r[0]}) * b.at(k, {key(a[0], a[2]), r[0]});
      });
  StageId mb = b.reduce("mb", F, bi, {{"jj", B}}, Combine::Max,
                        [&](AxisVars a, AxisVars r) { return b.at(S, {a[0], a[1], r[0]}); });
  StageId m = mb + 1;  // a scan loads itself: its number is known before it exists
  auto before = [&](StageId s, AxisVars a, Expr fill, std::vector<Index> more = {}) {
    std::vector<Index> at = {a[0] - Aff(1), a[1]};
    at.insert(at.end(), more.begin(), more.end());
    return load(F, s, std::move(at), fill);
  };
  b.compute("m", F, bi, [&](AxisVars a) { return max(before(m, a, low), b.at(mb, {a[0], a[1]})); });
  b[m].scan = 0;
  StageId P = b.compute("P", F, bij, [&](AxisVars a) {
    return unary(UnaryOp::Exp, b.at(S, {a[0], a[1], a[2]}) - b.at(m, {a[0], a[1]}));
  });
  StageId c = b.compute("c", F, bi, [&](AxisVars a) {
    return unary(UnaryOp::Exp, before(m, a, low) - b.at(m, {a[0], a[1]}));
  });
  StageId ls = b.reduce("ls", F, bi, {{"jj", B}}, Combine::Sum,
                        [&](AxisVars a, AxisVars r) { return b.at(P, {a[0], a[1], r[0]}); });
  StageId l = ls + 1;
  b.compute("l", F, bi, [&](AxisVars a) {
    return before(l, a, zero) * b.at(c, {a[0], a[1]}) + b.at(ls, {a[0], a[1]});
  });
  b[l].scan = 0;
  StageId O = l + 2;
  StageId sum = b.reduce(
      "O.acc", F, bid, {{"jj", B}}, Combine::Sum,
      [&, v = v](AxisVars a, AxisVars r) {
        return b.at(P, {a[0], a[1], r[0]}) * b.at(v, {key(a[0], r[0]), a[2]});
      },
      [&](AxisVars a) { return before(O, a, zero, {a[2]}) * b.at(c, {a[0], a[1]}); });
  b.compute("O", F, bid, [&](AxisVars a) {
    Index last(a[0] - Aff(blocks - 1));
    Expr value = b.at(sum, {a[0], a[1], a[2]});
    return select(all_nonnegative(std::span(&last, 1)), value / b.at(l, {a[0], a[1]}), value);
  });
  b[O].scan = 0;
  b.output(b.compute("Y", F, {{"i", N}, {"d", D}},
                     [&](AxisVars a) { return b.at(O, {Index(blocks - 1), a[0], a[1]}); }));

  Case r(b.group());
  r.oracle = naive.group();
  Schedule& s = r.schedule;
  s.pack("K", {{1}, {0}});
  auto [io, ii] = s.split("Y", "i", rows);
  s.parallel("Y", io);
  s.vectorize("Y", s.split("Y", "d", 16, Tail::Tail).second);
  s.compute_at("O", "Y", io);
  s.fold_storage("O", "jb", 1);
  s.vectorize("O", s.split("O", "d", 16, Tail::Tail).second);
  s.unroll("O", "d.o");
  s.set_scope("O.acc", Scope::Register);
  s.compute_at("O.acc", "O", "i");
  auto [vo, vl] = s.split("O.acc", "d", 16, Tail::Tail);
  s.reorder("O.acc", {"jb", "i", "jj", vo, vl});
  s.unroll("O.acc", vo);
  s.vectorize("O.acc", vl);
  for (const char* t : {"S", "mb", "m", "P", "c", "ls", "l"}) s.compute_at(t, "O", "jb");
  for (const char* t : {"m", "l"}) {
    s.store_at(t, "Y", io);
    s.fold_storage(t, "jb");
  }
  std::tie(vo, vl) = s.split("S", "jj", 16);
  s.reorder("S", {"jb", "i", "d", vo, vl});
  s.vectorize("S", vl);
  return r;
}

TEST(Attention, OnlineSoftmaxInBlocksOfKeys) {
  expect_same(attention(7, 64, 32, 16), "7 rows, 64 keys");
  expect_same(attention(16, 96, 40, 32), "16 rows, 96 keys");
}

// A product to which a bias of its columns is added, from which it starts instead.
TEST(Reductions, SumsThatStartFromWhatIsAdded) {
  GroupBuilder b("biased");
  const StageId a = b.input("A", F, {{"m", 9}, {"k", 13}}), w = b.constant("W", F, {{"k", 13}, {"n", 6}}), bias = b.constant("B", F, {{"n", 6}});
  const StageId p = b.reduce("P", F, {{"m", 9}, {"n", 6}}, {{"k", 13}}, Combine::Sum,
                             [&](AxisVars x, AxisVars r) { return b.at(a, {x[0], r[0]}) * b.at(w, {r[0], x[1]}); });
  b.output(b.compute("O", F, {{"m", 9}, {"n", 6}}, [&](AxisVars x) { return max(b.at(bias, {x[1]}) + b.at(p, {x[0], x[1]}), constant(0.0)); }));
  Case c(b.group());
  c.schedule.absorb_addend("P");
  c.schedule.compute_at("P", "O", "m");
  c.schedule.vectorize("O", "n");
  EXPECT_TRUE(c.schedule.group()[*c.schedule.group().named("P")].init);
  expect_same(c, "a bias");
}

// A sum of five products of halves, two at a time as halves.
TEST(Reductions, NarrowSums) {
  constexpr int64_t n = 37, terms = 5;
  const auto group_of = [](const std::function<void(GroupBuilder&, StageId, StageId)>& output) {
    GroupBuilder b("narrow");
    const StageId x = b.input("X", DType::F16, {{"i", n + terms}}), w = b.constant("W", DType::F16, {{"k", terms}});
    output(b, x, w);
    return b.group();
  };
  const auto wide = [](Expr e) { return cast(F, std::move(e)); };
  Case c(group_of([&](GroupBuilder& b, StageId x, StageId w) {
    b.output(b.reduce("O", F, {{"i", n}}, {{"k", terms}}, Combine::Sum,
                      [&](AxisVars i, AxisVars k) { return wide(b.at(x, {i[0] + k[0]})) * wide(b.at(w, {k[0]})); }));
  }));
  c.schedule.expand("O");
  c.schedule.narrow("O", 2);
  c.oracle = group_of([&](GroupBuilder& b, StageId x, StageId w) {
    b.output(b.compute("O", F, {{"i", n}}, [&](AxisVars i) {
      const auto product = [&](int64_t k) { return b.at(x, {i[0] + Aff(k)}) * b.at(w, {Aff(k)}); };
      const auto exact = [](Expr e) { return cast(DType::F64, std::move(e)); };
      const auto two = [&](int64_t k) {
        return wide(cast(DType::F16, exact(b.at(x, {i[0] + Aff(k + 1)})) * exact(b.at(w, {Aff(k + 1)})) + exact(product(k))));
      };
      return two(0) + two(2) + wide(product(4));
    }));
  });
  expect_same(c, "narrow");
}

// Behind such a sum a bias, and limits that are halves, are halves, too, where the result is one; other limits are not.
TEST(Reductions, NarrowEnds) {
  constexpr DType H = DType::F16;
  constexpr int64_t n = 37, terms = 5;
  const auto wide = [](Expr e) { return cast(F, std::move(e)); };
  for (const double limit : {6.0, 0.1}) {
    GroupBuilder b("ends"), exact("ends");
    for (GroupBuilder* g : {&b, &exact}) {
      const StageId x = g->input("X", H, {{"i", n + terms}}), w = g->constant("W", H, {{"k", terms}}), bias = g->constant("B", F, {{"i", n}});
      const auto product = [&](AxisVars i, int64_t k) { return std::pair(g->at(x, {i[0] + Aff(k)}), g->at(w, {Aff(k)})); };
      const auto finished = [&](Expr e) { return min(max(std::move(e), constant(0)), constant(limit)); };
      if (g == &b) {
        const StageId sum = g->reduce("S", F, {{"i", n}}, {{"k", terms}}, Combine::Sum,
                                      [&](AxisVars i, AxisVars k) { return wide(g->at(x, {i[0] + k[0]})) * wide(g->at(w, {k[0]})); });
        g->output(g->compute("O", H, {{"i", n}}, [&](AxisVars i) { return cast(H, finished(g->at(sum, {i[0]}) + g->at(bias, {i[0]}))); }));
        continue;
      }
      g->output(g->compute("O", H, {{"i", n}}, [&](AxisVars i) {
        const auto as_double = [](Expr e) { return cast(DType::F64, std::move(e)); };
        Expr sum;
        for (int64_t k = 0; k < terms; ++k) {
          const auto [p, q] = product(i, k);
          sum = sum ? cast(H, as_double(p) * as_double(q) + as_double(sum)) : p * q;
        }
        if (limit != 6) return cast(H, finished(wide(sum) + g->at(bias, {i[0]})));
        return cast(H, finished(wide(cast(H, as_double(sum) + as_double(cast(H, g->at(bias, {i[0]})))))));
      }));
    }
    Case c(b.group());
    c.schedule.expand("S");
    c.schedule.inline_stage("S");
    c.schedule.narrow("O", 9);
    c.oracle = exact.group();
    expect_same(c, fmt::format("limit {}", limit));
  }
}

}  // namespace
}  // namespace burnish::schedule_test
