// Features of lowered candidates: finite and of one length for whatever lowers, different for
// different schedules, and figures that can be counted by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>

#include "bench/chain/chain.h"
#include "random_schedules.h"
#include "search/cost_model.h"
#include "search/model/loop_tree.h"
#include "search/model/reuse.h"
#include "target/target.h"

namespace burnish::search {
namespace {

using search_test::ConvShape;
using search_test::ConvTile;

Machine machine(int threads = 2) {
  Machine m;
  m.vector_bytes = 64;
  m.vector_registers = 32;
  m.threads = threads;
  m.l3_bytes = 32 << 20;
  return m;
}

double feature(const Features& f, std::string_view name) {
  const auto& names = feature_names();
  const auto it = std::find(names.begin(), names.end(), name);
  EXPECT_NE(it, names.end()) << name;
  return it == names.end() ? NAN : f[static_cast<size_t>(it - names.begin())];
}

double log1(double x) { return std::log2(1 + x); }

void expect_sound(const Features& f, const std::string& what) {
  ASSERT_EQ(f.size(), feature_names().size());
  for (size_t i = 0; i < f.size(); ++i) {
    ASSERT_TRUE(std::isfinite(f[i])) << feature_names()[i] << " of " << what;
    ASSERT_LE(std::abs(f[i]), 1e6) << feature_names()[i] << " of " << what;
  }
}

constexpr const char* copy_text = R"(func copy(X: param f32[4096], O: out f32[4096]) {
  parallel for y in 0..8 {
    for x in 0..32 {
      vectorize for c in 0..16 {
        O[512*y + 16*x + c] = X[512*y + 16*x + c] * 2.0 + 1.0
      }
    }
  }
})";

TEST(Features, NamesAreUnique) {
  const std::set<std::string> unique(feature_names().begin(), feature_names().end());
  EXPECT_EQ(unique.size(), feature_names().size());
}

TEST(Features, CountedByHand) {
  const Features f = features_of(parse_function(copy_text), machine(), 10);
  expect_sound(f, "copy");
  EXPECT_NEAR(feature(f, "all.draft"), log1(10000), 1e-4);
  EXPECT_NEAR(feature(f, "all.fma"), log1(2048), 1e-4);  // of one of two threads
  EXPECT_NEAR(feature(f, "all.add"), 0, 1e-4);
  EXPECT_NEAR(feature(f, "all.vector_ops"), log1(128), 1e-4);
  EXPECT_EQ(feature(f, "all.loads_per_op"), 0);
  EXPECT_EQ(feature(f, "all.stores_per_op"), 0);
  EXPECT_NEAR(feature(f, "all.iterations_per_op"), 0, 1e-4);
  EXPECT_EQ(feature(f, "all.loads.strided"), 0);
  EXPECT_EQ(feature(f, "all.unaligned"), 0);
  EXPECT_EQ(feature(f, "all.parallel"), std::log2(9.0f));
  EXPECT_EQ(feature(f, "all.quantised"), 1);
  EXPECT_NEAR(feature(f, "all.bytes.read"), log1(8192), 1e-4);
  EXPECT_NEAR(feature(f, "all.touched"), log1(16384), 1e-4);
  EXPECT_EQ(feature(f, "all.miss.l1"), 0);  // no line comes twice
  EXPECT_EQ(feature(f, "s0.lanes"), 16);
  EXPECT_NEAR(feature(f, "s0.trip0"), log1(32), 1e-4);
  EXPECT_EQ(feature(f, "s1.work"), 0);
}

TEST(Features, ThreadsShareUnevenly) {
  // Eight rows on three threads: one has three of them.
  const Features f = features_of(parse_function(copy_text), machine(3), 10);
  EXPECT_NEAR(feature(f, "all.fma"), log1(3 * 512), 1e-4);
  EXPECT_NEAR(feature(f, "all.quantised"), 8.0 / 9, 1e-4);
}

TEST(Features, AMatrixProductsReuse) {
  // 64 x 64 x 64: A is walked along k, B's rows are contiguous, the sum stays in registers.
  const Function f =
      parse_function(R"(func product(A: param f32[4096], B: param f32[4096], C: out f32[4096]) {
  for i in 0..16 {
    for j in 0..4 {
      alloc R: register f32[64] {
        for k in 0..64 {
          unroll for r in 0..4 {
            vectorize for c in 0..16 {
              R[16*r + c] = R[16*r + c] + A[256*i + 64*r + k] * B[64*k + 16*j + c]
            }
          }
        }
        unroll for r2 in 0..4 {
          vectorize for c2 in 0..16 {
            C[256*i + 64*r2 + 16*j + c2] = R[16*r2 + c2]
          }
        }
      }
    }
  }
})");
  const LoopTree t = loop_tree(f);
  const Reuse r(t, machine(1));
  ASSERT_EQ(t.sites.size(), 2u);
  EXPECT_TRUE(t.sites[0].update);
  EXPECT_EQ(t.sites[0].executions, 64 * 64 * 64);
  EXPECT_EQ(t.sites[0].ops[static_cast<size_t>(OpClass::Fma)], 1);
  // A, B and R's place, then R's element and C.
  ASSERT_EQ(t.accesses.size(), 5u);
  double a = 0, b = 0;
  for (size_t i = 0; i < t.accesses.size(); ++i) {
    const AccessUse& u = r.accesses()[i];
    if (f.buffers[t.accesses[i].buffer].name == "A") {
      EXPECT_EQ(u.lanes, Lanes::Broadcast);
      EXPECT_EQ(u.per_tile, 4);
      a = u.instructions;
    }
    if (f.buffers[t.accesses[i].buffer].name == "B") {
      EXPECT_EQ(u.lanes, Lanes::Contiguous);
      EXPECT_EQ(u.per_tile, 1);
      EXPECT_TRUE(u.aligned);
      b = u.instructions;
    }
  }
  EXPECT_EQ(a, 16 * 4 * 64 * 4);  // i, j, k, rows
  EXPECT_EQ(b, 16 * 4 * 64);      // once for all rows of a tile
  // All three matrices, once, where they fit; B anew for every i where they do not.
  EXPECT_EQ(r.traffic(1 << 20), 3 * 4096 * 4);
  EXPECT_GT(r.traffic(12 << 10), 3 * 4096 * 4);
}

TEST(Features, BorderLoopsCountByTheirShare) {
  // A triangle is half a square; a border of one row in a hundred is little, but not nothing.
  const LoopTree t = loop_tree(parse_function(R"(func triangle(O: out f32[10000], B: out f32[100]) {
  for y in 0..100 {
    for x in 0..min(100, y + 1) {
      O[100*y + x] = 1.0
    }
    for z in max(0, -100*y + 1)..100 {
      O[100*y + z] = 1.0
    }
    for b in max(0, -y + 99)..1 {
      B[b] = 1.0
    }
  }
})"));
  ASSERT_EQ(t.sites.size(), 3u);
  EXPECT_NEAR(t.sites[0].executions, 5050, 800);
  EXPECT_NEAR(t.sites[1].executions, 10000, 200);
  EXPECT_GT(t.sites[2].executions, 0);
  EXPECT_LT(t.sites[2].executions, 20);
}

TEST(Features, FiniteForEverySchedule) {
  const uint64_t seed = 20261123;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  int lowered = 0;
  for (const ConvShape& c : {ConvShape{14, 14, 32, 64}, ConvShape{15, 17, 20, 48, 3, 2},
                             ConvShape{28, 28, 48, 48, 3, 1, true}, ConvShape{7, 7, 320, 1280},
                             ConvShape{32, 32, 3, 192, 3, 2}}) {
    const StageGroup g = search_test::conv_group(c);
    std::map<Features, std::string> seen;
    std::vector<Stmt> bodies;
    for (int i = 0; i < 40; ++i) {
      const std::string trace = search_test::trace_of(c, search_test::random_tile(random));
      const auto f = search_test::lowered(g, trace);
      if (!f) continue;
      const Features x = features_of(*f, machine(1 + i % 3), 1.0 + i);
      expect_sound(x, trace);
      ++lowered;
      // The same loops give the same features, others give others.
      if (std::any_of(bodies.begin(), bodies.end(),
                      [&](const Stmt& b) { return equal(b, f->body); }))
        continue;
      bodies.push_back(f->body);
      const Features plain = features_of(*f, machine(), 1);
      ASSERT_EQ(plain, features_of(*f, machine(), 1));
      const auto [it, fresh] = seen.try_emplace(plain, trace);
      EXPECT_TRUE(fresh) << "the same features for\n" << it->second << "and\n" << trace;
    }
  }
  EXPECT_GT(lowered, 100);
}

TEST(Features, RowsOfAChainStayInRings) {
  // 1x1, depthwise 3x3, 1x1 in one nest. Taller strips hold more and calculate fewer rows twice.
  chain::Shape shape;
  shape.height = 32;
  shape.width = 56;
  std::vector<double> held;
  for (int64_t rows : {1, 2, 4}) {
    chain::Options o;
    o.rows = rows;
    const auto f = lower(chain::schedule(chain::group(shape), o));
    ASSERT_TRUE(f.ok()) << f.reason();
    const Features x = features_of(*f, machine(), 1);
    expect_sound(x, "chain");
    held.push_back(feature(x, "all.bytes.thread") + feature(x, "all.bytes.stack"));
    // Three reductions, of which the two 1x1 are most of the work; the depthwise one is a tenth.
    const double macs = shape.height * shape.width * (24 * 144 + 9 * 144 + 144 * 24) / 2.0;
    EXPECT_NEAR(feature(x, "all.fma"), log1(macs), 0.25) << rows;
    EXPECT_EQ(feature(x, "s0.update"), 1);
    EXPECT_EQ(feature(x, "s1.update"), 1);
    EXPECT_EQ(feature(x, "all.parallel_loops"), 1);
  }
  EXPECT_LT(held[0], held[1]);
  EXPECT_LT(held[1], held[2]);
}

TEST(Features, FiniteWhateverTheDraftAndMachine) {
  const Function f = parse_function(copy_text);
  for (double draft : {0.0, -1.0, 1e300, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    expect_sound(features_of(f, machine(), draft), "draft");
  }
  Machine odd;
  odd.vector_bytes = 0;
  odd.vector_registers = 0;
  odd.threads = 0;
  odd.l1_bytes = odd.l2_bytes = odd.l3_bytes = 0;
  expect_sound(features_of(f, odd, 1), "odd machine");
  expect_sound(features_of(Function{}, machine(), 1), "empty function");
}

TEST(Features, Speed) {
  // Printed, not judged: machines differ.
  const ConvShape c{28, 28, 64, 128, 3, 1};
  const auto f = search_test::lowered(search_test::conv_group(c), search_test::trace_of(c, {}));
  ASSERT_TRUE(f.has_value());
  double best = 1e9;
  for (int i = 0; i < 50; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const Features x = features_of(*f, machine(), 1);
    best = std::min(
        best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                  .count());
    ASSERT_FALSE(x.empty());
  }
  const LoopTree t = loop_tree(*f);
  fmt::print("features of a 3x3 convolution: {} features, {} loops, {} statements, {:.1f} us\n",
             feature_names().size(), t.loops.size(), t.sites.size(), best);
}

}  // namespace
}  // namespace burnish::search
