// Accesses and steps beyond windows: partitions, phases of transposed convolutions, concatenation,
// upsampling, gather, inlining, padded strides, several outputs, epilogues, fused tiles.
#include "support.h"

namespace burnish::schedule_test {
namespace {

constexpr DType F = DType::F32;

int64_t count_selects(const Function& f) {
  int64_t n = 0;
  rewrite_exprs(f.body, [&](const Expr& e) -> Expr {
    n += e.kind() == ExprKind::Select;
    return {};
  });
  return n;
}

Schedule blur(int64_t W) {
  GroupBuilder b("blur");
  StageId x = b.input("X", F, {{"y", 6}, {"x", W}, {"c", 16}});
  b.output(b.reduce("B", F, {{"y", 6}, {"x", W}, {"c", 16}}, {{"kx", 3}}, Combine::Sum,
                    [&](AxisVars a, AxisVars r) {
                      return b.at(x, {a[0], a[1] + r[0] - Aff(1), a[2]}, constant(0.0, F));
                    }));
  return Schedule(b.group());
}

// for x in 0..40: guarded                   for x in 0..1: guarded
//                             partition →   for x in 1..39: no guard
//                                           for x in 39..40: guarded
TEST(Partition, TheMiddleHasNoGuard) {
  Schedule s = blur(40);
  s.partition("B", "x", {1, 39});
  s.reorder("B", {"y", "x", "kx", "c"});
  s.vectorize("B", "c");
  Case c(s.group());
  c.schedule = s;
  expect_same(c, "peeled columns");
  EXPECT_EQ(count_selects(lowered(s)), 2);
  Schedule whole = blur(40);
  EXPECT_EQ(count_selects(lowered(whole)), 1);
}

TEST(Partition, ThenEachPartIsSplitWithItsOwnTail) {
  for (Tail tail : {Tail::Guard, Tail::Tail, Tail::Balanced}) {
    Schedule s = blur(41);
    s.partition("B", "x", {1, 40});
    auto [xo, xi] = s.split("B", "x", 6, tail);
    s.reorder("B", {"y", xo, "kx", xi, "c"});
    if (tail != Tail::Guard) s.unroll("B", xi);
    Case c(s.group());
    c.schedule = s;
    expect_same(c, fmt::format("tail {}", static_cast<int>(tail)));
  }
  Schedule s = blur(41);
  s.partition("B", "x", {1, 40});
  s.parallel("B", "y");
  s.fuse("B", "y", "x");
  EXPECT_TRUE(s.failure());
}

TEST(Partition, OfAProducerMovedByItsConsumer) {
  GroupBuilder b("pair");
  StageId x = b.input("X", F, {{"i", 30}});
  StageId a = b.reduce("A", F, {{"i", 30}}, {{"k", 3}}, Combine::Sum, [&](AxisVars v, AxisVars r) {
    return b.at(x, {v[0] + r[0] - Aff(1)}, constant(0.0, F));
  });
  b.output(b.compute("B", F, {{"j", 4}, {"i", 28}},
                     [&](AxisVars v) { return b.at(a, {v[1] + Aff(2)}); }));
  Case c(b.group());
  c.schedule.partition("A", "i", {1, 29});
  c.schedule.compute_at("A", "B", "j");
  expect_same(c, "origin moved by 2");
}

// Columns in stretches: the edges of the middle ones move, but never to a cut of what is computed inside them.
TEST(Partition, OfAProducerThatMovesBetweenTheCuts) {
  const auto stretches = [](int64_t cut) {
    Schedule s = blur(40);
    const std::string sums = s.cache_write("B");
    s.partition("B", "x", {10, 30});
    auto [xo, xi] = s.split("B", "x", 10, Tail::Balanced);
    s.reorder("B", {"y", xo, xi, "c"});
    s.compute_at(sums, "B", xo);
    s.partition(sums, "x", {1, cut});
    return s;
  };
  const Schedule s = stretches(39);
  Case c(s.group());
  c.schedule = s;
  expect_same(c, "cuts in the first and last stretch");
  EXPECT_EQ(count_selects(lowered(s)), 2);
  const auto refused = lower(stretches(25));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.reason().find("begins at a place that varies"), std::string::npos) << refused.reason();
}

// Stride 2: the output axis is declared as (yq, r); each phase reads its own taps, no zero is
// stuffed.
Case transposed(int64_t n, int64_t taps) {
  GroupBuilder b("transposed");
  StageId x = b.input("X", F, {{"x", n}, {"c", 5}}),
          w = b.constant("W", F, {{"k", 2 * taps}, {"c", 5}});
  b.output(b.reduce("T", F, {{"q", n}, {"r", 2}}, {{"j", taps}, {"c", 5}}, Combine::Sum,
                    [&](AxisVars a, AxisVars r) {
                      return b.at(x, {a[0] - r[0], r[1]}, constant(0.0, F)) *
                             b.at(w, {r[0] * 2 + a[1], r[1]});
                    }));
  return Case(b.group());
}

TEST(Accesses, TransposedConvolutionByPhases) {
  for (int64_t taps : {1, 2, 3}) {
    Case c = transposed(9, taps);
    Schedule& s = c.schedule;
    s.unroll("T", "r");
    auto [qo, qi] = s.split("T", "q", 4, Tail::Tail);
    s.reorder("T", {qo, "r", "j", "c", qi});
    s.unroll("T", qi);
    expect_same(c, fmt::format("{} taps a phase", taps));
  }
}

Case concat() {
  GroupBuilder b("concat");
  StageId x = b.input("X", F, {{"y", 5}, {"c", 16}}), z = b.input("Z", F, {{"y", 5}, {"c", 24}});
  StageId p = b.compute("P", F, {{"y", 5}, {"c", 16}},
                        [&](AxisVars a) { return b.at(x, {a[0], a[1]}) * constant(3.0, F); });
  StageId q = b.compute("Q", F, {{"y", 5}, {"c", 24}},
                        [&](AxisVars a) { return b.at(z, {a[0], a[1]}) + constant(1.0, F); });
  b.output(b.compute("C", F, {{"y", 5}, {"c", 40}}, [&](AxisVars a) {
    Index first(Aff(15) - a[1]);
    return select(all_nonnegative(std::span(&first, 1)), b.at(p, {a[0], a[1]}),
                  b.at(q, {a[0], a[1] - Aff(16)}));
  }));
  return Case(b.group());
}

TEST(Accesses, ConcatenationBySelect) {
  expect_same(concat(), "each producer whole");
  {
    Case c = concat();
    for (const char* t : {"P", "Q"}) c.schedule.compute_at(t, "C", "y");
    expect_same(c, "producers a row at a time");
    Function f = lowered(c.schedule);
    for (const Buffer& buffer : f.buffers) {  // each producer is asked for its own range only
      if (buffer.name == "P" || buffer.name == "Q") {
        EXPECT_EQ(buffer.size, buffer.name == "P" ? 16 : 24);
      }
    }
  }
  {
    Case c = concat();
    for (const char* t : {"P", "Q"}) c.schedule.inline_stage(t);
    c.schedule.partition("C", "c", {16});
    c.schedule.vectorize("C", c.schedule.split("C", "c", 16, Tail::Tail).second);
    expect_same(c, "inlined into its ranges");
    EXPECT_EQ(count_selects(lowered(c.schedule)), 0);
  }
  {
    Case c = concat();
    for (const char* t : {"P", "Q"}) c.schedule.inline_stage(t);
    c.schedule.vectorize("C", "c");
    expect_lowering_refused(c.schedule, "a guard varies across vector lanes");
  }
}

Case upsampled(bool by_mod) {
  GroupBuilder b("upsample");
  StageId x = b.input("X", F, {{"y", 6}, {"x", 7}, {"c", 8}});
  StageId a = b.compute("A", F, {{"y", 6}, {"x", 7}, {"c", 8}}, [&](AxisVars v) {
    return max(b.at(x, {v[0], v[1], v[2]}), constant(0.0, F));
  });
  b.output(b.compute("U", F, {{"y", 12}, {"x", 14}, {"c", by_mod ? 16 : 8}}, [&](AxisVars v) {
    Index y, xx, c;
    y.atoms.push_back({v[0], {}, 2, 0, 1});
    xx.atoms.push_back({v[1], {}, 2, 0, 1});
    if (by_mod)
      c.atoms.push_back({v[2], {}, 1, 8, 1});
    else
      c = Index(v[2]);
    return b.at(a, {y, xx, c});
  }));
  return Case(b.group());
}

TEST(Accesses, UpsamplingByDivision) {
  for (bool by_mod : {false, true}) {
    expect_same(upsampled(by_mod), "whole producer");
    {
      Case c = upsampled(by_mod);
      c.schedule.inline_stage("A");
      expect_same(c, "inlined");
    }
    {
      Case c = upsampled(by_mod);
      auto [yo, yi] = c.schedule.split("U", "y", 2);
      c.schedule.compute_at("A", "U", yo);
      if (!by_mod) c.schedule.vectorize("U", "c");
      expect_same(c, "a row of the producer for two rows");
      for (const Buffer& buffer : lowered(c.schedule).buffers) {
        if (buffer.name == "A") { EXPECT_EQ(buffer.size, 7 * 8); }
      }
    }
    {
      Case c = upsampled(by_mod);
      c.schedule.compute_at("A", "U", "y");  // y / 2 is not affine in y: the whole axis
      expect_same(c, "computed at the row");
    }
  }
}

TEST(Accesses, UpsampledRowsRollThroughAWindow) {
  GroupBuilder b("upconv");
  StageId x = b.input("X", F, {{"y", 8}, {"x", 5}});
  StageId a = b.compute("A", F, {{"y", 8}, {"x", 5}},
                        [&](AxisVars v) { return b.at(x, {v[0], v[1]}) * constant(2.0, F); });
  StageId u = b.compute("U", F, {{"y", 16}, {"x", 10}}, [&](AxisVars v) {
    Index y, xx;
    y.atoms.push_back({v[0], {}, 2, 0, 1});
    xx.atoms.push_back({v[1], {}, 2, 0, 1});
    return b.at(a, {y, xx});
  });
  b.output(b.reduce("B", F, {{"y", 16}, {"x", 10}}, {{"ky", 3}, {"kx", 3}}, Combine::Sum,
                    [&](AxisVars v, AxisVars r) {
                      return b.at(u, {v[0] + r[0] - Aff(1), v[1] + r[1] - Aff(1)},
                                  constant(0.0, F));
                    }));
  Case c(b.group());
  auto [yo, yi] = c.schedule.split("B", "y", 4);
  for (const char* t : {"U", "A"}) {
    c.schedule.compute_at(t, "B", yo);
    c.schedule.store_root(t);
    c.schedule.fold_storage(t, "y");
  }
  expect_same(c, "both in rings");
}

TEST(Accesses, GatherNeedsTheWholeAxis) {
  GroupBuilder b("gather");
  StageId table = b.input("T", F, {{"r", 9}, {"c", 6}}),
          ids = b.input("I", DType::I64, {{"i", 12}});
  StageId a = b.compute("A", F, {{"r", 9}, {"c", 6}},
                        [&](AxisVars v) { return b.at(table, {v[0], v[1]}) + constant(1.0, F); });
  StageId lookup = b.compute("G", F, {{"i", 12}, {"c", 6}}, [&](AxisVars v) {
    Index row;
    row.atoms.push_back(
        {Aff(0), b.at(ids, {v[0]}), 1, 9, 1});  // modulo the axis: no index leaves it
    return b.at(a, {row, v[1]});
  });
  b.output(b.compute("O", F, {{"i", 12}, {"c", 6}},
                     [&](AxisVars v) { return b.at(lookup, {v[0], v[1]}) * constant(2.0, F); }));
  Case c(b.group());
  expect_same(c, "whole");
  c.schedule.compute_at("G", "O", "i");
  c.schedule.vectorize("O", "c");
  c.schedule.vectorize("G", "c");
  expect_same(c, "a row at a time");
  Case inlined(b.group());
  inlined.schedule.inline_stage("A");
  inlined.schedule.inline_stage("G");
  expect_same(inlined, "inlined");
}

TEST(Accesses, PrefetchStandsAtTheParameter) {
  Case c(chain::group({9, 11, 8, 16, 8, 1}));
  c.schedule.prefetch("X", 8192);
  expect_same(c, "X is fetched ahead");
  EXPECT_NE(c.schedule.to_text().find("prefetch(X, 8192)"), std::string::npos);
  for (const Buffer& buffer : lowered(c.schedule).buffers) EXPECT_EQ(buffer.prefetch, buffer.name == "X" ? 8192 : 0);
}

TEST(Accesses, PaddedStridesAndPackedProducers) {
  Case c(chain::group({9, 11, 8, 16, 8, 1}));
  Schedule& s = c.schedule;
  s.storage_align("E", 24);
  s.pack("D", {{1}, {2, 8, 0}, {0}, {2, 1, 8}});
  s.compute_at("O.acc", "O", "y");
  s.compute_at("D", "O", "y");
  expect_same(c, "E's rows are wider, D in blocks");
  for (const Buffer& buffer : lowered(s).buffers) {
    if (buffer.name == "E") { EXPECT_EQ(buffer.size, 11 * (13 * 16 + 24)); }
  }
}

TEST(Accesses, SeveralOutputsOfWhichOneReadsAnother) {
  GroupBuilder b("outputs");
  StageId x = b.input("X", F, {{"y", 10}, {"x", 10}});
  StageId a = b.compute("A", F, {{"y", 10}, {"x", 10}},
                        [&](AxisVars v) { return max(b.at(x, {v[0], v[1]}), constant(0.0, F)); });
  StageId n = b.reduce("N", F, {{"y", 10}, {"x", 10}}, {{"k", 3}}, Combine::Sum,
                       [&](AxisVars v, AxisVars r) {
                         return b.at(a, {v[0] + r[0] - Aff(1), v[1]}, constant(0.0, F));
                       });
  b.output(n);
  b.output(a);
  Case c(b.group());
  c.schedule.parallel("A", "y");
  c.schedule.parallel("N", "y");
  expect_same(c, "padding of an output is a guard");
  int64_t barriers = 0;
  visit(lowered(c.schedule).body,
        [&](const Stmt& s) { barriers += s.kind() == StmtKind::Barrier; });
  EXPECT_EQ(barriers, 1);
}

TEST(Accesses, EpiloguesOfAStage) {
  GroupBuilder b("mean");
  StageId x = b.input("X", F, {{"i", 7}, {"j", 20}});
  StageId m = b.reduce("M", F, {{"i", 7}}, {{"j", 20}}, Combine::Sum,
                       [&](AxisVars v, AxisVars r) { return b.at(x, {v[0], r[0]}); });
  b[m].finish = acc(F) * constant(0.05, F);
  b.output(m);
  for (bool guarded : {false, true})
    for (bool swapped : {false, true}) {
      Case c(b.group());
      if (guarded) c.schedule.guard_init("M");
      if (swapped) c.schedule.reorder("M", {"j", "i"});
      expect_same(c, fmt::format("{} {}", guarded, swapped));
    }
  Case c(b.group());
  c.schedule.cache_write("M");
  c.schedule.compute_at("M.acc", "M", "i");
  expect_same(c, "the sum in a stage of its own");
}

TEST(Accesses, FusedTilesShareOneParallelLoop) {
  for (auto [M, N] : {std::pair<int64_t, int64_t>{17, 40}, {12, 32}, {5, 70}}) {
    GroupBuilder b("matmul");
    StageId x = b.input("A", F, {{"m", M}, {"k", 9}}), w = b.input("B", F, {{"k", 9}, {"n", N}});
    b.output(b.reduce(
        "C", F, {{"m", M}, {"n", N}}, {{"k", 9}}, Combine::Sum,
        [&](AxisVars v, AxisVars r) { return b.at(x, {v[0], r[0]}) * b.at(w, {r[0], v[1]}); }));
    for (Tail tail : {Tail::Tail, Tail::Balanced}) {
      Case c(b.group());
      Schedule& s = c.schedule;
      s.cache_write("C");
      s.set_scope("C.acc", Scope::Register);
      auto [mo, mi] = s.split("C", "m", 4, tail);
      auto [no, ni] = s.split("C", "n", 16, Tail::Tail);
      s.reorder("C", {mo, no, mi, ni});
      std::string tiles = s.fuse("C", mo, no);
      s.parallel("C", tiles);
      s.unroll("C", mi);
      s.vectorize("C", ni);
      s.compute_at("C.acc", "C", tiles);
      s.reorder("C.acc", {"k", "m", "n"});
      s.unroll("C.acc", "m");
      s.vectorize("C.acc", "n");
      expect_same(c, fmt::format("{}x{} tail {}", M, N, static_cast<int>(tail)));
    }
  }
}

// Two panels of which each is a segment of its own: one for the last thread, one for thread 0.
TEST(Accesses, LoneTilesRunBesideEachOther) {
  for (auto [n, parallel] : {std::pair<int64_t, int>{24, 1}, {16, 0}, {40, 1}}) {
    GroupBuilder b("matmul");
    StageId x = b.input("A", F, {{"m", 5}, {"k", 9}}), w = b.input("B", F, {{"k", 9}, {"n", n}});
    b.output(b.reduce(
        "C", F, {{"m", 5}, {"n", n}}, {{"k", 9}}, Combine::Sum,
        [&](AxisVars v, AxisVars r) { return b.at(x, {v[0], r[0]}) * b.at(w, {r[0], v[1]}); }));
    Case c(b.group());
    Schedule& s = c.schedule;
    s.cache_write("C");
    s.set_scope("C.acc", Scope::Register);
    auto [no, ni] = s.split("C", "n", 16, Tail::Tail);
    s.reorder("C", {no, "m", ni});
    s.parallel("C", no);
    s.vectorize("C", ni);
    s.compute_at("C.acc", "C", "m");
    s.reorder("C.acc", {"k", "m", "n"});
    s.vectorize("C.acc", "n");
    expect_same(c, fmt::format("{} columns", n));
    const Function f = lowered(s);
    int loops = 0, barriers = 0;
    visit(f.body, [&](const Stmt& t) {
      loops += t.kind() == StmtKind::For && t->loop.kind == LoopKind::Parallel;
      barriers += t.kind() == StmtKind::Barrier;
    });
    EXPECT_EQ(loops, parallel) << n;
    EXPECT_EQ(barriers, 0) << n;
  }
}

TEST(Accesses, IntegersAndMixedTypes) {
  GroupBuilder b("quantized");
  StageId x = b.input("X", DType::I8, {{"m", 6}, {"k", 10}}),
          w = b.input("W", DType::I8, {{"k", 10}, {"n", 20}});
  StageId a = b.reduce("A", DType::I32, {{"m", 6}, {"n", 20}}, {{"k", 10}}, Combine::Sum,
                       [&](AxisVars v, AxisVars r) {
                         return cast(DType::I32, b.at(x, {v[0], r[0]})) *
                                cast(DType::I32, b.at(w, {r[0], v[1]}));
                       });
  b.output(b.compute("Y", DType::I8, {{"m", 6}, {"n", 20}}, [&](AxisVars v) {
    return cast(DType::I8, max(b.at(a, {v[0], v[1]}), constant_int(-5, DType::I32)));
  }));
  Case c(b.group());
  auto [no, ni] = c.schedule.split("Y", "n", 8, Tail::Tail);
  c.schedule.reorder("Y", {no, "m", ni});
  c.schedule.compute_at("A", "Y", no);
  c.schedule.vectorize("Y", ni);
  expect_same(c, "i8 to i32 to i8");
}

// Steps in random order and with random arguments: what is refused changes nothing, what lowers
// gives the same values.
TEST(RandomSchedules, GiveTheSameValues) {
  std::mt19937_64 random(seed());
  auto pick = [&](auto& of) { return of[random() % of.size()]; };
  int lowered_count = 0;
  for (int round = 0; round < 300; ++round) {
    StageGroup g = round % 3 == 0   ? chain::group({7, 9, 4, 8, 4, 1})
                   : round % 3 == 1 ? concat().group
                                    : upsampled(false).group;
    Case c(g);
    c.odd = true;
    Schedule& s = c.schedule;
    int steps = 2 + static_cast<int>(random() % 24);
    for (int i = 0; i < steps; ++i) {
      std::vector<std::string> stages;
      for (const Stage& t : s.group().stages) stages.push_back(t.name);
      std::string stage = pick(stages), other = pick(stages);
      auto loops = s.loops(stage), places = s.loops(other);
      std::string loop = loops.empty() ? "y" : pick(loops),
                  place = places.empty() ? "y" : pick(places);
      static const std::vector<int64_t> factors = {1, 2, 3, 4, 5, 8};
      static const std::vector<Tail> tails = {Tail::Guard, Tail::Tail, Tail::Balanced, Tail::Guard,
                                              Tail::Overlap};
      ScheduleStep step = step::StoreRoot{stage};
      switch (random() % 24) {
      case 0:
      case 1:
      case 2: step = step::Split{stage, loop, pick(factors), pick(tails)}; break;
      case 3: step = step::Reorder{stage, {loop, loops.empty() ? loop : pick(loops)}}; break;
      case 4: step = step::Unroll{stage, loop}; break;
      case 5: step = step::Vectorize{stage, loops.empty() ? loop : loops.back()}; break;
      case 6: step = step::Parallel{stage, loops.empty() ? loop : loops.front()}; break;
      case 7:
      case 8: step = step::ComputeAt{stage, other, place}; break;
      case 9: step = step::StoreAt{stage, other, place}; break;
      case 10: step = step::Inline{stage}; break;
      case 11: step = step::CacheWrite{stage}; break;
      case 12: step = step::CacheRead{stage, random() % 2 ? other : ""}; break;
      case 13: step = step::Partition{stage, loop, {1, 3}}; break;
      case 14: step = step::RFactor{stage, loop, pick(factors)}; break;
      case 15: step = step::MergeEpilogue{stage}; break;
      case 16: {
        size_t at = loops.size() < 2 ? 0 : random() % (loops.size() - 1);
        if (loops.size() >= 2) step = step::Fuse{stage, loops[at], loops[at + 1]};
        break;
      }
      case 17:
      case 18:
        step = step::FoldStorage{stage, "y", static_cast<int64_t>(random() % 2 ? 0 : random() % 8)};
        break;
      case 19: step = step::StorageAlign{stage, 5}; break;
      case 20: {
        auto id = s.group().named(stage);
        uint32_t rank = static_cast<uint32_t>(s.group()[*id].axes.size()),
                 a = static_cast<uint32_t>(random() % rank);
        step::Pack pack{stage, {{a, 4, 0}}};
        for (uint32_t k = 0; k < rank; ++k)
          if (k != a) pack.layout.push_back({k});
        pack.layout.push_back({a, 1, 4});
        step = pack;
        break;
      }
      case 21: step = step::GuardInit{stage}; break;
      case 22: step = step::SetScope{stage, random() % 2 ? Scope::Register : Scope::Stack}; break;
      case 23: step = step::SplitParts{stage, loop, pick(factors)}; break;
      }
      std::string before = s.to_text();
      if (!s.apply(step)) { EXPECT_EQ(s.to_text(), before); }
      ASSERT_NO_THROW(verify(s.group())) << s.to_text();
      if (random() % 3 == 0) (void)s.apply(step::StoreRoot{stage});
    }
    auto f = lower(s);
    if (!f) continue;
    ++lowered_count;
    expect_same(c, fmt::format("round {}\n{}", round, s.to_text()));
    Schedule again(g);
    ASSERT_TRUE(again.replay(s.to_text()).ok());
    auto same = lower(again);
    ASSERT_TRUE(same.ok()) << same.reason();
    EXPECT_EQ(to_text(*same), to_text(*f));
    if (testing::Test::HasFailure()) return;
  }
  fmt::print("{} of 300 random schedules were legal\n", lowered_count);
  EXPECT_GT(lowered_count, 50);
}

}  // namespace
}  // namespace burnish::schedule_test
