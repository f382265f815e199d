// Groups to schedule, and what a schedule of them has to compute.
#pragma once

#include <random>

#include "schedule/schedule.h"
#include "target/target.h"
#include "te/builder.h"

namespace burnish::target_test {

inline const Layout nhwc = permuted({0, 2, 3, 1});
inline constexpr StageId none = ~StageId{0};

Machine machine(int threads, int vector_bytes = 64);
std::vector<Index> at(AxisVars a);

struct Conv {
  int height, width, in, out, kernel = 1, stride = 1;
  bool depthwise = false, relu = true;
  int groups = 1;
};

// Of numbers that are stored as those of x.
StageId conv(GroupBuilder& b, const std::string& name, StageId x, const Conv& c, StageId residual = none);
StageId image(GroupBuilder& b, int channels, int height, int width, Layout layout = nhwc, int images = 1, DType storage = DType::F32);
StageGroup softmax(int64_t rows, int64_t length);
StageGroup layer_norm(int64_t rows, int64_t length);
// The mean of every row, or of every column.
StageGroup mean(int64_t rows, int64_t columns, bool of_rows);
// The mean of an image's channels, a product to `squeezed`, with relu or SiLU, and one back, with a sigmoid.
StageGroup squeeze(int channels, int squeezed, int height, int width, bool silu = true);
StageGroup product(int64_t m, int64_t n, int64_t k);
// O[j, b, i] = 2 X[b, i, j] + Y[j, i]
StageGroup transposition(int64_t batch, int64_t rows, int64_t columns);
// conv 1x1 -> depthwise 3x3 -> conv 1x1, plus the input where the stride is 1.
StageGroup chain(int height, int width, int stride, int channels = 24, int expanded = 72, int images = 1, DType storage = DType::F32);
// conv of an image -> depthwise 3x3 -> conv 1x1, which may be missing.
struct ImageChain {
  int channels = 3, height = 20, width = 20, filter = 3, first_stride = 2, stride = 1, expanded = 32;
  bool by_planes = true, project = true;
  DType storage = DType::F32;
  int images = 1;
};
StageGroup image_chain(const ImageChain& c);

// Interprets the schedule's loops on random numbers and compares with the group's formula.
void expect_computes(const Schedule& s, const StageGroup& g);
// The same for four random points of its space; `may_refuse`: lowering may, then another one is taken.
void expect_points_compute(const StageGroup& g, const Space* space, std::mt19937_64& random, bool may_refuse);

}  // namespace burnish::target_test
