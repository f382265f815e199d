// Which neighbouring blocks of two loops meet.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "target/c_like/kernel.h"
#include "target/cuda/dialect.h"

namespace burnish::c_like {
namespace {

// Two loops over `before` and `after` blocks of 16 threads, which write part[written] and read
// part[read].
Function two_loops(int before, int after, const std::string& written, const std::string& read,
                   const std::string& result = "O[16*m + t]") {
  return parse_function(fmt::format(R"(func f(X: param f32[1024], O: out f32[1024]) {{
  alloc part: shared f32[1024] {{
    parallel for n in 0..{} {{
      let tile = {{n / 4}} {{
        thread for i in 0..16 {{
          part[{}] = X[16*n + i]
        }}
      }}
    }}
    barrier
    parallel for m in 0..{} {{
      let first = {{m / 4}} {{
        let own = {{m % 4}} {{
          thread for t in 0..16 {{
            {} = part[{}]
          }}
        }}
      }}
    }}
  }}
}}
)",
                                    before, written, after, result, read));
}

std::pair<Stmt, Stmt> loops_of(const Function& f) {
  std::vector<Stmt> loops;
  visit(f.body, [&](const Stmt& s) {
    if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel) loops.push_back(s);
  });
  return {loops.at(0), loops.at(1)};
}

int64_t meet(const Function& f) {
  const auto [before, after] = loops_of(f);
  return blocks_that_meet(f, before, after);
}

int64_t gather(const Function& f) {
  const auto [before, after] = loops_of(f);
  return blocks_that_gather(f, before, after);
}

TEST(Clusters, BlocksThatReadWhatTheirNeighboursWrote) {
  EXPECT_EQ(meet(two_loops(8, 8, "16*n + i", "16*m + t")), 1);
  // Of four neighbours; of two; of eight, all that there are.
  EXPECT_EQ(meet(two_loops(8, 8, "16*n + i", "64*first + 4*own + t")), 4);
  EXPECT_EQ(meet(two_loops(8, 8, "16*n + i", "32*{m / 2} + t")), 2);
  EXPECT_EQ(meet(two_loops(8, 8, "16*n + i", "8*m + t")), 8);
  // Of sixteen, which not all GPUs can start.
  const Function large = two_loops(16, 16, "16*n + i", "8*m + t");
  EXPECT_EQ(meet(large), 16);
  EXPECT_EQ(kernels_of(large, cuda_target::dialect()).size(), 1u);
  EXPECT_EQ(kernels_of(large, cuda_target::dialect(cuda_target::Precision::Strict, kMostOfACluster)).size(), 2u);
  // Tiles in another order.
  EXPECT_EQ(meet(two_loops(8, 8, "16*n - 128*tile + 64 + i", "-64*first + 4*own + t + 64")), 4);
}

TEST(Clusters, NoneWhereOthersAreNeeded) {
  EXPECT_EQ(meet(two_loops(32, 32, "16*n + i", "8*m + t")), 0);  // 32 are too many
  EXPECT_EQ(meet(two_loops(8, 4, "16*n + i", "16*m + t")), 0);   // other blocks
  EXPECT_EQ(meet(two_loops(16, 16, "n + i", "16*m + t")), 0);    // all write in one place
  EXPECT_EQ(meet(two_loops(16, 16, "16*n + i", "256 - 16*m - t")), 0);
  EXPECT_EQ(meet(two_loops(8, 8, "16*n + i", "16*m + t", "part[16*m + t]")),
            0);  // writes what was written
}

TEST(Clusters, AreOneKernelWhereThereAreClusters) {
  const Function f = two_loops(8, 8, "16*n + i", "64*first + 4*own + t");
  const auto one = kernels_of(f, cuda_target::dialect());
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].cluster, 4);
  EXPECT_NE(one[0].source.find("meet_cluster<4>();"), std::string::npos) << one[0].source;
  EXPECT_NE(one[0].source.find("__cluster_dims__(4, 1, 1)"), std::string::npos) << one[0].source;
  EXPECT_EQ(kernels_of(f, cuda_target::dialect(cuda_target::Precision::Strict, 0)).size(), 2u);
  // Arguments that may overlap.
  Dialect overlapping = cuda_target::dialect();
  overlapping.restrict = "";
  EXPECT_EQ(kernels_of(f, overlapping).size(), 2u);
}

// Without clusters.
TEST(Clusters, OrTheLastBlockOfAGroupGoesOn) {
  EXPECT_EQ(gather(two_loops(8, 4, "16*n + i", "32*m + 2*t")), 2);
  EXPECT_EQ(gather(two_loops(8, 2, "16*n + i", "64*m + 4*t + 3")), 4);
  EXPECT_EQ(gather(two_loops(16, 2, "16*n + i", "128*m + 8*t")), 8);
  EXPECT_EQ(gather(two_loops(32, 2, "16*n + i", "256*m + 16*t")), 0) << "one block would have too much to do";
  EXPECT_EQ(gather(two_loops(8, 1, "16*n + i", "m + 8*t")), 0) << "it is all the work there is";
  EXPECT_EQ(gather(two_loops(8, 8, "16*n + i", "16*m + t")), 0) << "they are as many";
  EXPECT_EQ(gather(two_loops(8, 3, "16*n + i", "16*m + t")), 0) << "they do not come out even";
  EXPECT_EQ(gather(two_loops(8, 4, "16*n + i", "32*m + 2*t + 2")), 0) << "others' values";
  EXPECT_EQ(gather(two_loops(8, 4, "16*n + i", "16*m + t")), 0) << "others' values";
  EXPECT_EQ(gather(two_loops(8, 4, "n + i", "2*m + t")), 0) << "groups write in one place";
  EXPECT_EQ(gather(two_loops(8, 4, "16*n + i", "32*m + 2*t", "part[16*m + t]")), 0) << "writes what was written";
  const Function f = two_loops(8, 2, "16*n + i", "64*m + 4*t + 3");
  EXPECT_EQ(kernels_of(f, cuda_target::dialect()).size(), 2u);
  const auto one = kernels_of(f, cuda_target::dialect(cuda_target::Precision::Strict, 0));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].blocks, 8);
  EXPECT_EQ(one[0].counters, 2);
  EXPECT_NE(one[0].source.find("last_of_group<4>(counters)"), std::string::npos) << one[0].source;
  EXPECT_NE(one[0].source.find("unsigned* counters) {"), std::string::npos) << one[0].source;
  // Blocks that go on with their own alone need no other.
  EXPECT_EQ(kernels_of(two_loops(8, 8, "16*n + i", "16*m + t"), cuda_target::dialect(cuda_target::Precision::Strict, 0)).size(), 1u);
}

TEST(Clusters, HandOnPiecesThatBlocksWriteOneAfterTheOther) {
  const auto pieces = [](const Function& f) {
    const auto [before, after] = loops_of(f);
    const auto all = handed_on(f, before, after);
    return all.empty() ? 0 : all[0].piece;
  };
  EXPECT_EQ(pieces(two_loops(8, 8, "16*n + i", "64*first + 4*own + t")), 16);
  EXPECT_EQ(pieces(two_loops(8, 8, "32*n + i", "32*m + t")), 32) << "with gaps";
  EXPECT_EQ(pieces(two_loops(8, 8, "16*n - 128*tile + 64 + i", "-64*first + 4*own + t + 64")), 0) << "in another order";
  EXPECT_EQ(pieces(two_loops(8, 8, "8*n + i", "8*m + t")), 0) << "pieces overlap";
  EXPECT_EQ(pieces(two_loops(8, 8, "18*n + i", "18*m + t")), 0) << "vectors would lie across pieces";
  const auto one = kernels_of(two_loops(8, 8, "16*n + i", "64*first + 4*own + t"), cuda_target::dialect());
  EXPECT_NE(one[0].source.find("leave_cluster<4>();"), std::string::npos) << one[0].source;
  EXPECT_EQ(one[0].args.size(), 2u) << one[0].source;
  EXPECT_EQ(one[0].block_bytes, 64);
}

TEST(Clusters, CopyConstantsOfTheSecondLoopBeforeTheFirst) {
  const Function f = parse_function(R"(func f(X: param f32[64], W: param f32[64], O: out f32[64]) {
  alloc part: shared f32[64] {
    parallel for n in 0..4 {
      thread for i in 0..16 {
        part[16*n + i] = X[16*n + i]
      }
    }
    barrier
    parallel for m in 0..4 {
      alloc near: thread f32[16] {
        alloc own: thread f32[16] {
          thread for c in 0..16 {
            near[c] = W[16*m + c]
          }
          thread for d in 0..16 {
            own[d] = part[4*d]
          }
          barrier
          thread for t in 0..16 {
            O[16*m + t] = near[-1*t + 15] * own[-1*t + 15]
          }
        }
      }
    }
  }
}
)");
  const auto [before, after] = loops_of(f);
  EXPECT_EQ(early_copies(f, before, after).size(), 1u);
  const std::string source = kernels_of(f, cuda_target::dialect()).at(0).source;
  const size_t copy = source.find("copy_async"), met = source.find("meet_cluster");
  EXPECT_LT(copy, met) << source;
  EXPECT_EQ(source.find("copy_async", copy + 1), std::string::npos) << source;
  EXPECT_LT(source.find("wait_for_copies"), met) << source;
}

}  // namespace
}  // namespace burnish::c_like
