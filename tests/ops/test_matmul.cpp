#include "ops/support.h"

namespace burnish::test {
namespace {

TEST(Matmul, FollowsNumpyRanks) {
  expect_values(apply("matmul", {given(counting({2, 3})), given(counting({3, 2}))}), {2, 2}, {10, 13, 28, 40});
  expect_values(apply("matmul", {given(counting({3})), given(counting({3, 2}))}), {2}, {10, 13});
  expect_values(apply("matmul", {given(counting({2, 3})), given(counting({3}))}), {2}, {5, 14});
  expect_values(apply("matmul", {given(counting({3})), given(counting({3}))}), {}, {5});
  expect_values(apply("matmul", {given(counting({1, 2, 1, 2})), given(counting({2, 1, 2, 1}))}), {2, 2, 1, 1},
                {1, 3, 3, 13});
  expect_values(apply("matmul", {given(counting({2, 1, 2})), given(counting({2}))}), {2, 1}, {1, 3});
}

TEST(Matmul, AgreesWithNestedSums) {
  Tensor a = random_floats({2, 1, 5, 7}, 3), b = random_floats({3, 7, 4}, 4);
  Tensor y = apply("matmul", {given(a), given(b)});
  std::vector<double> wanted;
  each_position({2, 3, 5, 4}, [&](const Shape& p, int64_t) {
    double sum = 0;
    for (int64_t k = 0; k < 7; ++k) sum += at(a, {p[0], 0, p[2], k}) * at(b, {p[1], k, p[3]});
    wanted.push_back(sum);
  });
  expect_values(y, {2, 3, 5, 4}, wanted, 1e-5);
}

TEST(Matmul, OfIntegersSubtractsZeroPoints) {
  Tensor a = integers({2, 2}, {11, 7, 3, 10}, DType::U8), b = integers({2, 2}, {1, 4, 2, 5}, DType::U8);
  Tensor y = apply("matmul_integer", {given(a), given(b), given(integers({}, {12}, DType::U8)),
                                      given(integers({2}, {0, 1}, DType::U8))});
  EXPECT_EQ(y.dtype, DType::I32);
  expect_values(y, {2, 2}, {-11, -23, -13, -35});
}

TEST(Gemm, TransposesScalesAndAdds) {
  Tensor a = counting({2, 3}), b = counting({2, 3}), c = counting({2});
  expect_values(apply("gemm", {given(a), given(b), given(c)}, {{"trans_b", int64_t{1}}}), {2, 2}, {5, 15, 14, 51});
  expect_values(apply("gemm", {given(a), given(b)}, {{"trans_a", int64_t{1}}}), {3, 3},
                {9, 12, 15, 12, 17, 22, 15, 22, 29});
  expect_values(apply("gemm", {given(a), given(b), given(floats({2, 1}, {10, 20}))},
                      {{"trans_b", int64_t{1}}, {"alpha", 0.5}, {"beta", 2.0}}),
                {2, 2}, {22.5, 27, 47, 65});
}

TEST(Einsum, SpeaksTheCommonEquations) {
  auto eq = [](std::string e) { return AttrList{{"equation", e}}; };
  Tensor a = counting({2, 3}), b = counting({3, 2}), v = counting({3});
  expect_values(apply("einsum", {given(a), given(b)}, eq("ij, jk -> ik")), {2, 2}, {10, 13, 28, 40});
  expect_values(apply("einsum", {given(a), given(b)}, eq("ij,jk")), {2, 2}, {10, 13, 28, 40});
  expect_values(apply("einsum", {given(a)}, eq("ij->ji")), {3, 2}, {0, 3, 1, 4, 2, 5});
  expect_values(apply("einsum", {given(a)}, eq("ij->")), {}, {15});
  expect_values(apply("einsum", {given(v), given(v)}, eq("i,j->ij")), {3, 3}, {0, 0, 0, 0, 1, 2, 0, 2, 4});
  expect_values(apply("einsum", {given(counting({2, 2}))}, eq("ii->i")), {2}, {0, 3});
  expect_values(apply("einsum", {given(counting({2, 1, 2})), given(counting({2, 2}))}, eq("...ij,jk->...ik")), {2, 1, 2},
                {2, 3, 6, 11});
  EXPECT_NE(refusal("einsum", {given(a), given(a)}, eq("ij,jk->ik")).find("label j"), std::string::npos);
  EXPECT_NE(refusal("einsum", {given(a)}, eq("i*->i")).find("unexpected '*'"), std::string::npos);
  EXPECT_NE(refusal("einsum", {given(a)}, eq("ij->iz")).find("label z"), std::string::npos);
}

TEST(Matmul, Refuses) {
  EXPECT_NE(refusal("matmul", {given(counting({2, 3})), given(counting({2, 3}))}).find("3 columns meet 2 rows"),
            std::string::npos);
  EXPECT_NE(refusal("matmul", {given(floats({}, {1})), given(counting({2, 3}))}).find("scalar"), std::string::npos);
  EXPECT_NE(refusal("gemm", {given(counting({2, 3})), given(counting({2, 3}))}).find("inner extents differ"),
            std::string::npos);
  EXPECT_NE(refusal("gemm", {given(counting({2, 3})), given(counting({3, 2})), given(counting({5, 2, 2}))})
                .find("does not broadcast"), std::string::npos);
}

}  // namespace
}  // namespace burnish::test
